/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/* Text to ids beside the loop: results, order, drops, a full house. */
#include "tests/test.h"
#include "daemon/worker.h"
#include "text/encode.h"
#include "text/vocab.h"

#include <errno.h>
#include <linux/llm.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DIR "tests/data/models/llama3-gqa-bf16"

static struct vocab *V;
static struct worker *W;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static unsigned nr_kicks;

static void kick(void *arg)
{
	pthread_mutex_lock(&lock);
	nr_kicks++;
	pthread_cond_signal(&came);
	pthread_mutex_unlock(&lock);
}

static void begin(void)
{
	struct err err;

	if (!V)
		CHECK_EQ(vocab_open(&V, DIR, &err), 0);
	worker_close(W);
	W = NULL;
	nr_kicks = 0;
	CHECK_EQ(worker_open(&W, V, 64, kick, NULL, &err), 0);
}

/* Wait for a kick, as the carrier's wait() does, and take. */
static void take(struct worker_result *ret)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 10;
	pthread_mutex_lock(&lock);
	while (!nr_kicks)
		if (pthread_cond_timedwait(&came, &lock, &t))
			break;
	nr_kicks--;
	pthread_mutex_unlock(&lock);
	CHECK(worker_take(W, ret));
}

TEST(a_text_becomes_the_ids_that_encode_gives)
{
	static const struct {
		const char *name;
		uint32_t sqe_flags;
		unsigned flags;
	} t[] = {
		{ "plain", 0, ENCODE_BOS },
		{ "special", LLM_SQE_F_SPECIAL, ENCODE_BOS | ENCODE_SPECIAL },
		{ "no bos", LLM_SQE_F_NO_BOS, 0 },
	};
	const char text[] = "Hello there <|begin_of_text|> you";
	struct worker_result r;
	struct encode *e;
	struct ids want = { 0 };
	unsigned i;

	begin();
	CHECK_EQ(encode_open(&e, V), 0);
	for (i = 0; i < 3; i++) {
		ROW(t[i].name);
		want.nr = 0;
		CHECK_EQ(encode(e, text, strlen(text), t[i].flags, &want, NULL),
			 0);
		worker_give(W, 7 + i, text, (uint32_t)strlen(text),
			    t[i].sqe_flags | LLM_SQE_F_TEXT);
		take(&r);
		CHECK_EQ(r.job, 7 + i);
		CHECK_EQ(r.error, 0);
		CHECK_EQ(r.nr, want.nr);
		CHECK(!memcmp(r.ids, want.v, want.nr * 4));
		worker_thank(W, r.job);
	}
	ids_free(&want);
	encode_close(e);
}

TEST(a_fault_comes_back_with_its_line)
{
	struct worker_result r;

	vocab_close(V);
	V = NULL;
	CHECK_EQ(vocab_open(&V, "tests/data/tokenizers/bpe-gpt2", NULL), 0);
	begin();
	worker_give(W, 1, "hi", 2, LLM_SQE_F_TEXT | LLM_SQE_F_CHAT);
	take(&r);
	CHECK_EQ(r.error, -ENOTSUP);
	CHECK(strlen(r.why.text) > 5);
	worker_thank(W, 1);
	worker_close(W);
	W = NULL;
	vocab_close(V);
	V = NULL;
}

TEST(jobs_come_back_in_order_and_dropped_ones_never)
{
	struct worker_result r;
	char text[40][16];
	uint32_t i, next = 0, got = 0;

	begin();
	for (i = 0; i < 40; i++) {
		snprintf(text[i], sizeof(text[i]), "text %u", i);
		worker_give(W, i, text[i], (uint32_t)strlen(text[i]), 0);
	}
	for (i = 0; i < 40; i += 3) {
		worker_drop(W, i);
		memset(text[i], 'x', sizeof(text[i])); /* may be unmapped */
	}
	for (i = 0; i < 2000 && next < 40; i++) {
		if (!worker_take(W, &r)) {
			usleep(1000);
			continue;
		}
		CHECK(r.job >= next && r.job % 3);
		next = r.job + 1;
		got++;
		worker_thank(W, r.job);
		if (next == 39)
			break;
	}
	CHECK_EQ(got, 26);
	CHECK(!worker_take(W, &r));
}

TEST(a_number_dropped_while_its_text_is_made_may_be_given_at_once)
{
	static char big[200000];
	struct worker_result r;
	uint32_t i, n = 0;

	begin();
	for (i = 0; i < sizeof(big); i++)
		big[i] = "ab cd\n"[i % 6];
	for (i = 0; i < 30; i++) {
		worker_give(W, 5, big, sizeof(big), 0);
		usleep(i * 100); /* queued, running, or done by now */
		worker_drop(W, 5);
	}
	worker_give(W, 5, "one", 3, LLM_SQE_F_NO_BOS);
	while (!worker_take(W, &r) && n++ < 10000)
		usleep(1000);
	CHECK_EQ(r.job, 5);
	CHECK(r.nr < 4);
	worker_thank(W, 5);
	CHECK(!worker_take(W, &r));
}

TEST(closing_with_work_left_is_clean)
{
	static char big[200000];
	uint32_t i;

	begin();
	memset(big, 'a', sizeof(big));
	for (i = 0; i < 64; i++)
		worker_give(W, i, big, sizeof(big), 0);
	worker_close(W);
	W = NULL;
	vocab_close(V);
	V = NULL;
}
