/* SPDX-License-Identifier: MIT */
/*
 * oniguruma.h, pattern.h and split.h: what Oniguruma means, not what PCRE2
 * would make of the same letters; and the behaviors of Split, worked out by
 * hand from NormalizedString::split of HF tokenizers.
 */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/pattern.h"
#include "text/pre.h"
#include "text/spell.h"
#include "text/split.h"
#include "text/utf8.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

/* Matches in [brackets], the rest as it is. */
static int mark(const char *re, const char *text, char *out)
{
	struct pattern *p = NULL;
	struct pattern_work *w = NULL;
	struct pattern_at at = { 0 };
	struct err err = { 0 };
	size_t start, end, from = 0, n = strlen(text), o = 0;
	int r = pattern_open(&p, "test", re, strlen(re), false, &err);

	if (r) {
		snprintf(out, 256, "%s", err.text);
		return r;
	}
	CHECK_EQ(pattern_work_open(&w), 0);
	while ((r = pattern_next(p, w, (const uint8_t *)text, n, &at, &start,
				 &end)) > 0) {
		o += (size_t)sprintf(out + o, "%.*s[%.*s]", (int)(start - from),
				     text + from, (int)(end - start),
				     text + start);
		from = end;
	}
	sprintf(out + o, "%s", text + from);
	pattern_work_close(w);
	pattern_close(p);
	return r;
}

TEST(patterns_mean_what_oniguruma_means)
{
	static const struct {
		const char *name, *re, *text, *marked;
	} rows[] = {
		{ "\\s has no U+180E", "\\s", "a\xe1\xa0\x8e b",
		  "a\xe1\xa0\x8e[ ]b" },
		{ "\\s has U+0085 and U+3000", "\\s+",
		  "a\xc2\x85\xe3\x80\x80"
		  "b",
		  "a[\xc2\x85\xe3\x80\x80]b" },
		{ "\\S in a class", "[^\\S]+", "a \xe1\xa0\x8e",
		  "a[ ]\xe1\xa0\x8e" },
		{ "\\w has marks", "\\w+", "e\xcc\x81_1-", "[e\xcc\x81_1]-" },
		{ "\\w has no other numbers", "\\w", "\xc2\xb2", "\xc2\xb2" },
		{ "\\h is a hex digit", "\\h+", "x12fG", "x[12f]G" },
		{ "\\v is one character", "\\v", "\n\x0b", "\n[\x0b]" },
		{ "\\b goes by that \\w", "\\be",
		  "e\xcc\x81"
		  "e",
		  "[e]\xcc\x81"
		  "e" },
		{ "^ at every line", "^a", "a\na", "[a]\n[a]" },
		{ "$ at every line", "a$", "a\na", "[a]\n[a]" },
		{ ". is not a newline", ".+", "a\rb\nc", "[a\rb]\n[c]" },
		{ "(?m) is dotall", "(?m:.+)", "a\nb", "[a\nb]" },
		{ "(?i)", "(?i:'s|'t)", "'S't", "['S]['t]" },
		{ "++ is possessive", "a++a|b", "aaab", "aaa[b]" },
		{ "{n,m}+ repeats", "a{1,2}+b", "aaaaab", "[aaaaab]" },
		{ "of a group too", "(?:ab){1,2}+c", "abababc", "[abababc]" },
		{ "{,n} is {0,n}", "xa{,2}", "xaaa", "[xaa]a" },
		{ "a brace for itself", "a{b}", "a{b}", "[a{b}]" },
		{ "\\p{Han} is the script alone", "\\p{Han}",
		  "\xe4\xb8\x80\xe3\x80\x81", "[\xe4\xb8\x80]\xe3\x80\x81" },
		{ "\\p{^L}", "\\p{^L}+", "ab12", "ab[12]" },
		{ "\\p{Letter}", "\\p{Letter}+", "ab12", "[ab]12" },
		{ "\\uHHHH", "\\u00e9", "\xc3\xa9", "[\xc3\xa9]" },
		{ "] first in a class", "[]a]+", "a]b", "[a]]b" },
		{ "posix class", "[[:alpha:]]+", "ab1", "[ab]1" },
		{ "escapes in a class", "[\\[\\]\\\\]+", "[\\]a", "[[\\]]a" },
		{ "an empty match does not come twice", "a*", "baac",
		  "[]b[aa]c[]" },
		{ "lookahead sees the end", "\\s+(?!\\S)", "a  b  ",
		  "a[ ] b[  ]" },
	};
	char out[256];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].name);
		CHECK_EQ(mark(rows[i].re, rows[i].text, out), 0);
		CHECK_STR(out, rows[i].marked);
	}
}

