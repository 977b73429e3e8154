/* SPDX-License-Identifier: MIT */
/*
 * monitor.h - those who follow what happens (LLM_HELLO_MONITOR): connections
 * that get an llm_event_info each time.
 *
 * Never blocks: who does not read loses events, and learns how many.  Limits
 * that tenants meet are looked for in the ledger, a few times a second and
 * only while somebody follows, so meeting one costs the engine two counters.
 * One thread, the keeper's.
 */
#ifndef DAEMON_MONITOR_H
#define DAEMON_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

#define MONITOR_MAX	64u
#define MONITOR_MAX_UID 16u

struct err;
struct ledger;

struct watcher {
	int fd; /* owned; -1: free */
	uint32_t uid;
	uint32_t lost; /* events since one found room */
	bool all;      /* not only its own */
	uint64_t serial;
};

struct monitor {
	struct ledger *ledger; /* borrowed */
	struct watcher at[MONITOR_MAX];
	uint32_t nr;
	uint64_t next_serial;
	uint64_t look_ns;      /* CLOCK_MONOTONIC; UINT64_MAX: nobody follows */
	uint32_t *seen;	       /* owned: [LEDGER_ROWS] hits told already */
	uint32_t hits;	       /* of all, at the last look */
	uint32_t state, epoch; /* told last */
};

/* 0 or -ENOMEM. */
int monitor_init(struct monitor *m, struct ledger *ledger);
void monitor_deinit(struct monitor *m);
/* The engine's child: its copies of the connections. */
void monitor_close_fds(struct monitor *m);

/*
 * Take over @fd, whose hello was answered.  0 and its index, or with a line
 * -EUSERS, -EDQUOT; then @fd is still the caller's.  @all: sees everybody's.
 */
int monitor_add(struct monitor *m, int fd, uint32_t uid, bool all,
		uint32_t *ret_index, struct err *err);
/* It hung up. */
void monitor_remove(struct monitor *m, uint32_t index);

/* A session or a tenant: LLM_EV_TENANT, OPEN, CLOSE, KILL. */
void monitor_tell(struct monitor *m, uint32_t kind, uint64_t tenant,
		  uint64_t session);
/* The engine's state, where it is another. */
void monitor_daemon(struct monitor *m, uint32_t state, uint32_t epoch);
/* The clock: tell which limits were met. */
void monitor_clock(struct monitor *m, uint64_t now_ns);

#endif
