/* SPDX-License-Identifier: MIT */
/*
 * qkv_rope_kv.c - queries, keys and values of a row; keys and values go to
 * the row's slot.
 *
 * RoPE (Su et al., "RoFormer", 2021) in the pairing of Hugging Face's
 * rotate_half: dimension i turns with i + rotary_dim/2.
 */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

#include <math.h>

/* F5 on one head; @table: [rotary_dim/2][2] of the row's position */
static void rope(float *x, const float *table, uint32_t rotary_dim)
{
	uint32_t half = rotary_dim / 2;

	for (uint32_t i = 0; i < half; i++) {
		float c = table[2 * i], s = table[2 * i + 1];
		float a = x[i], b = x[i + half];

		x[i] = fmaf(a, c, -(b * s));
		x[i + half] = fmaf(b, c, a * s);
	}
}

/* Order, norm (if any) and rope of @nr_heads heads in place, times @scale. */
static void finish_heads(const struct ops_shape *s, float *x, uint32_t nr_heads,
			 const float *norm, uint32_t pairs, const float *table,
			 float scale)
{
	for (uint32_t h = 0; h < nr_heads; h++, x += s->head_dim) {
		if (pairs)
			host_unpair(x, s->rotary_dim);
		if (norm)
			ref_norm(x, norm, s->head_dim, s->norm_eps, x);
		rope(x, table, s->rotary_dim);
		for (uint32_t d = 0; d < s->head_dim; d++)
			x[d] *= scale;
	}
}

int op_qkv_rope_kv_ref(struct ops_ctx *ctx, const struct step *step,
		       uint32_t layer)
{
	const struct ops_shape *s = &ctx->shape;
	const struct ops_layer *w = &ctx->layer[layer];
	const struct host_rows *xn = &ctx->buf[OPS_XN];
	struct host_rows *q = &ctx->buf[OPS_Q];
	float *row = ctx->scratch[0].row;

	ref_matmul(&w->q, w->q_bias, xn, step->nr_rows, row, q);
	ref_matmul(&w->k, w->k_bias, xn, step->nr_rows, row, &ctx->k);
	ref_matmul(&w->v, w->v_bias, xn, step->nr_rows, row, &ctx->v);
	for (uint32_t t = 0; t < step->nr_rows; t++) {
		const float *table =
			w->rope + (size_t)step->position[t] * s->rotary_dim;

		finish_heads(s, host_row(q, t), s->nr_heads, w->q_norm,
			     w->qk_pairs, table, s->attn_scale);
		finish_heads(s, host_row(&ctx->k, t), s->nr_kv_heads, w->k_norm,
			     w->qk_pairs, table, 1.0f);
		ref_write_kv(ctx, layer, step->slot[t], host_row(&ctx->k, t),
			     host_row(&ctx->v, t));
	}
	return 0;
}
