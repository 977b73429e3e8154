/* SPDX-License-Identifier: MIT */
/*
 * sample.c - struct sampler, step by step: everything is sorted, then cut.
 * Top-p: Holtzman et al., "The curious case of neural text degeneration",
 * 2020.  Min-p: Nguyen et al., 2024.  Gumbel-max: Gumbel, 1954; Maddison et
 * al., "A* sampling", 2014.
 */
#include "kernels/ref/ref.h"

#include "kernels/expf.h"
#include "kernels/host.h"
#include "kernels/logits.h"
#include "kernels/noise.h"

#include <assert.h>
#include <math.h>

/* Heap sort, ascending: qsort() would allocate. */
static void sort(uint64_t *a, uint32_t n)
{
	for (uint32_t end = n, start = n / 2; end > 1;) {
		uint32_t i, child;
		uint64_t v;

		if (start) {
			v = a[--start];
		} else {
			v = a[--end];
			a[end] = a[0];
		}
		for (i = start; (child = 2 * i + 1) < end; i = child) {
			if (child + 1 < end && a[child + 1] > a[child])
				child++;
			if (v >= a[child])
				break;
			a[i] = a[child];
		}
		a[i] = v;
	}
}

/* Step 9: how many of the @n sorted ids are kept. */
static uint32_t cut_top_p(const float *l, const uint64_t *key, uint32_t n,
			  float max, const struct sampler *s)
{
	uint64_t sum = 0, need;
	uint32_t kept;
	double part;

	if (!(s->top_p < 1))
		return n;
	for (uint32_t i = 0; i < n; i++)
		sum += exp_mass(
			exp_neg((l[(uint32_t)key[i]] - max) / s->temperature));
	part = ceil((double)s->top_p * (double)sum);
	need = part > 0 ? (uint64_t)part : 0;
	sum = 0;
	for (kept = 0; kept < n && (sum < need || !kept); kept++)
		sum += exp_mass(exp_neg((l[(uint32_t)key[kept]] - max) /
					s->temperature));
	return kept;
}

static uint32_t choose(const struct step_out *o, const float *l, uint32_t vocab,
		       uint64_t *key)
{
	const struct sampler *s = o->sampler;
	uint32_t n = 0, best = 0;
	double best_score = -INFINITY;
	float max = -INFINITY;

	for (uint32_t i = 0; i < vocab; i++)
		if (l[i] > max) {
			max = l[i];
			best = i;
		}
	if (s->temperature < LOGITS_GREEDY || max == -INFINITY)
		return best;
	for (uint32_t i = 0; i < vocab; i++) {
		float e = exp_neg((l[i] - max) / s->temperature);

		if (l[i] > -INFINITY && e >= s->min_p)
			key[n++] = logits_key(l[i], i);
	}
	sort(key, n);
	if (s->top_k && s->top_k < n)
		n = s->top_k;
	n = cut_top_p(l, key, n, max, s);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = (uint32_t)key[i];
		double score = (double)((l[id] - max) / s->temperature) +
			       noise_gumbel(s->seed, o->position, id);

		if (score > best_score || (score == best_score && id < best)) {
			best_score = score;
			best = id;
		}
	}
	return best;
}

int op_sample_ref(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	uint32_t vocab = ctx->shape.vocab;
	struct host_scratch *t = &ctx->scratch[0];

	assert(count <= ctx->limits.max_logits);
	for (uint32_t i = 0; i < count; i++) {
		const float *logits = host_row(&ctx->buf[OPS_LOGITS], i);

		if (!outs[i].sampler)
			continue;
		for (uint32_t id = 0; id < vocab; id++)
			t->l[id] = logits_clean(logits[id]);
		logits_adjust(t->l, vocab, &outs[i], t->count);
		outs[i].token = choose(&outs[i], t->l, vocab, t->key);
	}
	return 0;
}
