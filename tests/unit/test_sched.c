/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "tests/sim/rig.h"

#include <errno.h>

static struct rig rig;

static struct sched_options options(uint32_t nr_blocks, uint32_t max_tokens)
{
	return (struct sched_options){
		.nr_blocks = nr_blocks,
		.context = 4096,
		.max_tokens_per_step = max_tokens,
		.max_running = 64,
		.max_seqs = 2048,
		.max_tenants = 64,
		.queue_entries = 1024,
		.queue_tokens = 10000000,
		.hash_key = { 1, 2, 3 },
	};
}

static void begin(uint32_t nr_blocks, uint32_t max_tokens)
{
	struct sched_options opt = options(nr_blocks, max_tokens);

	CHECK_EQ(rig_init(&rig, &opt, 2048), 0);
	rig.check_all = true;
}

static void end(void)
{
	CHECK_STR(rig.bad, "");
	rig_deinit(&rig);
}

TEST(a_sequence_runs_to_its_end_and_gives_all_blocks_back)
{
	struct rig_stream *st;

	begin(64, 64);
	st = rig_go(&rig, 7, 1, 100, 50);
	CHECK(st);
	/* two chunks of prompt, then a token a step; the first came with it */
	CHECK_EQ(rig_drain(&rig, 1000), 2 + 49);
	CHECK_EQ(st->state, RIG_DONE);
	CHECK_EQ(kv_nr_used(&rig.s.run.kv), 0);
	end();
}

TEST(sequences_of_any_length_and_chunk_get_their_tokens)
{
	static const uint32_t chunks[] = { 1, 7, 16, 33, 64, 1000 };
	uint32_t i, k;

	for (k = 0; k < sizeof(chunks) / sizeof(*chunks); k++) {
		begin(300, chunks[k]);
		for (i = 0; i < 40; i++)
			CHECK(rig_go(&rig, i % 3, i / 2, 1 + i * 5,
				     1 + i % 20));
		rig_drain(&rig, 100000);
		CHECK_STR(rig.bad, "");
		CHECK_EQ(rig_nr(&rig, RIG_DONE), 40);
		CHECK_EQ(kv_nr_used(&rig.s.run.kv), 0);
		end();
	}
}

TEST(a_request_that_makes_no_sense_or_can_never_run_is_refused)
{
	static uint32_t ids[64];
	static const struct {
		const char *name;
		struct sched_request req;
		int want;
	} cases[] = {
		{ "an empty prompt",
		  { .ids = ids, .known = 0, .max_len = 9 },
		  -EINVAL },
		{ "no ids",
		  { .prompt_len = 1, .known = 1, .max_len = 9 },
		  -EINVAL },
		{ "known before the prompt's end",
		  { .ids = ids, .prompt_len = 3, .known = 2, .max_len = 9 },
		  -EINVAL },
		{ "known past its length",
		  { .ids = ids, .prompt_len = 3, .known = 9, .max_len = 8 },
		  -EINVAL },
		{ "a class that is none",
		  { .ids = ids,
		    .prompt_len = 3,
		    .known = 3,
		    .max_len = 8,
		    .cls = (enum sched_class)3 },
		  -EINVAL },
		{ "a score of one token",
		  { .ids = ids,
		    .prompt_len = 1,
		    .known = 1,
		    .max_len = 1,
		    .score = true },
		  -EINVAL },
		{ "over the context",
		  { .ids = ids, .prompt_len = 3, .known = 3, .max_len = 4097 },
		  -E2BIG },
		{ "over all blocks",
		  { .ids = ids,
		    .prompt_len = 3,
		    .known = 3,
		    .max_len = 16 * 31 + 1 },
		  -E2BIG },
		{ "just within all blocks",
		  { .ids = ids,
		    .prompt_len = 3,
		    .known = 3,
		    .max_len = 16 * 31 },
		  0 },
	};
	uint32_t i, id;

	begin(32, 64);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ROW(cases[i].name);
		CHECK_EQ(sched_add(&rig.s, &cases[i].req, &id), cases[i].want);
	}
	end();
}

