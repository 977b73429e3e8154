/* SPDX-License-Identifier: MIT */
/* Reading the tokenizers and vectors of tests/data/tokenizers. */
#ifndef TEXT_GOLDEN_H
#define TEXT_GOLDEN_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_DIR "tests/data/tokenizers"

static const char *const golden_names[] = {
	"bpe-gpt2", "bpe-llama3", "bpe-qwen2", "bpe-flags",
	"spm-bpe",  "unigram",	  "bpe-o200k", "unigram-map",
};
#define GOLDEN_NR 8

/* One tokenizer may come in several files; the vectors hold for all. */
static const struct golden {
	const char *file, *vectors; /* of golden_names */
} golden_files[] = {
	{ GOLDEN_DIR "/bpe-gpt2", "bpe-gpt2" },
	{ GOLDEN_DIR "/bpe-llama3", "bpe-llama3" },
	{ GOLDEN_DIR "/bpe-qwen2", "bpe-qwen2" },
	{ GOLDEN_DIR "/bpe-flags", "bpe-flags" },
	{ GOLDEN_DIR "/spm-bpe", "spm-bpe" },
	{ GOLDEN_DIR "/unigram", "unigram" },
	{ GOLDEN_DIR "/bpe-o200k", "bpe-o200k" },
	{ GOLDEN_DIR "/unigram-map", "unigram-map" },
	{ GOLDEN_DIR "/spm-bpe/tokenizer.model", "spm-bpe" },
	{ "tests/data/gguf/llama-mha-f16.f16.gguf", "spm-bpe" },
	{ "tests/data/gguf/llama3-gqa-bf16.bf16.gguf", "bpe-llama3" },
	{ "tests/data/gguf/qwen2-bf16.mixed.gguf", "bpe-qwen2" },
};
#define GOLDEN_FILES (sizeof(golden_files) / sizeof(golden_files[0]))

/* Models of SentencePiece with the ids of sentencepiece itself. */
static const char *const golden_models[] = { "spm-unigram-map", "spm-bpe-map" };
#define GOLDEN_MODELS 2

static inline char *golden_path(const char *name, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s%s%s", GOLDEN_DIR, name,
		 *file ? "/" : "", file);
	return path;
}

static inline json_t *golden_json(const char *name, const char *file)
{
	json_error_t e;

	return json_load_file(golden_path(name, file), JSON_ALLOW_NUL, &e);
}

/* The bytes of entry @i of strings.json; the caller frees. */
static inline unsigned char *golden_text(const json_t *strings, size_t i,
					 size_t *size)
{
	const json_t *x = json_array_get(json_array_get(strings, i), 1);
	const json_t *hex = json_object_get(x, "hex");
	unsigned char *s;
	size_t k;

	if (!hex) {
		*size = json_string_length(x);
		s = malloc(*size + 1);
		memcpy(s, json_string_value(x), *size);
		return s;
	}
	*size = json_string_length(hex) / 2;
	s = malloc(*size + 1);
	for (k = 0; k < *size; k++)
		sscanf(json_string_value(hex) + 2 * k, "%2hhx", &s[k]);
	return s;
}

#endif
