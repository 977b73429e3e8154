/* SPDX-License-Identifier: MIT */
/* What a GGUF file says a model is, and the names its tensors bear. */
#include "checkpoint/checkpoint.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/gguf_get.h"
#include "checkpoint/names.h"
#include "tests/gguf_build.h"
#include "tests/model/scratch.h"
#include "tests/test.h"

#include <errno.h>
#include <math.h>

static struct err err;
static struct checkpoint c;

TEST(names_go_both_ways)
{
	static const char *const rows[][2] = {
		{ "token_embd.weight", "model.embed_tokens.weight" },
		{ "output.weight", "lm_head.weight" },
		{ "output_norm.weight", "model.norm.weight" },
		{ "blk.0.attn_q.weight",
		  "model.layers.0.self_attn.q_proj.weight" },
		{ "blk.17.attn_k.bias",
		  "model.layers.17.self_attn.k_proj.bias" },
		{ "blk.3.attn_q_norm.weight",
		  "model.layers.3.self_attn.q_norm.weight" },
		{ "blk.511.ffn_norm.weight",
		  "model.layers.511.post_attention_layernorm.weight" },
		{ "rope_freqs.weight", "rope_freqs.weight" },
		{ "blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_inp.weight" },
		{ "blk.", "blk." },
		{ "blk.1", "blk.1" },
		{ "blk.1.weight", "blk.1.weight" },
		{ "blk..attn_q.weight", "blk..attn_q.weight" },
		{ "blk.1xattn_q.weight", "blk.1xattn_q.weight" },
		{ "none", "none" },
	};
	char name[NAMES_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i][0]);
		names_from_gguf(rows[i][0], name);
		CHECK_STR(name, rows[i][1]);
		names_to_gguf(rows[i][1], name);
		CHECK_STR(name, rows[i][0]);
	}
}

/* ---- configuration: a file of what a llama must say, and then some */

struct more {
	const char *key; /* "" = none; '-' before it: leave that one out */
	uint32_t kind;	 /* GGUF_U32, GGUF_F32, GGUF_STRING, GGUF_BOOL */
	double number;
	const char *text;
};

