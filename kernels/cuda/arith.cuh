/* SPDX-License-Identifier: MIT */
/*
 * arith.cuh - arithmetic that is the same source on both sides, and so the
 * same bits: explicit fmaf where one rounding is meant, contraction off in
 * both compilers, no function of the machine's own (2^x is ours).
 */
#ifndef KERNELS_CUDA_ARITH_CUH
#define KERNELS_CUDA_ARITH_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ptx.cuh"

/* a + b for two bf16 each: sm_80 has no such add, but a fma by 1 */
DEV uint32_t add_bf16x2(uint32_t a, uint32_t b)
{
	return fma_bf16x2(a, 0x3f803f80u, b);
}

/*
 * Signed bytes 0 and 2 as bf16, exactly: (128 + lower seven bits) - (128, or
 * 256 for a set sign).
 */
DEV uint32_t widen_s8x2(uint32_t w)
{
	return add_bf16x2((w & 0x007f007f) | 0x43004300,
			  (w & 0x00800080) | 0xc300c300);
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

/* Two neighbours of a row at @p from number @at on, as numbers of a kind. */
DEV void store_pair(void *p, size_t at, float a, float b,
		    enum cuda_number number)
{
	if (number == CUDA_F32)
		*(float2 *)((float *)p + at) = float2{ a, b };
	else
		*(uint32_t *)((uint16_t *)p + at) =
			number == CUDA_F16 ? pack_f16(a, b) : pack_bf16(a, b);
}

DEV void store_one(void *p, size_t at, float a, enum cuda_number number)
{
	if (number == CUDA_F32)
		((float *)p)[at] = a;
	else
		((uint16_t *)p)[at] = (uint16_t)(number == CUDA_F16
							 ? pack_f16(a, 0.f)
							 : pack_bf16(a, 0.f));
}

/* Number @at of such a row, and the pair that begins there. */
DEV float load_one(const void *p, size_t at, enum cuda_number number)
{
	uint16_t h;

	if (number == CUDA_F32)
		return ((const float *)p)[at];
	h = ((const uint16_t *)p)[at];
	return number == CUDA_F16 ? widen_f16(h) : low_bf16(h);
}

DEV float2 load_pair(const void *p, size_t at, enum cuda_number number)
{
	uint32_t u;

	if (number == CUDA_F32)
		return *(const float2 *)((const float *)p + at);
	u = *(const uint32_t *)((const uint16_t *)p + at);
	if (number == CUDA_F16)
		return float2{ widen_f16((uint16_t)u),
			       widen_f16((uint16_t)(u >> 16)) };
	return float2{ low_bf16(u), high_bf16(u) };
}

#endif
