/* SPDX-License-Identifier: MIT */
/*
 * A slow test: long chunks of prompts, whose attention a GPU of sm_90a computes
 * by another kernel, in a model whose heads have 64 dimensions (which it writes
 * itself: noise).  Whether that kernel runs or not, all rows have the same bits:
 * a text in one step or a few tokens a step, with others' tokens beside it.
 */
#include "tests/cuemu/gpu.h"
#include "tests/model/scratch.h"

#define DIM	64u
#define HEADS	2u
#define VOCAB	256u
#define LAYERS	2u
#define NR_TEXT 470u /* of 128 rows 7 units, and 44 rows for the other kernel */

static const char config[] =
	"{\"architectures\":[\"MistralForCausalLM\"],"
	"\"model_type\":\"mistral\",\"hidden_act\":\"silu\","
	"\"hidden_size\":64,\"head_dim\":64,\"intermediate_size\":64,"
	"\"num_attention_heads\":2,\"num_key_value_heads\":1,"
	"\"num_hidden_layers\":2,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
	"\"max_position_embeddings\":512,\"sliding_window\":%s,"
	"\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\","
	"\"bos_token_id\":1,\"eos_token_id\":2,\"vocab_size\":256}";

static char json[8192];
static uint16_t numbers[1 << 18];
static uint8_t file[sizeof(json) + sizeof(numbers) + 8];
static size_t json_len, nr_numbers;

/* Of @rows (0: a vector of ones) and @cols, numbers of +-1/16 to 1/4. */
static void add_tensor(const char *name, uint32_t rows, uint32_t cols)
{
	size_t n = (rows ? rows : 1) * (size_t)cols;
	char shape[32];

	if (rows)
		snprintf(shape, sizeof(shape), "%u,%u", rows, cols);
	else
		snprintf(shape, sizeof(shape), "%u", cols);
	json_len +=
		(size_t)snprintf(json + json_len, sizeof(json) - json_len,
				 "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],"
				 "\"data_offsets\":[%zu,%zu]}",
				 json_len ? ',' : '{', name, shape,
				 2 * nr_numbers, 2 * (nr_numbers + n));
	CHECK(nr_numbers + n <= sizeof(numbers) / 2);
	for (size_t i = 0; i < n; i++) {
		uint32_t x = (uint32_t)(nr_numbers + 1) * 2654435761u;

		x = (x ^ x >> 15) * 2246822519u;
		x ^= x >> 13;
		numbers[nr_numbers++] =
			(uint16_t)(rows ? (x & 0x80ff) + 0x3d80 : 0x3f80);
	}
}

static void add_layer(uint32_t layer)
{
	static const struct {
		const char *name;
		uint32_t rows, cols;
	} tensors[] = {
		{ "input_layernorm", 0, DIM },
		{ "self_attn.q_proj", HEADS * 64, DIM },
		{ "self_attn.k_proj", 64, DIM },
		{ "self_attn.v_proj", 64, DIM },
		{ "self_attn.o_proj", DIM, HEADS * 64 },
		{ "post_attention_layernorm", 0, DIM },
		{ "mlp.gate_proj", 64, DIM },
		{ "mlp.up_proj", 64, DIM },
		{ "mlp.down_proj", DIM, 64 },
	};
	char name[128];

	for (size_t i = 0; i < sizeof(tensors) / sizeof(*tensors); i++) {
		snprintf(name, sizeof(name), "model.layers.%u.%s.weight", layer,
			 tensors[i].name);
		add_tensor(name, tensors[i].rows, tensors[i].cols);
	}
}

/* The model's directory; @window: "null" or a number. */
static const char *write_model(const char *window)
{
	char text[1024];
	size_t size;

	json_len = nr_numbers = 0;
	add_tensor("model.embed_tokens.weight", VOCAB, DIM);
	for (uint32_t i = 0; i < LAYERS; i++)
		add_layer(i);
	add_tensor("model.norm.weight", 0, DIM);
	json_len +=
		(size_t)snprintf(json + json_len, sizeof(json) - json_len, "}");
	size = scratch_tensors(file, json, numbers, 2 * nr_numbers);
	scratch_write("model.safetensors", file, size);
	snprintf(text, sizeof(text), config, window);
	scratch_write("config.json", text, strlen(text));
	return scratch_dir();
}