static const struct more base[] = {
	{ "general.architecture", GGUF_STRING, 0, "llama" },
	{ "llama.embedding_length", GGUF_U32, 64, NULL },
	{ "llama.feed_forward_length", GGUF_U32, 96, NULL },
	{ "llama.block_count", GGUF_U32, 2, NULL },
	{ "llama.context_length", GGUF_U32, 256, NULL },
	{ "llama.attention.head_count", GGUF_U32, 4, NULL },
	{ "llama.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-5, NULL },
};

#define NR_BASE (sizeof(base) / sizeof(*base))

static void put_more(struct build *b, const struct more *m)
{
	float f = (float)m->number;

	if (m->kind == GGUF_STRING) {
		put_text(b, m->key, m->text);
	} else if (m->kind == GGUF_F32) {
		put_f32(b, m->key, f);
	} else if (m->kind == GGUF_BOOL) {
		put_key(b, m->key, GGUF_BOOL);
		put(b, 1, (uint64_t)m->number);
	} else {
		put_u32(b, m->key, (uint32_t)m->number);
	}
}

/* The base, without what @more[@n] replaces, and @more; embedding 10 x 64. */
static int config(const struct more *more, uint32_t n, const char *tensor)
{
	static struct build b, kv;
	uint32_t nr = 0;

	kv.size = 0;
	for (size_t i = 0; i < NR_BASE; i++) {
		bool out = false;

		for (uint32_t k = 0; k < n; k++)
			out = out ||
			      !strcmp(base[i].key,
				      more[k].key + (*more[k].key == '-'));
		if (!out) {
			put_more(&kv, &base[i]);
			nr++;
		}
	}
	for (uint32_t k = 0; k < n; k++) {
		if (*more[k].key && *more[k].key != '-') {
			put_more(&kv, &more[k]);
			nr++;
		}
	}
	put_head(&b, 3, tensor ? 2 : 1, nr);
	memcpy(b.data + b.size, kv.data, kv.size);
	b.size += kv.size;
	put_tensor(&b, "token_embd.weight", 64, 10, 0, 0);
	if (tensor)
		put_tensor(&b, tensor, 8, 0, 0, 10 * 64 * 4);
	put_data(&b, 32, 10 * 64 * 4);
	for (int i = 0; tensor && i < 8; i++)
		put(&b, 4, 0x40000000); /* 2.0f */
	memset(&err, 0, sizeof(err));
	return checkpoint_open(&c, scratch_write("c.gguf", b.data, b.size),
			       &err);
}

TEST(a_plain_llama_file_has_the_loader_s_defaults)
{
	CHECK_EQ(config(NULL, 0, NULL), 0);
	CHECK_STR(c.arch.family, "LlamaForCausalLM");
	CHECK_EQ(c.arch.vocab, 10);
	CHECK_EQ(c.arch.dim, 64);
	CHECK_EQ(c.arch.ffn, 96);
	CHECK_EQ(c.arch.nr_layers, 2);
	CHECK_EQ(c.arch.nr_kv_heads, 4);
	CHECK_EQ(c.arch.head_dim, 16);
	CHECK_EQ(c.arch.context, 256);
	CHECK(c.arch.norm_eps == 1e-5f);
	CHECK(c.arch.tied && c.arch.qk_pairs);
	CHECK(!c.arch.qkv_bias && !c.arch.out_bias && !c.arch.qk_norm);
	CHECK_EQ(c.arch.rope.kind, ROPE_DEFAULT);
	CHECK(c.arch.rope.theta == 10000);
	CHECK_EQ(c.arch.window[1], 0);
	CHECK_EQ(c.arch.nr_eos, 0);
	CHECK(c.generation.temperature == 0 && c.generation.top_p == 1);
	checkpoint_close(&c);
	checkpoint_close(&c);
}

TEST(what_a_file_says_is_what_the_model_is)
{
	static const struct more more[] = {
		{ "llama.attention.head_count_kv", GGUF_U32, 2, NULL },
		{ "llama.attention.key_length", GGUF_U32, 32, NULL },
		{ "llama.attention.value_length", GGUF_U32, 32, NULL },
		{ "llama.rope.dimension_count", GGUF_U32, 32, NULL },
		{ "llama.rope.freq_base", GGUF_F32, 500000, NULL },
		{ "llama.rope.scaling.type", GGUF_STRING, 0, "yarn" },
		{ "llama.rope.scaling.factor", GGUF_F32, 4, NULL },
		{ "llama.rope.scaling.original_context_length", GGUF_U32, 64,
		  NULL },
		{ "llama.attention.sliding_window", GGUF_U32, 24, NULL },
		{ "tokenizer.ggml.eos_token_id", GGUF_U32, 7, NULL },
		{ "tokenizer.ggml.eot_token_id", GGUF_U32, 8, NULL },
		{ "tokenizer.ggml.eom_token_id", GGUF_U32, 7, NULL },
		{ "general.sampling.temp", GGUF_F32, 0.5, NULL },
		{ "general.sampling.top_k", GGUF_U32, 40, NULL },
	};

	CHECK_EQ(config(more, sizeof(more) / sizeof(*more),
			"blk.0.attn_q.bias"),
		 0);
	CHECK_EQ(c.arch.nr_kv_heads, 2);
	CHECK_EQ(c.arch.head_dim, 32);
	CHECK(c.arch.rope.theta == 500000);
	CHECK_EQ(c.arch.rope.kind, ROPE_YARN);
	CHECK(c.arch.rope.factor == 4 && c.arch.rope.original == 64);
	/* as transformers computes it: 0.1 ln 4 + 1 */
	CHECK(fabs(c.arch.rope.attention - 1.138629436111989) < 1e-12);
	CHECK_EQ(c.arch.window[0], 24);
	CHECK_EQ(c.arch.nr_eos, 2);
	CHECK_EQ(c.arch.eos[1], 8);
	CHECK(c.generation.temperature == 0.5f);
	CHECK_EQ(c.generation.top_k, 40);
	CHECK(c.arch.qkv_bias);
	checkpoint_close(&c);
}

TEST(a_factor_without_a_type_is_linear)
{
	static const struct more more[] = {
		{ "llama.rope.scale_linear", GGUF_F32, 4, NULL },
		{ "llama.rope.scaling.type", GGUF_STRING, 0, "none" },
	};

	CHECK_EQ(config(more, 1, NULL), 0);
	CHECK_EQ(c.arch.rope.kind, ROPE_LINEAR);
	CHECK(c.arch.rope.factor == 4);
	checkpoint_close(&c);
	CHECK_EQ(config(more, 2, NULL), 0);
	CHECK_EQ(c.arch.rope.kind, ROPE_DEFAULT);
	checkpoint_close(&c);
}

/* The file names <|end_of_text|>; its directory the end of a turn too. */
TEST(the_end_of_a_turn_is_found_by_the_chat_template)
{
	struct checkpoint d;

	CHECK_EQ(checkpoint_open(
			 &c, "tests/data/gguf/llama3-gqa-bf16.bf16.gguf", &err),
		 0);
	CHECK_EQ(checkpoint_open(&d, "tests/data/models/llama3-gqa-bf16", &err),
		 0);
	CHECK_EQ(c.arch.nr_eos, 2);
	CHECK_EQ(d.arch.nr_eos, 2);
	CHECK_EQ(c.arch.eos[0], d.arch.eos[0]);
	CHECK_EQ(c.arch.eos[1], d.arch.eos[1]);
	checkpoint_close(&c);
	checkpoint_close(&d);
}

TEST(rope_freqs_divide_the_frequencies)
{
	double freq[8];

	CHECK_EQ(config(NULL, 0, "rope_freqs.weight"), 0);
	CHECK(rope_frequencies(&c.arch.rope, 16, freq) == 1);
	CHECK(freq[0] == 0.5);
	CHECK(fabs(freq[4] - 0.005) < 1e-12);
	checkpoint_close(&c);
}

TEST(what_a_file_says_wrongly_is_one_line)
{
	static const struct {
		struct more more;
		const char *part;
	} rows[] = {
		{ { "-general.architecture" }, "architecture is absent" },
		{ { "general.architecture", GGUF_STRING, 0, "bert" },
		  "is bert, supported are llama, qwen2, qwen3" },
		{ { "general.architecture", GGUF_U32, 3 }, "not a string" },
		{ { "-llama.block_count" }, "llama.block_count is absent" },
		{ { "llama.block_count", GGUF_U32, 0 }, "allowed 1 to 512" },
		{ { "llama.block_count", GGUF_U32, 4e9 }, "allowed 1 to 512" },
		{ { "llama.embedding_length", GGUF_U32, 65537 },
		  "allowed 1 to 65536" },
		{ { "llama.embedding_length", GGUF_U32, 66 },
		  "heads have keys of 0" },
		{ { "llama.attention.head_count", GGUF_U32, 0 }, "is 0" },
		{ { "llama.attention.head_count_kv", GGUF_U32, 3 },
		  "allowed are divisors of head_count, 4" },
		{ { "llama.attention.value_length", GGUF_U32, 8 },
		  "values of 8" },
		{ { "llama.rope.dimension_count", GGUF_U32, 8 }, "8 rotary" },
		{ { "llama.attention.key_length", GGUF_U32, 17 },
		  "keys of 17" },
		{ { "-llama.attention.layer_norm_rms_epsilon" },
		  "rms_epsilon is absent" },
		{ { "llama.attention.layer_norm_rms_epsilon", GGUF_F32, NAN },
		  "is nan" },
		{ { "llama.expert_count", GGUF_U32, 8 },
		  "expert_count is 8, supported is 0" },
		{ { "llama.attention.scale", GGUF_F32, 0.25 },
		  "is 0.25, supported is 0" },
		{ { "llama.logit_scale", GGUF_F32, 2 }, "supported is 1" },
		{ { "llama.attention.causal", GGUF_BOOL, 0 }, "is false" },
		{ { "llama.rope.scaling.type", GGUF_STRING, 0, "longrope" },
		  "longrope, supported are none, linear, yarn" },
		{ { "llama.rope.scaling.factor", GGUF_F32, 0.5 },
		  "is 0.5, allowed 0 and from 1" },
		{ { "llama.rope.freq_base", GGUF_F32, 1 }, "freq_base is 1" },
		{ { "tokenizer.ggml.eos_token_id", GGUF_U32, 10 },
		  "eos_token_id is 10, allowed 0 to 9" },
		{ { "llama.attention.sliding_window_pattern", GGUF_U32, 6 },
		  "one window for all layers" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].part);
		CHECK_EQ(config(&rows[i].more, 1, NULL), -EINVAL);
		CHECK_EQ(err.code, -EINVAL);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!c.tensors.v && !c.tensors.path);
	}
}

