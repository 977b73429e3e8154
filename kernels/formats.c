/* SPDX-License-Identifier: MIT */
#include "kernels/formats.h"

#include "kernels/block128.h"
#include "kernels/half.h"
#include "kernels/quantize.h"
#include "kernels/split.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static void unpack_f32(const void *src, float *dst, size_t n)
{
	memcpy(dst, src, n * 4);
}

static void pack_f32(const float *src, void *dst, size_t n)
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

static void pack_f16(const float *src, void *dst, size_t n)
{
	char *p = dst;

	for (size_t i = 0; i < n; i++) {
		uint16_t h = f32_to_f16(src[i]);

		memcpy(p + 2 * i, &h, 2);
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

static void pack_bf16(const float *src, void *dst, size_t n)
{
	char *p = dst;

	for (size_t i = 0; i < n; i++) {
		uint16_t h = f32_to_bf16(src[i]);

		memcpy(p + 2 * i, &h, 2);
	}
}

/* Any packed type: what struct packed says.  No 0 is added where there is no
 * minimum, it would make +0 of -0. */
static void unpack(enum weight_type type, const void *src, float *dst, size_t n)
{
	const struct weight_format *f = &weight_formats[type];
	const char *p = src;
	struct packed b;

	for (size_t i = 0; i < n; i += f->block, p += f->block_bytes) {
		f->split(p, &b);
		for (uint32_t j = 0; j < f->block; j++) {
			float v = b.scale[j / f->run] * (float)b.code[j];

			dst[i + j] = f->has_min ? v + b.min[j / f->run] : v;
		}
	}
}

#define UNPACK(lower, type)                                                    \
	static void unpack_##lower(const void *src, float *dst, size_t n)      \
	{                                                                      \
		unpack(type, src, dst, n);                                     \
	}
UNPACK(q8_0, WEIGHT_Q8_0)
UNPACK(q4_0, WEIGHT_Q4_0)
UNPACK(q4_1, WEIGHT_Q4_1)
UNPACK(q5_0, WEIGHT_Q5_0)
UNPACK(q5_1, WEIGHT_Q5_1)
UNPACK(q2_k, WEIGHT_Q2_K)
UNPACK(q3_k, WEIGHT_Q3_K)
UNPACK(q4_k, WEIGHT_Q4_K)
UNPACK(q5_k, WEIGHT_Q5_K)
UNPACK(q6_k, WEIGHT_Q6_K)
UNPACK(iq4_nl, WEIGHT_IQ4_NL)
UNPACK(mxfp4, WEIGHT_MXFP4)
UNPACK(int4, WEIGHT_INT4)

/* name, number in GGUF, numbers and bytes of a block, functions, run, minimum,
 * wide */
#define PACKED(name, lower, gguf, block, bytes, run, has_min, wide)            \
	{                                                                      \
		name, gguf, block, bytes, unpack_##lower, quantize_##lower,    \
			split_##lower, run, has_min, wide                      \
	}

const struct weight_format weight_formats[NR_WEIGHT_TYPES] = {
	[WEIGHT_F32] = { "F32", 0, 1, 4, unpack_f32, pack_f32 },
	[WEIGHT_F16] = { "F16", 1, 1, 2, unpack_f16, pack_f16 },
	[WEIGHT_BF16] = { "BF16", 30, 1, 2, unpack_bf16, pack_bf16 },
	[WEIGHT_FP8] = { "FP8", WEIGHT_NO_GGUF, 128, 132, unpack_fp8,
			 quantize_fp8 },
	[WEIGHT_Q8_0] = PACKED("Q8_0", q8_0, 8, 32, 34, 32, 0, 1),
	[WEIGHT_Q4_0] = PACKED("Q4_0", q4_0, 2, 32, 18, 32, 0, 0),
	[WEIGHT_Q4_1] = PACKED("Q4_1", q4_1, 3, 32, 20, 32, 1, 0),
	[WEIGHT_Q5_0] = PACKED("Q5_0", q5_0, 6, 32, 22, 32, 0, 0),
	[WEIGHT_Q5_1] = PACKED("Q5_1", q5_1, 7, 32, 24, 32, 1, 0),
	[WEIGHT_Q2_K] = PACKED("Q2_K", q2_k, 10, 256, 84, 16, 1, 0),
	[WEIGHT_Q3_K] = PACKED("Q3_K", q3_k, 11, 256, 110, 16, 0, 0),
	[WEIGHT_Q4_K] = PACKED("Q4_K", q4_k, 12, 256, 144, 32, 1, 0),
	[WEIGHT_Q5_K] = PACKED("Q5_K", q5_k, 13, 256, 176, 32, 1, 0),
	[WEIGHT_Q6_K] = PACKED("Q6_K", q6_k, 14, 256, 210, 16, 0, 0),
	[WEIGHT_IQ4_NL] = PACKED("IQ4_NL", iq4_nl, 20, 32, 18, 32, 0, 1),
	[WEIGHT_MXFP4] = PACKED("MXFP4", mxfp4, 39, 32, 17, 32, 0, 0),
	[WEIGHT_INT4] =
		PACKED("INT4", int4, WEIGHT_NO_GGUF + 1, 128, 72, 32, 1, 0),
	[WEIGHT_INT8] = { "INT8", WEIGHT_NO_GGUF + 2, 1, 1, unpack_int8,
			  quantize_int8, .head = INT8_HEAD },
};

int weight_type_of_gguf(uint32_t gguf, enum weight_type *ret)
{
	for (int t = 0; t < NR_WEIGHT_TYPES; t++)
		if (weight_formats[t].gguf == gguf && gguf < WEIGHT_NO_GGUF) {
			*ret = (enum weight_type)t;
			return 0;
		}
	return -ENOENT;
}

int weight_type_of_name(const char *name, enum weight_type *ret)
{
	for (int t = 0; t < NR_WEIGHT_TYPES; t++)
		if (weight_in_gguf((enum weight_type)t) &&
		    !strcasecmp(weight_formats[t].name, name)) {
			*ret = (enum weight_type)t;
			return 0;
		}
	return -ENOENT;
}
