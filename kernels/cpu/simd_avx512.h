/* SPDX-License-Identifier: MIT */
/*
 * simd_avx512.h - 16 lanes where lanes do not meet (elements, keys), and 2 x 8
 * where they do: F2 sums over eight lanes, so a register holds eight lanes of
 * each of two rows.  Bits are those of simd_avx2.h.
 */
#ifndef CPU_SIMD_AVX512_H
#define CPU_SIMD_AVX512_H

#include "kernels/cpu/simd_avx2.h"

/* exp_neg() of expf.h */
INLINE __m512 exp16(__m512 x)
{
	const __m512 low = _mm512_set1_ps(EXP_LOWEST);
	const __m512 round = _mm512_set1_ps(EXP_ROUND);
	__mmask16 alive = _mm512_cmp_ps_mask(x, low, _CMP_NLT_UQ);
	__m512 n, r, p;
	__m512i e;

	x = _mm512_max_ps(x, low);
	n = _mm512_mul_ps(x, _mm512_set1_ps(EXP_LOG2E));
	n = _mm512_sub_ps(_mm512_add_ps(n, round), round);
	r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_HIGH), x);
	r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_LOW), r);
	p = _mm512_set1_ps(EXP_C7);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C6));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C5));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C4));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C3));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C2));
	p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
	p = _mm512_add_ps(p, _mm512_set1_ps(1.0f));
	e = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
	p = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), e));
	return _mm512_maskz_mov_ps(alive, p);
}

/* eight weights of @a in the lower half, of @b in the upper */
INLINE __m512 load8x2(const enum weight_type type, const void *a, const void *b)
{
	__m256i h;

	if (type == WEIGHT_F32)
		return _mm512_insertf32x8(
			_mm512_castps256_ps512(_mm256_loadu_ps(a)),
			_mm256_loadu_ps(b), 1);
	h = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(a)),
				    _mm_loadu_si128(b), 1);
	if (type == WEIGHT_F16)
		return _mm512_cvtph_ps(h);
	return _mm512_castsi512_ps(
		_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE __m512 load_tail8x2(const enum weight_type type, const void *a,
			   const void *b, uint32_t n)
{
	return _mm512_insertf32x8(
		_mm512_castps256_ps512(load_tail8(type, a, n)),
		load_tail8(type, b, n), 1);
}

INLINE __m256 lower8(__m512 a)
{
	return _mm512_castps512_ps256(a);
}

INLINE __m256 upper8(__m512 a)
{
	return _mm512_extractf32x8_ps(a, 1);
}

#endif
