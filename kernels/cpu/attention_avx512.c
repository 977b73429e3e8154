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
#define FEW   4 /* queries that take two blocks: a chain alone waits for itself */

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

/* s[b][i] = q[i] . keys of block b of B, one chain a key */
INLINE void scores(const int G, const int B, const enum kv_type kv,
		   const float *q, size_t ld, uint32_t hd,
		   const struct attn_keys *keys, __m512 s[2][MAX_G])
{
	const size_t row = OPS_BLOCK * kv_size(kv);

#pragma GCC unroll 2
	for (int b = 0; b < B; b++)
#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
			s[b][i] = _mm512_setzero_ps();
#pragma GCC unroll 4
	for (uint32_t d = 0; d < hd; d++) {
		__m512 key[2];

#pragma GCC unroll 2
		for (int b = 0; b < B; b++) {
			key[b] = load_kv16(kv, keys->k[b],
					   (size_t)d * OPS_BLOCK);
			if (d % (4 / kv_size(kv)) == 0)
				fetch((const char *)keys->next_k[b] + d * row);
		}
#pragma GCC unroll 8
		for (int i = 0; i < G; i++) {
			__m512 a = _mm512_set1_ps(q[(size_t)i * ld + d]);

#pragma GCC unroll 2
			for (int b = 0; b < B; b++)
				s[b][i] = _mm512_fmadd_ps(a, key[b], s[b][i]);
		}
	}
#pragma GCC unroll 2
	for (int b = 0; kv == KV_Q8 && b < B; b++)
#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
			s[b][i] = _mm512_mul_ps(
				s[b][i],
				_mm512_loadu_ps(kv8_scales(keys->k[b], hd)));
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

/* What scores have become: weights, and the correction before them. */
struct weights {
	float p[MAX_G][OPS_BLOCK], c[MAX_G];
};

/* o[i] = o[i] * c[i] + p[i] . v block by block, C vectors at a time */
INLINE void values(const int G, const int B, const int C, const enum kv_type kv,
		   const struct weights w[2], const struct attn_keys *keys,
		   uint32_t hd, uint32_t from, uint32_t to, float *o, size_t ld)
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
				a[i][j] = _mm512_loadu_ps(o + (size_t)i * ld +
							  d + 16 * j);
#pragma GCC unroll 2
		for (int b = 0; b < B; b++) {
			const uint32_t t0 = B == 1 ? keys->t0 : 0;
			const uint32_t t1 = B == 1 ? keys->t1 : OPS_BLOCK;

#pragma GCC unroll 8
			for (int i = 0; i < G; i++)
#pragma GCC unroll 8
				for (int j = 0; j < C; j++)
					a[i][j] = _mm512_mul_ps(
						a[i][j],
						_mm512_set1_ps(w[b].c[i]));
			for (uint32_t t = t0; t < t1; t++) {
				size_t at = (size_t)t * hd + d;
				__m512 x[8];

#pragma GCC unroll 8
				for (int j = 0; j < C; j += apart)
					fetch((const char *)keys->next_v[b] +
					      (at + 16 * (size_t)j) * size);
#pragma GCC unroll 8
				for (int j = 0; j < C; j++)
					x[j] = load_kv16(kv, keys->v[b],
							 at + 16 * (size_t)j);
#pragma GCC unroll 8
				for (int i = 0; i < G; i++) {
					__m512 p = _mm512_set1_ps(w[b].p[i][t]);

#pragma GCC unroll 8
					for (int j = 0; j < C; j++)
						a[i][j] = _mm512_fmadd_ps(
							p, x[j], a[i][j]);
				}
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

INLINE void queries(const int G, const int B, const enum kv_type kv,
		    const struct attn_tile *tile, uint32_t first,
		    const struct attn_keys *keys)
{
	const int C = G <= FEW ? 4 : 2;
	uint32_t hd = tile->head_dim, wide = hd / (16 * (uint32_t)C);
	__mmask16 see = (__mmask16)((1u << keys->t1) - (1u << keys->t0));
	float *o = tile->o + first * tile->ld;
	struct weights w[2];
	__m512 s[2][MAX_G];

	wide *= 16 * (uint32_t)C;
	scores(G, B, kv, tile->q + first * tile->ld, tile->ld, hd, keys, s);
#pragma GCC unroll 2
	for (int b = 0; b < B; b++)
#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
			w[b].c[i] = soften(s[b][i], B == 1 ? see : 0xffff,
					   &tile->m[first + (uint32_t)i],
					   &tile->l[first + (uint32_t)i],
					   w[b].p[i]);
#pragma GCC unroll 2
	for (int b = 0; kv == KV_Q8 && b < B; b++)
#pragma GCC unroll 8
		for (int i = 0; i < G; i++)
			_mm512_storeu_ps(
				w[b].p[i],
				_mm512_mul_ps(_mm512_loadu_ps(w[b].p[i]),
					      _mm512_loadu_ps(kv8_scales(
						      keys->v[b], hd))));
	values(G, B, C, kv, w, keys, hd, 0, wide, o, tile->ld);
	/* the rest by one vector; the last may hold lanes nobody reads */
	values(G, B, 1, kv, w, keys, hd, wide, hd, o, tile->ld);
}

typedef void queries_fn(const struct attn_tile *tile, uint32_t first,
			const struct attn_keys *keys);

#define QUERIES(G, B, kv)                                                      \
	static __attribute__((noinline)) void queries_##kv##_##G##_##B(        \
		const struct attn_tile *tile, uint32_t first,                  \
		const struct attn_keys *keys)                                  \
	{                                                                      \
		queries(G, B, KV_##kv, tile, first, keys);                     \
	}
#define EVERY(kv)                                                              \
	QUERIES(1, 1, kv)                                                      \
	QUERIES(2, 1, kv)                                                      \
	QUERIES(3, 1, kv)                                                      \
	QUERIES(4, 1, kv)                                                      \
	QUERIES(5, 1, kv)                                                      \
	QUERIES(6, 1, kv)                                                      \
	QUERIES(7, 1, kv)                                                      \
	QUERIES(8, 1, kv)                                                      \
	QUERIES(1, 2, kv)                                                      \
	QUERIES(2, 2, kv)                                                      \
	QUERIES(3, 2, kv)                                                      \
	QUERIES(4, 2, kv)
#define ONE(kv)                                                                \
	[KV_##kv] = { queries_##kv##_1_1, queries_##kv##_2_1,                  \
		      queries_##kv##_3_1, queries_##kv##_4_1,                  \
		      queries_##kv##_5_1, queries_##kv##_6_1,                  \
		      queries_##kv##_7_1, queries_##kv##_8_1 }
#define TWO(kv)                                                                \
	[KV_##kv] = { queries_##kv##_1_2, queries_##kv##_2_2,                  \
		      queries_##kv##_3_2, queries_##kv##_4_2 }
EVERY(F32)
EVERY(F16)
EVERY(Q8)

/* Queries [first, first + nr) over block @b alone */
static void one_block(const struct attn_tile *tile, uint32_t first, uint32_t nr,
		      const struct attn_keys *keys, uint32_t b)
{
	static queries_fn *const fn[3][MAX_G] = { ONE(F32), ONE(F16), ONE(Q8) };
	struct attn_keys one = {
		.nr = 1,
		.t0 = keys->t0,
		.t1 = keys->t1,
		.k = { keys->k[b] },
		.v = { keys->v[b] },
		.next_k = { keys->next_k[b] },
		.next_v = { keys->next_v[b] },
	};

	while (nr) {
		uint32_t n = nr < MAX_G ? nr : MAX_G;

		fn[tile->kv][n - 1](tile, first, &one);
		first += n;
		nr -= n;
	}
}

void attn_block_avx512(const struct attn_tile *tile, uint32_t first,
		       uint32_t nr, const struct attn_keys *keys)
{
	static queries_fn *const fn[3][FEW] = { TWO(F32), TWO(F16), TWO(Q8) };

	if (keys->nr == 2 && nr <= FEW) {
		fn[tile->kv][nr - 1](tile, first, keys);
		return;
	}
	for (uint32_t b = 0; b < keys->nr; b++)
		one_block(tile, first, nr, keys, b);
}
