/* SPDX-License-Identifier: MIT */
/*
 * One epoll loop.  A connection is a guest (guests.h) until its hello is
 * complete; then it is answered and closed, or it takes a seat (seating.h).
 * An engine lives from engine_start() to on_death(); between two of them the
 * clock waits.
 */
#include "daemon/keeper.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/child.h"
#include "daemon/greet.h"
#include "daemon/handover.h"
#include "daemon/keeper_state.h"
#include "daemon/ledger.h"
#include "daemon/notify.h"
#include "llm_shm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_EVENTS	 64
#define HELLO_TIMEOUT_NS (5 * SECOND)
#define END_TIMEOUT_NS	 (2 * SECOND) /* from "end now" to SIGKILL */

static void tell_all(struct keeper *k)
{
	if (!k->opt->device_path) /* else the module's, and the engine tells */
		k->board->epoch = k->epoch;
	roster_tell(&k->seating.roster, k->epoch, keeper_daemon(k));
	monitor_daemon(&k->monitor, keeper_daemon(k), k->epoch);
}

/* ---- the engine ------------------------------------------------------ */

/* Open the module's node for an engine to come; -1 where there is none. */
static int device_open(const struct keeper *k, int *ret_fd)
{
	const char *path = k->opt->device_path;
	struct stat st;
	int fd, ret;

	*ret_fd = -1;
	if (!path)
		return 0;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == EBUSY)
		return err_set(k->err, -EBUSY,
			       "%s: another daemon has it; one at a time, "
			       "beside it --socket PATH",
			       path);
	if (fd < 0)
		return err_set(k->err, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISCHR(st.st_mode)) {
		ret = err_set(k->err, -ENOTTY, "%s is no device", path);
		close(fd);
		return ret;
	}
	*ret_fd = fd;
	return 0;
}

static void engine_child(struct keeper *k, int ctl, int device, pid_t self)
{
	const int mine[] = { k->listen.fd, k->epoll, k->signals, k->ctl };
	struct child c = { .keeper = self,
			   .ctl = ctl,
			   .device = device,
			   .close = mine,
			   .nr_close = 4,
			   .guests = &k->guests,
			   .roster = &k->seating.roster,
			   .board = k->board,
			   .mask = k->old_mask,
			   .engine = k->opt->engine,
			   .engine_arg = k->opt->engine_arg };

	monitor_close_fds(&k->monitor);
	child_main(&c);
}

static int engine_start(struct keeper *k)
{
	uint64_t data;
	pid_t self = getpid();
	int sp[2], device, ret;

	ret = device_open(k, &device);
	if (ret)
		return ret;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0) {
		ret = err_set(k->err, -errno, "socketpair: %s",
			      strerror(errno));
		if (device >= 0)
			close(device);
		return ret;
	}
	k->epoch++;
	life_begin(&k->life, k->board);
	tell_all(k);
	k->ctl = sp[0];
	k->engine = fork();
	if (k->engine == 0)
		engine_child(k, sp[1], device, self);
	close(sp[1]);
	if (device >= 0) /* the engine's alone from here on */
		close(device);
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
	keeper_watch(k, EPOLL_CTL_ADD, k->ctl, EPOLLIN, data);
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
	char line[300], state[330];

	if (k->life.ready)
		return;
	k->life.ready = true;
	tell_all(k);
	if (k->life.lives > 1) {
		log_info("engine %d serves again", (int)k->engine);
		return;
	}
	snprintf(line, sizeof(line),
		 "%.*s on %s, context %u, %u blocks of KV, pid %d",
		 (int)sizeof(info->model.name), (char *)info->model.name,
		 k->opt->device_path ? k->opt->device_path : k->listen.path,
		 info->model.context, info->kv_blocks, (int)getpid());
	log_info("ready: %s", line);
	snprintf(state, sizeof(state), "READY=1\nSTATUS=%s", line);
	notify_send(state);
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
	hurt = k->opt->device_path ? shm_load(&k->board->info.running) +
					     shm_load(&k->board->info.waiting)
				   : roster_scan(&k->seating.roster);
	/* the engine takes the pause from it; only where somebody felt it */
	k->board->death_ns = hurt ? keeper_now() : 0;
	switch (life_end(&k->life, k->board, status, k->draining, keeper_now(),
			 &k->restart_ns, &err)) {
	case LIFE_ENDED:
		k->done = true;
		break;
	case LIFE_AGAIN:
		log_warn("engine %d: %s; %s%u %s wait for the next", (int)pid,
			 err.text, k->opt->device_path ? "" : "streams of ",
			 hurt, k->opt->device_path ? "streams" : "sessions");
		break;
	case LIFE_OVER:
		k->done = true;
		k->ret = err_set(k->err, err.code, "%s", err.text);
		roster_tell(&k->seating.roster, k->epoch, LLM_DAEMON_FAILED);
		monitor_daemon(&k->monitor, LLM_DAEMON_FAILED, k->epoch);
		break;
	}
}

