/* SPDX-License-Identifier: MIT */
/*
 * A tokenizer.json that somebody changed: opening it ends, with a vocabulary
 * that can be used or with one line, and never otherwise.  Two kinds of
 * change: bytes (most end at the JSON parser), and values of the parsed tree
 * (they reach everything behind it).  The seed is fixed; LLM_FUZZ_ROUNDS
 * makes it longer, LLM_FUZZ_SEED another.  Best run with SAN=address.
 */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/chat.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/vocab.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

static unsigned rounds(unsigned usual)
{
	const char *n = getenv("LLM_FUZZ_ROUNDS"), *s = getenv("LLM_FUZZ_SEED");

	seed = s ? strtoull(s, NULL, 0) : 88172645463325252u;
	return n ? (unsigned)atoi(n) : usual;
}

/* In memory where there is such a place: a round is a file or two. */
static char dir[64];

static void make_dir(void)
{
	strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/fuzz_vocab.XXXXXX"
					     : "/dev/shm/fuzz_vocab.XXXXXX");
	CHECK(mkdtemp(dir));
}

/*
 * Golden tokenizer @k, with less of its vocabulary: rounds are for the rules,
 * and 500 tokens follow the same ones as 300.
 */
static json_t *small(size_t k)
{
	static json_t *kept[GOLDEN_NR];
	json_t *model, *vocab, *merges, *m;
	const char *name;
	size_t i;
	void *next;

	if (kept[k])
		return json_deep_copy(kept[k]);
	kept[k] = golden_json(golden_names[k], "tokenizer.json");
	CHECK(kept[k]);
	model = json_object_get(kept[k], "model");
	vocab = json_object_get(model, "vocab");
	merges = json_object_get(model, "merges");
	for (i = json_array_size(vocab); i-- > 300;) /* Unigram */
		json_array_remove(vocab, i);
	json_object_foreach_safe(vocab, next, name, m)
	{
		if (json_integer_value(m) > 300)
			json_object_del(vocab, name);
	}
	for (i = json_array_size(merges); i-- > 0;) {
		char both[256];

		m = json_array_get(merges, i);
		snprintf(both, sizeof(both), "%s%s",
			 json_string_value(json_array_get(m, 0)),
			 json_string_value(json_array_get(m, 1)));
		if (!json_object_get(vocab, both) ||
		    !json_object_get(vocab,
				     json_string_value(json_array_get(m, 0))) ||
		    !json_object_get(vocab,
				     json_string_value(json_array_get(m, 1))))
			json_array_remove(merges, i);
	}
	return json_deep_copy(kept[k]);
}

/* As text; kept. */
static const char *small_text(size_t k)
{
	static char *kept[GOLDEN_NR];
	json_t *j;

	if (!kept[k]) {
		j = small(k);
		kept[k] = json_dumps(j, JSON_COMPACT);
		json_decref(j);
	}
	CHECK(kept[k]);
	return kept[k];
}

static char *in_dir(const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return path;
}

static void put_file(const char *name, const char *data, size_t size)
{
	FILE *f = fopen(in_dir(name), "w");

	CHECK(f && fwrite(data, 1, size, f) == size && !fclose(f));
}

static void put_json(const char *name, const json_t *j)
{
	char *s = json_dumps(j, 0);

	CHECK(s);
	put_file(name, s, strlen(s));
	free(s);
}

/* Whatever opened must work: encode, decode, chat. */
static void use(struct vocab *v)
{
	static const char text[] = "Hi  <s>word <mask> \xc3\xa9\xff 12ab\n";
	struct encode *e = NULL;
	struct ids ids = { 0 };
	struct decode d;
	struct err err;
	uint8_t *out = malloc(DECODE_CAP(v->token_max));
	size_t i;

	CHECK(out && !encode_open(&e, v));
	if (!encode(e, text, sizeof(text) - 1, 7, &ids, &err))
		for (i = 0; i < ids.nr; i++)
			CHECK(ids.v[i] < v->nr);
	decode_init(&d, 0);
	for (i = 0; i < ids.nr; i++)
		CHECK(decode_feed(&d, v, ids.v[i], out,
				  DECODE_CAP(v->token_max)) >= 0);
	decode_end(&d, out);
	chat_encode(e, text, sizeof(text) - 1, 0, &ids, &err);
	free(out);
	ids_free(&ids);
	encode_close(e);
}

/* Counts those that opened. */
static unsigned try(void)
{
	struct vocab *v = NULL;
	struct err err = { 0 };
	int r = vocab_open(&v, dir, &err);

	CHECK((r == 0) == (v != NULL));
	if (r) {
		CHECK(r < 0 && err.text[0] && !strchr(err.text, '\n'));
		return 0;
	}
	use(v);
	vocab_close(v);
	return 1;
}

static void remove_dir(void)
{
	unlink(in_dir("tokenizer.json"));
	unlink(in_dir("tokenizer_config.json"));
	rmdir(dir);
}