TEST(a_full_queue_is_busy_for_its_tenant_alone)
{
	struct sched_options opt = options(32, 64);
	uint32_t i;

	opt.queue_entries = 5;
	opt.queue_tokens = 100;
	CHECK_EQ(rig_init(&rig, &opt, 64), 0);
	for (i = 0; i < 5; i++)
		CHECK(rig_go(&rig, 1, i, 10, 1));
	CHECK(!rig_go(&rig, 1, 9, 10, 1));
	CHECK(rig_go(&rig, 2, 9, 90, 1));
	CHECK(!rig_go(&rig, 2, 9, 11, 1));
	CHECK(rig_go(&rig, 2, 9, 10, 1));
	/* one request always fits, however few tokens may queue */
	CHECK(rig_go(&rig, 3, 9, 101, 1));
	rig_drain(&rig, 1000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 8);
	CHECK(rig_go(&rig, 1, 9, 10, 1));
	end();
}

TEST(sequences_and_tenants_that_are_all_taken_are_busy)
{
	struct sched_options opt = options(32, 64);

	opt.max_seqs = 64;
	opt.max_tenants = 2;
	CHECK_EQ(rig_init(&rig, &opt, 128), 0);
	CHECK(rig_go(&rig, 1, 1, 10, 1));
	CHECK(rig_go(&rig, 2, 1, 10, 1));
	CHECK(!rig_go(&rig, 3, 1, 10, 1));
	while (rig_go(&rig, 1, 1, 10, 1))
		;
	CHECK_EQ(rig_nr(&rig, RIG_LIVE), 64);
	rig_drain(&rig, 1000);
	/* an idle tenant gives its place to a new one */
	CHECK(rig_go(&rig, 3, 1, 10, 1));
	end();
}

/* Steps until the first token of a new request of @tenant. */
static uint32_t steps_to_first(uint64_t tenant, uint64_t seed, uint32_t len)
{
	struct rig_stream *st = rig_go(&rig, tenant, seed, len, 5);

	CHECK(st);
	while (!st->first_ns)
		CHECK(rig_step(&rig));
	rig_drain(&rig, 1000);
	return (uint32_t)(st->first_step - st->start_step);
}

TEST(T11_a_tenant_hits_its_own_blocks_and_never_anothers)
{
	uint32_t cold, other;

	begin(100, 64);
	cold = steps_to_first(2, 7, 320);
	end();

	begin(100, 64);
	steps_to_first(1, 7, 320);
	CHECK_EQ(rig.s.run.hit_tokens, 0);
	/* another tenant, same prompt: as if the first had never been */
	other = steps_to_first(2, 7, 320);
	CHECK_EQ(other, cold);
	CHECK_EQ(rig.s.run.hit_tokens, 0);
	/* its own: all but the last token is there */
	CHECK_EQ(steps_to_first(2, 7, 320), 1);
	CHECK_EQ(rig.s.run.hit_tokens, 319);
	CHECK_EQ(steps_to_first(1, 7, 320), 1);
	end();
}

/* Whole blocks that the index has of the first @nr tokens of @st. */
static uint32_t indexed(const struct rig_stream *st, uint32_t nr)
{
	struct prefix_domain_key key = { .tenant = st->tenant };
	struct prefix_pos pos;
	uint32_t d = prefix_domain_get(&rig.s.run.prefix, &key), n = 0;

	prefix_root(&rig.s.run.prefix, d, &pos);
	while ((n + 1) * KV_BLOCK <= nr &&
	       prefix_find(&rig.s.run.prefix, &pos, st->ids + n * KV_BLOCK))
		n++;
	prefix_domain_put(&rig.s.run.prefix, d);
	return n;
}

/* The sampled token is not wanted: a stop string was complete before it. */
static void refuse_at_31(struct rig *r, struct rig_stream *st)
{
	if (st->known == 32)
		rig_end(r, st, RIG_DONE);
}

static void cancel_in_flight(struct rig *r)
{
	rig_end(r, &r->streams[0], RIG_CANCELLED);
}

