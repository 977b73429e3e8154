/* SPDX-License-Identifier: MIT */
/*
 * Invariant 4: a row's arithmetic depends on that row alone.  Here at the
 * backend itself, bit for bit on logits (memcmp), for every golden model: how
 * a text is cut into steps, who shares the step, whose blocks hold the KV,
 * how often it was computed, threads and op sets must all be invisible.
 * A slow test: T9 runs the plain C of kernels/ref too.
 *
 * T numbers: the traps that each sentence closes.  The engine's tests say the
 * same of ids, through scheduler and carrier.
 */
#include "tests/model/drive.h"
#include "tests/model/golden.h"

#include <math.h>

#define MAX_VOCAB 512u
#define NR_TEXT	  232u /* tokens of the text under test: past all windows */

/* The text's logits, a row a position: what everything is compared with. */
static float want[NR_TEXT][MAX_VOCAB], got[NR_TEXT][MAX_VOCAB];
static uint32_t text[NR_TEXT], vocab;

static void read_text(size_t model)
{
	json_t *golden = golden_read(model);
	const json_t *prompt = golden_prompt(golden, "long");
	uint32_t more[64], n = golden_ids(prompt, "ids", text, NR_TEXT);

	golden_ids(json_object_get(prompt, "greedy"), "ids", more, 64);
	memcpy(text + n, more, (NR_TEXT - n) * sizeof(*more));
	json_decref(golden);
}

static void keep_logits(struct drive *d, const struct batch_out *o, uint32_t at,
			uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		drive_logits(d, o + i, got[at + i]);
}

/* Step through the whole text of @s, @chunk tokens a step, into got. */
static void run_text(struct drive *d, struct seq *s, uint32_t chunk)
{
	while (s->computed < s->known) {
		uint32_t at = s->computed, n = s->known - at;
		const struct batch_out *o;

		if (n > chunk)
			n = chunk;
		drive_begin(d);
		o = drive_span(d, s, n, OUT_SCORE, NULL, true);
		drive_run(d);
		keep_logits(d, o, at, n);
	}
}

static void same_from(uint32_t first)
{
	for (uint32_t i = first; i < NR_TEXT; i++)
		CHECK(!memcmp(want[i], got[i], vocab * sizeof(float)));
}

/*
 * want = the logits when the text is computed in one step, alone.  Outputs
 * are asked for in five runs of it, as only 64 rows of logits are kept.
 */
static void run_whole(struct drive *d)
{
	vocab = d->vocab;
	for (uint32_t at = 0; at < NR_TEXT; at += MODEL_MAX_LOGITS) {
		uint32_t n = NR_TEXT - at;
		const struct batch_out *o = &d->batch.out[0];
		struct seq s;

		if (n > MODEL_MAX_LOGITS)
			n = MODEL_MAX_LOGITS;
		seq_init(&s, text, NR_TEXT);
		drive_begin(d);
		drive_span(d, &s, NR_TEXT, OUT_NONE, NULL, true);
		for (uint32_t i = 0; i < n; i++)
			drive_add_out(&d->batch, &s, at + i, at + i)->seq = 0;
		drive_run(d);
		keep_logits(d, o, at, n);
	}
	memcpy(want, got, sizeof(want));
}

/* Each model in turn: open, read the text, compute `want`. */
#define FOR_EACH_MODEL(d, threads)                                             \
	for (size_t model_ = 0; model_ < NR_GOLDEN; model_++)                  \
		for (bool once_ = (read_text(model_),                          \
				   drive_open(&(d), golden_dir(model_), NULL,  \
					      threads),                        \
				   run_whole(&(d)), true);                     \
		     once_; once_ = (drive_close(&(d)), false))

TEST(T1_any_cut_into_steps_gives_the_same_logits)
{
	static const uint32_t chunks[] = { 1, 7, 16, 64 };
	struct drive d;
	struct seq s;

	FOR_EACH_MODEL(d, 1)
	{
		for (size_t c = 0; c < 4; c++) {
			seq_init(&s, text, NR_TEXT);
			run_text(&d, &s, chunks[c]);
			same_from(0);
		}
	}
}

