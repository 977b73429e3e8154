/* SPDX-License-Identifier: MIT */
/*
 * formats.h - how numbers of a weight matrix lie in memory: a row a type.
 * A new type is one row here, one unpack function, and a matrix product for
 * it in the op sets that want speed (the others unpack and use F32's).
 */
#ifndef KERNELS_FORMATS_H
#define KERNELS_FORMATS_H

#include <stddef.h>
#include <stdint.h>

enum weight_type { WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16, NR_WEIGHT_TYPES };

struct weight_format {
	const char *name; /* as in messages and files: "F16" */
	uint32_t block;	  /* numbers that are packed together; 1 = none */
	uint32_t block_bytes;
	/*
	 * @n numbers (a multiple of block) from @src, of any alignment, as
	 * F32: exact for the types that are not quantized.
	 */
	void (*unpack)(const void *src, float *dst, size_t n);
};

extern const struct weight_format weight_formats[NR_WEIGHT_TYPES];

/* A matrix: borrowed memory of any alignment, rows row_stride bytes apart. */
struct weight {
	enum weight_type type;
	uint32_t rows, cols; /* outputs, inputs */
	size_t row_stride;
	const void *data;
};

/* Bytes of a row of @cols numbers without padding. */
static inline size_t weight_row_bytes(enum weight_type type, uint32_t cols)
{
	const struct weight_format *f = &weight_formats[type];

	return (size_t)cols / f->block * f->block_bytes;
}

/* Row @row as F32. */
static inline void weight_row(const struct weight *w, uint32_t row, float *dst)
{
	const char *src = w->data;

	weight_formats[w->type].unpack(src + row * w->row_stride, dst, w->cols);
}

#endif
