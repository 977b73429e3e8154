/* SPDX-License-Identifier: MIT */
/*
 * expf.h - exp(x) for x <= 0, and what is built on it: rule F4 and F7 of
 * ops.h, in plain C.  The vector paths do the same operations in the same
 * order (cpu/simd_avx2.h, cpu/simd_avx512.h), so every path gives these bits.
 *
 * Range reduction by Cody and Waite (ln 2 in two parts, the first short enough
 * that n times it is exact), polynomial of Cephes' expf (Moshier); the error
 * is below 1.1e-7 of the value (tests/ops/test_math.c).
 */
#ifndef KERNELS_EXPF_H
#define KERNELS_EXPF_H

#include "kernels/device.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXP_LOWEST   -87.0f /* below: exactly 0 */
#define EXP_LOG2E    1.44269504088896341f
#define EXP_LN2_HIGH 0.693359375f
#define EXP_LN2_LOW  -2.12194440e-4f
#define EXP_ROUND    12582912.0f /* 1.5 * 2^23: adding it rounds to integers */
#define EXP_C7	     1.9875691500e-4f
#define EXP_C6	     1.3981999507e-3f
#define EXP_C5	     8.3334519073e-3f
#define EXP_C4	     4.1665795894e-2f
#define EXP_C3	     1.6666665459e-1f
#define EXP_C2	     5.0000001201e-1f

/* x <= 0.  NaN gives exp(EXP_LOWEST), as the vector maximum does. */
DEVICE_TOO float exp_neg(float x)
{
	int dead = x < EXP_LOWEST;
	float n, r, p;
	int32_t bits;

	x = x > EXP_LOWEST ? x : EXP_LOWEST;
	n = (x * EXP_LOG2E + EXP_ROUND) - EXP_ROUND;
	r = fmaf(-n, EXP_LN2_HIGH, x);
	r = fmaf(-n, EXP_LN2_LOW, r);
	p = EXP_C7;
	p = fmaf(p, r, EXP_C6);
	p = fmaf(p, r, EXP_C5);
	p = fmaf(p, r, EXP_C4);
	p = fmaf(p, r, EXP_C3);
	p = fmaf(p, r, EXP_C2);
	p = fmaf(p, r * r, r) + 1.0f;
	memcpy(&bits, &p, 4);
	bits += (int32_t)n * (1 << 23);
	memcpy(&p, &bits, 4);
	return dead ? 0.0f : p;
}

/* silu(g) * u: the exponential's argument is never positive. */
DEVICE_TOO float silu_mul(float g, float u)
{
	float e = exp_neg(-fabsf(g)), t = 1.0f + e;

	return (g >= 0 ? g / t : g * e / t) * u;
}

/*
 * e in 0..1.001 as a count of 2^-40, rounded to nearest even: the sum that
 * adding 6144 = 1.5 * 2^12 leaves in the low bits of a double.
 */
DEVICE_TOO uint64_t exp_mass(float e)
{
	double d = (double)e + 6144.0;
	uint64_t bits;

	memcpy(&bits, &d, 8);
	return bits - 0x40b8000000000000ull;
}

#endif
