/* SPDX-License-Identifier: MIT */
/*
 * ends.cuh - what becomes of the products that a thread holds: scale, bias, and
 * enum cuda_end.  A thread has rows g and g + 8 of a tile of 16 for the same
 * token, so gate and up (layout_gate_up) meet in it.
 */
#ifndef KERNELS_CUDA_ENDS_CUH
#define KERNELS_CUDA_ENDS_CUH

#include "kernels/cuda/arith.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/expf.h"

DEV void ends_put(const struct cuda_gemm_args &p, size_t at, float v)
{
	if (p.end == CUDA_ADD)
		((float *)p.y)[at] += v;
	else
		store_one(p.y, at, v, p.out);
}

/* The products of @token with rows @row and @row + 8, scaled and with bias. */
DEV void ends_put_both(const struct cuda_gemm_args &p, int token, int row,
		       float a, float b)
{
	bool one = p.end == CUDA_SWIGLU; /* of both */
	size_t ldy = p.ldy ? p.ldy : one ? p.n / 2 : p.n;
	size_t at = token * ldy + (one ? row / 16 * 8 + row % 8 : row);

	if (one) {
		ends_put(p, at, silu_mul(a, b));
		return;
	}
	ends_put(p, at, a);
	if (row + 8 < p.n)
		ends_put(p, at + 8, b);
}

/* @row: of acc[..][0] and [1]; the others are those of row + 8 */
template <int TILES>
DEV void ends_finish(const struct cuda_gemm_args &p, const float acc[TILES][4],
		     int first, int row, float low, float high)
{
	bool has_low = p.bias && row < p.n, has_high = p.bias && row + 8 < p.n;
	float bias_low = has_low ? p.bias[row] : 0;
	float bias_high = has_high ? p.bias[row + 8] : 0;

	if (row >= p.n)
		return;
#pragma unroll
	for (int j = 0; j < TILES; j++)
#pragma unroll
		for (int c = 0; c < 2; c++) {
			int token = first + 8 * j + threadIdx.x % 4 * 2 + c;
			float a = acc[j][c] * low, b = acc[j][c + 2] * high;

			if (p.bias) {
				a += bias_low;
				b += bias_high;
			}
			if (token < p.tokens)
				ends_put_both(p, token, row, a, b);
		}
}

#endif
