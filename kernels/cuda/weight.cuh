/* SPDX-License-Identifier: MIT */
/*
 * weight.cuh - the forms of a weight, each a struct that gemm.cuh takes:
 *
 *	BITS	 of a number; 4 * BITS bytes a lane and stage (layout.h)
 *	SCALED	 the answer is multiplied by a scale of the row, at the end
 *	GROUPED	 a scale for each row and LAYOUT_GROUP columns; the chain of a
 *		 group is folded by it
 *	unpack() the i-th A fragment of a piece of 16 bytes, as bf16, exactly
 */
#ifndef KERNELS_CUDA_WEIGHT_CUH
#define KERNELS_CUDA_WEIGHT_CUH

#include "kernels/cuda/arith.cuh"

struct weight_bf16 {
	static constexpr int BITS = 16;
	static constexpr bool SCALED = false, GROUPED = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i)
	{
		uint4 v = ((const uint4 *)piece)[i];

		a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
	}
};

/* Two's complement: (128 + lower seven bits) - (128, or 256 for a set sign). */
struct weight_int8 {
	static constexpr int BITS = 8;
	static constexpr bool SCALED = true, GROUPED = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i)
	{
		uint2 v = ((const uint2 *)piece)[i];

		for (int j = 0; j < 4; j++) {
			/* bytes 0 and 2 are the pair */
			uint32_t w = (j < 2 ? v.x : v.y) >> 8 * (j & 1);

			a[j] = add_bf16x2((w & 0x007f007f) | 0x43004300,
					  (w & 0x00800080) | 0xc300c300);
		}
	}
};

/* e4m3: its bits in bf16's places are the value / 2^120; subnormals too. */
struct weight_fp8 {
	static constexpr int BITS = 8;
	static constexpr bool SCALED = true, GROUPED = false;
	DEV void unpack(uint32_t a[4], const char *piece, int i)
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

/* 0..15, less 8. */
struct weight_int4 {
	static constexpr int BITS = 4;
	static constexpr bool SCALED = false, GROUPED = true;
	DEV void unpack(uint32_t a[4], const char *piece, int i)
	{
		uint32_t v = ((const uint32_t *)piece)[i];

		for (int j = 0; j < 4; j++) /* nibbles j and j + 4 are a pair */
			a[j] = add_bf16x2((v >> 4 * j & 0x000f000f) |
						  0x43004300,
					  0xc308c308);
	}
};

#endif