TEST(what_cannot_be_translated_is_refused)
{
	static const struct {
		const char *re;
		int code;
	} rows[] = {
		{ "[a[bc]]", -ENOTSUP },
		{ "[a&&b]", -ENOTSUP },
		{ "(?~a)", -ENOTSUP },
		{ "(*FAIL)", -ENOTSUP },
		{ "(?x)a", -ENOTSUP },
		{ "\\X\\y", -ENOTSUP },
		{ "a{2}?", -ENOTSUP },
		{ "[a", -EINVAL },
		{ "(a", -EINVAL },
		{ "a)", -EINVAL },
		{ "\\", -EINVAL },
		{ "\\p{L", -EINVAL },
		{ "\\p{Nonsense}", -EINVAL },
		{ "*a", -EINVAL },
		{ "\\u12", -EINVAL },
		{ "a{999999}", -EINVAL },
		{ "[[:alpha:]", -EINVAL },
		{ "[[:a", -EINVAL },
	};
	char out[256];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].re);
		out[0] = '\0';
		CHECK_EQ(mark(rows[i].re, "", out), rows[i].code);
		CHECK(!strncmp(out, "test: ", 6)); /* says where */
	}
}

TEST(a_pattern_that_runs_away_meets_its_limit)
{
	char text[64], out[256];

	memset(text, 'a', 40);
	strcpy(text + 40, "b");
	/* exponential in any backtracker */
	CHECK_EQ(mark("(?:a|a|aa)+$", text, out), -E2BIG);
}

/* The pieces of @text, joined by |. */
static int pieces(const char *json, const char *text, char *out)
{
	json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
	struct split *s = NULL;
	struct split_work *w = NULL;
	struct split_result r;
	struct err err = { 0 };
	size_t i, o = 0;
	int ret;

	CHECK(j);
	ret = split_open(&s, "pre_tokenizer", j, &err);
	json_decref(j);
	if (ret) {
		snprintf(out, 256, "%s", err.text);
		return ret;
	}
	CHECK_EQ(split_work_open(&w), 0);
	CHECK_EQ(split_run(s, w, (const uint8_t *)text, strlen(text), true, &r),
		 0);
	out[0] = '\0';
	for (i = 0; i < r.nr; i++)
		o += (size_t)sprintf(out + o, "%s%.*s", i ? "|" : "",
				     (int)(r.span[i].end - r.span[i].start),
				     r.s + r.span[i].start);
	split_work_close(w);
	split_close(s);
	return 0;
}

#define THEN_BYTES(one)                                                        \
	"{\"type\":\"Sequence\",\"pretokenizers\":[" one                       \
	",{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"                 \
	"\"use_regex\":false}]}"
#define SPLIT_AT(behavior, more)                                               \
	THEN_BYTES("{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},"       \
		   "\"behavior\":\"" behavior "\"" more "}")

#define META(more) "{\"type\":\"Metaspace\",\"replacement\":\"_\"," more "}"

TEST(pieces_are_those_of_hugging_face)
{
	static const struct {
		const char *name, *json, *text, *want;
	} rows[] = {
		{ "isolated", SPLIT_AT("Isolated", ""), "a--b-c",
		  "a|-|-|b|-|c" },
		{ "removed", SPLIT_AT("Removed", ""), "a--b-c", "a|b|c" },
		{ "contiguous", SPLIT_AT("Contiguous", ""), "a--b-c",
		  "a|--|b|-|c" },
		{ "with previous", SPLIT_AT("MergedWithPrevious", ""), "a--b-c",
		  "a-|-|b-|c" },
		{ "with next", SPLIT_AT("MergedWithNext", ""), "a--b-c",
		  "a|-|-b|-c" },
		{ "first and last", SPLIT_AT("MergedWithPrevious", ""), "-a-",
		  "-|a-" },
		{ "inverted", SPLIT_AT("Removed", ",\"invert\":true"), "a--b-c",
		  "-|-|-" },
		{ "a string is no pattern",
		  THEN_BYTES("{\"type\":\"Split\",\"pattern\":{\"String\":"
			     "\"a.c\"},\"behavior\":\"Isolated\"}"),
		  "abca.c", "abc|a.c" },
		{ "a regex is one",
		  THEN_BYTES("{\"type\":\"Split\",\"pattern\":{\"Regex\":"
			     "\"a.c\"},\"behavior\":\"Isolated\"}"),
		  "xabca.c", "x|abc|a.c" },
		{ "digits",
		  THEN_BYTES("{\"type\":\"Digits\","
			     "\"individual_digits\":false}"),
		  "ab12\xc2\xb2"
		  "c3",
		  "ab|12\xc2\xb2|c|3" },
		{ "each digit",
		  THEN_BYTES("{\"type\":\"Digits\","
			     "\"individual_digits\":true}"),
		  "ab12c", "ab|1|2|c" },
		{ "punctuation",
		  THEN_BYTES("{\"type\":\"Punctuation\","
			     "\"behavior\":\"Contiguous\"}"),
		  "a,.b\xe3\x80\x82"
		  "c$",
		  "a|,.|b|\xe3\x80\x82|c|$" },
		{ "GPT-2",
		  "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
		  "\"use_regex\":true}",
		  "Hi I'm  2 x", " Hi| I|'m| | 2| x" },
		{ "a prefix space to each piece",
		  "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
		  "\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":"
		  "\"Isolated\"},{\"type\":\"ByteLevel\","
		  "\"add_prefix_space\":true,\"use_regex\":false}]}",
		  "a- b", " a| -| b" },
		{ "stages after ByteLevel see its alphabet: superscript two "
		  "is bytes c2 b2, whose character b2 is a number",
		  "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
		  "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":"
		  "false},{\"type\":\"Digits\",\"individual_digits\":true}]}",
		  "a\xc2\xb2"
		  "b c",
		  "a\xc2|\xb2|b c" },
		{ "nothing", "null", "a b", "a b" },
		{ "Metaspace, always", META("\"prepend_scheme\":\"always\""),
		  "ab  c d ", "_ab|_|_c|_d|_" },
		{ "Metaspace, one is there",
		  META("\"prepend_scheme\":\"always\""), " a__b", "_a|_|_b" },
		{ "Metaspace, never", META("\"prepend_scheme\":\"never\""),
		  "ab  c", "ab|_|_c" },
		{ "Metaspace, older", META("\"add_prefix_space\":false"),
		  "ab c", "ab|_c" },
		{ "Metaspace, whole",
		  META("\"prepend_scheme\":\"always\",\"split\":false"),
		  "ab  c d ", "_ab__c_d_" },
		{ "Metaspace, first: of the text, not of each piece",
		  "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
		  "\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":"
		  "\"Isolated\"}," META("\"prepend_scheme\":\"first\"") "]}",
		  "a-b c", "_a|-|b|_c" },
	};
	char out[256];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].name);
		CHECK_EQ(pieces(rows[i].json, rows[i].text, out), 0);
		CHECK_STR(out, rows[i].want);
	}
}

