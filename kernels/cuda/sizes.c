/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/sizes.h"

#include "kernels/cuda/layout.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/place.h"

/* Warps of attention that fill a processor, and parts of a head, at least. */
#define WARPS_PER_PROCESSOR 6u
#define LEAST_SLOTS	    4096u

static float *take_floats(struct place *p, size_t n)
{
	return place_take(p, n * sizeof(float));
}

static uint16_t *take_halves(struct place *p, size_t n)
{
	return place_take(p, n * sizeof(uint16_t));
}

/* Whether cuda_attention_sm90() has a kernel for it. */
static int has_many(const struct ops_shape *s)
{
	return s->kv != KV_Q8 && (s->head_dim == 64 || s->head_dim == 128);
}

void sizes_plan(const struct ops_shape *s, const struct ops_limits *l,
		int processors, int many, struct plan_limits *ret)
{
	uint32_t tiles = (l->max_context + CUDA_ATTENTION_TILE - 1) /
			 CUDA_ATTENTION_TILE;

	*ret = (struct plan_limits){
		.group = s->nr_heads / s->nr_kv_heads,
		.kv_heads = s->nr_kv_heads,
		.split = CUDA_ATTENTION_SPLIT(s->head_dim),
		.warps = (uint32_t)processors * WARPS_PER_PROCESSOR,
		.slots = tiles * s->nr_kv_heads, /* one token, alone */
	};
	if (many && has_many(s)) {
		ret->many = CUDA_ATTENTION_MANY;
		ret->many_units = (uint32_t)processors /
				  CUDA_ATTENTION_PROCESSORS / s->nr_kv_heads;
	}
	if (ret->slots < LEAST_SLOTS)
		ret->slots = LEAST_SLOTS;
	if (ret->warps > PLAN_WARPS)
		ret->warps = PLAN_WARPS;
}

void sizes_buffers(struct place *p, const struct ops_shape *s,
		   const struct ops_limits *l, const struct plan_limits *plan,
		   struct buffers *ret)
{
	size_t rows = l->max_rows, dim = s->dim, head = s->head_dim;
	size_t wide = s->nr_heads * head, narrow = s->nr_kv_heads * head;
	size_t slots = (size_t)plan->slots * CUDA_ATTENTION_ROWS;
	size_t widest = dim > s->ffn ? dim : s->ffn;
	size_t stages;

	widest = widest > wide ? widest : wide;
	stages = (widest + LAYOUT_STAGE - 1) / LAYOUT_STAGE;

	*ret = (struct buffers){
		.x = take_floats(p, rows * dim),
		.xn = take_floats(p, rows * dim),
		.qkv = take_floats(p, rows * (wide + 2 * narrow)),
		.q = take_halves(p, rows * wide),
		.a = take_floats(p, rows * wide),
		.h = take_floats(p, rows * s->ffn),
		.codes = place_take(p, rows * stages * (size_t)layout_input(1)),
		.logits = take_floats(p, (size_t)l->max_logits * s->vocab),
		.part = take_floats(p, slots * head),
		.state = take_floats(p, slots * plan->split * 2),
		.count = place_take(p, (size_t)plan->slots * plan->split *
					       sizeof(int)),
		.rope = take_floats(p, (size_t)l->max_context * s->rotary_dim),
		.pairs = place_take(p, CONTEXT_PAIRS * sizeof(*ret->pairs)),
	};
}

void sizes_layer(struct place *p, const struct ops_shape *s,
		 const struct ops_layer *w, struct layer *ret)
{
	struct layer l = { .window = w->window };

	struct linear_part parts[LINEAR_PARTS];

	linear_plan(parts, parts_qkv(w, parts), s->weights, &l.qkv);
	linear_plan(parts, parts_o(w, parts), s->weights, &l.o);
	linear_plan(parts, parts_gate_up(w, parts), s->weights, &l.gate_up);
	linear_plan(parts, parts_down(w, parts), s->weights, &l.down);
	linear_place(p, &l.qkv);
	linear_place(p, &l.o);
	linear_place(p, &l.gate_up);
	linear_place(p, &l.down);
	l.attn_norm = take_floats(p, s->dim);
	l.mlp_norm = take_floats(p, s->dim);
	l.q_norm = w->q_norm ? take_floats(p, s->head_dim) : NULL;
	l.k_norm = w->k_norm ? take_floats(p, s->head_dim) : NULL;
	*ret = l;
}

void sizes_ends(struct place *p, const struct ops_shape *s,
		const struct ops_ends *w, struct ends *ret)
{
	size_t numbers = (size_t)s->vocab * s->dim;
	struct linear_part parts[LINEAR_PARTS];
	struct ends e = { .number = CUDA_BF16 };

	/* a row of it is taken as it is; what is packed is rounded */
	if (w->embed.type == WEIGHT_F32)
		e.number = CUDA_F32;
	else if (w->embed.type == WEIGHT_F16)
		e.number = CUDA_F16;
	e.embed = place_take(p, numbers * (e.number == CUDA_F32 ? 4 : 2));
	e.norm = take_floats(p, s->dim);
	linear_plan(parts, parts_head(w, parts), WEIGHTS_AS_IS, &e.head);
	linear_place(p, &e.head);
	*ret = e;
}

size_t sizes_kv_head(const struct ops_shape *s)
{
	int dim = (int)s->head_dim;

	return (size_t)(s->kv == KV_Q8 ? layout_kv8_bytes(dim)
				       : layout_kv_bytes(dim));
}

size_t sizes_block_bytes(const struct ops_shape *s)
{
	return (size_t)s->nr_layers * 2 * s->nr_kv_heads * sizes_kv_head(s);
}

uint64_t sizes_loaded_bytes(const struct ops_shape *shape,
			    const struct ops_ends *ends,
			    const struct ops_layer *layers)
{
	struct place count = { 0 };
	struct layer layer;
	struct ends none;

	sizes_ends(&count, shape, ends, &none);
	for (uint32_t i = 0; i < shape->nr_layers; i++)
		sizes_layer(&count, shape, &layers[i], &layer);
	return count.used;
}