/* ---- a model cut into files */

static void part(uint32_t no, uint32_t of, uint32_t says, const char *tensor)
{
	static struct build b;
	char name[64];

	put_head(&b, 3, 1, 3);
	put_u32(&b, "split.no", says);
	put_u32(&b, "split.count", of);
	put_u32(&b, "split.tensors.count", 3);
	put_tensor(&b, tensor, 4, 0, 0, 0);
	put_data(&b, 32, 16);
	snprintf(name, sizeof(name), "m-%05u-of-%05u.gguf", no + 1, of);
	scratch_write(name, b.data, b.size);
}

TEST(a_split_model_is_one_table_whichever_part_is_named)
{
	struct tensors t;

	part(0, 3, 0, "output_norm.weight");
	part(1, 3, 1, "blk.0.attn_norm.weight");
	part(2, 3, 2, "blk.1.attn_norm.weight");
	for (int i = 1; i <= 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), "m-%05u-of-00003.gguf", i);
		CHECK_EQ(tensors_open(&t, scratch_path(name), &err), 0);
		CHECK_EQ(t.nr_files, 3);
		CHECK_EQ(t.nr, 3);
		CHECK(tensors_find(&t,
				   "model.layers.1.input_layernorm.weight"));
		CHECK_EQ(gguf_int(gguf_find(&t.gguf[0], "split.no"), 0), 0);
		tensors_close(&t);
	}
	ROW("a part that says it is another");
	part(1, 3, 2, "blk.0.attn_norm.weight");
	CHECK_EQ(tensors_open(&t, scratch_path("m-00001-of-00003.gguf"), &err),
		 -EINVAL);
	CHECK(strstr(err.text, "says it is part 3 of 3, its name part 2 of 3"));
	ROW("a tensor twice");
	part(1, 3, 1, "output_norm.weight");
	CHECK_EQ(tensors_open(&t, scratch_path("m-00001-of-00003.gguf"), &err),
		 -EINVAL);
	CHECK(strstr(err.text, "model.norm.weight is there twice"));
	ROW("a part that is not there");
	unlink(scratch_path("m-00002-of-00003.gguf"));
	CHECK_EQ(tensors_open(&t, scratch_path("m-00001-of-00003.gguf"), &err),
		 -ENOENT);
	CHECK(strstr(err.text, "m-00002-of-00003.gguf: "));
	ROW("another name");
	CHECK_EQ(rename(scratch_path("m-00001-of-00003.gguf"),
			scratch_path("first.gguf")),
		 0);
	CHECK_EQ(tensors_open(&t, scratch_path("first.gguf"), &err), -EINVAL);
	CHECK(strstr(err.text, "must end with -00001-of-00003.gguf"));
}

TEST(figures_need_no_weights)
{
	static const char json[] =
		"{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":9,"
		"\"hidden_size\":64,\"intermediate_size\":9,"
		"\"num_hidden_layers\":3,\"num_attention_heads\":4}";
	const char *path = scratch_write("config.json", json, strlen(json));

	CHECK_EQ(checkpoint_open(&c, path, &err), -ENOTDIR);
	CHECK_EQ(checkpoint_open(&c, scratch_dir(), &err), -ENOENT);
	CHECK_EQ(checkpoint_open_config(&c, path, &err), 0);
	CHECK_EQ(c.arch.nr_layers, 3);
	CHECK_EQ(c.tensors.nr, 0);
	checkpoint_close(&c);
	CHECK_EQ(checkpoint_open_config(&c, scratch_dir(), &err), 0);
	CHECK_EQ(c.arch.nr_layers, 3);
	checkpoint_close(&c);
	unlink(scratch_path("config.json"));
}
