/* SPDX-License-Identifier: MIT */
/*
 * llm quantize against files that gguf-py 0.19 wrote (tests/data/gguf): the
 * same bytes of every tensor and the same metadata, from the directories they
 * were made of.
 */
#include "tools/quantize.h"
#include "base/err.h"
#include "base/gguf.h"
#include "checkpoint/checkpoint.h"
#include "text/encode.h"
#include "text/pre.h"
#include "text/vocab.h"
#include "tests/model/scratch.h"
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "tools/rows.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

static struct err err;
static struct quantize_report report;

static int make(const char *in, const char *out, enum weight_type type,
		bool pure)
{
	struct quantize_options opt = { .type = type, .pure = pure };
	struct checkpoint c;
	int ret;

	memset(&err, 0, sizeof(err));
	ret = checkpoint_open(&c, in, &err);
	if (ret)
		return ret;
	ret = quantize(&opt, &c, in, out, &report, &err);
	checkpoint_close(&c);
	if (ret)
		printf("# %s\n", err.text);
	return ret;
}

static void same_tensors(const struct gguf *got, const struct gguf *want)
{
	CHECK_EQ(got->nr_tensors, want->nr_tensors);
	for (uint32_t i = 0; i < want->nr_tensors; i++) {
		const struct gguf_tensor *w = &want->tensors[i], *g = NULL;

		for (uint32_t k = 0; k < got->nr_tensors; k++)
			if (!strcmp(got->tensors[k].name, w->name))
				g = &got->tensors[k];
		ROW(w->name);
		CHECK(g);
		CHECK_STR(g->type->name, w->type->name);
		CHECK_EQ(g->nr_dims, w->nr_dims);
		CHECK(!memcmp(g->dims, w->dims, sizeof(w->dims)));
		CHECK_EQ(g->size, w->size);
		CHECK(!memcmp(g->data, w->data, w->size));
	}
}

/* Every key of @want with its value, but for those in @but. */
static void same_values(const struct gguf *got, const struct gguf *want,
			const char *const *but)
{
	for (uint32_t i = 0; i < want->nr_values; i++) {
		const struct gguf_value *w = &want->values[i], *g;
		bool skip = false;

		for (size_t k = 0; but[k]; k++)
			skip = skip || !strcmp(but[k], w->key);
		if (skip)
			continue;
		ROW(w->key);
		g = gguf_find(got, w->key);
		CHECK(g);
		CHECK_EQ(g->kind, w->kind);
		CHECK_EQ(g->is_array, w->is_array);
		CHECK_EQ(g->count, w->count);
		CHECK_EQ(g->size, w->size);
		CHECK(!memcmp(g->data, w->data, w->size));
	}
}

