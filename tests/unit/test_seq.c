/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdint.h>

#include "daemon/core/kv.h"
#include "daemon/core/seq.h"

static const uint8_t key[16] = { 1 };
static struct kv kv;
static struct prefix p;
static uint32_t ids[200], tables[4][16], dom;

static void begin(uint32_t nr_blocks)
{
	struct prefix_domain_key k = { .tenant = 1 };
	uint32_t i;

	CHECK_EQ(kv_init(&kv, nr_blocks), 0);
	CHECK_EQ(prefix_init(&p, &kv, key, 8), 0);
	dom = prefix_domain_get(&p, &k);
	for (i = 0; i < 200; i++)
		ids[i] = i * i;
}

static void end(void)
{
	const char *bad = kv_check(&kv);

	bad = bad ? bad : prefix_check(&p);
	CHECK_STR(bad ? bad : "", "");
	prefix_deinit(&p);
	kv_deinit(&kv);
}

/* A sequence that knows @known tokens and holds what the index has. */
static struct seq enter(uint32_t at, uint32_t known)
{
	struct seq q = { .ids = ids,
			 .known = known,
			 .stored = known,
			 .prompt_len = known,
			 .max_len = 200,
			 .domain = dom,
			 .table = tables[at] };
	struct prefix_pos pos;
	uint32_t nr_free, nr_hit;

	nr_hit = seq_match(&q, &p, q.table, &pos, &nr_free);
	seq_take_hits(&q, &p, nr_hit, &pos);
	return q;
}

static void compute(struct seq *q, uint32_t upto)
{
	while (q->nr_table < seq_blocks(q->known))
		CHECK_EQ(seq_grow(q, &p), 0);
	q->computed = upto;
	seq_index(q, &p);
}

TEST(blocks_of_tokens_round_up)
{
	CHECK_EQ(seq_blocks(0), 0);
	CHECK_EQ(seq_blocks(1), 1);
	CHECK_EQ(seq_blocks(16), 1);
	CHECK_EQ(seq_blocks(17), 2);
	CHECK_EQ(seq_blocks(UINT32_MAX), 1u << 28);
}

TEST(only_whole_computed_blocks_are_shared)
{
	struct seq a, b;

	begin(16);
	a = enter(0, 50);
	CHECK_EQ(a.nr_hit, 0);
	compute(&a, 47);
	b = enter(1, 50);
	CHECK_EQ(b.nr_hit, 2);
	CHECK_EQ(b.computed, 32);
	CHECK_EQ(b.table[1], a.table[1]);
	CHECK_EQ(seq_nr_private(&a, &kv), 2);
	compute(&a, 50);
	seq_release(&b, &p);
	b = enter(1, 50);
	CHECK_EQ(b.nr_hit, 3);
	seq_release(&b, &p);
	seq_release(&a, &p);
	CHECK_EQ(kv_nr_used(&kv), 0);
	end();
}

TEST(T15_a_whole_hit_leaves_the_last_token_to_be_run)
{
	struct seq a, b;

	begin(16);
	a = enter(0, 32);
	compute(&a, 32);
	b = enter(1, 32);
	CHECK_EQ(b.nr_hit, 2);
	CHECK_EQ(b.computed, 31);
	b.known = 33;
	seq_release(&b, &p);
	b = enter(1, 33);
	CHECK_EQ(b.computed, 32);
	seq_release(&b, &p);
	seq_release(&a, &p);
	end();
}

TEST(T36_a_score_matches_nothing_and_goes_to_the_last_but_one)
{
	struct seq a, q;
	struct prefix_pos pos;
	uint32_t nr_free;

	begin(16);
	a = enter(0, 32);
	compute(&a, 32);
	q = a;
	q.score = true;
	CHECK_EQ(seq_match(&q, &p, tables[1], &pos, &nr_free), 0);
	CHECK_EQ(seq_goal(&q), 31);
	CHECK_EQ(seq_goal(&a), 32);
	seq_release(&a, &p);
	end();
}

TEST(a_full_pool_evicts_the_oldest_cached_block_and_no_held_one)
{
	struct seq a, b;

	begin(5);
	a = enter(0, 48);
	compute(&a, 48);
	seq_release(&a, &p);
	b = (struct seq){
		.ids = ids + 100, .known = 32, .domain = dom, .table = tables[1]
	};
	prefix_root(&p, dom, &b.pos);
	CHECK_EQ(seq_grow(&b, &p), 0);
	CHECK_EQ(p.nr_entries, 3);
	CHECK_EQ(seq_grow(&b, &p), 0);
	CHECK_EQ(p.nr_entries, 2);
	/* the chain's tail went first: its head is still of use */
	a = enter(0, 48);
	CHECK_EQ(a.nr_hit, 2);
	CHECK_EQ(seq_grow(&a, &p), -ENOSPC);
	seq_release(&b, &p);
	seq_release(&a, &p);
	end();
}

/* All of @q behind its first 10 tokens is output, in a place of its own. */
static void put_out(struct seq *q)
{
	static uint32_t own[200], out[200][4];
	uint32_t i;

	memset(own, 0xff, sizeof(own)); /* what another left there */
	memcpy(own, ids, 10 * sizeof(*ids));
	for (i = 0; i + 10 < 200; i++)
		out[i][0] = ids[10 + i];
	q->ids = own;
	q->out = out[0];
	q->out_stride = 4;
	q->prompt_len = q->stored = 10;
}

static void again_from_the_root(bool out)
{
	struct seq a, b, c;

	begin(8);
	/* both compute the same: b's first block stays its private copy */
	a = enter(0, 33);
	b = enter(1, 33);
	if (out)
		put_out(&b);
	compute(&a, 16);
	compute(&b, 16);
	CHECK_EQ(p.nr_entries, 1);
	CHECK_EQ(b.pos.parent, a.table[0]);
	seq_release(&a, &p);
	CHECK_EQ(kv.nr_cached, 1);
	/* the canonical block goes; b then indexes its own two */
	c = (struct seq){ .domain = PREFIX_NONE, .table = tables[2] };
	while (!seq_grow(&c, &p))
		;
	CHECK_EQ(p.nr_entries, 0);
	compute(&b, 32);
	CHECK_EQ(p.nr_entries, 2);
	seq_release(&c, &p);
	c = enter(2, 33);
	CHECK_EQ(c.nr_hit, 2);
	CHECK_EQ(c.table[0], b.table[0]);
	seq_release(&c, &p);
	seq_release(&b, &p);
	end();
}

TEST(a_chain_through_anothers_evicted_block_is_indexed_again_from_the_root)
{
	again_from_the_root(false);
}

TEST(and_by_its_output_where_that_lies_elsewhere)
{
	again_from_the_root(true);
}