TEST(T1_with_8_bit_keys_and_values_too_and_with_a_warm_prefix)
{
	static const uint32_t chunks[] = { 1, 7, 16, 64 };
	struct seq first, second;
	struct drive d;

	for (size_t i = 0; i < NR_GOLDEN; i++) {
		read_text(i);
		drive_open_kv(&d, golden_dir(i), NULL, 2, true);
		run_whole(&d);
		for (size_t c = 0; c < 4; c++) {
			seq_init(&first, text, NR_TEXT);
			run_text(&d, &first, chunks[c]);
			same_from(0);
		}
		seq_init(&second, text, NR_TEXT);
		memcpy(second.blocks, first.blocks, 5 * sizeof(*first.blocks));
		second.nr_blocks = 5;
		second.computed = 5 * KV_BLOCK;
		run_text(&d, &second, 32);
		same_from(5 * KV_BLOCK);
		drive_close(&d);
	}
}

TEST(T1_any_company_in_the_step_gives_the_same_logits)
{
	struct drive d;

	FOR_EACH_MODEL(d, 2)
	{
		static struct seq s[20];

		/* 19 others: other texts, lengths, and paces */
		for (uint32_t i = 0; i < 20; i++) {
			uint32_t cut = i == 10 ? 0 : i * 11;

			seq_init(&s[i], text + cut, NR_TEXT - cut);
		}
		while (s[10].computed < NR_TEXT) {
			uint32_t at = s[10].computed, n = 3;
			uint32_t me = at / 3 % 3 * 10; /* first, amid, last */
			const struct batch_out *o = NULL;

			if (n > NR_TEXT - at)
				n = NR_TEXT - at;
			drive_begin(&d);
			for (uint32_t k = 0; k < 20; k++) {
				uint32_t i = (k + 30 - me) % 20;
				uint32_t left = s[i].known - s[i].computed;

				if (i == 10)
					o = drive_span(&d, &s[i], n, OUT_SCORE,
						       NULL, true);
				else if (left)
					drive_span(&d, &s[i],
						   left < i + 1 ? left : i + 1,
						   OUT_LAST, NULL, true);
			}
			drive_run(&d);
			keep_logits(&d, o, at, n);
		}
		same_from(0);
	}
}

/* The KV of whole blocks, as logits of what reads them would show it. */
TEST(T2_a_warm_prefix_gives_the_logits_of_a_cold_one)
{
	struct drive d;

	FOR_EACH_MODEL(d, 1)
	{
		struct seq first, second;

		seq_init(&first, text, NR_TEXT);
		run_text(&d, &first, 64);
		/* 0 to 14 blocks are shared; the rest is computed */
		for (uint32_t hit = 0; hit <= NR_TEXT / KV_BLOCK; hit++) {
			seq_init(&second, text, NR_TEXT);
			memcpy(second.blocks, first.blocks,
			       hit * sizeof(*first.blocks));
			second.nr_blocks = hit;
			second.computed = hit * KV_BLOCK;
			run_text(&d, &second, 32);
			same_from(hit * KV_BLOCK);
		}
		/* one token short of a hit: what a rejected draft leaves */
		seq_init(&second, text, NR_TEXT);
		run_text(&d, &second, 16);
		second.computed = 5 * KV_BLOCK - 1;
		run_text(&d, &second, 16);
		same_from(0);
	}
}

