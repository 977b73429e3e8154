/* SPDX-License-Identifier: MIT */
/* open.h - the life of the op set's context (ops.h: open, close). */
#ifndef KERNELS_CUDA_OPEN_H
#define KERNELS_CUDA_OPEN_H

#include <stdint.h>

struct err;
struct ops_ctx;
struct ops_limits;
struct ops_shape;

int open_cuda(const struct ops_shape *shape, const struct ops_limits *limits,
	      struct ops_ctx **ret_ctx, struct err *err);
void close_cuda(struct ops_ctx *ctx);
/* ops.h, buffer_bytes: limits->nr_blocks is not read */
uint64_t open_buffer_bytes(const struct ops_shape *shape,
			   const struct ops_limits *limits);

#endif
