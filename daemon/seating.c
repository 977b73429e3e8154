/* SPDX-License-Identifier: MIT */
#include "daemon/seating.h"
#include "base/err.h"
#include "daemon/handover.h"
#include "daemon/hello.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_HANDED  64	 /* descriptors in flight have a limit (unix(7)) */
#define WAKE_BUFFER 4608 /* the smallest the kernel grants: a few bytes */

int seating_init(struct seating *t, const struct roster_limits *limits,
		 int epoll, struct err *err)
{
	int ret;

	memset(t, 0, sizeof(*t));
	t->epoll = epoll;
	t->ctl = -1;
	ret = roster_init(&t->roster, limits, err);
	if (ret)
		return ret;
	ret = fifo_init(&t->pending, limits->max_sessions);
	if (!ret)
		return 0;
	roster_deinit(&t->roster);
	return err_set(err, ret, "room for %u sessions: %s",
		       limits->max_sessions, strerror(-ret));
}

/*
 * Off the books.  Out of epoll by hand: while an engine holds a copy of the
 * connection, closing ours would leave it there.
 */
static void seat_end(struct seating *t, struct seat *s)
{
	if (s->conn >= 0)
		epoll_ctl(t->epoll, EPOLL_CTL_DEL, s->conn, NULL);
	roster_close(&t->roster, s);
}

/* Refuse a client that waits for its session, and forget it. */
static void seat_refuse(struct seating *t, struct seat *s,
			const struct err *err)
{
	struct llm_hello_reply reply;

	hello_refuse(&reply, err);
	hello_send(s->conn, &reply, NULL, 0);
	seat_end(t, s);
}

void seating_deinit(struct seating *t, const struct err *why)
{
	uint32_t i;

	for (i = 0; i < t->roster.top; i++)
		if (t->roster.seat[i].state == SEAT_NEW ||
		    t->roster.seat[i].state == SEAT_HANDED)
			seat_refuse(t, &t->roster.seat[i], why);
	roster_deinit(&t->roster);
	fifo_deinit(&t->pending);
}

/*
 * To OPEN: whoever shall write ENGINE has it mapped.  Seal it, give the
 * client what is his, and let go of the files.
 */
static void seat_open(const struct seating *t, struct seat *s)
{
	static const int size = WAKE_BUFFER;
	struct llm_hello_reply reply;
	int fd[AREAS_NR];
	struct err err;
	int ret;

	if (t->ctl < 0) /* else the engine did, before it answered */
		areas_tell_model(&s->areas, t->model);
	ret = areas_seal(&s->areas, &err);
	if (!ret)
		ret = areas_share(&s->areas, fd, &err);
	if (ret) {
		hello_refuse(&reply, &err);
		hello_send(s->conn, &reply, NULL, 0);
	} else {
		hello_grant(&reply);
		reply.setup = s->areas.setup;
		ret = hello_send(s->conn, &reply, fd, AREAS_NR);
		areas_close_shared(fd);
	}
	areas_close_fds(&s->areas);
	s->state = SEAT_OPEN;
	/* a client that never reads its wakes holds no memory of ours */
	setsockopt(s->conn, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (ret)
		shutdown(s->conn, SHUT_RDWR); /* it comes back as a hang-up */
}

/* Tell the engine: 0, or a negative errno. */
static int seat_send(const struct seating *t, const struct seat *s)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * HANDOVER_FDS)];
		struct cmsghdr align;
	} control;
	int fd[HANDOVER_FDS];
	struct handover_msg m;
	struct iovec io = { &m, sizeof(m) };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control.buf,
			    .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;

	memset(&m, 0, sizeof(m));
	m.kind = HANDOVER_ADD;
	m.index = s->index;
	m.session = s->id;
	m.tenant = m.uid = s->uid;
	m.setup = s->areas.setup;
	memcpy(fd, s->areas.fd, sizeof(s->areas.fd));
	fd[AREAS_NR] = s->conn;
	memset(&control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), fd, sizeof(fd));
	return sendmsg(t->ctl, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno
								    : 0;
}

static void watch_ctl(const struct seating *t, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = t->ctl_data };

	epoll_ctl(t->epoll, EPOLL_CTL_MOD, t->ctl, &ev);
}

void seating_pump(struct seating *t, bool room)
{
	uint32_t i;

	if (room && t->full) {
		t->full = false;
		watch_ctl(t, EPOLLIN);
	}
	while (t->ctl >= 0 && !t->full && t->nr_handed < MAX_HANDED &&
	       t->pending.nr) {
		struct seat *s;

		i = t->pending.at[t->pending.first];
		s = &t->roster.seat[i];
		assert(s->state == SEAT_NEW);
		if (seat_send(t, s)) {
			/* it took none now; or it died: bury opens them */
			t->full = true;
			watch_ctl(t, EPOLLIN | EPOLLOUT);
			return;
		}
		fifo_pop(&t->pending, &i);
		s->state = SEAT_HANDED;
		t->nr_handed++;
	}
}

void seating_begin(struct seating *t, int ctl, uint64_t data)
{
	t->ctl = ctl;
	t->ctl_data = data;
	t->full = false;
}

void seating_bury(struct seating *t)
{
	uint32_t i;

	t->ctl = -1;
	for (i = 0; i < t->roster.top; i++) {
		struct seat *s = &t->roster.seat[i];

		if (s->state == SEAT_CLOSING)
			roster_close(&t->roster, s);
		else if (s->state == SEAT_NEW || s->state == SEAT_HANDED)
			seat_open(t, s);
	}
	while (fifo_pop(&t->pending, &i))
		;
	t->nr_handed = 0;
}

void seating_add(struct seating *t, struct seat *s)
{
	assert(s->state == SEAT_NEW);
	if (t->ctl < 0) { /* the next engine inherits it */
		seat_open(t, s);
		return;
	}
	fifo_push(&t->pending, s->index);
	seating_pump(t, false);
}

void seating_hangup(struct seating *t, struct seat *s)
{
	if (s->state == SEAT_NEW)
		fifo_remove(&t->pending, s->index);
	if (s->state == SEAT_HANDED)
		t->nr_handed--;
	if (s->state == SEAT_NEW || t->ctl < 0) {
		seat_end(t, s);
		return;
	}
	epoll_ctl(t->epoll, EPOLL_CTL_DEL, s->conn, NULL);
	close(s->conn);
	s->conn = -1;
	s->state = SEAT_CLOSING;
}

void seating_message(struct seating *t, const struct handover_msg *m)
{
	struct seat *s;
	struct err err;

	if (m->index >= t->roster.top)
		return;
	s = &t->roster.seat[m->index];
	if (s->state == SEAT_FREE || s->id != m->session)
		return;
	if (s->state == SEAT_HANDED)
		t->nr_handed--;
	if (m->kind == HANDOVER_CLOSED ||
	    (m->error && s->state == SEAT_CLOSING)) {
		seat_end(t, s);
	} else if (s->state == SEAT_HANDED && m->error) {
		err_set(&err, m->error,
			"the engine cannot map another session: %s",
			strerror(-m->error));
		seat_refuse(t, s, &err);
	} else if (s->state == SEAT_HANDED) {
		seat_open(t, s);
	}
}