TEST(T15_a_prompt_wholly_cached_gives_its_logits_and_writes_nothing)
{
	static const uint32_t lengths[] = { 16, 32, 224 };
	struct drive d;

	FOR_EACH_MODEL(d, 1)
	{
		struct seq first, second;

		seq_init(&first, text, NR_TEXT);
		run_text(&d, &first, 64);
		for (size_t i = 0; i < 3; i++) {
			uint32_t n = lengths[i];
			const struct batch_out *o;

			seq_init(&second, text, n);
			/* another last token: had it been written, all that
			 * comes after would differ */
			memcpy(second.blocks, first.blocks,
			       sizeof(first.blocks));
			second.nr_blocks = n / KV_BLOCK;
			second.computed = n - 1;
			drive_begin(&d);
			o = drive_span(&d, &second, 1, OUT_SCORE, NULL, false);
			drive_run(&d);
			keep_logits(&d, o, n - 1, 1);
			CHECK(!memcmp(want[n - 1], got[n - 1],
				      vocab * sizeof(float)));
			second.ids[n - 1] = (text[n - 1] + 1) % vocab;
			second.computed = n - 1;
			drive_begin(&d);
			drive_span(&d, &second, 1, OUT_SCORE, NULL, false);
			drive_run(&d);
		}
		/* whoever reads these blocks sees what they held before */
		first.computed = 224;
		run_text(&d, &first, 1);
		same_from(224);
	}
}

TEST(T3_preempted_at_every_position_the_tokens_are_the_same)
{
	static const struct sampling how = {
		.seed = 7,
		.temperature = 0.8f,
		.top_p = 0.95f,
		.repetition_penalty = 1.1f,
		.presence_penalty = 0.3f,
	};
	struct drive d;

	FOR_EACH_MODEL(d, 2)
	{
		static struct seq calm, torn;

		seq_init(&calm, text, 37);
		seq_init(&torn, text, 37);
		for (uint32_t i = 0; i < 40; i++) {
			struct batch_out a, b;

			drive_begin(&d);
			drive_span(&d, &calm, calm.known - calm.computed,
				   OUT_LAST, &how, true);
			drive_run(&d);
			a = d.batch.out[0];
			/* at each position; every fifth three times in a row,
			 * the second time in chunks of 13 */
			for (int k = 0; k < (i % 5 ? 1 : 3); k++) {
				seq_preempt(&torn);
				while (k == 1 &&
				       torn.known - torn.computed > 13) {
					drive_begin(&d);
					drive_span(&d, &torn, 13, OUT_NONE,
						   NULL, true);
					drive_run(&d);
				}
				drive_begin(&d);
				drive_span(&d, &torn,
					   torn.known - torn.computed, OUT_LAST,
					   &how, true);
				drive_run(&d);
			}
			b = d.batch.out[0];
			CHECK_EQ(b.token, a.token);
			CHECK(!memcmp(&b.logprob, &a.logprob, 4));
			calm.ids[calm.known++] = a.token;
			torn.ids[torn.known++] = b.token;
		}
	}
}

#define NR_CROWD 44u
#define NR_TURNS 24u

/* What one life of a crowd of 44 answered. */
struct trace {
	uint32_t token[NR_TURNS][NR_CROWD];
	float logprob[NR_TURNS][NR_CROWD];
	uint32_t alt[NR_TURNS][NR_CROWD];
};

static struct trace crowd_first, crowd_again;

/*
 * 44 requests, some greedy, some drawn, of prompts of 1 to 130 tokens, in one
 * step a turn.  @salt changes the seeds of all but the first.
 */
static void run_crowd(struct drive *d, struct trace *t, uint64_t salt)
{
	static struct seq s[NR_CROWD];
	static struct sampling how[NR_CROWD];

	for (uint32_t i = 0; i < NR_CROWD; i++) {
		seq_init(&s[i], text + i, 1 + i * 3);
		how[i] = (struct sampling){
			.seed = i ? i * 1000 + salt : 42,
			.temperature = i % 4 == 3 ? 0 : 0.5f + 0.05f * i,
			.top_p = i % 3 ? 1 : 0.9f,
			.min_p = i % 5 ? 0 : 0.02f,
			.top_k = i % 7 ? 0 : 20,
			.repetition_penalty = 1,
		};
	}
	for (uint32_t turn = 0; turn < NR_TURNS; turn++) {
		drive_begin(d);
		for (uint32_t i = 0; i < NR_CROWD; i++) {
			uint32_t left = s[i].known - s[i].computed;
			/* a budget: long prompts are cut, at other places
			 * in every life */
			uint32_t most = 9 + (turn + (uint32_t)salt) % 3;
			uint32_t n = left < most ? left : most;

			drive_span(d, &s[i], n, n == left ? OUT_LAST : OUT_NONE,
				   &how[i], true);
			if (n == left)
				d->batch.out[d->batch.nr_outs - 1].nr_alt = 2;
		}
		drive_run(d);
		for (uint32_t k = 0; k < d->batch.nr_outs; k++) {
			const struct batch_out *o = &d->batch.out[k];
			struct seq *q = &s[o->seq];
			uint32_t at = q->known - q->prompt_len;

			t->token[at][o->seq] = o->token;
			t->logprob[at][o->seq] = o->logprob;
			t->alt[at][o->seq] = o->alt->token[1];
			q->ids[q->known++] = o->token;
		}
	}
}

