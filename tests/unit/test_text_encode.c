/* SPDX-License-Identifier: MIT */
/* encode.h against Hugging Face tokenizers' ids (tests/data/tokenizers). */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/utf8.h"
#include "text/vocab.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

static struct vocab *vocab_at(const char *path)
{
	struct vocab *v = NULL;
	struct err err = { 0 };

	if (vocab_open(&v, path, &err))
		printf("# %s\n", err.text);
	return v;
}

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

static json_t *load(const char *dir)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/vectors.json", dir);
	return json_load_file(path, JSON_ALLOW_NUL, NULL);
}

/* Column 0: specials parsed; 1: as text; 2: what column 0 decodes to. */
static void vectors(const char *file, const char *dir)
{
	struct vocab *v;
	struct encode *e = NULL;
	struct err err = { 0 };
	json_t *strings = json_load_file(GOLDEN_DIR "/strings.json",
					 JSON_ALLOW_NUL, NULL);
	json_t *golden = load(dir);
	json_t *rows = json_object_get(golden, "vectors"), *row;
	size_t i, bad = 0;

	ROW(file);
	CHECK(strings && rows);
	v = vocab_at(file);
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
			printf("# %s string %zu (%s) column 0: %.*s\n", file, i,
			       cat, (int)size, s);
			show("got", &a);
			bad++;
		}
		if (!same(&b, json_is_array(cb) ? cb : ca)) {
			printf("# %s string %zu (%s) column 1: %.*s\n", file, i,
			       cat, (int)size, s);
			show("got", &b);
			bad++;
		}
		text = decode_all(v, &a, DECODE_SPECIAL, &n);
		/* "the same as the input" is the input as it was read */
		clean = malloc(3 * size + 1);
		size = utf8_clean(clean, s, size);
		/* of a run of fallback bytes of which one is broken, HF shows
		 * each byte as broken; here it is that one (decode.h) */
		if (json_is_string(cd) &&
		    strncmp(strrchr(dir, '/'), "/bpe", 4) &&
		    strstr(json_string_value(cd), "\xef\xbf\xbd\xef\xbf\xbd"))
			n = 0;
		else if (json_is_string(cd)
				 ? n != json_string_length(cd) ||
					   memcmp(text, json_string_value(cd),
						  n)
				 : n != size || memcmp(text, clean, n)) {
			printf("# %s string %zu (%s) decoded: %.*s\n", file, i,
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

TEST(ids_equal_the_reference_from_every_kind_of_file)
{
	char dir[256];
	size_t i;

	for (i = 0; i < GOLDEN_FILES; i++) {
		snprintf(dir, sizeof(dir), GOLDEN_DIR "/%s",
			 golden_files[i].vectors);
		vectors(golden_files[i].file, dir);
	}
}

/* Without special tokens: sentencepiece finds none in a text. */
TEST(ids_and_text_equal_those_of_sentencepiece)
{
	json_t *strings = json_load_file(GOLDEN_DIR "/strings.json",
					 JSON_ALLOW_NUL, NULL);
	json_t *golden, *row;
	size_t k, i, j, size, n, unknown;

	for (k = 0; k < GOLDEN_MODELS; k++) {
		struct vocab *v = vocab_at(golden_path(golden_models[k], ""));
		struct encode *e = NULL;

		ROW(golden_models[k]);
		golden = golden_json(golden_models[k], "vectors.json");
		CHECK(golden && v && !encode_open(&e, v));
		json_array_foreach(json_object_get(golden, "vectors"), i, row)
		{
			const json_t *want = json_array_get(row, 2);
			unsigned char *s = golden_text(strings, i, &size);
			struct ids ids = { 0 };
			char *text;

			CHECK_EQ(encode(e, s, size, 0, &ids, NULL), 0);
			if (!same(&ids, json_array_get(row, 0)))
				show((char *)s, &ids);
			CHECK(same(&ids, json_array_get(row, 0)));
			text = decode_all(v, &ids, DECODE_SPECIAL, &n);
			/* what is unknown has another name there */
			for (j = unknown = 0; j < ids.nr; j++)
				unknown += ids.v[j] == 0;
			CHECK(unknown ||
			      (n == json_string_length(want) &&
			       !memcmp(text, json_string_value(want), n)));
			free(text);
			free(s);
			ids_free(&ids);
		}
		CHECK(i > 500);
		encode_close(e);
		vocab_close(v);
		json_decref(golden);
	}
	json_decref(strings);
}

/* "))" ")" and ")" "))" have the same sum: in float one rounds better. */
TEST(ties_are_decided_as_sentencepiece_does)
{
	static const uint32_t want[] = { 259, 116, 285, 270, 369,
					 263, 495, 425, 265 };
	struct vocab *v = vocab_at(golden_path("spm-unigram-map", ""));
	struct encode *e = NULL;
	struct ids ids = { 0 };

	CHECK(v && !encode_open(&e, v));
	CHECK(!encode(e, "quote(value)))", 14, 0, &ids, NULL));
	CHECK_EQ(ids.nr, 9);
	CHECK(!memcmp(ids.v, want, sizeof(want)));
	ids_free(&ids);
	encode_close(e);
	vocab_close(v);
}

/*
 * Sums of scores over a megabyte: in plain float they choose otherwise.  What
 * sentencepiece 0.2.3 gives for the strings in this order, each with a space:
 * FNV-1a over the ids.
 */
TEST(long_texts_too_have_the_ids_of_sentencepiece)
{
	static const uint64_t want[] = { 0xd17663d85d009517u,
					 0x4121fcb0d6aae825u };
	json_t *strings = json_load_file(GOLDEN_DIR "/strings.json",
					 JSON_ALLOW_NUL, NULL);
	struct bytes text = { 0 };
	uint32_t n = 1, i;
	size_t k, j;

	CHECK(strings);
	for (i = 0; i < 80000; i++) {
		const json_t *s;

		n = n * 1664525 + 1013904223; /* Numerical Recipes' */
		j = (n >> 8) % json_array_size(strings);
		s = json_array_get(json_array_get(strings, j), 1);
		if (json_is_string(s))
			CHECK(!bytes_add(&text, json_string_value(s),
					 json_string_length(s)) &&
			      !bytes_add(&text, " ", 1));
	}
	CHECK_EQ(text.nr, 1219999);
	for (k = 0; k < GOLDEN_MODELS; k++) {
		struct vocab *v = vocab_at(golden_path(golden_models[k], ""));
		struct ids ids = { 0 };
		struct encode *e = NULL;
		uint64_t h = 0xcbf29ce484222325u;

		ROW(golden_models[k]);
		CHECK(v && !encode_open(&e, v));
		CHECK(!encode(e, text.v, text.nr, 0, &ids, NULL));
		for (j = 0; j < ids.nr; j++)
			h = (h ^ ids.v[j]) * 0x100000001b3u;
		CHECK(h == want[k]);
		ids_free(&ids);
		encode_close(e);
		vocab_close(v);
	}
	bytes_free(&text);
	json_decref(strings);
}

/* Vocabularies of others: in LLM_GOLDEN, packed. */
TEST(ids_equal_the_reference_with_real_vocabularies)
{
	static const char *const names[] = { "gpt-2", "phi-3", "qwen2",
					     "falcon", "deepseek-coder" };
	const char *golden = getenv("LLM_GOLDEN");
	char dir[512], packed[600], cmd[1400];
	char file[] = "/tmp/test_text_real.XXXXXX";
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(dir, sizeof(dir), "%s/tokenizers/%s",
			 golden ? golden : "../shared/data", names[i]);
		snprintf(packed, sizeof(packed), "%s/vocab.gguf.xz", dir);
		if (access(packed, R_OK))
			SKIP("no real vocabularies in LLM_GOLDEN");
		if (system("command -v xz >/dev/null"))
			SKIP("no xz to unpack real vocabularies");
		if (!i)
			close(mkstemp(file));
		snprintf(cmd, sizeof(cmd), "xz -dkc '%s' >%s", packed, file);
		CHECK_EQ(system(cmd), 0);
		vectors(file, dir);
	}
	unlink(file);
}

TEST(what_the_tokenizer_puts_around_a_text_equals_the_reference)
{
	size_t k;

	for (k = 0; k < GOLDEN_FILES; k++) {
		json_t *g =
			golden_json(golden_files[k].vectors, "vectors.json");
		struct vocab *v = vocab_at(golden_files[k].file);
		struct encode *e = NULL;
		struct ids ids = { 0 };

		ROW(golden_files[k].file);
		CHECK(g && v && !encode_open(&e, v));
		CHECK_EQ(encode(e, "Hello", 5, ENCODE_BOS | ENCODE_EOS, &ids,
				NULL),
			 0);
		CHECK(same(&ids, json_object_get(g, "hello_with_special")));
		ids_free(&ids);
		encode_close(e);
		vocab_close(v);
		json_decref(g);
	}
}

/* The models of LLM_GOLDEN whose prompt "text" has both text and ids. */
TEST(the_golden_models_read_their_prompts_as_transformers_did)
{
	static const char *const names[] = { "llama3-gqa-bf16",
					     "qwen2-sharded-bf16",
					     "llama-mha-f16" };
	const char *golden = getenv("LLM_GOLDEN");
	size_t k, i, seen = 0;
	char path[512];
	json_t *g, *p;

	for (k = 0; k < 3; k++) {
		snprintf(path, sizeof(path), "%s/models/%s/golden.json",
			 golden ? golden : "../shared/data", names[k]);
		g = json_load_file(path, 0, NULL);
		if (!g)
			SKIP("no golden models in LLM_GOLDEN");
		ROW(names[k]);
		*strrchr(path, '/') = '\0';
		json_array_foreach(json_object_get(g, "prompts"), i, p)
		{
			const char *text =
				json_string_value(json_object_get(p, "text"));
			struct encode *e = NULL;
			struct ids ids = { 0 };
			struct vocab *v;

			if (!text)
				continue;
			v = vocab_at(path);
			CHECK(v && !encode_open(&e, v));
			CHECK_EQ(encode(e, text, strlen(text),
					ENCODE_SPECIAL | ENCODE_BOS, &ids,
					NULL),
				 0);
			CHECK(same(&ids, json_object_get(p, "ids")));
			seen++;
			ids_free(&ids);
			encode_close(e);
			vocab_close(v);
		}
		json_decref(g);
	}
	CHECK_EQ(seen, 3);
}

static uint64_t seed = 88172645463325252u;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

/* Text, code points of every length and kind; or bytes of any value. */
static size_t random_text(uint8_t *s, size_t n, bool broken)
{
	static const uint32_t from[] = { 0x20,	  0x61,	  0x41,	  0x30,	  0x9,
					 0xa0,	  0x300,  0x4e00, 0xac00, 0xe00,
					 0x1f600, 0x2000, 0x21 };
	size_t i, o = 0;

	for (i = 0; i < n; i++) {
		if (broken && rnd(4) == 0)
			s[o++] = (uint8_t)rnd(256);
		else
			o += utf8_put(s + o, from[rnd(13)] + rnd(24));
	}
	return o;
}

TEST(decoding_what_was_encoded_gives_the_text_again)
{
	size_t k, round;

	/* those that do not normalize: text comes back to the byte */
	for (k = 0; k < 2; k++) {
		struct vocab *v = vocab_at(golden_path(golden_names[k], ""));
		struct encode *e = NULL;
		uint8_t s[400], clean[1200];

		ROW(golden_names[k]);
		CHECK(v && !encode_open(&e, v));
		for (round = 0; round < 2000; round++) {
			size_t n = random_text(s, rnd(80), round & 1), m, o;
			struct ids ids = { 0 };
			char *text;

			CHECK_EQ(encode(e, s, n, 0, &ids, NULL), 0);
			text = decode_all(v, &ids, 0, &o);
			m = utf8_clean(clean, s, n);
			CHECK_EQ(o, m);
			CHECK(!memcmp(text, clean, m));
			free(text);
			ids_free(&ids);
		}
		encode_close(e);
		vocab_close(v);
	}
}

TEST(text_files_come_back_to_the_byte)
{
#define STRINGS GOLDEN_DIR "/strings.json"
	static const char *const files[] = { "README.md", "doc/DECISIONS.md",
					     "text/normal.c", STRINGS };
	/* the first two and o200k change nothing; SentencePiece writes a
	 * space as U+2581, which none of the files has */
	static const char *const names[] = { "bpe-gpt2", "bpe-llama3",
					     "bpe-o200k", "spm-bpe" };
	size_t k, i, n, o;
	static char s[1 << 18];

	for (k = 0; k < 4; k++) {
		struct vocab *v = vocab_at(golden_path(names[k], ""));
		struct encode *e = NULL;

		CHECK(v && !encode_open(&e, v));
		for (i = 0; i < 4; i++) {
			FILE *f = fopen(files[i], "r");
			struct ids ids = { 0 };
			char *text;

			ROW(files[i]);
			CHECK(f);
			n = fread(s, 1, sizeof(s), f);
			fclose(f);
			CHECK(n > 5000 && n < sizeof(s));
			CHECK(!encode(e, s, n, 0, &ids, NULL));
			text = decode_all(v, &ids, 0, &o);
			CHECK_EQ(o, n);
			CHECK(!memcmp(text, s, n));
			free(text);
			ids_free(&ids);
		}
		encode_close(e);
		vocab_close(v);
	}
}

TEST(a_workspace_that_has_worked_gives_the_same_ids_as_a_new_one)
{
	struct vocab *v = vocab_at(golden_path("bpe-flags", ""));
	struct encode *used = NULL, *fresh = NULL;
	uint8_t s[400];
	size_t round;

	CHECK(v && !encode_open(&used, v));
	for (round = 0; round < 300; round++) {
		size_t n = random_text(s, rnd(80), round & 1);
		struct ids a = { 0 }, b = { 0 };

		CHECK_EQ(encode_open(&fresh, v), 0);
		CHECK_EQ(encode(used, s, n, ENCODE_SPECIAL, &a, NULL), 0);
		CHECK_EQ(encode(fresh, s, n, ENCODE_SPECIAL, &b, NULL), 0);
		CHECK_EQ(a.nr, b.nr);
		CHECK(!a.nr || !memcmp(a.v, b.v, a.nr * sizeof(*a.v)));
		encode_close(fresh);
		ids_free(&a);
		ids_free(&b);
	}
	encode_close(used);
	vocab_close(v);
}

/*
 * Work per byte at 8 KiB and at 128 KiB: n log n lets it grow by 17/13, a
 * quadratic path by 16.  Units, not time, so a busy machine says the same.
 */
TEST(work_is_linear_whatever_the_text)
{
	static const char *const units[] = {
		"a",
		" ",
		"\n",
		" \n",
		"ab ",
		"1",
		"!",
		"\xe4\xbd\xa0",
		"\xff",
		"<|im_start|>",
		"<|im_start",
		"<mask>",
		"<rs> ",
		"    ",
		"   <mask>",
		"word",
		"e\xcc\x81\xcc\xa3",
		"\xcc\x81\xcc\xa3",
		"\xcc\xa3\xcc\x81\xcc\x95",
		"The quick brown fox jumps over the lazy dog. ",
	};
	const size_t small = 1 << 13, big = 1 << 17;
	char *s = malloc(big);
	size_t k, u, i;

	for (k = 0; k < GOLDEN_NR; k++) {
		struct vocab *v = vocab_at(golden_path(golden_names[k], ""));
		struct encode *e = NULL;

		CHECK(v && !encode_open(&e, v));
		for (u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
			size_t len = strlen(units[u]);
			struct ids ids = { 0 };
			uint64_t w0, w1, w2;

			ROW(units[u]);
			for (i = 0; i < big; i++)
				s[i] = units[u][i % len];
			w0 = encode_work(e);
			CHECK_EQ(encode(e, s, small, 1, &ids, NULL), 0);
			w1 = encode_work(e);
			CHECK_EQ(encode(e, s, big, 1, &ids, NULL), 0);
			w2 = encode_work(e);
			CHECK(w1 - w0 >= small); /* it counts at all */
			CHECK((w2 - w1) < (w1 - w0) * 16 * 2);
			ids_free(&ids);
		}
		encode_close(e);
		vocab_close(v);
	}
	free(s);
}

TEST(a_text_too_long_is_refused)
{
	struct vocab *v = vocab_at(golden_path("bpe-gpt2", ""));
	struct encode *e = NULL;
	struct ids ids = { 0 };
	struct err err = { 0 };

	CHECK(v && !encode_open(&e, v));
	CHECK_EQ(encode(e, "x", (size_t)ENCODE_TEXT_MAX + 1, 0, &ids, &err),
		 -E2BIG);
	CHECK(err.text[0]);
	CHECK_EQ(encode(e, NULL, 0, 0, &ids, &err), 0);
	CHECK_EQ(ids.nr, 0);
	encode_close(e);
	vocab_close(v);
}
