/* SPDX-License-Identifier: MIT */
/*
 * One epoll loop.  What it waits for stands in event data as (kind, index,
 * serial): a serial that no longer fits is an event of somebody who left
 * earlier in the same batch.
 *
 * A connection is a guest (guests.h) until its hello is complete; then it is
 * answered and closed, or it takes a seat (seating.h).  An engine lives from
 * engine_start() to on_death(); between two of them the clock waits.
 */
#include "daemon/keeper.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/handover.h"
#include "daemon/child.h"
#include "daemon/guests.h"
#include "daemon/life.h"
#include "daemon/listen.h"
#include "daemon/notify.h"
#include "daemon/seating.h"
#include "llm_shm.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND		1000000000ull

#define NR_EVENTS	64
#define ACCEPT_BATCH	64 /* connections a turn: others get theirs */
#define ACCEPT_PAUSE_NS (SECOND / 10) /* when descriptors run out */
#define END_TIMEOUT_NS	(2 * SECOND)  /* from "end now" to SIGKILL */

enum { ON_LISTEN, ON_SIGNAL, ON_ENGINE, ON_GUEST, ON_SEAT };
#define EV(kind, index, serial)                                                \
	((uint64_t)(kind) | (uint64_t)(index) << 4 | (uint64_t)(serial) << 24)
#define EV_KIND(d)   ((d)&15)
#define EV_INDEX(d)  ((uint32_t)((d) >> 4) & 0xfffff)
#define EV_SERIAL(d) ((d) >> 24)

struct keeper {
	const struct keeper_options *opt;
	struct board *board; /* owned; shared with engines */
	struct listen listen;
	struct seating seating;
	struct guests guests;
	struct life life;
	int epoll, signals; /* owned */
	sigset_t old_mask;  /* what an engine gets back */
	/* the engine */
	pid_t engine; /* 0: none lives */
	int ctl;      /* owned; -1: none */
	uint32_t epoch;
	/* the clock; UINT64_MAX: never */
	uint64_t begun_ns, restart_ns, look_ns, accept_ns, drain_ns, kill_ns;
	bool draining, done;
	int ret; /* of keeper_run() */
	struct err *err;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static int watch(struct keeper *k, int op, int fd, uint32_t events,
		 uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	return epoll_ctl(k->epoll, op, fd, &ev) < 0 ? -errno : 0;
}

static uint32_t daemon_state(const struct keeper *k)
{
	if (k->draining)
		return LLM_DAEMON_DRAINING;
	return k->life.ready && k->engine ? LLM_DAEMON_READY : LLM_DAEMON_NONE;
}

static void tell_all(struct keeper *k)
{
	k->board->epoch = k->epoch;
	roster_tell(&k->seating.roster, k->epoch, daemon_state(k));
}

/* ---- guests ---------------------------------------------------------- */

static void guest_drop(struct keeper *k, struct guest *g)
{
	epoll_ctl(k->epoll, EPOLL_CTL_DEL, g->fd, NULL);
	guests_remove(&k->guests, g);
}

/* After an answer: gone, or waiting for room to send the rest. */
static void guest_done(struct keeper *k, struct guest *g, int ret)
{
	if (ret == 0)
		ret = watch(k, EPOLL_CTL_MOD, g->fd, EPOLLOUT,
			    EV(ON_GUEST, g->index, g->serial));
	if (ret)
		guest_drop(k, g);
}

static void greet_info(struct keeper *k, struct guest *g)
{
	struct llm_info info;

	shm_copy_in(&info, &k->board->info, sizeof(info));
	info.size = sizeof(info);
	info.daemon = daemon_state(k);
	info.epoch = k->epoch;
	info.nr_sessions = k->seating.roster.nr;
	info.uptime_ns = now_ns() - k->begun_ns;
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
	nr = roster_list(r, g->uid, now_ns(), list, r->nr);
	guest_done(k, g, guest_grant(g, list, sizeof(*list), nr));
	free(list);
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
			  now_ns(), &s, err);
	if (ret)
		return ret;
	shm_store(&s->areas.host_rw->epoch, k->epoch);
	shm_store(&s->areas.host_rw->daemon, daemon_state(k));
	/* a modification cannot fail for want of memory */
	watch(k, EPOLL_CTL_MOD, s->conn, EPOLLRDHUP,
	      EV(ON_SEAT, s->index, s->id));
	g->fd = -1;
	guests_remove(&k->guests, g);
	if (k->look_ns == UINT64_MAX)
		k->look_ns = 0; /* there is something to watch again */
	seating_add(&k->seating, s);
	return 0;
}

