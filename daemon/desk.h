/* SPDX-License-Identifier: MIT */
/*
 * desk.h - what the engine keeps privately of one session: which of its slots
 * have a living stream, who owns which extent, which wishes are answered.
 *
 * Nothing of it outlives the engine; records, logs and wishes rebuild it.
 * Allocated when a session opens, freed when it closes; not in the step.
 */
#ifndef DAEMON_DESK_H
#define DAEMON_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/extent.h"
#include "daemon/wish.h"

struct account;
struct session;

#define DESK_NONE UINT32_MAX

struct desk {
	struct session *session; /* borrowed: the carrier's */
	struct account *account; /* borrowed: its tenant's */
	uint64_t tokens; /* computed or committed, not on the account yet */
	struct extents extents;
	struct wishes wishes;
	uint32_t *stream; /* owned: [nr_streams] number in the pool, or NONE */
	bool broken;	  /* takes no more */
	bool look; /* in the engine's list of those with wishes to look at */
	struct desk *look_next;
	struct desk *prev, *next; /* all desks */
};

/* 0 and *ret, or -ENOMEM. */
int desk_open(struct desk **ret, struct session *s);
void desk_close(struct desk *d);

#endif
