/* SPDX-License-Identifier: MIT */
/*
 * gate_up.c - one region: a thread computes a unit's rows of gate and of up
 * and joins them while they lie in its cache.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"

struct region {
	struct ops_ctx *ctx;
	const struct ops_layer *w;
	uint32_t rows;
};

/* Rows [first, end) of gate lie in H: up's beside them, then the product. */
static void join_up(void *arg, uint32_t thread, uint32_t which, uint32_t first,
		    uint32_t end)
{
	const struct region *g = arg;
	struct ops_ctx *ctx = g->ctx;
	const struct cpu_kernels *k = &ctx->cpu->kernels;

	(void)which;
	cpu_some_product(ctx, thread, &g->w->up, first, end, &ctx->buf[OPS_XN],
			 g->rows, &ctx->u);
	for (uint32_t t = 0; t < g->rows; t++) {
		float *u = host_row(&ctx->u, t);

		for (uint32_t r = first; g->w->up_bias && r < end; r++)
			u[r] += g->w->up_bias[r];
		k->silu_mul(host_row(&ctx->buf[OPS_H], t) + first, u + first,
			    end - first);
	}
}

int op_gate_up_cpu(struct ops_ctx *ctx, const struct step *step, uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];
	const struct cpu_product gate = { &w->gate, w->gate_bias,
					  &ctx->buf[OPS_H], &w->up };
	struct region g = { ctx, w, step->nr_rows };

	cpu_products(ctx, &gate, 1, &ctx->buf[OPS_XN], step->nr_rows, join_up,
		     &g);
	return 0;
}
