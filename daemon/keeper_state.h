/* SPDX-License-Identifier: MIT */
/*
 * keeper_state.h - all that the keeper's thread owns, in one struct.
 *
 * For keeper.c (the loop, the engine's life, the clock), greet.c (the door)
 * and admin.c (the desk behind it), and for nobody else.
 */
#ifndef DAEMON_KEEPER_STATE_H
#define DAEMON_KEEPER_STATE_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

#include "daemon/guests.h"
#include "daemon/life.h"
#include "daemon/listen.h"
#include "daemon/monitor.h"
#include "daemon/seating.h"

struct board;
struct err;
struct keeper_options;
struct ledger;

#define SECOND 1000000000ull

/*
 * What epoll says: who, and which of those that had his place.  A serial that
 * no longer fits is an event of somebody who left earlier in the same batch.
 */
enum { ON_LISTEN, ON_SIGNAL, ON_ENGINE, ON_GUEST, ON_SEAT, ON_WATCHER };
#define EV(kind, index, serial)                                                \
	((uint64_t)(kind) | (uint64_t)(index) << 4 | (uint64_t)(serial) << 24)
#define EV_KIND(d)   ((d)&15)
#define EV_INDEX(d)  ((uint32_t)((d) >> 4) & 0xfffff)
#define EV_SERIAL(d) ((d) >> 24)

struct keeper {
	const struct keeper_options *opt; /* borrowed */
	struct board *board;		  /* owned; shared with engines */
	struct ledger *ledger;		  /* the same */
	struct monitor monitor;
	uint32_t owner; /* who runs us, and may administer */
	struct listen listen;
	struct seating seating;
	struct guests guests;
	uint64_t hello_ns; /* patience with each */
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
	int ret;	 /* of keeper_run() */
	struct err *err; /* borrowed */
};

static inline uint64_t keeper_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static inline int keeper_watch(struct keeper *k, int op, int fd,
			       uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	return epoll_ctl(k->epoll, op, fd, &ev) < 0 ? -errno : 0;
}

/* LLM_DAEMON_*, as clients are to see it */
static inline uint32_t keeper_daemon(const struct keeper *k)
{
	if (k->draining)
		return LLM_DAEMON_DRAINING;
	return k->life.ready && k->engine ? LLM_DAEMON_READY : LLM_DAEMON_NONE;
}

#endif
