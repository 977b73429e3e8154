/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/load.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/place.h"
#include "kernels/cuda/sizes.h"
#include "base/err.h"
#include "kernels/check.h"

#include <errno.h>
#include <stdlib.h>

/* ---- what is taken ---- */

static int is_head_dim(uint32_t n)
{
	static const uint32_t sizes[] = { 16, 32, 64, 80, 96, 128, 256 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		if (n == sizes[i])
			return 1;
	return 0;
}

int load_check(const struct ops_shape *s, const struct ops_limits *l,
	       struct err *err)
{
	const struct {
		const char *name;
		uint32_t value, max, of; /* a multiple of it */
	} sizes[] = {
		{ "dim", s->dim, CUDA_MAX_DIM, 8 },
		{ "nr_heads", s->nr_heads, 1 << 10, 1 },
		{ "nr_kv_heads", s->nr_kv_heads, 1 << 10, 1 },
		{ "ffn", s->ffn, 1 << 20, 8 },
		{ "vocab", s->vocab, 1 << 23, 1 },
		{ "nr_layers", s->nr_layers, 1 << 12, 1 },
		{ "max_rows", l->max_rows, 1 << 16, 1 },
		{ "max_seqs", l->max_seqs, 1 << 16, 1 },
		{ "max_logits", l->max_logits, 1 << 16, 1 },
		{ "max_context", l->max_context, 1 << 24, 1 },
		{ "nr_blocks", l->nr_blocks, 1 << 27, 1 },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].value < 1 || sizes[i].value > sizes[i].max ||
		    sizes[i].value % sizes[i].of)
			return err_set(err, -EINVAL,
				       "%s %u, allowed on a GPU are multiples "
				       "of %u up to %u",
				       sizes[i].name, sizes[i].value,
				       sizes[i].of, sizes[i].max);
	if (!is_head_dim(s->head_dim))
		return err_set(err, -EINVAL,
			       "head_dim %u, on a GPU 16, 32, 64, 80, 96, 128 "
			       "and 256 are there",
			       s->head_dim);
	if (s->nr_heads % s->nr_kv_heads)
		return err_set(err, -EINVAL,
			       "%u heads do not share %u kv heads evenly",
			       s->nr_heads, s->nr_kv_heads);
	if (s->rotary_dim > s->head_dim || s->rotary_dim % 2)
		return err_set(err, -EINVAL,
			       "rotary_dim %u, allowed even and up to %u",
			       s->rotary_dim, s->head_dim);
	if (s->kv != KV_BF16 && s->kv != KV_Q8)
		return err_set(
			err, -EINVAL,
			"keys and values are kept in BF16 or 8 bits on a "
			"GPU: kv-type auto or q8");
	return 0;
}

/* ---- to the device ---- */

static int failed(const struct ops_ctx *ctx, int ret, struct err *err)
{
	if (!ret)
		return 0;
	return err_set(err, ret, "GPU %u: weights cannot be loaded: %s",
		       ctx->device.number,
		       ret == -EIO ? "it failed, see the log"
				   : "no kernel takes their form");
}

static int send_floats(struct ops_ctx *ctx, float *dst, const float *src,
		       uint32_t n)
{
	return src ? upload_bytes(&ctx->upload, dst, src, n * sizeof(*src)) : 0;
}

/* A layer's rope: all share one table, or each other one has its own. */
static int send_rope(struct ops_ctx *ctx, struct layer *l, const float *table,
		     struct err *err)
{
	uint32_t n = ctx->limits.max_context * ctx->shape.rotary_dim;
	float *dst = ctx->buf.rope;

	if (!n || (ctx->rope_host && ctx->rope_host == table)) {
		l->rope = dst;
		return 0;
	}
	for (uint32_t i = 0; ctx->rope_host && i < ctx->shape.nr_layers; i++)
		if (ctx->layer[i].rope_host == table) {
			l->rope = ctx->layer[i].rope;
			l->rope_host = table;
			return 0;
		}
	if (ctx->rope_host) {
		dst = device_take(&ctx->device, n * sizeof(*dst), err);
		if (!dst)
			return -ENOMEM;
	} else {
		ctx->rope_host = table;
	}
	l->rope = dst;
	l->rope_host = table;
	return failed(ctx, send_floats(ctx, dst, table, n), err);
}

/* The bytes that sizes_*() has counted. */
static char *take(struct ops_ctx *ctx, const struct place *count,
		  struct err *err)
{
	return device_take(&ctx->device, count->used, err);
}

int load_layer(struct ops_ctx *ctx, uint32_t layer, const struct ops_layer *w,
	       struct err *err)
{
	const struct ops_shape *s = &ctx->shape;
	struct linear_part parts[LINEAR_PARTS];
	struct place p = { 0 };
	struct layer *l;
	int ret = check_layer(s, layer, w, err);

	if (ret)
		return ret;
	l = &ctx->layer[layer];
	sizes_layer(&p, s, w, l);
	p = (struct place){ .base = take(ctx, &p, err) };
	if (!p.base)
		return -ENOMEM;
	sizes_layer(&p, s, w, l);
	ret = send_rope(ctx, l, w->rope, err);
	if (ret)
		return ret;
	if ((ret = linear_send(ctx, &l->qkv, parts, parts_qkv(w, parts))) ||
	    (ret = linear_send(ctx, &l->o, parts, parts_o(w, parts))) ||
	    (ret = linear_send(ctx, &l->gate_up, parts,
			       parts_gate_up(w, parts))) ||
	    (ret = linear_send(ctx, &l->down, parts, parts_down(w, parts))) ||
	    (ret = send_floats(ctx, l->attn_norm, w->attn_norm, s->dim)) ||
	    (ret = send_floats(ctx, l->mlp_norm, w->mlp_norm, s->dim)) ||
	    (ret = send_floats(ctx, l->q_norm, w->q_norm, s->head_dim)))
		return failed(ctx, ret, err);
	return failed(ctx, send_floats(ctx, l->k_norm, w->k_norm, s->head_dim),
		      err);
}

int load_ends(struct ops_ctx *ctx, const struct ops_ends *w, struct err *err)
{
	const struct ops_shape *s = &ctx->shape;
	struct ends *e = &ctx->ends;
	struct linear_part parts[LINEAR_PARTS];
	struct place p = { 0 };
	int ret = check_ends(s, w, err);

	if (ret)
		return ret;
	sizes_ends(&p, s, w, e);
	p = (struct place){ .base = take(ctx, &p, err) };
	if (!p.base)
		return -ENOMEM;
	sizes_ends(&p, s, w, e);
	if ((ret = upload_rows(&ctx->upload, e->embed, &w->embed, e->number)) ||
	    (ret = linear_send(ctx, &e->head, parts, parts_head(w, parts))))
		return failed(ctx, ret, err);
	return failed(ctx, send_floats(ctx, e->norm, w->norm, s->dim), err);
}
