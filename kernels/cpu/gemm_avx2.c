/* SPDX-License-Identifier: MIT */
/*
 * gemm_avx2.c - register tiles of R rows x T tokens: 12 sums, the smaller side
 * held in registers, the other streamed: 3x4, 4x3, 4x2, 8x1.  The body is
 * unrolled by two, as 16 weights of a row are one load each of 256 or 512 bits
 * in the two halves.  Built without -ftree-ter and -ftree-reassoc, which make
 * gcc spill the sums.
 *
 * Justine Tunney's tinyBLAS (llamafile) has the same idea, lanes along k and
 * no packing; the order of the sums is ours (F2).
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_avx2.h"

/* a[r][t] += w[r] . x[t] over 8 lanes; the asm keeps one load a value, which
 * the compiler would else fold into each fma */
#define HOLD(v) __asm__ volatile("" : "+x"(v))

INLINE void step8(const int R, const int T, __m256 a[8][4], const __m256 *w,
		  const float *x, size_t ldx)
{
#pragma GCC unroll 8
	for (int t = 0; t < T; t++) {
		__m256 xv = _mm256_loadu_ps(x + (size_t)t * ldx);

		HOLD(xv);
#pragma GCC unroll 8
		for (int r = 0; r < R; r++)
			a[r][t] = _mm256_fmadd_ps(w[r], xv, a[r][t]);
	}
}

/* The same with T <= R: the tokens are held, the rows streamed. */
INLINE void step8_rows(const enum weight_type ty, const int R, const int T,
		       __m256 a[8][4], const char *w, size_t stride,
		       const float *x, size_t ldx)
{
	__m256 xv[4];

#pragma GCC unroll 4
	for (int t = 0; t < T; t++) {
		xv[t] = _mm256_loadu_ps(x + (size_t)t * ldx);
		HOLD(xv[t]);
	}
#pragma GCC unroll 8
	for (int r = 0; r < R; r++) {
		__m256 wv = load8(ty, w + (size_t)r * stride);

		HOLD(wv);
#pragma GCC unroll 4
		for (int t = 0; t < T; t++)
			a[r][t] = _mm256_fmadd_ps(wv, xv[t], a[r][t]);
	}
}

INLINE void step8_any(const enum weight_type ty, const int R, const int T,
		      __m256 a[8][4], const char *w, size_t stride,
		      const float *x, size_t ldx)
{
	if (R <= T) {
		__m256 wv[4];

#pragma GCC unroll 4
		for (int r = 0; r < R; r++) {
			wv[r] = load8(ty, w + (size_t)r * stride);
			HOLD(wv[r]);
		}
		step8(R, T, a, wv, x, ldx);
	} else {
		step8_rows(ty, R, T, a, w, stride, x, ldx);
	}
}

INLINE void store(const int R, const int T, __m256 a[8][4], float *y,
		  size_t ldy)
{
#pragma GCC unroll 4
	for (int t = 0; t < T; t++) {
		int r = 0;

#pragma GCC unroll 2
		for (; r + 4 <= R; r += 4)
			_mm_storeu_ps(y + (size_t)t * ldy + r,
				      sum8x4(a[r][t], a[r + 1][t], a[r + 2][t],
					     a[r + 3][t]));
#pragma GCC unroll 4
		for (; r < R; r++)
			y[(size_t)t * ldy + r] = sum8(a[r][t]);
	}
}

INLINE void tile(const enum weight_type ty, const int R, const int T,
		 const char *w, size_t stride, const float *x, size_t ldx,
		 uint32_t k, float *y, size_t ldy, const char *next,
		 uint32_t lines)
{
	const size_t size = ty == WEIGHT_F32 ? 4 : 2;
	/* lines to fetch at each 16 k, rounded up */
	uint32_t share = k < 16 ? lines : (lines + k / 16 - 1) / (k / 16);
	uint32_t i = 0;
	__m256 a[8][4];

#pragma GCC unroll 8
	for (int r = 0; r < R; r++)
#pragma GCC unroll 4
		for (int t = 0; t < T; t++)
			a[r][t] = _mm256_setzero_ps();
	for (; i + 16 <= k; i += 16) {
		for (uint32_t j = 0; j < share; j++, next += 64)
			_mm_prefetch(next, _MM_HINT_T1);
		step8_any(ty, R, T, a, w + i * size, stride, x + i, ldx);
		step8_any(ty, R, T, a, w + (i + 8) * size, stride, x + i + 8,
			  ldx);
	}
	if (i + 8 <= k) {
		step8_any(ty, R, T, a, w + i * size, stride, x + i, ldx);
		i += 8;
	}
	if (i < k) {
		__m256 wv[8];

#pragma GCC unroll 8
		for (int r = 0; r < R; r++)
			wv[r] = load_tail8(
				ty, w + (size_t)r * stride + i * size, k - i);
		step8(R, T, a, wv, x + i, ldx);
	}
	store(R, T, a, y, ldy);
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
	TILE(type, 8, 1) TILE(type, 4, 2) TILE(type, 4, 3) TILE(type, 3, 4)

TILES(F32)
TILES(F16)
TILES(BF16)

#define ROW(type)                                                              \
	[WEIGHT_##type] = {                                                    \
		.max_tokens = 4,                                               \
		.by = { [1] = { 8, tile_##type##_8_1, tile_##type##_1_1 },     \
			[2] = { 4, tile_##type##_4_2, tile_##type##_1_2 },     \
			[3] = { 4, tile_##type##_4_3, tile_##type##_1_3 },     \
			[4] = { 3, tile_##type##_3_4, tile_##type##_1_4 } },   \
	}

const struct gemm_tiles gemm_tiles_avx2[NR_GEMM_TYPES] = {
	ROW(F32),
	ROW(F16),
	ROW(BF16),
};