TEST(T14_nothing_is_indexed_that_was_not_committed_and_written)
{
	struct rig_stream *st;

	/* the 32nd token is sampled and refused: its block is not found */
	begin(64, 64);
	rig.on_token = refuse_at_31;
	st = rig_go(&rig, 1, 1, 20, 50);
	rig_drain(&rig, 100);
	CHECK_EQ(st->known, 32);
	CHECK_EQ(indexed(st, 32), 1);
	end();

	/* committed, but its KV is only written by the step after */
	begin(64, 64);
	st = rig_go(&rig, 1, 1, 20, 50);
	while (st->known < 32)
		rig_step(&rig);
	CHECK_EQ(indexed(st, 32), 1);
	rig_step(&rig);
	CHECK_EQ(indexed(st, 32), 2);
	end();

	/* gone while its step ran: what that step wrote is nobody's */
	begin(64, 64);
	st = rig_go(&rig, 1, 1, 40, 50);
	rig.in_flight = cancel_in_flight;
	rig_step(&rig);
	CHECK_EQ(st->state, RIG_CANCELLED);
	CHECK_EQ(indexed(st, 40), 0);
	CHECK_EQ(kv_nr_used(&rig.s.run.kv), 0);
	end();
}

TEST(T15_a_prompt_of_whole_cached_blocks_gives_its_output_and_writes_nothing)
{
	static const uint32_t lens[] = { 16, 32, 48 };
	uint64_t before[3 * KV_BLOCK * 40];
	uint32_t i, k;

	for (i = 0; i < 3; i++) {
		struct rig_stream *st;

		begin(40, 64);
		steps_to_first(1, 5, lens[i]);
		memcpy(before, rig.kv, sizeof(*before) * 40 * KV_BLOCK);
		/* two at once, so that the blocks are really shared */
		rig_go(&rig, 1, 5, lens[i], 2);
		st = rig_go(&rig, 1, 5, lens[i], 2);
		CHECK_EQ(rig_step(&rig), 2);
		CHECK_EQ(rig.b.nr_outs, 2);
		for (k = 0; k < 2; k++) {
			CHECK_EQ(rig.b.position[k], lens[i] - 1);
			CHECK(rig.b.slot[k] < KV_BLOCK);
			CHECK_EQ(rig.b.context_len[k], lens[i]);
		}
		CHECK(st->first_ns);
		CHECK_EQ(rig.s.run.kv.nr_shared, lens[i] / KV_BLOCK);
		CHECK(!memcmp(before, rig.kv, sizeof(*before) * 40 * KV_BLOCK));
		rig_drain(&rig, 100);
		CHECK_EQ(st->cached_len, lens[i] - 1);
		CHECK_EQ(rig_nr(&rig, RIG_DONE), 3);
		end();
	}
}

TEST(T18_in_a_pool_too_small_for_two_both_finish_with_few_preemptions)
{
	static const struct {
		const char *name;
		uint32_t nr_blocks, prompt, out, most;
	} cases[] = {
		/* most: 2 sequences, log2(length / 64) + 1 each, and one */
		{ "16 blocks each, 20 there", 21, 16, 240, 2 * 3 },
		{ "64 blocks each, 70 there", 71, 16, 1000, 2 * 5 },
		{ "64 blocks each, 64 there", 65, 16, 1008, 2 * 5 },
		{ "200 blocks each, 201 there", 202, 100, 3000, 2 * 7 },
	};
	uint32_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ROW(cases[i].name);
		begin(cases[i].nr_blocks, 64);
		rig_go(&rig, 1, 1, cases[i].prompt, cases[i].out);
		rig_go(&rig, 2, 2, cases[i].prompt, cases[i].out);
		rig_drain(&rig, 20000);
		CHECK_STR(rig.bad, "");
		CHECK_EQ(rig_nr(&rig, RIG_DONE), 2);
		CHECK(rig.s.run.nr_preempts > 0);
		CHECK(rig.s.run.nr_preempts <= cases[i].most);
		end();
	}
}

TEST(many_in_a_small_pool_all_finish_each_seldom_preempted)
{
	uint32_t i;

	begin(65, 64);
	for (i = 0; i < 40; i++)
		CHECK(rig_go(&rig, i % 4, i, 20, 600));
	rig_drain(&rig, 100000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 40);
	CHECK(rig.s.run.nr_preempts > 0);
	for (i = 0; i < 40; i++)
		CHECK(rig.streams[i].nr_preempts <= 5); /* log2(620/64) + 1 */
	end();
}

