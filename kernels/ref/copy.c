/* SPDX-License-Identifier: MIT */
/* copy.c - KV of whole blocks, for the first write into a shared one. */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

#include <assert.h>
#include <string.h>

int op_copy_blocks_ref(struct ops_ctx *ctx, const struct block_copy *pairs,
		       uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		assert(pairs[i].src < ctx->limits.nr_blocks);
		assert(pairs[i].dst && pairs[i].dst < ctx->limits.nr_blocks);
		assert(pairs[i].src != pairs[i].dst);
		memcpy(host_k(ctx, pairs[i].dst, 0, 0),
		       host_k(ctx, pairs[i].src, 0, 0), ctx->block_bytes);
	}
	return 0;
}
