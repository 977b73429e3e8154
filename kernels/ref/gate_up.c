/* SPDX-License-Identifier: MIT */
/* gate_up.c - SwiGLU (Shazeer, "GLU variants improve transformer", 2020). */
#include "kernels/ref/ref.h"

#include "kernels/expf.h"
#include "kernels/host.h"

int op_gate_up_ref(struct ops_ctx *ctx, const struct step *step, uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];
	const struct host_rows *xn = &ctx->buf[OPS_XN];
	struct host_rows *h = &ctx->buf[OPS_H];
	float *row = ctx->scratch[0].row;

	ref_matmul(&w->gate, w->gate_bias, xn, step->nr_rows, row, h);
	ref_matmul(&w->up, w->up_bias, xn, step->nr_rows, row, &ctx->u);
	for (uint32_t t = 0; t < step->nr_rows; t++) {
		float *g = host_row(h, t), *u = host_row(&ctx->u, t);

		for (uint32_t i = 0; i < ctx->shape.ffn; i++)
			g[i] = silu_mul(g[i], u[i]);
	}
	return 0;
}
