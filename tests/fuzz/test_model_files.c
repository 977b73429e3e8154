/* SPDX-License-Identifier: MIT */
/*
 * Hostile model files: mutants of real ones, made from a fixed seed, must be
 * either refused with one line or be good for use; never a crash, never a
 * byte read outside the file (run it under SAN=address,undefined).
 * LLM_FUZZ_ROUNDS is the number of mutants of each kind, LLM_FUZZ_SEED another
 * beginning.
 */
#include "base/err.h"
#include "checkpoint/arch.h"
#include "daemon/model/layers.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensors.h"
#include "daemon/model/weights.h"
#define SCRATCH_ROOT (access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm")
#include "tests/model/quantized.h"
#include "tests/model/scratch.h"
#include "tests/test.h"

#include <ctype.h>

#define MODELS "tests/data/models/"

static uint64_t state;

static uint64_t rnd(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

/* Begin a test of @usual mutants. */
static uint32_t rounds(uint32_t usual)
{
	const char *n = getenv("LLM_FUZZ_ROUNDS"), *s = getenv("LLM_FUZZ_SEED");

	state = s ? strtoull(s, NULL, 0) : usual;
	return n ? (uint32_t)atoi(n) : usual;
}

static size_t read_file(const char *path, uint8_t *buf, size_t room)
{
	FILE *f = fopen(path, "re");
	size_t n;

	scratch_must(f != NULL, path);
	n = fread(buf, 1, room, f);
	fclose(f);
	return n;
}

/* Put @text where buf[at, at + len) stood; the new size. */
static size_t splice(uint8_t *buf, size_t size, size_t room, size_t at,
		     size_t len, const void *text, size_t text_len)
{
	if (size - len + text_len > room)
		return size;
	memmove(buf + at + text_len, buf + at + len, size - at - len);
	memcpy(buf + at, text, text_len);
	return size - len + text_len;
}

/* Change JSON as somebody would who wants to hurt: mostly its numbers. */
static size_t mutate(uint8_t *buf, size_t size, size_t room)
{
	static const char *const nasty[] = {
		"0",
		"-1",
		"1",
		"7",
		"16",
		"255",
		"65536",
		"4294967295",
		"4294967296",
		"2147483648",
		"9223372036854775807",
		"4611686018427387905",
		"-9223372036854775808",
		"1e308",
		"1e-9",
		"0.5",
		"true",
		"null",
		"\"\"",
		"[]",
		"{}",
		"[0,4]",
		"\"F16\"",
		"\"U8\"",
	};
	size_t at = size ? rnd(size) : 0, len;
	uint8_t c = (uint8_t)rnd(256);

	switch (size ? rnd(8) : 0) {
	case 0: /* a byte */
		return splice(buf, size, room, at, size > at, &c, 1);
	case 1: /* cut a piece out */
		len = rnd(size - at < 40 ? size - at : 40);
		return splice(buf, size, room, at, len, "", 0);
	case 2: /* twice the same piece */
		len = rnd(size - at < 80 ? size - at : 80);
		{
			uint8_t piece[80];

			memcpy(piece, buf + at, len);
			return splice(buf, size, room, at, 0, piece, len);
		}
	default: /* a number, or what stands for one */
		while (at < size && !isdigit(buf[at]))
			at++;
		for (len = 0; at + len < size && isdigit(buf[at + len]);)
			len++;
		{
			const char *n =
				nasty[rnd(sizeof(nasty) / sizeof(*nasty))];

			return splice(buf, size, room, at, len, n, strlen(n));
		}
	}
}

/* A line, and one only, where there was an error. */
static void check_refusal(int ret, const struct err *err)
{
	CHECK(ret < 0);
	CHECK_EQ(err->code, ret);
	CHECK(err->text[0] && !strchr(err->text, '\n'));
}

TEST(a_mutant_of_a_safetensors_header_is_refused_or_readable)
{
	static uint8_t seed[1 << 20], head[1 << 16];
	size_t size = read_file(MODELS "llama-mha-f16/model.safetensors", seed,
				sizeof(seed));
	uint64_t n;
	uint32_t good = 0, runs = rounds(20000);

	memcpy(&n, seed, 8);
	CHECK(n < sizeof(head) / 2 && n + 8 < size);
	for (uint32_t run = 0; run < runs; run++) {
		size_t head_size = n, data_size = rnd(4) ? size - 8 - n : 512;
		struct err err = { 0 };
		struct safetensors st;
		uint64_t sum = 0, len;
		uint8_t *file;
		int ret;

		memcpy(head, seed + 8, n);
		for (uint64_t k = 1 + rnd(3); k; k--)
			head_size = mutate(head, head_size, sizeof(head));
		len = rnd(16) ? head_size : rnd(2 * size);
		/* exactly as large as the file: the sanitizer sees the end */
		file = malloc(8 + head_size + data_size);
		memcpy(file, &len, 8);
		memcpy(file + 8, head, head_size);
		memcpy(file + 8 + head_size, seed + 8 + n, data_size);
		ret = safetensors_parse(&st, "f", file,
					8 + head_size + data_size, &err);
		for (uint32_t i = 0; !ret && i < st.nr_tensors; i++)
			for (uint64_t b = 0; b < st.tensors[i].size; b++)
				sum += st.tensors[i].data[b];
		if (ret)
			check_refusal(ret, &err);
		else
			safetensors_close(&st);
		good += !ret && sum;
		free(file);
	}
	/* both ways must have been gone */
	CHECK(good > 0 && good < runs / 2);
}

/* What model_open() does before it computes anything. */
static int bind(const struct arch *a, const struct tensors *t, struct err *err)
{
	struct weights w = { 0 };
	struct layers p;
	int ret = weights_init(&w, t, &a->quant, err);

	if (!ret)
		ret = layers_bind(&p, a, &w, err);
	if (!ret)
		layers_deinit(&p);
	weights_deinit(&w);
	return ret;
}

static int open_all(const char *dir, const char *config, struct err *err)
{
	struct tensors t;
	struct arch a;
	int ret = arch_read(&a, config, err);

	if (ret)
		return ret;
	ret = tensors_open(&t, dir, err);
	if (ret)
		return ret;
	ret = bind(&a, &t, err);
	tensors_close(&t);
	return ret;
}

TEST(a_mutant_of_config_json_is_refused_or_fits_the_weights)
{
	static const char *const models[] = {
		"llama3-gqa-bf16", "llama-yarn-bf16", "mistral-swa-f16",
		"qwen2-sharded-bf16", "qwen3-f32"
	};
	static uint8_t seed[4096], buf[16384];
	uint32_t good = 0, runs = rounds(6000);

	for (uint32_t run = 0; run < runs; run++) {
		char path[192], dir[128];
		struct err err = { 0 };
		size_t size;
		int ret;

		snprintf(dir, sizeof(dir), MODELS "%s", models[run % 5]);
		snprintf(path, sizeof(path), "%s/config.json", dir);
		size = read_file(path, seed, sizeof(seed));
		memcpy(buf, seed, size);
		for (uint64_t k = 1 + rnd(3); k; k--)
			size = mutate(buf, size, sizeof(buf));
		scratch_write("config.json", buf, size);
		ret = open_all(dir, scratch_path("config.json"), &err);
		if (ret)
			check_refusal(ret, &err);
		good += !ret;
	}
	CHECK(good > 0 && good < runs / 2);
}

TEST(a_mutant_of_an_index_is_refused_or_finds_every_tensor)
{
	static const char dir[] = MODELS "qwen2-sharded-bf16";
	static uint8_t seed[8192], buf[16384];
	size_t n = read_file(MODELS
			     "qwen2-sharded-bf16/model.safetensors.index.json",
			     seed, sizeof(seed));
	char cmd[256];
	uint32_t good = 0, runs = rounds(3000);

	snprintf(cmd, sizeof(cmd), "cp %s/*.safetensors %s", dir,
		 scratch_dir());
	CHECK_EQ(system(cmd), 0);
	for (uint32_t run = 0; run < runs; run++) {
		struct err err = { 0 };
		size_t size = n;
		int ret;

		memcpy(buf, seed, n);
		for (uint64_t k = 1 + rnd(2); k; k--)
			size = mutate(buf, size, sizeof(buf));
		scratch_write("model.safetensors.index.json", buf, size);
		ret = open_all(scratch_dir(),
			       MODELS "qwen2-sharded-bf16/config.json", &err);
		if (ret)
			check_refusal(ret, &err);
		good += !ret;
	}
	CHECK(good > 0 && good < runs);
}

/* Header or config.json; codes, scales and their order are read and repacked. */
TEST(a_mutant_of_a_quantized_checkpoint_is_refused_or_readable)
{
	static struct qz_file file;
	static uint8_t whole[8 + (1 << 16) + sizeof(file.data)];
	uint32_t good = 0, runs = rounds(1500);

	for (uint32_t run = 0; run < runs; run++) {
		struct err err = { 0 };
		uint8_t config[4096];
		uint64_t n;
		size_t size;
		int ret;

		qz_write(run % NR_QZ, &file);
		if (run / NR_QZ % 2) {
			size = read_file(scratch_path("config.json"), config,
					 sizeof(config));
			for (uint64_t k = 1 + rnd(2); k; k--)
				size = mutate(config, size, sizeof(config));
			scratch_write("config.json", config, size);
		} else {
			n = strlen(file.json);
			memcpy(whole + 8, file.json, n);
			for (uint64_t k = 1 + rnd(2); k; k--)
				n = mutate(whole + 8, n, 1 << 16);
			memcpy(whole, &n, 8);
			memcpy(whole + 8 + n, file.data, file.size);
			scratch_write("model.safetensors", whole,
				      8 + n + file.size);
		}
		ret = open_all(scratch_dir(), scratch_path("config.json"),
			       &err);
		if (ret)
			check_refusal(ret, &err);
		good += !ret;
	}
	CHECK(good > 0 && good < runs);
}
