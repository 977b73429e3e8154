/* SPDX-License-Identifier: MIT */
/*
 * vector_avx2.c - what runs along one row: norm, rope, swiglu, and the passes
 * over a row of logits.  All are bound by memory (a row of logits of 128k ids
 * is 512 KB: second cache), but next_lucky: ten rounds of Philox for eight ids
 * are 80 instructions.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/logits.h"
#include "kernels/noise.h"

static void norm_avx2(const float *x, const float *w, uint32_t n, float eps,
		      float *out)
{
	__m256 sum = _mm256_setzero_ps(), r8;
	uint32_t i = 0;
	float r;

	for (; i + 8 <= n; i += 8) {
		__m256 v = _mm256_loadu_ps(x + i);

		sum = _mm256_fmadd_ps(v, v, sum);
	}
	if (i < n) {
		__m256 v = load_tail8(WEIGHT_F32, x + i, n - i);

		sum = _mm256_fmadd_ps(v, v, sum);
	}
	r = 1.0f / sqrtf(sum8(sum) / (float)n + eps);
	r8 = _mm256_set1_ps(r);
	for (i = 0; i + 8 <= n; i += 8)
		_mm256_storeu_ps(
			out + i,
			_mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), r8),
				      _mm256_loadu_ps(w + i)));
	for (; i < n; i++)
		out[i] = x[i] * r * w[i];
}

static void rope_avx2(float *x, const float *table, uint32_t rotary_dim)
{
	uint32_t half = rotary_dim / 2, i = 0;
	float *y = x + half;

	for (; i + 8 <= half; i += 8) {
		__m256 t0 = _mm256_loadu_ps(table + 2 * i);
		__m256 t1 = _mm256_loadu_ps(table + 2 * i + 8);
		__m256 lo = _mm256_permute2f128_ps(t0, t1, 0x20);
		__m256 hi = _mm256_permute2f128_ps(t0, t1, 0x31);
		__m256 c = _mm256_shuffle_ps(lo, hi, 0x88);
		__m256 s = _mm256_shuffle_ps(lo, hi, 0xdd);
		__m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(y + i);

		_mm256_storeu_ps(x + i,
				 _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
		_mm256_storeu_ps(y + i,
				 _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
	}
	for (; i < half; i++) {
		float c = table[2 * i], s = table[2 * i + 1];
		float a = x[i], b = y[i];

		x[i] = fmaf(a, c, -(b * s));
		y[i] = fmaf(b, c, a * s);
	}
}

static void silu_mul_avx2(float *g, const float *u, uint32_t n)
{
	uint32_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(g + i, silu_mul8(_mm256_loadu_ps(g + i),
						  _mm256_loadu_ps(u + i)));
	for (; i < n; i++)
		g[i] = silu_mul(g[i], u[i]);
}

static void halves_avx2(const float *x, uint32_t n, uint16_t *out)
{
	const __m256 most = _mm256_set1_ps(65504.0f);
	const __m256 least = _mm256_set1_ps(-65504.0f);

	for (uint32_t i = 0; i < n; i += 8) {
		/* NaN, the second, stays */
		__m256 v = _mm256_min_ps(most, _mm256_loadu_ps(x + i));

		v = _mm256_max_ps(least, v);
		_mm_storeu_si128((void *)(out + i),
				 _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
	}
}

static float clean_avx2(const float *src, float *dst, uint32_t n)
{
	const __m256 lowest = _mm256_set1_ps(-INFINITY);
	const __m256 highest = _mm256_set1_ps(FLT_MAX);
	__m256 max = lowest;
	uint32_t i = 0;
	float m;

	for (; i + 8 <= n; i += 8) {
		__m256 v = _mm256_loadu_ps(src + i);
		__m256 number = _mm256_cmp_ps(v, v, _CMP_ORD_Q);

		v = _mm256_blendv_ps(lowest, _mm256_min_ps(v, highest), number);
		max = _mm256_max_ps(max, v);
		_mm256_storeu_ps(dst + i, v);
	}
	m = max8(max);
	for (; i < n; i++) {
		dst[i] = logits_clean(src[i]);
		m = dst[i] > m ? dst[i] : m;
	}
	return m;
}

static uint32_t argmax_avx2(const float *l, uint32_t n, float *ret_max)
{
	__m256 max = _mm256_set1_ps(-INFINITY), m8;
	uint32_t i = 0;
	float m;

	for (; i + 8 <= n; i += 8)
		max = _mm256_max_ps(max, _mm256_loadu_ps(l + i));
	m = max8(max);
	for (; i < n; i++)
		m = l[i] > m ? l[i] : m;
	*ret_max = m;
	m8 = _mm256_set1_ps(m);
	for (i = 0; i + 8 <= n; i += 8) {
		int equal = _mm256_movemask_ps(
			_mm256_cmp_ps(_mm256_loadu_ps(l + i), m8, _CMP_EQ_OQ));

		if (equal)
			return i + (uint32_t)__builtin_ctz((unsigned)equal);
	}
	while (i < n && l[i] != m)
		i++;
	return i;
}

