/* SPDX-License-Identifier: MIT */
/*
 * codes.cuh - products of integers: weights as small codes with scales, inputs
 * as the codes that quantize.cuh makes, sums on the tensor cores' int32, which
 * are exact: any schedule, any device and the CPU have the same bits.
 *
 * The arithmetic:
 *	runs	rules P1 and P2 of ops.h, that is the CPU's product with a packed
 *		matrix: for each run of 16 or 32 columns, ascending,
 *			acc = fma(w * s, F32(sum), acc)
 *			acc = fma(m, s * F32(sum of codes), acc)	with MIN
 *	rows	(W8A8) rule P3, the sum over all of k, |sum| < 2^31 up to k =
 *		131,072:
 *			y = (F32(sum) * s) * w
 *		with one s for the input row and one w for the row of weights.
 * Codes of 16 bits (WIDE) are two products: 256 * upper + lower byte.
 *
 * The schedule is gemm.cuh's: a warp owns 16 rows, walks all of k and copies
 * its own codes; scales of a stage lie behind its codes.
 *
 * Bytes a weight: 1, or 1/2; and 1/8 for the F32 scale of a run of 32, twice
 * that with a minimum or of 16.  (GGUF's Q4_K is 0.56, this is 0.75: its six-bit
 * scales are multiplied out when they are packed.)  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_CODES_CUH
#define KERNELS_CUDA_CODES_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ends.cuh"
#include "kernels/cuda/layout.h"

/* The forms: bits of a code, columns of a run (0: rows), what comes with it. */
template <int BITS_, int RUN_, bool MIN_, bool WIDE_> struct codes_form {
	static constexpr int BITS = BITS_, RUN = RUN_;
	static constexpr bool MIN = MIN_, WIDE = WIDE_;
	static constexpr int RUNS = RUN ? LAYOUT_STAGE / RUN : 0; /* a stage */
	static constexpr int PIECES = BITS / 4; /* a lane's, of a stage */
	static constexpr int STAGE = layout_codes_stage(BITS, RUN, MIN);
	static constexpr int INPUT = layout_input(WIDE); /* of a token */

	static_assert(!MIN || RUN == 32, "an input has sums of 32 codes");
};

template <class F, int WARPS, int TILES> constexpr int codes_smem(int stages)
{
	return stages * (WARPS * F::STAGE + TILES * 8 * F::INPUT);
}

/* The rings of a CTA and what fills them. */
template <class F, int WARPS, int TILES, int STAGES> struct codes_ring {
	char *weights; /* this warp's first stage */
	char *tokens;  /* the CTA's first */

	DEV_MEMBER char *codes(int stage) const
	{
		return weights + stage % STAGES * WARPS * F::STAGE;
	}

	DEV_MEMBER char *input(int stage) const
	{
		return tokens + stage % STAGES * TILES * 8 * F::INPUT;
	}

	/* @src: the warp's first stage in memory */
	DEV_MEMBER void load_weights(const char *src, int stage) const
	{
		int lane = threadIdx.x % 32;

#pragma unroll
		for (int i = lane; i < F::STAGE / 16; i += 32)
			copy_async(codes(stage) + i * 16,
				   src + (size_t)stage * F::STAGE + i * 16);
	}

	/* tokens from @first on; past the last are zeros */
	DEV_MEMBER void load_tokens(const struct cuda_gemm_args &p, int first,
				    int stages, int stage) const
	{
		constexpr int CHUNKS = F::INPUT / 16;

		for (int c = threadIdx.x; c < TILES * 8 * CHUNKS;
		     c += WARPS * 32) {
			int token = first + c / CHUNKS;
			bool take = token < p.tokens;
			size_t row = !take     ? 0
				     : p.x_row ? p.x_row[token]
					       : token;
			const char *src = (const char *)p.x +
					  (row * stages + stage) * F::INPUT;

			copy_async(input(stage) + c * 16, src + c % CHUNKS * 16,
				   take);
		}
	}
};

/* The A fragments of both halves of a stage. */
template <class F> DEV void codes_unpack(uint32_t a[2][4], const char *codes)
{
	const uint4 *piece = (const uint4 *)codes + threadIdx.x % 32;
	uint4 v = piece[0], w;

	if (F::BITS == 8) {
		w = piece[32];
	} else {
		w = uint4{ v.x >> 4 & 0x0f0f0f0f, v.y >> 4 & 0x0f0f0f0f,
			   v.z >> 4 & 0x0f0f0f0f, v.w >> 4 & 0x0f0f0f0f };
		v = uint4{ v.x & 0x0f0f0f0f, v.y & 0x0f0f0f0f, v.z & 0x0f0f0f0f,
			   v.w & 0x0f0f0f0f };
	}
	a[0][0] = v.x, a[0][1] = v.y, a[0][2] = v.z, a[0][3] = v.w;
	a[1][0] = w.x, a[1][1] = w.y, a[1][2] = w.z, a[1][3] = w.w;
	/* without a minimum nibbles have a sign: bit 3 goes into bits 4 .. 7 */
	for (int i = 0; F::BITS == 4 && !F::MIN && i < 8; i++)
		a[i / 4][i % 4] |= (a[i / 4][i % 4] & 0x08080808) * 30;
}

/* sum += codes and inputs of the run's half or quarter of a stage */
template <class F>
DEV void codes_multiply(int sum[4], const uint32_t *a, const uint32_t *b,
			const uint32_t *low)
{
	if (F::RUN == 16)
		mma_s8_16(sum, a, b[0]);
	else
		mma_s8(sum, a, b[0], b[1]);
	if (F::WIDE) {
		for (int c = 0; c < 4; c++)
			sum[c] *= 256;
		mma_s8_u8(sum, a, low[0], low[1]);
	}
}

