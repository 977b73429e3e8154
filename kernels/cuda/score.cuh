/* SPDX-License-Identifier: MIT */
/*
 * score.cuh - raw log probabilities of the token at hand and of the likeliest,
 * as ops.h defines them, a CTA a row: the CPU's bits.
 */
#ifndef KERNELS_CUDA_SCORE_CUH
#define KERNELS_CUDA_SCORE_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/select.cuh"
#include "kernels/noise.h"

static_assert(CUDA_MAX_ALT <= 32, "they are listed by one warp");

DEV float score_logprob(const struct select_row &r, float l, double log_sum)
{
	return l == -INFINITY ? -INFINITY
			      : (float)((double)l - (double)r.max - log_sum);
}

/* The keys of the @nr likeliest ids to select_shared()->list, in any order. */
DEV void score_list(struct select_row r, uint32_t nr)
{
	struct select_smem *m = select_shared();

	if (nr < (uint32_t)r.vocab)
		r.last = select_cut(r, false, nr);
	if (threadIdx.x == 0)
		m->nr_list = 0;
	__syncthreads();
	for (int id = threadIdx.x; id < r.vocab; id += SELECT_THREADS) {
		uint64_t key = logits_key(r.logit(id), id);

		if (r.keeps(0, key))
			m->list[atomicAdd(&m->nr_list, 1u)] = key;
	}
	__syncthreads();
}

/* Thread i < nr has the i-th of the list in order. */
DEV void score_alternatives(const struct cuda_score_args &p,
			    const struct select_row &r, uint32_t nr,
			    double log_sum)
{
	struct select_smem *m = select_shared();
	size_t first = (size_t)blockIdx.x * CUDA_MAX_ALT;
	uint32_t i = threadIdx.x, place = 0;
	uint64_t key = 0;

	if (i >= nr)
		return;
	if (i < m->nr_list) {
		key = m->list[i];
		for (uint32_t j = 0; j < m->nr_list; j++)
			place += m->list[j] < key;
	} else {
		place = i; /* more are wanted than there are */
	}
	p.alt_token[first + place] = (uint32_t)key;
	p.alt_logprob[first + place] =
		i < m->nr_list ? score_logprob(r, select_logit(key), log_sum)
			       : -INFINITY;
}

/* grid = rows */
__global__ void __launch_bounds__(SELECT_THREADS)
	score(const struct cuda_score_args p)
{
	struct select_row r = { p.logits + (size_t)blockIdx.x * p.vocab,
				p.vocab,
				0,
				1,
				0,
				true,
				UINT64_MAX };
	double log_sum = 0;
	uint32_t token, nr;
	uint64_t sum;

	pdl_wait();
	pdl_go();
	token = p.token[blockIdx.x];
	nr = p.nr_alt[blockIdx.x];
	nr = nr < CUDA_MAX_ALT ? nr : CUDA_MAX_ALT;
	r.max = r.logit((int)(uint32_t)r.first());
	if (r.max > -INFINITY) {
		sum = r.total(true);
		log_sum = noise_log((double)sum * 0x1p-40);
	}
	if (threadIdx.x == 0)
		p.logprob[blockIdx.x] =
			token < (uint32_t)p.vocab
				? score_logprob(r, r.logit((int)token), log_sum)
				: -INFINITY;
	if (nr) {
		score_list(r, nr);
		score_alternatives(p, r, nr, log_sum);
	}
}

#endif
