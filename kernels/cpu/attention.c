/* SPDX-License-Identifier: MIT */
/*
 * attention.c - rule F6 over the pool.  A task is a tile of rows of one
 * sequence for the query heads of one kv head: up to 32 queries that read each
 * block of K and V once (a decode row has one row's heads, a prompt's chunk
 * rows as well).  Inside, blocks that all rows see whole take all queries at
 * once; at a row's edges (its own position, its window) rows go one by one,
 * since F6 lets a query touch exactly its keys.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"
#include "kernels/pool.h"

#include <math.h>
#include <string.h>

struct region {
	struct ops_ctx *ctx;
	const struct step *step;
	uint32_t layer;
	uint32_t chunks, chunk_heads; /* a group of heads, cut to 32 queries */
};

/* What a task knows of itself. */
struct task {
	const struct ops_ctx *ctx;
	const uint32_t *table;	  /* blocks of the sequence */
	const uint32_t *position; /* [nr_rows] */
	uint32_t layer, kv_head, window;
	uint32_t nr_rows, heads; /* query = row * heads + head */
	struct cpu_attn *at;
};

/* Keys [*t0, *t1) of block @b that row @r sees inside part @p. */
static void bounds(const struct task *k, uint32_t r, uint32_t p, uint32_t b,
		   uint32_t *t0, uint32_t *t1)
{
	uint32_t lo = host_first_key(k->position[r], k->window);
	uint32_t end = k->position[r] + 1, at = b * OPS_BLOCK;

	if (lo < p * OPS_PART)
		lo = p * OPS_PART;
	*t0 = lo > at ? lo - at : 0;
	*t1 = end < at + OPS_BLOCK ? (end > at ? end - at : 0) : OPS_BLOCK;
}

/* Blocks [b, b + nr) of the sequence; those after them are fetched. */
static void find_keys(const struct task *k, uint32_t b, uint32_t nr,
		      uint32_t last, struct attn_keys *ret)
{
	ret->nr = nr;
	for (uint32_t i = 0; i < nr; i++) {
		uint32_t at = k->table[b + i];
		uint32_t next = k->table[b + nr + i < last ? b + nr + i : last];

		ret->k[i] = host_k(k->ctx, at, k->layer, k->kv_head);
		ret->v[i] = host_v(k->ctx, at, k->layer, k->kv_head);
		ret->next_k[i] = host_k(k->ctx, next, k->layer, k->kv_head);
		ret->next_v[i] = host_v(k->ctx, next, k->layer, k->kv_head);
	}
}

/* Block @b of part @p and, if all rows see both whole, the next: how many */
static uint32_t some_blocks(const struct task *k, uint32_t p, uint32_t b,
			    uint32_t end, uint32_t last)
{
	struct attn_tile *part = &k->at->part;
	const struct cpu_kernels *ops = &k->ctx->cpu->kernels;
	uint32_t whole = (b + 2) * OPS_BLOCK;
	struct attn_keys keys = { .t1 = OPS_BLOCK };

	if (b + 2 <= end && k->position[0] + 1 >= whole &&
	    host_first_key(k->position[k->nr_rows - 1], k->window) <=
		    b * OPS_BLOCK) {
		find_keys(k, b, 2, last, &keys);
		ops->attn_block(part, 0, k->nr_rows * k->heads, &keys);
		return 2;
	}
	find_keys(k, b, 1, last, &keys);
	/* neighbouring rows with the same keys go together */
	for (uint32_t r = 0, next; r < k->nr_rows; r = next) {
		uint32_t u0, u1;

		bounds(k, r, p, b, &keys.t0, &keys.t1);
		for (next = r + 1; next < k->nr_rows; next++) {
			bounds(k, next, p, b, &u0, &u1);
			if (u0 != keys.t0 || u1 != keys.t1)
				break;
		}
		if (keys.t0 < keys.t1)
			ops->attn_block(part, r * k->heads,
					(next - r) * k->heads, &keys);
	}
	return 1;
}

/* The finished part @p joins what the rows have from earlier ones. */
static void end_part(const struct task *k, uint32_t p)
{
	const struct attn_tile *part = &k->at->part, *all = &k->at->all;

	for (uint32_t i = 0; i < k->nr_rows * k->heads; i++) {
		uint32_t at = k->position[i / k->heads];
		uint32_t lo = host_first_key(at, k->window);

		if (p < lo / OPS_PART || p > at / OPS_PART)
			continue; /* no key of this row in it */
		if (p > lo / OPS_PART) {
			k->ctx->cpu->kernels.attn_fold(all, part, i);
			continue;
		}
		all->m[i] = part->m[i];
		all->l[i] = part->l[i];
		memcpy(all->o + i * all->ld, part->o + i * part->ld,
		       all->head_dim * sizeof(float));
	}
}

