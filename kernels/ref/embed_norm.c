/* SPDX-License-Identifier: MIT */
/* embed_norm.c - a token id becomes a row of the residual stream. */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

int op_embed_norm_ref(struct ops_ctx *ctx, const struct step *step)
{
	const struct ops_shape *s = &ctx->shape;

	host_begin_step(ctx, step);
	for (uint32_t t = 0; t < step->nr_rows; t++) {
		uint32_t id = step->token[t] < s->vocab ? step->token[t] : 0;
		float *x = host_row(&ctx->buf[OPS_X], t);

		weight_row(&ctx->ends.embed, id, x);
		ref_norm(x, ctx->layer[0].attn_norm, s->dim, s->norm_eps,
			 host_row(&ctx->buf[OPS_XN], t));
	}
	return 0;
}