/* ---- signals, clock -------------------------------------------------- */

static void drain(struct keeper *k)
{
	struct handover_msg m = { .kind = HANDOVER_DRAIN };
	uint64_t timeout = k->opt->drain_timeout_ns;

	if (k->draining || (!k->life.served && !k->life.ready)) {
		/* a second time, or nothing was ever served */
		k->done = true;
		return;
	}
	log_info("draining; a second signal ends at once");
	notify_send("STOPPING=1\nSTATUS=draining");
	k->draining = true;
	shm_publish(&k->board->draining, 1u);
	tell_all(k);
	/* none lives: the next will see it; a full pipe wakes it too */
	if (k->engine)
		(void)!send(k->ctl, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	k->drain_ns = keeper_now() + (timeout ? timeout : 10 * SECOND);
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
		log_warn("drained for long enough; streams that run %s",
			 k->opt->device_path ? "wait for the next daemon"
					     : "are cut");
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
	uint64_t pause = SECOND;

	/* on the device nobody tells us whether there is a session */
	if (!k->engine || (!k->opt->device_path && !k->seating.roster.nr)) {
		k->look_ns = UINT64_MAX;
		return;
	}
	if (!k->life.hung && life_hangs(k->board, now, &pause)) {
		log_warn("engine %d hangs in a step; killed", (int)k->engine);
		k->life.hung = true;
		engine_kill(k);
	}
	k->look_ns = now + pause;
}

static void on_clock(struct keeper *k)
{
	uint64_t now = keeper_now();

	greet_clock(k, now);
	monitor_clock(&k->monitor, now);
	if (now >= k->look_ns)
		look_at_step(k, now);
	if (k->draining)
		drain_over(k, now);
	if (now >= k->restart_ns && !k->done && engine_start(k)) {
		/* no process, no descriptor: perhaps later */
		k->done = !k->life.served;
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
				k->drain_ns,   k->kill_ns, k->monitor.look_ns };
	unsigned i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] < next)
			next = at[i];
	if (next == UINT64_MAX)
		return -1;
	now = keeper_now();
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
		greet_listen(k);
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
			greet_guest(k, k->guests.at[i]);
		break;
	case ON_SEAT:
		r = &k->seating.roster;
		if (i < r->top && r->seat[i].id == serial &&
		    r->seat[i].conn >= 0) {
			monitor_tell(&k->monitor, LLM_EV_CLOSE, r->seat[i].uid,
				     serial);
			seating_hangup(&k->seating, &r->seat[i]);
		}
		break;
	case ON_WATCHER:
		if (k->monitor.at[i].fd >= 0 &&
		    k->monitor.at[i].serial == serial)
			monitor_remove(&k->monitor, i);
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
	    !keeper_watch(k, EPOLL_CTL_ADD, k->signals, EPOLLIN,
			  EV(ON_SIGNAL, 0, 0)))
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

	if (k->listen.fd >= 0)
		k->ret = keeper_watch(k, EPOLL_CTL_ADD, k->listen.fd, EPOLLIN,
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
	greet_farewell(k, &why);
	seating_deinit(&k->seating, &why);
	return k->ret;
}

/* What tenants may have who have no settings of their own. */
static int ledger_open(struct keeper *k)
{
	const struct roster_limits *l = &k->opt->limits;
	const struct terms defaults = {
		.max_memory = l->max_bytes_uid,
		.weight = 100,
		.class_ceiling = LLM_CLASS_INTERACTIVE,
		.max_sessions = l->max_sessions_uid,
		.max_streams = LLM_NO_LIMIT,
		.max_inflight = LLM_NO_LIMIT,
	};
	int ret = ledger_create(&k->ledger, &defaults, k->err);

	if (ret)
		return ret;
	k->board->ledger = k->seating.roster.ledger = k->ledger;
	k->owner = geteuid();
	ret = monitor_init(&k->monitor, k->ledger);
	if (!ret)
		return 0;
	ledger_destroy(k->ledger);
	return err_set(k->err, ret, "out of memory");
}

static void ledger_close(struct keeper *k)
{
	monitor_deinit(&k->monitor);
	ledger_destroy(k->ledger);
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
	k->hello_ns = opt->hello_timeout_ns ? opt->hello_timeout_ns
					    : HELLO_TIMEOUT_NS;
	k->err = err;
	k->epoll = k->signals = k->ctl = -1;
	k->begun_ns = keeper_now(); /* restart_ns is 0: the clock starts one */
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
	ret = ledger_open(k);
	if (ret) {
		seating_deinit(&k->seating, &none);
		goto out_loop;
	}
	k->listen.fd = -1;
	if (!opt->device_path)
		ret = listen_open(&k->listen, opt->socket_path,
				  opt->socket_mode, opt->make_dir, err);
	if (ret)
		seating_deinit(&k->seating, &none);
	else
		ret = serve(k);
	ledger_close(k);
out_loop:
	loop_close(k);
	munmap(k->board, sizeof(*k->board));
out_free:
	free(k);
	return ret;
}
