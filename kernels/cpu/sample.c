/* SPDX-License-Identifier: MIT */
/*
 * sample.c - struct sampler without a sort.  Ids that a step drops get e = 0;
 * such an id cannot win: its z is below -87, the largest noise 36.7, and the
 * likeliest id (z = 0) has at least -3.6.  Top-k and top-p cut by a radix
 * select on order-preserving keys, three passes over ever fewer ids.  Noise is
 * computed in full only where it can matter: an id beats the best score B only
 * if 1 - u <= -ln u <= e^(z - B), a comparison on raw random bits, which some
 * ln(vocab) ids pass.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/expf.h"
#include "kernels/host.h"
#include "kernels/logits.h"
#include "kernels/noise.h"
#include "kernels/pool.h"

#include <assert.h>
#include <math.h>

#define SLACK 1.001f /* over every rounding on the way to the comparison */

/* Weight of a key: its mass, or one. */
static uint64_t weight_of(uint64_t key, const float *e)
{
	return e ? exp_mass(e[(uint32_t)key]) : 1;
}

/*
 * The last key that is kept when keys are taken ascending until their weights
 * reach @need (of which there is enough; at least one is kept).  Keys of equal
 * logits stand in order of id.  The array is used up.
 */
static uint64_t cut(uint64_t *key, uint32_t n, const float *e, uint64_t need)
{
	uint64_t hist[2048];

	for (int shift = 53; shift >= 31; shift -= 11) {
		uint32_t d = 0, left = 0;

		memset(hist, 0, sizeof(hist));
		for (uint32_t i = 0; i < n; i++)
			hist[key[i] >> shift & 2047] += weight_of(key[i], e);
		while (d < 2047 && hist[d] < need)
			need -= hist[d++];
		for (uint32_t i = 0; i < n; i++)
			if ((key[i] >> shift & 2047) == d)
				key[left++] = key[i];
		n = left;
	}
	for (uint32_t i = 0;; i++) {
		uint64_t w = weight_of(key[i], e);

		if (w >= need || i + 1 >= n)
			return key[i];
		need -= w;
	}
}

/* The ids still in the running, as keys, in order of id. */
static uint32_t collect(const struct host_scratch *t, uint32_t vocab)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < vocab; i++) {
		t->key[n] = logits_key(t->l[i], i);
		n += t->e[i] > 0;
	}
	return n;
}

static void drop_after(const struct host_scratch *t, uint32_t vocab,
		       uint64_t last)
{
	for (uint32_t i = 0; i < vocab; i++)
		if (logits_key(t->l[i], i) > last)
			t->e[i] = 0;
}

/* Steps 7 to 9: e becomes 0 where an id is dropped. */
static void filter(const struct host_scratch *t, uint32_t vocab,
		   const struct sampler *s)
{
	uint32_t n;

	for (uint32_t i = 0; s->min_p > 0 && i < vocab; i++)
		t->e[i] = t->e[i] >= s->min_p ? t->e[i] : 0;
	if (s->top_k && s->top_k < vocab) {
		n = collect(t, vocab);
		if (s->top_k < n)
			drop_after(t, vocab, cut(t->key, n, NULL, s->top_k));
	}
	if (s->top_p < 1) {
		uint64_t sum = 0;
		double part;

		n = collect(t, vocab);
		for (uint32_t i = 0; i < n; i++)
			sum += weight_of(t->key[i], t->e);
		part = ceil((double)s->top_p * (double)sum);
		drop_after(t, vocab,
			   cut(t->key, n, t->e, part > 1 ? (uint64_t)part : 1));
	}
}

static double score_of(const struct step_out *o, const float *l, uint32_t id,
		       float max)
{
	return (double)((l[id] - max) / o->sampler->temperature) +
	       noise_gumbel(o->sampler->seed, o->position, id);
}

/* Step 10; @best is the likeliest id. */
static uint32_t draw(const struct cpu_kernels *k, const struct step_out *o,
		     const struct host_scratch *t, uint32_t vocab,
		     uint32_t best, float max)
{
	double top = score_of(o, t->l, best, max);
	uint32_t id = 0;

	for (;; id++) {
		float ceiling = (float)exp(-top) * SLACK;
		double score;

		id = k->next_lucky(o->sampler->seed, o->position, t->e, id,
				   vocab, ceiling);
		if (id >= vocab)
			return best;
		if (t->e[id] == 0)
			continue;
		score = score_of(o, t->l, id, max);
		if (score > top || (score == top && id < best)) {
			top = score;
			best = id;
		}
	}
}

static uint32_t choose(const struct cpu_kernels *k, const struct step_out *o,
		       const float *logits, const struct host_scratch *t,
		       uint32_t vocab)
{
	const struct sampler *s = o->sampler;
	uint32_t best;
	float max;

	k->clean(logits, t->l, vocab);
	logits_adjust(t->l, vocab, o, t->count);
	best = k->argmax(t->l, vocab, &max);
	if (s->temperature < LOGITS_GREEDY || max == -INFINITY)
		return best;
	k->exp_all(t->l, vocab, max, s->temperature, t->e);
	filter(t, vocab, s);
	return draw(k, o, t, vocab, best, max);
}

struct region {
	struct ops_ctx *ctx;
	struct step_out *outs;
};

static void some_outs(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;
	struct ops_ctx *ctx = g->ctx;

	for (uint32_t i = first; i < end; i++)
		if (g->outs[i].sampler)
			g->outs[i].token =
				choose(&ctx->cpu->kernels, &g->outs[i],
				       host_row(&ctx->buf[OPS_LOGITS], i),
				       &ctx->scratch[thread], ctx->shape.vocab);
}

int op_sample_cpu(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	struct region g = { ctx, outs };

	assert(count <= ctx->limits.max_logits);
	pool_run(ctx->pool, some_outs, &g, count,
		 cpu_grain(1.0 * ctx->shape.vocab));
	return 0;
}
