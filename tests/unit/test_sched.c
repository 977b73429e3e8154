/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "tests/sim/rig.h"

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
