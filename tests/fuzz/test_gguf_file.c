/* SPDX-License-Identifier: MIT */
/*
 * Hostile GGUF files: a small one that is good for use, cut at every byte,
 * with every field of 4 and of 8 bytes set to values that hurt, and mutants
 * from a fixed seed.  Each must be refused with one line or be good for use,
 * to the last byte of the last tensor; never a crash, never a byte read
 * outside the file (run it under SAN=address,undefined).  LLM_FUZZ_ROUNDS is
 * the number of mutants, LLM_FUZZ_SEED another seed.
 */
#include "base/err.h"
#include "base/gguf_get.h"
#include "checkpoint/arch.h"
#include "checkpoint/arch_gguf.h"
#include "checkpoint/tensors.h"
#include "daemon/model/layers.h"
#include "daemon/model/weights.h"
#include "tests/gguf_build.h"
#include "tests/test.h"

#include <inttypes.h>

static uint64_t state, sum;
static struct build seed;

static uint64_t rnd(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 10) : otherwise;
}

/* ---- the file: a llama of one layer, 8 wide */

static uint32_t offset;

static void tensor(const char *name, uint64_t cols, uint64_t rows)
{
	put_tensor(&seed, name, cols, rows, 0, offset);
	offset += (uint32_t)(cols * (rows ? rows : 1) * 4 + 31) / 32 * 32;
}

static void put_strings(const char *key, uint32_t n)
{
	put_key(&seed, key, GGUF_ARRAY);
	put(&seed, 4, GGUF_STRING);
	put(&seed, 8, n);
	for (uint32_t i = 0; i < n; i++)
		put_str(&seed, i ? &"token"[i] : "<|im_end|>");
}

