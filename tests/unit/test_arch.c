/* SPDX-License-Identifier: MIT */
#include "checkpoint/arch.h"
#include "base/err.h"
#include "tests/model/scratch.h"
#include "tests/test.h"

#include <errno.h>
#include <math.h>

static struct err err;
static struct arch a;

#define LLAMA                                                                  \
	"\"architectures\":[\"LlamaForCausalLM\"],\"hidden_act\":\"silu\","    \
	"\"vocab_size\":512,\"hidden_size\":64,\"intermediate_size\":96,"      \
	"\"num_hidden_layers\":2,\"num_attention_heads\":4"

static int config(const char *json)
{
	const char *path = scratch_write("config.json", json, strlen(json));

	memset(&err, 0, sizeof(err));
	memset(&a, 0, sizeof(a));
	return arch_read(&a, path, &err);
}

/* "@..." is a Llama with that appended. */
static int config_row(const char *json)
{
	char buf[2048];

	if (*json != '@')
		return config(json);
	snprintf(buf, sizeof(buf), "{" LLAMA ",%s}", json + 1);
	return config(buf);
}

TEST(a_plain_llama_has_its_family_s_defaults)
{
	CHECK_EQ(config("{" LLAMA "}"), 0);
	CHECK_STR(a.family, "LlamaForCausalLM");
	CHECK_EQ(a.vocab, 512);
	CHECK_EQ(a.nr_kv_heads, 4);
	CHECK_EQ(a.head_dim, 16);
	CHECK_EQ(a.context, 2048);
	CHECK(!a.tied && !a.qkv_bias && !a.out_bias && !a.mlp_bias &&
	      !a.qk_norm);
	CHECK_EQ(a.window[1], 0);
	CHECK_EQ(a.rope.kind, ROPE_DEFAULT);
	CHECK(a.rope.theta == 10000);
	CHECK(a.norm_eps == 1e-6f);
	CHECK_EQ(a.nr_eos, 0);
}

TEST(families_differ_as_their_rows_say)
{
	CHECK_EQ(config_row("@\"attention_bias\":true,\"mlp_bias\":true,"
			    "\"num_key_value_heads\":2,\"head_dim\":null,"
			    "\"tie_word_embeddings\":true"),
		 0);
	CHECK(a.qkv_bias && a.out_bias && a.mlp_bias && a.tied);
	CHECK_EQ(a.nr_kv_heads, 2);
	CHECK_EQ(config("{\"model_type\":\"mistral\",\"vocab_size\":5,"
			"\"hidden_size\":64,\"intermediate_size\":9,"
			"\"num_hidden_layers\":3,\"num_attention_heads\":16}"),
		 0);
	CHECK_STR(a.family, "MistralForCausalLM");
	CHECK_EQ(a.nr_kv_heads, 8);
	CHECK_EQ(a.window[0], 4096);
	CHECK_EQ(a.window[2], 4096);
	CHECK_EQ(config("{\"architectures\":[\"Qwen2ForCausalLM\"],"
			"\"vocab_size\":5,\"hidden_size\":64,"
			"\"intermediate_size\":9,\"num_hidden_layers\":3,"
			"\"num_attention_heads\":4,\"num_key_value_heads\":2,"
			"\"sliding_window\":7,\"max_window_layers\":1,"
			"\"use_sliding_window\":true,\"attention_bias\":true}"),
		 0);
	CHECK(a.qkv_bias && !a.out_bias);
	CHECK_EQ(a.window[0], 0);
	CHECK_EQ(a.window[1], 7);
	CHECK_EQ(a.window[2], 7);
	CHECK_EQ(config("{\"architectures\":[\"Qwen3ForCausalLM\"],"
			"\"vocab_size\":5,\"hidden_size\":64,"
			"\"intermediate_size\":9,\"num_hidden_layers\":2,"
			"\"num_attention_heads\":4,\"num_key_value_heads\":4,"
			"\"sliding_window\":7,\"use_sliding_window\":false}"),
		 0);
	CHECK(a.qk_norm && !a.qkv_bias);
	CHECK_EQ(a.head_dim, 128);
	CHECK_EQ(a.window[1], 0);
}

