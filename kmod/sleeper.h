/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sleeper.h - who sleeps until the work ring has something: tasks in TAKE or
 * poll() on a queue, and one TAKE by io_uring, parked.
 */
#ifndef LLM_SLEEPER_H
#define LLM_SLEEPER_H

#include <linux/types.h>
#include <linux/wait.h>

struct io_uring_cmd;

extern struct wait_queue_head llm_sleepers;

/* The ring's tail has moved: wake who is on the queue. */
void llm_sleeper_wake(void);

/* A TAKE sleeps while this stays the same.  No lock: it moves before the wake-up. */
u32 llm_sleeper_kicks(void);

/* llm_ring_lock, all of these. */

/* Wake who is on the queue though nothing moved. */
void llm_sleeper_kick(void);

/* False: one is parked already. */
bool llm_sleeper_park(struct io_uring_cmd *cmd);

/*
 * Take the parked TAKE out, if it is @only (NULL: whichever), or NULL.  Who takes
 * it out finishes it, after unlocking; it says @nr entries.
 */
struct io_uring_cmd *llm_sleeper_unpark(const struct io_uring_cmd *only, u32 nr);
void llm_sleeper_finish(struct io_uring_cmd *cmd);

#endif
