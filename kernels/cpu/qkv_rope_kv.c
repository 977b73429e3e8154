/* SPDX-License-Identifier: MIT */
/*
 * qkv_rope_kv.c - two regions: the three products, then the rows (norm, rope,
 * cache).  The second moves little: 3 passes over q and k.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"
#include "kernels/pool.h"
#include "kernels/ref/ref.h"

#include <string.h>

struct region {
	struct ops_ctx *ctx;
	const struct step *step;
	uint32_t layer;
};

static void finish_heads(const struct ops_ctx *ctx, float *x, uint32_t nr_heads,
			 const float *norm, uint32_t pairs, const float *table,
			 float scale)
{
	const struct ops_shape *s = &ctx->shape;
	const struct cpu_kernels *k = &ctx->cpu->kernels;

	for (uint32_t h = 0; h < nr_heads; h++, x += s->head_dim) {
		if (pairs)
			host_unpair(x, s->rotary_dim);
		if (norm)
			k->norm(x, norm, s->head_dim, s->norm_eps, x);
		if (s->rotary_dim)
			k->rope(x, table, s->rotary_dim);
		for (uint32_t d = 0; scale != 1.0f && d < s->head_dim; d++)
			x[d] *= scale;
	}
}

/* ref_write_kv() for KV_F16 */
static void write_halves(struct ops_ctx *ctx, uint32_t layer, uint32_t slot,
			 const float *k, const float *v)
{
	void (*halves)(const float *, uint32_t, uint16_t *) =
		ctx->cpu->kernels.halves;
	uint32_t hd = ctx->shape.head_dim, t = slot % OPS_BLOCK;
	uint16_t row[HOST_MAX_HEAD_DIM];

	for (uint32_t h = 0; h < ctx->shape.nr_kv_heads; h++) {
		uint16_t *to_k = host_k(ctx, slot / OPS_BLOCK, layer, h);
		uint16_t *to_v = host_v(ctx, slot / OPS_BLOCK, layer, h);

		halves(k + h * hd, hd, row);
		for (uint32_t d = 0; d < hd; d++)
			to_k[d * OPS_BLOCK + t] = row[d];
		halves(v + h * hd, hd, row);
		memcpy(to_v + t * hd, row, hd * sizeof(*row));
	}
}

static void write_kv(struct ops_ctx *ctx, uint32_t layer, uint32_t slot,
		     const float *k, const float *v)
{
	if (ctx->shape.kv != KV_F16)
		ref_write_kv(ctx, layer, slot, k, v);
	else if (slot / OPS_BLOCK)
		write_halves(ctx, layer, slot, k, v);
}

static void some_rows(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;
	struct ops_ctx *ctx = g->ctx;
	const struct ops_shape *s = &ctx->shape;
	const struct ops_layer *w = &ctx->layer[g->layer];

	(void)thread;
	for (uint32_t t = first; t < end; t++) {
		const float *table =
			w->rope + (size_t)g->step->position[t] * s->rotary_dim;
		float *k = host_row(&ctx->k, t);

		finish_heads(ctx, host_row(&ctx->buf[OPS_Q], t), s->nr_heads,
			     w->q_norm, w->qk_pairs, table, s->attn_scale);
		finish_heads(ctx, k, s->nr_kv_heads, w->k_norm, w->qk_pairs,
			     table, 1.0f);
		write_kv(ctx, g->layer, g->step->slot[t], k,
			 host_row(&ctx->v, t));
	}
}

int op_qkv_rope_kv_cpu(struct ops_ctx *ctx, const struct step *step,
		       uint32_t layer)
{
	const struct ops_layer *w = &ctx->layer[layer];
	const struct cpu_product products[] = {
		{ &w->q, w->q_bias, &ctx->buf[OPS_Q] },
		{ &w->k, w->k_bias, &ctx->k },
		{ &w->v, w->v_bias, &ctx->v },
	};
	struct region g = { ctx, step, layer };

	cpu_products(ctx, products, 3, &ctx->buf[OPS_XN], step->nr_rows, NULL,
		     NULL);
	/* whole blocks of a prompt by one thread: they share cache lines */
	pool_run(ctx->pool, some_rows, &g, step->nr_rows,
		 cpu_grain(1.0 * (w->q.rows + w->k.rows)) + OPS_BLOCK - 1);
	return 0;
}
