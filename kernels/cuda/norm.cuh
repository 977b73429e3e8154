/* SPDX-License-Identifier: MIT */
/*
 * norm.cuh - residual add and RMSNorm: x += d; y = x / rms(x) * w.
 *
 * One CTA a row, so a row's sum has one order whatever the batch: thread t
 * takes pairs t, t + 256, .. by fma, warps fold by halves, then warps
 * ascending.  The residual x stays F32: it is the one value that lives through
 * all layers.
 *
 * 12 bytes an element (x read and written, d read, y written); bound by
 * memory.  No GPU has measured it yet.
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

/* dim = PAIRS * 2 * NORM_THREADS; grid = rows */
template <int PAIRS>
__global__ void __launch_bounds__(NORM_THREADS)
	residual_norm(const struct cuda_norm_args p)
{
	constexpr int DIM = PAIRS * 2 * NORM_THREADS;
	size_t row = blockIdx.x, t = threadIdx.x;
	float2 *x_row = (float2 *)(p.x + row * DIM) + t;
	const uint32_t *d_row = (const uint32_t *)(p.d + row * DIM) + t;
	const uint32_t *w_row = (const uint32_t *)p.w + t;
	uint32_t *y_row = (uint32_t *)(p.y + row * DIM) + t;
	uint32_t weight[PAIRS];
	float2 v[PAIRS];
	float sum = 0;

	/* weights do not depend on the kernel before us */
#pragma unroll
	for (int i = 0; i < PAIRS; i++)
		weight[i] = w_row[i * NORM_THREADS];
	pdl_wait();
#pragma unroll
	for (int i = 0; i < PAIRS; i++) {
		uint32_t add = d_row[i * NORM_THREADS];

		v[i] = x_row[i * NORM_THREADS];
		v[i].x += low_bf16(add);
		v[i].y += high_bf16(add);
		x_row[i * NORM_THREADS] = v[i];
		sum = fmaf(v[i].x, v[i].x, sum);
		sum = fmaf(v[i].y, v[i].y, sum);
	}
	pdl_go();
	float r = 1.f / sqrtf(fmaf(norm_sum(sum), 1.f / DIM, p.eps));
#pragma unroll
	for (int i = 0; i < PAIRS; i++)
		y_row[i * NORM_THREADS] =
			pack_bf16(v[i].x * r * low_bf16(weight[i]),
				  v[i].y * r * high_bf16(weight[i]));
}

#endif
