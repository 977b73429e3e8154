/* SPDX-License-Identifier: MIT */
/*
 * norm.cuh - RMSNorm of a row and what comes before it: the residual add, or
 * the row of the embedding with which a token begins.
 *	residual_norm	x += d; y = x / rms(x) * w
 *	embed_norm	x = embed[token]; y = x / rms(x) * w
 *
 * One CTA a row, so a row's sum has one order whatever the batch: thread t
 * takes pairs t, t + 256, .. by fma, warps fold by halves, then warps
 * ascending.  The residual x stays F32: it is the one value that lives through
 * all layers.  PAIRS, a thread's share, is only room: pairs past the end add
 * nothing.
 *
 * Bytes an element: 12 (x read and written, d read, y written), 8 of an
 * embedding in bf16; bound by memory.  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_NORM_CUH
#define KERNELS_CUDA_NORM_CUH

#include "kernels/cuda/arith.cuh"
#include "kernels/cuda/cuda.h"

#define NORM_THREADS 256
#define NORM_SMEM    (NORM_THREADS / 32 * 4) /* a float a warp */

/* The sum over the CTA, in every thread. */
DEV float norm_sum(float sum)
{
	float *part = (float *)smem_base();

	for (int s = 16; s; s >>= 1)
		sum += __shfl_xor_sync(WHOLE_WARP, sum, s);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = sum;
	__syncthreads();
	sum = 0;
	for (int i = 0; i < NORM_THREADS / 32; i++)
		sum += part[i];
	return sum;
}

/* This thread's share of a row. */
template <int PAIRS> struct norm_share {
	float2 x[PAIRS], w[PAIRS];
	int pairs; /* of the whole row */

	/* where the i-th of the share stands in the row */
	DEV_MEMBER int at(int i) const
	{
		return threadIdx.x + i * NORM_THREADS;
	}

	DEV_MEMBER void load_weights(const void *p, enum cuda_number number)
	{
#pragma unroll
		for (int i = 0; i < PAIRS; i++)
			if (at(i) < pairs)
				w[i] = load_pair(p, 2 * at(i), number);
	}

	/* @first: of the row in @y */
	DEV_MEMBER void finish(void *y, size_t first, enum cuda_number number,
			       float eps) const
	{
		float sum = 0, r;

#pragma unroll
		for (int i = 0; i < PAIRS; i++)
			if (at(i) < pairs) {
				sum = fmaf(x[i].x, x[i].x, sum);
				sum = fmaf(x[i].y, x[i].y, sum);
			}
		r = 1.f / (float)(2 * pairs);
		r = 1.f / sqrtf(fmaf(norm_sum(sum), r, eps));
#pragma unroll
		for (int i = 0; i < PAIRS; i++)
			if (at(i) < pairs)
				store_pair(y, first + 2 * at(i),
					   x[i].x * r * w[i].x,
					   x[i].y * r * w[i].y, number);
	}
};

/* dim <= PAIRS * 2 * NORM_THREADS; grid = rows */
template <int PAIRS>
__global__ void __launch_bounds__(NORM_THREADS)
	residual_norm(const struct cuda_norm_args p)
{
	size_t first = (size_t)blockIdx.x * p.dim;
	float2 *x = (float2 *)(p.x + first);
	const uint32_t *d = (const uint32_t *)(p.d + first);
	norm_share<PAIRS> s = {};

	s.pairs = p.dim / 2;
	/* weights do not depend on the kernel before us */
	s.load_weights(p.w, p.w_number);
	pdl_wait();
	pdl_go();
#pragma unroll
	for (int i = 0; i < PAIRS; i++) {
		if (s.at(i) >= s.pairs)
			continue;
		s.x[i] = x[s.at(i)];
		if (p.d) {
			uint32_t add = d[s.at(i)];

			s.x[i].x += low_bf16(add);
			s.x[i].y += high_bf16(add);
			x[s.at(i)] = s.x[i];
		}
	}
	s.finish(p.y, first, p.y_number, p.eps);
}

/* As above. */
template <int PAIRS>
__global__ void __launch_bounds__(NORM_THREADS)
	embed_norm(const struct cuda_embed_args p)
{
	size_t first = (size_t)blockIdx.x * p.dim;
	float2 *x = (float2 *)(p.x + first);
	norm_share<PAIRS> s = {};
	uint32_t token;
	size_t id;

	s.pairs = p.dim / 2;
	s.load_weights(p.w, p.w_number);
	pdl_wait();
	pdl_go();
	token = p.token[blockIdx.x];
	if (token & CUDA_LATE) /* the step before has chosen it */
		token = p.late[token - CUDA_LATE];
	id = token;
	id = id < (size_t)p.vocab ? id : 0;
#pragma unroll
	for (int i = 0; i < PAIRS; i++) {
		if (s.at(i) >= s.pairs)
			continue;
		s.x[i] = load_pair(p.embed, 2 * (id * s.pairs + s.at(i)),
				   p.embed_number);
		x[s.at(i)] = s.x[i];
	}
	s.finish(p.y, first, p.y_number, p.eps);
}

#endif
