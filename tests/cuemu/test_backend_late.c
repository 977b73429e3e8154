/* SPDX-License-Identifier: MIT */
/*
 * A slow test: steps that are submitted before the tokens of the step before are
 * known (backend.h: submit, collect).  Sequences of every kind of sampling, of
 * every family, in random company: each token and each log probability has the
 * bits that it had alone, one step after the other.  A sequence ends unforeseen,
 * as at a stop, with a row of it still under way; its blocks are another's at
 * once.
 */
#include "tests/cuemu/gpu.h"
#include "tests/model/golden.h"

#define NR_TEXTS 2u
#define NR_GENS	 6u
#define NR_OUT	 12u /* tokens, then it ends */
#define STEPS	 40u

/* What is generated from a text with one way of sampling, and by whom. */
static struct said {
	uint32_t token[NR_OUT];
	float logprob[NR_OUT];
	uint32_t alt[NR_OUT][MAX_ALT];
} alone[NR_TEXTS][NR_GENS];

static struct gen {
	struct seq s;
	uint32_t text, nr; /* tokens so far, of which the host knows */
	int pending;	   /* its output in the step under way; -1: none */
} gens[NR_GENS];

static uint32_t texts[NR_TEXTS][128];
static uint64_t luck;

static uint32_t rnd(uint32_t n)
{
	luck = luck * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(luck >> 33) % n;
}

/* Nothing of it depends on tokens that came before. */
static const struct sampling *sampling_of(uint32_t i)
{
	static const uint32_t ids[] = { 3, 17, 60, 100 };
	static const float bias[] = { 5, -100, 2.5f, -1 };
	static struct sampling all[NR_GENS];
	struct sampling *s = &all[i];

	*s = (struct sampling){ .seed = 77 + i,
				.temperature = i ? 0.4f * (float)i : 0,
				.top_p = i % 2 ? 1 : 0.9f,
				.min_p = i == 3 ? 0.05f : 0,
				.repetition_penalty = 1,
				.top_k = i == 4 ? 20 : 0,
				.min_tokens = i == 5 ? 9 : 0,
				.nr_bias = i == 2 ? 4 : 0,
				.nr_end_ids = i == 5 ? 4 : 0,
				.bias_ids = ids,
				.bias = bias,
				.end_ids = ids };
	return s;
}

static uint32_t nr_alt(uint32_t i)
{
	return i % 3 * 2;
}

/* From its text, in the blocks that it has. */
static void start(struct gen *g, uint32_t i, uint32_t text)
{
	uint32_t n = 9 + 11 * i;

	memcpy(g->s.ids, texts[text], n * sizeof(*g->s.ids));
	g->s.known = g->s.prompt_len = n;
	g->s.computed = 0;
	g->text = text;
	g->nr = 0;
	g->pending = -1;
}

static struct batch_out *span(struct drive *d, struct gen *g, uint32_t i,
			      uint32_t n)
{
	bool last = g->s.computed + n == g->s.known;
	struct batch_out *o;

	o = drive_span(d, &g->s, n, last ? OUT_LAST : OUT_NONE, sampling_of(i),
		       true);
	if (o)
		o->nr_alt = nr_alt(i);
	return o;
}

static void run_alone(struct drive *d, uint32_t text, uint32_t i)
{
	struct said *to = &alone[text][i];
	struct gen g = { 0 };

	start(&g, i, text);
	for (uint32_t k = 0; k < NR_OUT; k++) {
		const struct batch_out *o;

		drive_begin(d);
		o = span(d, &g, i, g.s.known - g.s.computed);
		drive_run(d);
		to->token[k] = g.s.ids[g.s.known++] = o->token;
		to->logprob[k] = o->logprob;
		memcpy(to->alt[k], o->alt->token, nr_alt(i) * sizeof(uint32_t));
	}
}

