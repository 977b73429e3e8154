/* SPDX-License-Identifier: MIT */
#include "kernels/formats.h"

#include "kernels/half.h"

#include <string.h>

static void unpack_f32(const void *src, float *dst, size_t n)
{
	memcpy(dst, src, n * 4);
}

static void unpack_f16(const void *src, float *dst, size_t n)
{
	const char *p = src;
	uint16_t h;

	for (size_t i = 0; i < n; i++) {
		memcpy(&h, p + 2 * i, 2);
		dst[i] = f16_to_f32(h);
	}
}

static void unpack_bf16(const void *src, float *dst, size_t n)
{
	const char *p = src;
	uint16_t h;

	for (size_t i = 0; i < n; i++) {
		memcpy(&h, p + 2 * i, 2);
		dst[i] = bf16_to_f32(h);
	}
}

const struct weight_format weight_formats[NR_WEIGHT_TYPES] = {
	[WEIGHT_F32] = { "F32", 1, 4, unpack_f32 },
	[WEIGHT_F16] = { "F16", 1, 2, unpack_f16 },
	[WEIGHT_BF16] = { "BF16", 1, 2, unpack_bf16 },
};
