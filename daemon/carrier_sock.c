/* SPDX-License-Identifier: MIT */
/*
 * The order of loads and stores is the contract's (llm.h, its head):
 *   wait   drain bells -> F             pairs with: client's sq_tail, F, bell
 *   take   sq_tail acq -> entry once    pairs with: client's sq_tail rel
 *   ack    sq_head rel
 *   flush  bell word rel -> wake byte   the engine's F stands before, between
 *                                       its commits and its look at wishes
 * A dropped wake byte (EAGAIN) loses nothing: unread ones are in the buffer.
 *
 * State is split: a `hot` line a session, in one array, is all that a bell,
 * an entry or a wake touches; the rest stands in `cold`.  What is to be done
 * waits in FIFOs of indices, so no step looks at every session.
 */
#include "daemon/carrier_sock.h"
#include "base/err.h"
#include "daemon/areas.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/fifo.h"
#include "daemon/handover.h"
#include "daemon/layout.h"
#include "llm_shm.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#ifdef __SANITIZE_THREAD__
__attribute__((weak)) uint32_t shm_fence_word; /* llm_shm.h */
#endif

#define NR_EVENTS	256
#define BELL_BYTES	256 /* read of one session a wait: a flood waits */
#define OPEN_IDLE_BATCH 32  /* idle old sessions between two waits */
/*
 * A step shorter than this shares its look for bells with the next: a model
 * of microseconds pays no system call a token (I7), one of milliseconds
 * looks each step.
 */
#define POLL_GAP_NS 50000u

#define DATA_CTL    (~0ull)
#define DATA_KICK   (~1ull)

enum {
	HOT_OPENED = 1 << 0,  /* OPEN was given out */
	HOT_LOOK = 1 << 1,    /* in `look` */
	HOT_COUNTED = 1 << 2, /* `tail` is this round's */
	HOT_TOUCHED = 1 << 3, /* in `touched`: head moved, not acknowledged */
	HOT_WAKE = 1 << 4,    /* in `waking` */
	HOT_BROKEN = 1 << 5,
	HOT_GONE = 1 << 6, /* its client is */
};

struct hot {
	struct cold *cold;	   /* owned; NULL: a free index */
	const __u32 *sq_tail;	   /* written by the client: hostile */
	const struct llm_sqe *sqe; /* hostile */
	uint32_t head, tail;	   /* taken up to; this round's end */
	uint32_t entries;
	uint32_t flags; /* HOT_* */
	int conn;	/* owned */
	uint32_t pad[5];
};
_Static_assert(sizeof(struct hot) == 64, "one line");

struct cold {
	struct session s;
	struct areas areas; /* owned */
};

struct sock {
	struct carrier c; /* first: carrier_sock is a carrier */
	struct board *board;
	int epoll, kick, ctl; /* owned */
	bool told_ready, ended, no_pwait2;
	uint32_t max_sessions;
	uint32_t idle_budget; /* opens left before the next wait */
	int64_t retiring;     /* CLOSE was given out; -1: none */
	uint64_t polled_ns;
	struct hot *hot; /* owned: [max_sessions] */
	struct fifo open_busy, open_idle, closing, look, touched, waking;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- sessions -------------------------------------------------------- */

static void tell(struct sock *k, enum handover_kind kind, uint32_t index,
		 uint64_t session, int error)
{
	struct handover_msg m;

	memset(&m, 0, sizeof(m));
	m.kind = kind;
	m.index = index;
	m.session = session;
	m.error = error;
	/* a keeper that is gone takes us along (PDEATHSIG) */
	(void)!send(k->ctl, &m, sizeof(m), MSG_NOSIGNAL);
}

/* Take @areas and @conn over and put the session where it will be opened. */
static int session_add(struct sock *k, const struct handover_old *o)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP,
				  .data.u64 = o->index };
	struct hot *h = &k->hot[o->index];
	struct cold *cold;

	assert(o->index < k->max_sessions && !h->cold);
	assert(layout_holds(&o->areas->setup));
	cold = calloc(1, sizeof(*cold));
	if (!cold)
		return -ENOMEM;
	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, o->conn, &ev) < 0) {
		free(cold);
		return -errno;
	}
	cold->areas = *o->areas;
	cold->areas.host_rw = NULL; /* the keeper's; unmapped here */
	areas_view(&cold->areas, &cold->s);
	cold->s.id = o->id;
	cold->s.tenant = o->tenant;
	cold->s.uid = o->uid;
	cold->s.index = o->index;
	memset(h, 0, sizeof(*h));
	h->cold = cold;
	h->sq_tail = &cold->s.client->sq_tail;
	h->sqe = cold->s.sqe;
	h->entries = cold->s.sq_entries;
	h->head = shm_load(&cold->s.engine->sq_head);
	h->conn = o->conn;
	fifo_push(o->busy ? &k->open_busy : &k->open_idle, o->index);
	return 0;
}

