/* SPDX-License-Identifier: MIT */
/*
 * gemm.h - matrix products of the cpu op sets, rule F2: lanes along k, no
 * packing, weights read as they lie in the file.  An instruction set brings
 * register tiles (gemm_avx2.c, gemm_avx512.c); gemm_rows() drives them.  What
 * tile computes an element, beside which others, does not enter its sum.
 */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/formats.h"

#define GEMM_MAX_TOKENS 8
#define GEMM_UNIT	24u /* rows: a multiple of every tile's */
/* F32, F16, BF16; FP8 is made F32, a panel at a time (fp8.h) */
#define NR_GEMM_TYPES WEIGHT_FP8

/*
 * y[t * ldy + r] = dot(w row r, x row t) for the tile's own rows and tokens.
 * w: rows stride bytes apart, k numbers; x: rows ldx floats apart, padded with
 * zeros.  Meanwhile @lines cache lines from @next on, weights of a later tile,
 * are fetched.
 */
typedef void gemm_tile(const char *w, size_t stride, const float *x, size_t ldx,
		       uint32_t k, float *y, size_t ldy, const char *next,
		       uint32_t lines);

/* The tiles of one instruction set for one weight type. */
struct gemm_tiles {
	uint32_t max_tokens; /* <= GEMM_MAX_TOKENS */
	struct {
		uint32_t rows;	       /* of `many` */
		gemm_tile *many, *one; /* one: a single row */
	} by[GEMM_MAX_TOKENS + 1];     /* by number of tokens, from 1 */
};

/*
 * y[t][r] = dot(w[r], x[t]) for rows [first, end) of @w and t < @tokens; y is
 * indexed by r itself.
 */
void gemm_rows(const struct gemm_tiles *tiles, const struct weight *w,
	       uint32_t first, uint32_t end, const float *x, size_t ldx,
	       uint32_t tokens, float *y, size_t ldy);

#endif