static void exp_all_avx2(const float *l, uint32_t n, float max,
			 float temperature, float *e)
{
	const __m256 m8 = _mm256_set1_ps(max);
	const __m256 t8 = _mm256_set1_ps(temperature);
	uint32_t i = 0;

	for (; i + 8 <= n; i += 8) {
		__m256 z = _mm256_sub_ps(_mm256_loadu_ps(l + i), m8);

		_mm256_storeu_ps(e + i, exp8(_mm256_div_ps(z, t8)));
	}
	for (; i < n; i++)
		e[i] = exp_neg((l[i] - max) / temperature);
}

/* exp_mass() of four */
INLINE __m256i mass4(__m128 e)
{
	__m256d d = _mm256_add_pd(_mm256_cvtps_pd(e), _mm256_set1_pd(6144.0));

	return _mm256_sub_epi64(_mm256_castpd_si256(d),
				_mm256_set1_epi64x(0x40b8000000000000));
}

static uint64_t mass_sum_avx2(const float *l, uint32_t n, float max)
{
	const __m256 m8 = _mm256_set1_ps(max);
	__m256i sum = _mm256_setzero_si256();
	uint64_t part[4], total;
	uint32_t i = 0;

	for (; i + 8 <= n; i += 8) {
		__m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(l + i), m8));

		sum = _mm256_add_epi64(sum, mass4(_mm256_castps256_ps128(e)));
		sum = _mm256_add_epi64(sum, mass4(_mm256_extractf128_ps(e, 1)));
	}
	_mm256_storeu_si256((__m256i *)(void *)part, sum);
	total = part[0] + part[1] + part[2] + part[3];
	for (; i < n; i++)
		total += exp_mass(exp_neg(l[i] - max));
	return total;
}

/*
 * noise_philox() for counters of four neighbouring pairs of ids, a 64-bit lane
 * each, of which only the lower halves count: the upper bits of noise_bits()
 * of eight ids in their order.
 */
INLINE __m256i upper_bits8(uint64_t seed, uint32_t position, uint32_t first)
{
	const __m256i m0 = _mm256_set1_epi64x(0xd2511f53);
	const __m256i m1 = _mm256_set1_epi64x(0xcd9e8d57);
	__m256i c0 = _mm256_add_epi64(_mm256_set1_epi64x(first / 2),
				      _mm256_setr_epi64x(0, 1, 2, 3));
	__m256i c1 = _mm256_set1_epi64x(position);
	__m256i c2 = _mm256_set1_epi64x(NOISE_GUMBEL);
	__m256i c3 = _mm256_setzero_si256();
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

#pragma GCC unroll 10
	for (int round = 0; round < 10; round++) {
		__m256i a = _mm256_mul_epu32(c0, m0);
		__m256i b = _mm256_mul_epu32(c2, m1);

		c0 = _mm256_xor_si256(_mm256_srli_epi64(b, 32),
				      _mm256_xor_si256(c1,
						       _mm256_set1_epi64x(k0)));
		c2 = _mm256_xor_si256(_mm256_srli_epi64(a, 32),
				      _mm256_xor_si256(c3,
						       _mm256_set1_epi64x(k1)));
		c1 = b;
		c3 = a;
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
	return _mm256_blend_epi32(c1, _mm256_slli_epi64(c3, 32), 0xaa);
}

static uint32_t next_lucky_avx2(uint64_t seed, uint32_t position,
				const float *e, uint32_t first, uint32_t end,
				float ceiling)
{
	/*
	 * 1 - u is at least the complement of the upper 32 bits; halved, so
	 * that it converts as a signed number
	 */
	const __m256 scale = _mm256_set1_ps(0x1p-31f);
	const __m256 ceiling8 = _mm256_set1_ps(ceiling);
	const __m256i ones = _mm256_set1_epi32(-1);
	uint32_t i = first / 8 * 8, skip = first % 8;

	for (; i < end; i += 8, skip = 0) {
		__m256i rest =
			_mm256_xor_si256(upper_bits8(seed, position, i), ones);
		__m256 chance = _mm256_mul_ps(
			_mm256_cvtepi32_ps(_mm256_srli_epi32(rest, 1)), scale);
		__m256 limit = _mm256_mul_ps(_mm256_loadu_ps(e + i), ceiling8);
		uint32_t lucky = (uint32_t)_mm256_movemask_ps(
			_mm256_cmp_ps(chance, limit, _CMP_LE_OQ));

		lucky = lucky >> skip << skip;
		if (lucky) {
			i += (uint32_t)__builtin_ctz(lucky);
			return i < end ? i : end;
		}
	}
	return end;
}

const struct cpu_kernels cpu_kernels_avx2 = {
	.gemm = gemm_tiles_avx2,
	.packed = &packed_avx2,
	.norm = norm_avx2,
	.rope = rope_avx2,
	.halves = halves_avx2,
	.silu_mul = silu_mul_avx2,
	.attn_block = attn_block_avx2,
	.attn_fold = attn_fold_avx2,
	.clean = clean_avx2,
	.argmax = argmax_avx2,
	.exp_all = exp_all_avx2,
	.mass_sum = mass_sum_avx2,
	.next_lucky = next_lucky_avx2,
};
