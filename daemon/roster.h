/* SPDX-License-Identifier: MIT */
/*
 * roster.h - the keeper's book of sessions: whose they are, their memory,
 * what they may hold.  Knows no engine and no epoll.  One thread.
 */
#ifndef DAEMON_ROSTER_H
#define DAEMON_ROSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>
#include "daemon/areas.h"

struct err;
struct ledger;

/* Moves: seating.h. */
enum seat_state {
	SEAT_FREE,
	SEAT_NEW,     /* has memory; the engine has not been told */
	SEAT_HANDED,  /* told; its answer is awaited, and so is ours */
	SEAT_OPEN,    /* the client has its descriptors */
	SEAT_CLOSING, /* the client is gone; the engine may still look at it */
};

struct seat {
	enum seat_state state;
	uint32_t index;	   /* in roster.seat */
	uint32_t uid, pid; /* of the opener */
	int conn;	   /* owned; -1 once closed */
	bool busy;	   /* as roster_scan() found it */
	uint64_t id;	   /* from 1, never reused */
	uint64_t opened_ns;
	uint64_t bytes;	    /* counted against its uid */
	struct areas areas; /* owned */
};

struct roster_limits {
	uint32_t max_sessions; /* in all */
	/* of who has no limits of his own (ledger.h) */
	uint32_t max_sessions_uid;
	uint64_t max_bytes_uid; /* that all areas may grow to */
};

struct roster {
	struct roster_limits limits;
	struct ledger *ledger; /* borrowed; set before the first session */
	struct seat *seat;     /* owned: [max_sessions] */
	uint32_t nr;	       /* not free */
	uint32_t top;	       /* every index in use is below */
	uint64_t next_id;
	/*
	 * The writable pages of all HOST areas, one beside the other, so that
	 * an engine drops them with one call.
	 */
	uint8_t *host; /* owned: [max_sessions] pages */
};

int roster_init(struct roster *r, const struct roster_limits *limits,
		struct err *err);
void roster_deinit(struct roster *r);

/*
 * Engine, first thing after the fork: give up every writable mapping of HOST.
 * From here on nothing in this process can write one (areas.h).
 */
void roster_drop_host(struct roster *r);

/*
 * A new session of @uid with the @wishes of its hello: quotas are checked,
 * memory made, HOST filled but for epoch and daemon.  @conn is taken over on
 * success only.  0, or with a line -EDQUOT (a quota of this uid), -EUSERS
 * (the daemon is full), what layout_fill() or the kernel says.
 */
int roster_open(struct roster *r, const struct llm_setup *wishes, uint32_t uid,
		uint32_t pid, int conn, uint64_t now_ns, struct seat **ret,
		struct err *err);
/* Give back everything, the connection too; the seat is free. */
void roster_close(struct roster *r, struct seat *s);

/* Write epoch and LLM_DAEMON_* into every HOST. */
void roster_tell(struct roster *r, uint32_t epoch, uint32_t daemon);

/* Find which sessions hold streams that run; returns how many. */
uint32_t roster_scan(struct roster *r);

/* The open session of @id, or NULL. */
struct seat *roster_find(struct roster *r, uint64_t id);
void roster_describe(const struct seat *s, uint64_t now_ns,
		     struct llm_session_info *ret);
/*
 * Describe the open sessions of @uid (all for 0) in at most @max structs;
 * returns how many there are.
 */
uint32_t roster_list(const struct roster *r, uint32_t uid, uint64_t now_ns,
		     struct llm_session_info *ret, uint32_t max);

#endif
