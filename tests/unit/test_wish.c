/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/* The event index: who is woken, when, and how often; no kills here. */
#include "tests/test.h"
#include "daemon/carrier.h"
#include "daemon/wish.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define NR 130u /* more than two words of bits */
#define MS 1000000ull

static struct llm_wish wish[NR];
static uint64_t word[NR];
static struct llm_engine_ctl ctl;
static struct session S = {
	.nr_streams = NR,
	.wish = wish,
	.commit = word,
	.engine = &ctl,
};
static struct wishes W;

static void begin(void)
{
	wish_deinit(&W);
	memset(wish, 0, sizeof(wish));
	memset(word, 0, sizeof(word));
	memset(&ctl, 0, sizeof(ctl));
	CHECK_EQ(wish_init(&W, NR), 0);
}

static void arm(uint32_t i, uint32_t n, uint32_t want, uint32_t delay_us)
{
	wish[i].delay_us = delay_us;
	wish[i].arm_want = (uint64_t)n << 32 | want;
}

/* The engine commits @tail tokens of stream @i and settles at @now_ms. */
static bool commit(uint32_t i, uint32_t tail, uint64_t now_ms)
{
	word[i] = LLM_COMMIT(1, LLM_ST_RUNNING, 0, tail);
	wish_touch(&W, i);
	return wish_settle(&W, &S, now_ms * MS);
}

static bool tick(uint64_t now_ms)
{
	return wish_settle(&W, &S, now_ms * MS);
}

TEST(a_wish_is_met_once_when_the_tail_is_there)
{
	uint32_t i;

	for (i = 0; i < NR; i += 43) {
		begin();
		CHECK(!commit(i, 1, 0)); /* nobody wishes */
		arm(i, 1, 5, 0);
		CHECK(!commit(i, 4, 0));
		CHECK(commit(i, 5, 0));
		CHECK(!commit(i, 6, 0)); /* answered */
		arm(i, 2, 9, 0);
		CHECK(!commit(i, 8, 0));
		CHECK(commit(i, 20, 0));
	}
}

TEST(an_end_answers_every_wish_a_refusal_too)
{
	begin();
	arm(3, 1, 1000, 0);
	word[3] = LLM_COMMIT(1, LLM_ST_END, LLM_END_REFUSED, 0);
	wish_touch(&W, 3);
	CHECK(tick(0));
}

TEST(what_an_old_end_answered_stands_again_for_the_new_gen)
{
	begin();
	word[3] = LLM_COMMIT(1, LLM_ST_END, LLM_END_LENGTH, 7);
	arm(3, 1, 2, 0); /* for gen 2, which the engine has not seen */
	wish_touch(&W, 3);
	CHECK(tick(0)); /* nobody may have slept yet */
	word[3] = LLM_COMMIT(2, LLM_ST_QUEUED, 0, 0);
	wish_anew(&W, 3);
	word[3] = LLM_COMMIT(2, LLM_ST_RUNNING, 0, 1);
	wish_touch(&W, 3);
	CHECK(!tick(0));
	word[3] = LLM_COMMIT(2, LLM_ST_RUNNING, 0, 2);
	wish_touch(&W, 3);
	CHECK(tick(0));
}

TEST(a_new_engine_looks_at_every_wish)
{
	begin();
	word[7] = LLM_COMMIT(1, LLM_ST_RUNNING, 0, 9);
	arm(7, 4, 9, 0); /* met, and nobody was woken: it died in between */
	arm(8, 4, 9, 0); /* not met */
	wish_touch_all(&W);
	CHECK(tick(0));
	CHECK_EQ(W.state[7].woken, 4);
	CHECK_EQ(W.state[8].woken, 0);
}

TEST(a_delay_runs_from_the_first_token_and_ends_without_another)
{
	begin();
	arm(5, 1, 100, 20000);
	CHECK(!tick(0));
	CHECK_EQ(wish_next_ns(&W), WISH_NEVER); /* no token yet: no timer */
	CHECK(!commit(5, 1, 10));
	CHECK(W.any_late);
	CHECK_EQ(wish_next_ns(&W), 30 * MS);
	CHECK(!commit(5, 2, 20)); /* the timer is the first token's */
	CHECK_EQ(wish_next_ns(&W), 30 * MS);
	CHECK(!tick(29));
	CHECK(tick(30));
	CHECK(!W.any_late);
	CHECK_EQ(wish_next_ns(&W), WISH_NEVER);
	CHECK(!commit(5, 3, 90)); /* answered */
}

