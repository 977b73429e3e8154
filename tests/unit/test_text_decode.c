/* SPDX-License-Identifier: MIT */
/* decode.h: whole characters only, whatever the tokens. */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/decode.h"
#include "text/utf8.h"
#include "text/vocab.h"
#include "base/err.h"

#include <errno.h>

static struct vocab *open_file(const char *file)
{
	struct vocab *v = NULL;
	struct err err = { 0 };

	if (vocab_open(&v, file, &err))
		printf("# %s\n", err.text);
	CHECK(v);
	return v;
}

static struct vocab *open_vocab(const char *name)
{
	return open_file(golden_path(name, ""));
}

/* streams: ids, chunks[i] = what ids[i] sets free, last = what the end does */
TEST(T31_chunks_equal_the_reference_token_by_token)
{
	size_t k, i, j;
	json_t *st;

	for (k = 0; k < GOLDEN_FILES; k++) {
		json_t *g =
			golden_json(golden_files[k].vectors, "vectors.json");
		struct vocab *v = open_file(golden_files[k].file);

		ROW(golden_files[k].file);
		CHECK(json_array_size(json_object_get(g, "streams")) > 10);
		json_array_foreach(json_object_get(g, "streams"), i, st)
		{
			const json_t *ids = json_object_get(st, "ids");
			const json_t *chunks = json_object_get(st, "chunks");
			uint8_t out[512];
			struct decode d;
			const json_t *c;
			long n;

			decode_init(&d, 0);
			for (j = 0; j <= json_array_size(ids); j++) {
				c = json_array_get(chunks, j);
				if (j < json_array_size(ids))
					n = decode_feed(
						&d, v,
						(uint32_t)json_integer_value(
							json_array_get(ids, j)),
						out, sizeof(out));
				else
					n = (long)decode_end(&d, out);
				CHECK_EQ(n, json_string_length(c));
				CHECK(!memcmp(out, json_string_value(c),
					      (size_t)n));
			}
		}
		vocab_close(v);
		json_decref(g);
	}
}

/* What Python's bytes.decode("utf-8", "replace") gives. */
static const struct {
	const char *name, *bytes, *text;
} rows[] = {
	{ "plain", "abc", "abc" },
	{ "emoji",
	  "a\xf0\x9f\x98\x80"
	  "b",
	  "a\xf0\x9f\x98\x80"
	  "b" },
	{ "Thai", "\xe0\xb8\xaa\xe0\xb8\xa7", "\xe0\xb8\xaa\xe0\xb8\xa7" },
	{ "Korean", "\xed\x95\x9c\xea\xb8\x80", "\xed\x95\x9c\xea\xb8\x80" },
	{ "a stray continuation", "a\x80z", "a\xef\xbf\xbdz" },
	{ "two of them", "\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ "cut after two of four",
	  "\xf0\x9f"
	  "a",
	  "\xef\xbf\xbd"
	  "a" },
	{ "cut after three of four",
	  "\xf0\x9f\x98"
	  "a",
	  "\xef\xbf\xbd"
	  "a" },
	{ "a beginning, then a beginning", "\xe4\xbd\xe4\xbd\xa0",
	  "\xef\xbf\xbd\xe4\xbd\xa0" },
	{ "overlong", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ "overlong of three", "\xe0\x80\x80",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "a surrogate", "\xed\xa0\x80",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "past the last code point", "\xf4\x90\x80\x80",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "never a byte",
	  "\xff"
	  "a",
	  "\xef\xbf\xbd"
	  "a" },
	{ "the end inside a character", "a\xf0\x9f\x98", "a\xef\xbf\xbd" },
	{ "the end after one byte", "\xe4", "\xef\xbf\xbd" },
};