/* A request of class @cls, running or at least submitted. */
static struct rig_stream *go_class(uint64_t tenant, uint64_t seed,
				   uint32_t prompt, uint32_t out,
				   enum sched_class cls)
{
	struct rig_stream *st = rig_stream(&rig, tenant, prompt, out);

	rig_prompt(&rig, st, seed, 0);
	st->cls = cls;
	CHECK_EQ(rig_submit(&rig, st), 0);
	return st;
}

TEST(T22_a_higher_class_displaces_a_lower_one_an_equal_never)
{
	struct sched_options opt = options(200, 64);
	struct rig_stream *low[4], *high, *equal;
	uint32_t i, n = 0;

	opt.max_running = 4;
	CHECK_EQ(rig_init(&rig, &opt, 64), 0);
	for (i = 0; i < 4; i++)
		low[i] = go_class(1, i, 20, 200, CLASS_BATCH);
	for (i = 0; i < 10; i++)
		rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_running, 4);
	equal = go_class(2, 9, 20, 20, CLASS_BATCH);
	for (i = 0; i < 10; i++)
		rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_preempts, 0);
	CHECK(!equal->first_ns);
	high = go_class(3, 10, 20, 20, CLASS_INTERACTIVE);
	rig_step(&rig);
	CHECK(high->first_ns);
	CHECK_EQ(rig.s.run.nr_preempts, 1);
	rig_drain(&rig, 10000);
	for (i = 0; i < 4; i++)
		n += low[i]->nr_preempts;
	CHECK_EQ(n, 1);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 6);
	end();
}

TEST(T22_for_blocks_too_and_not_beyond_the_floor_of_the_lower_class)
{
	struct rig_stream *low, *high, *equal;

	begin(101, 64);
	low = go_class(1, 1, 800, 300, CLASS_IDLE);
	while (!low->first_ns)
		rig_step(&rig);
	equal = go_class(2, 2, 800, 10, CLASS_IDLE);
	rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_preempts, 0);
	high = go_class(3, 3, 800, 10, CLASS_BATCH);
	rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_preempts, 1);
	CHECK(sched_get(&rig.s, high->id)->slot != SEQ_NONE);
	rig_drain(&rig, 10000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 3);
	CHECK(high->first_ns < equal->first_ns);
	end();
}

TEST(T28_a_stream_that_is_held_stops_alone_and_yields_its_blocks)
{
	struct rig_stream *held, *st;
	uint32_t known, i;

	begin(33, 64);
	held = rig_go(&rig, 1, 1, 200, 200);
	while (!held->first_ns)
		rig_step(&rig);
	sched_hold(&rig.s, held->id, true);
	known = held->known;
	CHECK_EQ(rig_step(&rig), 0);
	/* its blocks are there for others, of its own tenant too */
	for (i = 0; i < 6; i++) {
		st = rig_go(&rig, 1 + i % 2, 10 + i, 300, 100);
		rig_drain(&rig, 1000);
		CHECK_EQ(st->state, RIG_DONE);
	}
	CHECK_EQ(held->known, known);
	/* also for one that needs the whole pool: 32 blocks */
	sched_hold(&rig.s, held->id, false);
	rig_step(&rig);
	sched_hold(&rig.s, held->id, true);
	st = rig_go(&rig, 2, 99, 500, 12);
	rig_drain(&rig, 1000);
	CHECK_EQ(st->state, RIG_DONE);
	sched_hold(&rig.s, held->id, false);
	rig_drain(&rig, 1000);
	CHECK_EQ(held->state, RIG_DONE);
	end();
}

