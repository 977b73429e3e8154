/* SPDX-License-Identifier: MIT */
/* words.h - the words and types that CUDA adds to C++. */
#ifndef CUEMU_WORDS_H
#define CUEMU_WORDS_H

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
	unsigned x, y, z;
	dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1)
		: x(x_), y(y_), z(z_)
	{
	}
};

struct alignas(8) uint2 {
	unsigned x, y;
};

struct alignas(16) uint4 {
	unsigned x, y, z, w;
};

struct alignas(8) float2 {
	float x, y;
};

#endif
