// SPDX-License-Identifier: GPL-2.0-only
/*
 * turn.c - see turn.h.
 *
 * A tenant at the head whose deficit pays for an item is in the middle of its
 * turn; one whose deficit does not begins it.  An idle tenant keeps no deficit.
 */
#include <linux/list.h>
#include <linux/minmax.h>

#include "quota.h"
#include "session.h"
#include "turn.h"

DEFINE_SPINLOCK(llm_ring_lock);
static LIST_HEAD(llm_turns);		/* of llm_tenant.turn */

bool llm_turn_any(void)
{
	lockdep_assert_held(&llm_ring_lock);
	return !list_empty(&llm_turns);
}

void llm_turn_join(struct llm_session *s)
{
	struct llm_tenant *t = s->tenant;

	lockdep_assert_held(&llm_ring_lock);
	if (!list_empty(&s->active))
		return;
	kref_get(&s->ref);
	list_add_tail(&s->active, &t->active);
	if (list_empty(&t->turn)) {
		t->deficit = 0;
		list_add_tail(&t->turn, &llm_turns);
	}
}

void llm_turn_leave(struct llm_session *s)
{
	struct llm_tenant *t = s->tenant;

	lockdep_assert_held(&llm_ring_lock);
	if (list_empty(&s->active))
		return;
	list_del_init(&s->active);
	if (list_empty(&t->active))
		list_del_init(&t->turn);
	llm_session_put(s);		/* the tenant may go with it: last */
}

/* A whole round paid for nobody: give all the rounds that are missing but one. */
static void llm_turn_skip(void)
{
	u32 rounds = U32_MAX, weight;
	struct llm_tenant *t;

	list_for_each_entry(t, &llm_turns, turn) {
		weight = READ_ONCE(t->limits.weight);
		rounds = min(rounds, DIV_ROUND_UP(LLM_TURN_COST - t->deficit, weight));
	}
	list_for_each_entry(t, &llm_turns, turn) {
		weight = READ_ONCE(t->limits.weight);
		t->deficit += min((rounds - 1) * weight, LLM_TURN_COST - 1 - t->deficit);
	}
}

struct llm_session *llm_turn_peek(void)
{
	struct llm_tenant *t, *first = NULL;

	lockdep_assert_held(&llm_ring_lock);
	while ((t = list_first_entry_or_null(&llm_turns, struct llm_tenant, turn))) {
		if (t->deficit < LLM_TURN_COST) {
			if (t == first)
				llm_turn_skip();
			t->deficit += READ_ONCE(t->limits.weight);
		}
		if (t->deficit >= LLM_TURN_COST)
			return list_first_entry(&t->active, struct llm_session, active);
		if (!first)
			first = t;
		list_move_tail(&t->turn, &llm_turns);
	}
	return NULL;
}

void llm_turn_done(struct llm_session *s, bool cost, bool more)
{
	struct llm_tenant *t = s->tenant;

	lockdep_assert_held(&llm_ring_lock);
	if (cost)
		t->deficit -= LLM_TURN_COST;
	if (more)
		list_move_tail(&s->active, &t->active);
	if (t->deficit < LLM_TURN_COST && (more || !list_is_singular(&t->active)))
		list_move_tail(&t->turn, &llm_turns);
	if (!more)
		llm_turn_leave(s);	/* the last of its tenant ends its turn */
}

void llm_turn_sift(bool (*stays)(const struct llm_session *s))
{
	struct llm_tenant *t, *t_next;
	struct llm_session *s, *s_next;

	lockdep_assert_held(&llm_ring_lock);
	list_for_each_entry_safe(t, t_next, &llm_turns, turn)
		list_for_each_entry_safe(s, s_next, &t->active, active)
			if (!stays(s))
				llm_turn_leave(s);
}
