/* SPDX-License-Identifier: MIT */
/*
 * sample.cuh - struct sampler of ops.h on the device, a CTA a row: the very
 * token that the CPU chooses from the same logits.  Steps 0 to 5 go into @l,
 * then cuts (select.cuh), then the draw.
 *
 * The draw: the likeliest id (z = 0) has the score B = -ln(-ln u), so an id
 * beats it only if -ln u' < e * -ln u, and 1 - u' <= -ln u': a comparison on
 * raw bits of the noise that nearly no id passes; the score itself, in double,
 * is made of those alone.
 *
 * Passes over a row in L2: four with a temperature alone, one or four more for
 * top-k, five more for top-p.  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_SAMPLE_CUH
#define KERNELS_CUDA_SAMPLE_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/select.cuh"
#include "kernels/noise.h"

#define SAMPLE_SLACK  1.001f	  /* over every rounding up to the comparison */
#define SAMPLE_PROMPT 0x80000000u /* of a count: the prompt has the id */

/* Step 2.  A thread has the ids that are its own, so a list keeps its order. */
DEV void sample_bias(const struct cuda_sampler &s, float *l, int vocab)
{
	for (uint32_t i = 0; i < s.nr_bias; i++) {
		uint32_t id = s.bias_ids[i];

		if (id < (uint32_t)vocab && id % SELECT_THREADS == threadIdx.x)
			l[id] = logits_biased(l[id], s.bias[i]);
	}
}

/* Steps 4 and 5: whoever takes an id's count does it, and leaves 0. */
DEV void sample_penalties(const struct cuda_sampler &s, float *l,
			  uint32_t *count, int vocab)
{
	uint32_t len = s.prompt_len + s.position;

	for (uint32_t i = threadIdx.x; i < len; i += SELECT_THREADS) {
		uint32_t id = s.history[i];

		if (id >= (uint32_t)vocab)
			continue;
		if (i < s.prompt_len)
			atomicOr(count + id, SAMPLE_PROMPT);
		else
			atomicAdd(count + id, 1u);
	}
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < len; i += SELECT_THREADS) {
		uint32_t id = s.history[i], n;

		if (id >= (uint32_t)vocab)
			continue;
		n = atomicExch(count + id, 0u);
		if (n)
			l[id] = logits_penalized(l[id], s.repetition,
						 s.frequency, s.presence,
						 n & ~SAMPLE_PROMPT);
	}
}

/* Steps 0 to 5. */
DEV void sample_adjust(const struct cuda_sampler &s, const float *logits,
		       float *l, uint32_t *count, int vocab)
{
	for (int id = threadIdx.x; id < vocab; id += SELECT_THREADS)
		l[id] = s.allowed && !(s.allowed[id / 32] >> (id % 32) & 1)
				? -INFINITY
				: logits_clean(logits[id]);
	__syncthreads();
	sample_bias(s, l, vocab);
	__syncthreads();
	for (uint32_t i = threadIdx.x;
	     s.position < s.min_tokens && i < s.nr_end_ids; i += SELECT_THREADS)
		if (s.end_ids[i] < (uint32_t)vocab)
			l[s.end_ids[i]] = -INFINITY;
	__syncthreads();
	if (s.repetition != 1 || s.frequency != 0 || s.presence != 0)
		sample_penalties(s, l, count, vocab);
	__syncthreads();
}

/* Steps 8 and 9; step 7 is in r.min_p */
DEV void sample_cut(const struct cuda_sampler &s, struct select_row &r)
{
	uint64_t last, sum;
	double part;

	if (s.top_k && s.top_k < (uint32_t)r.vocab && s.top_k < r.total(false))
		r.last = select_cut(r, false, s.top_k);
	if (!(s.top_p < 1))
		return;
	sum = r.total(true);
	if (!sum)
		return; /* a min_p that is not allowed keeps nothing */
	part = ceil((double)s.top_p * (double)sum);
	last = select_cut(r, true, part > 1 ? (uint64_t)part : 1);
	r.last = last < r.last ? last : r.last;
}

/* Step 10; @best is the likeliest id. */
DEV uint32_t sample_draw(const struct cuda_sampler &s,
			 const struct select_row &r, uint32_t best)
{
	double u = noise_uniform(noise_bits(s.seed, s.position, best));
	float ceiling = (float)-noise_log(u) * SAMPLE_SLACK;
	double top = -INFINITY, all;
	uint32_t mine = best; /* where nothing is kept */

	for (int pair = threadIdx.x; 2 * pair < r.vocab;
	     pair += SELECT_THREADS) {
		uint32_t c[4] = { (uint32_t)pair, s.position, NOISE_GUMBEL, 0 };

		noise_philox(c, (uint32_t)s.seed, (uint32_t)(s.seed >> 32));
		for (int i = 0; i < 2; i++) {
			uint32_t id = 2 * pair + i;
			float x, low = (float)~c[2 * i + 1] * 0x1p-32f;
			double score;

			if (id >= (uint32_t)r.vocab)
				continue;
			x = r.logit((int)id);
			if (low > r.exp_of(x) * ceiling ||
			    !r.keeps(x, logits_key(x, id)))
				continue;
			score = (double)((x - r.max) / r.temperature) +
				noise_gumbel(s.seed, s.position, id);
			if (score > top || (score == top && id < mine)) {
				top = score;
				mine = id;
			}
		}
	}
	all = select_reduce(top,
			    [](double a, double b) { return a > b ? a : b; });
	return (uint32_t)select_min(top == all ? mine : UINT64_MAX);
}

/* grid = nr_samplers */
__global__ void __launch_bounds__(SELECT_THREADS)
	sample(const struct cuda_sample_args p)
{
	size_t first = (size_t)blockIdx.x * p.vocab;
	float *l = p.l + first;
	struct select_row r = { l, p.vocab, 0, 1, 0, false, UINT64_MAX };
	uint32_t best;

	pdl_wait();
	pdl_go();
	const struct cuda_sampler s = p.sampler[blockIdx.x];

	sample_adjust(s, p.logits + (size_t)s.row * p.vocab, l, p.count + first,
		      p.vocab);
	best = (uint32_t)r.first();
	r.max = r.logit((int)best);
	if (s.temperature >= LOGITS_GREEDY && r.max > -INFINITY) {
		r.temperature = s.temperature;
		r.min_p = s.min_p;
		sample_cut(s, r);
		best = sample_draw(s, r, best);
	}
	if (threadIdx.x == 0)
		p.token[s.row] = best;
}

#endif
