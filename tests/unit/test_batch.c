/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdint.h>

#include "daemon/core/batch.h"
#include "daemon/core/plan.h"
#include "daemon/core/seq.h"

static struct batch b;
static struct plan p;
static uint32_t ids[100], table[8] = { 3, 1, 4, 5, 9, 2, 6, 7 };

static void begin(void)
{
	uint32_t i;

	CHECK_EQ(batch_init(&b, 64, 4, 8), 0);
	CHECK_EQ(plan_init(&p, 4), 0);
	for (i = 0; i < 100; i++)
		ids[i] = 1000 + i;
	plan_begin(&p, &b);
}

static void end(void)
{
	plan_deinit(&p);
	batch_deinit(&b);
}

static struct seq seq(uint32_t known, uint32_t computed)
{
	return (struct seq){ .ids = ids,
			     .prompt_len = 20,
			     .known = known,
			     .stored = known,
			     .computed = computed,
			     .max_len = 100,
			     .tag = 77,
			     .table = table,
			     .table_id = 1,
			     .nr_table = seq_blocks(known),
			     .nr_alt = 2 };
}

TEST(a_span_is_its_tokens_positions_slots_and_one_output_at_the_end)
{
	struct seq q = seq(40, 10);
	uint32_t i;

	begin();
	plan_span(&p, &b, 5, &q, 30);
	CHECK_EQ(b.nr_tokens, 30);
	CHECK_EQ(b.nr_seqs, 1);
	CHECK_EQ(b.query_start[0], 0);
	CHECK_EQ(b.query_start[1], 30);
	CHECK_EQ(b.context_len[0], 40);
	CHECK_EQ(b.tag[0], 77);
	CHECK_EQ(p.seq[0], 5);
	for (i = 0; i < 30; i++) {
		CHECK_EQ(b.token[i], 1010 + i);
		CHECK_EQ(b.position[i], 10 + i);
		CHECK_EQ(b.slot[i], table[(10 + i) / 16] * 16 + (10 + i) % 16);
	}
	CHECK(!memcmp(b.block_table, table, 3 * sizeof(*table)));
	CHECK_EQ(b.nr_outs, 1);
	CHECK_EQ(b.out[0].row, 29);
	CHECK_EQ(b.out[0].want, BATCH_SAMPLE);
	CHECK_EQ(b.out[0].position, 20); /* 40 known, 20 of them prompt */
	CHECK_EQ(b.out[0].prompt_len, 20);
	CHECK_EQ(b.out[0].nr_alt, 2);
	CHECK(b.out[0].history == ids);
	end();
}

TEST(a_chunk_that_does_not_reach_the_end_wants_nothing)
{
	struct seq q = seq(40, 0), r = seq(17, 16);

	begin();
	plan_span(&p, &b, 0, &q, 32);
	CHECK_EQ(b.nr_outs, 0);
	plan_span(&p, &b, 1, &r, 1);
	CHECK_EQ(b.nr_outs, 1);
	CHECK_EQ(b.out[0].row, 32);
	CHECK_EQ(b.out[0].seq, 1);
	CHECK_EQ(b.query_start[2], 33);
	end();
}

TEST(T15_a_row_in_a_block_out_of_the_index_has_its_slot_in_block_0)
{
	struct seq q = seq(32, 31);

	q.nr_hit = 2;
	begin();
	plan_span(&p, &b, 0, &q, 1);
	CHECK(b.slot[0] < KV_BLOCK);
	CHECK_EQ(b.block_table[1], 1);
	CHECK_EQ(b.context_len[0], 32);
	end();
}

TEST(a_score_judges_each_row_by_the_next_token_and_none_twice)
{
	struct seq q = seq(20, 4);
	uint32_t i;

	q.score = true;
	q.scored = 8;
	begin();
	plan_span(&p, &b, 0, &q, 15);
	CHECK_EQ(b.nr_outs, 11);
	for (i = 0; i < 11; i++) {
		CHECK_EQ(b.out[i].want, BATCH_SCORE);
		CHECK_EQ(b.out[i].row, 4 + i);
		CHECK_EQ(b.out[i].position, 8 + i);
		CHECK_EQ(b.out[i].target, 1009 + i);
	}
	end();
}

TEST(a_block_table_row_is_right_when_sequences_change_places)
{
	uint32_t other[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
	struct seq q = seq(40, 39), r = seq(40, 39);

	r.table = other;
	r.table_id = 2;
	begin();
	plan_span(&p, &b, 0, &q, 1);
	plan_span(&p, &b, 1, &r, 1);
	plan_begin(&p, &b);
	/* q grew by a block; then they change places; then q's table is new */
	q.nr_table = 4;
	plan_span(&p, &b, 0, &q, 1);
	CHECK(!memcmp(b.block_table, table, 4 * sizeof(*table)));
	plan_begin(&p, &b);
	plan_span(&p, &b, 1, &r, 1);
	plan_span(&p, &b, 0, &q, 1);
	CHECK(!memcmp(b.block_table, other, 3 * sizeof(*table)));
	CHECK(!memcmp(b.block_table + 8, table, 4 * sizeof(*table)));
	plan_begin(&p, &b);
	other[0] = 20;
	r.table_id = 3;
	plan_span(&p, &b, 1, &r, 1);
	CHECK_EQ(b.block_table[0], 20);
	end();
}