static void greet(struct keeper *k, struct guest *g)
{
	struct llm_hello hello;
	struct err err;
	int ret;

	ret = hello_parse(&g->in, &hello, &err);
	if (!ret && hello.op == LLM_HELLO_INFO)
		greet_info(k, g);
	else if (!ret && hello.op == LLM_HELLO_LIST)
		greet_list(k, g);
	else if (!ret)
		ret = greet_session(k, g, &hello.setup, &err);
	if (ret) {
		guest_refuse(g, &err);
		guest_drop(k, g);
	}
}

static void on_guest(struct keeper *k, struct guest *g)
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
	uint64_t timeout = k->opt->hello_timeout_ns;
	struct llm_hello_reply reply;
	struct guest *g;
	struct err err;

	if (!timeout)
		timeout = 5 * SECOND;
	if (guests_add(&k->guests, fd, now_ns() + timeout, &g, &err)) {
		hello_refuse(&reply, &err);
		hello_send(fd, &reply, NULL, 0);
		close(fd);
		return;
	}
	if (watch(k, EPOLL_CTL_ADD, fd, EPOLLIN,
		  EV(ON_GUEST, g->index, g->serial)))
		guests_remove(&k->guests, g);
}

static void on_listen(struct keeper *k)
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
		watch(k, EPOLL_CTL_MOD, k->listen.fd, 0, EV(ON_LISTEN, 0, 0));
		k->accept_ns = now_ns() + ACCEPT_PAUSE_NS;
		return;
	}
}

/* ---- the engine ------------------------------------------------------ */

static void engine_child(struct keeper *k, int ctl, pid_t self)
{
	const int mine[] = { k->listen.fd, k->epoll, k->signals, k->ctl };
	struct child c = { .keeper = self,
			   .ctl = ctl,
			   .close = mine,
			   .nr_close = 4,
			   .guests = &k->guests,
			   .roster = &k->seating.roster,
			   .board = k->board,
			   .mask = k->old_mask,
			   .engine = k->opt->engine,
			   .engine_arg = k->opt->engine_arg };

	child_main(&c);
}

