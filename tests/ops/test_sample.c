/* SPDX-License-Identifier: MIT */
/*
 * Sampling and scoring: each line of struct sampler's list by hand, fast
 * against ref over random cases, draws against the exact distribution.
 */
#include "tests/ops/fixture.h"
#include "kernels/expf.h"
#include "kernels/noise.h"

#include <float.h>

#define VOCAB 40u
#define INF   INFINITY

static const struct fx_shape tiny = { "tiny", WEIGHT_F32, 8,	 1, 1, 8,
				      8,      8,	  VOCAB, 0, 0, 0 };

static struct sampler plain(void)
{
	return (struct sampler){ .temperature = 1,
				 .top_p = 1,
				 .repetition = 1 };
}

/* The context of op set @i for a vocabulary; the last few are kept open. */
static struct ops_ctx *open_set(size_t i, uint32_t vocab)
{
	static struct {
		uint32_t vocab;
		struct ops_ctx *ctx;
	} kept[NR_SETS][4];
	const struct ops *ops = ops_find(fx_sets[i]);
	struct fx_shape shape = tiny;
	size_t j = 0;

	if (!ops)
		return NULL;
	while (j < 3 && kept[i][j].vocab != vocab && kept[i][j].vocab)
		j++;
	if (kept[i][j].vocab != vocab) {
		ops->close(kept[i][j].ctx);
		shape.vocab = vocab;
		kept[i][j].vocab = vocab;
		kept[i][j].ctx = fx_open(ops, fx_model(&shape), 1, 1);
	}
	return kept[i][j].ctx;
}

/* One token from @logits by every op set; they must agree. */
static uint32_t pick_vocab(uint32_t vocab, const float *logits,
			   const struct sampler *s, uint32_t position,
			   const uint32_t *history, uint32_t prompt_len)
{
	uint32_t answer = UINT32_MAX;

	for (size_t i = 0; i < NR_SETS; i++) {
		const struct ops *ops = ops_find(fx_sets[i]);
		struct ops_ctx *ctx = open_set(i, vocab);
		struct step_out out = { .sampler = s,
					.position = position,
					.history = history,
					.prompt_len = prompt_len };

		if (!ctx)
			continue;
		ops->poke(ctx, OPS_LOGITS, 0, 1, logits);
		ops->sample(ctx, &out, 1);
		if (answer == UINT32_MAX)
			answer = out.token;
		if (answer != out.token)
			printf("# %s: %u, ref: %u\n", fx_sets[i], out.token,
			       answer);
		CHECK(answer == out.token);
	}
	return answer;
}

static uint32_t pick(const float *logits, const struct sampler *s)
{
	static const uint32_t none[64];

	return pick_vocab(VOCAB, logits, s, 0, none, 0);
}

/* Logits: -30 each, so that an id not named is not drawn. */
static float *flat(void)
{
	float *l = fx_take(VOCAB * 4);

	for (uint32_t i = 0; i < VOCAB; i++)
		l[i] = -30;
	return l;
}

/* Which ids occur in many draws: a bit each. */
static uint64_t support(const float *logits, struct sampler s)
{
	uint64_t ids = 0;

	for (uint32_t seed = 0; seed < 300; seed++) {
		s.seed = seed;
		ids |= 1ull << pick(logits, &s);
	}
	return ids;
}

TEST(temperature_0_takes_the_largest_and_the_lowest_id_on_ties)
{
	struct sampler s = plain();
	float *l = flat();

	l[7] = l[9] = l[21] = 3;
	s.temperature = 0;
	s.top_p = 0.1f; /* greedy ignores the filters */
	s.top_k = 1;
	CHECK_EQ(pick(l, &s), 7);
	s.temperature = 9e-6f;
	CHECK_EQ(pick(l, &s), 7);
	l[39] = 4;
	CHECK_EQ(pick(l, &s), 39);
	l[0] = 4;
	CHECK_EQ(pick(l, &s), 0);
	for (uint32_t i = 0; i < VOCAB; i++)
		l[i] = -0.0f;
	l[5] = 0; /* the same logit as -0 */
	CHECK_EQ(pick(l, &s), 0);
}

