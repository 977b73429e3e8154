/* SPDX-License-Identifier: MIT */
/*
 * mma_model.h - what one element of one mma of 16 products is, as a model of
 * the tensor core.  For the emulator and for the test that asks a GPU which
 * model is its own.
 */
#ifndef CUEMU_MMA_MODEL_H
#define CUEMU_MMA_MODEL_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

/*
 * -1: exact, rounded once.  n >= 0: every term is cut to the largest term's
 * last place / 2^n and the sum is cut to F32, which is the shape that published
 * probes give for tensor cores.  test_mma says on a GPU which n it has; with
 * that here, host and GPU agree on every bit of every kernel.
 */
inline int mma_bits = -1;

/* The same of wgmma; WGMMA_AS_MMA: what mma has. */
#define WGMMA_AS_MMA -2
inline int wgmma_bits = WGMMA_AS_MMA;

inline float mma_widen(uint32_t bf16)
{
	uint32_t u = bf16 << 16;
	float f;

	memcpy(&f, &u, 4);
	return f;
}

/* c + the sum of a[i] * b[i] */
inline float mma_element(float c, const float a[16], const float b[16],
			 int bits = mma_bits)
{
	double p[17], exact = 0, sum = 0;
	int top = -1000;
	float r;

	p[16] = c;
	for (int i = 0; i < 16; i++)
		p[i] = (double)a[i] * b[i];
	for (double v : p)
		exact += v;
	if (bits < 0 || !std::isfinite(exact))
		return (float)exact;
	for (double v : p)
		if (v != 0)
			top = std::max(top, std::ilogb(v));
	if (top == -1000)
		return (float)exact;
	for (double v : p)
		sum += std::trunc(std::ldexp(v, 23 + bits - top));
	r = (float)sum; /* |sum| < 2^(29+n), exact in double: now to 24 bits */
	if (std::fabs((double)r) > std::fabs(sum))
		r = std::nextafterf(r, 0);
	return std::ldexp(r, top - 23 - bits);
}

#endif