static int engine_start(struct keeper *k)
{
	uint64_t data;
	pid_t self = getpid();
	int sp[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
		return err_set(k->err, -errno, "socketpair: %s",
			       strerror(errno));
	k->epoch++;
	life_begin(&k->life, k->board);
	tell_all(k);
	k->ctl = sp[0];
	k->engine = fork();
	if (k->engine == 0)
		engine_child(k, sp[1], self);
	close(sp[1]);
	if (k->engine < 0) {
		ret = err_set(k->err, -errno, "fork: %s", strerror(errno));
		k->engine = 0;
		close(k->ctl);
		k->ctl = -1;
		return ret;
	}
	k->restart_ns = UINT64_MAX;
	k->look_ns = 0;
	data = EV(ON_ENGINE, 0, k->epoch);
	watch(k, EPOLL_CTL_ADD, k->ctl, EPOLLIN, data);
	seating_begin(&k->seating, k->ctl, data);
	return 0;
}

static void engine_kill(struct keeper *k)
{
	/* not reaped yet, so surely ours */
	if (k->engine)
		kill(k->engine, SIGKILL);
}

static void on_ready(struct keeper *k)
{
	const struct llm_info *info = &k->board->info;
	char name[sizeof(info->model.name) + 1] = { 0 };
	char line[400];

	if (k->life.ready)
		return;
	k->life.ready = true;
	tell_all(k);
	memcpy(name, info->model.name, sizeof(info->model.name));
	if (k->life.lives > 1) {
		log_info("engine %d serves again", (int)k->engine);
		return;
	}
	snprintf(line, sizeof(line),
		 "%s on %s, context %u, %u blocks of KV, pid %d", name,
		 k->listen.path, info->model.context, info->kv_blocks,
		 (int)getpid());
	log_info("ready: %s", line);
	memmove(line + 15, line, sizeof(line) - 16);
	memcpy(line, "READY=1\nSTATUS=", 15);
	line[sizeof(line) - 1] = 0;
	notify_send(line);
}

static void on_engine(struct keeper *k, uint32_t events)
{
	struct handover_msg m;
	ssize_t n;

	while ((n = recv(k->ctl, &m, sizeof(m), MSG_DONTWAIT)) ==
	       (ssize_t)sizeof(m)) {
		if (m.kind == HANDOVER_READY)
			on_ready(k);
		else
			seating_message(&k->seating, &m);
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		/* dead or dying: the rest when it is reaped */
		epoll_ctl(k->epoll, EPOLL_CTL_DEL, k->ctl, NULL);
	else
		seating_pump(&k->seating, events & EPOLLOUT);
}

/* It is reaped; what it still said counts. */
static void engine_bury(struct keeper *k)
{
	on_engine(k, 0);
	close(k->ctl);
	k->ctl = -1;
	k->engine = 0;
	k->epoch++;
	tell_all(k);
	seating_bury(&k->seating);
}

static void on_death(struct keeper *k, int status)
{
	pid_t pid = k->engine;
	struct err err = { 0 };
	uint32_t hurt;

	engine_bury(k);
	hurt = roster_scan(&k->seating.roster);
	/* the engine takes the pause from it; only where somebody felt it */
	k->board->death_ns = hurt ? now_ns() : 0;
	switch (life_end(&k->life, k->board, status, k->draining, now_ns(),
			 &k->restart_ns, &err)) {
	case LIFE_ENDED:
		k->done = true;
		break;
	case LIFE_AGAIN:
		log_warn("engine %d: %s; streams of %u sessions wait for the "
			 "next",
			 (int)pid, err.text, hurt);
		break;
	case LIFE_OVER:
		k->done = true;
		k->ret = err_set(k->err, err.code, "%s", err.text);
		roster_tell(&k->seating.roster, k->epoch, LLM_DAEMON_FAILED);
		break;
	}
}

/* ---- signals, clock -------------------------------------------------- */

static void drain(struct keeper *k)
{
	struct handover_msg m = { .kind = HANDOVER_DRAIN };
	uint64_t timeout = k->opt->drain_timeout_ns;

	if (k->draining || !k->engine || !k->life.ready) {
		/* a second time, or nothing runs that could be waited for */
		k->done = true;
		return;
	}
	log_info("draining; a second signal ends at once");
	notify_send("STOPPING=1\nSTATUS=draining");
	k->draining = true;
	shm_publish(&k->board->draining, 1u);
	tell_all(k);
	/* a full pipe is as good: it wakes the engine too */
	(void)!send(k->ctl, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	k->drain_ns = now_ns() + (timeout ? timeout : 10 * SECOND);
}

static void on_signal(struct keeper *k)
{
	struct signalfd_siginfo si;
	int status;

	while (read(k->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo != SIGCHLD)
			drain(k);
		else if (k->engine &&
			 waitpid(k->engine, &status, WNOHANG) == k->engine)
			on_death(k, status);
	}
}

static void drain_over(struct keeper *k, uint64_t now)
{
	if (now >= k->kill_ns) {
		log_warn("the engine does not end; killed");
		k->done = true;
	} else if (now >= k->drain_ns) {
		log_warn("drained for long enough; streams that run are cut");
		k->drain_ns = UINT64_MAX;
		k->kill_ns = now + END_TIMEOUT_NS;
		if (k->engine)
			shutdown(k->ctl, SHUT_RDWR);
		else
			k->done = true;
	}
}

static void look_at_step(struct keeper *k, uint64_t now)
{
	uint64_t pause;

	if (!k->engine || !k->seating.roster.nr) {
		k->look_ns = UINT64_MAX;
		return;
	}
	if (!k->life.hung && life_hangs(k->board, now, &pause)) {
		log_warn("engine %d hangs in a step; killed", (int)k->engine);
		k->life.hung = true;
		engine_kill(k);
		pause = SECOND;
	}
	if (k->life.hung)
		pause = SECOND;
	k->look_ns = now + pause;
}

static void on_clock(struct keeper *k)
{
	static const char late[] = "no hello came in time";
	uint64_t now = now_ns();
	struct guest *g;
	struct err err;

	while ((g = guests_late(&k->guests, now))) {
		err_set(&err, -ETIMEDOUT, late);
		if (!g->out)
			guest_refuse(g, &err);
		guest_drop(k, g);
	}
	if (now >= k->look_ns)
		look_at_step(k, now);
	if (now >= k->accept_ns) {
		k->accept_ns = UINT64_MAX;
		watch(k, EPOLL_CTL_MOD, k->listen.fd, EPOLLIN,
		      EV(ON_LISTEN, 0, 0));
	}
	if (k->draining)
		drain_over(k, now);
	if (now >= k->restart_ns && !k->done && engine_start(k)) {
		/* no process, no descriptor: perhaps later */
		k->done = k->life.lives == 1;
		k->ret = k->done ? k->err->code : 0;
		k->restart_ns = now + SECOND;
		if (!k->done)
			log_warn("%s", k->err->text);
	}
}

/* Milliseconds to the next thing the clock brings; -1: nothing. */
static int clock_next(const struct keeper *k)
{
	uint64_t next = guests_deadline(&k->guests), now;
	const uint64_t at[] = { k->restart_ns, k->look_ns, k->accept_ns,
				k->drain_ns, k->kill_ns };
	unsigned i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] < next)
			next = at[i];
	if (next == UINT64_MAX)
		return -1;
	now = now_ns();
	if (next <= now)
		return 0;
	next = (next - now + 999999) / 1000000;
	return next > 3600 * 1000 ? 3600 * 1000 : (int)next;
}

/* ---- begin and end --------------------------------------------------- */

static void dispatch(struct keeper *k, uint64_t data, uint32_t events)
{
	uint32_t i = EV_INDEX(data);
	uint64_t serial = EV_SERIAL(data);
	const struct guest *g;
	struct roster *r;

	switch (EV_KIND(data)) {
	case ON_LISTEN:
		on_listen(k);
		break;
	case ON_SIGNAL:
		on_signal(k);
		break;
	case ON_ENGINE:
		if (k->ctl >= 0 && serial == k->epoch)
			on_engine(k, events);
		break;
	case ON_GUEST:
		g = i < k->guests.top ? k->guests.at[i] : NULL;
		if (g && g->serial == serial)
			on_guest(k, k->guests.at[i]);
		break;
	case ON_SEAT:
		r = &k->seating.roster;
		if (i < r->top && r->seat[i].id == serial &&
		    r->seat[i].conn >= 0)
			seating_hangup(&k->seating, &r->seat[i]);
		break;
	}
}

static void loop(struct keeper *k)
{
	struct epoll_event ev[NR_EVENTS];
	int i, n;

	while (!k->done) {
		n = epoll_wait(k->epoll, ev, NR_EVENTS, clock_next(k));
		for (i = 0; i < n && !k->done; i++)
			dispatch(k, ev[i].data.u64, ev[i].events);
		if (!k->done)
			on_clock(k);
	}
}

static void raise_limits(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l); /* what is there must do */
}

