/* SPDX-License-Identifier: MIT */
/*
 * The first promise of the service: a request's ids are its own.  Alone or in
 * any company, in chunks of any size, on a cold cache or a warm one, with one
 * thread or two, thrown out of memory or killed with the engine: the same ids
 * and the same log probabilities, to the last bit.
 *
 * The truth is each request alone, one after the other, with one thread.  The
 * golden tests say that it is right; here everything else is held against it.
 */
#include "tests/test.h"
#include "tests/system/serve.h"
#include "include/llmclient.h"

#include <stdbool.h>

#define MODEL	   "tests/data/models/llama3-gqa-bf16"
#define NR_ASKS	   64u
#define MAX_PROMPT 160u
#define MAX_OUT	   64u

struct ask {
	uint32_t prompt[MAX_PROMPT], len, n;
	uint64_t seed;
	float temperature, top_p;
};

struct answer {
	uint32_t nr, end, cached;
	uint32_t token[MAX_OUT], logprob_bits[MAX_OUT];
};

enum company {
	ALONE,	   /* one after the other */
	TOGETHER,  /* all at once */
	BACKWARDS, /* all at once, last first */
	STRANGERS, /* all at once, beside others that name no seed */
};

/* How many of them: an emulated processor is given fewer. */
static uint32_t nr_asks = NR_ASKS;
static struct ask asks[NR_ASKS];
static struct answer truth[NR_ASKS], got[NR_ASKS];
static struct serve llmd;
static char why[200];
static int death = SIGKILL;

static uint64_t rnd(uint64_t *s)
{
	*s += 0x9e3779b97f4a7c15ull; /* splitmix64 */
	uint64_t x = (*s ^ *s >> 30) * 0xbf58476d1ce4e5b9ull;

	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/*
 * Lengths at and around the block of 16; every fourth request begins as the
 * one before it does, so that one of the two finds blocks of the other.
 */
static void make_asks(void)
{
	static const uint32_t lens[] = { 1, 3, 15, 16, 17, 32, 33, 90, 150 };
	uint64_t s = 7;
	uint32_t i, p;

	for (i = 0; i < nr_asks; i++) {
		struct ask *a = &asks[i];

		a->len = lens[rnd(&s) % 9];
		a->n = 8 + (uint32_t)(rnd(&s) % (MAX_OUT - 7));
		a->seed = rnd(&s);
		a->temperature = i % 3 ? 0.9f : 0.0f;
		a->top_p = i % 2 ? 0.95f : 1.0f;
		for (p = 0; p < MAX_PROMPT; p++)
			a->prompt[p] = 3 + (uint32_t)(rnd(&s) % 497);
		if (i % 4 == 3)
			memcpy(a->prompt, asks[i - 1].prompt,
			       40 * sizeof(*a->prompt));
	}
}

static int submit(struct llmc *s, const struct ask *a, bool seeded, uint32_t i,
		  struct llmc_stream **st)
{
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
				  .flags = LLM_SQE_F_LOGPROBS,
				  .ids = a->prompt,
				  .nr_ids = a->len,
				  .max_tokens = a->n,
				  .user_data = i,
				  .set = LLM_SET_TEMPERATURE | LLM_SET_TOP_P,
				  .params_flags = LLM_PARAMS_F_IGNORE_EOS,
				  .temperature = seeded ? a->temperature : 1.5f,
				  .top_p = a->top_p,
				  .seed = a->seed };

	if (seeded)
		q.set |= LLM_SET_SEED;
	return llmc_submit(s, &q, st);
}

/* All that has come of @st so far. */
static int collect(struct llmc_stream *st, struct answer *a)
{
	struct llmc_token tok[16];
	ssize_t n, i;

	while ((n = llmc_read(st, tok, 16)) > 0)
		for (i = 0; i < n && a->nr < MAX_OUT; i++, a->nr++) {
			a->token[a->nr] = tok[i].token;
			memcpy(&a->logprob_bits[a->nr], &tok[i].logprob, 4);
		}
	return (int)n;
}

static bool finish(struct llmc_stream *st, struct answer *a)
{
	struct llmc_result res;
	bool good = llmc_wait(st, UINT32_MAX, 60000) == 1 &&
		    collect(st, a) == 0 && !llmc_result(st, &res);

	if (good) {
		a->end = res.end;
		a->cached = res.cached_tokens;
	} else {
		snprintf(why, sizeof(why), "%s", llmc_error());
	}
	llmc_release(st);
	return good;
}

/* Kill the engine each time another @every tokens are there. */
static uint32_t kill_along(struct llmc_stream **st, uint32_t every)
{
	uint32_t kills = 0, total, before = 0, i, tries;

	every = every * nr_asks / NR_ASKS;
	for (tries = 0; tries < 20000 && kills < 6; tries++) {
		for (total = 0, i = 0; i < nr_asks; i++) {
			collect(st[i], &got[i]);
			total += got[i].nr;
		}
		if (total >= before + every) {
			pid_t engine = serve_engine(llmd.pid);

			kills += engine && !kill(engine, death);
			before = total;
		}
		serve_msleep(1);
		for (i = 0; i < nr_asks && got[i].nr == asks[i].n; i++)
			;
		if (i == nr_asks)
			break;
	}
	return kills;
}