TEST(T31_pieces_joined_equal_the_whole_for_every_split)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t *s = (const uint8_t *)rows[i].bytes;
		size_t n = strlen(rows[i].bytes), k;
		uint32_t cut;

		ROW(rows[i].name);
		for (cut = 0; cut < 1u << (n - 1); cut++) {
			uint8_t out[64];
			struct decode d;
			size_t o = 0, from = 0;

			decode_init(&d, 0);
			for (k = 0; k < n; k++) {
				if (k + 1 < n && !(cut >> k & 1))
					continue;
				o += (size_t)decode_bytes(&d, s + from,
							  k + 1 - from, out + o,
							  sizeof(out) - o);
				from = k + 1;
				CHECK(d.nr_pending <= 3);
			}
			o += decode_end(&d, out + o);
			out[o] = '\0';
			CHECK_STR((char *)out, rows[i].text);
		}
	}
}

/* In the GPT-2 alphabet every byte is a token; find the one for @b. */
static uint32_t byte_token(const struct vocab *v, uint8_t b)
{
	uint32_t i;
	size_t size;

	for (i = 0; i < v->nr; i++) {
		const uint8_t *s = vocab_bytes(v, i, &size);

		if (size == 1 && s[0] == b && !vocab_special(v, i))
			return i;
	}
	return VOCAB_NONE;
}

TEST(T31_a_prompt_that_ends_in_half_a_character_is_not_shown_again)
{
	static const uint8_t emoji[] = { 'h', 'i', 0xf0, 0x9f, 0x98, 0x80 };
	struct vocab *v = open_vocab("bpe-gpt2");
	uint32_t ids[6];
	size_t i, k;

	for (i = 0; i < 6; i++)
		ids[i] = byte_token(v, emoji[i]);
	for (k = 0; k <= 6; k++) { /* the prompt is ids[0..k) */
		uint8_t out[64];
		struct decode d;
		size_t o = 0;

		decode_init(&d, 0);
		decode_skip(&d, v, ids, k);
		CHECK_EQ(d.nr_pending, k > 2 && k < 6 ? k - 2 : 0);
		for (i = k; i < 6; i++)
			o += (size_t)decode_feed(&d, v, ids[i], out + o,
						 sizeof(out) - o);
		o += decode_end(&d, out + o);
		/* the character is whole, and "hi" is not said again */
		if (k <= 2)
			CHECK_EQ(o, 6 - k);
		else
			CHECK_EQ(o, k < 6 ? 4 : 0);
		CHECK(!memcmp(out, emoji + 6 - o, o));
	}
	vocab_close(v);
}

TEST(T31_the_state_after_a_restart_is_the_state_before_it)
{
	/* mixed scripts, broken parts, special tokens between the bytes */
	static const uint8_t s[] = "x\xf0\x9f\x98\x80\xe0\xb8\xaa\x80\xe4\xbd"
				   "\xed\x95\x9c\xc3\xc3\xa9\xf0\x9f\x98";
	struct vocab *v = open_vocab("bpe-gpt2");
	uint32_t ids[64], nr = 0,
			  special = vocab_find_added(v, "<|endoftext|>");
	size_t i, k;

	CHECK(special != VOCAB_NONE);
	for (i = 0; i < sizeof(s) - 1; i++) {
		ids[nr++] = byte_token(v, s[i]);
		if (i % 3 == 0)
			ids[nr++] = special;
	}
	for (k = 0; k <= nr; k++) { /* died after k tokens */
		uint8_t a[64], b[64];
		struct decode before, after;

		decode_init(&before, 0);
		for (i = 0; i < k; i++)
			decode_feed(&before, v, ids[i], a, sizeof(a));
		decode_init(&after, 0);
		decode_skip(&after, v, ids, k / 2); /* the prompt ... */
		decode_skip(&after, v, ids + k / 2, k - k / 2); /* the log */
		CHECK_EQ(after.nr_pending, before.nr_pending);
		for (i = k; i < nr; i++) {
			long n = decode_feed(&before, v, ids[i], a, sizeof(a));

			CHECK_EQ(decode_feed(&after, v, ids[i], b, sizeof(b)),
				 n);
			CHECK(!memcmp(a, b, (size_t)n));
		}
	}
	vocab_close(v);
}

