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
static struct cuda_attention_work work[MAX_UNITS], many[MAX_UNITS];
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

/* Those of many rows: no two the same, each half full; @next_row past them. */
static void look_over_many(const struct plan_limits *l, const struct plan *p,
			   uint32_t next_row[MAX_SEQS])
{
	uint32_t size = CUDA_ATTENTION_SM90_ROWS;

	CHECK(p->nr_many <= plan_max_many(l, step.nr_rows));
	for (uint32_t i = 0; i < p->nr_many; i++) {
		const struct cuda_attention_work *w = &many[i];
		uint32_t rows =
			(query_start[w->seq + 1] - query_start[w->seq]) *
			l->group;
		uint32_t row = (uint32_t)w->row;

		/* the last of a sequence first */
		if (!next_row[w->seq])
			next_row[w->seq] = row + size;
		else
			CHECK_EQ(row + size, many[i - 1].row);
		CHECK_EQ(row % size, 0);
		CHECK(row + size / 2 <= rows);
		if (i + 1 == p->nr_many || many[i + 1].seq != w->seq)
			CHECK_EQ(row, 0);
	}
}

/* What a plan for @l comes to, after it was looked over. */
static struct plan plan(const struct plan_limits *l)
{
	uint32_t next_row[MAX_SEQS] = { 0 }, past_many[MAX_SEQS];
	uint32_t nr_units = 0, nr_divided = 0;
	struct unit unit = { 0 };
	struct plan p;

	plan_step(l, &step, many, work, &p);
	look_over_many(l, &p, next_row);
	memcpy(past_many, next_row, sizeof(past_many));
	CHECK(p.nr_work <= plan_max_work(l, step.nr_rows, step.nr_seqs));
	CHECK(p.tiles_per_warp >= 1 || !p.nr_work);
	/* what waits to be folded has room */
	CHECK((uint64_t)p.nr_divided * l->kv_heads * p.divided_tiles <=
	      l->slots);
	for (uint32_t i = 0; i < p.nr_work; i++) {
		const struct cuda_attention_work *w = &work[i];

		if (unit.done == unit.tiles) {
			unit = unit_of(l, w);
			CHECK((uint32_t)w->row >= past_many[w->seq]);
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

		/* a unit of many is as long as it is */
		CHECK(next_row[s] >= rows);
		if (next_row[s] % CUDA_ATTENTION_SM90_ROWS)
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
		{ 1, 4, 1, 24, 4096 },		{ 3, 5, 2, 792, 4096 },
		{ 4, 8, 1, 792, 64 },		{ 7, 1, 1, 6, 100000 },
		{ 16, 2, 1, 792, 1 },		{ 33, 1, 1, 792, 4096 },
		{ 4, 8, 1, 792, 4096, 257, 0 }, { 1, 4, 1, 24, 64, 1, 0 },
		{ 7, 1, 1, 6, 100000, 1, 3 },
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

TEST(chunks_of_prompts_are_for_warpgroups_and_the_rest_is_not)
{
	const struct plan_limits l = { 4, 8, 1, 792, 4096, 257, 8 };
	struct plan p;

	begin();
	add(1, 1000);	/* decodes */
	add(512, 2048); /* 16 units */
	add(3, 900);	/* a draft */
	add(40, 40);	/* a unit, and 32 rows that are two of the others */
	add(50, 50);	/* 72 rows past a unit: two */
	p = plan(&l);
	CHECK_EQ(p.nr_many, 16 + 1 + 2);
	CHECK_EQ(many[0].seq, 1);
	CHECK_EQ(many[0].row, 15 * 128);
	CHECK_EQ(p.nr_units, 1 + 1 + 2);
	CHECK_EQ(work[p.nr_work - 1].seq, 3);
	CHECK_EQ(work[p.nr_work - 1].row, 128 + 16);
}

TEST(few_rows_or_few_units_are_for_warps)
{
	struct plan_limits l = { 4, 8, 1, 792, 4096, 257, 8 };

	begin();
	add(256, 256);
	CHECK_EQ(plan(&l).nr_many, 0); /* a graph has so many */
	l.many = 256;
	CHECK_EQ(plan(&l).nr_many, 8);
	l.many_units = 9; /* too few to fill the device */
	CHECK_EQ(plan(&l).nr_many, 0);
	l.many = 0;
	l.many_units = 0;
	CHECK_EQ(plan(&l).nr_many, 0);
	begin();
	for (uint32_t i = 0; i < 280; i++)
		add(1, 100);
	l.many = 257;
	CHECK_EQ(plan(&l).nr_many, 0); /* no chunk among them */
}
