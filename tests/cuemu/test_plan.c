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
static int32_t work[MAX_UNITS * 2];
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

/* What a plan for @l comes to, after it was looked over. */
static struct plan plan(const struct plan_limits *l)
{
	uint32_t next_row[MAX_SEQS] = { 0 }, nr = 0, i = 0;
	struct plan_launch launch;
	struct plan p;

	plan_step(l, &step, work, &p);
	CHECK(p.nr_units <=
	      plan_max_units(l->group, step.nr_rows, step.nr_seqs));
	for (; plan_launch(&p, i, &launch); i++) {
		CHECK_EQ(launch.first, nr);
		CHECK(launch.count && launch.count <= PLAN_UNITS);
		CHECK(launch.tiles_per_warp >= 1);
		/* what waits to be folded has room */
		if (launch.tiles_per_warp < launch.max_tiles)
			CHECK((uint64_t)launch.count * l->kv_heads *
				      launch.max_tiles <=
			      l->slots);
		for (uint32_t u = nr; u < nr + launch.count; u++) {
			uint32_t seq = (uint32_t)work[2 * u];
			uint32_t row = (uint32_t)work[2 * u + 1];
			uint32_t end =
				(row + CUDA_ATTENTION_ROWS - 1) / l->group + 1;
			uint32_t tokens =
				query_start[seq + 1] - query_start[seq];

			CHECK(row < tokens * l->group);
			CHECK_EQ(row % CUDA_ATTENTION_ROWS, 0);
			next_row[seq] += CUDA_ATTENTION_ROWS;
			end = end < tokens ? end : tokens;
			/* its last token's tiles are among the launch's */
			CHECK(position[query_start[seq] + end - 1] /
				      CUDA_ATTENTION_TILE <
			      launch.max_tiles);
		}
		nr += launch.count;
	}
	CHECK_EQ(nr, p.nr_units);
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
	CHECK_EQ(work[0], 100);
	CHECK_EQ(p.divided_tiles, 782);
	CHECK_EQ(p.whole_tiles, 2);
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

TEST(more_units_than_a_launch_takes_are_several)
{
	const struct plan_limits l = { 16, 2, 1, 792, 4096 };
	struct plan_launch launch;
	struct plan p;

	begin();
	add(PLAN_UNITS + 10, PLAN_UNITS + 10);
	p = plan(&l);
	CHECK_EQ(p.nr_units, PLAN_UNITS + 10);
	CHECK(plan_launch(&p, 1, &launch));
	CHECK_EQ(launch.count, 10);
	CHECK(!plan_launch(&p, 2, &launch));
}