TEST(a_directory_becomes_the_file_that_gguf_py_made_of_it)
{
	/* names of their own; what the reference did not write, or guessed */
	static const char *const but[] = { "general.name", "general.file_type",
					   NULL };
	static const struct {
		const char *dir, *want;
		enum weight_type type;
	} rows[] = {
		{ "llama-mha-f16", "llama-mha-f16.f16", WEIGHT_F16 },
		{ "llama-mha-f16", "llama-mha-f16.q8_0", WEIGHT_Q8_0 },
		{ "llama3-gqa-bf16", "llama3-gqa-bf16.bf16", WEIGHT_BF16 },
		{ "llama3-gqa-bf16", "llama3-gqa-bf16.q4_0", WEIGHT_Q4_0 },
		{ "llama-mqa-linear-f32", "llama-mqa-linear-f32.q8_0",
		  WEIGHT_Q8_0 },
		{ "qwen3-f32", "qwen3-f32.f32", WEIGHT_F32 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char dir[96], path[96];
		struct gguf got, want;

		snprintf(dir, sizeof(dir), "tests/data/models/%s", rows[i].dir);
		snprintf(path, sizeof(path), "tests/data/gguf/%s.gguf",
			 rows[i].want);
		ROW(rows[i].want);
		CHECK_EQ(make(dir, scratch_path("o"), rows[i].type, true), 0);
		CHECK_EQ(gguf_open(&got, scratch_path("o"), &err), 0);
		CHECK_EQ(gguf_open(&want, path, &err), 0);
		CHECK_EQ(got.map.size, report.file_bytes);
		same_tensors(&got, &want);
		same_values(&got, &want, but);
		gguf_close(&got);
		gguf_close(&want);
		quantize_free(&report);
	}
}

TEST(a_file_keeps_its_metadata)
{
	static const char *const but[] = { "general.file_type", NULL };
	struct gguf got, want;

	CHECK_EQ(make("tests/data/gguf/llama-mha-f16.f16.gguf",
		      scratch_path("o"), WEIGHT_Q8_0, true),
		 0);
	CHECK_EQ(gguf_open(&got, scratch_path("o"), &err), 0);
	CHECK_EQ(gguf_open(&want, "tests/data/gguf/llama-mha-f16.f16.gguf",
			   &err),
		 0);
	CHECK_EQ(got.nr_values, want.nr_values);
	same_values(&got, &want, but);
	gguf_close(&want);
	CHECK_EQ(gguf_open(&want, "tests/data/gguf/llama-mha-f16.q8_0.gguf",
			   &err),
		 0);
	same_tensors(&got, &want);
	gguf_close(&got);
	gguf_close(&want);
	quantize_free(&report);
}

/* The configuration that is read back is the one that was written. */
TEST(every_golden_model_reads_back_as_it_was)
{
	static const char *const names[] = {
		"llama-mha-f16",	"llama3-gqa-bf16",
		"llama-mqa-linear-f32", "llama-yarn-bf16",
		"llama-bias-odd-f16",	"mistral-swa-f16",
		"qwen2-sharded-bf16",	"qwen3-f32",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct checkpoint a, b;
		double f[ROPE_MAX_DIM / 2], g[ROPE_MAX_DIM / 2];
		char dir[96];

		ROW(names[i]);
		snprintf(dir, sizeof(dir), "tests/data/models/%s", names[i]);
		CHECK_EQ(make(dir, scratch_path("o"), WEIGHT_F16, false), 0);
		quantize_free(&report);
		CHECK_EQ(checkpoint_open(&a, dir, &err), 0);
		CHECK_EQ(checkpoint_open(&b, scratch_path("o"), &err), 0);
#define SAME(field) CHECK_EQ(b.arch.field, a.arch.field)
		SAME(vocab);
		SAME(dim);
		SAME(ffn);
		SAME(nr_layers);
		SAME(nr_heads);
		SAME(nr_kv_heads);
		SAME(head_dim);
		SAME(context);
		SAME(tied);
		SAME(qkv_bias);
		SAME(out_bias);
		SAME(mlp_bias);
		SAME(qk_norm);
		SAME(nr_eos);
		CHECK(a.arch.norm_eps == b.arch.norm_eps);
		CHECK(!memcmp(a.arch.window, b.arch.window,
			      sizeof(a.arch.window)));
		CHECK(!memcmp(a.arch.eos, b.arch.eos, sizeof(a.arch.eos)));
		CHECK(a.generation.temperature == b.generation.temperature);
		CHECK(fabs(rope_frequencies(&a.arch.rope, a.arch.head_dim, f) -
			   rope_frequencies(&b.arch.rope, b.arch.head_dim, g)) <
		      1e-7);
		for (uint32_t k = 0; k < a.arch.head_dim / 2; k++)
			CHECK(fabs(f[k] / g[k] - 1) < 1e-6);
		checkpoint_close(&a);
		checkpoint_close(&b);
	}
}

static void same_ids(const struct vocab *a, const struct vocab *b,
		     const void *text, size_t size, unsigned flags)
{
	struct ids x = { 0 }, y = { 0 };
	struct encode *e, *f;

	CHECK(!encode_open(&e, a) && !encode_open(&f, b));
	CHECK(!encode(e, text, size, flags, &x, &err));
	CHECK(!encode(f, text, size, flags, &y, &err));
	CHECK_EQ(x.nr, y.nr);
	CHECK(!x.nr || !memcmp(x.v, y.v, x.nr * sizeof(*x.v)));
	ids_free(&x);
	ids_free(&y);
	encode_close(e);
	encode_close(f);
}

/* One without tokenizer.model too: scores out of the ranks of merges. */
TEST(text_becomes_the_ids_of_the_directory)
{
	static const char *const names[] = { "llama-mha-f16", "alone",
					     "llama3-gqa-bf16",
					     "qwen2-sharded-bf16" };
	json_t *strings = golden_json("strings.json", "");
	char cmd[512];

	CHECK(json_array_size(strings) > 100);
	snprintf(cmd, sizeof(cmd),
		 "cp -r tests/data/models/llama-mha-f16 %s && "
		 "rm %s/tokenizer.model",
		 scratch_path("alone"), scratch_path("alone"));
	CHECK_EQ(system(cmd), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct vocab *a, *b;
		char dir[256];

		ROW(names[i]);
		snprintf(dir, sizeof(dir), "%s/%s",
			 i == 1 ? scratch_dir() : "tests/data/models",
			 names[i]);
		CHECK_EQ(make(dir, scratch_path("o"), WEIGHT_F16, false), 0);
		CHECK_STR(report.no_text, "");
		quantize_free(&report);
		CHECK_EQ(vocab_open(&a, dir, &err), 0);
		CHECK_EQ(vocab_open(&b, scratch_path("o"), &err), 0);
		CHECK_EQ(a->bos, b->bos);
		CHECK_STR(a->chat_template ? a->chat_template : "",
			  b->chat_template ? b->chat_template : "");
		for (size_t k = 0; k < json_array_size(strings); k++) {
			size_t size;
			void *text = golden_text(strings, k, &size);

			same_ids(a, b, text, size, 0);
			same_ids(a, b, text, size, ENCODE_SPECIAL);
			free(text);
		}
		vocab_close(a);
		vocab_close(b);
	}
	json_decref(strings);
}

TEST(ways_to_split_are_found_by_their_rules)
{
	static const char *const rows[][2] = { { "bpe-gpt2", "gpt-2" },
					       { "bpe-llama3", "llama-bpe" },
					       { "bpe-qwen2", "qwen2" },
					       { "bpe-flags", NULL },
					       { "spm-bpe", NULL } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		json_t *t = golden_json(rows[i][0], "tokenizer.json");
		const json_t *ignore = json_object_get(
			json_object_get(t, "model"), "ignore_merges");
		const char *name = pre_name(json_object_get(t, "pre_tokenizer"),
					    json_object_get(t, "normalizer"),
					    json_is_true(ignore));

		ROW(rows[i][0]);
		CHECK(!name == !rows[i][1]);
		if (name)
			CHECK_STR(name, rows[i][1]);
		json_decref(t);
	}
	/* every name of the table leads back to its rules */
	for (const char *const *n =
		     (const char *const[]){ "gpt-2", "starcoder", "falcon",
					    "deepseek-coder", "deepseek-v3",
					    "gpt-4o", "tekken", NULL };
	     *n; n++) {
		const struct pre *p = pre_find(*n);
		json_t *j = pre_tokenizer(p), *norm = pre_normalizer(p);

		ROW(*n);
		CHECK_STR(pre_name(j, norm, pre_ignore_merges(p)), *n);
		json_decref(j);
		json_decref(norm);
	}
}

TEST(the_head_keeps_six_bits_and_odd_rows_find_a_type)
{
	const struct quantize_line *l;

	/* dim 64: no multiple of 256, so Q4_K's stand-in, and Q6_K's */
	CHECK_EQ(make("tests/data/models/llama-mha-f16", scratch_path("o"),
		      WEIGHT_Q4_K, false),
		 0);
	for (uint32_t i = 0; i < report.nr; i++) {
		l = &report.line[i];
		ROW(l->name);
		if (!l->rows)
			CHECK_STR(l->to, "F32");
		else
			CHECK_STR(l->to, strcmp(l->name, "output.weight")
						 ? "Q5_0"
						 : "Q8_0");
	}
	quantize_free(&report);
	/* dim 80 is none of 32 */
	CHECK_EQ(make("tests/data/models/llama-bias-odd-f16", scratch_path("o"),
		      WEIGHT_Q4_0, false),
		 0);
	for (uint32_t i = 0; i < report.nr; i++)
		if (report.line[i].rows && report.line[i].cols % 32)
			CHECK_STR(report.line[i].to, "F16");
	quantize_free(&report);
	/* 256 wide, packed already: to Q4_K, the head to Q6_K */
	CHECK_EQ(make("tests/data/gguf/llama-kmix.gguf", scratch_path("o"),
		      WEIGHT_Q4_K, false),
		 0);
	for (uint32_t i = 0; i < report.nr; i++) {
		l = &report.line[i];
		if (l->rows)
			CHECK_STR(l->to, strcmp(l->name, "output.weight")
						 ? "Q4_K"
						 : "Q6_K");
		/* what had the type before is the same to the bit */
		if (!strcmp(l->from, l->to))
			CHECK(l->rms == 0 && l->worst == 0);
	}
	quantize_free(&report);
}

TEST(errors_are_those_of_the_numbers)
{
	/* 0.1 is in the middle of two BF16: half a step of 2^-11 */
	float x[64];
	struct rows_how how = { .from = WEIGHT_F32,
				.to = WEIGHT_BF16,
				.rows = 2,
				.cols = 32,
				.src = x };
	struct rows_error e = { 0 };
	const void *made;
	struct rows r;

	for (int i = 0; i < 64; i++)
		x[i] = i < 32 ? 1.0f : 1.00390625f; /* 1 + 2^-8: half a step */
	CHECK_EQ(rows_init(&r, 2, &err), 0);
	CHECK_EQ(rows_convert(&r, &how, 0, 2, &made, &e), 0);
	CHECK(e.worst == 0.00390625);
	CHECK(fabs(e.moved - 32 * 0.00390625 * 0.00390625) < 1e-15);
	CHECK(fabs(e.square - (32 + 32 * 1.00390625 * 1.00390625)) < 1e-12);
	CHECK(fabs(rows_rms(&e) - sqrt(e.moved / e.square)) < 1e-15);
	x[40] = NAN;
	CHECK_EQ(rows_convert(&r, &how, 0, 2, &made, &e), -EDOM);
	x[40] = 1e6f; /* past F16 */
	how.to = WEIGHT_F16;
	CHECK_EQ(rows_convert(&r, &how, 0, 2, &made, &e), -EDOM);
	rows_deinit(&r);
}

TEST(threads_do_not_show)
{
	static float x[600 * 256];
	struct rows_how how = { .from = WEIGHT_F32,
				.to = WEIGHT_Q4_K,
				.rows = 600,
				.cols = 256,
				.src = x,
				.pair_rows = 20 };
	struct rows_error one = { 0 }, many = { 0 };
	const void *made;
	struct rows r;
	void *want;

	for (size_t i = 0; i < 600 * 256; i++)
		x[i] = (float)((int)(i * 7919 % 2003) - 1001) / 500;
	CHECK_EQ(rows_init(&r, 1, &err), 0);
	CHECK_EQ(rows_convert(&r, &how, 0, 600, &made, &one), 0);
	want = malloc(600 * 144);
	memcpy(want, made, 600 * 144);
	rows_deinit(&r);
	CHECK_EQ(rows_init(&r, 7, &err), 0);
	CHECK_EQ(rows_convert(&r, &how, 0, 600, &made, &many), 0);
	CHECK(!memcmp(want, made, 600 * 144));
	CHECK(!memcmp(&one, &many, sizeof(one)));
	rows_deinit(&r);
	free(want);
}

TEST(a_file_that_cannot_be_written_leaves_nothing)
{
	struct stat st;

	CHECK_EQ(make("tests/data/models/qwen3-f32", scratch_path("no/o"),
		      WEIGHT_F16, false),
		 -ENOENT);
	CHECK(strstr(err.text, "no/o"));
	CHECK_EQ(mkdir(scratch_path("d"), 0700), 0);
	CHECK(make("tests/data/models/qwen3-f32", scratch_path("d"), WEIGHT_F16,
		   false) < 0);
	CHECK(stat(scratch_path("d"), &st) == 0 && S_ISDIR(st.st_mode));
	CHECK_EQ(rmdir(scratch_path("d")), 0);
}
