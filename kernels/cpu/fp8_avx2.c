/* SPDX-License-Identifier: MIT */
/*
 * fp8_avx2.c - e4m3 to F32: in F16's places its bits are the number / 2^8, and
 * F16C widens subnormal ones at no price.  The 2^8 goes to the scale, which
 * stays exact: it is below 2^120, or numbers of e4m3 times it were not finite.
 */
#include "kernels/cpu/fp8.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd_avx2.h"

/* Eight codes, each in the upper byte of 16 bits: bit 14 of F16 is none of
 * theirs, and the shift has put the sign there. */
INLINE __m256 widen8(__m128i code)
{
	return _mm256_cvtph_ps(_mm_and_si128(_mm_srai_epi16(code, 1),
					     _mm_set1_epi16((short)0xbfff)));
}

/* Row @row of @w as F32. */
static void widen(const struct weight *w, uint32_t row, float *out)
{
	const char *p = (const char *)w->data + row * w->row_stride;
	const __m128i zero = _mm_setzero_si128();

	for (uint32_t i = 0; i < w->cols; i += 128, p += 132) {
		__m256 scale =
			_mm256_mul_ps(_mm256_broadcast_ss((const void *)p),
				      _mm256_set1_ps(256));

		fetch(p + 4096);
		fetch(p + 4096 + 64);
		for (uint32_t j = 0; j < 128; j += 16) {
			__m128i c = _mm_loadu_si128((const void *)(p + 4 + j));
			float *to = out + i + j;

			_mm256_storeu_ps(
				to, _mm256_mul_ps(
					    widen8(_mm_unpacklo_epi8(zero, c)),
					    scale));
			_mm256_storeu_ps(to + 8,
					 _mm256_mul_ps(widen8(_mm_unpackhi_epi8(
							       zero, c)),
						       scale));
		}
	}
}

/* Rows are not a power of two apart: that would make them share cache sets. */
static size_t distance(uint32_t cols)
{
	return (size_t)cols + 16;
}

size_t fp8_panel_bytes_avx2(uint32_t cols)
{
	return GEMM_UNIT * distance(cols) * sizeof(float);
}

void fp8_rows_avx2(const struct gemm_tiles *tiles, const struct weight *w,
		   uint32_t first, uint32_t end, const float *x, size_t ldx,
		   uint32_t tokens, float *y, size_t ldy, float *panel)
{
	size_t ld = distance(w->cols);
	struct weight f32 = {
		.type = WEIGHT_F32,
		.cols = w->cols,
		.row_stride = ld * sizeof(float),
		.data = panel,
	};

	for (uint32_t r = first; r < end; r += f32.rows) {
		f32.rows = end - r < GEMM_UNIT ? end - r : GEMM_UNIT;
		for (uint32_t i = 0; i < f32.rows; i++)
			widen(w, r + i, panel + i * ld);
		gemm_rows(tiles, &f32, 0, f32.rows, x, ldx, tokens, y + r, ldy);
	}
}
