/* SPDX-License-Identifier: MIT */
/*
 * attention_avx512.c - attention_avx2.c with 16 lanes: the keys of a block are
 * one register, dimensions go by 16 (each is its own chain, so the width does
 * not show), and up to eight queries share what is read.
 *
 * Ran on an EPYC (Zen 5) core, 277 GFLOP/s of FMA, 41 GB/s of reading: decode,
 * 32/8 heads of 128 at 4096 keys 657 us = 51 GB/s (1789 us before the fetching
 * was spread over the loops); prefill of 512 rows there 182 GFLOP/s.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_avx512.h"
#include "kernels/ops.h"

#define MAX_G 8

/* 16 numbers of keys or values from number @i on */
INLINE __m512 load_kv16(const enum kv_type kv, const void *p, size_t i)
{
	if (kv == KV_F32)
		return _mm512_loadu_ps((const float *)p + i);
	if (kv == KV_F16)
		return _mm512_cvtph_ps(_mm256_loadu_si256(
			(const void *)((const char *)p + 2 * i)));
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
		_mm_loadu_si128((const void *)((const char *)p + i))));
}

/* s[i] = q[i] . keys, one chain a key; k: [hd][16] */
INLINE void scores(const int G, const enum kv_type kv, const float *q,
		   size_t ld, uint32_t hd, const void *k, const char *next,
		   __m512 s[MAX_G])
{
	const size_t row = OPS_BLOCK * kv_size(kv);

#pragma GCC unroll 8
	for (int i = 0; i < G; i++)
		s[i] = _mm512_setzero_ps();
	for (uint32_t d = 0; d < hd; d++) {
		__m512 key = load_kv16(kv, k, (size_t)d * OPS_BLOCK);

		if (d % (4 / kv_size(kv)) == 0)
			fetch(next + d * row);
#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
			s[i] = _mm512_fmadd_ps(
				_mm512_set1_ps(q[(size_t)i * ld + d]), key,
				s[i]);
	}
#pragma GCC unroll 8
	for (int i = 0; kv == KV_Q8 && i < G; i++)
		s[i] = _mm512_mul_ps(s[i], _mm512_loadu_ps(kv8_scales(k, hd)));
}

/* Weights of the keys in @see; returns the correction of what was before. */
INLINE float soften(__m512 s, __mmask16 see, float *m, float *l,
		    float p[OPS_BLOCK])
{
	float new, correction;
	__m512 e;

	s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), see, s);
	new = max8(_mm256_max_ps(lower8(s), upper8(s)));
	new = new > *m ? new : *m;
	correction = *m == new ? 1.0f : exp_neg(*m - new);
	e = exp16(_mm512_sub_ps(s, _mm512_set1_ps(new)));
	_mm512_storeu_ps(p, e);
	*m = new;
	*l = fmaf(*l, correction, sum8(_mm256_add_ps(lower8(e), upper8(e))));
	return correction;
}

/* o[i] = o[i] * c[i] + p[i] . v over keys [t0, t1), C vectors at a time */
INLINE void values(const int G, const int C, const enum kv_type kv,
		   const float p[][OPS_BLOCK], const float *c, const void *v,
		   uint32_t t0, uint32_t t1, const char *next, uint32_t hd,
		   uint32_t from, uint32_t to, float *o, size_t ld)
{
	const size_t size = kv_size(kv);
	/* vectors of a cache line, or nearly */
	const int line = (int)(64 / (16 * size)), apart = line < C ? line : C;

	for (uint32_t d = from; d < to; d += 16 * (uint32_t)C) {
		__m512 a[MAX_G][8];

#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
#pragma GCC unroll 8
			for (int j = 0; j < C; j++)
				a[i][j] = _mm512_mul_ps(
					_mm512_loadu_ps(o + (size_t)i * ld + d +
							16 * j),
					_mm512_set1_ps(c[i]));
		for (uint32_t t = t0; t < t1; t++) {
			__m512 x[8];

#pragma GCC unroll 8
			for (int j = 0; j < C; j += apart)
				fetch(next +
				      ((size_t)t * hd + d + 16 * (size_t)j) *
					      size);
#pragma GCC unroll 8
			for (int j = 0; j < C; j++)
				x[j] = load_kv16(kv, v,
						 (size_t)t * hd + d +
							 16 * (size_t)j);
#pragma GCC unroll 8
			for (int i = 0; i < G; i++) {
				__m512 b = _mm512_set1_ps(p[i][t]);

#pragma GCC unroll 8
				for (int j = 0; j < C; j++)
					a[i][j] = _mm512_fmadd_ps(b, x[j],
								  a[i][j]);
			}
		}
#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
#pragma GCC unroll 8
			for (int j = 0; j < C; j++)
				_mm512_storeu_ps(o + (size_t)i * ld + d +
							 16 * j,
						 a[i][j]);
	}
}

