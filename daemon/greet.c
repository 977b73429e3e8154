/* SPDX-License-Identifier: MIT */
#include "daemon/greet.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/admin.h"
#include "daemon/board.h"
#include "daemon/keeper_state.h"
#include "llm_shm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BATCH	64 /* connections a turn: others get theirs */
#define ACCEPT_PAUSE_NS (SECOND / 10) /* when descriptors run out */

static void guest_drop(struct keeper *k, struct guest *g)
{
	epoll_ctl(k->epoll, EPOLL_CTL_DEL, g->fd, NULL);
	guests_remove(&k->guests, g);
}

/* After an answer: gone, or waiting for room to send the rest. */
static void guest_done(struct keeper *k, struct guest *g, int ret)
{
	if (ret == 0)
		ret = keeper_watch(k, EPOLL_CTL_MOD, g->fd, EPOLLOUT,
				   EV(ON_GUEST, g->index, g->serial));
	if (ret)
		guest_drop(k, g);
}

static void greet_info(struct keeper *k, struct guest *g)
{
	struct llm_info info;

	shm_copy_in(&info, &k->board->info, sizeof(info));
	info.size = sizeof(info);
	info.daemon = keeper_daemon(k);
	info.epoch = k->epoch;
	info.nr_sessions = k->seating.roster.nr;
	info.uptime_ns = keeper_now() - k->begun_ns;
	info.restarts = k->life.lives ? k->life.lives - 1 : 0;
	guest_done(k, g, guest_grant(g, &info, sizeof(info), 1));
}

static void greet_list(struct keeper *k, struct guest *g)
{
	const struct roster *r = &k->seating.roster;
	struct llm_session_info *list;
	uint32_t nr;

	list = calloc(r->nr + 1, sizeof(*list));
	if (!list) {
		guest_drop(k, g);
		return;
	}
	nr = roster_list(r, admin_is(k, g->uid) ? 0 : g->uid, keeper_now(),
			 list, r->nr);
	guest_done(k, g, guest_grant(g, list, sizeof(*list), nr));
	free(list);
}

static int greet_admin(struct keeper *k, struct guest *g, uint32_t op,
		       struct err *err)
{
	struct admin_answer a;
	int ret = admin_do(k, g, op, &a, err);

	if (ret)
		return ret;
	guest_done(k, g, guest_grant(g, a.list, a.elem_size, a.nr));
	free(a.list);
	return 0;
}

/* It follows from here on, and is no guest any more. */
static int greet_monitor(struct keeper *k, struct guest *g, struct err *err)
{
	struct llm_hello_reply reply;
	uint32_t i;
	int ret;

	ret = monitor_add(&k->monitor, g->fd, g->uid, admin_is(k, g->uid), &i,
			  err);
	if (ret)
		return ret;
	hello_grant(&reply);
	reply.elem_size = sizeof(struct llm_event_info);
	hello_send(g->fd, &reply, NULL, 0);
	keeper_watch(k, EPOLL_CTL_MOD, g->fd, EPOLLRDHUP,
		     EV(ON_WATCHER, i, k->monitor.at[i].serial));
	g->fd = -1;
	guests_remove(&k->guests, g);
	return 0;
}

/* Its own seat, in place of the guest's. */
static int greet_session(struct keeper *k, struct guest *g,
			 const struct llm_setup *wishes, struct err *err)
{
	struct seat *s;
	int ret;

	if (k->draining)
		return err_set(err, -ESHUTDOWN, "the daemon is stopping");
	ret = roster_open(&k->seating.roster, wishes, g->uid, g->pid, g->fd,
			  keeper_now(), &s, err);
	if (ret)
		return ret;
	shm_store(&s->areas.host_rw->epoch, k->epoch);
	shm_store(&s->areas.host_rw->daemon, keeper_daemon(k));
	/* a modification cannot fail for want of memory */
	keeper_watch(k, EPOLL_CTL_MOD, s->conn, EPOLLRDHUP,
		     EV(ON_SEAT, s->index, s->id));
	g->fd = -1;
	guests_remove(&k->guests, g);
	if (k->look_ns == UINT64_MAX)
		k->look_ns = 0; /* there is something to watch again */
	monitor_tell(&k->monitor, LLM_EV_OPEN, s->uid, s->id);
	seating_add(&k->seating, s);
	return 0;
}

static void greet(struct keeper *k, struct guest *g)
{
	struct llm_hello hello;
	struct err err;
	int ret;

	ret = hello_parse(&g->in, &hello, &err);
	if (!ret) {
		switch (hello.op) {
		case LLM_HELLO_INFO:
			greet_info(k, g);
			break;
		case LLM_HELLO_LIST:
			greet_list(k, g);
			break;
		case LLM_HELLO_SESSION:
			ret = greet_session(k, g, &hello.setup, &err);
			break;
		case LLM_HELLO_MONITOR:
			ret = greet_monitor(k, g, &err);
			break;
		default:
			ret = greet_admin(k, g, hello.op, &err);
		}
	}
	if (ret) {
		guest_refuse(g, &err);
		guest_drop(k, g);
	}
}

void greet_guest(struct keeper *k, struct guest *g)
{
	int ret;

	if (g->out) {
		if (guest_write(g)) /* sent, or hopeless */
			guest_drop(k, g);
		return;
	}
	ret = guest_read(g);
	if (ret < 0)
		guest_drop(k, g);
	else if (ret > 0)
		greet(k, g);
}

static void guest_arrive(struct keeper *k, int fd)
{
	struct llm_hello_reply reply;
	struct guest *g;
	struct err err;

	if (guests_add(&k->guests, fd, keeper_now() + k->hello_ns, &g, &err)) {
		hello_refuse(&reply, &err);
		hello_send(fd, &reply, NULL, 0);
		close(fd);
		return;
	}
	if (keeper_watch(k, EPOLL_CTL_ADD, fd, EPOLLIN,
			 EV(ON_GUEST, g->index, g->serial)))
		guests_remove(&k->guests, g);
}

void greet_listen(struct keeper *k)
{
	int i, fd;

	for (i = 0; i < ACCEPT_BATCH; i++) {
		fd = accept4(k->listen.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			guest_arrive(k, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			return;
		/* out of descriptors or memory: those who wait, wait */
		log_warn("accept: %s", strerror(errno));
		keeper_watch(k, EPOLL_CTL_MOD, k->listen.fd, 0,
			     EV(ON_LISTEN, 0, 0));
		k->accept_ns = keeper_now() + ACCEPT_PAUSE_NS;
		return;
	}
}

void greet_clock(struct keeper *k, uint64_t now)
{
	struct guest *g;
	struct err err;

	err_set(&err, -ETIMEDOUT, "no hello came in time");
	while ((g = guests_late(&k->guests, now))) {
		if (!g->out)
			guest_refuse(g, &err);
		guest_drop(k, g);
	}
	if (now < k->accept_ns)
		return;
	k->accept_ns = UINT64_MAX;
	keeper_watch(k, EPOLL_CTL_MOD, k->listen.fd, EPOLLIN,
		     EV(ON_LISTEN, 0, 0));
}

void greet_farewell(struct keeper *k, const struct err *why)
{
	uint32_t i;

	for (i = 0; i < k->guests.top; i++)
		if (k->guests.at[i] && !k->guests.at[i]->out)
			guest_refuse(k->guests.at[i], why);
	guests_remove_all(&k->guests);
}
