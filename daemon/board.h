/* SPDX-License-Identifier: MIT */
/*
 * board.h - what the engine tells the keeper, in a page that outlives it.
 *
 * Anonymous shared memory made by the keeper before the first fork, mapped by
 * keeper and engine only.  Written by: the engine (counters, in-flight rows);
 * the keeper (the parts named so).  Counters go on across lives, so a new
 * engine adds to what it finds.  Everything is read with shm_load().
 */
#ifndef DAEMON_BOARD_H
#define DAEMON_BOARD_H

#include <stdint.h>
#include <linux/llm.h>

#define BOARD_MAX_SEQS 2048u		    /* of one step */
#define BOARD_MAX_ROWS (2 * BOARD_MAX_SEQS) /* of the two under way */

/* Whose rows the steps in flight compute: who is to blame if one kills us. */
struct board_row {
	uint64_t session;
	uint32_t stream;
	uint32_t gen;
};

struct ledger;

struct board {
	/* written by: the engine */
	uint64_t step;		/* steps begun, all lives */
	uint64_t step_begin_ns; /* CLOCK_MONOTONIC; the oldest in flight's; 0:
				 * between steps */
	uint64_t step_limit_ns; /* the watchdog's patience with this step */
	uint64_t commits; /* of this life; a life with none counts as a crash */
	uint64_t first_commit_ns; /* of this life; 0 = none yet */
	uint32_t ready; /* 1: this life serves (publish; the keeper acquires) */
	uint32_t nr_rows; /* valid while step_begin_ns is not 0 */
	struct board_row row[BOARD_MAX_ROWS];
	struct llm_info info; /* the counters of it; the keeper fills the rest */
	char failed[240];     /* why the engine gives up at start: one line */

	/* written by: the keeper, while no engine lives */
	uint32_t nr_blamed; /* rows in `blamed` for the next engine */
	uint32_t epoch;
	uint64_t death_ns; /* of the last engine; 0 = none died */
	struct board_row blamed[BOARD_MAX_ROWS];
	/* written by: the keeper, before the first fork */
	struct ledger *ledger; /* what tenants may have; NULL: anything */
	/* written by: the keeper, any time */
	uint32_t draining; /* 1: admit nothing, end when nothing runs */
};

#endif