/* data/tokenizers/pre.json: bytes of each piece, by Hugging Face tokenizers */
TEST(pre_tokenizers_known_by_name_cut_as_hugging_face_does)
{
	json_t *strings = json_load_file(GOLDEN_DIR "/strings.json",
					 JSON_ALLOW_NUL, NULL);
	json_t *golden = json_load_file(GOLDEN_DIR "/pre.json", 0, NULL);
	json_t *rows, *j, *one;
	struct split_work *w = NULL;
	const char *name, *s;
	size_t i, k, at;

	CHECK(strings && golden && !split_work_open(&w));
	json_object_foreach(golden, name, rows)
	{
		struct split *sp = NULL;
		struct split_result r;

		ROW(name);
		CHECK(pre_find(name));
		j = pre_tokenizer(pre_find(name));
		CHECK(!split_open(&sp, name, j, NULL));
		json_decref(j);
		at = 0;
		json_array_foreach(strings, i, j)
		{
			s = json_string_value(json_array_get(j, 1));
			if (!s)
				continue; /* not UTF-8 */
			one = json_array_get(rows, at++);
			CHECK(!split_run(
				sp, w, (const uint8_t *)s,
				json_string_length(json_array_get(j, 1)), true,
				&r));
			CHECK_EQ(r.nr, json_array_size(one));
			for (k = 0; k < r.nr; k++)
				CHECK_EQ(r.span[k].end - r.span[k].start,
					 json_integer_value(
						 json_array_get(one, k)));
		}
		CHECK_EQ(at, json_array_size(rows));
		split_close(sp);
	}
	CHECK(!pre_find("") && !pre_find("default"));
	split_work_close(w);
	json_decref(golden);
	json_decref(strings);
}

TEST(pre_tokenizers_not_known_are_refused)
{
	static const struct {
		const char *json;
		int code;
	} rows[] = {
		{ "{\"type\":\"BertPreTokenizer\"}", -ENOTSUP },
		{ "{\"type\":\"Metaspace\",\"replacement\":7}", -EINVAL },
		{ "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
		  "\"ByteLevel\"},{\"type\":\"Metaspace\"}]}",
		  -ENOTSUP },
		{ "{}", -EINVAL },
		{ "7", -EINVAL },
		{ "{\"type\":\"Sequence\"}", -EINVAL },
		{ SPLIT_AT("Sideways", ""), -EINVAL },
		{ THEN_BYTES("{\"type\":\"Split\"}"), -EINVAL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *j = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
		struct split *s = NULL;
		struct err err = { 0 };

		ROW(rows[i].json);
		CHECK(j);
		CHECK_EQ(split_open(&s, "pre_tokenizer", j, &err),
			 rows[i].code);
		CHECK(err.text[0] && !s);
		json_decref(j);
	}
}

TEST(every_byte_has_one_character_and_back)
{
	int b;

	for (b = 0; b < 256; b++)
		CHECK_EQ(spell_char_byte(spell_byte_char((uint8_t)b)), b);
	/* a few of GPT-2's own: Ġ is the space, Ċ the newline */
	CHECK_EQ(spell_byte_char(' '), 0x120);
	CHECK_EQ(spell_byte_char('\n'), 0x10a);
	CHECK_EQ(spell_byte_char(0x7f), 0x121);
	CHECK_EQ(spell_byte_char(0xa0), 0x142);
	CHECK_EQ(spell_byte_char(0xad), 0x143);
	CHECK_EQ(spell_byte_char(0xff), 0xff);
	CHECK_EQ(spell_char_byte(0x144), -1);
	CHECK_EQ(spell_char_byte(0xad), -1);
	CHECK_EQ(spell_char_byte(' '), -1);
}