TEST(a_deadline_ends_a_stream_that_waits_and_one_that_runs)
{
	struct rig_stream *runs, *waits, *other;

	begin(12, 64);
	runs = rig_stream(&rig, 1, 20, 100);
	rig_prompt(&rig, runs, 1, 0);
	runs->deadline_ns = 20 * 1000000;
	CHECK_EQ(rig_submit(&rig, runs), 0);
	rig_step(&rig);
	waits = rig_stream(&rig, 2, 150, 10);
	rig_prompt(&rig, waits, 2, 0);
	waits->deadline_ns = 10 * 1000000;
	CHECK_EQ(rig_submit(&rig, waits), 0);
	CHECK_EQ(sched_next_deadline(&rig.s), 10 * 1000000);
	other = rig_go(&rig, 3, 3, 20, 60);
	rig_drain(&rig, 1000);
	CHECK_EQ(runs->state, RIG_EXPIRED);
	CHECK(runs->known > 25 && runs->known < 50);
	CHECK_EQ(waits->state, RIG_EXPIRED);
	CHECK_EQ(waits->known, 150);
	CHECK_EQ(other->state, RIG_DONE);
	CHECK_EQ(sched_next_deadline(&rig.s), UINT64_MAX);
	CHECK_EQ(kv_nr_used(&rig.s.run.kv), 0);
	end();
}

TEST(a_deadline_goes_before_in_its_own_tenants_queue_only)
{
	struct rig_stream *slow, *soon, *other;

	begin(300, 16);
	slow = rig_go(&rig, 1, 1, 320, 1);
	other = rig_go(&rig, 2, 3, 320, 1);
	soon = rig_stream(&rig, 1, 320, 1);
	rig_prompt(&rig, soon, 2, 0);
	soon->deadline_ns = UINT64_MAX - 1;
	CHECK_EQ(rig_submit(&rig, soon), 0);
	rig_drain(&rig, 1000);
	CHECK(soon->first_ns < slow->first_ns);
	CHECK(other->first_ns < slow->first_ns);
	/* the two tenants took turns: both done about the 40th step */
	CHECK(other->first_step >= 39 && other->first_step <= 41);
	CHECK(soon->first_step >= 39 && soon->first_step <= 41);
	end();
}

static void share_512(uint32_t max_tokens)
{
	struct sched_stats stats;
	uint32_t i;

	/*
	 * Also when all come at once, and a step has room for all: they wait
	 * for the one that computes.
	 */
	begin(400, max_tokens);
	for (i = 0; i < 32; i++) {
		struct rig_stream *st = rig_stream(&rig, 1, 512 + 20, 40);

		rig_prompt(&rig, st, 1, 0);
		rig_prompt(&rig, st, 100 + i, 512);
		CHECK_EQ(rig_submit(&rig, st), 0);
	}
	for (i = 0; i < 32;) {
		CHECK(rig_step(&rig));
		for (i = 0; i < 32 && rig.streams[i].first_ns; i++)
			;
	}
	sched_get_stats(&rig.s, &stats);
	CHECK_EQ(stats.running, 32);
	CHECK_EQ(stats.blocks_shared, 32);
	CHECK_EQ(stats.blocks_saved, 31 * 32);
	CHECK(stats.blocks_used <= 32 + 32 * 4);
	CHECK_EQ(stats.prefill_tokens, 512 + 32 * 20);
	CHECK_EQ(stats.hit_tokens, 31 * 512);
	rig_drain(&rig, 1000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 32);
	end();
}

TEST(a_system_prompt_of_512_tokens_under_32_requests_holds_its_blocks_once)
{
	share_512(256);
	share_512(2048);
}

TEST(a_sequence_does_not_wait_for_a_twin_of_another_tenant_or_a_lower_class)
{
	struct rig_stream *st;

	begin(400, 64);
	go_class(1, 5, 512, 1, CLASS_BATCH);
	rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_running, 1);
	/* the two tenants take turns, so the second step is its */
	go_class(2, 5, 512, 1, CLASS_BATCH);
	rig_step(&rig);
	rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_running, 2);
	st = go_class(1, 5, 60, 1, CLASS_INTERACTIVE);
	rig_step(&rig);
	CHECK(st->first_ns);
	rig_drain(&rig, 1000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 3);
	end();
}

