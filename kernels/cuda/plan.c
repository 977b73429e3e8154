/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/plan.h"

#include "kernels/cuda/cuda.h"
#include "kernels/ops.h"

#include <stddef.h>

uint32_t plan_max_units(uint32_t group, uint32_t rows, uint32_t seqs)
{
	/* a sequence ends in the middle of a unit at most once */
	uint64_t units = (uint64_t)rows * group / CUDA_ATTENTION_ROWS + seqs;

	return units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
}

/* A unit: @row is the first of sequence @seq's. */
struct unit {
	uint32_t seq, row;
};

/* The next one with rows; 0: it was the last. */
static int next_unit(const struct plan_limits *l, const struct step *s,
		     struct unit *u)
{
	u->row += CUDA_ATTENTION_ROWS;
	while (u->seq < s->nr_seqs) {
		uint32_t tokens =
			s->query_start[u->seq + 1] - s->query_start[u->seq];

		if (u->row < tokens * l->group)
			return 1;
		u->seq++;
		u->row = 0;
	}
	return 0;
}

#define EACH_UNIT(u, l, s)                                                     \
	for (struct unit u = { 0, (uint32_t)-CUDA_ATTENTION_ROWS };            \
	     next_unit(l, s, &u);)

/* Tiles that a unit's last row sees, a window's left out not counted. */
static uint32_t tiles_of(const struct plan_limits *l, const struct step *s,
			 const struct unit *u)
{
	uint32_t first = s->query_start[u->seq];
	uint32_t tokens = s->query_start[u->seq + 1] - first;
	uint32_t last = (u->row + CUDA_ATTENTION_ROWS - 1) / l->group;

	last = last < tokens ? last : tokens - 1;
	return s->position[first + last] / CUDA_ATTENTION_TILE + 1;
}

/* How many tiles a warp is to have, and how many units more than that. */
static void divide(const struct plan_limits *l, const struct step *s,
		   struct plan *p)
{
	uint64_t tiles = 0, per, slots;
	uint32_t nr = 0, largest = 0;

	EACH_UNIT(u, l, s)
	{
		p->nr_units++;
		tiles += tiles_of(l, s, &u);
	}
	per = tiles * l->kv_heads * l->split / l->warps;
	p->tiles_per_warp = per > 1 ? (uint32_t)per : 1;
	EACH_UNIT(u, l, s)
	{
		uint32_t t = tiles_of(l, s, &u);

		nr += t > p->tiles_per_warp;
		largest = t > largest ? t : largest;
	}
	slots = (uint64_t)l->kv_heads * largest;
	p->nr_divided = slots ? (uint32_t)(l->slots / slots) : 0;
	if (p->nr_divided > nr)
		p->nr_divided = nr;
	if (p->nr_divided > PLAN_UNITS)
		p->nr_divided = PLAN_UNITS;
}

void plan_step(const struct plan_limits *l, const struct step *s, int32_t *work,
	       struct plan *ret)
{
	struct plan p = { 0 };
	uint32_t divided = 0, whole;

	divide(l, s, &p);
	whole = p.nr_divided;
	EACH_UNIT(u, l, s)
	{
		uint32_t t = tiles_of(l, s, &u), at, *largest;

		if (t > p.tiles_per_warp && divided < p.nr_divided) {
			at = divided++;
			largest = &p.divided_tiles;
		} else {
			at = whole++;
			largest = &p.whole_tiles;
		}
		*largest = t > *largest ? t : *largest;
		work[2 * (size_t)at] = (int32_t)u.seq;
		work[2 * (size_t)at + 1] = (int32_t)u.row;
	}
	*ret = p;
}

int plan_launch(const struct plan *p, uint32_t i, struct plan_launch *ret)
{
	uint64_t first = p->nr_divided;

	if (p->nr_divided && i-- == 0) {
		*ret = (struct plan_launch){
			.count = p->nr_divided,
			.max_tiles = p->divided_tiles,
			.tiles_per_warp = p->tiles_per_warp,
		};
		return 1;
	}
	first += (uint64_t)i * PLAN_UNITS;
	if (first >= p->nr_units)
		return 0;
	*ret = (struct plan_launch){
		.first = (uint32_t)first,
		.count = p->nr_units - (uint32_t)first,
		.max_tiles = p->whole_tiles,
		.tiles_per_warp = p->whole_tiles,
	};
	if (ret->count > PLAN_UNITS)
		ret->count = PLAN_UNITS;
	return 1;
}
