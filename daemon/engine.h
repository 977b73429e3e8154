/* SPDX-License-Identifier: MIT */
/*
 * engine.h - the loop: take, schedule, run, commit, wake.
 *
 * engine_run() is the whole life of an engine process.  It is called once, by
 * the keeper's forked child (so that a model, a prompt or a CUDA library is
 * never touched by the keeper), on the thread that owns everything in it.
 */
#ifndef DAEMON_ENGINE_H
#define DAEMON_ENGINE_H

#include <stdint.h>

struct backend;
struct backend_options;
struct board;
struct carrier;
struct err;

/*
 * What daemon/main.c decides; constant, borrowed for the whole call.  0 means
 * "a default that fits" wherever a number is asked for.
 */
struct engine_options {
	/*
	 * backend->model is the model's directory or file, where the tokenizer is
	 * looked for too; NULL where there is no model (null).  Also holds
	 * max_tokens_per_step and max_seqs, which bound a step.
	 */
	const struct backend_options *backend;
	/* null_open() or model_open(): called once, inside engine_run() */
	int (*open_backend)(const struct backend_options *opt,
			    struct backend **ret_be, struct err *err);
	/* wished time between two tokens of a stream: the step's budget */
	uint64_t target_gap_ns;
	/* what board.step_limit_ns is set to, at least (watchdog) */
	uint64_t step_limit_ns;
	/* admitted streams that wait to run: more are refused with EBUSY */
	uint32_t max_waiting;	     /* in all */
	uint32_t max_waiting_tenant; /* of one tenant */
};

/*
 * Serve @c until told to end.  Opens the backend, fills board->info, publishes
 * board->ready = 1, then takes every session that the carrier names
 * (CARRIER_OPEN: new ones and those of earlier lives) and fills its llm_model.
 *
 * Draining: once board->draining is set (carrier wait() returns when that
 * happens), nothing new is admitted; returns 0 when no stream is left, or at
 * once where wait() says -ESHUTDOWN.
 *
 * Returns 0 when it ended as asked; a negative errno otherwise.  An error
 * before `ready` leaves its one line in board->failed.
 */
int engine_run(const struct engine_options *opt, struct carrier *c,
	       struct board *board);

#endif
