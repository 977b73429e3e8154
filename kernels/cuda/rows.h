/* SPDX-License-Identifier: MIT */
/* rows.h - rows of the op set's buffers, as F32 (ops.h: peek, poke). */
#ifndef KERNELS_CUDA_ROWS_H
#define KERNELS_CUDA_ROWS_H

#include "kernels/ops.h"

/* Floats of the widest row that there is. */
size_t rows_widest(const struct ops_shape *shape);

/*
 * XN, A and H are in the numbers that their next reader wants: widened, and
 * rounded to nearest even.
 */
int rows_peek(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, float *data);
int rows_poke(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, const float *data);

#endif
