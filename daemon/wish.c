/* SPDX-License-Identifier: MIT */
#include "daemon/wish.h"
#include "daemon/carrier.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t nr_words(const struct wishes *w)
{
	return (w->nr_streams + 63) / 64;
}

int wish_init(struct wishes *w, uint32_t nr_streams)
{
	*w = (struct wishes){ .nr_streams = nr_streams };
	w->state = calloc(nr_streams, sizeof(*w->state));
	w->touched = calloc(nr_words(w), sizeof(*w->touched));
	w->late = calloc(nr_words(w), sizeof(*w->late));
	if (!w->state || !w->touched || !w->late) {
		wish_deinit(w);
		return -ENOMEM;
	}
	return 0;
}

void wish_deinit(struct wishes *w)
{
	free(w->state);
	free(w->touched);
	free(w->late);
	*w = (struct wishes){ 0 };
}

void wish_touch_all(struct wishes *w)
{
	uint32_t i;

	for (i = 0; i < w->nr_streams; i++)
		wish_touch(w, i);
}

/* 64 streams of a session, from one whose number is a multiple of 64. */
struct group {
	const struct llm_wish *wish; /* the client may be writing */
	const uint64_t *commit;
	struct wish_state *state;
	uint64_t *late;
	uint64_t moved; /* whose word moved: a delay may begin to run */
	uint64_t now_ns;
};

/*
 * The arming @arm of stream @i is neither answered nor met, but a delay runs
 * or may begin: is it over?
 */
static bool delayed(const struct group *g, uint32_t i, uint32_t arm,
		    uint32_t delay_us, bool any)
{
	struct wish_state *t = &g->state[i];
	uint64_t bit = 1ull << i;

	if (*g->late & bit && t->due_arm == arm)
		return g->now_ns >= t->due_ns;
	*g->late &= ~bit;
	if (delay_us && any && g->moved & bit) {
		t->due_arm = arm;
		t->due_ns = g->now_ns + 1000ull * delay_us;
		*g->late |= bit;
	}
	return false;
}

/* Is the wish of stream @i met?  Each field of it is fetched once. */
static inline bool met(const struct group *g, uint32_t i)
{
	const struct llm_wish *wish = &g->wish[i];
	uint64_t arm_want = shm_load(&wish->arm_want);
	uint64_t word = shm_load(&g->commit[i]), late = *g->late;
	uint32_t arm = (uint32_t)(arm_want >> 32), delay_us;
	bool met = arm != g->state[i].woken;

	if (met && LLM_COMMIT_TAIL(word) < (uint32_t)arm_want &&
	    LLM_COMMIT_STATE(word) != LLM_ST_END) {
		delay_us = shm_load(&wish->delay_us);
		if (!(delay_us | (late >> i & 1)) ||
		    !delayed(g, i, arm, delay_us, LLM_COMMIT_TAIL(word)))
			return false;
	}
	/* it is met now, or this arming was answered already */
	g->state[i].woken = arm;
	if (late >> i & 1)
		*g->late = late & ~(1ull << i);
	return met;
}

bool wish_settle(struct wishes *w, struct session *s, uint64_t now_ns)
{
	bool bell = false;
	uint32_t k;

	w->any_late = false;
	for (k = 0; k < nr_words(w); k++) {
		struct group g = {
			.wish = s->wish + k * 64,
			.commit = s->commit + k * 64,
			.state = w->state + k * 64,
			.late = &w->late[k],
			.moved = w->touched[k],
			.now_ns = now_ns,
		};
		uint64_t look = g.moved | *g.late;

		w->touched[k] = 0;
		for (; look; look &= look - 1)
			if (met(&g, (uint32_t)__builtin_ctzll(look)))
				bell = true;
		w->any_late |= *g.late != 0;
	}
	return bell;
}

uint64_t wish_next_ns(const struct wishes *w)
{
	uint64_t next = WISH_NEVER;
	uint32_t k, i;

	for (k = 0; k < nr_words(w); k++) {
		uint64_t late = w->late[k];

		for (; late; late &= late - 1) {
			i = k * 64 + (uint32_t)__builtin_ctzll(late);
			if (w->state[i].due_ns < next)
				next = w->state[i].due_ns;
		}
	}
	return next;
}
