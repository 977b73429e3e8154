/* SPDX-License-Identifier: MIT */
/*
 * attention_avx2.c - rule F6 on one block for up to four queries at a time.
 * K lies transposed, [hd][16], so scores come out with lanes = keys and each
 * is one chain over d, as written; V is [16][hd], lanes = dimensions.  A block
 * of hd 128 is 16 KB: it is read once from memory for all queries of the tile.
 * Blocks lie scattered, the hardware cannot guess the next one: its lines are
 * fetched one by one inside both loops (in one go they stall the core).
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/ops.h"

/* s[i][t] = q[i] . k[t], one chain a key; k: [hd][16] */
INLINE void scores(const int G, const enum kv_type kv, const float *q,
		   size_t ld, uint32_t hd, const void *k, const char *next,
		   float s[4][OPS_BLOCK])
{
	const size_t row = OPS_BLOCK * kv_size(kv);

	__m256 a[4][2];

#pragma GCC unroll 4
	for (int i = 0; i < G; i++)
		a[i][0] = a[i][1] = _mm256_setzero_ps();
	for (uint32_t d = 0; d < hd; d++) {
		__m256 k0 = load_kv8(kv, k, (size_t)d * OPS_BLOCK);
		__m256 k1 = load_kv8(kv, k, (size_t)d * OPS_BLOCK + 8);

		if (d % (4 / kv_size(kv)) == 0)
			fetch(next + d * row);
#pragma GCC unroll 4
		for (int i = 0; i < G; i++) {
			__m256 b = _mm256_broadcast_ss(q + (size_t)i * ld + d);

			a[i][0] = _mm256_fmadd_ps(b, k0, a[i][0]);
			a[i][1] = _mm256_fmadd_ps(b, k1, a[i][1]);
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < G; i++) {
		if (kv == KV_Q8) {
			const float *scale = kv8_scales(k, hd);

			a[i][0] =
				_mm256_mul_ps(a[i][0], _mm256_loadu_ps(scale));
			a[i][1] = _mm256_mul_ps(a[i][1],
						_mm256_loadu_ps(scale + 8));
		}
		_mm256_storeu_ps(s[i], a[i][0]);
		_mm256_storeu_ps(s[i] + 8, a[i][1]);
	}
}

/* Scores become weights in place; returns the correction of what was before */
INLINE float soften(float s[OPS_BLOCK], uint32_t t0, uint32_t t1, float *m,
		    float *l)
{
	__m256 s0, s1, new8;
	float new, correction;

	for (uint32_t t = 0; t < t0; t++)
		s[t] = -INFINITY;
	for (uint32_t t = t1; t < OPS_BLOCK; t++)
		s[t] = -INFINITY;
	s0 = _mm256_loadu_ps(s);
	s1 = _mm256_loadu_ps(s + 8);
	new = max8(_mm256_max_ps(s0, s1));
	new = new > *m ? new : *m;
	correction = *m == new ? 1.0f : exp_neg(*m - new);
	new8 = _mm256_set1_ps(new);
	s0 = exp8(_mm256_sub_ps(s0, new8));
	s1 = exp8(_mm256_sub_ps(s1, new8));
	_mm256_storeu_ps(s, s0);
	_mm256_storeu_ps(s + 8, s1);
	*m = new;
	*l = fmaf(*l, correction, sum8(_mm256_add_ps(s0, s1)));
	return correction;
}

/* o[i] = o[i] * c[i] + p[i] . v over keys [t0, t1), C vectors at a time */
INLINE void values(const int G, const int C, const enum kv_type kv,
		   const float p[4][OPS_BLOCK], const float *c, const void *v,
		   uint32_t t0, uint32_t t1, const char *next, uint32_t hd,
		   uint32_t from, uint32_t to, float *o, size_t ld)
{
	const size_t size = kv_size(kv);
	/* vectors of a cache line, or nearly */
	const int line = (int)(64 / (8 * size)), apart = line < C ? line : C;

	for (uint32_t d = from; d < to; d += 8 * (uint32_t)C) {
		__m256 a[4][8];

#pragma GCC unroll 4
		for (int i = 0; i < G; i++)
#pragma GCC unroll 8
			for (int j = 0; j < C; j++)
				a[i][j] = _mm256_mul_ps(
					_mm256_loadu_ps(o + (size_t)i * ld + d +
							8 * j),
					_mm256_broadcast_ss(c + i));
		for (uint32_t t = t0; t < t1; t++) {
			__m256 x[8];

#pragma GCC unroll 4
			for (int j = 0; j < C; j += apart)
				fetch(next +
				      ((size_t)t * hd + d + 8 * (size_t)j) *
					      size);
#pragma GCC unroll 8
			for (int j = 0; j < C; j++)
				x[j] = load_kv8(kv, v,
						(size_t)t * hd + d +
							8 * (size_t)j);
#pragma GCC unroll 4
			for (int i = 0; i < G; i++) {
				__m256 b = _mm256_broadcast_ss(&p[i][t]);

#pragma GCC unroll 8
				for (int j = 0; j < C; j++)
					a[i][j] = _mm256_fmadd_ps(b, x[j],
								  a[i][j]);
			}
		}
#pragma GCC unroll 4
		for (int i = 0; i < G; i++)
#pragma GCC unroll 8
			for (int j = 0; j < C; j++)
				_mm256_storeu_ps(o + (size_t)i * ld + d + 8 * j,
						 a[i][j]);
	}
}

INLINE void queries(const int G, const enum kv_type kv,
		    const struct attn_tile *tile, uint32_t first,
		    const struct attn_keys *keys, uint32_t b)
{
	/* eight sums of values in flight: G * C */
	const int C = G == 1 ? 8 : G == 2 ? 4 : 2;
	const void *k = keys->k[b], *v = keys->v[b];
	uint32_t t0 = keys->t0, t1 = keys->t1;
	uint32_t hd = tile->head_dim, wide = hd / (8 * (uint32_t)C);
	float s[4][OPS_BLOCK], c[4];
	float *o = tile->o + first * tile->ld;

	wide *= 8 * (uint32_t)C;
	scores(G, kv, tile->q + first * tile->ld, tile->ld, hd, k,
	       keys->next_k[b], s);
#pragma GCC unroll 4
	for (int i = 0; i < G; i++)
		c[i] = soften(s[i], t0, t1, &tile->m[first + (uint32_t)i],
			      &tile->l[first + (uint32_t)i]);
#pragma GCC unroll 4
	for (int i = 0; kv == KV_Q8 && i < G; i++)
		for (int t = 0; t < (int)OPS_BLOCK; t += 8)
			_mm256_storeu_ps(
				s[i] + t,
				_mm256_mul_ps(_mm256_loadu_ps(s[i] + t),
					      _mm256_loadu_ps(
						      kv8_scales(v, hd) + t)));
	values(G, C, kv, s, c, v, t0, t1, keys->next_v[b], hd, 0, wide, o,
	       tile->ld);
	/* the rest by one vector; the last may hold lanes nobody reads */
	values(G, 1, kv, s, c, v, t0, t1, keys->next_v[b], hd, wide, hd, o,
	       tile->ld);
}

#define QUERIES_OF(G, name, kv)                                                \
	static __attribute__((noinline)) void name##G(                         \
		const struct attn_tile *tile, uint32_t first,                  \
		const struct attn_keys *keys, uint32_t b)                      \
	{                                                                      \
		queries(G, kv, tile, first, keys, b);                          \
	}
