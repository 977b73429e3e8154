/* SPDX-License-Identifier: MIT */
/*
 * arith.cuh - arithmetic that is the same source on both sides, and so the
 * same bits: explicit fmaf where one rounding is meant, contraction off in
 * both compilers, no function of the machine's own (2^x is ours).
 */
#ifndef KERNELS_CUDA_ARITH_CUH
#define KERNELS_CUDA_ARITH_CUH

#include "kernels/cuda/ptx.cuh"

/* a + b for two bf16 each: sm_80 has no such add, but a fma by 1 */
DEV uint32_t add_bf16x2(uint32_t a, uint32_t b)
{
	return fma_bf16x2(a, 0x3f803f80u, b);
}

/* The lower and the upper bf16 of a pair, widened. */
DEV float low_bf16(uint32_t u)
{
	return as_float(u << 16);
}

DEV float high_bf16(uint32_t u)
{
	return as_float(u & 0xffff0000u);
}

/*
 * 2^x for x <= 0: relative error below 2e-7, 2^0 is exactly 1, what is under
 * 2^-126 exactly 0, NaN stays NaN.
 */
DEV float exp2_negative(float x)
{
	float r = x + 12582912.f;	/* 1.5 * 2^23: rounds to an integer */
	float f = x - (r - 12582912.f); /* [-0.5, 0.5] */
	float scale = as_float((as_uint(r) - 0x4b400000u + 127u) << 23);
	float p = 1.535336188319500e-4f;

	p = fmaf(p, f, 1.339887440266574e-3f);
	p = fmaf(p, f, 9.618437357674640e-3f);
	p = fmaf(p, f, 5.550332471162809e-2f);
	p = fmaf(p, f, 2.402264791363012e-1f);
	p = fmaf(p, f, 6.931472028550421e-1f);
	p = fmaf(p, f, 1.f);
	return x < -126.f ? 0.f : p * scale;
}

/* Two neighbours of an output row: rounded to bf16, or float as they are. */
DEV void store_pair(uint16_t *p, float a, float b)
{
	*(uint32_t *)p = pack_bf16(a, b);
}

DEV void store_pair(float *p, float a, float b)
{
	*(float2 *)p = float2{ a, b };
}

DEV void store_one(uint16_t *p, float a)
{
	*p = (uint16_t)pack_bf16(a, 0.f);
}

DEV void store_one(float *p, float a)
{
	*p = a;
}

#endif
