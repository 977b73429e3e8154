/* SPDX-License-Identifier: MIT */
/* head.c - logits of the rows that are wanted. */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

#include <assert.h>
#include <string.h>

int op_head_ref(struct ops_ctx *ctx, const struct step *step, uint32_t first,
		uint32_t count)
{
	assert(count <= ctx->limits.max_logits);
	assert(first <= step->nr_outs && count <= step->nr_outs - first);
	for (uint32_t i = 0; i < count; i++)
		memcpy(host_row(&ctx->picked, i),
		       host_row(&ctx->buf[OPS_XN], step->out_row[first + i]),
		       ctx->shape.dim * sizeof(float));
	ref_matmul(&ctx->ends.head, NULL, &ctx->picked, count,
		   ctx->scratch[0].row, &ctx->buf[OPS_LOGITS]);
	return 0;
}