static float want[NR_TEXT], got[NR_TEXT];
static uint32_t text[NR_TEXT];

static void make_text(void)
{
	for (uint32_t i = 0; i < NR_TEXT; i++)
		text[i] = 3 + (i * 2654435761u >> 9) % (VOCAB - 3);
}

/*
 * Log probabilities of the text, @chunk tokens a step; @others: beside a decode
 * and a short chunk of the same text in each.
 */
static void run_text(struct drive *d, uint32_t chunk, bool others,
		     float to[NR_TEXT])
{
	struct seq s, one, few;

	seq_init(&s, text, NR_TEXT);
	seq_init(&one, text, NR_TEXT);
	seq_init(&few, text, NR_TEXT);
	memset(to, 0xff, sizeof(want));
	while (s.computed < NR_TEXT) {
		uint32_t at = s.computed, n = NR_TEXT - at;
		const struct batch_out *o;

		n = n < chunk ? n : chunk;
		drive_begin(d);
		if (others)
			drive_span(d, &one, 1, OUT_NONE, NULL, true);
		o = drive_span(d, &s, n, OUT_SCORE, NULL, true);
		if (others)
			drive_span(d, &few, 9, OUT_NONE, NULL, true);
		drive_run(d);
		for (uint32_t i = 0; i < n; i++)
			to[at + i] = o[i].logprob;
	}
}

static bool same(void)
{
	return !memcmp(want, got, sizeof(want));
}

TEST(a_long_chunk_has_the_bits_of_its_tokens_a_few_at_a_time)
{
	static const char *const windows[] = { "null", "100" };

	make_text();
	for (size_t i = 0; i < 2; i++) {
		struct drive d;

		gpu_open(&d, write_model(windows[i]));
		ROW(windows[i]);
		run_text(&d, 61, false, want);
		run_text(&d, NR_TEXT, false, got);
		CHECK(same());
		run_text(&d, 300, true, got);
		CHECK(same());
		drive_close(&d);
	}
}

/* Kernels that a step of the whole text starts. */
static long launches_of(struct drive *d, struct fake_cuda *fake)
{
	fake->launches = 0;
	run_text(d, NR_TEXT, false, got);
	return fake->launches;
}

TEST(with_that_kernel_and_without_it_all_bits_are_the_same)
{
	struct backend_options opt;
	struct fake_cuda *fake;
	struct drive d;
	long with;

	if (getenv("LLM_CUDA_LIBRARY"))
		SKIP("a real GPU adds as it does");
	fake = gpu_runtime();
	make_text();
	opt = gpu_options(write_model("null"));
	gpu_open_opt(&d, &opt);
	run_text(&d, NR_TEXT, false, want);
	with = launches_of(&d, fake);
	CHECK(same());
	fake->wgmma_differs = 1; /* it was not asked: the test can fail */
	run_text(&d, NR_TEXT, false, got);
	CHECK(!same());
	drive_close(&d);
	gpu_reset();
	fake->wgmma_differs = 1;
	drive_open_with(&d, &opt);
	/* without it one kernel a layer has all rows */
	CHECK_EQ(launches_of(&d, fake), with - (long)LAYERS);
	CHECK(same());
	drive_close(&d);
}

TEST(keys_and_values_of_8_bits_do_without_it)
{
	struct fake_cuda *fake;
	struct drive d;
	long q8;

	if (getenv("LLM_CUDA_LIBRARY"))
		SKIP("nobody counts there");
	fake = gpu_runtime();
	make_text();
	gpu_open_kv(&d, write_model("null"), true);
	run_text(&d, 61, false, want);
	q8 = launches_of(&d, fake);
	CHECK(same());
	drive_close(&d);
	gpu_open(&d, scratch_dir());
	CHECK_EQ(launches_of(&d, fake), q8 + (long)LAYERS);
	drive_close(&d);
}
