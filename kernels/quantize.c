/* SPDX-License-Identifier: MIT */
/*
 * quantize.c - the types of 32 with one division a block, operation by
 * operation as gguf-py's quants.py (MIT); the K types (Kawrakow's, in ggml) by
 * two searches over a run: scales near the obvious one are tried, the codes
 * rounded, the scale (and minimum) of least squared error for these codes
 * solved, the best kept.  Then the scales themselves are rounded and the codes
 * are taken again for what the scales have become.
 */
#include "kernels/quantize.h"

#include "kernels/half.h"
#include "kernels/split.h"

#include <math.h>
#include <string.h>

/* The nearest integer, ties to even, of |x| < 2^22 (rintf() is a call). */
static int nearest(float x)
{
	return (int)((x + 12582912.0f) - 12582912.0f);
}

static int clamp(int v, int lo, int hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

static int round_to(float x, int lo, int hi)
{
	return x <= (float)lo ? lo : x >= (float)hi ? hi : nearest(x);
}

/* 1 / d, and 0 where that is none */
static float inverse(float d)
{
	float r = d == 0 ? 0 : 1 / d;

	return isfinite(r) ? r : 0;
}

/* @f as F16 at @p, at most the largest; returns what it has become. */
static float put_f16(uint8_t *p, float f)
{
	uint16_t h = f32_to_f16(f > 65504.0f	? 65504.0f
				: f < -65504.0f ? -65504.0f
						: f);

	p[0] = (uint8_t)h;
	p[1] = (uint8_t)(h >> 8);
	return f16_to_f32(h);
}

/* The number of largest size (the first of them), with its sign. */
static float largest(const float *x, int n)
{
	float max = 0;

	for (int i = 0; i < n; i++)
		if (fabsf(x[i]) > fabsf(max))
			max = x[i];
	return max;
}

static void range(const float *x, int n, float *lo, float *hi)
{
	*lo = *hi = x[0];
	for (int i = 1; i < n; i++) {
		*lo = x[i] < *lo ? x[i] : *lo;
		*hi = x[i] > *hi ? x[i] : *hi;
	}
}

/* ---- blocks of 32 ---- */

void quantize_q8_0(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst;

	for (size_t i = 0; i < n; i += 32, p += 34) {
		float d = fabsf(largest(src + i, 32)) / 127, id = inverse(d);

		put_f16(p, d);
		for (int j = 0; j < 32; j++) /* ties away from zero */
			p[2 + j] = (uint8_t)clamp((int)roundf(src[i + j] * id),
						  -127, 127);
	}
}

/* code[i] = x[i] * id + half, cut, 0..hi */
static void codes32(const float *x, float less, float id, float half, int hi,
		    uint8_t code[32])
{
	for (int i = 0; i < 32; i++)
		code[i] =
			(uint8_t)clamp((int)((x[i] - less) * id + half), 0, hi);
}

static void put_nibbles32(const uint8_t code[32], uint8_t *p)
{
	for (int i = 0; i < 16; i++)
		p[i] = (uint8_t)((code[i] & 15) | code[i + 16] << 4);
}

static void put_fifth_bits(const uint8_t code[32], uint8_t *p)
{
	memset(p, 0, 4);
	for (int i = 0; i < 32; i++)
		p[i / 8] |= (uint8_t)(code[i] >> 4 << i % 8);
}

void quantize_q4_0(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[32];

	for (size_t i = 0; i < n; i += 32, p += 18) {
		float d = largest(src + i, 32) / -8;

		put_f16(p, d);
		codes32(src + i, 0, inverse(d), 8.5f, 15, code);
		put_nibbles32(code, p + 2);
	}
}

void quantize_q4_1(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[32];

	for (size_t i = 0; i < n; i += 32, p += 20) {
		float lo, hi, d;

		range(src + i, 32, &lo, &hi);
		d = (hi - lo) / 15;
		put_f16(p, d);
		put_f16(p + 2, lo);
		codes32(src + i, lo, inverse(d), 0.5f, 15, code);
		put_nibbles32(code, p + 4);
	}
}

void quantize_q5_0(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[32];

	for (size_t i = 0; i < n; i += 32, p += 22) {
		float d = largest(src + i, 32) / -16;

		put_f16(p, d);
		codes32(src + i, 0, inverse(d), 16.5f, 31, code);
		put_fifth_bits(code, p + 2);
		put_nibbles32(code, p + 6);
	}
}

void quantize_q5_1(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[32];

	for (size_t i = 0; i < n; i += 32, p += 24) {
		float lo, hi, d;

		range(src + i, 32, &lo, &hi);
		d = (hi - lo) / 31;
		put_f16(p, d);
		put_f16(p + 2, lo);
		codes32(src + i, lo, inverse(d), 0.5f, 31, code);
		put_fifth_bits(code, p + 4);
		put_nibbles32(code, p + 8);
	}
}

/* The index of the code nearest to @x, the first of equals. */
static uint8_t nearest_code(float x, float scale, const int8_t codes[16])
{
	float best = INFINITY;
	uint8_t at = 0;

	for (uint8_t i = 0; i < 16; i++) {
		float e = fabsf(scale * (float)codes[i] - x);

		if (e < best) {
			best = e;
			at = i;
		}
	}
	return at;
}

void quantize_mxfp4(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[32];

	for (size_t i = 0; i < n; i += 32, p += 17) {
		float max = fabsf(largest(src + i, 32)), d;

		p[0] = max > 0 ? (uint8_t)clamp((int)floorf(log2f(max)) + 125,
						0, 254)
			       : 0;
		d = mxfp4_scale(p[0]);
		for (int j = 0; j < 32; j++)
			code[j] = nearest_code(src[i + j], d, mxfp4_codes);
		put_nibbles32(code, p + 1);
	}
}

/* d of the least squared error for the indices that scale @id gives. */
static float iq4_nl_try(const float *x, float id, float *ret_gain)
{
	float xc = 0, cc = 0;

	for (int i = 0; i < 32; i++) {
		uint8_t at = nearest_code(x[i] * id, 1, iq4_nl_codes);
		float c = iq4_nl_codes[at];

		xc += x[i] * c;
		cc += c * c;
	}
	*ret_gain = cc > 0 ? xc / cc * xc : 0;
	return cc > 0 ? xc / cc : 0;
}

void quantize_iq4_nl(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[32];

	for (size_t i = 0; i < n; i += 32, p += 18) {
		float im = inverse(largest(src + i, 32)), best = 0, d = 0;

		/* the largest becomes one of the ends, or nearly */
		for (int end = -127; end <= 113; end += 240)
			for (int t = -7; t <= 7; t++) {
				float gain,
					s = iq4_nl_try(src + i,
						       (float)(end + t) * im,
						       &gain);

				if (gain > best) {
					best = gain;
					d = s;
				}
			}
		d = put_f16(p, d);
		for (int j = 0; j < 32; j++)
			code[j] = nearest_code(src[i + j], d, iq4_nl_codes);
		put_nibbles32(code, p + 2);
	}
}

/* ---- the K types: the scale of a run ---- */

/* x = s * code, codes -hi..hi-1: s of the least squared error found */
static float fit_scale(const float *x, int n, int hi)
{
	float im = inverse(largest(x, n)), best = 0, s = 0;

	for (int t = -9; t <= 9; t++) {
		float id = -((float)hi + 0.1f * (float)t) * im;
		float xc = 0, cc = 0;

		for (int i = 0; i < n; i++) {
			float c = (float)round_to(x[i] * id, -hi, hi - 1);

			xc += x[i] * c;
			cc += c * c;
		}
		if (cc > 0 && xc / cc * xc > best) {
			best = xc / cc * xc;
			s = xc / cc;
		}
	}
	return s;
}

/* Sums over the codes c that (x - lo) * id gives: solve x = s * c + m, m <= 0 */
static float solve(const float *x, int n, int hi, float lo, float id, float *s,
		   float *m)
{
	float c1 = 0, c2 = 0, x1 = 0, xc = 0, det, error = 0;
	float code[32];

	for (int i = 0; i < n; i++) {
		float c = code[i] = (float)round_to((x[i] - lo) * id, 0, hi);

		c1 += c;
		c2 += c * c;
		x1 += x[i];
		xc += x[i] * c;
	}
	det = (float)n * c2 - c1 * c1;
	*s = det > 0 ? ((float)n * xc - x1 * c1) / det : 0;
	*m = det > 0 ? (c2 * x1 - c1 * xc) / det : x1 / (float)n;
	if (*m > 0) {
		*m = 0;
		*s = c2 > 0 ? xc / c2 : 0;
	}
	for (int i = 0; i < n; i++) {
		float e = *s * code[i] + *m - x[i];

		error += e * e;
	}
	return error;
}

/* x = s * code - min, codes 0..hi, s and min >= 0; returns s */
static float fit_min(const float *x, int n, int hi, float *ret_min)
{
	float lo, up, best = INFINITY, s = 0, m = 0, is;

	range(x, n, &lo, &up);
	lo = lo > 0 ? 0 : lo;
	is = inverse(up - lo);
	for (int t = -10; t <= 10; t++) {
		float id = ((float)hi + 0.1f * (float)t) * is, ts, tm, error;

		error = solve(x, n, hi, lo, id, &ts, &tm);
		if (error < best && ts >= 0) {
			best = error;
			s = ts;
			m = tm;
		}
	}
	*ret_min = m < 0 ? -m : 0;
	return s;
}

/* ---- the K types: their bits ---- */

static void put_nibbles256(const uint8_t *code, uint8_t *p)
{
	for (int i = 0; i < 128; i++) {
		int at = i / 32 * 64 + i % 32;

		p[i] = (uint8_t)((code[at] & 15) | (code[at + 32] & 15) << 4);
	}
}

static void put_pairs256(const uint8_t *code, uint8_t *p)
{
	memset(p, 0, 64);
	for (int i = 0; i < 256; i++)
		p[i / 128 * 32 + i % 32] |=
			(uint8_t)((code[i] & 3) << i % 128 / 32 * 2);
}

/* bit @bit of each code: bit i / 32 of byte i % 32 */
static void put_bits256(const uint8_t *code, int bit, uint8_t *p)
{
	memset(p, 0, 32);
	for (int i = 0; i < 256; i++)
		p[i % 32] |= (uint8_t)((code[i] >> bit & 1) << i / 32);
}

/* A block of scales and minima, both 0..most: *at takes d, dmin; codes 0..hi */
struct with_min {
	uint8_t scale[16], min[16], code[256];
};

static void fit_with_min(const float *x, int run, int most, int hi, uint8_t *at,
			 struct with_min *w)
{
	float s[16], m[16], max_s = 0, max_m = 0, d, dmin;
	int nr = 256 / run;

	for (int r = 0; r < nr; r++) {
		s[r] = fit_min(x + r * run, run, hi, &m[r]);
		max_s = s[r] > max_s ? s[r] : max_s;
		max_m = m[r] > max_m ? m[r] : max_m;
	}
	d = put_f16(at, max_s / (float)most);
	dmin = put_f16(at + 2, max_m / (float)most);
	for (int r = 0; r < nr; r++) {
		float scale, min;

		w->scale[r] = (uint8_t)round_to(s[r] * inverse(d), 0, most);
		w->min[r] = (uint8_t)round_to(m[r] * inverse(dmin), 0, most);
		scale = inverse(d * (float)w->scale[r]);
		min = dmin * (float)w->min[r];
		for (int i = 0; i < run; i++)
			w->code[r * run + i] = (uint8_t)round_to(
				(x[r * run + i] + min) * scale, 0, hi);
	}
}

/* The same without minima: scales -most..most-1, codes shifted to 0..2hi-1 */
static void fit_signed(const float *x, int most, int hi, uint8_t *at,
		       int8_t scale[16], uint8_t code[256])
{
	float s[16], d;

	for (int r = 0; r < 16; r++)
		s[r] = fit_scale(x + r * 16, 16, hi);
	d = put_f16(at, largest(s, 16) / -(float)most);
	for (int r = 0; r < 16; r++) {
		float id;

		scale[r] = (int8_t)round_to(s[r] * inverse(d), -most, most - 1);
		id = inverse(d * (float)scale[r]);
		for (int i = r * 16; i < r * 16 + 16; i++)
			code[i] = (uint8_t)(round_to(x[i] * id, -hi, hi - 1) +
					    hi);
	}
}

/* eight scales and minima of 6 bits in 12 bytes */
static void put_scales_k(const struct with_min *w, uint8_t *p)
{
	for (int i = 0; i < 4; i++) {
		p[i] = (uint8_t)(w->scale[i] | w->scale[i + 4] >> 4 << 6);
		p[i + 4] = (uint8_t)(w->min[i] | w->min[i + 4] >> 4 << 6);
		p[i + 8] = (uint8_t)((w->scale[i + 4] & 15) |
				     (w->min[i + 4] & 15) << 4);
	}
}

void quantize_q2_k(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst;
	struct with_min w;

	for (size_t i = 0; i < n; i += 256, p += 84) {
		fit_with_min(src + i, 16, 15, 3, p + 80, &w);
		for (int r = 0; r < 16; r++)
			p[r] = (uint8_t)(w.scale[r] | w.min[r] << 4);
		put_pairs256(w.code, p + 16);
	}
}

void quantize_q3_k(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[256];
	int8_t scale[16];

	for (size_t i = 0; i < n; i += 256, p += 110) {
		uint8_t *s = p + 96;

		fit_signed(src + i, 32, 4, p + 108, scale, code);
		memset(s, 0, 12);
		for (int r = 0; r < 16; r++) {
			int v = scale[r] + 32;

			s[r % 8] |= (uint8_t)((v & 15) << r / 8 * 4);
			s[8 + r % 4] |= (uint8_t)(v >> 4 << r / 4 * 2);
		}
		put_bits256(code, 2, p);
		put_pairs256(code, p + 32);
	}
}

void quantize_q4_k(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst;
	struct with_min w;

	for (size_t i = 0; i < n; i += 256, p += 144) {
		fit_with_min(src + i, 32, 63, 15, p, &w);
		put_scales_k(&w, p + 4);
		put_nibbles256(w.code, p + 16);
	}
}

void quantize_q5_k(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst;
	struct with_min w;

	for (size_t i = 0; i < n; i += 256, p += 176) {
		fit_with_min(src + i, 32, 63, 31, p, &w);
		put_scales_k(&w, p + 4);
		put_bits256(w.code, 4, p + 16);
		put_nibbles256(w.code, p + 48);
	}
}

void quantize_q6_k(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[256];
	int8_t scale[16];

	for (size_t i = 0; i < n; i += 256, p += 210) {
		fit_signed(src + i, 128, 32, p + 208, scale, code);
		memset(p, 0, 192);
		memcpy(p + 192, scale, 16);
		for (int j = 0; j < 256; j++) {
			int half = j / 128, in = j % 128;

			p[half * 64 + in % 64] |=
				(uint8_t)((code[j] & 15) << in / 64 * 4);
			p[128 + half * 32 + in % 32] |=
				(uint8_t)(code[j] >> 4 << in / 32 * 2);
		}
	}
}
