/* SPDX-License-Identifier: MIT */
/* quantize_avx2.c - P1 of ops.h, into the forms of packed.h. */
#include "kernels/cpu/packed.h"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/ops.h"

INLINE int32_t sum_i32(__m256i v)
{
	__m128i h = _mm_add_epi32(_mm256_castsi256_si128(v),
				  _mm256_extracti128_si256(v, 1));

	h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
	h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1));
	return _mm_cvtsi128_si32(h);
}

/* The largest of eight. */
INLINE int32_t max_i32(__m256i v)
{
	__m128i h = _mm_max_epi32(_mm256_castsi256_si128(v),
				  _mm256_extracti128_si256(v, 1));

	h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
	h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1));
	return _mm_cvtsi128_si32(h);
}

/* Sizes of 32 numbers as bits, the largest in each lane: what is not finite is
 * larger than what is. */
INLINE __m256i sizes32(const float *x)
{
	const __m256i size = _mm256_set1_epi32(0x7fffffff);
	__m256i m = _mm256_setzero_si256();

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		m = _mm256_max_epi32(
			m, _mm256_and_si256(_mm256_loadu_si256(
						    (const void *)(x + 8 * i)),
					    size));
	return m;
}

/* P1's scale where the largest size has these bits; codes are x times *ret. */
INLINE float scale_of(int32_t top_bits, float limit, float *ret)
{
	float top;

	memcpy(&top, &top_bits, 4);
	*ret = 0;
	if (top_bits >= 0x7f800000)
		return NAN;
	if (top < OPS_PACKED_LEAST)
		return 0;
	*ret = limit / top;
	return top / limit;
}

/* 32 numbers as integers, @inverse as of scale_of(). */
INLINE void by_inverse(const float *x, float inverse, __m256i code[4])
{
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		code[i] = inverse > 0 ? _mm256_cvtps_epi32(_mm256_mul_ps(
						_mm256_loadu_ps(x + 8 * i),
						_mm256_set1_ps(inverse)))
				      : _mm256_setzero_si256();
}

/* The same with a scale of their own; returns it. */
INLINE float codes32(const float *x, float limit, __m256i code[4])
{
	float inverse, s = scale_of(max_i32(sizes32(x)), limit, &inverse);

	by_inverse(x, inverse, code);
	return s;
}

INLINE void store_i8(const __m256i c[4], uint8_t *p)
{
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i v = _mm256_packs_epi16(_mm256_packs_epi32(c[0], c[1]),
				       _mm256_packs_epi32(c[2], c[3]));

	_mm256_storeu_si256((void *)p, _mm256_permutevar8x32_epi32(v, order));
}

INLINE void store_i16(const __m256i c[4], uint8_t *p)
{
	/* each four as 0 2 1 3: even bytes' and odd bytes' partners together */
	const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12,
					       13, 10, 11, 14, 15, 0, 1, 4, 5,
					       2, 3, 6, 7, 8, 9, 12, 13, 10, 11,
					       14, 15);

	for (uint32_t h = 0; h < 2; h++) {
		__m256i v = _mm256_packs_epi32(c[2 * h], c[2 * h + 1]);

		v = _mm256_permute4x64_epi64(v, 0xd8);
		_mm256_storeu_si256((void *)(p + 32 * h),
				    _mm256_shuffle_epi8(v, order));
	}
}

/* Token @i of a tile of @T into the tile's record @p */
static void narrow(const float *x, uint32_t T, uint32_t i, uint8_t *p)
{
	__m256i c[4];
	float s = codes32(x, 127, c), scaled;
	int32_t lo = sum_i32(_mm256_add_epi32(c[0], c[1]));
	int32_t hi = sum_i32(_mm256_add_epi32(c[2], c[3]));
	int32_t sum = lo + hi, n8 = -8 * sum;

	scaled = s * (float)sum;
	memcpy(p + 4 * i, &s, 4);
	memcpy(p + 4 * (T + i), &n8, 4);
	memcpy(p + 4 * (2 * T + i), &scaled, 4);
	lo *= -32;
	hi *= -32;
	memcpy(p + 4 * (3 * T + i), &lo, 4);
	memcpy(p + 4 * (4 * T + i), &hi, 4);
	store_i8(c, p + 20 * T + 32 * i);
}

static void wide(const float *x, uint32_t T, uint32_t i, uint8_t *p)
{
	__m256i c[4];
	float s = codes32(x, 32767, c);

	memcpy(p + 4 * i, &s, 4);
	store_i16(c, p + 4 * T + 64 * i);
}

/* A whole row, all @cols of it, with one scale. */
static void row8(const float *x, uint32_t cols, int is_wide, uint32_t T,
		 uint32_t i, uint8_t *p)
{
	__m256i top = _mm256_setzero_si256(), sum = top, c[4];
	uint32_t whole = cols / 32 * 32, n128;
	float last[32] = { 0 }, s, inverse;
	uint8_t *to = p + PACKED_ROW_HEAD * T;

	memcpy(last, x + whole, (cols - whole) * sizeof(*last));
	for (uint32_t k = 0; k < whole; k += 32)
		top = _mm256_max_epi32(top, sizes32(x + k));
	top = _mm256_max_epi32(top, sizes32(last));
	s = scale_of(max_i32(top), 127, &inverse);
	for (uint32_t k = 0; k < cols; k += 32) {
		by_inverse(k < whole ? x + k : last, inverse, c);
		sum = _mm256_add_epi32(
			sum, _mm256_add_epi32(_mm256_add_epi32(c[0], c[1]),
					      _mm256_add_epi32(c[2], c[3])));
		if (is_wide)
			store_i16(c, to + 64 * i);
		else
			store_i8(c, to + 32 * i);
		to += (is_wide ? 64 : 32) * T;
	}
	n128 = (uint32_t)sum_i32(sum) * -128u;
	memcpy(p + 4 * i, &s, 4);
	memcpy(p + 4 * (T + i), &n128, 4);
}

void packed_quantize_avx2(const float *row, uint32_t cols,
			  enum packed_form form, uint32_t t, uint32_t tokens,
			  uint32_t max_tokens, uint8_t *x)
{
	int is_wide = packed_is_wide(form);
	uint32_t each = is_wide ? PACKED_WIDE : PACKED_NARROW, at = 0,
		 T = max_tokens;

	for (;; at += T) { /* its tile: the largest that still fits, first */
		while (T > tokens - at)
			T /= 2;
		if (t < at + T)
			break;
	}
	x += packed_input_bytes(form, cols, at);
	if (form >= PACKED_FORM_ROW8) {
		row8(row, cols, is_wide, T, t - at, x);
		return;
	}
	for (uint32_t k = 0; k < cols; k += 32, x += each * T)
		(is_wide ? wide : narrow)(row + k, T, t - at, x);
}
