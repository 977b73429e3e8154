/* SPDX-License-Identifier: MIT */
/*
 * attention.c - rule F6: paged attention (Kwon et al., "PagedAttention",
 * SOSP 2023) with online softmax (Milakov and Gimelshein, 2018), in parts of
 * 512 absolute positions that are folded in order, so that parts may be
 * computed anywhere, by anyone, and the bits stay.
 */
#include "kernels/ref/ref.h"

#include "kernels/expf.h"
#include "kernels/half.h"
#include "kernels/host.h"

#include <math.h>

#define MAX_HEAD_DIM 1024 /* host_open() allows no more */

/* The softmax so far: largest score, sum, weighted values. */
struct state {
	float m, l, o[MAX_HEAD_DIM];
};

static void state_reset(struct state *st, uint32_t hd)
{
	st->m = -INFINITY;
	st->l = 0;
	for (uint32_t d = 0; d < hd; d++)
		st->o[d] = 0;
}

/* exp(from - to), to = max(from, ..): 1 where they are equal (-inf too) */
static float correction(float from, float to)
{
	return from == to ? 1.0f : exp_neg(from - to);
}

/* One number of a block of keys or values. */
static float at(enum kv_type type, const void *kv, uint32_t i)
{
	switch (type) {
	case KV_Q8:
		return (float)((const int8_t *)kv)[i];
	case KV_F16:
		return f16_to_f32(((const uint16_t *)kv)[i]);
	default:
		return ((const float *)kv)[i];
	}
}

/* Keys t0..t1-1 of one block. k: [hd][16], v: [16][hd] */
static void add_block(struct state *st, const float *q, enum kv_type type,
		      void *k, void *v, uint32_t t0, uint32_t t1, uint32_t hd)
{
	float s[OPS_BLOCK], p[OPS_BLOCK] = { 0 }, lane[8];
	float m = st->m, c;

	for (uint32_t t = t0; t < t1; t++) {
		s[t] = 0;
		for (uint32_t d = 0; d < hd; d++)
			s[t] = fmaf(q[d], at(type, k, d * OPS_BLOCK + t), s[t]);
		if (type == KV_Q8)
			s[t] *= host_kv_scales(k, hd)[t];
		m = s[t] > m ? s[t] : m;
	}
	c = correction(st->m, m);
	st->m = m;
	for (uint32_t t = t0; t < t1; t++)
		p[t] = exp_neg(s[t] - m);
	for (uint32_t j = 0; j < 8; j++)
		lane[j] = p[j] + p[j + 8];
	st->l = fmaf(st->l, c, ref_sum8(lane));
	for (uint32_t t = t0; type == KV_Q8 && t < t1; t++)
		p[t] *= host_kv_scales(v, hd)[t];
	for (uint32_t d = 0; d < hd; d++) {
		st->o[d] *= c;
		for (uint32_t t = t0; t < t1; t++)
			st->o[d] =
				fmaf(p[t], at(type, v, t * hd + d), st->o[d]);
	}
}

static void fold(struct state *a, const struct state *b, uint32_t hd)
{
	float m = b->m > a->m ? b->m : a->m;
	float ca = correction(a->m, m), cb = correction(b->m, m);

	a->m = m;
	a->l = fmaf(a->l, ca, b->l * cb);
	for (uint32_t d = 0; d < hd; d++)
		a->o[d] = fmaf(a->o[d], ca, b->o[d] * cb);
}

/* One query head over keys lo..hi of the sequence with blocks @table. */
static void attend(const struct ops_ctx *ctx, const uint32_t *table,
		   uint32_t layer, uint32_t kv_head, const float *q,
		   uint32_t lo, uint32_t hi, float *out)
{
	uint32_t hd = ctx->shape.head_dim;
	struct state all, part;
	int first = 1;

	state_reset(&all, hd);
	for (uint32_t p = lo / OPS_PART; p <= hi / OPS_PART; p++) {
		uint32_t begin = p * OPS_PART, end = begin + OPS_PART;

		begin = begin > lo ? begin : lo;
		end = end < hi + 1 ? end : hi + 1;
		state_reset(&part, hd);
		for (uint32_t b = begin / OPS_BLOCK; b * OPS_BLOCK < end; b++) {
			uint32_t from = b * OPS_BLOCK;

			add_block(&part, q, ctx->shape.kv,
				  host_k(ctx, table[b], layer, kv_head),
				  host_v(ctx, table[b], layer, kv_head),
				  begin > from ? begin - from : 0,
				  end - from < OPS_BLOCK ? end - from
							 : OPS_BLOCK,
				  hd);
		}
		if (first)
			all = part;
		else
			fold(&all, &part, hd);
		first = 0;
	}
	for (uint32_t d = 0; d < hd; d++)
		out[d] = all.o[d] * (1.0f / all.l);
}

int op_attention_ref(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer)
{
	const struct ops_shape *s = &ctx->shape;
	uint32_t group = s->nr_heads / s->nr_kv_heads;

	for (uint32_t t = 0; t < step->nr_rows; t++) {
		const uint32_t *table =
			step->block_table +
			(size_t)ctx->row_seq[t] * step->table_stride;
		uint32_t hi = step->position[t];
		uint32_t lo = host_first_key(hi, ctx->layer[layer].window);
		const float *q = host_row(&ctx->buf[OPS_Q], t);
		float *out = host_row(&ctx->buf[OPS_A], t);

		for (uint32_t h = 0; h < s->nr_heads; h++)
			attend(ctx, table, layer, h / group,
			       q + h * s->head_dim, lo, hi,
			       out + h * s->head_dim);
	}
	return 0;
}