static void make_seed(void)
{
	offset = 0;
	put_head(&seed, 3, 13, 16);
	put_text(&seed, "general.architecture", "llama");
	put_u32(&seed, "general.alignment", 32);
	put_u32(&seed, "llama.embedding_length", 8);
	put_key(&seed, "llama.feed_forward_length", GGUF_ARRAY);
	put(&seed, 4, GGUF_I32);
	put(&seed, 8, 1);
	put(&seed, 4, 8);
	put_u32(&seed, "llama.block_count", 1);
	put_u32(&seed, "llama.context_length", 64);
	put_u32(&seed, "llama.attention.head_count", 2);
	put_u32(&seed, "llama.attention.head_count_kv", 1);
	put_f32(&seed, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	put_f32(&seed, "llama.rope.scaling.factor", 2);
	put_text(&seed, "llama.rope.scaling.type", "yarn");
	put_u32(&seed, "split.count", 1);
	put_strings("tokenizer.ggml.tokens", 4);
	put_u32(&seed, "tokenizer.ggml.eos_token_id", 2);
	put_text(&seed, "tokenizer.chat_template", "{{ m }}<|im_end|>");
	put_key(&seed, "general.sampling.temp", GGUF_F64);
	put(&seed, 8, 0x3fe0000000000000); /* 0.5 */
	tensor("token_embd.weight", 8, 4);
	tensor("rope_freqs.weight", 2, 0);
	tensor("output_norm.weight", 8, 0);
	tensor("output.weight", 8, 4);
	tensor("blk.0.attn_norm.weight", 8, 0);
	tensor("blk.0.attn_q.weight", 8, 8);
	tensor("blk.0.attn_k.weight", 8, 4);
	tensor("blk.0.attn_v.weight", 8, 4);
	tensor("blk.0.attn_output.weight", 8, 8);
	tensor("blk.0.ffn_norm.weight", 8, 0);
	tensor("blk.0.ffn_gate.weight", 8, 8);
	tensor("blk.0.ffn_up.weight", 8, 8);
	tensor("blk.0.ffn_down.weight", 8, 8);
	put_data(&seed, 32, 0);
	for (uint32_t i = 0; i < offset / 4; i++)
		put(&seed, 4, 0x3f800000); /* 1.0f */
}

/* ---- what is done with a file that was not refused */

/* Every value by every getter; errors are as good as answers. */
static void ask_all(const struct gguf *g)
{
	for (uint32_t i = 0; i < g->nr_values; i++) {
		const struct gguf_value *v = &g->values[i], *array = NULL;
		const uint8_t *at = NULL;
		char *text = NULL;
		bool yes = false;
		uint64_t n = 0;
		double d = 0;

		CHECK(gguf_find(g, v->key) == v);
		gguf_get_u64(g, v->key, 0, UINT64_MAX, &n, NULL);
		gguf_get_f64(g, v->key, -1e300, 1e300, &d, NULL);
		gguf_get_bool(g, v->key, &yes, NULL);
		gguf_get_str(g, v->key, &text, NULL);
		free(text);
		for (int sort = 0; sort < 3; sort++)
			gguf_get_array(g, v->key, (enum gguf_items)sort, &array,
				       NULL);
		for (uint64_t k = 0; v->kind == GGUF_STRING && k < v->count;
		     k++) {
			struct gguf_str s = gguf_next_str(v, &at);

			for (uint64_t b = 0; b < s.size; b++)
				sum += (uint8_t)s.data[b];
		}
		for (uint64_t k = 0; v->kind != GGUF_STRING && k < v->count;
		     k++)
			sum += gguf_number(v, k) > 0;
	}
}

static void touch(const struct tensors *t)
{
	for (uint32_t i = 0; i < t->nr; i++)
		for (uint64_t b = 0; b < t->v[i].size; b++)
			sum += t->v[i].data[b];
}

static int bind(const struct tensors *t, struct err *err)
{
	struct arch_generation gen;
	struct weights w = { 0 };
	double freq[ROPE_MAX_DIM / 2];
	struct layers p;
	struct arch a;
	int ret = arch_read_gguf(&a, &gen, t, err);

	if (ret)
		return ret;
	rope_frequencies(&a.rope, a.head_dim, freq);
	ret = weights_init(&w, t, &a.quant, err);
	if (!ret)
		ret = layers_bind(&p, &a, &w, err);
	if (!ret)
		layers_deinit(&p);
	weights_deinit(&w);
	return ret;
}

/* Open @data[@size] all the way.  True where it is a model. */
static bool try_file(const uint8_t *data, size_t size)
{
	/* exactly as large as the file: the sanitizer sees the end */
	uint8_t *file = malloc(size ? size : 1);
	struct err err = { 0 };
	struct tensors t;
	int ret;

	memcpy(file, data, size);
	ret = tensors_parse_gguf(&t, "f", file, size, &err);
	if (!ret) {
		ask_all(&t.gguf[0]);
		touch(&t);
		ret = bind(&t, &err);
		tensors_close(&t);
	}
	if (ret) {
		CHECK(ret < 0);
		CHECK_EQ(err.code, ret);
		CHECK(err.text[0] && !strchr(err.text, '\n'));
	}
	free(file);
	return !ret;
}

TEST(a_file_cut_at_any_byte_is_refused)
{
	make_seed();
	CHECK(try_file(seed.data, seed.size));
	/* but for the padding behind the last tensor, which nobody reads */
	for (size_t n = 0; n < seed.size; n++)
		CHECK(!try_file(seed.data, n));
}

static const uint64_t nasty[] = {
	0,
	1,
	2,
	8,
	9,
	31,
	255,
	0x7fff,
	0xffff,
	0x10000,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	0x1fffffffffffffff,
	0x2000000000000000,
	0x4000000000000001,
	0x7fffffffffffffff,
	0x8000000000000000,
	0xfffffffffffffff8,
	0xffffffffffffffff,
};

#define NR_NASTY (sizeof(nasty) / sizeof(*nasty))

TEST(any_field_may_lie)
{
	static uint8_t file[sizeof(seed.data)];
	size_t meta, good = 0, tried = 0;
	struct gguf g;

	make_seed();
	CHECK_EQ(gguf_parse(&g, "f", seed.data, seed.size, NULL), 0);
	meta = g.meta_size;
	gguf_close(&g);
	for (size_t at = 0; at < meta; at++) {
		for (size_t i = 0; i < NR_NASTY; i++) {
			for (uint32_t bytes = 1; bytes <= 8; bytes *= 2) {
				if (at + bytes > seed.size)
					continue;
				memcpy(file, seed.data, seed.size);
				little_put(file + at, bytes, nasty[i]);
				good += try_file(file, seed.size);
				tried++;
			}
		}
	}
	/* a key renamed, a number that may be any: some are good */
	CHECK(good > 0 && good < tried / 2);
}

/* Change up to three places as somebody would who wants to hurt. */
static size_t mutate(uint8_t *file, size_t size)
{
	/* mostly before the data, which may be anything */
	size_t at = rnd(rnd(8) ? size / 3 + 1 : size),
	       len = rnd(size - at < 64 ? size - at : 64);
	uint32_t bytes = 1u << rnd(4);
	uint8_t piece[64];

	switch (rnd(8)) {
	case 0:
		file[at] ^= (uint8_t)(1u << rnd(8));
		return size;
	case 1: /* cut a piece out */
		memmove(file + at, file + at + len, size - at - len);
		return size - len;
	case 2: /* twice the same piece */
		memcpy(piece, file + at, len);
		memmove(file + at + len, file + at, size - at);
		memcpy(file + at, piece, len);
		return size + len;
	case 3: /* a piece from elsewhere */
		memmove(file + at, file + rnd(size - len + 1), len);
		return size;
	case 4:
		return rnd(16) ? size : at + 1;
	default:
		if (at + bytes <= size)
			little_put(file + at, bytes,
				   nasty[rnd(NR_NASTY)] + rnd(3) - 1);
		return size;
	}
}

TEST(a_mutant_is_refused_or_good_for_use)
{
	static uint8_t file[sizeof(seed.data)];
	uint64_t runs = from_env("LLM_FUZZ_ROUNDS", 50000), good = 0;

	make_seed();
	state = from_env("LLM_FUZZ_SEED", 1);
	for (uint64_t run = 0; run < runs; run++) {
		size_t size = seed.size;

		memcpy(file, seed.data, size);
		for (uint64_t k = 1 + rnd(3); k; k--)
			size = mutate(file, size);
		good += try_file(file, size);
	}
	CHECK(good > 0 && good < runs);
	printf("# %" PRIu64 " of %" PRIu64 " mutants were models\n", good,
	       runs);
}
