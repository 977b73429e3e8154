/* SPDX-License-Identifier: MIT */
/*
 * packed_avx2.c - a group of eight rows in the eight lanes, up to four tokens.
 * Narrow: pmaddubsw multiplies unsigned codes with the input's signed ones and
 * adds pairs in 16 bits; as many pairs as surely fit are added there before
 * pmaddwd widens them: all eight of a 4-bit run.  Wide: bytes are widened to
 * 16 bits by shifts, even ones and odd ones, for pmaddwd.
 *
 * Bound: a narrow load of 32 codes takes a pmaddubsw and a paddw a token, so
 * 16 codes a cycle on two ports; one token is bound by memory (4.5 bits a code
 * in Q4_0).
 */
#include "kernels/cpu/packed.h"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/split.h"

typedef __m256i VI;
typedef __m256 VF;
#define MAX_T  4
#define EIGHTS 1
#define ROW8   0

INLINE VI v_load(const uint8_t *w, size_t at)
{
	return _mm256_loadu_si256((const void *)(w + at));
}

INLINE void v_fetch(const uint8_t *w, size_t at)
{
	_mm_prefetch((const char *)w + at, _MM_HINT_T0);
}

INLINE VF v_f16(const uint8_t *w, size_t at)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const void *)(w + at)));
}

INLINE VF v_f32(const uint8_t *w, size_t at)
{
	return _mm256_loadu_ps((const void *)(w + at));
}

INLINE VF v_u8(const uint8_t *w, size_t at)
{
	return _mm256_cvtepi32_ps(
		_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(w + at))));
}

INLINE VF v_s8(const uint8_t *w, size_t at)
{
	return _mm256_cvtepi32_ps(
		_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(w + at))));
}

/* the lower (@high: upper) four bits of a byte */
INLINE VF v_u4(const uint8_t *w, size_t at, const int high)
{
	VI v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(w + at)));

	v = high ? _mm256_srli_epi32(v, 4)
		 : _mm256_and_si256(v, _mm256_set1_epi32(15));
	return _mm256_cvtepi32_ps(v);
}

INLINE VI v_int(const uint8_t *p)
{
	int32_t v;

	memcpy(&v, p, 4);
	return _mm256_set1_epi32(v);
}

INLINE VF v_float(const uint8_t *p)
{
	return _mm256_broadcast_ss((const void *)p);
}

INLINE VI v_lookup(const int8_t table[16], VI v)
{
	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(
					   (const void *)table)),
				   v);
}

#define v_set8	      _mm256_set1_epi8
#define v_and	      _mm256_and_si256
#define v_xor	      _mm256_xor_si256
#define v_or	      _mm256_or_si256
#define v_srl	      _mm256_srli_epi16
#define v_sll	      _mm256_slli_epi16
#define v_sra16	      _mm256_srai_epi16
#define v_sll32	      _mm256_slli_epi32
#define v_sra32	      _mm256_srai_epi32
#define v_add32	      _mm256_add_epi32
#define v_sub32	      _mm256_sub_epi32
#define v_izero	      _mm256_setzero_si256
#define v_zero	      _mm256_setzero_ps
#define v_mul	      _mm256_mul_ps
#define v_fma	      _mm256_fmadd_ps
#define v_to_float    _mm256_cvtepi32_ps
#define v_negate(v)   _mm256_xor_ps(v, _mm256_set1_ps(-0.0f))
#define v_store(p, v) _mm256_storeu_ps(p, v)

struct dot {
	VI pairs, sum;
};

INLINE void dot_begin(struct dot *d, VI sum)
{
	d->sum = sum;
}

/* Step @j of a run; every @most steps the pairs are widened. */
INLINE void dot_narrow(struct dot *d, VI code, VI x, const int j,
		       const int most)
{
	VI m = _mm256_maddubs_epi16(code, x);

	d->pairs = j % most ? _mm256_add_epi16(d->pairs, m) : m;
	if (j % most != most - 1)
		return;
	m = _mm256_madd_epi16(d->pairs, _mm256_set1_epi16(1));
	d->sum = _mm256_add_epi32(d->sum, m);
}

INLINE VI dot_sum(const struct dot *d)
{
	return d->sum;
}

INLINE VI dot_wide(VI sum, VI code, VI x)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(code, x));
}

#include "kernels/cpu/packed_tile.inc"

#define TILES(type) TILE(type, 1) TILE(type, 2) TILE(type, 4)
#define ROW(type)                                                              \
	[PACKED_AT(WEIGHT_##type)] = { tile_##type##_1, tile_##type##_2,       \
				       tile_##type##_4 }
TILES(Q8_0)
TILES(Q4_0)
TILES(Q4_1)
TILES(Q5_0)
TILES(Q5_1)
TILES(Q2_K)
TILES(Q3_K)
TILES(Q4_K)
TILES(Q5_K)
TILES(Q6_K)
TILES(IQ4_NL)
TILES(MXFP4)
TILES(INT4)
TILES(INT8)

const struct packed_set packed_avx2 = {
	.rows = 8,
	.max_tokens = MAX_T,
	.row = PACKED_FORM_ROW16,
	.tile = { ROW(Q8_0), ROW(Q4_0), ROW(Q4_1), ROW(Q5_0), ROW(Q5_1),
		  ROW(Q2_K), ROW(Q3_K), ROW(Q4_K), ROW(Q5_K), ROW(Q6_K),
		  ROW(IQ4_NL), ROW(MXFP4), ROW(INT4), ROW(INT8) },
};
