/* SPDX-License-Identifier: MIT */
/*
 * out_norm.c - out_norm and down_norm: the residual is added where the product
 * is made; the norm needs whole rows, hence a second region.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"
#include "kernels/pool.h"

struct region {
	struct ops_ctx *ctx;
	uint32_t rows;
	const float *norm;
};

/* X += the product, which lies in XN (its old content is used up) */
static void add_residual(void *arg, uint32_t thread, uint32_t which,
			 uint32_t first, uint32_t end)
{
	const struct region *g = arg;

	(void)thread;
	(void)which;
	for (uint32_t t = 0; t < g->rows; t++) {
		float *x = host_row(&g->ctx->buf[OPS_X], t);
		const float *y = host_row(&g->ctx->buf[OPS_XN], t);

		for (uint32_t i = first; i < end; i++)
			x[i] += y[i];
	}
}

static void norm_rows(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;
	const struct ops_ctx *ctx = g->ctx;

	(void)thread;
	for (uint32_t t = first; t < end; t++)
		ctx->cpu->kernels.norm(host_row(&ctx->buf[OPS_X], t), g->norm,
				       ctx->shape.dim, ctx->shape.norm_eps,
				       host_row(&ctx->buf[OPS_XN], t));
}

static void residual_norm(struct ops_ctx *ctx, uint32_t rows,
			  const struct weight *w, const float *bias,
			  const struct host_rows *in, const float *norm)
{
	const struct cpu_product product = { w, bias, &ctx->buf[OPS_XN] };
	struct region g = { ctx, rows, norm };

	cpu_products(ctx, &product, 1, in, rows, add_residual, &g);
	pool_run(ctx->pool, norm_rows, &g, rows,
		 cpu_grain(0.5 * ctx->shape.dim));
}

int op_out_norm_cpu(struct ops_ctx *ctx, const struct step *step,
		    uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];

	residual_norm(ctx, step->nr_rows, &w->o, w->o_bias, &ctx->buf[OPS_A],
		      w->mlp_norm);
	return 0;
}

int op_down_norm_cpu(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];

	residual_norm(ctx, step->nr_rows, &w->down, w->down_bias,
		      &ctx->buf[OPS_H], host_next_norm(ctx, layer));
	return 0;
}