static int loop_open(struct keeper *k)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &k->old_mask);
	k->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (k->signals >= 0 && k->epoll >= 0 &&
	    !watch(k, EPOLL_CTL_ADD, k->signals, EPOLLIN, EV(ON_SIGNAL, 0, 0)))
		return 0;
	return err_set(k->err, -errno, "epoll, signalfd: %s", strerror(errno));
}

static void loop_close(struct keeper *k)
{
	if (k->epoll >= 0)
		close(k->epoll);
	if (k->signals >= 0)
		close(k->signals);
	sigprocmask(SIG_SETMASK, &k->old_mask, NULL);
}

/* Everything is there: serve, then let everyone go. */
static int serve(struct keeper *k)
{
	struct err why;
	uint32_t i;

	k->ret = watch(k, EPOLL_CTL_ADD, k->listen.fd, EPOLLIN,
		       EV(ON_LISTEN, 0, 0));
	if (!k->ret)
		loop(k);
	if (k->engine) {
		engine_kill(k);
		waitpid(k->engine, NULL, 0);
		close(k->ctl);
	}
	listen_close(&k->listen);
	err_set(&why, -ESHUTDOWN, "the daemon %s",
		k->ret ? "has failed" : "is stopping");
	for (i = 0; i < k->guests.top; i++)
		if (k->guests.at[i] && !k->guests.at[i]->out)
			guest_refuse(k->guests.at[i], &why);
	guests_remove_all(&k->guests);
	seating_deinit(&k->seating, &why);
	return k->ret;
}

int keeper_run(const struct keeper_options *opt, struct err *err)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct err none = { 0 };
	int ret;

	if (!k)
		return err_set(err, -ENOMEM, "out of memory");
	assert(opt->limits.max_sessions && opt->limits.max_sessions < 1u << 20);
	k->opt = opt;
	k->err = err;
	k->epoll = k->signals = k->ctl = -1;
	k->begun_ns = now_ns(); /* restart_ns is 0: the clock starts one */
	k->look_ns = k->accept_ns = k->drain_ns = k->kill_ns = UINT64_MAX;
	k->life.max_crashes = opt->max_crashes;
	raise_limits();
	k->board = mmap(NULL, sizeof(*k->board), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (k->board == MAP_FAILED) {
		ret = err_set(err, -errno, "mmap: %s", strerror(errno));
		goto out_free;
	}
	ret = loop_open(k);
	if (ret)
		goto out_loop;
	ret = seating_init(&k->seating, &opt->limits, k->epoll, err);
	if (ret)
		goto out_loop;
	k->seating.model = &k->board->info.model;
	ret = listen_open(&k->listen, opt->socket_path, opt->socket_mode,
			  opt->make_dir, err);
	if (ret)
		seating_deinit(&k->seating, &none);
	else
		ret = serve(k);
out_loop:
	loop_close(k);
	munmap(k->board, sizeof(*k->board));
out_free:
	free(k);
	return ret;
}
