/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"
#include "kernels/pool.h"

struct region {
	struct ops_ctx *ctx;
	const struct step *step;
};

static void some_rows(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;
	const struct ops_ctx *ctx = g->ctx;
	const struct ops_shape *s = &ctx->shape;

	(void)thread;
	for (uint32_t t = first; t < end; t++) {
		uint32_t id = g->step->token[t] < s->vocab ? g->step->token[t]
							   : 0;
		float *x = host_row(&ctx->buf[OPS_X], t);

		weight_row(&ctx->ends.embed, id, x);
		ctx->cpu->kernels.norm(x, ctx->layer[0].attn_norm, s->dim,
				       s->norm_eps,
				       host_row(&ctx->buf[OPS_XN], t));
	}
}

int op_embed_norm_cpu(struct ops_ctx *ctx, const struct step *step)
{
	struct region g = { ctx, step };

	host_begin_step(ctx, step);
	pool_run(ctx->pool, some_rows, &g, step->nr_rows,
		 cpu_grain(2.0 * ctx->shape.dim));
	return 0;
}
