/* SPDX-License-Identifier: MIT */
/*
 * The seam between engine and clients, in one process: the engine's thread
 * commits, client threads read its logs, sleep, reuse slots and cancel, all at
 * once.  Meant for SAN=thread, where a token read before it
 * was stored, or stored after it was read, is a reported race; the values are
 * checked in any build.
 */
#include "tests/unit/rig.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NR_CLIENTS 3u
#define NR_ROUNDS  (SANITIZED ? 60u : 300u)
#define MAX_OUT	   40u

static struct rig R;
static uint32_t nr_done;

struct client {
	struct rig_session *x;
	uint64_t rng;
	uint64_t nr_tokens, nr_sleeps, nr_cancelled;
	const char *bad;
};

static uint32_t rnd(struct client *c, uint32_t n)
{
	return (uint32_t)((c->rng = toy_mix(c->rng)) >> 33) % n;
}

/* Until the tail is @want, or the end; with a wish, and no time-out's help. */
static uint64_t wait_for(struct client *c, uint32_t slot, uint32_t gen,
			 uint32_t want)
{
	struct rig_session *x = c->x;
	struct pollfd p = { c->x->bell, POLLIN, 0 };
	uint64_t w, bells;

	for (;;) {
		shm_publish(&x->wish[slot].arm_want,
			    (__u64)++x->arm[slot] << 32 | want);
		shm_fence();
		w = shm_acquire(&x->s.commit[slot]);
		if (LLM_COMMIT_GEN(w) == gen &&
		    (LLM_COMMIT_TAIL(w) >= want ||
		     LLM_COMMIT_STATE(w) == LLM_ST_END))
			return w;
		c->nr_sleeps++;
		if (poll(&p, 1, 20000) != 1) {
			c->bad = "a wake was lost";
			return w;
		}
		/* drained; what is looked at is so after the next fence */
		CHECK_EQ(read(x->bell, &bells, sizeof(bells)), 8);
	}
}

/* Read a stream as it comes; its tokens are those of toy_want(). */
static void follow(struct client *c, uint32_t slot, uint32_t gen,
		   const uint32_t *want, uint32_t nr, bool cancel)
{
	const struct llm_record *r = rig_record(c->x, slot);
	uint32_t seen = 0, tail, i, text = 0;
	uint64_t w;

	do {
		w = wait_for(c, slot, gen, seen + 1 + rnd(c, 8));
		tail = LLM_COMMIT_TAIL(w);
		if (c->bad)
			return;
		for (i = seen; i < tail; i++) {
			const struct llm_tok *t = &rig_log(c->x, slot)[i];
			uint8_t byte =
				t->token == TOY_EOS
					? 0
					: c->x->s.base[r->text_off + text];

			if (i >= nr || t->token != want[i] ||
			    (byte && byte != want[i]))
				c->bad = "a token is not the truth";
			text = t->text_end;
		}
		c->nr_tokens += tail - seen;
		seen = tail;
		if (cancel && seen > 2)
			shm_store(&c->x->wish[slot].cancel_gen, (__u64)gen);
	} while (LLM_COMMIT_STATE(w) != LLM_ST_END && !c->bad);
	if (LLM_COMMIT_END(w) == LLM_END_CANCELLED)
		c->nr_cancelled++;
	else if (seen != nr)
		c->bad = "it ended too early";
}

static void *client(void *arg)
{
	struct client *c = arg;
	uint32_t prompt[2][30], want[2][MAX_OUT], n, nr[2], gen[2], i, k;

	for (i = 0; i < NR_ROUNDS && !c->bad; i++) {
		uint32_t slot = rnd(c, RIG_STREAMS);

		for (k = 0; k < 2; k++) {
			uint64_t seed = c->rng;
			uint32_t s = (slot + k) % RIG_STREAMS;

			n = 1 + rnd(c, 29);
			for (uint32_t j = 0; j < n; j++)
				prompt[k][j] = rnd(c, 100);
			nr[k] = toy_want(prompt[k], n, seed, MAX_OUT, want[k]);
			gen[k] = rig_ids(c->x, (uint16_t)s, prompt[k], n,
					 MAX_OUT, seed);
		}
		for (k = 0; k < 2; k++)
			follow(c, (slot + k) % RIG_STREAMS, gen[k], want[k],
			       nr[k], !rnd(c, 5));
	}
	__atomic_fetch_add(&nr_done, 1, __ATOMIC_RELAXED);
	return NULL;
}

static int until_done(struct rig *r, uint64_t deadline_ns)
{
	return __atomic_load_n(&nr_done, __ATOMIC_RELAXED) == NR_CLIENTS;
}

TEST(clients_in_threads_see_the_truth_and_no_race)
{
	struct client c[NR_CLIENTS] = { 0 };
	pthread_t t[NR_CLIENTS];
	uint32_t i;

	rig_init(&R);
	R.script = until_done;
	for (i = 0; i < NR_CLIENTS; i++) {
		c[i].x = rig_session(&R, i, i);
		c[i].x->bell = eventfd(0, EFD_NONBLOCK);
		c[i].rng = 77 + i;
	}
	for (i = 0; i < NR_CLIENTS; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, client, &c[i]), 0);
	CHECK_EQ(rig_run(&R), 0);
	for (i = 0; i < NR_CLIENTS; i++) {
		pthread_join(t[i], NULL);
		if (c[i].bad)
			printf("# client %u: %s\n", i, c[i].bad);
		CHECK(!c[i].bad);
		CHECK(c[i].nr_tokens > NR_ROUNDS);
		CHECK(c[i].nr_sleeps > 10);
		CHECK(c[i].nr_cancelled > 0);
		close(c[i].x->bell);
	}
	rig_deinit(&R);
}
