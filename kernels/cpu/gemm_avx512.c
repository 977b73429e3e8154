/* SPDX-License-Identifier: MIT */
/*
 * gemm_avx512.c - register tiles of 8 rows x up to 6 tokens, 6 x 8: a register
 * holds the eight lanes of F2 for two neighbouring rows, 24 sums in all, so
 * bits are AVX2's at twice the rate.  The weights are held, tokens come as a
 * broadcast of 256 bits in the load.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_avx512.h"

#define MAX_T 8

/* The asm keeps one load a value, which the compiler would else repeat. */
#define HOLD(v) __asm__ volatile("" : "+v"(v))

/* a[p][t] += w[p] . x[t]: P pairs of rows, T tokens, eight k */
INLINE void step8(const int P, const int T, __m512 a[4][MAX_T], const __m512 *w,
		  const float *x, size_t ldx)
{
#pragma GCC unroll 8
	for (int t = 0; t < T; t++) {
		__m512 xv = _mm512_broadcast_f32x8(
			_mm256_loadu_ps(x + (size_t)t * ldx));

		HOLD(xv);
#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			a[p][t] = _mm512_fmadd_ps(w[p], xv, a[p][t]);
	}
}

/* The second row of pair @p: a lone row is its own partner. */
INLINE const char *partner(const char *w, size_t stride, int p, int rows)
{
	return 2 * p + 1 < rows ? w + (size_t)(2 * p + 1) * stride
				: w + (size_t)(2 * p) * stride;
}

INLINE void tile(const enum weight_type ty, const int R, const int T,
		 const char *w, size_t stride, const float *x, size_t ldx,
		 uint32_t k, float *y, size_t ldy, const char *next,
		 uint32_t lines)
{
	const size_t size = ty == WEIGHT_F32 ? 4 : 2;
	const int P = (R + 1) / 2;
	/* lines to fetch at each 8 k, rounded up */
	uint32_t share = k < 8 ? lines : (lines + k / 8 - 1) / (k / 8), i = 0;
	__m512 a[4][MAX_T], wv[4];

#pragma GCC unroll 4
	for (int p = 0; p < P; p++)
#pragma GCC unroll 8
		for (int t = 0; t < T; t++)
			a[p][t] = _mm512_setzero_ps();
	for (; i + 8 <= k; i += 8) {
		for (uint32_t j = 0; j < share; j++, next += 64)
			_mm_prefetch(next, _MM_HINT_T1);
#pragma GCC unroll 4
		for (int p = 0; p < P; p++) {
			wv[p] = load8x2(ty,
					w + (size_t)(2 * p) * stride + i * size,
					partner(w, stride, p, R) + i * size);
			HOLD(wv[p]);
		}
		step8(P, T, a, wv, x + i, ldx);
	}
	if (i < k) {
#pragma GCC unroll 4
		for (int p = 0; p < P; p++)
			wv[p] = load_tail8x2(
				ty, w + (size_t)(2 * p) * stride + i * size,
				partner(w, stride, p, R) + i * size, k - i);
		step8(P, T, a, wv, x + i, ldx);
	}
#pragma GCC unroll 8
	for (int t = 0; t < T; t++) {
		float *out = y + (size_t)t * ldy;

		if (R == 1) {
			out[0] = sum8(lower8(a[0][t]));
			continue;
		}
#pragma GCC unroll 2
		for (int p = 0; p + 2 <= P; p += 2)
			_mm_storeu_ps(out + 2 * p,
				      sum8x4(lower8(a[p][t]), upper8(a[p][t]),
					     lower8(a[p + 1][t]),
					     upper8(a[p + 1][t])));
		if (P % 2) {
			out[2 * P - 2] = sum8(lower8(a[P - 1][t]));
			out[2 * P - 1] = sum8(upper8(a[P - 1][t]));
		}
	}
}

#define TILE(type, R, T)                                                       \
	static __attribute__((noinline)) void tile_##type##_##R##_##T(         \
		const char *w, size_t stride, const float *x, size_t ldx,      \
		uint32_t k, float *y, size_t ldy, const char *next,            \
		uint32_t lines)                                                \
	{                                                                      \
		tile(WEIGHT_##type, R, T, w, stride, x, ldx, k, y, ldy, next,  \
		     lines);                                                   \
	}
#define TILES(type)                                                            \
	TILE(type, 1, 1)                                                       \
	TILE(type, 1, 2)                                                       \
	TILE(type, 1, 3)                                                       \
	TILE(type, 1, 4)                                                       \
	TILE(type, 1, 5)                                                       \
	TILE(type, 1, 6)                                                       \
	TILE(type, 8, 1)                                                       \
	TILE(type, 8, 2)                                                       \
	TILE(type, 8, 3)                                                       \
	TILE(type, 8, 4)                                                       \
	TILE(type, 8, 5)                                                       \
	TILE(type, 8, 6)                                                       \
	TILE(type, 1, 7) TILE(type, 1, 8) TILE(type, 6, 7) TILE(type, 6, 8)

TILES(F32)
TILES(F16)
TILES(BF16)

#define ROW(type)                                                              \
	[WEIGHT_##type] = {                                                    \
		.max_tokens = MAX_T,                                           \
		.by = { [1] = { 8, tile_##type##_8_1, tile_##type##_1_1 },     \
			[2] = { 8, tile_##type##_8_2, tile_##type##_1_2 },     \
			[3] = { 8, tile_##type##_8_3, tile_##type##_1_3 },     \
			[4] = { 8, tile_##type##_8_4, tile_##type##_1_4 },     \
			[5] = { 8, tile_##type##_8_5, tile_##type##_1_5 },     \
			[6] = { 8, tile_##type##_8_6, tile_##type##_1_6 },     \
			[7] = { 6, tile_##type##_6_7, tile_##type##_1_7 },     \
			[8] = { 6, tile_##type##_6_8, tile_##type##_1_8 } },   \
	}

const struct gemm_tiles gemm_tiles_avx512[NR_GEMM_TYPES] = {
	ROW(F32),
	ROW(F16),
	ROW(BF16),
};
