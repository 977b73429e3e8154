/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * turn.h - who has something for the daemon, and whose turn it is.
 *
 * Deficit round robin between tenants: a turn gives a tenant its weight, an
 * item costs LLM_TURN_COST.  Within a tenant its sessions take turns, one item
 * each.  The work ring is short, so the order is decided late.
 */
#ifndef LLM_TURN_H
#define LLM_TURN_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct llm_session;

/*
 * Guards the turns, the work ring and what of sessions and tenants is said to
 * be under it.  Held for at most a ring full of pushes.
 */
extern spinlock_t llm_ring_lock;

#define LLM_TURN_COST	100u	/* so the default weight gives one item a turn */

/* All under llm_ring_lock. */

/* @s has something; the list takes a reference.  Nothing where it is in. */
void llm_turn_join(struct llm_session *s);

/* @s has nothing any more.  Nothing where it is not in. */
void llm_turn_leave(struct llm_session *s);

/* Whose turn it is, or NULL; the list's reference. */
struct llm_session *llm_turn_peek(void);

/* @s, whose turn it was, had an item taken (@cost: not for nothing), has @more. */
void llm_turn_done(struct llm_session *s, bool cost, bool more);

/* All for whom @stays is false leave. */
void llm_turn_sift(bool (*stays)(const struct llm_session *s));

/* Does anybody wait? */
bool llm_turn_any(void);

#endif
