/* SPDX-License-Identifier: MIT */
/* spm.h, read_spm.h: a SentencePiece file, as it is and as it should not be. */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/encode.h"
#include "text/spm.h"
#include "text/vocab.h"
#include "base/err.h"
#include "base/map.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

static char file[] = "/tmp/test_text_spm.XXXXXX";

static int open_bytes(struct vocab **v, const void *p, size_t size,
		      struct err *err)
{
	FILE *f;

	if (strstr(file, "XXXXXX"))
		close(mkstemp(file));
	f = fopen(file, "w");
	CHECK(f && fwrite(p, 1, size, f) == size && !fclose(f));
	return vocab_open(v, file, err);
}

TEST(a_model_is_read_field_by_field)
{
	struct map map;
	struct spm m;
	struct err err;

	CHECK(!map_open(&map, GOLDEN_DIR "/spm-unigram-map/tokenizer.model",
			&err));
	CHECK(!spm_read(&m, "m", map.data, map.size, &err));
	CHECK_EQ(m.model, SPM_UNIGRAM);
	CHECK_EQ(m.nr, 512);
	CHECK(m.prefix && m.squeeze && m.escape && m.byte_fallback);
	CHECK(!m.suffix && m.charsmap_size > 100);
	CHECK_EQ(m.unk, 0);
	CHECK_EQ(m.bos, 1);
	CHECK_EQ(m.eos, 2);
	CHECK_EQ(m.piece[0].type, SPM_UNKNOWN);
	CHECK_EQ(m.piece[1].type, SPM_CONTROL);
	CHECK_EQ(m.piece[3].type, SPM_BYTE);
	CHECK(m.piece[1].size == 3 && !memcmp(m.piece[1].s, "<s>", 3));
	spm_deinit(&m);
	map_close(&map);

	CHECK(!map_open(&map, GOLDEN_DIR "/spm-bpe/tokenizer.model", &err));
	CHECK(!spm_read(&m, "m", map.data, map.size, &err));
	CHECK_EQ(m.model, SPM_BPE);
	CHECK(m.prefix && !m.squeeze && !m.charsmap_size);
	CHECK(m.piece[300].score < m.piece[299].score);
	spm_deinit(&m);
	map_close(&map);
}

TEST(a_file_cut_at_any_byte_is_whole_or_one_clear_line)
{
	struct map map;
	struct spm m;
	struct err err;
	size_t n, good = 0;

	CHECK(!map_open(&map, GOLDEN_DIR "/spm-bpe-map/tokenizer.model", &err));
	for (n = 0; n < map.size; n++) {
		/* in memory of its own: what reads on is seen */
		uint8_t *p = malloc(n ? n : 1);

		memcpy(p, map.data, n);
		err = (struct err){ 0 };
		if (spm_read(&m, "m", p, n, &err)) {
			CHECK_EQ(err.code, -EINVAL);
			CHECK(!strncmp(err.text, "m: ", 3) && !m.piece);
		} else {
			good++; /* a cut between two fields */
			spm_deinit(&m);
		}
		free(p);
	}
	CHECK(good && good <= 402);
	map_close(&map);
}

#define ABC                                                                    \
	"\x0a\x05\x0a\x03"                                                     \
	"abc"