TEST(special_tokens_are_silent_unless_asked_for)
{
	struct vocab *v = open_vocab("bpe-llama3");
	uint32_t eot = vocab_find_added(v, "<|eot_id|>");
	uint8_t out[64];
	struct decode d;

	decode_init(&d, 0);
	CHECK_EQ(decode_feed(&d, v, eot, out, sizeof(out)), 0);
	decode_init(&d, DECODE_SPECIAL);
	CHECK_EQ(decode_feed(&d, v, eot, out, sizeof(out)), 10);
	CHECK(!memcmp(out, "<|eot_id|>", 10));
	/* a row of the model that the tokenizer does not know */
	CHECK_EQ(decode_feed(&d, v, v->nr, out, sizeof(out)), 0);
	CHECK_EQ(decode_feed(&d, v, UINT32_MAX, out, sizeof(out)), 0);
	vocab_close(v);
}

static uint32_t seed = 12345;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223; /* Numerical Recipes' */
	return (seed >> 8) % n;
}

/* Any ids, as a model may sample them, with a prompt of any length. */
TEST(T31_streams_of_any_ids_go_on_where_a_prompt_or_a_restart_cut_them)
{
	enum { IDS = 9, ROOM = 4096 };
	static uint8_t whole[ROOM], rest[ROOM], raw[ROOM];
	size_t k, i, cut, n, o, at[IDS + 1];
	uint32_t ids[IDS], round;
	const uint8_t *s;

	for (k = 0; k < GOLDEN_FILES; k++) {
		struct vocab *v = open_file(golden_files[k].file);

		ROW(golden_files[k].file);
		for (round = 0; round < 1500; round++) {
			struct decode d;
			size_t nr_raw = 0;

			for (i = 0; i < IDS; i++)
				ids[i] = rnd(v->nr + 1);
			/* spaces and bytes first, more often than by chance */
			for (i = 0; i < 3; i++)
				if (rnd(2))
					ids[i] = rnd(280);
			decode_init(&d, 0);
			for (i = o = 0; i < IDS; i++) {
				at[i] = o;
				o += (size_t)decode_feed(&d, v, ids[i],
							 whole + o, ROOM - o);
				CHECK_EQ(utf8_valid(whole, o), o);
				s = vocab_bytes(v, ids[i], &n);
				if (vocab_special(v, ids[i]))
					n = 0;
				memcpy(raw + nr_raw, s, n);
				nr_raw += n;
			}
			at[i] = o;
			o += decode_end(&d, whole + o);
			/* all of it is the bytes joined, but for spaces that
			 * the beginning gives up */
			n = utf8_clean(rest, raw, nr_raw);
			if (v->lead_all)
				CHECK(o <= n);
			else
				CHECK(n - o <= v->lead &&
				      !memcmp(rest + n - o, whole, o));
			for (cut = 0; cut <= IDS; cut++) {
				decode_init(&d, 0);
				decode_skip(&d, v, ids, cut / 2);
				decode_skip(&d, v, ids + cut / 2,
					    cut - cut / 2);
				for (i = cut, n = 0; i < IDS; i++)
					n += (size_t)decode_feed(&d, v, ids[i],
								 rest + n,
								 ROOM - n);
				n += decode_end(&d, rest + n);
				CHECK_EQ(n, o - at[cut]);
				CHECK(!memcmp(rest, whole + at[cut], n));
			}
		}
		vocab_close(v);
	}
}

TEST(too_little_room_changes_nothing)
{
	uint8_t out[16];
	struct decode d;

	decode_init(&d, 0);
	CHECK_EQ(decode_bytes(&d, (const uint8_t *)"\xe4\xbd", 2, out, 9), 0);
	CHECK_EQ(decode_bytes(&d, (const uint8_t *)"\xa0", 1, out, 5), -ENOSPC);
	CHECK_EQ(d.nr_pending, 2);
	CHECK_EQ(decode_bytes(&d, (const uint8_t *)"\xa0", 1, out, 6), 3);
	CHECK(!memcmp(out, "\xe4\xbd\xa0", 3));
}