TEST(who_waits_for_a_twin_that_goes_away_computes_itself)
{
	struct rig_stream *a, *b;

	begin(400, 64);
	a = rig_go(&rig, 1, 5, 512, 1);
	b = rig_go(&rig, 1, 5, 512, 1);
	rig_step(&rig);
	rig_step(&rig);
	CHECK_EQ(rig.s.run.nr_running, 1);
	rig_end(&rig, a, RIG_CANCELLED);
	rig_drain(&rig, 1000);
	CHECK_EQ(b->state, RIG_DONE);
	CHECK_EQ(b->cached_len, 128);
	end();
}

TEST(a_large_request_is_not_kept_out_by_small_ones_of_others)
{
	struct rig_stream *large;
	uint32_t i, n = 0;

	begin(101, 64);
	for (i = 0; i < 8; i++)
		rig_go(&rig, 1, i, 100, 60);
	rig_step(&rig);
	large = rig_go(&rig, 2, 999, 1400, 10);
	while (!large->first_ns && n++ < 2000) {
		/* ever new ones, that would always fit into what is free */
		if (rig_nr(&rig, RIG_LIVE) < 12)
			CHECK(rig_go(&rig, 1, 1000 + n, 100, 60));
		rig_step(&rig);
	}
	/*
	 * It lets others go before as far as its own cost, 1,400 tokens and
	 * so some 6 of them with their output, and those before must end.
	 */
	CHECK(large->first_ns);
	CHECK(n < 400);
	rig_drain(&rig, 10000);
	end();
}

TEST(what_a_higher_class_waits_for_is_not_given_to_a_lower_one)
{
	struct rig_stream *high, *low;

	begin(101, 64);
	rig_go(&rig, 1, 1, 1000, 100);
	while (!rig.streams[0].first_ns)
		rig_step(&rig);
	high = go_class(2, 2, 1000, 5, CLASS_INTERACTIVE);
	low = go_class(3, 3, 200, 5, CLASS_BATCH);
	rig_drain(&rig, 10000);
	CHECK(high->first_ns < low->first_ns);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 3);
	end();
}

TEST(blocks_shared_with_a_displaced_sequence_are_counted_when_it_is_gone)
{
	struct sched_options opt = options(41, 64);
	struct rig_stream *low[2], *high;

	/*
	 * The lower ones hold 38 of 40 blocks; the higher one shares 20 with
	 * the one whose slot it takes, and needs 15 more: too many.
	 */
	opt.max_running = 2;
	CHECK_EQ(rig_init(&rig, &opt, 64), 0);
	rig.check_all = true;
	low[0] = go_class(1, 1, 290, 20, CLASS_BATCH);
	while (!low[0]->first_ns)
		rig_step(&rig);
	low[1] = go_class(1, 2, 318, 2, CLASS_BATCH);
	while (!low[1]->first_ns)
		rig_step(&rig);
	/* held, so that it is a victim before the step has rows of it */
	sched_hold(&rig.s, low[1]->id, true);
	high = rig_stream(&rig, 1, 520, 5);
	rig_prompt(&rig, high, 2, 0);
	rig_prompt(&rig, high, 9, 304);
	CHECK_EQ(rig_submit(&rig, high), 0);
	rig_step(&rig);
	sched_hold(&rig.s, low[1]->id, false);
	rig_drain(&rig, 10000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 3);
	end();
}

TEST(a_preempted_sequence_goes_before_the_rest_of_its_queue)
{
	struct sched_options opt = options(200, 64);
	struct rig_stream *low, *later[5];
	uint32_t i;

	opt.max_running = 4;
	CHECK_EQ(rig_init(&rig, &opt, 64), 0);
	low = go_class(1, 1, 300, 100, CLASS_BATCH);
	while (low->known < 330)
		rig_step(&rig);
	/* not even a deadline goes before it */
	for (i = 0; i < 5; i++) {
		later[i] = rig_stream(&rig, 1, 300, 100);
		rig_prompt(&rig, later[i], 10 + i, 0);
		later[i]->cls = CLASS_BATCH;
		later[i]->deadline_ns = UINT64_MAX - 1;
		CHECK_EQ(rig_submit(&rig, later[i]), 0);
	}
	sched_hold(&rig.s, low->id, true);
	for (i = 0; i < 4; i++)
		go_class(2, 20 + i, 20, 5, CLASS_INTERACTIVE);
	rig_step(&rig);
	CHECK_EQ(rig.s.run.seqs[low->id].nr_preempts, 1);
	sched_hold(&rig.s, low->id, false);
	rig_drain(&rig, 10000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 10);
	CHECK(low->last_ns < later[4]->first_ns);
	CHECK(low->last_ns < later[1]->last_ns);
	end();
}

