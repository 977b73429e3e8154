/* SPDX-License-Identifier: MIT */
/*
 * worker.h - text to ids, on a thread beside the step loop.
 *
 * A long prompt takes milliseconds to tokenize; a step must not wait for it.
 * The engine gives a job (where the bytes lie, which flags), the worker makes
 * ids of it, calls kick(), and the engine picks the result up when it takes
 * work.  First come, first served.
 *
 * Threads and locks.  Two threads: the engine's calls everything below; the
 * worker's runs inside.  One mutex guards the job table and its queue.  The
 * text of a job is read under the mutex, into the worker's own buffer, so
 * that once worker_drop() has returned nobody reads the session's memory and
 * it may be unmapped.  Tokenizing itself holds no lock.  The result belongs
 * to the worker while a job is RUNNING and to the engine once it is DONE; the
 * mutex hands it over (its unlock is the release, its lock the acquire).
 *
 * Jobs are numbered by the engine (one a stream), so there is always room and
 * nothing here can be full.  The worker's thread allocates; the engine's does
 * not.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct vocab;
struct worker;

/*
 * Start the thread for jobs 0 .. @nr_jobs - 1.  @v is borrowed, read-only.
 * kick(@arg) is called from the thread, without the lock, when a result
 * waits.  0, or a negative errno and @err.
 */
int worker_open(struct worker **ret, const struct vocab *v, uint32_t nr_jobs,
		void (*kick)(void *arg), void *arg, struct err *err);
/* Drops every job, joins the thread; harmless on NULL. */
void worker_close(struct worker *w);

/*
 * Job @job, which is none now: @size bytes at @text, LLM_SQE_F_* @flags
 * (CHAT, SPECIAL, NO_BOS).  @text stays readable until the job is done or
 * dropped.
 */
void worker_give(struct worker *w, uint32_t job, const void *text,
		 uint32_t size, uint32_t flags);
/* Forget @job: its text is not read any more, its result never comes. */
void worker_drop(struct worker *w, uint32_t job);

struct worker_result {
	uint32_t job;
	int error; /* 0, or a negative errno, and `why` */
	struct err why;
	const uint32_t *ids; /* borrowed until worker_thank() */
	uint32_t nr;
};
/* A result that waits: true and *ret; worker_thank() when it is used. */
bool worker_take(struct worker *w, struct worker_result *ret);
/* Give the result of @job back; the number may be given again. */
void worker_thank(struct worker *w, uint32_t job);

#endif
