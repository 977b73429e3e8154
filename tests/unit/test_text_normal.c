/* SPDX-License-Identifier: MIT */
/* normal.h: rows of Unicode's NormalizationTest.txt, and own ordering. */
#include "tests/test.h"
#include "text/normal.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <utf8proc.h>

static int apply(const char *json, const char *text, size_t size, char *out)
{
	json_t *j = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct normal *n = NULL;
	struct normal_work *w = NULL;
	struct err err = { 0 };
	const uint8_t *t;
	size_t got;
	int r;

	CHECK(j);
	r = normal_open(&n, "normalizer", j, &err);
	json_decref(j);
	if (r) {
		CHECK(err.text[0]);
		return r;
	}
	CHECK_EQ(normal_work_open(&w), 0);
	r = normal_apply(n, w, (const uint8_t *)text, size, &t, &got);
	if (!r) {
		memcpy(out, got ? t : (const uint8_t *)"", got);
		out[got] = '\0';
	}
	normal_work_close(w);
	normal_close(n);
	return r;
}

TEST(texts_are_normalized)
{
	static const struct {
		const char *name, *json, *text, *want;
	} rows[] = {
		{ "none", "null", "E\xcc\x81", "E\xcc\x81" },
		{ "NFC composes", "{\"type\":\"NFC\"}", "E\xcc\x81 \xcc\x81",
		  "\xc3\x89 \xcc\x81" },
		{ "NFC orders marks: 1E0A 0323 is 1E0C 0307",
		  "{\"type\":\"NFC\"}", "\xe1\xb8\x8a\xcc\xa3",
		  "\xe1\xb8\x8c\xcc\x87" },
		{ "NFC of Hangul jamo", "{\"type\":\"NFC\"}",
		  "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81" },
		{ "NFC leaves what must not compose: 0958 is 0915 093C",
		  "{\"type\":\"NFC\"}", "\xe0\xa5\x98",
		  "\xe0\xa4\x95\xe0\xa4\xbc" },
		{ "NFD decomposes", "{\"type\":\"NFD\"}", "\xc3\x89",
		  "E\xcc\x81" },
		{ "NFD of Hangul", "{\"type\":\"NFD\"}", "\xea\xb0\x81",
		  "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8" },
		{ "NFKC: fi ligature, full width A, superscript two",
		  "{\"type\":\"NFKC\"}",
		  "\xef\xac\x81\xef\xbc\xa1\xc2\xb2\xc2\xa0|", "fiA2 |" },
		{ "NFKD", "{\"type\":\"NFKD\"}", "\xc7\x84", "DZ\xcc\x8c" },
		{ "the longest: FDFA", "{\"type\":\"NFKC\"}", "\xef\xb7\xba",
		  "\xd8\xb5\xd9\x84\xd9\x89 \xd8\xa7\xd9\x84\xd9\x84\xd9\x87"
		  " \xd8\xb9\xd9\x84\xd9\x8a\xd9\x87"
		  " \xd9\x88\xd8\xb3\xd9\x84\xd9\x85" },
		{ "Lowercase", "{\"type\":\"Lowercase\"}",
		  "A\xc3\x89\xc4\xb0\xce\xa3", "a\xc3\xa9i\xcc\x87\xcf\x83" },
		{ "Prepend", "{\"type\":\"Prepend\",\"prepend\":\"_\"}", "a",
		  "_a" },
		{ "Prepend with a NUL inside",
		  "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
		  "\"Prepend\",\"prepend\":\"_\\u0000-\"},{\"type\":"
		  "\"Replace\",\"pattern\":{\"Regex\":\"\\\\x00\"},"
		  "\"content\":\"0\"}]}",
		  "a", "_0-a" },
		{ "Strip", "{\"type\":\"Strip\",\"strip_left\":true}",
		  " \xe3\x80\x80 a b\n", "a b" },
		{ "Strip one side",
		  "{\"type\":\"Strip\",\"strip_left\":true,"
		  "\"strip_right\":false}",
		  " a ", "a " },
		{ "Prepend to nothing",
		  "{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", "" },
		{ "Replace a string",
		  "{\"type\":\"Replace\",\"pattern\":{\"String\":\".\"},"
		  "\"content\":\"!!\"}",
		  "a.b.", "a!!b!!" },
		{ "Replace a pattern",
		  "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},"
		  "\"content\":\" \"}",
		  "a   b c", "a b c" },
		{ "one after the other",
		  "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},"
		  "{\"type\":\"Lowercase\"},{\"type\":\"NFC\"},{\"type\":"
		  "\"Prepend\",\"prepend\":\"x\"}]}",
		  "\xc3\x89", "x\xc3\xa9" },
	};
	char out[256];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].name);
		CHECK_EQ(apply(rows[i].json, rows[i].text, strlen(rows[i].text),
			       out),
			 0);
		CHECK_STR(out, rows[i].want);
	}
}

TEST(normalizers_not_known_are_refused)
{
	static const struct {
		const char *json;
		int code;
	} rows[] = {
		{ "{\"type\":\"Precompiled\"}", -EINVAL },
		{ "{\"type\":\"Nmt\"}", -ENOTSUP },
		{ "{\"type\":\"Sequence\"}", -EINVAL },
		{ "{\"type\":\"Replace\"}", -EINVAL },
		{ "{\"type\":\"Prepend\"}", -EINVAL },
		{ "{\"type\":7}", -EINVAL },
		{ "{}", -EINVAL },
		{ "[]", -EINVAL },
	};
	char out[8];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].json);
		CHECK_EQ(apply(rows[i].json, "x", 1, out), rows[i].code);
	}
}

/* Long runs of marks go another way than short ones: both as utf8proc has it */
TEST(marks_are_ordered_in_runs_of_any_length)
{
	static const char *const marks[] = { "\xcc\x81", "\xcc\xa3", "\xcc\x95",
					     "\xcc\xa7", "\xcd\x85" };
	static char text[4096], out[8192];
	size_t nr, i, n;

	for (nr = 1; nr < 200; nr += 7) {
		utf8proc_uint8_t *want;

		n = (size_t)sprintf(text, "q");
		for (i = 0; i < nr; i++)
			n += (size_t)sprintf(text + n, "%s", marks[i * 7 % 5]);
		want = utf8proc_NFC((const utf8proc_uint8_t *)text);
		CHECK(want);
		CHECK_EQ(apply("{\"type\":\"NFC\"}", text, n, out), 0);
		CHECK_STR(out, (const char *)want);
		free(want);
	}
}