TEST(a_window_may_be_null_or_named_layer_by_layer)
{
#define MISTRAL                                                                \
	"{\"architectures\":[\"MistralForCausalLM\"],\"vocab_size\":5,"        \
	"\"hidden_size\":64,\"intermediate_size\":9,"                          \
	"\"num_hidden_layers\":2,\"num_attention_heads\":8,"
	CHECK_EQ(config(MISTRAL "\"sliding_window\":null}"), 0);
	CHECK_EQ(a.window[0], 0);
	CHECK_EQ(config(MISTRAL "\"sliding_window\":24,\"layer_types\":"
				"[\"full_attention\",\"sliding_attention\"]}"),
		 0);
	CHECK_EQ(a.window[0], 0);
	CHECK_EQ(a.window[1], 24);
	CHECK_EQ(config(MISTRAL "\"layer_types\":[\"full_attention\"]}"),
		 -EINVAL);
	CHECK(strstr(err.text, "layer_types has 1"));
	CHECK_EQ(config(MISTRAL "\"layer_types\":[\"full_attention\","
				"\"chunked_attention\"]}"),
		 -EINVAL);
	CHECK(strstr(err.text, "chunked_attention"));
}

TEST(rope_is_read_in_the_forms_of_transformers_4_and_5)
{
	CHECK_EQ(config_row("@\"rope_theta\":500000.0,\"rope_scaling\":null"),
		 0);
	CHECK(a.rope.theta == 500000);
	CHECK_EQ(config_row("@\"rope_scaling\":{\"type\":\"linear\","
			    "\"factor\":4}"),
		 0);
	CHECK_EQ(a.rope.kind, ROPE_LINEAR);
	CHECK(a.rope.factor == 4);
	CHECK_EQ(config_row("@\"rope_theta\":7e5,\"rope_scaling\":"
			    "{\"rope_type\":\"llama3\",\"factor\":8.0,"
			    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
			    "\"original_max_position_embeddings\":64}"),
		 0);
	CHECK_EQ(a.rope.kind, ROPE_LLAMA3);
	CHECK(a.rope.original == 64 && a.rope.high_freq == 4);
	CHECK_EQ(config_row("@\"rope_parameters\":{\"rope_type\":\"yarn\","
			    "\"rope_theta\":20000.0,\"factor\":4.0,"
			    "\"original_max_position_embeddings\":64}"),
		 0);
	CHECK_EQ(a.rope.kind, ROPE_YARN);
	CHECK(a.rope.theta == 20000 && a.rope.beta_fast == 32);
	CHECK(fabs(a.rope.attention - 1.138629436111989) < 1e-12);
	CHECK_EQ(config_row("@\"max_position_embeddings\":512,"
			    "\"rope_scaling\":{\"type\":\"yarn\","
			    "\"attention_factor\":1.5,"
			    "\"original_max_position_embeddings\":64}"),
		 0);
	CHECK(a.rope.factor == 8 && a.rope.attention == 1.5);
}

TEST(the_end_may_be_a_number_a_list_or_absent)
{
	CHECK_EQ(config_row("@\"eos_token_id\":2"), 0);
	CHECK_EQ(a.nr_eos, 1);
	CHECK_EQ(a.eos[0], 2);
	CHECK_EQ(config_row("@\"eos_token_id\":[507,510]"), 0);
	CHECK_EQ(a.nr_eos, 2);
	CHECK_EQ(a.eos[1], 510);
	CHECK_EQ(config_row("@\"eos_token_id\":null"), 0);
	CHECK_EQ(a.nr_eos, 0);
	CHECK_EQ(config_row("@\"eos_token_id\":[]"), 0);
	CHECK_EQ(a.nr_eos, 0);
}

