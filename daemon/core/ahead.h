/* SPDX-License-Identifier: MIT */
/*
 * ahead.h - a step planned while the one before it is still computed: what
 * sched.h is to a backend that computes beside us.
 *
 *	if (ahead_may_plan(s) && sched_step(s, b)) {
 *		backend->submit(backend, b);
 *		ahead_submitted(s, b);
 *	}
 *	...and then, or where there is no next step, of the oldest one:
 *	backend->collect(backend, before);
 *	ahead_collected(s, before, elapsed_ns);
 *	...its outputs as sched.h has it, with ahead_seq() and ahead_append()
 *
 * with two batches in turn.  Steps run in the order they are submitted.  So KV
 * counts as computed once its step is submitted: a later step may read it,
 * and a block that is given back may be written by one.
 *
 * What is not known then is the token that comes out.  A sequence that does
 * not need to be looked at in between knows a token more than we do: its last
 * one is BATCH_LATE, the next row says so, and what is to come of that is in
 * `late`.  If the token ends it, that row was in vain: its output is passed
 * over, is charged to nobody, and its KV is never in the index, which takes
 * blocks of tokens that we know.  Who ends keeps its number and its blocks
 * until no step under way has rows of it.
 *
 * Not while a step is under way is anyone preempted: what a victim is to
 * compute again is known when it is collected.  Where that is wanted, no step
 * is planned until none is under way.  Penalties want all tokens that came
 * before, so such a sequence has a row in every other step.
 */
#ifndef CORE_AHEAD_H
#define CORE_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

struct batch;
struct sched;

/*
 * May a step be planned now?  Always where none is under way; else where it
 * takes nothing from anybody.  False: collect first, ask again.
 */
bool ahead_may_plan(const struct sched *s);
/* @b, which was planned last, is submitted.  At most two are under way. */
void ahead_submitted(struct sched *s, const struct batch *b);
/*
 * @b, the oldest of these, was computed in @elapsed_ns (0 = not measured).
 * Its outputs are to be answered before the next step is planned.
 */
void ahead_collected(struct sched *s, const struct batch *b,
		     uint64_t elapsed_ns);
/* The number of the @i-th sequence of @b; see sched_is_live(). */
uint32_t ahead_seq(const struct sched *s, const struct batch *b, uint32_t i);
/* sched_append(), of an output of a step that was collected. */
void ahead_append(struct sched *s, uint32_t id, uint32_t token);

#endif
