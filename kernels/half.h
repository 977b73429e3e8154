/* SPDX-License-Identifier: MIT */
/*
 * half.h - 16-bit floats to and from F32, exactly as IEEE 754 says: widening
 * loses nothing (subnormals, infinities and NaN payloads included), narrowing
 * rounds to nearest even once.  A signalling NaN of F16 becomes quiet, as F16C
 * makes it.
 */
#ifndef KERNELS_HALF_H
#define KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_from_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static inline uint32_t half_to_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static inline float f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 31, fraction = h & 1023;

	if (exponent == 31) /* infinity, or a NaN made quiet */
		return half_from_bits(sign | 0x7f800000 | fraction << 13 |
				      (fraction ? 0x400000 : 0));
	if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact */
		float f = (float)fraction * 0x1p-24f;

		return half_from_bits(sign | half_to_bits(f));
	}
	return half_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline uint16_t f32_to_f16(float f)
{
	uint32_t u = half_to_bits(f), sign = u >> 16 & 0x8000;
	uint32_t a = u & 0x7fffffff, rest;

	if (a > 0x7f800000) /* NaN: the payload's upper bits, quiet */
		return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
	if (a >= 0x477ff000) /* rounds to 65520 or more: infinity */
		return (uint16_t)(sign | 0x7c00);
	if (a < 0x38800000) { /* below 2^-14: adding 0.5 rounds at 2^-24 */
		float g = half_from_bits(a) + 0.5f;

		return (uint16_t)(sign | (half_to_bits(g) - 0x3f000000));
	}
	rest = a & 0x1fff;
	a = (a - 0x38000000) >> 13;
	a += rest > 0x1000 || (rest == 0x1000 && (a & 1));
	return (uint16_t)(sign | a);
}

static inline float bf16_to_f32(uint16_t h)
{
	return half_from_bits((uint32_t)h << 16);
}

static inline uint16_t f32_to_bf16(float f)
{
	uint32_t u = half_to_bits(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
