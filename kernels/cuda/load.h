/* SPDX-License-Identifier: MIT */
/*
 * load.h - weights into the device (ops.h: load_ends, load_layer), and what
 * sizes kernels are there for.
 */
#ifndef KERNELS_CUDA_LOAD_H
#define KERNELS_CUDA_LOAD_H

#include <stdint.h>

struct err;
struct ops_ctx;
struct ops_ends;
struct ops_layer;
struct ops_limits;
struct ops_shape;

/* -EINVAL and which size no kernel takes. */
int load_check(const struct ops_shape *shape, const struct ops_limits *limits,
	       struct err *err);

int load_ends(struct ops_ctx *ctx, const struct ops_ends *ends,
	      struct err *err);
int load_layer(struct ops_ctx *ctx, uint32_t layer,
	       const struct ops_layer *weights, struct err *err);

#endif
