/* SPDX-License-Identifier: MIT */
/* forms.h - the forms of weights that are multiplied as floats. */
#ifndef CUEMU_FORMS_H
#define CUEMU_FORMS_H

#include "kernels/cuda/cuda.h"
#include "tests/cuemu/check.h"

struct form {
	const char *name;
	enum cuda_form form;
	int bits;
};

static const struct form forms[] = {
	{ "bf16", CUDA_W_BF16, 16 },
	{ "int8", CUDA_W_INT8, 8 },
	{ "fp8", CUDA_W_FP8, 8 },
	{ "int4", CUDA_W_INT4, 4 },
	{ "f16", CUDA_W_F16, 16 },
	{ "fp8 groups", CUDA_W_FP8_GROUPS, 8 },
	{ "int4 zeros", CUDA_W_INT4_ZEROS, 4 },
};

static inline bool is_grouped(enum cuda_form form)
{
	return form == CUDA_W_INT4 || form == CUDA_W_FP8_GROUPS ||
	       form == CUDA_W_INT4_ZEROS;
}

/* 0..16, other for each group */
static inline int zero_of(enum cuda_form form, int row, int group)
{
	return form == CUDA_W_INT4_ZEROS ? (row * 7 + group * 5) % 17 : 8;
}

/* The value of a code. */
static inline double decode(enum cuda_form form, int code)
{
	int exponent = code >> 3 & 15, fraction = code & 7;

	switch (form) {
	case CUDA_W_BF16:
		return mma_widen(code);
	case CUDA_W_INT8:
		return (int8_t)code;
	case CUDA_W_FP8:
	case CUDA_W_FP8_GROUPS:
		return (code & 128 ? -1 : 1) *
		       ldexp(exponent ? fraction + 8 : fraction,
			     (exponent ? exponent : 1) - 10);
	case CUDA_W_INT4:
	case CUDA_W_INT4_ZEROS:
		return code; /* less its zero */
	case CUDA_W_F16:
		return f16_to_f32((uint16_t)code);
	default:
		return NAN;
	}
}

/* A code for noise in [-1, 1): every one of 8 and 4 bits, but e4m3's NaNs. */
static inline int encode(enum cuda_form form, float v)
{
	int code;

	if (form == CUDA_W_BF16)
		return to_bf16(v);
	if (form == CUDA_W_F16)
		return f32_to_f16(v);
	if (form == CUDA_W_INT4 || form == CUDA_W_INT4_ZEROS)
		return (int)lrintf(v * 7.5f + 7.5f);
	code = (int)floorf(v * 128) & 255;
	return form != CUDA_W_INT8 && (code & 127) == 127 ? 0 : code;
}

#endif
