/* SPDX-License-Identifier: MIT */
#include "checkpoint/rope.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

/*
 * Llama 3.1: a wave that fits the trained length `high_freq` times or more is
 * kept, one that fits less than `low_freq` times is stretched by factor, and
 * between the two frequencies are mixed linearly in turns a trained length.
 */
static double llama3_frequency(const struct rope *r, double f)
{
	double turns = r->original * f / (2 * M_PI);
	double mix = (turns - r->low_freq) / (r->high_freq - r->low_freq);

	if (turns > r->high_freq)
		return f;
	if (turns < r->low_freq)
		return f / r->factor;
	return (1 - mix) * f / r->factor + mix * f;
}

/* The pair (not whole) that makes @turns turns over the trained length. */
static double yarn_pair(const struct rope *r, uint32_t dim, double turns)
{
	return dim * log(r->original / (turns * 2 * M_PI)) /
	       (2 * log(r->theta));
}

static void yarn_frequencies(const struct rope *r, uint32_t dim, double *freq)
{
	double lo = yarn_pair(r, dim, r->beta_fast);
	double hi = yarn_pair(r, dim, r->beta_slow);

	if (r->truncate) {
		lo = floor(lo);
		hi = ceil(hi);
	}
	lo = fmax(lo, 0);
	hi = fmin(hi, dim - 1);
	if (lo == hi)
		hi += 0.001; /* the ramp must have a width */
	for (uint32_t i = 0; i < dim / 2; i++) {
		double ramp = fmin(fmax((i - lo) / (hi - lo), 0), 1);

		freq[i] = freq[i] / r->factor * ramp + freq[i] * (1 - ramp);
	}
}

double rope_frequencies(const struct rope *rope, uint32_t dim, double *freq)
{
	for (uint32_t i = 0; i < dim / 2; i++) {
		double f = pow(rope->theta, -2.0 * i / dim);

		if (rope->divisor[i] > 0)
			f /= rope->divisor[i];
		if (rope->kind == ROPE_LINEAR)
			f /= rope->factor;
		else if (rope->kind == ROPE_LLAMA3)
			f = llama3_frequency(rope, f);
		freq[i] = f;
	}
	if (rope->kind != ROPE_YARN)
		return 1;
	yarn_frequencies(rope, dim, freq);
	return rope->attention;
}

#define NEAR 64u /* positions that one far angle serves */

/*
 * sin and cos of libm take 40 ns, and a context of 131,072 has four million of
 * them.  So cos and sin are asked for at every 64th position and at the first
 * 64, and the rest are products of two unit complex numbers: two roundings in
 * double more, which the rounding to float does not see.
 */
void rope_fill(const struct rope *rope, uint32_t dim, uint32_t nr_positions,
	       float *table)
{
	double freq[ROPE_MAX_DIM / 2], scale;
	double far[ROPE_MAX_DIM / 2][2], near[NEAR][ROPE_MAX_DIM / 2][2];
	uint32_t nr_pairs = dim / 2;

	assert(dim % 2 == 0 && dim <= ROPE_MAX_DIM);
	scale = rope_frequencies(rope, dim, freq);
	for (uint32_t p = 0; p < NEAR; p++)
		for (uint32_t i = 0; i < nr_pairs; i++)
			sincos(p * freq[i], &near[p][i][1], &near[p][i][0]);
	for (uint32_t p = 0; p < nr_positions; p++) {
		float *row = table + (size_t)p * dim;

		for (uint32_t i = 0; i < nr_pairs; i++) {
			double *a = far[i], *b = near[p % NEAR][i];

			if (p % NEAR == 0)
				sincos(p * freq[i], &a[1], &a[0]);
			row[2 * i] =
				(float)((a[0] * b[0] - a[1] * b[1]) * scale);
			row[2 * i + 1] =
				(float)((a[1] * b[0] + a[0] * b[1]) * scale);
		}
	}
}
