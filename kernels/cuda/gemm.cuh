/* SPDX-License-Identifier: MIT */
/*
 * gemm.cuh - y[token][n] = sum over k of x[token][k] * w[n][k], for few tokens,
 * weights read once.
 *
 * The arithmetic: an output is one chain of mma over k ascending, 16 a step,
 * from 0; no split of k, so it is the same for any number of tokens and any
 * WARPS, TILES, STAGES.  Grouped weights: a chain a group, folded
 * acc = fma(group, scale, acc), groups ascending.  Then, each rounded: times
 * the scale of the row, plus its bias, and what enum cuda_end says.
 *
 * The schedule: a warp owns 16 rows of w (the m of the mma) and walks all of
 * k; tokens are the n, eight a tile.  Each lane copies its own fragments into
 * a ring of STAGES in shared memory and reads only those, so weights need no
 * barrier and no ldmatrix; tokens are shared by the CTA, 64 of k a stage.  More
 * tokens than TILES hold are more CTAs, which read the weights again.
 *
 * Bytes: w once, x once a CTA from L2.  Bound by memory up to about 180 tokens
 * (bf16).  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_GEMM_CUH
#define KERNELS_CUDA_GEMM_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ends.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/weight.cuh"

template <class W, int WARPS, int TILES> constexpr int gemm_smem(int stages)
{
	return stages * (WARPS * 32 * W::BITS * 4 + TILES * 1024);
}

/* The rings of a CTA and what fills them. */
template <class W, int WARPS, int TILES, int STAGES> struct gemm_ring {
	static constexpr int PIECES = W::BITS / 4; /* a lane's, of a stage */
	static constexpr int STRIDE = WARPS * 512; /* from piece to piece */
	char *weights;				   /* this lane's first piece */
	char *tokens;				   /* the CTA's first tile */

	DEV_MEMBER char *piece(int stage, int i) const
	{
		return weights + (stage % STAGES * PIECES + i) * STRIDE;
	}

	DEV_MEMBER char *tile(int stage, int i) const
	{
		return tokens + (stage % STAGES * TILES + i) * 1024;
	}

	/* @src: the lane's first piece in memory */
	DEV_MEMBER void load_weights(const char *src, int stage) const
	{
#pragma unroll
		for (int i = 0; i < PIECES; i++)
			copy_async(piece(stage, i),
				   src + (size_t)(stage * PIECES + i) * 512);
	}

	/* tokens from @first on; past the last, and past k, are zeros */
	DEV_MEMBER void load_tokens(const struct cuda_gemm_args &p, int first,
				    int stage) const
	{
		for (int c = threadIdx.x; c < TILES * 64; c += WARPS * 32) {
			int token = first + c / 8, chunk = c % 8;
			int col = stage * LAYOUT_STAGE + chunk * 8;
			bool take = token < p.tokens && col < p.k;
			size_t row = !take     ? 0
				     : p.x_row ? p.x_row[token]
					       : token;

			copy_async(tile(stage, 0) + layout_tile(c / 8, chunk),
				   (const uint16_t *)p.x + row * p.k +
					   (take ? col : 0),
				   take);
		}
	}

	/* sum[tile] += the stage's four steps; @zero: of a form with them */
	DEV_MEMBER void multiply(float sum[TILES][4], int stage,
				 const uint32_t zero[2]) const
	{
		constexpr int PER = 4 / PIECES; /* fragments a piece */
		int lane = threadIdx.x % 32;
		uint32_t a[4][4];

#pragma unroll
		for (int i = 0; i < 4; i++)
			W::unpack(a[i], piece(stage, i / PER), i % PER, zero);
#pragma unroll
		for (int j = 0; j < TILES; j++) {
			const char *t = tile(stage, j);
			uint32_t b[8];

			ldmatrix(b, t + layout_tile(lane % 8, lane / 8));
			ldmatrix(b + 4,
				 t + layout_tile(lane % 8, 4 + lane / 8));
#pragma unroll
			for (int i = 0; i < 4; i++)
				W::multiply(sum[j], a[i], b[2 * i],
					    b[2 * i + 1]);
		}
	}
};

/*
 * grid = rows (made up) / (16 * WARPS), tokens / (8 * TILES) upward; k a
 * multiple of 8
 *
 * The bound says how many CTAs are to have room at once: where it says nothing
 * ptxas keeps so few registers (32) that it spills.
 */
template <class W, int WARPS, int TILES, int STAGES>
__global__ void __launch_bounds__(WARPS * 32, TILES > 8 ? 1 : 2)
	gemm(const struct cuda_gemm_args p)
{
	constexpr int GROUP = LAYOUT_GROUP / LAYOUT_STAGE;
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	int first = (blockIdx.x * WARPS + warp) * LAYOUT_ROWS;
	int first_token = blockIdx.y * TILES * 8;
	int row = first + lane / 4, rows = layout_rows(p.n);
	int cols = layout_cols(W::BITS, p.k), stages = cols / LAYOUT_STAGE;
	gemm_ring<W, WARPS, TILES, STAGES> ring = {
		smem_base() + threadIdx.x * 16,
		smem_base() + STAGES * WARPS * 32 * W::BITS * 4,
	};
	const char *src = (const char *)p.w +
			  (size_t)first * cols * W::BITS / 8 + lane * 16;
	const float *scale = p.scale + row;
	const float *less = scale + (size_t)cols / LAYOUT_GROUP * rows;
	uint32_t zero[2] = {};
	float acc[TILES][4] = {}, part[TILES][4] = {}, low = 1, high = 1;
	float(&sum)[TILES][4] = W::GROUPED ? part : acc;

	/* weights do not depend on the kernel before us */
	for (int s = 0; s < STAGES - 1 && s < stages; s++)
		ring.load_weights(src, s);
	pdl_wait();
	pdl_go();
	/* the first group carries all weights so far as well */
	for (int s = 0; s < STAGES - 1; s++) {
		if (s < stages)
			ring.load_tokens(p, first_token, s);
		copy_commit();
	}
	if (W::SCALED || W::GROUPED)
		low = scale[0], high = scale[8];
	if (W::ZEROS)
		zero[0] = as_uint(less[0]), zero[1] = as_uint(less[8]);
	for (int s = 0; s < stages; s++) {
		int next = s + STAGES - 1; /* into the stage read last */

		copy_wait<STAGES - 2>();
		__syncthreads();
		if (next < stages) {
			ring.load_weights(src, next);
			ring.load_tokens(p, first_token, next);
		}
		copy_commit();
		ring.multiply(sum, s, zero);
		if (W::GROUPED && (s + 1) % GROUP == 0) {
			weight_fold<TILES>(acc, part, low, high);
			scale += rows;
			less += rows;
			if (s + 1 < stages)
				low = scale[0], high = scale[8];
			if (W::ZEROS && s + 1 < stages)
				zero[0] = as_uint(less[0]),
				zero[1] = as_uint(less[8]);
		}
	}
	copy_wait<0>();
	if (W::GROUPED)
		low = high = 1;
	ends_finish<TILES>(p, acc, first_token, row, low, high);
}

#endif
