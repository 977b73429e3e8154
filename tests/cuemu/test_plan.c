/* SPDX-License-Identifier: MIT */
/* Which warps attend to what: every row once, within the room there is. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/plan.h"
#include "kernels/ops.h"
#include "tests/test.h"

#define MAX_SEQS  300u
#define MAX_ROWS  4096u
#define MAX_UNITS (1u << 17)

static uint32_t query_start[MAX_SEQS + 1], position[MAX_ROWS * 17];
static struct cuda_attention_work work[MAX_UNITS];
static struct step step;

static void begin(void)
{
	step = (struct step){
		.query_start = query_start,
		.position = position,
	};
}

/* @n query tokens that end a context of @len. */
static void add(uint32_t n, uint32_t len)
{
	for (uint32_t i = 0; i < n; i++)
		position[step.nr_rows + i] = len - n + i;
	step.nr_rows += n;
	query_start[++step.nr_seqs] = step.nr_rows;
}

/* A unit of the plan at hand: its tiles, and which of them some work has. */
struct unit {
	uint32_t tiles, done;
	int32_t place;
};

static struct unit unit_of(const struct plan_limits *l,
			   const struct cuda_attention_work *w)
{
	uint32_t first = query_start[w->seq];
	uint32_t tokens = query_start[w->seq + 1] - first;
	uint32_t end = ((uint32_t)w->row + CUDA_ATTENTION_ROWS - 1) / l->group;

	CHECK((uint32_t)w->row < tokens * l->group);
	CHECK_EQ(w->row % CUDA_ATTENTION_ROWS, 0);
	end = end < tokens ? end : tokens - 1;
	return (struct unit){
		.tiles = position[first + end] / CUDA_ATTENTION_TILE + 1,
		.place = w->place,
	};
}

/* What a plan for @l comes to, after it was looked over. */
static struct plan plan(const struct plan_limits *l)
{
	uint32_t next_row[MAX_SEQS] = { 0 }, nr_units = 0, nr_divided = 0;
	struct unit unit = { 0 };
	struct plan p;

	plan_step(l, &step, work, &p);
	CHECK(p.nr_work <= plan_max_work(l, step.nr_rows, step.nr_seqs));
	CHECK(p.tiles_per_warp >= 1);
	/* what waits to be folded has room */
	CHECK((uint64_t)p.nr_divided * l->kv_heads * p.divided_tiles <=
	      l->slots);
	for (uint32_t i = 0; i < p.nr_work; i++) {
		const struct cuda_attention_work *w = &work[i];

		if (unit.done == unit.tiles) {
			unit = unit_of(l, w);
			next_row[w->seq] += CUDA_ATTENTION_ROWS;
			nr_units++;
			if (w->place >= 0) {
				CHECK_EQ(w->place, nr_divided++);
				CHECK_EQ(w->part, 0);
				CHECK(unit.tiles <= p.divided_tiles);
			}
		}
		CHECK_EQ(w->place, unit.place);
		if (w->place >= 0)
			CHECK_EQ(w->part * p.tiles_per_warp, unit.done);
		unit.done += w->place < 0 ? unit.tiles : p.tiles_per_warp;
		if (unit.done > unit.tiles)
			unit.done = unit.tiles;
	}
	CHECK_EQ(unit.done, unit.tiles);
	CHECK_EQ(nr_units, p.nr_units);
	CHECK_EQ(nr_divided, p.nr_divided);
	for (uint32_t s = 0; s < step.nr_seqs; s++) {
		uint32_t rows =
			(query_start[s + 1] - query_start[s]) * l->group;

		CHECK_EQ(next_row[s], (rows + CUDA_ATTENTION_ROWS - 1) /
					      CUDA_ATTENTION_ROWS *
					      CUDA_ATTENTION_ROWS);
	}
	return p;
}

TEST(one_long_context_is_divided_among_many_warps)
{
	const struct plan_limits l = { 4, 8, 1, 792, 4096 };
	struct plan p;

	begin();
	add(1, 8192);
	p = plan(&l);
	CHECK_EQ(p.nr_units, 1);
	CHECK_EQ(p.nr_divided, 1);
	CHECK_EQ(p.tiles_per_warp, 1); /* 64 tiles of 8 heads: 512 warps */
}

TEST(many_contexts_fill_the_device_undivided)
{
	const struct plan_limits l = { 4, 8, 1, 792, 4096 };
	struct plan p;

	begin();
	for (uint32_t i = 0; i < 256; i++)
		add(1, 1024);
	p = plan(&l);
	CHECK_EQ(p.nr_units, 256);
	CHECK_EQ(p.nr_divided, 0);
}

TEST(one_long_among_many_short_is_divided_alone)
{
	const struct plan_limits l = { 4, 8, 1, 792, 8192 };
	struct plan p;

	begin();
	for (uint32_t i = 0; i < 100; i++)
		add(1, 100 + i);
	add(1, 100000);
	for (uint32_t i = 0; i < 100; i++)
		add(1, 200);
	p = plan(&l);
	CHECK_EQ(p.nr_divided, 1);
	CHECK_EQ(work[0].seq, 100);
	CHECK_EQ(p.divided_tiles, 782);
}

TEST(what_has_no_room_to_wait_is_not_divided)
{
	const struct plan_limits l = { 1, 4, 1, 10000, 64 };
	struct plan p;

	begin();
	for (uint32_t i = 0; i < 5; i++)
		add(1, 1000); /* 8 tiles of 4 heads: two have room */
	p = plan(&l);
	CHECK_EQ(p.nr_divided, 2);
	begin();
	add(1, 3000); /* 24 tiles */
	p = plan(&l);
	CHECK_EQ(p.nr_divided, 0);
}

TEST(prompts_chunks_and_empty_spans_have_each_row_once)
{
	static const struct plan_limits l[] = {
		{ 1, 4, 1, 24, 4096 }, { 3, 5, 2, 792, 4096 },
		{ 4, 8, 1, 792, 64 },  { 7, 1, 1, 6, 100000 },
		{ 16, 2, 1, 792, 1 },  { 33, 1, 1, 792, 4096 },
	};

	for (size_t i = 0; i < sizeof(l) / sizeof(*l); i++) {
		begin();
		add(1, 1);
		add(0, 0);
		add(777, 777);
		add(5, 129);
		add(16, 4000);
		add(0, 0);
		add(1, 128);
		plan(&l[i]);
	}
}

/* However long contexts are: that is what a launch of unknown ones starts. */
TEST(shares_are_no_more_than_units_and_warps)
{
	static const uint32_t lens[] = { 1, 129, 1000, 5000, 40000, 130000 };
	const struct plan_limits l = { 4, 8, 1, 792, 1 << 20 };

	for (uint32_t i = 0; i < 6; i++)
		for (uint32_t k = 0; k < 6; k++)
			for (uint32_t n = 1; n < 200; n = 3 * n + 1) {
				begin();
				for (uint32_t s = 0; s < n; s++)
					add(1, lens[s % 2 ? i : k]);
				plan(&l);
			}
	begin();
	add(1, 1000000);
	CHECK_EQ(plan(&l).nr_work, 99); /* of 8 heads: all 792 */
}
