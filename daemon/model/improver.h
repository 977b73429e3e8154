/* SPDX-License-Identifier: MIT */
/*
 * improver.h - the thread that makes faster forms of the weights beside the
 * steps, and gives the file's pages back to the page cache.
 */
#ifndef MODEL_IMPROVER_H
#define MODEL_IMPROVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct forward;
struct weight;

struct improver {
	const struct forward *forward; /* borrowed */
	pthread_t thread;
	bool running;	     /* the thread is to be joined */
	struct weight *done; /* owned: the matrices improved so far */
	atomic_bool stop;    /* written by: stop; read by: the thread */
	/* odd while a step runs; written by: who steps; read by: the thread */
	atomic_uint steps;
};

/*
 * Start it for the weights of @forward (nr_layers of them and the head), which
 * must outlive it.  Without memory or a thread nothing happens, and the file's
 * own form serves on.
 */
void improver_start(struct improver *im, const struct forward *forward,
		    uint32_t nr_matrices);
/* End it, wherever it is; harmless on an empty one. */
void improver_stop(struct improver *im);

/* Around each step, by the thread that steps. */
void improver_step_begins(struct improver *im);
void improver_step_ends(struct improver *im);

#endif