INLINE void queries(const int G, const enum kv_type kv,
		    const struct attn_tile *tile, uint32_t first, const void *k,
		    const void *v, uint32_t t0, uint32_t t1)
{
	const int C = G <= 2 ? 4 : 2;
	uint32_t hd = tile->head_dim, wide = hd / (16 * (uint32_t)C);
	__mmask16 see = (__mmask16)((1u << t1) - (1u << t0));
	float *o = tile->o + first * tile->ld;
	float p[MAX_G][OPS_BLOCK], c[MAX_G];
	__m512 s[MAX_G];

	wide *= 16 * (uint32_t)C;
	scores(G, kv, tile->q + first * tile->ld, tile->ld, hd, k, tile->next_k,
	       s);
#pragma GCC unroll 8
	for (int i = 0; i < G; i++)
		c[i] = soften(s[i], see, &tile->m[first + (uint32_t)i],
			      &tile->l[first + (uint32_t)i], p[i]);
#pragma GCC unroll 8
	for (int i = 0; kv == KV_Q8 && i < G; i++)
		_mm512_storeu_ps(
			p[i],
			_mm512_mul_ps(_mm512_loadu_ps(p[i]),
				      _mm512_loadu_ps(kv8_scales(v, hd))));
	values(G, C, kv, p, c, v, t0, t1, tile->next_v, hd, 0, wide, o,
	       tile->ld);
	/* the rest by one vector; the last may hold lanes nobody reads */
	values(G, 1, kv, p, c, v, t0, t1, tile->next_v, hd, wide, hd, o,
	       tile->ld);
}

#define QUERIES_OF(G, name, kv)                                                \
	static __attribute__((noinline)) void name##G(                         \
		const struct attn_tile *tile, uint32_t first, const void *k,   \
		const void *v, uint32_t t0, uint32_t t1)                       \
	{                                                                      \
		queries(G, kv, tile, first, k, v, t0, t1);                     \
	}
#define QUERIES(G)                                                             \
	QUERIES_OF(G, queries_f32_, KV_F32)                                    \
	QUERIES_OF(G, queries_f16_, KV_F16)                                    \
	QUERIES_OF(G, queries_q8_, KV_Q8)
QUERIES(1)
QUERIES(2)
QUERIES(3)
QUERIES(4)
QUERIES(5)
QUERIES(6)
QUERIES(7)
QUERIES(8)

void attn_block_avx512(const struct attn_tile *tile, uint32_t first,
		       uint32_t nr, const void *k, const void *v, uint32_t t0,
		       uint32_t t1)
{
	static void (*const fn[3][MAX_G])(const struct attn_tile *, uint32_t,
					  const void *, const void *, uint32_t,
					  uint32_t) = {
		[KV_F32] = { queries_f32_1, queries_f32_2, queries_f32_3,
			     queries_f32_4, queries_f32_5, queries_f32_6,
			     queries_f32_7, queries_f32_8 },
		[KV_Q8] = { queries_q8_1, queries_q8_2, queries_q8_3,
			    queries_q8_4, queries_q8_5, queries_q8_6,
			    queries_q8_7, queries_q8_8 },
		[KV_F16] = { queries_f16_1, queries_f16_2, queries_f16_3,
			     queries_f16_4, queries_f16_5, queries_f16_6,
			     queries_f16_7, queries_f16_8 },
	};

	while (nr) {
		uint32_t n = nr < MAX_G ? nr : MAX_G;

		fn[tile->kv][n - 1](tile, first, k, v, t0, t1);
		first += n;
		nr -= n;
	}
}