/* Ask everything; NULL, or what went wrong.  *kills as kill_along(). */
static const char *ask_all(enum company how, uint32_t every, uint32_t *kills)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = 2 * nr_asks,
				    .sq_entries = 256,
				    .socket = llmd.sock };
	struct llmc_stream *st[NR_ASKS] = { 0 }, *other[NR_ASKS] = { 0 };
	uint32_t i, k;
	struct llmc *s;
	bool good = true;

	memset(got, 0, sizeof(got));
	if (llmc_open(&s, &opt))
		return llmc_error();
	for (i = 0; i < nr_asks && good; i++) {
		k = how == BACKWARDS ? nr_asks - 1 - i : i;
		if (how == STRANGERS)
			good = !submit(s, &asks[(i * 7 + 3) % NR_ASKS], false,
				       i, &other[i]);
		good = good && !submit(s, &asks[k], true, k, &st[k]);
		if (good && how == ALONE)
			good = finish(st[k], &got[k]);
	}
	if (!good && !*why)
		snprintf(why, sizeof(why), "%s", llmc_error());
	if (good && every)
		*kills = kill_along(st, every);
	for (i = 0; i < nr_asks && good && how != ALONE; i++)
		good = finish(st[i], &got[i]);
	llmc_close(s);
	return good ? NULL : why;
}

/* NULL where every answer is the truth's. */
static const char *differ(void)
{
	uint32_t i, t;

	for (i = 0; i < nr_asks; i++) {
		const struct answer *a = &got[i], *w = &truth[i];

		for (t = 0; t < a->nr && t < w->nr; t++)
			if (a->token[t] != w->token[t] ||
			    a->logprob_bits[t] != w->logprob_bits[t])
				break;
		if (a->nr == w->nr && t == a->nr && a->end == w->end)
			continue;
		snprintf(why, sizeof(why),
			 "request %u (prompt %u, cached %u) at token %u of %u: "
			 "id %u logprob %08x, not %u %08x",
			 i, asks[i].len, a->cached, t, w->nr,
			 t < a->nr ? a->token[t] : 0,
			 t < a->nr ? a->logprob_bits[t] : 0,
			 t < w->nr ? w->token[t] : 0,
			 t < w->nr ? w->logprob_bits[t] : 0);
		return why;
	}
	return NULL;
}

static uint32_t sum_cached(void)
{
	uint32_t i, n = 0;

	for (i = 0; i < nr_asks; i++)
		n += got[i].cached;
	return n;
}

static bool start(const char *a, const char *b, const char *c, const char *d)
{
	/* an emulator runs threads in turn, and they wait for one another */
	const char *two = serve_slow() > 1 ? "1" : "2";
	const char *args[] = { "--model", MODEL, "--threads", two, a,
			       b,	  c,	 d,	      NULL };

	if (a && !strcmp(a, "--threads"))
		args[2] = "--max-tokens-per-step", args[3] = "512";
	*why = 0;
	return !serve_start(&llmd, "llmd", args);
}

/* The truth, once. */
static void need_truth(void)
{
	static bool known;
	const char *bad;
	uint32_t i, long_ones = 0;

	if (access(MODEL "/model.safetensors", R_OK))
		SKIP("no " MODEL);
	if (known)
		return;
	if (serve_slow() > 1)
		nr_asks = NR_ASKS / 8;
	make_asks();
	CHECK(start("--threads", "1", NULL, NULL));
	bad = ask_all(ALONE, 0, NULL);
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK_STR(bad ? bad : "", "");
	memcpy(truth, got, sizeof(truth));
	for (i = 0; i < nr_asks; i++) {
		CHECK_EQ(truth[i].nr, asks[i].n);
		CHECK_EQ(truth[i].end, LLM_END_LENGTH);
		long_ones += truth[i].token[0] != truth[0].token[0];
	}
	CHECK(long_ones > nr_asks / 2); /* they differ from one another */
	known = true;
}

#define SAME(call)                                                             \
	do {                                                                   \
		const char *bad_ = (call);                                     \
		bad_ = bad_ ? bad_ : differ();                                 \
		if (bad_)                                                      \
			serve_stop(&llmd);                                     \
		CHECK_STR(bad_ ? bad_ : "", "");                               \
	} while (0)

TEST(T1_T9_alone_or_among_64_with_any_budget_and_threads)
{
	static const struct {
		const char *name, *a, *b;
	} rows[] = {
		{ "budget 16", "--max-tokens-per-step", "16" },
		{ "budget 64", "--max-tokens-per-step", "64" },
		{ "default budget", NULL, NULL },
		{ "one thread", "--threads", "1" },
	};
	size_t i;

	need_truth();
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].name);
		CHECK(start(rows[i].a, rows[i].b, NULL, NULL));
		SAME(ask_all(TOGETHER, 0, NULL));
		SAME(ask_all(BACKWARDS, 0, NULL));
		SAME(ask_all(ALONE, 0, NULL));
		CHECK_EQ(serve_stop(&llmd), 0);
	}
}