TEST(nan_and_infinities_are_survived)
{
	struct sampler s = plain();
	float *l = flat();

	s.temperature = 0;
	l[3] = NAN;
	l[4] = -NAN;
	l[6] = 1;
	CHECK_EQ(pick(l, &s), 6);
	l[9] = INF;
	CHECK_EQ(pick(l, &s), 9);
	s.temperature = 1;
	CHECK_EQ(pick(l, &s), 9);
	for (uint32_t i = 0; i < VOCAB; i++)
		l[i] = i % 2 ? NAN : -INF;
	CHECK_EQ(pick(l, &s), 0);
	s.temperature = 0;
	CHECK_EQ(pick(l, &s), 0);
	s.temperature = 1;
	s.min_p = s.top_p = NAN; /* never admitted; must not crash */
	CHECK_EQ(pick(l, &s), 0);
	l[11] = 0;
	CHECK_EQ(pick(l, &s), 11);
}

TEST(allowed_masks_before_everything)
{
	uint32_t allowed[2] = { 0, 1u << 3 }; /* id 35 */
	static const uint32_t id[] = { 2 };
	static const float up[] = { 100 };
	struct sampler s = plain();
	float *l = flat();

	s.temperature = 0;
	s.allowed = allowed;
	s.bias_ids = id; /* the mask wins over a bias */
	s.bias = up;
	s.nr_bias = 1;
	CHECK_EQ(pick(l, &s), 35);
}

TEST(bias_adds_clamps_and_forbids)
{
	static const uint32_t ids[] = { 5, 6, 7, VOCAB, UINT32_MAX, 0x7fffffff };
	float b[] = { 2, 50, -100, 100, 100, 100 };
	struct sampler s = plain();
	float *l = flat();

	s.temperature = 0;
	s.bias_ids = ids;
	s.bias = b;
	s.nr_bias = 6;
	l[7] = 90;
	CHECK_EQ(pick(l, &s), 6); /* 20; 7 is forbidden */
	b[1] = 1.5f;
	CHECK_EQ(pick(l, &s), 5);
	l[8] = 71; /* a bias of 1000 counts 100: 70 */
	b[0] = 1000;
	CHECK_EQ(pick(l, &s), 8);
	l[8] = 69;
	CHECK_EQ(pick(l, &s), 5);
	l[7] = 0; /* -100 forbids, it does not subtract */
	for (uint32_t i = 0; i < VOCAB; i++)
		l[i] = i == 7 ? 200 : -INF;
	l[30] = -FLT_MAX;
	s.temperature = 1;
	CHECK_EQ(pick(l, &s), 30);
}

