/* SPDX-License-Identifier: MIT */
/*
 * engine_state.h - all that the engine's thread owns, in one struct.
 *
 * For engine.c (the loop, and what a step's results do), serve.c (what comes
 * from clients) and stats.c (what the keeper is told), and for nobody else.
 * One thread; the text worker sees nothing of it.
 */
#ifndef DAEMON_ENGINE_STATE_H
#define DAEMON_ENGINE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/account.h"
#include "daemon/admit.h"
#include "daemon/core/sched.h"
#include "daemon/desk.h"
#include "daemon/pool.h"

struct backend;
struct board;
struct carrier;
struct engine_options;
struct vocab;
struct worker;

struct engine {
	/* borrowed */
	const struct engine_options *opt;
	struct carrier *carrier;
	struct board *board;
	/* owned */
	struct backend *be;
	struct vocab *vocab;   /* NULL: ids only, or the backend's pieces */
	struct worker *worker; /* NULL where vocab is */
	struct sched sched;
	struct batch batch;
	/*
	 * Of a backend that computes beside us (backend.h, submit): the batch
	 * that takes turns with it, and the steps under way, the oldest first
	 */
	struct batch other;
	struct flight {
		struct batch *batch; /* borrowed */
		uint64_t begin_ns;
	} flight[2];
	uint32_t nr_flights;
	struct pool pool;
	struct desk *desks;	  /* list of the open sessions' */
	struct accounts accounts; /* of their tenants */
	uint64_t *scratch;	  /* PARAMS_MAX bytes: an entry's parameters */
	/* constant while a model is served */
	struct admit_limits limits;
	struct stream_text text;
	struct llm_model model;
	/* the moment */
	uint64_t now_ns;	       /* CLOCK_MONOTONIC, read once a round */
	uint32_t nr_text;	       /* streams with the text worker */
	uint32_t max_seqs, max_tokens; /* of a step */
	uint32_t nr_ramp; /* steps of the ramp so far, see engine.c */
	uint32_t max_waiting, max_waiting_tenant;
	uint32_t epoch;
	bool draining;
	bool sched_open;
	struct desk *look;   /* desks with wishes to look at after the step */
	uint64_t random[32]; /* seeds for who names none; used from the end */
	uint32_t nr_random;
	uint64_t preemptions; /* of this life, told already */
};

/* @d has wishes to look at once this round's words are stored. */
static inline void engine_look(struct engine *e, struct desk *d)
{
	if (d->look)
		return;
	d->look = true;
	d->look_next = e->look;
	e->look = d;
}

/* The commit word of @slot was stored: its wish is to be looked at. */
static inline void engine_touch(struct engine *e, struct desk *d, uint32_t slot)
{
	wish_touch(&d->wishes, slot);
	engine_look(e, d);
}

#endif
