/* SPDX-License-Identifier: MIT */
/*
 * repack.h - codes as checkpoints keep them (checkpoint/quant.h) into rows of
 * FP8, INT8 and INT4 (kernels/formats.h).  Sizes were checked by who calls.  The
 * threads of @pool share out the rows.
 */
#ifndef MODEL_REPACK_H
#define MODEL_REPACK_H

#include <stdint.h>

struct pool;
struct weight;

/* cols: a multiple of 128 */
struct repack_fp8 {
	uint32_t rows, cols;
	const uint8_t *code; /* [rows, cols] e4m3 */
	/* [rows / per_rows upward, nr_scales]; nr_scales: 1, or cols / 128 */
	const float *scale;
	uint32_t per_rows, nr_scales;
};

/* Into @dst.  0, or -EDOM: a code is NaN. */
int repack_fp8(const struct repack_fp8 *r, struct pool *pool, void *dst);

struct repack_int8 {
	uint32_t rows, cols;
	const uint8_t *code; /* [rows, cols] i8 */
	const float *scale;  /* [rows / per_rows] */
	uint32_t per_rows;
};

void repack_int8(const struct repack_int8 *r, struct pool *pool, void *dst);

/*
 * Plain matrix @w rounded to INT8, into @dst.  0, or -EDOM and the first row
 * with a number that is not finite.
 */
int repack_rounded(const struct weight *w, struct pool *pool, void *dst,
		   uint32_t *ret_row);

/* How eight codes lie in a word of 32 bits. */
enum repack_order {
	REPACK_GPTQ, /* [cols / 8, rows]: of eight columns */
	REPACK_AWQ,  /* [cols, rows / 8]: of eight rows, in the order of AWQ */
	REPACK_ROWS, /* [rows, cols / 8]: of eight columns */
};

/* cols and group: multiples of 128; rows: where a word is of them, of 8 */
struct repack_int4 {
	enum repack_order order;
	uint32_t rows, cols, group;
	const uint8_t *word; /* little endian, of any alignment */
	const float *scale;  /* [rows, cols / group] */
	const uint8_t *zero; /* the same, 0..16 */
};

void repack_int4(const struct repack_int4 *r, struct pool *pool, void *dst);

/*
 * Zero points from words of eight rows, [groups, rows / 8] or (REPACK_ROWS)
 * [rows / 8, groups], and 1 more where @less_one, into @ret [rows, groups].
 * Returns whether all are 8.
 */
int repack_zeros(enum repack_order order, const uint8_t *word, uint32_t rows,
		 uint32_t groups, int less_one, uint8_t *ret);

#endif