TEST(changed_bytes_never_crash)
{
	unsigned n = rounds(1000), i, k, opened = 0;
	size_t size, cut;
	char *t;

	make_dir();
	for (i = 0; i < n; i++) {
		const char *s = small_text(i % GOLDEN_NR);

		size = strlen(s);
		t = malloc(size);
		memcpy(t, s, size);
		for (k = rnd(4); k < 4; k++)
			t[rnd((unsigned)size)] =
				rnd(3) ? "0129\"{}[],:-\\ua"[rnd(16)]
				       : (char)rnd(256);
		cut = rnd(8) ? size : rnd((unsigned)size);
		put_file("tokenizer.json", t, cut);
		opened += try();
		free(t);
	}
	remove_dir();
	CHECK(opened > 0 && opened < n);
}

#define MANY_STAGES                                                            \
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"                 \
	"\"ByteLevel\",\"add_prefix_space\":true},{\"type\":\"Digits\","       \
	"\"individual_digits\":true},{\"type\":\"Punctuation\"}]}"
#define A_CHARSMAP                                                             \
	"{\"type\":\"Precompiled\",\"precompiled_charsmap\":"                  \
	"\"BAAAAAAAAAAA\"}"
#define GROWS                                                                  \
	"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\".\"},\"content\":"     \
	"\"ab\"}"

/* A value of another type or size, or a small change to the same. */
static json_t *other_value(const json_t *old)
{
	static const char *const values[] = {
		"null",
		"true",
		"false",
		"0",
		"-1",
		"1",
		"511",
		"4194303",
		"4294967295",
		"9223372036854775807",
		"1e300",
		"\"\"",
		"\"a\"",
		"\"\\u0120\"",
		"\"<s>\"",
		"\"BPE\"",
		"\"Sequence\"",
		"\"NFKC\"",
		"\"Lowercase\"",
		"\"Isolated\"",
		"\"Removed\"",
		"\"(a+)+$\"",
		"\"\\\\s\"",
		"\"[^\\\\s]*\"",
		"\"(?=\"",
		"\"\\ud83d\\ude00\"",
		"\"a\\u0000b\"",
		"[]",
		"[[]]",
		"{}",
		"{\"type\":\"NFC\"}",
		"{\"type\":\"ByteLevel\"}",
		"{\"Regex\":\"|\"}",
		"{\"String\":\"\"}",
		MANY_STAGES,
		GROWS,
		"{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"}",
		"{\"type\":\"Strip\",\"strip_left\":true}",
		A_CHARSMAP,
		"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\"}",
		"\"first\"",
		"\"Unigram\"",
		"\"\\u2581\"",
		"[\"\\u2581\",-3.5]",
	};

	if (json_is_boolean(old) && rnd(3))
		return json_boolean(!json_is_true(old));
	if (json_is_integer(old) && rnd(3))
		return json_integer(
			(json_int_t)((uint64_t)json_integer_value(old) +
				     rnd(5) - 2));
	return json_loads(values[rnd(sizeof(values) / sizeof(values[0]))],
			  JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* Walk to some place in the tree, then change what is there. */
static void change(json_t *j)
{
	const char *key = NULL;
	json_t *v, *in = j;
	size_t at = 0, n;
	void *it;

	for (;;) {
		n = json_is_array(in) ? json_array_size(in)
				      : json_object_size(in);
		if (!n)
			return;
		at = rnd((unsigned)n);
		v = NULL;
		if (json_is_array(in)) {
			v = json_array_get(in, at);
		} else {
			it = json_object_iter(in);
			for (n = at; n; n--)
				it = json_object_iter_next(in, it);
			key = json_object_iter_key(it);
			v = json_object_iter_value(it);
		}
		if (!(json_is_array(v) || json_is_object(v)) || !rnd(6))
			break;
		in = v;
	}
	if (json_is_array(in)) {
		if (rnd(4))
			json_array_set_new(in, at, other_value(v));
		else if (rnd(2))
			json_array_remove(in, at);
		else
			json_array_append(in, v);
	} else if (rnd(5)) {
		json_object_set_new(in, key, other_value(v));
	} else {
		json_object_del(in, key);
	}
}

TEST(changed_values_never_crash)
{
	unsigned n = rounds(3000), i, k, opened = 0;
	json_t *j, *c;

	make_dir();
	for (i = 0; i < n; i++) {
		size_t at = rnd(GOLDEN_NR);

		j = small(at);
		c = golden_json(golden_names[at], "tokenizer_config.json");
		CHECK(j && c);
		for (k = rnd(3); k < 3; k++)
			change(rnd(6) ? j : c);
		put_json("tokenizer.json", j);
		put_json("tokenizer_config.json", c);
		opened += try();
		json_decref(j);
		json_decref(c);
	}
	remove_dir();
	CHECK(opened > n / 10 && opened < n);
}
