/* SPDX-License-Identifier: MIT */
/*
 * quantize.cuh - inputs as codes for the products of codes.cuh: rule P1 of
 * ops.h over 32 numbers, with L = 127 or 32767 (wide), or over a whole row
 * with L = 127.  A maximum, a division, one rounding to nearest even a number:
 * the CPU's bits, and a row's own.
 *
 * A CTA a row, a warp 32 numbers at a time.  Bytes a number: 2 (or 4) read,
 * 1.25 (2.25) written.  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_QUANTIZE_CUH
#define KERNELS_CUDA_QUANTIZE_CUH

#include "kernels/cuda/arith.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"

#define QUANTIZE_THREADS 256
#define QUANTIZE_WARPS	 (QUANTIZE_THREADS / 32)
#define QUANTIZE_SMEM	 (QUANTIZE_WARPS * 4)
#define QUANTIZE_LEAST	 0x1p-100f /* P1: below it is 0 */

/* The largest |x| of a warp's; infinite where one is not finite. */
DEV float quantize_top(float x)
{
	float top = fabsf(x) <= 3.402823466e38f ? fabsf(x) : INFINITY;

	for (int s = 16; s; s >>= 1)
		top = fmaxf(top, __shfl_xor_sync(WHOLE_WARP, top, s));
	return top;
}

/* Number @col of the row; 0 past its end. */
DEV float quantize_load(const struct cuda_quantize_args &p, int col)
{
	size_t at = (size_t)blockIdx.x * p.k + col;

	if (col >= p.k)
		return 0;
	return load_one(p.x, at, p.number);
}

/* The largest of the whole row, in every thread. */
DEV float quantize_row_top(const struct cuda_quantize_args &p)
{
	float *part = (float *)smem_base(), top = 0;
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

	for (int c = warp * 32; c < p.k; c += QUANTIZE_THREADS)
		top = fmaxf(top, quantize_top(quantize_load(p, c + lane)));
	if (lane == 0)
		part[warp] = top;
	__syncthreads();
	for (int i = 0; i < QUANTIZE_WARPS; i++)
		top = fmaxf(top, part[i]);
	return top;
}

/* The warp's @x, 32 numbers from column @col on, to their record. */
DEV void quantize_run(const struct cuda_quantize_args &p, int col, float x,
		      float top)
{
	int wide = p.kind == CUDA_RUNS_WIDE, lane = threadIdx.x % 32;
	int stages = layout_cols(8, p.k) / LAYOUT_STAGE, half = col / 32 % 2;
	float limit = wide ? 32767.f : 127.f, scale, inverse;
	char *record = (char *)p.codes +
		       ((size_t)blockIdx.x * stages + col / LAYOUT_STAGE) *
			       layout_input(wide);
	char *to = record + half * 32 + lane;
	float *tail = (float *)(record + layout_input(wide) - 16);
	int code, sum;

	inverse = top < QUANTIZE_LEAST || top == INFINITY ? 0 : limit / top;
	scale = top == INFINITY ? NAN : inverse > 0 ? top / limit : 0;
	code = inverse > 0 ? (int)rintf(x * inverse) : 0;
	sum = code;
	for (int s = 16; s; s >>= 1)
		sum += __shfl_xor_sync(WHOLE_WARP, sum, s);
	to[0] = (char)(wide ? code >> 8 : code);
	if (wide)
		to[LAYOUT_STAGE] = (char)code;
	if (lane == 0) {
		tail[half] = scale;
		tail[2 + half] = scale * (float)sum;
	}
}

/* grid = rows */
__global__ void __launch_bounds__(QUANTIZE_THREADS)
	quantize(const struct cuda_quantize_args p)
{
	int lane = threadIdx.x % 32;
	float top = 0;

	pdl_wait();
	pdl_go();
	if (p.kind == CUDA_ROWS)
		top = quantize_row_top(p);
	/* up to the end of the last stage */
	for (int c = threadIdx.x / 32 * 32; c < layout_cols(8, p.k);
	     c += QUANTIZE_THREADS) {
		float x = quantize_load(p, c + lane);

		if (p.kind != CUDA_ROWS)
			top = quantize_top(x);
		quantize_run(p, c, x, top);
	}
}

#endif
