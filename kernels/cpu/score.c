/* SPDX-License-Identifier: MIT */
/*
 * score.c - three passes over a row of logits in the second cache: clean and
 * maximum, sum of masses, and the likeliest where they are asked for (a short
 * sorted list; most ids fail one comparison with its last).
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"
#include "kernels/logits.h"
#include "kernels/noise.h"
#include "kernels/pool.h"

#include <assert.h>

struct region {
	struct ops_ctx *ctx;
	struct step_out *outs;
};

static float logprob(float l, float max, double log_sum)
{
	return l == -INFINITY ? -INFINITY
			      : (float)((double)l - (double)max - log_sum);
}

/* The @nr smallest keys (likeliest first) into @best; returns how many. */
static uint32_t likeliest(const float *l, uint32_t vocab, uint32_t nr,
			  uint64_t best[OPS_MAX_ALT])
{
	uint32_t have = 0;
	float last = -INFINITY; /* logit of the last of a full list */

	for (uint32_t id = 0; id < vocab; id++) {
		uint64_t key;
		uint32_t at;

		if (have == nr && l[id] <= last)
			continue; /* equal logits: the lower id is in already */
		key = logits_key(l[id], id);
		at = have < nr ? have++ : nr - 1;
		for (; at && best[at - 1] > key; at--)
			best[at] = best[at - 1];
		best[at] = key;
		last = l[(uint32_t)best[have - 1]];
	}
	return have;
}

static void judge(const struct cpu_kernels *k, struct step_out *o,
		  const float *logits, float *l, uint32_t vocab)
{
	uint64_t best[OPS_MAX_ALT], sum = 0;
	float max = k->clean(logits, l, vocab);
	double log_sum = 0;
	uint32_t have = 0;

	if (max > -INFINITY)
		sum = k->mass_sum(l, vocab, max);
	if (sum)
		log_sum = noise_log((double)sum * 0x1p-40);
	o->logprob = o->token < vocab ? logprob(l[o->token], max, log_sum)
				      : -INFINITY;
	if (o->nr_alt)
		have = likeliest(l, vocab, o->nr_alt, best);
	for (uint32_t a = 0; a < o->nr_alt; a++) {
		uint32_t id = a < have ? (uint32_t)best[a] : 0;

		o->alt_token[a] = id;
		o->alt_logprob[a] = a < have ? logprob(l[id], max, log_sum)
					     : -INFINITY;
	}
}

static void some_outs(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;
	struct ops_ctx *ctx = g->ctx;

	for (uint32_t i = first; i < end; i++) {
		assert(g->outs[i].nr_alt <= OPS_MAX_ALT);
		judge(&ctx->cpu->kernels, &g->outs[i],
		      host_row(&ctx->buf[OPS_LOGITS], i),
		      ctx->scratch[thread].l, ctx->shape.vocab);
	}
}

int op_score_cpu(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	struct region g = { ctx, outs };

	assert(count <= ctx->limits.max_logits);
	pool_run(ctx->pool, some_outs, &g, count,
		 cpu_grain(0.5 * ctx->shape.vocab));
	return 0;
}