TEST(what_config_json_may_not_say_is_one_line)
{
	static const struct {
		const char *row, *json, *part;
	} rows[] = {
		{ "not JSON", "{", "not JSON" },
		{ "an array", "[1]", "not a JSON object" },
		{ "nothing", "{}", "model_type is absent" },
		{ "an unknown architecture",
		  "{\"architectures\":[\"MambaForCausalLM\"]}",
		  "MambaForCausalLM, supported are LlamaForCausalLM" },
		{ "an unknown model_type", "{\"model_type\":\"gpt2\"}",
		  "gpt2" },
		{ "no sizes", "{\"model_type\":\"llama\"}",
		  "vocab_size is absent" },
		{ "a field twice", "@\"vocab_size\":7", "not JSON" },
		{ "zero heads",
		  "{\"model_type\":\"llama\",\"vocab_size\":5,\"hidden_size\":"
		  "64,\"intermediate_size\":9,\"num_hidden_layers\":3,"
		  "\"num_attention_heads\":0}",
		  "num_attention_heads is 0, allowed 1 to 1024" },
		{ "7 heads of 64",
		  "{\"model_type\":\"llama\",\"vocab_size\":5,\"hidden_size\":"
		  "64,\"intermediate_size\":9,\"num_hidden_layers\":3,"
		  "\"num_attention_heads\":7}",
		  "divisors of hidden_size, 64" },
		{ "kv heads that do not divide", "@\"num_key_value_heads\":3",
		  "divisors of num_attention_heads, 4" },
		{ "more kv heads than heads", "@\"num_key_value_heads\":8",
		  "num_key_value_heads is 8" },
		{ "a negative size",
		  "{\"model_type\":\"llama\",\"vocab_size\":-5}",
		  "vocab_size is -5" },
		{ "a size over 2^32",
		  "{\"model_type\":\"llama\",\"vocab_size\":4294967808}",
		  "vocab_size is 4294967808" },
		{ "a size over 2^64",
		  "{\"model_type\":\"llama\",\"vocab_size\":"
		  "18446744073709551620}",
		  "not JSON" },
		{ "a size that is text",
		  "{\"model_type\":\"llama\",\"vocab_size\":\"5\"}",
		  "vocab_size is a string" },
		{ "an odd head_dim", "@\"head_dim\":15", "head_dim is 15" },
		{ "a huge head_dim", "@\"head_dim\":4096", "head_dim is 4096" },
		{ "no position", "@\"max_position_embeddings\":0",
		  "max_position_embeddings is 0" },
		{ "no eps", "@\"rms_norm_eps\":0", "rms_norm_eps is 0" },
		{ "another activation",
		  "{\"model_type\":\"llama\",\"vocab_size\":5,\"hidden_size\":"
		  "64,\"intermediate_size\":9,\"num_hidden_layers\":3,"
		  "\"num_attention_heads\":4,\"hidden_act\":\"gelu\"}",
		  "hidden_act is gelu, supported is silu" },
		{ "packed weights",
		  "@\"quantization_config\":{\"quant_method\":\"awq\"}",
		  "quantization_config" },
		{ "a rope we do not have",
		  "@\"rope_scaling\":{\"rope_type\":\"longrope\"}",
		  "longrope" },
		{ "a rope that is text", "@\"rope_scaling\":\"linear\"",
		  "not an object" },
		{ "a rope a kind of layer",
		  "@\"rope_parameters\":{\"full_attention\":{\"rope_type\":"
		  "\"default\"}}",
		  "full_attention has its own rope_parameters" },
		{ "linear without factor",
		  "@\"rope_scaling\":{\"type\":\"linear\"}",
		  "factor is absent" },
		{ "linear by 0",
		  "@\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}",
		  "factor is 0" },
		{ "llama3 with its ends exchanged",
		  "@\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
		  "\"low_freq_factor\":4,\"high_freq_factor\":1,"
		  "\"original_max_position_embeddings\":64}",
		  "more than low_freq_factor" },
		{ "yarn with equal betas",
		  "@\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,"
		  "\"beta_fast\":1,\"beta_slow\":1}",
		  "more than beta_slow" },
		{ "theta 1", "@\"rope_theta\":1", "rope_theta is 1" },
		{ "half the dimensions turned",
		  "@\"partial_rotary_factor\":0.5", "supported is 1" },
		{ "an end out of the vocabulary", "@\"eos_token_id\":512",
		  "eos_token_id is 512, allowed 0 to 511" },
		{ "a negative end", "@\"eos_token_id\":[1,-1]",
		  "eos_token_id is -1" },
		{ "an end that is text", "@\"eos_token_id\":\"</s>\"",
		  "neither an integer nor a list" },
		{ "too many ends",
		  "@\"eos_token_id\":[1,2,3,4,5,6,7,8,9,1,1,1,1,1,1,1,1]",
		  "17 entries" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		CHECK_EQ(config_row(rows[i].json), -EINVAL);
		CHECK_EQ(err.code, -EINVAL);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(strstr(err.text, "config.json: "));
		CHECK(!strchr(err.text, '\n'));
		CHECK_EQ(a.vocab, 0);
	}
}

static int generation(struct arch_generation *g, const char *json)
{
	const char *path =
		scratch_write("generation_config.json", json, strlen(json));

	memset(&err, 0, sizeof(err));
	return arch_read_generation(g, &a, path, &err);
}

TEST(generation_config_gives_what_a_silent_request_gets)
{
	struct arch_generation g;

	CHECK_EQ(config_row("@\"eos_token_id\":2"), 0);
	CHECK_EQ(arch_read_generation(&g, &a, scratch_path("none"), &err), 0);
	CHECK(g.temperature == 0 && g.top_p == 1 && g.min_p == 0);
	CHECK(g.repetition_penalty == 1 && !g.top_k && !g.max_new_tokens);
	CHECK_EQ(generation(&g, "{\"temperature\":0.6,\"top_p\":0.9}"), 0);
	CHECK(g.temperature == 0);
	CHECK_EQ(a.eos[0], 2);
	CHECK_EQ(generation(&g,
			    "{\"do_sample\":true,\"temperature\":0.5,"
			    "\"top_p\":0.75,\"top_k\":20,"
			    "\"max_new_tokens\":77,\"eos_token_id\":[7,8]}"),
		 0);
	CHECK(g.temperature == 0.5f && g.top_p == 0.75f);
	CHECK_EQ(g.top_k, 20);
	CHECK_EQ(g.max_new_tokens, 77);
	CHECK_EQ(a.nr_eos, 2);
	CHECK_EQ(a.eos[0], 7);
	CHECK_EQ(generation(&g, "{\"do_sample\":true}"), 0);
	CHECK(g.temperature == 1);
	CHECK_EQ(generation(&g, "{\"temperature\":-1}"), -EINVAL);
	CHECK(strstr(err.text, "temperature is -1"));
	CHECK_EQ(generation(&g, "{\"top_p\":2}"), -EINVAL);
	CHECK_EQ(generation(&g, "{\"max_new_tokens\":0}"), -EINVAL);
	CHECK_EQ(generation(&g, "{\"eos_token_id\":9999}"), -EINVAL);
	CHECK_EQ(generation(&g, "\"text\""), -EINVAL);
}

/* Made by a second program (Python, the formulas of data/check_numpy.py). */
TEST(rope_frequencies_are_those_of_the_papers)
{
	static const struct {
		const char *row;
		uint32_t dim;
		struct rope rope;
		uint32_t at[4];
		double want[4], scale;
	} rows[] = {
		{ "default",
		  16,
		  { .theta = 1e4 },
		  { 0, 1, 2, 7 },
		  { 1, 0.31622776601683794, 0.1, 0.00031622776601683794 },
		  1 },
		{ "linear",
		  16,
		  { .kind = ROPE_LINEAR, .theta = 1e4, .factor = 4 },
		  { 0, 1, 2, 7 },
		  { 0.25, 0.079056941504209485, 0.025, 7.9056941504209485e-05 },
		  1 },
		{ "llama3",
		  128,
		  { .kind = ROPE_LLAMA3,
		    .theta = 5e5,
		    .factor = 8,
		    .original = 8192,
		    .low_freq = 1,
		    .high_freq = 4 },
		  { 20, 30, 32, 63 },
		  { 0.016560440080994446, 0.0013718935677611381,
		    0.00052484616099295468, 3.0689259889145111e-07 },
		  1 },
		{ "yarn",
		  128,
		  { .kind = ROPE_YARN,
		    .theta = 1e6,
		    .factor = 4,
		    .original = 32768,
		    .beta_fast = 32,
		    .beta_slow = 1,
		    .attention = 1.138629436111989,
		    .truncate = true },
		  { 20, 28, 32, 63 },
		  { 0.013335214321633241, 0.0018482765647068783,
		    0.00060294117647058821, 3.1023444018792988e-07 },
		  1.138629436111989 },
	};
	double freq[256];
	float table[3 * 16];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		double scale =
			rope_frequencies(&rows[i].rope, rows[i].dim, freq);

		ROW(rows[i].row);
		CHECK(scale == rows[i].scale);
		for (int k = 0; k < 4; k++)
			CHECK(fabs(freq[rows[i].at[k]] / rows[i].want[k] - 1) <
			      1e-12);
	}
	rope_fill(&rows[0].rope, 16, 3, table);
	CHECK(table[0] == 1 && table[1] == 0);
	CHECK(fabsf(table[2 * 16] + 0.41614684f) < 1e-7f);     /* cos 2 */
	CHECK(fabsf(table[2 * 16 + 1] - 0.90929743f) < 1e-7f); /* sin 2 */
}

TEST(a_rope_table_is_right_at_every_position)
{
	static const struct rope r = { .theta = 1e4 };
	static float table[40000 * 16];
	double freq[8];

	rope_frequencies(&r, 16, freq);
	rope_fill(&r, 16, 40000, table);
	for (uint32_t p = 0; p < 40000; p++) {
		for (uint32_t i = 0; i < 8; i++) {
			const float *cs = table + 16 * p + 2 * i;

			/* half a unit in the last place of a float near 1 */
			CHECK(fabs(cs[0] - cos(p * freq[i])) < 3.1e-8);
			CHECK(fabs(cs[1] - sin(p * freq[i])) < 3.1e-8);
		}
	}
}
