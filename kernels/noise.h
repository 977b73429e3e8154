/* SPDX-License-Identifier: MIT */
/*
 * noise.h - the luck of sampling: a function of (seed, position, token id)
 * and nothing else, with the same bits on every machine.  Restarts, other
 * batches, other threads, speculation: the same noise, so the same token.
 *
 * Bits: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
 * as easy as 1, 2, 3", SC11): a bijection of the counter keyed by the seed;
 * it passes BigCrush, needs no state, and 32-bit multiplies are all it uses.
 * Key = seed; counter = (id / 2, position, NOISE_GUMBEL, 0); of the four words
 * the even id takes the first two, the odd id the others.
 *
 * Gumbel: -ln(-ln u), u = (2k + 1) * 2^-53 with k the upper 52 bits: never 0,
 * never 1, exact, symmetric; the largest value is 36.7, the smallest -3.6, so
 * that no token of a probability above 2^-53 is out of reach.
 *
 * The logarithm is our own and uses only + - * /, which IEEE 754 defines to
 * the bit (built with -ffp-contract=off; on a device with -fmad=false).
 */
#ifndef KERNELS_NOISE_H
#define KERNELS_NOISE_H

#include "kernels/device.h"

#include <stdint.h>
#include <string.h>

#define NOISE_GUMBEL 0x67756d62u /* "gumb": other purposes, other counters */

/* Philox4x32 with ten rounds: @c is the counter, then the result. */
DEVICE_TOO void noise_philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xd2511f53u * c[0];
		uint64_t b = (uint64_t)0xcd9e8d57u * c[2];

		c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
		c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
		c[1] = (uint32_t)b;
		c[3] = (uint32_t)a;
		k0 += 0x9e3779b9u; /* golden ratio, sqrt(3) - 1: as published */
		k1 += 0xbb67ae85u;
	}
}

/* 64 random bits of (seed, position, id). */
DEVICE_TOO uint64_t noise_bits(uint64_t seed, uint32_t position, uint32_t id)
{
	uint32_t c[4] = { id / 2, position, NOISE_GUMBEL, 0 };

	noise_philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
	return id & 1 ? (uint64_t)c[3] << 32 | c[2]
		      : (uint64_t)c[1] << 32 | c[0];
}

/*
 * ln x of a normal positive x, error below 2 ulp, near 1 too: x = m * 2^e
 * with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1),
 * s^2 < 0.0295, by its Taylor series to s^21.
 */
DEVICE_TOO double noise_log(double x)
{
	static const double c[] = { 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15,
				    2.0 / 13, 2.0 / 11, 2.0 / 9,  2.0 / 7,
				    2.0 / 5,  2.0 / 3 };
	uint64_t bits;
	double m, f, s, z, p;
	int e;

	memcpy(&bits, &x, 8);
	e = (int)(bits >> 52) - 1023;
	bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
	memcpy(&m, &bits, 8);
	if (m > 0x1.6a09e667f3bcdp+0) {
		m = m * 0.5;
		e++;
	}
	f = m - 1.0;
	s = f / (2.0 + f);
	z = s * s;
	p = c[0];
	for (int i = 1; i < 10; i++)
		p = p * z + c[i];
	/* ln 2 = high + low; e * high is exact */
	return e * 0x1.62e42feep-1 +
	       (2.0 * s + (s * z * p + e * 0x1.a39ef35793c76p-33));
}

/* u of the head comment; t = 1 - u is exact too */
DEVICE_TOO double noise_uniform(uint64_t bits)
{
	return (double)((bits >> 12) * 2 + 1) * 0x1p-53;
}

DEVICE_TOO double noise_gumbel(uint64_t seed, uint32_t position, uint32_t id)
{
	double u = noise_uniform(noise_bits(seed, position, id));

	return -noise_log(-noise_log(u));
}

#endif