/* What of @g, number @i, is to be in the step; how many rows wait for a token */
static uint32_t plan(struct drive *d, struct gen *g, uint32_t i, int *ret_out)
{
	uint32_t late = g->pending >= 0, n;
	const struct batch_out *o;

	*ret_out = -1;
	if (!rnd(4))
		return 0;
	if (late) /* a token that only the device knows */
		g->s.ids[g->s.known++] = BATCH_LATE + (uint32_t)g->pending;
	n = g->s.known - g->s.computed;
	o = span(d, g, i, n > 1 && rnd(2) ? 1 + rnd(n - 1) : n);
	if (o)
		*ret_out = (int)(o - d->batch.out);
	return late;
}

/* Its output of the step before has come. */
static uint32_t take(struct gen *g, uint32_t i, const struct batch_out *o)
{
	const struct said *want = &alone[g->text][i];
	uint32_t at = g->s.prompt_len + g->nr;

	CHECK_EQ(o->token, want->token[g->nr]);
	CHECK(!memcmp(&o->logprob, &want->logprob[g->nr], sizeof(float)));
	CHECK(!memcmp(o->alt->token, want->alt[g->nr],
		      nr_alt(i) * sizeof(uint32_t)));
	g->s.ids[at] = o->token;
	if (g->s.known == at)
		g->s.known++;
	return ++g->nr;
}

/* Steps, the next always submitted before the last is collected. */
static void run_ahead(struct drive *d, const char *model)
{
	uint32_t late = 0, ended = 0, wasted = 0;
	struct batch before;
	int out[NR_GENS];

	CHECK_EQ(batch_init(&before, DRIVE_ROWS, DRIVE_SEQS, DRIVE_BLOCKS), 0);
	for (uint32_t step = 0; step < STEPS; step++) {
		struct batch swap;

		do {
			drive_begin(d);
			for (uint32_t i = 0; i < NR_GENS; i++)
				late += plan(d, &gens[i], i, &out[i]);
		} while (!d->batch.nr_tokens);
		CHECK_EQ(d->be->submit(d->be, &d->batch), 0);
		if (step)
			CHECK_EQ(d->be->collect(d->be, &before), 0);
		for (uint32_t i = 0; i < NR_GENS; i++) {
			struct gen *g = &gens[i];
			uint32_t nr = 0;

			if (g->pending >= 0)
				nr = take(g, i, &before.out[g->pending]);
			g->pending = out[i];
			if (nr < NR_OUT)
				continue;
			ended++;
			wasted += out[i] >= 0;
			start(g, i, !g->text);
		}
		swap = before;
		before = d->batch;
		d->batch = swap;
	}
	CHECK_EQ(d->be->collect(d->be, &before), 0);
	batch_deinit(&before);
	printf("# %s: %u rows of late tokens, %u of %u ends with a row too "
	       "many\n",
	       model, late, wasted, ended);
	CHECK(late > STEPS && ended > NR_GENS && wasted > ended / 3);
}

static void run_model(struct drive *d, size_t model)
{
	json_t *golden = golden_read(model);

	golden_text(golden, "long", texts[0], 128);
	golden_text(golden, "long_b", texts[1], 128);
	json_decref(golden);
	luck = model + 1;
	for (uint32_t i = 0; i < NR_GENS; i++) {
		for (uint32_t t = 0; t < NR_TEXTS; t++)
			run_alone(d, t, i);
		gens[i] = (struct gen){ 0 };
		start(&gens[i], i, i % NR_TEXTS);
	}
	run_ahead(d, golden_dir(model));
}

TEST(tokens_that_the_host_does_not_know_yet_change_no_bit)
{
	for (size_t i = 0; i < NR_GOLDEN; i++) {
		struct drive d;

		gpu_open(&d, golden_dir(i));
		run_model(&d, i);
		drive_close(&d);
	}
}

TEST(nor_with_weights_and_keys_and_values_of_8_bits)
{
	struct backend_options opt = gpu_options(golden_dir(0));
	struct drive d;

	opt.kv = BACKEND_KV_Q8;
	opt.weights = BACKEND_WEIGHTS_INT8;
	gpu_open_opt(&d, &opt);
	run_model(&d, 0);
	drive_close(&d);
}
