/* SPDX-License-Identifier: MIT */
/*
 * linear.h - a product of the model with one or several matrices that share an
 * input: in which forms it lies on the device, how it gets there, and how it is
 * computed.
 *
 * Matrices of one form are one on the device.  Others lie beside each other,
 * and each writes its columns of the answer.  What the input is kept in follows
 * from the forms: BF16 where one of them is, or is multiplied as that (FP8,
 * INT4), then F16, else F32, from which codes are made (rule P1 of ops.h,
 * exactly the CPU's).
 */
#ifndef KERNELS_CUDA_LINEAR_H
#define KERNELS_CUDA_LINEAR_H

#include "kernels/cuda/pack.h"
#include "kernels/ops.h"

struct linear;
struct place;

/* One of the model's matrices; parts of a product stand in a row. */
struct linear_part {
	const struct weight *w;
	const float *bias;     /* optional: [rows] */
	enum pack_order order; /* PACK_GATE and PACK_UP: both, of one form */
};

/*
 * The forms of @parts, plain ones to be multiplied as @use says; where each
 * lies among its like.
 */
void linear_plan(const struct linear_part *parts, int nr, enum weight_use use,
		 struct linear *ret);

/* Its places in the walk @p (place.h). */
void linear_place(struct place *p, struct linear *l);

/* The weights and biases to there.  0, -EIO, -ENOMEM */
int linear_send(struct ops_ctx *ctx, const struct linear *l,
		const struct linear_part *parts, int nr);

/*
 * y = l . x for @rows, ended as @end says; @x is [.., k] of l->input, @x_row
 * names its rows, NULL: all in turn.  0 or -EIO
 */
struct linear_run {
	const void *x;
	const uint32_t *x_row;
	uint32_t x_rows, rows; /* of x; of y */
	enum cuda_end end;
	enum cuda_number number; /* of y */
	void *y;
};
int linear_run(struct ops_ctx *ctx, const struct linear *l,
	       const struct linear_run *run);

#endif