TEST(a_file_that_is_not_right_gets_one_clear_line)
{
	static const struct {
		const char *name, *bytes;
		size_t size;
		int code;
		const char *says;
	} rows[] = {
		{ "a piece past the end",
		  "\x0a\x06\x0a\x03"
		  "abc",
		  7, -EINVAL, "past the end" },
		{ "a piece of 2^63 bytes",
		  "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x0a\x03"
		  "abc",
		  15, -EINVAL, "" },
		{ "a string past its piece",
		  "\x0a\x05\x0a\x04"
		  "abc",
		  7, -EINVAL, "past the end" },
		{ "a number of eleven bytes",
		  ABC "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 19,
		  -EINVAL, "does not end" },
		{ "a field without a number", ABC "\x00\x00", 9, -EINVAL,
		  "without a number" },
		{ "a field of unknown kind", ABC "\x0b\x00", 9, -EINVAL,
		  "unknown kind" },
		{ "a group", ABC "\x0c\x00", 9, -EINVAL, "unknown kind" },
		{ "a piece of no bytes", "\x0a\x02\x0a\x00", 4, -EINVAL,
		  "empty" },
		{ "a piece that is not UTF-8", "\x0a\x03\x0a\x01\xff", 5,
		  -EINVAL, "not UTF-8" },
		{ "a score that is no number",
		  "\x0a\x0a\x0a\x03"
		  "abc\x15\x00\x00\xc0\x7f",
		  12, -EINVAL, "no number" },
		{ "a score cut short",
		  "\x0a\x08\x0a\x03"
		  "abc\x15\x00\x00",
		  10, -EINVAL, "cut short" },
		{ "a type that is none",
		  "\x0a\x07\x0a\x03"
		  "abc\x18\x07",
		  9, -EINVAL, "unknown type" },
		{ "a model that is none", ABC "\x12\x02\x18\x05", 11, -EINVAL,
		  "unknown type" },
		{ "a model of words", ABC "\x12\x02\x18\x03", 11, -ENOTSUP,
		  "words" },
		{ "spaces behind words", ABC "\x12\x05\x18\x02\xc0\x01\x01", 14,
		  -ENOTSUP, "spaces behind words" },
		{ "unigram with an unknown that is not there",
		  ABC "\x12\x05\x18\x01\xc0\x02\x05", 14, -EINVAL,
		  "unknown token" },
		{ "a charsmap too short", ABC "\x1a\x04\x12\x02\x00\x00", 13,
		  -EINVAL, "charsmap" },
		{ "a charsmap whose trie passes its end",
		  ABC "\x1a\x08\x12\x06\x04\x00\x00\x00\x00\x00", 17, -EINVAL,
		  "a trie of 4" },
	};
	struct vocab *v = NULL;
	struct err err;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].name);
		err = (struct err){ 0 };
		CHECK_EQ(open_bytes(&v, rows[i].bytes, rows[i].size, &err),
			 rows[i].code);
		if (!strstr(err.text, rows[i].says))
			printf("# %s\n", err.text);
		CHECK(strstr(err.text, rows[i].says));
		CHECK(!strncmp(err.text, file, strlen(file)));
		CHECK(!strchr(err.text, '\n') && !v);
	}
	unlink(file);
}

/* BPE by score: "ab" before "bc"; of equal scores the leftmost pair. */
TEST(the_best_score_merges_first_and_of_equals_the_leftmost)
{
	static const struct {
		const char *name;
		float ab, bc;
		uint32_t want[2];
	} rows[] = {
		{ "ab is better", -1, -2, { 3, 2 } },
		{ "bc is better", -2, -1, { 0, 4 } },
		{ "as good", -1, -1, { 3, 2 } },
	};
	static const char *const names[] = { "a", "b", "c", "ab", "bc" };
	struct vocab *v = NULL;
	size_t k, i, n;

	for (k = 0; k < 3; k++) {
		uint8_t buf[128] = { 0 };
		struct encode *e = NULL;
		struct ids ids = { 0 };

		ROW(rows[k].name);
		for (i = n = 0; i < 5; i++) {
			size_t len = strlen(names[i]);
			float score = i < 3    ? -9
				      : i == 3 ? rows[k].ab
					       : rows[k].bc;

			buf[n++] = 0x0a;
			buf[n++] = (uint8_t)(len + 7);
			buf[n++] = 0x0a;
			buf[n++] = (uint8_t)len;
			memcpy(buf + n, names[i], len);
			n += len;
			buf[n++] = 0x15;
			memcpy(buf + n, &score, 4); /* x86: as in the file */
			n += 4;
		}
		/* BPE, no unknown; no dummy prefix */
		memcpy(buf + n,
		       "\x12\x0d\x18\x02\xc0\x02\xff\xff\xff\xff\xff\xff\xff"
		       "\xff\xff\x01\x1a\x02\x18\x00",
		       20);
		buf[n + 1] = 14;
		CHECK(!open_bytes(&v, buf, n + 20, NULL));
		CHECK(!encode_open(&e, v));
		CHECK(!encode(e, "abc", 3, 0, &ids, NULL));
		CHECK_EQ(ids.nr, 2);
		CHECK_EQ(ids.v[0], rows[k].want[0]);
		CHECK_EQ(ids.v[1], rows[k].want[1]);
		ids_free(&ids);
		encode_close(e);
		vocab_close(v);
	}
	unlink(file);
}
