/* SPDX-License-Identifier: MIT */
/*
 * sizes.h - what lies where in device memory, and so how much is needed: each
 * kind of thing is one run of bytes, and the same walk over it that names the
 * places counts them.
 */
#ifndef KERNELS_CUDA_SIZES_H
#define KERNELS_CUDA_SIZES_H

#include "kernels/cuda/context.h"

struct place;

void sizes_buffers(struct place *p, const struct ops_shape *shape,
		   const struct ops_limits *limits,
		   const struct plan_limits *plan, struct buffers *ret);
void sizes_layer(struct place *p, const struct ops_shape *shape,
		 const struct ops_layer *weights, struct layer *ret);
void sizes_ends(struct place *p, const struct ops_shape *shape,
		const struct ops_ends *weights, struct ends *ret);

/*
 * What attention is planned for on a device of @processors, where warpgroups
 * may attend if @many.  How many parts may wait to be folded hangs on neither.
 */
void sizes_plan(const struct ops_shape *shape, const struct ops_limits *limits,
		int processors, int many, struct plan_limits *ret);

/* Bytes of K, or V, of one head in a block. */
size_t sizes_kv_head(const struct ops_shape *shape);

/* Bytes of a KV block (ops.h, kv_block_bytes). */
size_t sizes_block_bytes(const struct ops_shape *shape);

/* ops.h: loaded_bytes. */
uint64_t sizes_loaded_bytes(const struct ops_shape *shape,
			    const struct ops_ends *ends,
			    const struct ops_layer *layers);

#endif