TEST(T2_with_a_cold_and_a_warm_prefix_cache)
{
	uint32_t cold, warm;

	need_truth();
	CHECK(start(NULL, NULL, NULL, NULL));
	SAME(ask_all(ALONE, 0, NULL));
	cold = sum_cached();
	SAME(ask_all(ALONE, 0, NULL));
	warm = sum_cached();
	SAME(ask_all(TOGETHER, 0, NULL));
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK(warm > cold + 500); /* it was warm indeed */
}

TEST(T3_after_preemption)
{
	uint64_t preemptions = 0;
	struct llm_info info;
	char kv[32];

	need_truth();
	CHECK(start(NULL, NULL, NULL, NULL));
	llmc_info(llmd.sock, &info);
	CHECK_EQ(serve_stop(&llmd), 0);
	/* room for three of the longest, where 64 want in */
	snprintf(kv, sizeof(kv), "%u", info.model.kv_token_bytes * 16 * 42);
	CHECK(start("--kv-memory", kv, "--max-context", "256"));
	SAME(ask_all(TOGETHER, 0, NULL));
	SAME(ask_all(BACKWARDS, 0, NULL));
	if (!llmc_info(llmd.sock, &info))
		preemptions = info.preemptions;
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK(preemptions > 0);
}

TEST(T5_after_the_engine_was_killed)
{
	uint32_t kills = 0, total = 0, round, rounds = serve_slow() > 1 ? 1 : 3;

	need_truth();
	CHECK(start("--max-tokens-per-step", "64", NULL, NULL));
	for (round = 0; round < rounds; round++) {
		SAME(ask_all(TOGETHER, 300 + 100 * round, &kills));
		total += kills;
	}
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK(total >= (rounds > 1 ? 5 : 2));
}

TEST(T6_five_times_over_with_the_same_log_probabilities)
{
	int i;

	need_truth();
	CHECK(start(NULL, NULL, NULL, NULL));
	for (i = 0; i < 5; i++)
		SAME(ask_all(TOGETHER, 0, NULL));
	CHECK_EQ(serve_stop(&llmd), 0);
}

TEST(T7_beside_neighbours_without_a_seed)
{
	need_truth();
	CHECK(start(NULL, NULL, NULL, NULL));
	SAME(ask_all(STRANGERS, 0, NULL));
	SAME(ask_all(STRANGERS, 0, NULL));
	CHECK_EQ(serve_stop(&llmd), 0);
}

/* As a fault of the device or of the code would end it, in mid-step. */
TEST(T29_after_a_fault_in_a_step)
{
	uint32_t kills = 0;
	const char *bad;

	need_truth();
	CHECK(start(NULL, NULL, NULL, NULL));
	death = SIGSEGV;
	bad = ask_all(TOGETHER, 400, &kills);
	death = SIGKILL;
	SAME(bad);
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK(kills > 0);
}

/* T36: what a prompt costs is the same where its blocks are cached. */
TEST(T36_a_score_is_the_same_on_a_warm_cache)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE };
	uint32_t bits[2][MAX_PROMPT], nr[2] = { 0 }, round;
	struct llmc_token tok[MAX_PROMPT];
	struct llmc_stream *st;
	struct llmc *s = NULL;
	ssize_t n, i;

	need_truth();
	CHECK(start(NULL, NULL, NULL, NULL));
	opt.socket = llmd.sock;
	CHECK(!llmc_open(&s, &opt));
	for (round = 0; round < 2; round++) {
		struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
					  .op = LLM_OP_SCORE,
					  .flags = LLM_SQE_F_LOGPROBS,
					  .ids = asks[5].prompt,
					  .nr_ids = 150 };
		struct llmc_request make = q;

		CHECK(!llmc_submit(s, &q, &st));
		CHECK_EQ(llmc_wait(st, UINT32_MAX, 20000), 1);
		n = llmc_read(st, tok, MAX_PROMPT);
		for (i = 0; i < n; i++)
			memcpy(&bits[round][nr[round]++], &tok[i].logprob, 4);
		llmc_release(st);
		/* now the blocks of the prompt are cached, if any ever are */
		make.op = LLM_OP_GENERATE;
		make.max_tokens = 4;
		CHECK(!llmc_submit(s, &make, &st));
		CHECK_EQ(llmc_wait(st, UINT32_MAX, 20000), 1);
		llmc_release(st);
	}
	llmc_close(s);
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK_EQ(nr[0], 149);
	CHECK_EQ(nr[1], 149);
	CHECK(!memcmp(bits[0], bits[1], 149 * sizeof(bits[0][0])));
}
