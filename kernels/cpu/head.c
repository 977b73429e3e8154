/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"

#include <assert.h>
#include <string.h>

int op_head_cpu(struct ops_ctx *ctx, const struct step *step, uint32_t first,
		uint32_t count)
{
	const struct cpu_product product = { &ctx->ends.head, NULL,
					     &ctx->buf[OPS_LOGITS] };

	assert(count <= ctx->limits.max_logits);
	assert(first <= step->nr_outs && count <= step->nr_outs - first);
	for (uint32_t i = 0; i < count; i++)
		memcpy(host_row(&ctx->picked, i),
		       host_row(&ctx->buf[OPS_XN], step->out_row[first + i]),
		       ctx->shape.dim * sizeof(float));
	if (count)
		cpu_products(ctx, &product, 1, &ctx->picked, count, NULL, NULL);
	return 0;
}