TEST(a_new_arming_ends_an_old_delay)
{
	begin();
	arm(5, 1, 100, 20000);
	CHECK(!commit(5, 1, 10));
	arm(5, 2, 200, 50000);
	CHECK(!tick(40)); /* the old one would be over */
	CHECK_EQ(wish_next_ns(&W), WISH_NEVER);
	CHECK(!commit(5, 2, 41));
	CHECK_EQ(wish_next_ns(&W), 91 * MS);
	CHECK(tick(91));
	/* met by tail before its delay is over: one wake */
	arm(5, 3, 10, 50000);
	CHECK(!commit(5, 3, 100));
	CHECK(commit(5, 10, 110));
	CHECK(!tick(200));
}

TEST(the_nearest_of_many_delays_is_the_timer)
{
	begin();
	arm(2, 1, 100, 30000);
	arm(100, 1, 100, 10000);
	word[2] = word[100] = LLM_COMMIT(1, LLM_ST_RUNNING, 0, 1);
	wish_touch(&W, 2);
	wish_touch(&W, 100);
	CHECK(!tick(0));
	CHECK_EQ(wish_next_ns(&W), 10 * MS);
	CHECK(tick(10));
	CHECK_EQ(wish_next_ns(&W), 30 * MS);
}

/* ---- two threads: the handshake itself -------------------------------- */

/*
 * A client that sleeps until it is woken, an engine that commits one token and
 * then nothing until the client has seen it: there is no later commit to heal
 * a lost wake, so it shows as a time-out.
 */
struct race {
	int bell;      /* an eventfd, in the connection's place */
	uint32_t last; /* tokens in all */
	uint32_t seen; /* by the client */
	bool lost;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *client(void *arg)
{
	struct race *r = arg;
	struct pollfd p = { r->bell, POLLIN, 0 };
	uint32_t n = 0, seen = 0;
	uint64_t bells;

	while (seen < r->last) {
		shm_publish(&wish[0].arm_want,
			    (uint64_t)++n << 32 | (seen + 1));
		shm_fence(); /* the wish is out before the word is read */
		while (LLM_COMMIT_TAIL(shm_acquire(&word[0])) == seen) {
			if (poll(&p, 1, 2000) != 1) {
				r->lost = true;
				shm_publish(&r->seen, UINT32_MAX);
				return NULL;
			}
			CHECK_EQ(read(r->bell, &bells, sizeof(bells)), 8);
			shm_fence(); /* drained, then looked */
		}
		seen = LLM_COMMIT_TAIL(shm_acquire(&word[0]));
		shm_publish(&r->seen, seen);
	}
	return NULL;
}

TEST(no_wake_is_lost_between_two_threads)
{
	struct race r = { .bell = eventfd(0, 0), .last = 100000 };
	const uint64_t one = 1;
	uint64_t end_ns = now_ns() + 3000000000ull;
	volatile uint32_t spin;
	pthread_t t;
	uint32_t i;

	begin();
	CHECK_EQ(pthread_create(&t, NULL, client, &r), 0);
	for (i = 1; i <= r.last; i++) {
		if (now_ns() > end_ns) /* a slow machine: fewer will do */
			i = r.last;
		for (spin = i * 7 % 300; spin; spin--) /* many interleavings */
			;
		shm_publish(&word[0], LLM_COMMIT(1, LLM_ST_RUNNING, 0, i));
		wish_touch(&W, 0);
		shm_fence();
		if (wish_settle(&W, &S, 0))
			CHECK_EQ(write(r.bell, &one, sizeof(one)), 8);
		for (spin = 0; shm_acquire(&r.seen) < i; spin++)
			if (spin % 1024 == 1023)
				sched_yield();
	}
	pthread_join(t, NULL);
	close(r.bell);
	CHECK(!r.lost);
}