static void session_free(struct sock *k, uint32_t index)
{
	struct hot *h = &k->hot[index];
	uint64_t id = h->cold->s.id;

	if (h->flags & HOT_LOOK)
		fifo_remove(&k->look, index);
	if (h->flags & HOT_TOUCHED)
		fifo_remove(&k->touched, index);
	if (h->flags & HOT_WAKE)
		fifo_remove(&k->waking, index);
	areas_unmap(&h->cold->areas);
	close(h->conn);
	free(h->cold);
	memset(h, 0, sizeof(*h));
	tell(k, HANDOVER_CLOSED, index, id, 0);
}

/* The caller has done with the session whose CLOSE it got. */
static void retire(struct sock *k)
{
	if (k->retiring >= 0)
		session_free(k, (uint32_t)k->retiring);
	k->retiring = -1;
}

static void session_gone(struct sock *k, uint32_t index)
{
	struct hot *h = &k->hot[index];

	epoll_ctl(k->epoll, EPOLL_CTL_DEL, h->conn, NULL);
	h->flags |= HOT_GONE;
	if (h->flags & HOT_OPENED) {
		fifo_push(&k->closing, index);
		return;
	}
	/* never named to the engine: it need not hear of it */
	if (!fifo_remove(&k->open_busy, index))
		fifo_remove(&k->open_idle, index);
	session_free(k, index);
}

/* ---- messages from the keeper ---------------------------------------- */

static void msg_add(struct sock *k, const struct handover_msg *m, const int *fd,
		    uint32_t nr_fds)
{
	struct areas areas;
	struct handover_old o = { .id = m->session,
				  .tenant = m->tenant,
				  .uid = m->uid,
				  .index = m->index,
				  .busy = true, /* someone waits for it */
				  .areas = &areas };
	uint32_t i;
	int ret;

	if (nr_fds != HANDOVER_FDS) { /* our table is full */
		for (i = 0; i < nr_fds; i++)
			close(fd[i]);
		tell(k, HANDOVER_ADDED, m->index, m->session, -EMFILE);
		return;
	}
	o.conn = fd[AREAS_NR];
	ret = areas_map(&areas, &m->setup, fd, NULL);
	if (!ret) {
		/* the client reads it once we answer; OPEN comes later */
		areas_tell_model(&areas, &k->board->info.model);
		ret = session_add(k, &o);
		if (ret)
			areas_unmap(&areas);
	}
	if (ret)
		close(o.conn);
	tell(k, HANDOVER_ADDED, m->index, m->session, ret);
}

/* 1: one was read; 0: none now, or the keeper hung up. */
static int msg_take(struct sock *k)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * HANDOVER_FDS)];
		struct cmsghdr align;
	} control;
	struct handover_msg m;
	struct iovec io = { &m, sizeof(m) };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control.buf,
			    .msg_controllen = sizeof(control.buf) };
	int fd[HANDOVER_FDS];
	uint32_t nr_fds = 0;
	struct cmsghdr *c;
	ssize_t n;

	n = recvmsg(k->ctl, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		k->ended = true;
		return 0;
	}
	assert(n == sizeof(m));
	c = CMSG_FIRSTHDR(&h);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		nr_fds = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fd, CMSG_DATA(c), nr_fds * sizeof(int));
	}
	if (m.kind == HANDOVER_ADD)
		msg_add(k, &m, fd, nr_fds);
	/* DRAIN: that we woke is all of it */
	return 1;
}

/* ---- take, ack ------------------------------------------------------- */

static bool next_open(struct sock *k, uint32_t *ret)
{
	if (fifo_pop(&k->open_busy, ret))
		return true;
	if (!k->idle_budget || !fifo_pop(&k->open_idle, ret))
		return false;
	k->idle_budget--;
	return true;
}

static void look(struct sock *k, uint32_t index)
{
	struct hot *h = &k->hot[index];

	if (h->flags & (HOT_LOOK | HOT_BROKEN | HOT_GONE))
		return;
	h->flags |= HOT_LOOK;
	fifo_push(&k->look, index);
}

/*
 * One entry of a session that rang; sessions take turns.  false: it has none
 * left this round.
 */