TEST(prompt_output_and_hits_are_charged_once_and_recomputation_never)
{
	struct sched_options opt = options(200, 64);
	struct rig_stream *st;
	uint32_t t;

	opt.max_running = 1;
	opt.no_prefix_index = true;
	CHECK_EQ(rig_init(&rig, &opt, 64), 0);
	st = rig_go(&rig, 1, 1, 100, 50);
	while (st->known < 130)
		rig_step(&rig);
	sched_hold(&rig.s, st->id, true);
	rig_go(&rig, 2, 2, 10, 2);
	rig_drain(&rig, 100);
	sched_hold(&rig.s, st->id, false);
	rig_drain(&rig, 1000);
	CHECK_EQ(st->state, RIG_DONE);
	CHECK_EQ(st->nr_preempts, 1);
	CHECK(rig.s.recomputed >= 128);
	CHECK_EQ(tenant_get(&rig.s.run.tenants, 1, &t), 0);
	/* the last token ends the stream: the engine does not append it */
	CHECK_EQ(rig.s.run.tenants.all[t].served,
		 100 * COST_PREFILL + 49 * COST_DECODE);
	end();

	begin(200, 64);
	rig_go(&rig, 1, 1, 100, 1);
	rig_drain(&rig, 100);
	rig_go(&rig, 1, 1, 100, 1);
	rig_drain(&rig, 100);
	CHECK_EQ(tenant_get(&rig.s.run.tenants, 1, &t), 0);
	CHECK_EQ(rig.s.run.tenants.all[t].served,
		 104 * COST_PREFILL + 96 * COST_HIT);
	end();
}

TEST(output_is_charged_before_the_next_step_is_planned)
{
	const struct tenants *t = &rig.s.run.tenants;
	uint64_t served;
	uint32_t at;

	begin(200, 64);
	rig_go(&rig, 1, 1, 10, 5);
	CHECK_EQ(tenant_find(t, 1, &at), 0);
	rig_step(&rig);
	served = t->all[at].served;
	CHECK_EQ(t->due, 1);
	CHECK_EQ(sched_step(&rig.s, &rig.b), 1);
	CHECK_EQ(t->all[at].served, served + COST_DECODE);
	end();
}

TEST(T36_a_score_never_takes_a_cached_block_and_judges_every_token)
{
	struct rig_stream *st;

	begin(100, 50);
	steps_to_first(1, 5, 320);
	st = rig_stream(&rig, 1, 320, 0);
	rig_prompt(&rig, st, 5, 0);
	st->score = true;
	CHECK_EQ(rig_submit(&rig, st), 0);
	rig_drain(&rig, 100);
	CHECK_EQ(st->state, RIG_DONE);
	CHECK_EQ(st->nr_scores, 319);
	CHECK_EQ(rig.s.run.hit_tokens, 0);
	end();
}

TEST(what_was_cached_is_reused_after_preemption_so_little_is_recomputed)
{
	struct sched_options opt = options(200, 64);
	struct rig_stream *low;
	struct sched_stats stats;

	opt.max_running = 1;
	CHECK_EQ(rig_init(&rig, &opt, 64), 0);
	low = go_class(1, 1, 300, 100, CLASS_BATCH);
	while (low->known < 330)
		rig_step(&rig);
	/* one slot: a lower class keeps its last one only where there are more */
	sched_hold(&rig.s, low->id, true);
	go_class(2, 2, 20, 5, CLASS_INTERACTIVE);
	rig_drain(&rig, 100);
	sched_hold(&rig.s, low->id, false);
	rig_drain(&rig, 1000);
	sched_get_stats(&rig.s, &stats);
	CHECK_EQ(low->state, RIG_DONE);
	CHECK_EQ(stats.preemptions, 1);
	CHECK(stats.recomputed_tokens < KV_BLOCK);
	/* its own blocks found again are no prompt found in the cache */
	CHECK_EQ(low->cached_len, 0);
	end();
}

