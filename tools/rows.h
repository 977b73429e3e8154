/* SPDX-License-Identifier: MIT */
/*
 * rows.h - rows of a matrix from one type to another, many at a time on
 * several threads, and how far the numbers moved.  A row's bytes do not depend
 * on the threads, and the sums of errors are added in the order of rows.
 */
#ifndef TOOLS_ROWS_H
#define TOOLS_ROWS_H

#include <stdint.h>

#include "kernels/formats.h"

struct err;

struct rows_how {
	enum weight_type from, to;
	uint64_t rows, cols; /* cols a multiple of both blocks; < 2^32 */
	const void *src;     /* borrowed: all rows, without padding */
	/*
	 * Not 0: rows come in heads of so many, half by half, and go pair by
	 * pair: row 2i of a head is its row i, row 2i + 1 its row n/2 + i.
	 */
	uint32_t pair_rows;
};

struct rows_error {
	double moved, square; /* sums over numbers: of (new - old)^2, old^2 */
	double worst;	      /* largest |new - old| */
};

struct rows {
	uint32_t nr_threads;
	float *plain, *back;		/* owned: [room] */
	uint8_t *made;			/* owned: room for the widest type */
	double *moved, *square, *worst; /* owned: [ROWS_ROOM] a row's */
};

/* @threads 0: as many CPUs as we may use.  0, or -ENOMEM and @err. */
int rows_init(struct rows *r, uint32_t threads, struct err *err);
void rows_deinit(struct rows *r);

/* How many rows one rows_convert() takes, 1 or more. */
uint64_t rows_fit(const struct rows *r, const struct rows_how *how);

/*
 * Rows [row, row + n) of the result, n <= rows_fit(), into *ret_made, which is
 * good until the next call; errors are added to @e.  0, or -EDOM: a number is
 * not finite, before or after; -E2BIG for rows wider than 2^20.
 */
int rows_convert(struct rows *r, const struct rows_how *how, uint64_t row,
		 uint64_t n, const void **ret_made, struct rows_error *e);

/* Root of moved / square; 0 where nothing moved. */
double rows_rms(const struct rows_error *e);

#endif
