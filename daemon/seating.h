/* SPDX-License-Identifier: MIT */
/*
 * seating.h - the way of a session from its memory to its end: every move
 * between the states of roster.h is a function here, and nothing else writes
 * them.
 *
 *   NEW      seating_add(): an engine lives and must map it first
 *   HANDED   the engine has been told (at most some at a time)
 *   OPEN     it has mapped them, or none lives: sealed, descriptors sent
 *   CLOSING  the client hung up; the engine still has it mapped
 *   FREE     nobody has
 *
 * Waiting for the engine is a state, never a blocking call: one that hangs
 * holds up nobody but those who wait for it.  One thread.
 */
#ifndef DAEMON_SEATING_H
#define DAEMON_SEATING_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/fifo.h"
#include "daemon/roster.h"

struct handover_msg;
struct err;

struct seating {
	struct roster roster;
	struct fifo pending; /* NEW: indices, in order of arrival */
	uint32_t nr_handed;
	int epoll; /* borrowed: watches every connection, and ctl for room */
	int ctl;   /* borrowed: to the engine that lives; -1: none does */
	uint64_t ctl_data; /* of ctl in epoll */
	bool full;	   /* ctl takes no more now */
	/*
	 * Borrowed: what an engine that served has said of its model.  A
	 * client is to find it in ENGINE with the reply; where no engine lives
	 * that could write it there, we do, before anyone else has the page.
	 */
	const struct llm_model *model;
};

int seating_init(struct seating *t, const struct roster_limits *limits,
		 int epoll, struct err *err);
/* Refuses those who still wait with @why, closes all. */
void seating_deinit(struct seating *t, const struct err *why);

/* An engine lives behind @ctl, watched in epoll with @data. */
void seating_begin(struct seating *t, int ctl, uint64_t data);
/*
 * It is dead and reaped: no store of it can come any more.  Who waited for
 * its answer is complete as he is, who waited for its letting go is gone.
 */
void seating_bury(struct seating *t);

/* A NEW seat, its connection already in epoll for EPOLLRDHUP. */
void seating_add(struct seating *t, struct seat *s);
/* Its client hung up. */
void seating_hangup(struct seating *t, struct seat *s);
/* ADDED or CLOSED came from the engine. */
void seating_message(struct seating *t, const struct handover_msg *m);
/* ctl has room (EPOLLOUT) or answered: hand over who waits. */
void seating_pump(struct seating *t, bool room);

#endif
