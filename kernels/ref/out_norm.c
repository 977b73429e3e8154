/* SPDX-License-Identifier: MIT */
/*
 * out_norm.c - what attention and the MLP give back to the residual stream,
 * and the norm before what comes next: one shape of op, used twice.
 */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

/* X += w . in + bias; XN = norm(X) * norm. */
static void residual_norm(struct ops_ctx *ctx, uint32_t rows,
			  const struct weight *w, const float *bias,
			  const struct host_rows *in, const float *norm)
{
	const struct ops_shape *s = &ctx->shape;
	struct host_rows *y =
		&ctx->buf[OPS_XN]; /* its old content is used up */

	ref_matmul(w, bias, in, rows, ctx->scratch[0].row, y);
	for (uint32_t t = 0; t < rows; t++) {
		float *x = host_row(&ctx->buf[OPS_X], t), *d = host_row(y, t);

		for (uint32_t i = 0; i < s->dim; i++)
			x[i] += d[i];
		ref_norm(x, norm, s->dim, s->norm_eps, d);
	}
}

int op_out_norm_ref(struct ops_ctx *ctx, const struct step *step,
		    uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];

	residual_norm(ctx, step->nr_rows, &w->o, w->o_bias, &ctx->buf[OPS_A],
		      w->mlp_norm);
	return 0;
}

int op_down_norm_ref(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];

	residual_norm(ctx, step->nr_rows, &w->down, w->down_bias,
		      &ctx->buf[OPS_H], host_next_norm(ctx, layer));
	return 0;
}
