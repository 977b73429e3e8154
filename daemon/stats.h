/* SPDX-License-Identifier: MIT */
/*
 * stats.h - the board: what the engine tells the keeper.
 *
 * Plain counters in a page that outlives the engine, one writer (the engine's
 * thread), read by the keeper at any time (shm_load); no lock, no system call.
 * Counters of lives before are there already, so they are only added to.
 */
#ifndef DAEMON_STATS_H
#define DAEMON_STATS_H

#include <stdint.h>

struct engine;

/* A life begins: what counts for this life only is cleared. */
void stats_begin(struct engine *e);
/* The rows of the step that is about to run, for blame; and when it began. */
void stats_step_begin(struct engine *e, uint64_t now_ns);
void stats_step_end(struct engine *e);
/* The same of steps under way: one was begun; the oldest has ended. */
void stats_submitted(struct engine *e);
void stats_collected(struct engine *e);
/* A step is committed: words stored, and the tokens that they cover more. */
void stats_commit(struct engine *e, uint32_t commits, uint64_t tokens);
/* Its first token: @prompt tokens went in, @cached of them were found. */
void stats_prompt(struct engine *e, uint32_t prompt, uint32_t cached);
/* Gauges: streams that run and wait, blocks. */
void stats_gauges(struct engine *e);

#endif
