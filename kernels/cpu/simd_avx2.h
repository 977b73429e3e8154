/* SPDX-License-Identifier: MIT */
/*
 * simd_avx2.h - what the AVX2 kernels share: F2's tree, F4's exponential,
 * loads of every weight type.  Operation by operation as in expf.h and
 * ref/parts.c.  Only files that end in _avx2.c or _avx512.c include this.
 */
#ifndef CPU_SIMD_AVX2_H
#define CPU_SIMD_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/expf.h"
#include "kernels/formats.h"
#include "kernels/ops.h"

#define INLINE static inline __attribute__((always_inline))

/* Have the cache line of @p come while we compute. */
INLINE void fetch(const void *p)
{
	_mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* ((0+4)+(2+6)) + ((1+5)+(3+7)) */
INLINE float sum8(__m256 a)
{
	__m128 x = _mm_add_ps(_mm256_castps256_ps128(a),
			      _mm256_extractf128_ps(a, 1));

	x = _mm_add_ps(x, _mm_movehl_ps(x, x));
	return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* sum8 of four at once */
INLINE __m128 sum8x4(__m256 a, __m256 b, __m256 c, __m256 d)
{
	__m128 x = _mm_add_ps(_mm256_castps256_ps128(a),
			      _mm256_extractf128_ps(a, 1));
	__m128 y = _mm_add_ps(_mm256_castps256_ps128(b),
			      _mm256_extractf128_ps(b, 1));
	__m128 z = _mm_add_ps(_mm256_castps256_ps128(c),
			      _mm256_extractf128_ps(c, 1));
	__m128 w = _mm_add_ps(_mm256_castps256_ps128(d),
			      _mm256_extractf128_ps(d, 1));

	_MM_TRANSPOSE4_PS(x, y, z, w);
	return _mm_add_ps(_mm_add_ps(x, z), _mm_add_ps(y, w));
}

INLINE float max8(__m256 a)
{
	__m128 m = _mm_max_ps(_mm256_castps256_ps128(a),
			      _mm256_extractf128_ps(a, 1));

	m = _mm_max_ps(m, _mm_movehl_ps(m, m));
	return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* exp_neg() of expf.h */
INLINE __m256 exp8(__m256 x)
{
	const __m256 low = _mm256_set1_ps(EXP_LOWEST);
	const __m256 round = _mm256_set1_ps(EXP_ROUND);
	__m256 dead = _mm256_cmp_ps(x, low, _CMP_LT_OQ), n, r, p;
	__m256i e;

	x = _mm256_max_ps(x, low);
	n = _mm256_mul_ps(x, _mm256_set1_ps(EXP_LOG2E));
	n = _mm256_sub_ps(_mm256_add_ps(n, round), round);
	r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_HIGH), x);
	r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_LOW), r);
	p = _mm256_set1_ps(EXP_C7);
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C6));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C5));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C4));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C3));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C2));
	p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
	p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
	e = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
	p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), e));
	return _mm256_andnot_ps(dead, p);
}

/* silu_mul() of expf.h */
INLINE __m256 silu_mul8(__m256 g, __m256 u)
{
	const __m256 sign = _mm256_set1_ps(-0.0f);
	__m256 e = exp8(_mm256_or_ps(g, sign));
	__m256 t = _mm256_add_ps(_mm256_set1_ps(1.0f), e);
	__m256 not_less = _mm256_cmp_ps(g, _mm256_setzero_ps(), _CMP_GE_OQ);
	__m256 top = _mm256_blendv_ps(_mm256_mul_ps(g, e), g, not_less);

	return _mm256_mul_ps(_mm256_div_ps(top, t), u);
}

INLINE size_t kv_size(const enum kv_type kv)
{
	return kv == KV_Q8 ? 1 : kv == KV_F16 ? 2 : 4;
}

/* 8 numbers of keys or values from number @i on */
INLINE __m256 load_kv8(const enum kv_type kv, const void *p, size_t i)
{
	if (kv == KV_F32)
		return _mm256_loadu_ps((const float *)p + i);
	if (kv == KV_F16)
		return _mm256_cvtph_ps(_mm_loadu_si128(
			(const void *)((const char *)p + 2 * i)));
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
		_mm_loadl_epi64((const void *)((const char *)p + i))));
}

/* The scales of a block, behind its codes. */
INLINE const float *kv8_scales(const void *codes, uint32_t head_dim)
{
	return (const float *)(const void *)((const char *)codes +
					     head_dim * 16);
}

/* 8 weights from @p, of any alignment */
INLINE __m256 load8(const enum weight_type type, const void *p)
{
	__m128i h;

	if (type == WEIGHT_F32)
		return _mm256_loadu_ps(p);
	h = _mm_loadu_si128(p);
	if (type == WEIGHT_F16)
		return _mm256_cvtph_ps(h);
	return _mm256_castsi256_ps(
		_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* @n < 8 weights and zeros behind them; reads no byte more */
INLINE __m256 load_tail8(const enum weight_type type, const void *p, uint32_t n)
{
	char full[32] = { 0 };

	memcpy(full, p, n * (type == WEIGHT_F32 ? 4 : 2));
	return load8(type, full);
}

#endif
