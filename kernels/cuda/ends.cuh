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

/* Where the answer of @token and @row is; that of row + 8 is 8 behind it. */
DEV size_t ends_at(const struct cuda_gemm_args &p, int token, int row)
{
	bool one = p.end == CUDA_SWIGLU; /* of both */
	size_t ldy = p.ldy ? p.ldy : one ? p.n / 2 : p.n;

	return token * ldy + (one ? row / 16 * 8 + row % 8 : row);
}

/* What is there, to be added to. */
DEV float ends_old(const struct cuda_gemm_args &p, size_t at, bool there)
{
	return p.end == CUDA_ADD && there ? ((const float *)p.y)[at] : 0;
}

DEV void ends_put(const struct cuda_gemm_args &p, size_t at, float v, float old)
{
	if (p.end == CUDA_ADD)
		((float *)p.y)[at] = old + v;
	else
		store_one(p.y, at, v, p.out);
}

/*
 * The products of a token with rows @row and @row + 8, scaled and with bias;
 * @old: ends_old() of both.
 */
DEV void ends_put_both(const struct cuda_gemm_args &p, size_t at, int row,
		       float a, float b, const float old[2])
{
	if (p.end == CUDA_SWIGLU) {
		ends_put(p, at, silu_mul(a, b), 0);
		return;
	}
	ends_put(p, at, a, old[0]);
	if (row + 8 < p.n)
		ends_put(p, at + 8, b, old[1]);
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
			if (token < p.tokens) {
				size_t at = ends_at(p, token, row);
				float old[2] = {
					ends_old(p, at, true),
					ends_old(p, at + 8, row + 8 < p.n),
				};

				ends_put_both(p, at, row, a, b, old);
			}
		}
}

#endif