TEST(after_a_crash_every_stream_goes_on_from_its_log)
{
	uint32_t i;

	begin(200, 64);
	for (i = 0; i < 20; i++)
		CHECK(rig_go(&rig, i % 3, i / 2, 30 + 7 * i, 60));
	for (i = 0; i < 8; i++) {
		rig_drain(&rig, 12);
		rig_crash(&rig);
	}
	rig_drain(&rig, 1000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 20);
	end();
}

TEST(chunks_end_on_blocks_unless_they_reach_the_end)
{
	uint32_t pos = 0;

	begin(100, 50);
	CHECK(rig_go(&rig, 1, 1, 130, 1));
	while (rig_step(&rig)) {
		pos = rig.b.context_len[0];
		CHECK(pos % KV_BLOCK == 0 || pos == 130);
	}
	CHECK_EQ(pos, 130);
	end();
}

TEST(those_that_decode_take_turns_where_a_step_is_too_small_for_all)
{
	uint32_t i, least = UINT32_MAX;

	begin(200, 8);
	for (i = 0; i < 32; i++)
		CHECK(rig_go(&rig, 1, i, 4, 200));
	for (i = 0; i < 200; i++)
		CHECK_EQ(rig_step(&rig), 8);
	/* 200 steps of 8 rows: 32 prompts of 4, and each its part of the rest */
	for (i = 0; i < 32; i++) {
		uint32_t n = rig.streams[i].known;

		least = n < least ? n : least;
	}
	CHECK(least > 4 + 20);
	rig_drain(&rig, 10000);
	CHECK_EQ(rig_nr(&rig, RIG_DONE), 32);
	end();
}

TEST(who_decodes_in_every_row_of_a_step_does_not_keep_another_out)
{
	struct rig_stream *st;
	uint32_t i;

	begin(400, 8);
	for (i = 0; i < 32; i++)
		CHECK(rig_go(&rig, 1, i, 4, 150));
	for (i = 0; i < 100; i++)
		rig_step(&rig);
	st = rig_go(&rig, 2, 99, 8, 20);
	for (i = 0; i < 9; i++)
		rig_step(&rig);
	CHECK(st->first_ns);
	end();
}

TEST(a_tenant_with_a_rate_gets_it_on_average_and_others_the_rest)
{
	const uint64_t second = 1000000000ull;
	struct rig_stream *slow, *fast;
	uint32_t idle = 0;

	begin(400, 64);
	rig.now_ns = second;
	CHECK_EQ(sched_set_tenant(&rig.s, 1, 100, 20), 0);
	slow = rig_go(&rig, 1, 1, 10, 150);
	fast = rig_go(&rig, 2, 2, 10, 150);
	while (fast->state != RIG_DONE)
		CHECK(rig_step(&rig));
	/* nothing was asked of it: the second one ran as if it were alone */
	CHECK(rig.now_ns < 5 * second && slow->known < 80);
	while (slow->state != RIG_DONE) {
		uint64_t next;

		CHECK_STR(rig.bad, "");
		if (rig_step(&rig))
			continue;
		/* asleep until it may: no step in vain */
		next = sched_next_rate(&rig.s);
		CHECK(next > rig.now_ns && next < rig.now_ns + second);
		rig.now_ns = next;
		idle++;
	}
	/* 160 tokens, a second's worth of them at once: 7 seconds */
	CHECK(rig.now_ns - second > 69 * second / 10 &&
	      rig.now_ns - second < 71 * second / 10);
	CHECK(idle > 20);
	/* and it holds no longer than it is set */
	slow = rig_go(&rig, 1, 3, 10, 100);
	CHECK_EQ(sched_set_tenant(&rig.s, 1, 100, 0), 0);
	rig_drain(&rig, 1000);
	CHECK_EQ(slow->state, RIG_DONE);
	CHECK_EQ(sched_next_rate(&rig.s), -1);
	end();
}
