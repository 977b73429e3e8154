/* SPDX-License-Identifier: MIT */
/*
 * improve.c - packed weights interleaved behind the steps: 8 or 16 rows together,
 * in one extent of 2 MiB pages, where a product reads memory in one stream.
 * The thread that improves writes made[] and counts; the thread that steps
 * takes over what is counted.  Nothing else is shared.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"

#include <errno.h>

/* Matrix @i of them all: the layers', then the head. */
static struct weight *matrix(struct ops_ctx *ctx, uint32_t i)
{
	struct ops_layer *l;

	if (i / OPS_LAYER_MATRICES >= ctx->shape.nr_layers)
		return &ctx->ends.head;
	l = &ctx->layer[i / OPS_LAYER_MATRICES];
	switch (i % OPS_LAYER_MATRICES) {
	case 0:
		return &l->q;
	case 1:
		return &l->k;
	case 2:
		return &l->v;
	case 3:
		return &l->o;
	case 4:
		return &l->gate;
	case 5:
		return &l->up;
	default:
		return &l->down;
	}
}

/* The same for all sets: in whole groups of 16 rows */
size_t cpu_improved_bytes(const struct weight *w)
{
	uint32_t groups = (w->rows + PACKED_MAX_ROWS - 1) / PACKED_MAX_ROWS;

	if (!weight_is_packed(w->type))
		return 0;
	return (groups * packed_group_bytes(w->type, w->cols, PACKED_MAX_ROWS) +
		63) /
	       64 * 64;
}

/* The extent for all of them, none of it touched yet. */
static int take_extent(struct ops_ctx *ctx, struct cpu_fast *f)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < f->nr; i++)
		bytes += cpu_improved_bytes(matrix(ctx, i));
	f->extent = host_take(ctx, bytes);
	return f->extent ? 0 : -ENOMEM;
}

int cpu_improve(struct ops_ctx *ctx, struct weight *ret_done)
{
	struct cpu_fast *f = &ctx->cpu->fast;
	uint32_t at = f->nr_made; /* only we write it */
	const struct weight *w;
	uint32_t rows = ctx->cpu->kernels.packed->rows;
	uint8_t *out;

	while (at < f->nr && !weight_is_packed(matrix(ctx, at)->type))
		at++;
	if (at == f->nr)
		return 0;
	if (!f->extent && take_extent(ctx, f))
		return -ENOMEM;
	w = matrix(ctx, at);
	f->made[at] = out = f->extent + f->used;
	for (uint32_t r = 0; r < w->rows; r += rows) {
		packed_interleave_avx2(w, r, rows, out);
		out += packed_group_bytes(w->type, w->cols, rows);
	}
	f->used += cpu_improved_bytes(w);
	*ret_done = *w;
	/* pairs with cpu_adopt()'s acquire: the rows before their count */
	atomic_store_explicit(&f->nr_made, at + 1, memory_order_release);
	return 1;
}

void cpu_adopt(struct ops_ctx *ctx)
{
	struct cpu_fast *f = &ctx->cpu->fast;
	/* pairs with cpu_improve()'s release */
	uint32_t made = atomic_load_explicit(&f->nr_made, memory_order_acquire);

	for (; f->nr_adopted < made; f->nr_adopted++)
		matrix(ctx, f->nr_adopted)->fast = f->made[f->nr_adopted];
}