static bool take_entry(struct sock *k, uint32_t index, struct carrier_work *w)
{
	struct hot *h = &k->hot[index];

	w->session = &h->cold->s;
	if (!(h->flags & HOT_COUNTED)) {
		/* read once a round; pairs with the client's publish */
		h->tail = shm_acquire(h->sq_tail);
		h->flags |= HOT_COUNTED;
	}
	if (h->tail - h->head > h->entries) {
		h->flags |= HOT_BROKEN;
		shm_publish(&h->cold->s.engine->broken, 1u);
		w->kind = CARRIER_BROKEN;
	} else if (h->head != h->tail) {
		w->kind = CARRIER_SQE;
		shm_copy_in(&w->sqe, &h->sqe[h->head & (h->entries - 1)],
			    sizeof(w->sqe));
		h->head++;
		if (!(h->flags & HOT_TOUCHED)) {
			h->flags |= HOT_TOUCHED;
			fifo_push(&k->touched, index);
		}
		if (h->head != h->tail) {
			fifo_push(&k->look, index);
			return true;
		}
	} else {
		h->flags &= ~(uint32_t)(HOT_LOOK | HOT_COUNTED);
		return false;
	}
	h->flags &= ~(uint32_t)(HOT_LOOK | HOT_COUNTED);
	return true;
}

static void tell_ready(struct sock *k)
{
	/* pairs with the engine's publish */
	if (!k->told_ready && shm_acquire(&k->board->ready)) {
		k->told_ready = true;
		tell(k, HANDOVER_READY, 0, 0, 0);
	}
}

static int sock_take(struct carrier *c, struct carrier_work *w)
{
	struct sock *k = (struct sock *)c;
	struct hot *h;
	uint32_t i;

	retire(k);
	tell_ready(k);
	if (fifo_pop(&k->closing, &i)) {
		w->kind = CARRIER_CLOSE;
		w->session = &k->hot[i].cold->s;
		k->retiring = i;
		return 1;
	}
	if (next_open(k, &i)) {
		h = &k->hot[i];
		h->flags |= HOT_OPENED;
		/* a bell may have rung in an earlier life: look once */
		look(k, i);
		w->kind = CARRIER_OPEN;
		w->session = &h->cold->s;
		return 1;
	}
	while (fifo_pop(&k->look, &i))
		if (take_entry(k, i, w))
			return 1;
	return 0;
}

static void sock_ack(struct carrier *c)
{
	struct sock *k = (struct sock *)c;
	uint32_t i;

	while (fifo_pop(&k->touched, &i)) {
		struct hot *h = &k->hot[i];

		h->flags &= ~(uint32_t)HOT_TOUCHED;
		/* the room is the client's again; pairs with its acquire */
		shm_publish(&h->cold->s.engine->sq_head, h->head);
	}
}

/* ---- wake ------------------------------------------------------------ */

static void sock_wake(struct carrier *c, struct session *s)
{
	struct sock *k = (struct sock *)c;
	struct hot *h = &k->hot[s->index];

	if (h->flags & (HOT_WAKE | HOT_GONE))
		return;
	h->flags |= HOT_WAKE;
	fifo_push(&k->waking, s->index);
}

static uint32_t sock_flush(struct carrier *c)
{
	struct sock *k = (struct sock *)c;
	uint32_t i, nr = 0;

	while (fifo_pop(&k->waking, &i)) {
		struct hot *h = &k->hot[i];
		struct llm_engine_ctl *e = h->cold->s.engine;

		h->flags &= ~(uint32_t)HOT_WAKE;
		shm_publish(&e->bell, e->bell + 1);
		(void)!send(h->conn, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		nr++;
	}
	return nr;
}

/* ---- wait ------------------------------------------------------------ */

/* Drain a connection that became readable. */
static void bell(struct sock *k, uint32_t index, uint32_t events)
{
	struct hot *h = &k->hot[index];
	char buf[BELL_BYTES];
	ssize_t n;

	/* no control buffer: descriptors sent to us vanish in the kernel */
	n = recv(h->conn, buf, sizeof(buf), MSG_DONTWAIT);
	if (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR) || n == 0 ||
	    (n < 0 && errno != EAGAIN && errno != EINTR)) {
		session_gone(k, index);
		return;
	}
	if (n < 0)
		return;
	shm_add(&k->board->info.bells, 1);
	if (h->flags & HOT_OPENED)
		look(k, index);
	else if (fifo_remove(&k->open_idle, index)) /* not so idle */
		fifo_push(&k->open_busy, index);
}

static int poll_until(struct sock *k, uint64_t deadline_ns, uint64_t now,
		      struct epoll_event *ev)
{
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	struct timespec t = { (time_t)(left / 1000000000u),
			      (long)(left % 1000000000u) };
	int ms, n;

