/* SPDX-License-Identifier: MIT */
/*
 * check.h - weights that are handed to an op set, held against the model's
 * sizes: what every load_ends() and load_layer() refuses.  0, or -EINVAL and
 * one line in @err.  Any thread.
 */
#ifndef KERNELS_CHECK_H
#define KERNELS_CHECK_H

#include "kernels/ops.h"

struct err;

int check_ends(const struct ops_shape *s, const struct ops_ends *ends,
	       struct err *err);
/* Of layer number @layer. */
int check_layer(const struct ops_shape *s, uint32_t layer,
		const struct ops_layer *w, struct err *err);

#endif