#define QUERIES(G)                                                             \
	QUERIES_OF(G, queries_f32_, KV_F32)                                    \
	QUERIES_OF(G, queries_f16_, KV_F16)                                    \
	QUERIES_OF(G, queries_q8_, KV_Q8)
QUERIES(1)
QUERIES(2)
QUERIES(3)
QUERIES(4)

void attn_block_avx2(const struct attn_tile *tile, uint32_t first, uint32_t nr,
		     const struct attn_keys *keys)
{
	static void (*const fn[3][4])(const struct attn_tile *, uint32_t,
				      const struct attn_keys *, uint32_t) = {
		[KV_F32] = { queries_f32_1, queries_f32_2, queries_f32_3,
			     queries_f32_4 },
		[KV_Q8] = { queries_q8_1, queries_q8_2, queries_q8_3,
			    queries_q8_4 },
		[KV_F16] = { queries_f16_1, queries_f16_2, queries_f16_3,
			     queries_f16_4 },
	};

	for (uint32_t b = 0; b < keys->nr; b++)
		for (uint32_t i = 0, n; i < nr; i += n) {
			n = nr - i < 4 ? nr - i : 4;
			fn[tile->kv][n - 1](tile, first + i, keys, b);
		}
}

void attn_fold_avx2(const struct attn_tile *all, const struct attn_tile *part,
		    uint32_t i)
{
	float *a = all->o + i * all->ld, *ma = &all->m[i];
	const float *b = part->o + i * part->ld, *mb = &part->m[i];
	float m = *mb > *ma ? *mb : *ma;
	float ca = *ma == m ? 1.0f : exp_neg(*ma - m);
	float cb = *mb == m ? 1.0f : exp_neg(*mb - m);

	*ma = m;
	all->l[i] = fmaf(all->l[i], ca, part->l[i] * cb);
	for (uint32_t d = 0; d < all->head_dim; d += 8)
		_mm256_storeu_ps(
			a + d,
			_mm256_fmadd_ps(_mm256_loadu_ps(a + d),
					_mm256_set1_ps(ca),
					_mm256_mul_ps(_mm256_loadu_ps(b + d),
						      _mm256_set1_ps(cb))));
}
