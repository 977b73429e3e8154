/* SPDX-License-Identifier: MIT */
/*
 * formats.h - how numbers of a weight matrix lie in memory: a row a type.
 * Plain types (F32, F16, BF16, FP8) are multiplied as numbers.  Packed types
 * are ggml's and INT4: blocks of 32, 128 or 256 numbers, stored as small
 * integers (codes) with a scale, and for some a minimum, for each run of 16 or
 * 32 of them:
 *
 *	number[i] = code[i] * scale[i / run] (+ min[i / run])
 *
 * struct packed (split.h) says that of any block of any packed type; what is
 * computed from it is defined in kernels/ops.h.  Bytes of a block, in their
 * order (f16: two bytes, little endian; after ggml's ggml-common.h, MIT):
 *
 *	Q8_0	d f16, code i8[32]
 *	Q4_0	d f16, code u4[32] - 8
 *	Q4_1	d f16, m f16, code u4[32]
 *	Q5_0	d f16, bit 4 u32, code u4[32] - 16
 *	Q5_1	d f16, m f16, bit 4 u32, code u4[32]
 *	Q2_K	(scale u4, min u4)[16], code u2[256], d f16, dmin f16
 *	Q3_K	bit 2 [256], code u2[256] - 4, scale (u6 - 32)[16], d f16
 *	Q4_K	d f16, dmin f16, (scale u6, min u6)[8], code u4[256]
 *	Q5_K	d f16, dmin f16, (scale u6, min u6)[8], bit 4 [256], code u4[256]
 *	Q6_K	code u4[256] - 32, bits 4 and 5 [256], scale i8[16], d f16
 *	IQ4_NL	d f16, index u4[32] into 16 fixed codes
 *	MXFP4	e u8: scale 2^(e - 128), index u4[32] into twice E2M1's values
 *
 * and what safetensors files have and GGUF has not (checkpoint/quant.h), put
 * into blocks when it is loaded (block128.h):
 *
 *	FP8	d f32, code e4m3[128]: number = F32(code) * d, rounded once; the
 *		codes 0x7f and 0xff, elsewhere NaN, do not occur (and are 480)
 *	INT4	d f32, zero u8, 0[3], code u4[128]: minimum -zero * d
 *
 * and INT8 (W8A8), where a whole row has one scale: d f32, then a code i8 a
 * number, as many as there are columns.
 *
 * A new type is one row here, one function that splits a block, one that packs
 * it, and its tile in the op sets that want speed.
 */
#ifndef KERNELS_FORMATS_H
#define KERNELS_FORMATS_H

#include <stddef.h>
#include <stdint.h>

enum weight_type {
	WEIGHT_F32,
	WEIGHT_F16,
	WEIGHT_BF16,
	WEIGHT_FP8,
	NR_PLAIN_TYPES, /* of the types before; the packed ones begin here */
	WEIGHT_Q8_0 = NR_PLAIN_TYPES,
	WEIGHT_Q4_0,
	WEIGHT_Q4_1,
	WEIGHT_Q5_0,
	WEIGHT_Q5_1,
	WEIGHT_Q2_K,
	WEIGHT_Q3_K,
	WEIGHT_Q4_K,
	WEIGHT_Q5_K,
	WEIGHT_Q6_K,
	WEIGHT_IQ4_NL,
	WEIGHT_MXFP4,
	WEIGHT_INT4,
	WEIGHT_INT8,
	NR_WEIGHT_TYPES
};

/* From here on a format's number is one that no GGUF file has. */
#define WEIGHT_NO_GGUF 256u

struct packed; /* split.h */

struct weight_format {
	const char *name; /* as in messages and files: "F16", "Q4_K" */
	uint32_t gguf;	  /* its number in GGUF files (ggml_type), or above */
	uint32_t block;	  /* numbers that are packed together; 1 = none */
	uint32_t block_bytes;
	/*
	 * @n numbers (a multiple of block; of INT8 a whole row) from @src, of
	 * any alignment, as F32: exact for the plain types, bit for bit ggml's
	 * for its own.
	 */
	void (*unpack)(const void *src, float *dst, size_t n);
	/*
	 * The opposite, to @dst of any alignment; nearest even for the plain
	 * types, gguf-py's bytes for Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and MXFP4,
	 * the largest number at the end of the codes for FP8, INT4 and INT8,
	 * for the rest a search for the least squared error.  Every number must
	 * be finite.
	 */
	void (*pack)(const float *src, void *dst, size_t n);
	/* types of blocks only: one, of any alignment, into *ret */
	void (*split)(const void *block, struct packed *ret);
	uint8_t run;	 /* numbers of a scale: 16 or 32 */
	uint8_t has_min; /* whether min[] is added */
	uint8_t wide;	 /* multiplied with 16-bit activations (ops.h, P2) */
	uint8_t head;	 /* bytes before the numbers of a row */
};

extern const struct weight_format weight_formats[NR_WEIGHT_TYPES];

/* A matrix: borrowed memory of any alignment, rows row_stride bytes apart. */
struct weight {
	enum weight_type type;
	uint32_t rows, cols; /* outputs, inputs; cols a multiple of the block */
	size_t row_stride;
	const void *data;
	const void *fast; /* an op set's own form of it; NULL for all others */
	/*
	 * What is known of its blocks: of FP8 that those of a row have one
	 * scale, of INT4 that all zeros are 8
	 */
	int simple;
	/*
	 * The memory is nobody's else: pages that are given back are lost, and
	 * a file has them no more
	 */
	int own;
};

static inline int weight_is_packed(enum weight_type type)
{
	return type >= NR_PLAIN_TYPES;
}

/* Whether a GGUF file can have it. */
static inline int weight_in_gguf(enum weight_type type)
{
	return weight_formats[type].gguf < WEIGHT_NO_GGUF;
}

/* Bytes of a row of @cols numbers without padding. */
static inline size_t weight_row_bytes(enum weight_type type, uint32_t cols)
{
	const struct weight_format *f = &weight_formats[type];

	return f->head + (size_t)cols / f->block * f->block_bytes;
}

/* Row @row as F32. */
static inline void weight_row(const struct weight *w, uint32_t row, float *dst)
{
	const char *src = (const char *)w->data;

	weight_formats[w->type].unpack(src + row * w->row_stride, dst, w->cols);
}

/*
 * The type with number @gguf of a GGUF file, or called @name there (in any
 * case).  0, or -ENOENT where we do not know it.
 */
int weight_type_of_gguf(uint32_t gguf, enum weight_type *ret);
int weight_type_of_name(const char *name, enum weight_type *ret);

#endif
