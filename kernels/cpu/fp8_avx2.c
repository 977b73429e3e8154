/* SPDX-License-Identifier: MIT */
/*
 * fp8_avx2.c - e4m3 to F32: in F16's places its bits are the number / 2^8, and
 * F16C widens subnormal ones at no price.
 */
#include "kernels/cpu/fp8.h"
#include "kernels/cpu/simd_avx2.h"

void fp8_widen_avx2(const struct weight *w, uint32_t row, float *out)
{
	const char *p = (const char *)w->data + row * w->row_stride;
	const __m128i sign = _mm_set1_epi16(0x80), rest = _mm_set1_epi16(0x7f);

	for (uint32_t i = 0; i < w->cols; i += 128, p += 132) {
		__m256 scale = _mm256_broadcast_ss((const void *)p);

		fetch(p + 4096);
		fetch(p + 4096 + 64);
		for (uint32_t j = 0; j < 128; j += 8) {
			__m128i c = _mm_cvtepu8_epi16(
				_mm_loadl_epi64((const void *)(p + 4 + j)));
			__m128i h = _mm_or_si128(
				_mm_slli_epi16(_mm_and_si128(c, sign), 8),
				_mm_slli_epi16(_mm_and_si128(c, rest), 7));
			__m256 f = _mm256_mul_ps(_mm256_cvtph_ps(h),
						 _mm256_set1_ps(256));

			_mm256_storeu_ps(out + i + j, _mm256_mul_ps(f, scale));
		}
	}
}