/*
 * P2 of run @run of stage: acc[c] are row g (c = 0, 1) and g + 8 of tokens t
 * and t + 1, g = lane / 4, t = lane % 4 * 2.
 */
template <class F>
DEV void codes_fold(float acc[4], const int sum[4], const char *scales,
		    const char *input, int run)
{
	const float *w = (const float *)scales + run * LAYOUT_ROWS +
			 threadIdx.x % 32 / 4;
	const float *m = w + F::RUNS * LAYOUT_ROWS;

#pragma unroll
	for (int c = 0; c < 4; c++) {
		const float *tail =
			(const float *)(input +
					(threadIdx.x % 4 * 2 + c % 2 + 1) *
						F::INPUT -
					16);
		float s = tail[run * F::RUN / 32];

		acc[c] = fmaf(w[c / 2 * 8] * s, (float)sum[c], acc[c]);
		if (F::MIN)
			acc[c] = fmaf(m[c / 2 * 8], tail[2 + run * F::RUN / 32],
				      acc[c]);
	}
}

/* acc += the runs of a stage of eight tokens; @runs of them are there */
template <class F>
DEV void codes_runs(float acc[4], const uint32_t a[2][4], const uint32_t b[4],
		    const uint32_t low[4], const char *scales,
		    const char *input, int runs)
{
	constexpr int REGS = F::RUN / 16; /* of b */

#pragma unroll
	for (int r = 0; r < F::RUNS; r++) {
		int sum[4] = {};

		if (r >= runs)
			break;
		codes_multiply<F>(sum, &a[0][0] + r * REGS * 2, b + r * REGS,
				  low + r * REGS);
		codes_fold<F>(acc, sum, scales, input, r);
	}
}

/* acc, or of rows total, += the stage's products */
template <class F, int TILES>
DEV void codes_stage(float acc[TILES][4], int total[TILES][4],
		     const char *codes, const char *input, int runs)
{
	int lane = threadIdx.x % 32;
	uint32_t a[2][4];

	codes_unpack<F>(a, codes);
#pragma unroll
	for (int j = 0; j < TILES; j++) {
		const char *tile = input + j * 8 * F::INPUT;
		const char *row = tile + lane % 8 * F::INPUT + lane / 8 * 16;
		uint32_t b[4], low[4] = {};

		ldmatrix(b, row);
		if (F::WIDE)
			ldmatrix(low, row + LAYOUT_STAGE);
		if constexpr (F::RUN) {
			codes_runs<F>(acc[j], a, b, low,
				      codes + F::PIECES * 512, tile, runs);
		} else {
			mma_s8(total[j], a[0], b[0], b[1]);
			mma_s8(total[j], a[1], b[2], b[3]);
		}
	}
}

/* Rows: the product of the scales; all records of a token have its own. */
template <class F, int TILES>
DEV void codes_scale(float acc[TILES][4], const int total[TILES][4],
		     const char *input, float low, float high)
{
#pragma unroll
	for (int j = 0; j < TILES; j++)
#pragma unroll
		for (int c = 0; c < 4; c++) {
			int token = j * 8 + threadIdx.x % 4 * 2 + c % 2;
			float s = *(const float *)(input +
						   (token + 1) * F::INPUT - 16);

			acc[j][c] =
				(float)total[j][c] * s * (c < 2 ? low : high);
		}
}

/*
 * grid as of gemm; k a multiple of 32, of rows of 8.  One CTA an SM: more is
 * hoped for, but asked for nothing ptxas spills an instance for sm_90a.
 */
template <class F, int WARPS, int TILES, int STAGES>
__global__ void __launch_bounds__(WARPS * 32, 1)
	gemm_codes(const struct cuda_gemm_args p)
{
	int warp = threadIdx.x / 32, tile = blockIdx.x * WARPS + warp;
	int first_token = blockIdx.y * TILES * 8;
	int row = tile * LAYOUT_ROWS + threadIdx.x % 32 / 4;
	int stages = layout_cols(8, p.k) / LAYOUT_STAGE;
	codes_ring<F, WARPS, TILES, STAGES> ring = {
		smem_base() + warp * F::STAGE,
		smem_base() + STAGES * WARPS * F::STAGE,
	};
	const char *src = (const char *)p.w + (size_t)tile * stages * F::STAGE;
	float acc[TILES][4] = {};
	int total[TILES][4] = {};

	/* weights do not depend on the kernel before us */
	for (int s = 0; s < STAGES - 1 && s < stages; s++)
		ring.load_weights(src, s);
	pdl_wait();
	pdl_go();
	/* the first group carries all weights so far as well */
	for (int s = 0; s < STAGES - 1; s++) {
		if (s < stages)
			ring.load_tokens(p, first_token, stages, s);
		copy_commit();
	}
	for (int s = 0; s < stages; s++) {
		int next = s + STAGES - 1; /* into the stage read last */
		int runs = F::RUN ? (p.k - s * LAYOUT_STAGE) / F::RUN : 0;

		copy_wait<STAGES - 2>();
		__syncthreads();
		if (next < stages) {
			ring.load_weights(src, next);
			ring.load_tokens(p, first_token, stages, next);
		}
		copy_commit();
		codes_stage<F, TILES>(acc, total, ring.codes(s), ring.input(s),
				      runs);
	}
	copy_wait<0>();
	if constexpr (F::RUN == 0)
		codes_scale<F, TILES>(acc, total, ring.input(stages - 1),
				      p.scale[row], p.scale[row + 8]);
	ends_finish<TILES>(p, acc, first_token, row, 1, 1);
}

#endif
