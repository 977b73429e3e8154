/* SPDX-License-Identifier: MIT */
/* encode.h against Hugging Face tokenizers' ids (tests/data/tokenizers). */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/utf8.h"
#include "text/vocab.h"
#include "base/err.h"

#include <stdint.h>

static void show(const char *what, const struct ids *ids)
{
	size_t i;

	printf("# %s:", what);
	for (i = 0; i < ids->nr && i < 60; i++)
		printf(" %u", ids->v[i]);
	printf("\n");
}

static bool same(const struct ids *ids, const json_t *want)
{
	size_t i;

	if (ids->nr != json_array_size(want))
		return false;
	for (i = 0; i < ids->nr; i++)
		if (ids->v[i] !=
		    (uint32_t)json_integer_value(json_array_get(want, i)))
			return false;
	return true;
}

static char *decode_all(const struct vocab *v, const struct ids *ids,
			unsigned flags, size_t *ret)
{
	size_t cap = ids->nr * DECODE_CAP(v->token_max) + 4, n = 0, i;
	uint8_t *out = malloc(cap);
	struct decode d;

	decode_init(&d, flags);
	for (i = 0; i < ids->nr; i++)
		n += (size_t)decode_feed(&d, v, ids->v[i], out + n, cap - n);
	n += decode_end(&d, out + n);
	*ret = n;
	return (char *)out;
}

/* Column 0: specials parsed; 1: as text; 2: what column 0 decodes to. */
static void vectors(const char *name)
{
	struct vocab *v = NULL;
	struct encode *e = NULL;
	struct err err = { 0 };
	json_t *strings = json_load_file(GOLDEN_DIR "/strings.json",
					 JSON_ALLOW_NUL, NULL);
	json_t *golden = golden_json(name, "vectors.json");
	json_t *rows = json_object_get(golden, "vectors"), *row;
	size_t i, bad = 0;

	ROW(name);
	CHECK(strings && rows);
	if (vocab_open(&v, golden_path(name, ""), &err))
		printf("# %s\n", err.text);
	CHECK(v);
	CHECK_EQ(encode_open(&e, v), 0);
	CHECK_EQ(json_array_size(rows), json_array_size(strings));
	json_array_foreach(rows, i, row)
	{
		struct ids a = { 0 }, b = { 0 };
		size_t size, n;
		unsigned char *s = golden_text(strings, i, &size);
		const json_t *ca = json_array_get(row, 0);
		const json_t *cb = json_array_get(row, 1);
		const json_t *cd = json_array_get(row, 2);
		const char *cat = json_string_value(
			json_array_get(json_array_get(strings, i), 0));
		char *text;
		uint8_t *clean;

		CHECK_EQ(encode(e, s, size, ENCODE_SPECIAL, &a, &err), 0);
		CHECK_EQ(encode(e, s, size, 0, &b, &err), 0);
		if (!same(&a, json_is_array(ca) ? ca : json_array())) {
			printf("# %s string %zu (%s) column 0: %.*s\n", name, i,
			       cat, (int)size, s);
			show("got", &a);
			bad++;
		}
		if (!same(&b, json_is_array(cb) ? cb : ca)) {
			printf("# %s string %zu (%s) column 1: %.*s\n", name, i,
			       cat, (int)size, s);
			show("got", &b);
			bad++;
		}
		text = decode_all(v, &a, DECODE_SPECIAL, &n);
		/* "the same as the input" is the input as it was read */
		clean = malloc(3 * size + 1);
		size = utf8_clean(clean, s, size);
		if (json_is_string(cd)
			    ? n != json_string_length(cd) ||
				      memcmp(text, json_string_value(cd), n)
			    : n != size || memcmp(text, clean, n)) {
			printf("# %s string %zu (%s) decoded: %.*s\n", name, i,
			       cat, (int)n, text);
			bad++;
		}
		free(text);
		free(clean);
		free(s);
		ids_free(&a);
		ids_free(&b);
	}
	CHECK_EQ(bad, 0);
	encode_close(e);
	vocab_close(v);
	json_decref(golden);
	json_decref(strings);
}

TEST(ids_equal_the_reference_gpt2)
{
	vectors("bpe-gpt2");
}

TEST(ids_equal_the_reference_llama3)
{
	vectors("bpe-llama3");
}

TEST(ids_equal_the_reference_qwen2)
{
	vectors("bpe-qwen2");
}

TEST(ids_equal_the_reference_flags)
{
	vectors("bpe-flags");
}