TEST(T6_44_co_resident_sequences_five_times_give_identical_logprobs)
{
	struct drive d;

	FOR_EACH_MODEL(d, 2)
	{
		memset(&crowd_first, 0, sizeof(crowd_first));
		run_crowd(&d, &crowd_first, 0);
		for (int life = 1; life < 5; life++) {
			memset(&crowd_again, 0, sizeof(crowd_again));
			run_crowd(&d, &crowd_again, 0);
			CHECK(!memcmp(&crowd_first, &crowd_again,
				      sizeof(crowd_first)));
		}
	}
}

TEST(T7_a_seeded_request_is_unchanged_by_other_seeds_beside_it)
{
	struct drive d;

	FOR_EACH_MODEL(d, 2)
	{
		uint32_t changed = 0;

		memset(&crowd_first, 0, sizeof(crowd_first));
		run_crowd(&d, &crowd_first, 0);
		for (uint64_t salt = 1; salt < 4; salt++) {
			memset(&crowd_again, 0, sizeof(crowd_again));
			run_crowd(&d, &crowd_again, salt);
			for (uint32_t i = 0; i < NR_TURNS; i++) {
				CHECK_EQ(crowd_again.token[i][0],
					 crowd_first.token[i][0]);
				CHECK(!memcmp(&crowd_again.logprob[i][0],
					      &crowd_first.logprob[i][0], 4));
				changed += crowd_again.token[i][1] !=
					   crowd_first.token[i][1];
			}
		}
		CHECK(changed > 0); /* or the salt does nothing */
	}
}

/* @ops with @threads gives the logits and the draws of `want`, bit for bit. */
static void check_set(size_t model, const char *ops, uint32_t threads)
{
	struct drive d;
	struct seq s;

	drive_open(&d, golden_dir(model), ops, threads);
	seq_init(&s, text, NR_TEXT);
	run_text(&d, &s, 1);
	same_from(0);
	seq_init(&s, text, NR_TEXT);
	run_text(&d, &s, 64);
	same_from(0);
	memset(&crowd_again, 0, sizeof(crowd_again));
	run_crowd(&d, &crowd_again, 0);
	CHECK(!memcmp(&crowd_first, &crowd_again, sizeof(crowd_first)));
	drive_close(&d);
}

TEST(T9_other_threads_give_the_same_bits)
{
	static const uint32_t threads[] = { 1, 2, 3 };
	struct drive d;

	FOR_EACH_MODEL(d, 1)
	{
		memset(&crowd_first, 0, sizeof(crowd_first));
		run_crowd(&d, &crowd_first, 0);
		for (size_t i = 0; i < 3; i++)
			check_set(model_, NULL, threads[i]);
	}
}

TEST(T9_another_op_set_gives_the_same_bits_or_has_another_id)
{
	static const char *const sets[] = { "ref", "avx2", "avx512" };
	uint32_t compared = 0;
	struct drive d;

	FOR_EACH_MODEL(d, 1)
	{
		memset(&crowd_first, 0, sizeof(crowd_first));
		run_crowd(&d, &crowd_first, 0);
		for (size_t i = 0; i < 3; i++) {
			const struct ops *ops = ops_find(sets[i]);

			if (!ops || ops->arith != d.be->info.arith)
				continue;
			check_set(model_, sets[i], 1 + i % 2);
			compared++;
		}
	}
	if (compared <= NR_GOLDEN)
		SKIP("one op set only on this machine");
}