static void attend(const struct task *k)
{
	struct attn_tile *part = &k->at->part;
	uint32_t nr = k->nr_rows * k->heads;
	uint32_t lo = host_first_key(k->position[0], k->window);
	uint32_t hi = k->position[k->nr_rows - 1];

	for (uint32_t p = lo / OPS_PART; p <= hi / OPS_PART; p++) {
		uint32_t b = p * OPS_PART / OPS_BLOCK;
		uint32_t end = b + OPS_PART / OPS_BLOCK;

		if (b < lo / OPS_BLOCK)
			b = lo / OPS_BLOCK;
		if (end > hi / OPS_BLOCK + 1)
			end = hi / OPS_BLOCK + 1;
		for (uint32_t i = 0; i < nr; i++) {
			part->m[i] = -INFINITY;
			part->l[i] = 0;
		}
		memset(part->o, 0, nr * part->ld * sizeof(float));
		while (b < end)
			b += some_blocks(k, p, b, end, hi / OPS_BLOCK);
		end_part(k, p);
	}
}

static void one_task(const struct region *g, const struct cpu_rows *rows,
		     uint32_t kv_head, uint32_t chunk, struct cpu_attn *at)
{
	const struct ops_ctx *ctx = g->ctx;
	const struct ops_shape *s = &ctx->shape;
	uint32_t group = s->nr_heads / s->nr_kv_heads, hd = s->head_dim;
	uint32_t head = chunk * g->chunk_heads, heads = group - head;
	struct task k = {
		.ctx = ctx,
		.table = g->step->block_table +
			 (size_t)rows->seq * g->step->table_stride,
		.position = g->step->position + rows->first,
		.layer = g->layer,
		.kv_head = kv_head,
		.window = ctx->layer[g->layer].window,
		.nr_rows = rows->end - rows->first,
		.at = at,
	};
	size_t from; /* of the first query head in a row of Q and A */

	k.heads = heads < g->chunk_heads ? heads : g->chunk_heads;
	from = ((size_t)kv_head * group + head) * hd;
	for (uint32_t i = 0; i < k.nr_rows * k.heads; i++)
		memcpy(at->part.q + i * at->part.ld,
		       host_row(&ctx->buf[OPS_Q], rows->first + i / k.heads) +
			       from + (size_t)(i % k.heads) * hd,
		       hd * sizeof(float));
	attend(&k);
	for (uint32_t i = 0; i < k.nr_rows * k.heads; i++) {
		float *out =
			host_row(&ctx->buf[OPS_A], rows->first + i / k.heads) +
			from + (size_t)(i % k.heads) * hd;
		const float *o = at->all.o + i * at->all.ld;
		float r = 1.0f / at->all.l[i];

		for (uint32_t d = 0; d < hd; d++)
			out[d] = o[d] * r;
	}
}

static void some_tasks(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;
	uint32_t each = g->ctx->shape.nr_kv_heads * g->chunks;

	for (uint32_t i = first; i < end; i++)
		one_task(g, &g->ctx->cpu->tile[i / each], i % each / g->chunks,
			 i % g->chunks, &g->ctx->cpu->attn[thread]);
}

/* Cut the rows into tiles of at most @most rows; *ret_keys: their keys. */
static uint32_t cut_tiles(struct ops_ctx *ctx, const struct step *step,
			  uint32_t most, double *ret_keys)
{
	uint32_t nr = 0;

	*ret_keys = 0;
	for (uint32_t s = 0; s < step->nr_seqs; s++)
		for (uint32_t r = step->query_start[s];
		     r < step->query_start[s + 1];) {
			uint32_t left = step->query_start[s + 1] - r;
			struct cpu_rows *t = &ctx->cpu->tile[nr++];

			t->seq = s;
			t->first = r;
			t->end = r += left < most ? left : most;
			*ret_keys += (double)(t->end - t->first) *
				     step->context_len[s];
		}
	return nr;
}

int op_attention_cpu(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer)
{
	const struct ops_shape *s = &ctx->shape;
	uint32_t group = s->nr_heads / s->nr_kv_heads, tiles, most;
	struct region g = { ctx, step, layer, 1, group };
	double keys, ns;

	if (group > ATTN_QUERIES) {
		g.chunks = (group + ATTN_QUERIES - 1) / ATTN_QUERIES;
		g.chunk_heads = ATTN_QUERIES;
	}
	most = ATTN_QUERIES / g.chunk_heads;
	/* a lone prompt: smaller tiles where the large ones are too few */
	while (most > 4 &&
	       step->nr_rows / most * s->nr_kv_heads < 2 * ctx->nr_threads)
		most /= 2;
	tiles = cut_tiles(ctx, step, most, &keys);
	ns = keys / tiles * g.chunk_heads * s->head_dim * 2 / 20;
	pool_run(ctx->pool, some_tasks, &g, tiles * s->nr_kv_heads * g.chunks,
		 cpu_grain(ns));
	return 0;
}
