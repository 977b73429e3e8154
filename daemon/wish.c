/* SPDX-License-Identifier: MIT */
#include "daemon/wish.h"
#include "daemon/carrier.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/*
 * Is the wish of stream @i met?  @moved: its word moved, so a delay may begin
 * to run.  The client may be writing: each field is fetched once.
 */
static bool met(struct wishes *w, const struct session *s, uint32_t i,
		bool moved, uint64_t now_ns)
{
	struct wish_state *t = &w->state[i];
	uint64_t arm_want = shm_load(&s->wish[i].arm_want);
	uint32_t arm = (uint32_t)(arm_want >> 32), delay_us;
	uint64_t word = shm_load(&s->commit[i]), bit = 1ull << i % 64;
	uint64_t *late = &w->late[i / 64];

	if (arm == t->woken) { /* this arming is answered already */
		*late &= ~bit;
		return false;
	}
	if (LLM_COMMIT_TAIL(word) >= (uint32_t)arm_want ||
	    LLM_COMMIT_STATE(word) == LLM_ST_END)
		goto wake;
	if (*late & bit && t->due_arm == arm) {
		if (now_ns < t->due_ns)
			return false;
		goto wake;
	}
	*late &= ~bit;
	delay_us = shm_load(&s->wish[i].delay_us);
	if (delay_us && moved && LLM_COMMIT_TAIL(word)) {
		t->due_arm = arm;
		t->due_ns = now_ns + 1000ull * delay_us;
		*late |= bit;
	}
	return false;
wake:
	t->woken = arm;
	*late &= ~bit;
	return true;
}

static void futex_wake(uint64_t *word)
{
	/* the low half: the contract is little-endian where this is used */
	syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE, INT_MAX, NULL, NULL,
		0);
}

struct wish_result wish_settle(struct wishes *w, struct session *s,
			       uint64_t now_ns)
{
	struct wish_result ret = { 0 };
	uint32_t k, i;

	w->any_late = false;
	for (k = 0; k < nr_words(w); k++) {
		uint64_t moved = w->touched[k];
		uint64_t look = moved | w->late[k];

		w->touched[k] = 0;
		for (; look; look &= look - 1) {
			i = k * 64 + (uint32_t)__builtin_ctzll(look);
			if (!met(w, s, i, moved >> i % 64 & 1, now_ns))
				continue;
			if (shm_load(&s->wish[i].how) == LLM_WAKE_FUTEX) {
				futex_wake(&s->commit[i]);
				ret.futexes++;
			} else {
				ret.bell = true;
			}
		}
		w->any_late |= w->late[k] != 0;
	}
	if (ret.bell)
		shm_publish(&s->engine->bell, shm_load(&s->engine->bell) + 1);
	return ret;
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
