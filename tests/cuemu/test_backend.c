/* SPDX-License-Identifier: MIT */
/*
 * A slow test: the CUDA backend end to end, from a model's files to tokens: the
 * library is loaded as llmd loads it, kernels are emulated, the CUDA runtime is
 * the host.
 *
 * What is compared with what: the golden ids and logits are honest F32 (Hugging
 * Face's transformers).  Ours have keys and values in BF16, activations in BF16
 * or F16, and F32 weights in BF16.  So
 *	ids	of 64 greedy tokens of half the prompts, each after the golden
 *		ids before it: equal wherever the first logit is ahead of the
 *		second by at least MARGIN; and nearly all of the others as well;
 *	logits	of 232 positions against the CPU op set, which is within 1e-3 of
 *		the golden ones (tests/model/test_golden.c): the root mean square
 *		of the error, in units of the logits' own.
 * tests/cuemu/test_backend_ops.c judges each op by itself, and much closer.
 */
#include "tests/cuemu/gpu.h"
#include "tests/model/golden.h"

#include <errno.h>
#include <math.h>

#define MAX_VOCAB 512u
#define NR_TEXT	  232u /* tokens: past all windows, two tiles of attention */
#define MARGIN	  1.0  /* of logits that reach 25 to 31 */

static uint32_t text[NR_TEXT];
static float want[NR_TEXT][MAX_VOCAB], got[NR_TEXT][MAX_VOCAB];

static void read_text(size_t model)
{
	json_t *golden = golden_read(model);
	const json_t *prompt = golden_prompt(golden, "long");
	uint32_t more[64], n = golden_ids(prompt, "ids", text, NR_TEXT);

	golden_ids(json_object_get(prompt, "greedy"), "ids", more, 64);
	memcpy(text + n, more, (NR_TEXT - n) * sizeof(*more));
	json_decref(golden);
}

/* Logits of the whole text of @s, from where it is, @chunk tokens a step. */
static void run_text(struct drive *d, struct seq *s, uint32_t chunk,
		     float to[][MAX_VOCAB])
{
	while (s->computed < NR_TEXT) {
		uint32_t at = s->computed, n = NR_TEXT - at;
		const struct batch_out *o;

		n = n < chunk ? n : chunk;
		drive_begin(d);
		o = drive_span(d, s, n, OUT_SCORE, NULL, true);
		drive_run(d);
		for (uint32_t i = 0; i < n; i++)
			drive_logits(d, o + i, to[at + i]);
	}
}

static double rms_error(uint32_t vocab)
{
	double error = 0, all = 0;

	for (uint32_t t = 0; t < NR_TEXT; t++)
		for (uint32_t v = 0; v < vocab; v++) {
			double w = want[t][v], e = got[t][v] - w;

			error += e * e;
			all += w * w;
		}
	return sqrt(error / all);
}

TEST(logits_are_near_those_of_the_cpu)
{
	for (size_t i = 0; i < NR_GOLDEN; i++) {
		struct drive cpu, gpu;
		struct seq s;

		read_text(i);
		drive_open(&cpu, golden_dir(i), NULL, 2);
		seq_init(&s, text, NR_TEXT);
		run_text(&cpu, &s, 64, want);
		gpu_open(&gpu, golden_dir(i));
		CHECK(gpu.be->info.arith != cpu.be->info.arith);
		seq_init(&s, text, NR_TEXT);
		run_text(&gpu, &s, 64, got);
		printf("# %s: error %.4f of the logits\n", golden_dir(i),
		       rms_error(gpu.vocab));
		CHECK(rms_error(gpu.vocab) < 0.02);
		drive_close(&cpu);
		drive_close(&gpu);
	}
}

/* How many of the 64 golden tokens of @prompt @d chooses as well. */
static uint32_t nr_chosen(struct drive *d, const json_t *prompt)
{
	const json_t *golden = json_object_get(prompt, "greedy");
	const json_t *gap = json_object_get(golden, "gap");
	uint32_t ids[DRIVE_CONTEXT], n, count = 0;
	static const struct sampling greedy = { .top_p = 1,
						.repetition_penalty = 1 };
	struct batch_out *o;
	struct seq s;

	n = golden_ids(prompt, "ids", ids, DRIVE_CONTEXT - 64);
	CHECK_EQ(golden_ids(golden, "ids", ids + n, 64), 64);
	seq_init(&s, ids, n);
	for (uint32_t i = 0; i < 64; i++) {
		double ahead = json_number_value(json_array_get(gap, i));

		drive_begin(d);
		o = drive_span(d, &s, s.known - s.computed, OUT_LAST, &greedy,
			       true);
		drive_run(d);
		count += o->token == ids[n + i];
		if (ahead >= MARGIN)
			CHECK_EQ(o->token, ids[n + i]);
		s.ids[s.known++] = ids[n + i];
	}
	return count;
}

TEST(greedy_tokens_are_the_golden_ones_where_the_margin_allows)
{
	for (size_t i = 0; i < NR_GOLDEN; i++) {
		json_t *golden = golden_read(i);
		const json_t *prompts = json_object_get(golden, "prompts");
		uint32_t chosen = 0, of = 0;
		struct drive d;

		gpu_open(&d, golden_dir(i));
		/* every other prompt: of one token, and of many */
		for (size_t k = 0; k < json_array_size(prompts);
		     k += 2, of += 64)
			chosen += nr_chosen(&d, json_array_get(prompts, k));
		printf("# %s: %u of %u tokens\n", golden_dir(i), chosen, of);
		CHECK(chosen >= of * 97 / 100);
		drive_close(&d);
		json_decref(golden);
	}
}