	if (left && !k->no_pwait2) {
		n = (int)syscall(SYS_epoll_pwait2, k->epoll, ev, NR_EVENTS,
				 deadline_ns == UINT64_MAX ? NULL : &t, NULL,
				 0);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		k->no_pwait2 = true; /* an old kernel, or a filter */
	}
	if (deadline_ns == UINT64_MAX)
		ms = -1;
	else if (left > 3600ull * 1000000000u)
		ms = 3600 * 1000;
	else
		ms = (int)((left + 999999) / 1000000);
	return epoll_wait(k->epoll, ev, NR_EVENTS, ms);
}

static bool has_work(const struct sock *k)
{
	return k->closing.nr || k->open_busy.nr || k->open_idle.nr ||
	       k->look.nr;
}

static int sock_wait(struct carrier *c, uint64_t deadline_ns)
{
	struct sock *k = (struct sock *)c;
	struct epoll_event ev[NR_EVENTS];
	uint64_t now, count;
	int i, n;

	retire(k);
	tell_ready(k);
	k->idle_budget = OPEN_IDLE_BATCH;
	if (has_work(k) || k->ended)
		deadline_ns = 0;
	now = now_ns();
	if (deadline_ns <= now && now - k->polled_ns < POLL_GAP_NS)
		return k->ended ? -ESHUTDOWN : 0;
	n = poll_until(k, deadline_ns, now, ev);
	k->polled_ns = deadline_ns > now ? 0 : now;
	for (i = 0; i < n; i++) {
		if (ev[i].data.u64 == DATA_CTL) {
			while (msg_take(k))
				;
		} else if (ev[i].data.u64 == DATA_KICK) {
			(void)!read(k->kick, &count, sizeof(count));
		} else {
			bell(k, (uint32_t)ev[i].data.u64, ev[i].events);
		}
	}
	/* drained, then looked: pairs with the client's store, F, bell */
	if (n > 0)
		shm_fence();
	return k->ended ? -ESHUTDOWN : 0;
}

static void sock_kick(struct carrier *c)
{
	struct sock *k = (struct sock *)c;
	uint64_t one = 1;

	/* EAGAIN: it is rung already */
	(void)!write(k->kick, &one, sizeof(one));
}

/* ---- open, close ----------------------------------------------------- */

static void sock_close(struct carrier *c)
{
	struct sock *k = (struct sock *)c;
	struct fifo *q[] = { &k->open_busy, &k->open_idle, &k->closing,
			     &k->look,	    &k->touched,   &k->waking };
	uint32_t i;

	for (i = 0; k->hot && i < k->max_sessions; i++) {
		struct hot *h = &k->hot[i];

		if (!h->cold)
			continue;
		areas_unmap(&h->cold->areas);
		close(h->conn);
		free(h->cold);
	}
	for (i = 0; i < sizeof(q) / sizeof(q[0]); i++)
		fifo_deinit(q[i]);
	free(k->hot);
	if (k->epoll >= 0)
		close(k->epoll);
	if (k->kick >= 0)
		close(k->kick);
	close(k->ctl);
	free(k);
}

static int watch(struct sock *k, int fd, uint64_t data)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = data };

	return epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int sock_init(struct sock *k)
{
	struct fifo *q[] = { &k->open_busy, &k->open_idle, &k->closing,
			     &k->look,	    &k->touched,   &k->waking };
	uint32_t i;
	int ret;

	k->hot = aligned_alloc(64, k->max_sessions * sizeof(*k->hot));
	if (!k->hot)
		return -ENOMEM;
	memset(k->hot, 0, k->max_sessions * sizeof(*k->hot));
	for (i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
		ret = fifo_init(q[i], k->max_sessions);
		if (ret)
			return ret;
	}
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll < 0)
		return -errno;
	k->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->kick < 0)
		return -errno;
	ret = watch(k, k->kick, DATA_KICK);
	return ret ? ret : watch(k, k->ctl, DATA_CTL);
}

int carrier_sock_start(const struct handover *in, struct carrier **ret,
		       struct err *err)
{
	struct sock *k = calloc(1, sizeof(*k));
	uint32_t i;
	int r;

	if (!k)
		return err_set(err, -ENOMEM, "carrier: out of memory");
	k->c = (struct carrier){ .take = sock_take,
				 .ack = sock_ack,
				 .wake = sock_wake,
				 .flush = sock_flush,
				 .wait = sock_wait,
				 .kick = sock_kick,
				 .close = sock_close };
	k->board = in->board;
	k->ctl = in->ctl;
	k->max_sessions = in->max_sessions;
	k->epoll = k->kick = -1;
	k->retiring = -1;
	k->idle_budget = OPEN_IDLE_BATCH;
	r = sock_init(k);
	for (i = 0; !r && i < in->nr_old; i++)
		r = session_add(k, &in->old[i]);
	if (r) {
		sock_close(&k->c);
		return err_set(err, r, "carrier: %s", strerror(-r));
	}
	*ret = &k->c;
	return 0;
}
