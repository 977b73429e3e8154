/* SPDX-License-Identifier: MIT */
/*
 * A step planned ahead (core/ahead.h), what the simulated lives of test_sim.c do
 * not tell apart: what is in the index, what is charged, what is held.
 */
#include "tests/test.h"

#include "tests/sim/rig.h"

static struct rig rig;

static void begin(bool ahead)
{
	struct sched_options opt = {
		.nr_blocks = 100,
		.context = 512,
		.max_tokens_per_step = 64,
		.max_running = 8,
		.max_seqs = 16,
		.max_tenants = 4,
		.queue_entries = 16,
		.queue_tokens = 10000,
	};

	CHECK_EQ(rig_init(&rig, &opt, 16), 0);
	rig.ahead = ahead;
	rig.check_all = true;
}

static void end(void)
{
	CHECK_EQ(rig_nr(&rig, RIG_LIVE), 0);
	CHECK_EQ(kv_nr_used(&rig.s.run.kv), 0);
	CHECK_STR(rig.bad, "");
	rig_deinit(&rig);
}

/* Stops unforeseen at the 20th token of its output. */
static void stop(struct rig *r, struct rig_stream *st)
{
	if (st->known == st->prompt_len + 20)
		rig_end(r, st, RIG_DONE);
}

TEST(what_was_put_out_is_found_by_the_next_prompt_as_ever)
{
	static const bool ways[] = { false, true };
	struct rig_stream *first, *next;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		begin(ways[i]);
		first = rig_go(&rig, 1, 4, 5, 70);
		rig_drain(&rig, 1000);
		/* of its 75 tokens 74 were computed: four blocks */
		next = rig_stream(&rig, 1, 75, 3);
		memcpy(next->ids, first->ids, 75 * sizeof(*next->ids));
		next->seed = 4;
		CHECK_EQ(rig_submit(&rig, next), 0);
		rig_drain(&rig, 1000);
		CHECK_EQ(next->cached_len, 64);
		CHECK_EQ(rig.nr_late > 60, ways[i]);
		end();
	}
}

TEST(a_row_in_vain_is_charged_to_nobody_and_not_indexed)
{
	uint64_t served[2] = { 0 }, tokens[2] = { 0 };
	uint32_t cached[2] = { 0 }, way, i, t = 0;

	for (way = 0; way < 2; way++) {
		begin(way);
		rig.on_token = stop;
		/* the last of 12 + 20 tokens fills a block, in vain */
		for (i = 0; i < 6; i++)
			CHECK(rig_go(&rig, 1, 10 + 2 * i, 12, 100));
		rig_drain(&rig, 1000);
		CHECK_EQ(rig.nr_vain, way ? 6 : 0);
		CHECK_EQ(tenant_find(&rig.s.run.tenants, 1, &t), 0);
		served[way] = rig.s.run.tenants.all[t].served;
		tokens[way] = rig.s.decode_tokens;
		cached[way] = rig.s.run.kv.nr_cached;
		end();
	}
	CHECK_EQ(served[0], served[1]);
	CHECK_EQ(tokens[0], tokens[1]);
	CHECK_EQ(cached[0], 6);
	CHECK_EQ(cached[1], 6);
}

TEST(who_ends_keeps_its_blocks_until_no_step_has_rows_of_it)
{
	struct rig_stream *st;
	uint32_t i;

	begin(true);
	st = rig_go(&rig, 1, 4, 20, 100);
	for (i = 0; i < 5; i++)
		rig_step(&rig);
	CHECK_EQ(rig.s.nr_ahead, 1);
	rig_end(&rig, st, RIG_CANCELLED);
	CHECK_EQ(sched_next_deadline(&rig.s), UINT64_MAX);
	CHECK(kv_nr_used(&rig.s.run.kv) > 0);
	CHECK(rig_step(&rig)); /* nothing to plan: it is collected at once */
	CHECK_EQ(rig.s.nr_ahead, 0);
	CHECK_EQ(rig_step(&rig), 0);
	end();
}
