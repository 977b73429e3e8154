/* SPDX-License-Identifier: MIT */
/*
 * A slow test: invariant 4 over random batches.  Eight sequences go through two
 * texts, again and again, some of them in each step, with as many tokens as
 * chance says; of every row the log probability of the token that follows, which
 * all logits go into, has the bits that it had when its text was computed alone.
 * LLM_BATCHES steps of each model (on a GPU 1,000, else 12); LLM_SEED.
 */
#include "tests/cuemu/gpu.h"
#include "tests/model/golden.h"

#define NR_TEXT 152u /* tokens: past all windows, two tiles of attention */
#define NR_SEQS 8u
#define CHUNK	24u

static uint32_t text[2][NR_TEXT];
static float alone[2][NR_TEXT];
static struct seq seqs[NR_SEQS];
static uint32_t text_of[NR_SEQS];
static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % n;
}

static uint32_t number_of(const char *name, uint32_t usual)
{
	const char *s = getenv(name);

	return s ? (uint32_t)strtoul(s, NULL, 0) : usual;
}

static void compute_alone(struct drive *d)
{
	for (uint32_t t = 0; t < 2; t++) {
		const struct batch_out *o;
		struct seq s;

		seq_init(&s, text[t], NR_TEXT);
		drive_begin(d);
		o = drive_span(d, &s, NR_TEXT, OUT_SCORE, NULL, true);
		drive_run(d);
		for (uint32_t i = 0; i < NR_TEXT; i++)
			alone[t][i] = o[i].logprob;
	}
}

/* @s begins again with the other text, in the blocks that it has. */
static void restart(uint32_t s)
{
	text_of[s] = !text_of[s];
	memcpy(seqs[s].ids, text[text_of[s]], sizeof(text[0]));
	seqs[s].computed = 0;
}

/* A step; how many of its rows have other bits. */
static uint32_t run_batch(struct drive *d)
{
	const struct batch_out *out[NR_SEQS] = { NULL };
	uint32_t from[NR_SEQS], nr[NR_SEQS], who, s, i, differ = 0;

	do
		who = rnd(1u << NR_SEQS);
	while (!who);
	drive_begin(d);
	for (s = 0; s < NR_SEQS; s++) {
		uint32_t left;

		if (!(who >> s & 1))
			continue;
		if (seqs[s].computed == NR_TEXT)
			restart(s);
		left = NR_TEXT - seqs[s].computed;
		from[s] = seqs[s].computed;
		nr[s] = 1 + (rnd(2) ? rnd(CHUNK) : 0);
		nr[s] = nr[s] < left ? nr[s] : left;
		out[s] = drive_span(d, &seqs[s], nr[s], OUT_SCORE, NULL, true);
	}
	drive_run(d);
	for (s = 0; s < NR_SEQS; s++)
		for (i = 0; out[s] && i < nr[s]; i++)
			differ += !!memcmp(&out[s][i].logprob,
					   &alone[text_of[s]][from[s] + i],
					   sizeof(float));
	return differ;
}

static void run_model(size_t model, bool kv_q8)
{
	uint32_t n = number_of("LLM_BATCHES",
			       getenv("LLM_CUDA_LIBRARY") ? 1000 : 12);
	json_t *golden = golden_read(model);
	struct drive d;

	golden_text(golden, "long", text[0], NR_TEXT);
	golden_text(golden, "long_b", text[1], NR_TEXT);
	json_decref(golden);
	seed = number_of("LLM_SEED", 1) * 88172645463325252u;
	gpu_open_kv(&d, golden_dir(model), kv_q8);
	compute_alone(&d);
	for (uint32_t s = 0; s < NR_SEQS; s++) {
		text_of[s] = s % 2;
		seq_init(&seqs[s], text[s % 2], NR_TEXT);
	}
	for (uint32_t i = 0; i < n; i++)
		CHECK_EQ(run_batch(&d), 0);
	drive_close(&d);
}

TEST(a_row_in_any_batch_has_the_bits_of_a_row_alone)
{
	run_model(0, false);
	run_model(NR_GOLDEN - 1, false);
}

TEST(with_keys_and_values_of_8_bits_as_well)
{
	run_model(0, true);
}
