/* SPDX-License-Identifier: MIT */
#include "daemon/model/layers.h"
#include "base/err.h"
#include "checkpoint/arch.h"
#include "checkpoint/tensors.h"
#include "daemon/model/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What binding carries along; the first error stays and ends it. */
struct binder {
	struct weights *w;
	struct layers *p;
	float *next; /* free room in p->vectors */
	struct err *err;
	int ret;
};

/* @prefix: of a layer; NULL: a matrix of the ends. */
static struct weight matrix(struct binder *b, const char *prefix,
			    const char *name, uint32_t rows, uint32_t cols)
{
	struct weight ret = { 0 };
	char full[128];

	if (b->ret)
		return ret;
	snprintf(full, sizeof(full), "%s%s.weight", prefix ? prefix : "", name);
	b->ret = prefix ? weights_layer_matrix(b->w, full, rows, cols, &ret,
					       b->err)
			: weights_matrix(b->w, full, rows, cols, &ret, b->err);
	b->p->count += (uint64_t)rows * cols;
	return ret;
}

static const float *vector(struct binder *b, const char *prefix,
			   const char *name, uint32_t len)
{
	float *ret = b->next;
	char full[128];

	if (b->ret)
		return NULL;
	snprintf(full, sizeof(full), "%s%s", prefix, name);
	b->ret = weights_vector(b->w, full, len, ret, b->err);
	b->next += len;
	b->p->count += len;
	return ret;
}

static void bind_layer(struct binder *b, const struct arch *a, uint32_t i)
{
	struct ops_layer *l = &b->p->layer[i];
	uint32_t q = a->nr_heads * a->head_dim;
	uint32_t kv = a->nr_kv_heads * a->head_dim;
	char at[64];

	snprintf(at, sizeof(at), "model.layers.%u.", i);
	l->attn_norm = vector(b, at, "input_layernorm.weight", a->dim);
	l->q = matrix(b, at, "self_attn.q_proj", q, a->dim);
	l->k = matrix(b, at, "self_attn.k_proj", kv, a->dim);
	l->v = matrix(b, at, "self_attn.v_proj", kv, a->dim);
	if (a->qkv_bias) {
		l->q_bias = vector(b, at, "self_attn.q_proj.bias", q);
		l->k_bias = vector(b, at, "self_attn.k_proj.bias", kv);
		l->v_bias = vector(b, at, "self_attn.v_proj.bias", kv);
	}
	if (a->qk_norm) {
		l->q_norm =
			vector(b, at, "self_attn.q_norm.weight", a->head_dim);
		l->k_norm =
			vector(b, at, "self_attn.k_norm.weight", a->head_dim);
	}
	l->o = matrix(b, at, "self_attn.o_proj", a->dim, q);
	if (a->out_bias)
		l->o_bias = vector(b, at, "self_attn.o_proj.bias", a->dim);
	l->mlp_norm = vector(b, at, "post_attention_layernorm.weight", a->dim);
	l->gate = matrix(b, at, "mlp.gate_proj", a->ffn, a->dim);
	l->up = matrix(b, at, "mlp.up_proj", a->ffn, a->dim);
	l->down = matrix(b, at, "mlp.down_proj", a->dim, a->ffn);
	if (a->mlp_bias) {
		l->gate_bias = vector(b, at, "mlp.gate_proj.bias", a->ffn);
		l->up_bias = vector(b, at, "mlp.up_proj.bias", a->ffn);
		l->down_bias = vector(b, at, "mlp.down_proj.bias", a->dim);
	}
	l->window = a->window[i];
	l->qk_pairs = a->qk_pairs;
}

static void bind_ends(struct binder *b, const struct arch *a)
{
	struct ops_ends *e = &b->p->ends;

	e->embed = matrix(b, NULL, "model.embed_tokens", a->vocab, a->dim);
	e->norm = vector(b, "", "model.norm.weight", a->dim);
	e->embed.own = 0; /* rows are read even when a head is improved */
	e->head = a->tied ? e->embed
			  : matrix(b, NULL, "lm_head", a->vocab, a->dim);
}

/* Numbers of all vectors that bind_layer() and bind_ends() can ask for. */
static size_t vector_room(const struct arch *a)
{
	size_t q = (size_t)a->nr_heads * a->head_dim;
	size_t kv = (size_t)a->nr_kv_heads * a->head_dim;
	size_t layer = 4 * (size_t)a->dim + q + 2 * kv + 2 * a->head_dim +
		       2 * (size_t)a->ffn;

	return layer * a->nr_layers + a->dim;
}

int layers_bind(struct layers *p, const struct arch *arch, struct weights *w,
		struct err *err)
{
	struct binder b = { .w = w, .p = p, .err = err };

	memset(p, 0, sizeof(*p));
	p->layer = calloc(arch->nr_layers, sizeof(*p->layer));
	p->vectors = calloc(vector_room(arch), sizeof(*p->vectors));
	if (!p->layer || !p->vectors) {
		layers_deinit(p);
		return err_set(err, -ENOMEM, "%s: no memory for its vectors",
			       w->tensors->path);
	}
	b.next = p->vectors;
	bind_ends(&b, arch);
	for (uint32_t i = 0; i < arch->nr_layers && !b.ret; i++)
		bind_layer(&b, arch, i);
	if (b.ret)
		layers_deinit(p);
	return b.ret;
}

void layers_deinit(struct layers *p)
{
	free(p->layer);
	free(p->vectors);
	memset(p, 0, sizeof(*p));
}