TEST(end_ids_wait_for_min_tokens)
{
	static const uint32_t ends[] = { 4, 9, VOCAB + 1, UINT32_MAX };
	static const uint32_t history[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct sampler s = plain();
	float *l = flat();

	l[4] = 5;
	l[9] = 4;
	l[2] = 3;
	s.temperature = 0;
	s.end_ids = ends;
	s.nr_end_ids = 4;
	s.min_tokens = 3;
	CHECK_EQ(pick_vocab(VOCAB, l, &s, 0, history, 4), 2);
	CHECK_EQ(pick_vocab(VOCAB, l, &s, 2, history, 4), 2);
	CHECK_EQ(pick_vocab(VOCAB, l, &s, 3, history, 4), 4);
}

TEST(penalties_count_what_they_should)
{
	/* prompt 10, 11, 11, 99 (out of the vocabulary); output 11, 12, 12 */
	static const uint32_t history[] = { 10, 11, 11, 99, 11, 12, 12 };
	/* clang-format off */
	static const struct {
		const char *name;
		float repetition, frequency, presence;
		float l10, l11, l12, l13;
		uint32_t want;
	} rows[] = {
		{ "none", 1, 0, 0, 4, 3, 2, 1, 10 },
		{ "repetition divides what is positive, prompt too", 2, 0, 0, 4, 3.9f, 3.8f, 2.1f, 13 },
		{ "repetition 2, 2.0 stays in front of 1.9", 2, 0, 0, 4, 3.9f, 3.8f, 1.9f, 10 },
		{ "repetition multiplies what is negative", 2, 0, 0, -1, -1, -1, -1.9f, 13 },
		{ "repetition once an id, however often it came", 2, 0, 0, 3.9f, 4, 3.8f, 1.95f, 11 },
		{ "presence: outputs only", 1, 0, 1.5f, 2, 3.4f, 3.3f, 1.95f, 10 },
		{ "presence once an id", 1, 0, 1, 0, 0, 3, 1.9f, 12 },
		{ "frequency counts outputs: 12 twice", 1, 1, 0, 0, 2.5f, 3.4f, 1, 11 },
		{ "frequency: 11 once, its prompt places do not count", 1, 1, 0, 1.4f, 2.5f, 0, 1, 11 },
		{ "both", 1, 1, 1, 0, 3, 3.5f, 0.9f, 11 },
		{ "negative ones attract", 1, -1, 0, 2, 1.5f, 0.6f, 0, 12 },
		{ "repetition before frequency", 2, 1, 0, 0, 6, 0, 1.9f, 11 },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sampler s = plain();
		float *l = flat();

		ROW(rows[i].name);
		s.temperature = 0;
		s.repetition = rows[i].repetition;
		s.frequency = rows[i].frequency;
		s.presence = rows[i].presence;
		l[10] = rows[i].l10;
		l[11] = rows[i].l11;
		l[12] = rows[i].l12;
		l[13] = rows[i].l13;
		CHECK_EQ(pick_vocab(VOCAB, l, &s, 3, history, 4), rows[i].want);
	}
}

TEST(min_p_is_taken_after_temperature)
{
	struct sampler s = plain();
	float *l = flat();

	/* p relative to the best: 1, 0.5, 0.1 */
	l[1] = 0;
	l[2] = logf(0.5f);
	l[3] = logf(0.1f);
	s.min_p = 0.2f;
	CHECK(support(l, s) == (1u << 1 | 1u << 2));
	s.temperature = 2; /* now 1, 0.7, 0.32 */
	CHECK(support(l, s) == (1u << 1 | 1u << 2 | 1u << 3));
	s.temperature = 0.5f; /* 1, 0.25, 0.01 */
	s.min_p = 0.3f;
	CHECK(support(l, s) == 1u << 1);
	s.min_p = 1;
	l[9] = 0;
	CHECK(support(l, s) == (1u << 1 | 1u << 9));
}

TEST(top_k_keeps_exactly_k_lowest_ids_on_ties)
{
	struct sampler s = plain();
	float *l = flat();

	for (uint32_t i = 10; i < 20; i++)
		l[i] = 1;
	l[30] = 1.5f;
	s.top_k = 4;
	CHECK(support(l, s) == (1u << 30 | 1u << 10 | 1u << 11 | 1u << 12));
	s.top_k = 1;
	CHECK(support(l, s) == 1u << 30);
	s.top_k = VOCAB;
	CHECK(support(l, s) == (1u << 30 | 0x3ffu << 10));
	s.top_k = UINT32_MAX;
	CHECK(support(l, s) == (1u << 30 | 0x3ffu << 10));
	s.top_k = 0;
	CHECK(support(l, s) == (1u << 30 | 0x3ffu << 10));
	s.top_k = 3; /* min_p first: it leaves one */
	s.min_p = 0.9f;
	CHECK(support(l, s) == 1u << 30);
}

TEST(top_p_keeps_the_token_that_crosses)
{
	struct sampler s = plain();
	float *l = flat();

	l[20] = logf(0.5f);
	l[4] = logf(0.25f);
	l[5] = logf(0.125f);
	l[6] = logf(0.125f);
	s.top_p = 0.4f;
	CHECK(support(l, s) == 1u << 20);
	s.top_p = 0.51f;
	CHECK(support(l, s) == (1u << 20 | 1u << 4));
	s.top_p = 0.76f; /* 5 and 6 are equal: the lower id */
	CHECK(support(l, s) == (1u << 20 | 1u << 4 | 1u << 5));
	s.top_p = 0.9f;
	CHECK(support(l, s) == (1u << 20 | 1u << 4 | 1u << 5 | 1u << 6));
	s.top_p = 1e-30f;
	CHECK(support(l, s) == 1u << 20);
	s.top_p = 0; /* never admitted; one token stays */
	CHECK(support(l, s) == 1u << 20);
	/* reached exactly: nothing crosses any more */
	l[21] = l[20] = 100;
	s.top_p = 0.5f;
	CHECK(support(l, s) == 1u << 20);
	l[21] = -30;
	l[20] = logf(0.5f);
	/* of the mass that top_k left: 0.5 and 0.25 become 2/3 and 1/3 */
	s.top_k = 2;
	s.top_p = 0.66f;
	CHECK(support(l, s) == 1u << 20);
	s.top_p = 0.67f;
	CHECK(support(l, s) == (1u << 20 | 1u << 4));
}

/*
 * Draws of @n seeds against @p (the exact probabilities, from the definition
 * in float64): chi-square / degrees of freedom, ids with n*p < 10 pooled.
 */
static void check_draws(const char *set, const float *l, uint32_t vocab,
			struct sampler s, const double *p, uint32_t n)
{
	const struct ops *ops = ops_find(set);
	struct fx_shape shape = tiny;
	struct step_out out[64] = { 0 };
	double chi = 0, rest = 0, rest_p = 0, z;
	uint32_t *count = fx_take(vocab * 4), freedom = 0;
	struct ops_ctx *ctx;
	struct sampler each[64];

	if (!ops)
		return;
	shape.vocab = vocab;
	ctx = fx_open(ops, fx_model(&shape), 64, 2);
	for (uint32_t i = 0; i < 64; i++)
		ops->poke(ctx, OPS_LOGITS, i, 1, l);
	for (uint32_t at = 0; at < n; at += 64) {
		for (uint32_t i = 0; i < 64; i++) {
			each[i] = s;
			each[i].seed = 1000003ull * ((at + i) / 16);
			out[i].sampler = &each[i];
			out[i].position = (at + i) % 16;
		}
		ops->sample(ctx, out, 64);
		for (uint32_t i = 0; i < 64; i++)
			count[out[i].token]++;
	}
	ops->close(ctx);
	for (uint32_t i = 0; i < vocab; i++) {
		double want = p[i] * n;

		CHECK(p[i] > 0 || !count[i]);
		if (want < 10) {
			rest += count[i];
			rest_p += want;
			continue;
		}
		chi += (count[i] - want) * (count[i] - want) / want;
		freedom++;
	}
	if (rest_p >= 10) {
		chi += (rest - rest_p) * (rest - rest_p) / rest_p;
		freedom++;
	} else {
		CHECK(rest < rest_p + 40);
	}
	CHECK(freedom > 1);
	freedom--;
	/* Wilson and Hilferty: a cube root of chi-square is nearly normal */
	z = (cbrt(chi / freedom) - (1 - 2.0 / (9 * freedom))) /
	    sqrt(2.0 / (9 * freedom));
	if (fabs(z) > 3.5)
		printf("# chi-square %.1f, %u degrees: z %.2f\n", chi, freedom,
		       z);
	CHECK(fabs(z) < 3.5);
}

/* Steps 6 to 9 in float64 on a sorted list. */
static void exact(const float *l, uint32_t vocab, const struct sampler *s,
		  double *p)
{
	uint32_t *order = fx_take(vocab * 4), n = 0;
	double sum = 0, part = 0, all = 0;

	for (uint32_t i = 0; i < vocab; i++) {
		uint32_t at = n++;

		for (; at && l[order[at - 1]] < l[i]; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	for (uint32_t i = 0; i < n; i++) {
		double e = exp(((double)l[order[i]] - l[order[0]]) /
			       s->temperature);

		p[order[i]] = e >= s->min_p && (!s->top_k || i < s->top_k) ? e
									   : 0;
		sum += p[order[i]];
	}
	for (uint32_t i = 0; i < n; i++) {
		if (part >= s->top_p * sum)
			p[order[i]] = 0;
		part += p[order[i]];
		all += p[order[i]];
	}
	for (uint32_t i = 0; i < n; i++)
		p[i] /= all;
	fx_free(order);
}

TEST(draws_follow_the_exact_distribution)
{
	/* clang-format off */
	static const struct {
		const char *name;
		uint32_t vocab;
		float spread, temperature, min_p, top_p;
		uint32_t top_k;
	} rows[] = {
		{ "temperature 1", 37, 2, 1, 0, 1, 0 },
		{ "temperature 0.3", 37, 2, 0.3f, 0, 1, 0 },
		{ "temperature 3, nearly flat", 300, 2, 3, 0, 1, 0 },
		{ "min_p", 300, 3, 1, 0.05f, 1, 0 },
		{ "top_k", 300, 3, 1, 0, 1, 40 },
		{ "top_p", 300, 3, 1, 0, 0.8f, 0 },
		{ "all of them", 300, 3, 1.3f, 0.01f, 0.9f, 90 },
		{ "a wide vocabulary", 5001, 4, 0.9f, 0, 0.95f, 0 },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * NR_SETS; i++) {
		size_t r = i / NR_SETS;
		struct sampler s = plain();
		float *l = fx_take(rows[r].vocab * 4);
		double *p = fx_take(rows[r].vocab * 8);

		ROW(rows[r].name);
		fx_state = 77 + r;
		for (uint32_t j = 0; j < rows[r].vocab; j++)
			l[j] = fx_float(rows[r].spread) +
			       fx_float(rows[r].spread);
		s.temperature = rows[r].temperature;
		s.min_p = rows[r].min_p;
		s.top_p = rows[r].top_p;
		s.top_k = rows[r].top_k;
		exact(l, rows[r].vocab, &s, p);
		check_draws(fx_sets[i % NR_SETS], l, rows[r].vocab, s, p,
			    rows[r].vocab > 1000 ? 4096
			    : i % NR_SETS	 ? 32768
						 : 8192);
	}
}

/* The three-token vocabulary of T8, without drafts. */
TEST(ten_sixty_thirty)
{
	const float l[] = { logf(0.1f), logf(0.6f), logf(0.3f) };
	const double p[] = { 0.1, 0.6, 0.3 };

	for (size_t i = 0; i < NR_SETS; i++)
		check_draws(fx_sets[i], l, 3, plain(), p, 131072);
}

TEST(fast_sets_choose_what_ref_chooses)
{
	static const uint32_t vocabs[] = { 3, 31, 301, 4099 };
	uint32_t history[64];

	for (uint32_t c = 0; c < 400; c++) {
		struct fx_shape shape = tiny;
		struct sampler s = plain();
		uint32_t ids[8];
		float bias[8], *l;

		fx_state = c * 7919;
		shape.vocab = vocabs[c % 4];
		l = fx_take(shape.vocab * 4);
		for (uint32_t i = 0; i < shape.vocab; i++) {
			l[i] = fx_float(3) + fx_float(c % 3 ? 3 : 60);
			if (c % 5 == 0) /* ties */
				l[i] = roundf(l[i]);
			if (c % 7 == 0 && fx_below(9) == 0)
				l[i] = fx_below(2) ? NAN : -INFINITY;
		}
		for (uint32_t i = 0; i < 64; i++)
			history[i] = fx_below(shape.vocab + 2);
		for (uint32_t i = 0; i < 8; i++) {
			ids[i] = fx_below(shape.vocab + 2);
			bias[i] = fx_float(110);
		}
		s.seed = fx_next();
		s.temperature = c % 11 ? 0.1f + fabsf(fx_float(2)) : 50;
		s.top_p = fx_below(2) ? 1 : fabsf(fx_float(1)) + 1e-6f;
		s.min_p = fx_below(2) ? 0 : fabsf(fx_float(0.3f));
		s.top_k = fx_below(2) ? 0 : fx_below(shape.vocab + 3);
		s.repetition = fx_below(2) ? 1 : 1 + fx_float(0.5f);
		s.frequency = fx_below(2) ? 0 : fx_float(2);
		s.presence = fx_below(2) ? 0 : fx_float(2);
		s.bias_ids = s.end_ids = ids;
		s.bias = bias;
		s.nr_bias = fx_below(9);
		s.nr_end_ids = fx_below(9);
		s.min_tokens = fx_below(50);
		pick_vocab(shape.vocab, l, &s, 20 + fx_below(20), history, 20);
		fx_free(l);
	}
}

TEST(noise_is_a_function_of_seed_position_and_id)
{
	struct sampler s = plain();
	float *l = fx_take(VOCAB * 4); /* all equal: the noise decides */
	uint32_t other = 0;

	for (uint32_t i = 0; i < 64; i++) {
		uint32_t best = 0;

		s.seed = i * 0x123456789abcull;
		for (uint32_t id = 1; id < VOCAB; id++)
			if (noise_gumbel(s.seed, i, id) >
			    noise_gumbel(s.seed, i, best))
				best = id;
		CHECK_EQ(pick_vocab(VOCAB, l, &s, i, (uint32_t[100]){ 0 }, 0),
			 best);
		other += pick_vocab(VOCAB, l, &s, i + 1, (uint32_t[100]){ 0 },
				    0) != best;
	}
	CHECK(other > 50);
}

/* ---- score ---- */

static void check_score(const struct ops *ops, const float *l, uint32_t vocab,
			uint32_t nr_alt, uint32_t token)
{
	struct fx_shape shape = tiny;
	struct ops_ctx *ctx;
	struct step_out out = { .token = token, .nr_alt = nr_alt };
	double max = -INFINITY, sum = 0;
	uint8_t *seen = fx_take(vocab);

	shape.vocab = vocab;
	ctx = fx_open(ops, fx_model(&shape), 1, 1);
	ops->poke(ctx, OPS_LOGITS, 0, 1, l);
	ops->score(ctx, &out, 1);
	ops->close(ctx);
	for (uint32_t i = 0; i < vocab; i++)
		max = fmax(max, l[i]);
	for (uint32_t i = 0; i < vocab; i++)
		sum += exp(l[i] - max);
	if (token >= vocab) {
		CHECK(out.logprob == -INF);
	} else {
		CHECK(fabs(out.logprob - (l[token] - max - log(sum))) <
		      1e-6 * (1 + fabs(out.logprob)));
	}
	for (uint32_t a = 0; a < nr_alt; a++) {
		uint32_t best = UINT32_MAX;

		for (uint32_t i = 0; i < vocab; i++)
			if (!seen[i] && (best == UINT32_MAX || l[i] > l[best]))
				best = i;
		if (best == UINT32_MAX) {
			CHECK_EQ(out.alt_token[a], 0);
			CHECK(out.alt_logprob[a] == -INF);
			continue;
		}
		seen[best] = 1;
		CHECK_EQ(out.alt_token[a], best);
		CHECK(fabs(out.alt_logprob[a] - (l[best] - max - log(sum))) <
		      1e-6 * (1 + fabs(out.alt_logprob[a])));
	}
	fx_free(seen);
}

TEST(scores_are_the_raw_log_probabilities)
{
	static const uint32_t vocabs[] = { 1, 5, 20, 301, 4097 };

	for (size_t i = 0; i < 5 * NR_SETS * 3; i++) {
		const struct ops *ops = ops_find(fx_sets[i % NR_SETS]);
		uint32_t vocab = vocabs[i / NR_SETS % 5];
		float *l = fx_take(vocab * 4);

		if (!ops)
			continue;
		fx_state = i;
		for (uint32_t j = 0; j < vocab; j++) {
			l[j] = fx_float(20);
			if (i >= 5 * NR_SETS)
				l[j] = roundf(l[j]); /* ties */
		}
		check_score(ops, l, vocab, 20, fx_below(vocab));
		check_score(ops, l, vocab, 0, vocab - 1);
		check_score(ops, l, vocab, 1, 0);
		check_score(ops, l, vocab, 3, UINT32_MAX);
		check_score(ops, l, vocab, 5, vocab);
		fx_free(l);
	}
}

TEST(every_set_scores_with_the_bits_of_ref)
{
	struct fx_shape shape = tiny;
	struct step_out want = { 0 }, got;

	shape.vocab = 1003;
	for (uint32_t c = 0; c < 30; c++) {
		float *l = fx_take(shape.vocab * 4);

		fx_state = c;
		for (uint32_t i = 0; i < shape.vocab; i++)
			l[i] = fx_below(50)  ? fx_float(15)
			       : fx_below(2) ? NAN
					     : -INF;
		if (c == 29)
			for (uint32_t i = 0; i < shape.vocab; i++)
				l[i] = -INF;
		for (size_t i = 0; i < NR_SETS; i++) {
			const struct ops *ops = ops_find(fx_sets[i]);
			struct ops_ctx *ctx;

			if (!ops)
				continue;
			memset(&got, 0, sizeof(got));
			got.nr_alt = 20;
			got.token = 77;
			ctx = fx_open(ops, fx_model(&shape), 1, 1);
			ops->poke(ctx, OPS_LOGITS, 0, 1, l);
			ops->score(ctx, &got, 1);
			ops->close(ctx);
			if (!i)
				want = got;
			CHECK(!memcmp(&want, &got, sizeof(want)));
		}
		fx_free(l);
	}
}
