/* SPDX-License-Identifier: MIT */
/*
 * golden.h - tests/data/models and tests/data/gguf: the lists, and golden.json
 * read for a test.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include "base/err.h"
#include "base/json.h"
#include "tests/test.h"

#include <stdint.h>

static const char *const golden_models[] = {
	"llama-mha-f16",      "llama3-gqa-bf16",    "llama-mqa-linear-f32",
	"llama-yarn-bf16",    "llama-bias-odd-f16", "mistral-swa-f16",
	"qwen2-sharded-bf16", "qwen3-f32",
};

#define NR_GOLDEN (sizeof(golden_models) / sizeof(golden_models[0]))

/* GGUF twins of some of them, every value the same; numbered on from there. */
static const char *const golden_twins[] = {
	"llama-mha-f16.f16",
	"llama3-gqa-bf16.bf16",
	"qwen3-f32.f32",
};

#define NR_GOLDEN_TWINS                                                        \
	(NR_GOLDEN + sizeof(golden_twins) / sizeof(golden_twins[0]))

/* The directory or the file of model @i; also names the row. */
static inline const char *golden_dir(size_t i)
{
	static char path[128];

	if (i < NR_GOLDEN)
		snprintf(path, sizeof(path), "tests/data/models/%s",
			 golden_models[i]);
	else
		snprintf(path, sizeof(path), "tests/data/gguf/%s.gguf",
			 golden_twins[i - NR_GOLDEN]);
	ROW(path);
	return path;
}

/* tests/data/gguf/@name.golden.json, or what it says is the same. */
static inline json_t *golden_gguf(const char *name)
{
	const char *same;
	char path[160];
	json_t *j;

	snprintf(path, sizeof(path), "tests/data/gguf/%s.golden.json", name);
	j = json_read_file(path, NULL);
	CHECK(j);
	same = json_string_value(json_object_get(j, "same_as"));
	if (!same)
		return j;
	snprintf(path, sizeof(path), "tests/data/%s", same);
	json_decref(j);
	j = json_read_file(path, NULL);
	CHECK(j);
	return j;
}

/* golden.json of model @i; the caller json_decref()s. */
static inline json_t *golden_read(size_t i)
{
	char path[160];
	json_t *j;

	if (i >= NR_GOLDEN)
		return golden_gguf(golden_twins[i - NR_GOLDEN]);
	snprintf(path, sizeof(path), "%s/golden.json", golden_dir(i));
	j = json_read_file(path, NULL);
	CHECK(j);
	return j;
}

/* Numbers of the list @key into @ids; how many. */
static inline uint32_t golden_ids(const json_t *obj, const char *key,
				  uint32_t *ids, uint32_t room)
{
	const json_t *list = json_object_get(obj, key);
	size_t n = json_array_size(list);

	CHECK(n && n <= room);
	for (size_t k = 0; k < n; k++)
		ids[k] = (uint32_t)json_integer_value(json_array_get(list, k));
	return (uint32_t)n;
}

/* The prompt called @name. */
static inline const json_t *golden_prompt(const json_t *golden,
					  const char *name)
{
	const json_t *list = json_object_get(golden, "prompts");

	for (size_t k = 0; k < json_array_size(list); k++) {
		const json_t *p = json_array_get(list, k);
		const char *s = json_string_value(json_object_get(p, "name"));

		if (s && !strcmp(s, name))
			return p;
	}
	return NULL;
}

/* @n ids of what is asked in @name, and then of the greedy answer. */
static inline void golden_text(const json_t *golden, const char *name,
			       uint32_t *to, uint32_t n)
{
	const json_t *prompt = golden_prompt(golden, name);
	uint32_t ids[264], asked = golden_ids(prompt, "ids", ids, 200);
	uint32_t all = asked + golden_ids(json_object_get(prompt, "greedy"),
					  "ids", ids + asked, 64);

	CHECK(n <= all);
	memcpy(to, ids, n * sizeof(*ids));
}

#endif
