/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/plan.h"

#include "kernels/cuda/cuda.h"
#include "kernels/ops.h"

#include <stddef.h>

uint32_t plan_max_work(const struct plan_limits *l, uint32_t rows,
		       uint32_t seqs)
{
	/* a sequence ends in the middle of a unit at most once */
	uint64_t units = (uint64_t)rows * l->group / CUDA_ATTENTION_ROWS + seqs;
	/* and a unit in the middle of a warp's tiles: divide() */
	uint64_t all = units + l->warps / (l->kv_heads * l->split);

	return all < UINT32_MAX ? (uint32_t)all : UINT32_MAX;
}

uint32_t plan_max_many(const struct plan_limits *l, uint32_t rows)
{
	uint64_t half = CUDA_ATTENTION_SM90_ROWS / 2;

	/* a unit is at least half full */
	return l->many && rows >= l->many
		       ? (uint32_t)((uint64_t)rows * l->group / half)
		       : 0;
}

static uint32_t rows_of(const struct plan_limits *l, const struct step *s,
			uint32_t seq)
{
	return (s->query_start[seq + 1] - s->query_start[seq]) * l->group;
}

/* Units of @seq for cuda_attention_sm90(): a rest that half fills one is one. */
static uint32_t many_of(const struct plan_limits *l, const struct step *s,
			uint32_t seq)
{
	uint32_t size = CUDA_ATTENTION_SM90_ROWS;

	return l->many ? (rows_of(l, s, seq) + size / 2) / size : 0;
}

/* Whether there are enough of these to fill the device as well as warps do. */
static int enough(const struct plan_limits *l, const struct step *s)
{
	uint32_t nr = 0;

	if (!l->many || s->nr_rows < l->many)
		return 0;
	for (uint32_t seq = 0; seq < s->nr_seqs; seq++)
		nr += many_of(l, s, seq);
	return nr && nr >= l->many_units;
}

static void put_many(const struct plan_limits *l, const struct step *s,
		     struct cuda_attention_work *many, struct plan *p)
{
	for (uint32_t seq = 0; seq < s->nr_seqs; seq++)
		for (uint32_t i = many_of(l, s, seq); i--;)
			many[p->nr_many++] = (struct cuda_attention_work){
				.seq = (int)seq,
				.row = (int)(i * CUDA_ATTENTION_SM90_ROWS),
				.place = -1,
			};
}

/* A unit of the others: @row is the first of sequence @seq's. */
struct unit {
	uint32_t seq, row;
};

/* The next one with rows; 0: it was the last. */
static int next_unit(const struct plan_limits *l, const struct step *s,
		     struct unit *u)
{
	u->row += CUDA_ATTENTION_ROWS;
	while (u->seq < s->nr_seqs) {
		uint32_t before =
			many_of(l, s, u->seq) * CUDA_ATTENTION_SM90_ROWS;

		u->row = u->row < before ? before : u->row;
		if (u->row < rows_of(l, s, u->seq))
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
	uint32_t heads = l->kv_heads * l->split, nr = 0, largest = 0;
	uint64_t tiles = 0, slots;

	EACH_UNIT(u, l, s)
	{
		p->nr_units++;
		tiles += tiles_of(l, s, &u);
	}
	/* upward: there are no more whole shares than warps */
	p->tiles_per_warp =
		(uint32_t)((tiles * heads + l->warps - 1) / l->warps);
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
}

/* The next of those that are divided, @tiles long. */
static void put_parts(const struct unit *u, uint32_t tiles, uint32_t place,
		      struct cuda_attention_work *work, struct plan *p)
{
	for (uint32_t part = 0; part * p->tiles_per_warp < tiles; part++)
		work[p->nr_work++] = (struct cuda_attention_work){
			.seq = (int)u->seq,
			.row = (int)u->row,
			.place = (int)place,
			.part = (int)part,
		};
}

void plan_step(const struct plan_limits *limits, const struct step *s,
	       struct cuda_attention_work *many,
	       struct cuda_attention_work *work, struct plan *ret)
{
	struct plan_limits all = *limits, *l = &all;
	uint32_t divided = 0, left;
	struct plan p = { 0 };

	if (!enough(l, s))
		l->many = 0;
	put_many(l, s, many, &p);
	divide(l, s, &p);
	EACH_UNIT(u, l, s)
	{
		uint32_t t = tiles_of(l, s, &u);

		if (divided == p.nr_divided)
			break;
		if (t <= p.tiles_per_warp)
			continue;
		put_parts(&u, t, divided++, work, &p);
		if (t > p.divided_tiles)
			p.divided_tiles = t;
	}
	left = p.nr_divided;
	EACH_UNIT(u, l, s)
	{
		if (left && tiles_of(l, s, &u) > p.tiles_per_warp) {
			left--;
			continue;
		}
		work[p.nr_work++] = (struct cuda_attention_work){
			.seq = (int)u.seq, .row = (int)u.row, .place = -1
		};
	}
	*ret = p;
}
