/* SPDX-License-Identifier: MIT */
/*
 * weight.cuh - the forms of a weight, each a struct that gemm.cuh takes:
 *
 *	BITS	 of a number; 4 * BITS bytes a lane and stage (layout.h)
 *	SCALED	 the answer is multiplied by a scale of the row, at the end
 *	GROUPED	 a scale for each row and LAYOUT_GROUP columns; the chain of a
 *		 group is folded by it
 *	ZEROS	 and a zero point
 *	unpack() the i-th A fragment of a piece of 16 bytes, as bf16, exactly;
 *		 @zero: of rows g and g + 8, as layout_zero() has them
 *	multiply() mma of what was unpacked with tokens of the same kind
 *	start()	 the same by wgmma, for many tokens (gemm_sm90.cuh), there also
 *	sum	 what a chain is, and
 *	CODES	 whether tokens are codes as well
 */
#ifndef KERNELS_CUDA_WEIGHT_CUH
#define KERNELS_CUDA_WEIGHT_CUH

#include "kernels/cuda/arith.cuh"

/* All but f16 multiply as bf16. */
struct weight_as_bf16 {
	typedef float sum;
	static constexpr bool CODES = false;
	DEV void multiply(float d[4], const uint32_t a[4], uint32_t b0,
			  uint32_t b1)
	{
		mma(d, a, b0, b1);
	}

	template <int TILES>
	DEV void start(float (&d)[TILES][4], const uint32_t a[4], uint64_t b)
	{
		wgmma(d, a, b);
	}
};

struct weight_bf16 : weight_as_bf16 {
	static constexpr int BITS = 16;
	static constexpr bool SCALED = false, GROUPED = false, ZEROS = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i,
			const uint32_t *)
	{
		uint4 v = ((const uint4 *)piece)[i];

		a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
	}
};

/* f16, with tokens of f16: bf16 has three places less. */
struct weight_f16 {
	typedef float sum;
	static constexpr bool CODES = false;
	static constexpr int BITS = 16;
	static constexpr bool SCALED = false, GROUPED = false, ZEROS = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i,
			const uint32_t *zero)
	{
		weight_bf16::unpack(a, piece, i, zero);
	}

	DEV void multiply(float d[4], const uint32_t a[4], uint32_t b0,
			  uint32_t b1)
	{
		mma_f16(d, a, b0, b1);
	}

	template <int TILES>
	DEV void start(float (&d)[TILES][4], const uint32_t a[4], uint64_t b)
	{
		wgmma_f16(d, a, b);
	}
};

/* Two's complement. */
struct weight_int8 : weight_as_bf16 {
	static constexpr int BITS = 8;
	static constexpr bool SCALED = true, GROUPED = false, ZEROS = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i,
			const uint32_t *)
	{
		uint2 v = ((const uint2 *)piece)[i];

		for (int j = 0; j < 4; j++) {
			/* bytes 0 and 2 are the pair */
			a[j] = widen_s8x2((j < 2 ? v.x : v.y) >> 8 * (j & 1));
		}
	}
};

/* e4m3: its bits in bf16's places are the value / 2^120; subnormals too. */
struct weight_fp8 : weight_as_bf16 {
	static constexpr int BITS = 8;
	static constexpr bool SCALED = true, GROUPED = false, ZEROS = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i,
			const uint32_t *)
	{
		uint2 v = ((const uint2 *)piece)[i];

		for (int j = 0; j < 4; j++) {
			uint32_t w = (j < 2 ? v.x : v.y) >> 8 * (j & 1);

			a[j] = fma_bf16x2((w & 0x007f007f) << 4 |
						  (w & 0x00800080) << 8,
					  0x7b807b80, 0x80008000);
		}
	}
};

/* The same with a scale for a row and 128 columns. */
struct weight_fp8_groups : weight_fp8 {
	static constexpr bool SCALED = false, GROUPED = true;
};

/* 0..15, less a zero point: (128 + code) - (128 + zero). */
struct weight_int4_zeros : weight_as_bf16 {
	static constexpr int BITS = 4;
	static constexpr bool SCALED = false, GROUPED = true, ZEROS = true;
	DEV void unpack(uint32_t a[4], const char *piece, int i,
			const uint32_t *zero)
	{
		uint32_t v = ((const uint32_t *)piece)[i];

		for (int j = 0; j < 4; j++) /* nibbles j and j + 4 are a pair */
			a[j] = add_bf16x2((v >> 4 * j & 0x000f000f) |
						  0x43004300,
					  zero[j % 2]);
	}
};

/* Less 8. */
struct weight_int4 : weight_int4_zeros {
	static constexpr bool ZEROS = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i,
			const uint32_t *)
	{
		const uint32_t eight[2] = { 0xc308c308, 0xc308c308 };

		weight_int4_zeros::unpack(a, piece, i, eight);
	}
};

/* acc += part by the group's scales of rows g and g + 8; part begins anew */
template <int TILES>
DEV void weight_fold(float acc[TILES][4], float part[TILES][4], float low,
		     float high)
{
#pragma unroll
	for (int j = 0; j < TILES; j++)
#pragma unroll
		for (int c = 0; c < 4; c++) {
			acc[j][c] =
				fmaf(part[j][c], c < 2 ? low : high, acc[j][c]);
			part[j][c] = 0;
		}
}

#endif
