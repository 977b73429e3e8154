/* SPDX-License-Identifier: MIT */
/* read_gguf.h: a vocabulary in a GGUF file that a test wrote. */
#include "tests/test.h"
#include "tests/gguf_build.h"
#include "text/encode.h"
#include "text/vocab.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

static char file[] = "/tmp/test_text_gguf.XXXXXX";
static struct build b;

static int open_built(struct vocab **v, struct err *err)
{
	FILE *f;

	if (strstr(file, "XXXXXX"))
		close(mkstemp(file));
	f = fopen(file, "w");
	CHECK(f && fwrite(b.data, 1, b.size, f) == b.size && !fclose(f));
	return vocab_open(v, file, err);
}

static void put_strings(const char *key, const char *const *s, size_t nr)
{
	size_t i;

	put_key(&b, key, GGUF_ARRAY);
	put(&b, 4, GGUF_STRING);
	put(&b, 8, nr);
	for (i = 0; i < nr; i++)
		put_str(&b, s[i]);
}

static void put_i32s(const char *key, const int *x, size_t nr)
{
	size_t i;

	put_key(&b, key, GGUF_ARRAY);
	put(&b, 4, GGUF_I32);
	put(&b, 8, nr);
	for (i = 0; i < nr; i++)
		put(&b, 4, (uint32_t)x[i]);
}

/* Which part of a good file is left out or spoilt. */
enum spoil {
	NOTHING,
	NO_MODEL,
	MODEL_NONE,
	NO_PRE,
	PRE_UNKNOWN,
	NO_TOKENS,
	TOKENS_INTS,
	NOT_UTF8,
	FEW_TYPES,
	NO_MERGES,
	BAD_MERGE,
	LOST_MERGE,
	BOS_PAST,
	BOS_TEXT,
	NO_SCORES,
	NAN_SCORE,
};

/* "a" "b" "ab" "<s>" "[PAD4]" "[PAD9]", with one merge. */
static void build(enum spoil how, bool llama)
{
	const char *const tokens[] = {
		"a", "b", "ab", "<s>", "[PAD4]", "[PAD9]"
	};
	const char *const broken[] = { "a", "\xff" };
	const char *merges[] = { how == BAD_MERGE    ? "ab"
				 : how == LOST_MERGE ? "a c"
						     : "a b" };
	const int types[] = { 1, 1, 1, 3, 4, 1 };
	size_t i, nr_at;

	put_head(&b, 3, 0, 0);
	nr_at = 16;
	if (how != NO_MODEL)
		put_text(&b, "tokenizer.ggml.model",
			 how == MODEL_NONE ? "none"
			 : llama	   ? "llama"
					   : "gpt2");
	if (how != NO_PRE)
		put_text(&b, "tokenizer.ggml.pre",
			 how == PRE_UNKNOWN ? "mystery" : "gpt-2");
	if (how == TOKENS_INTS)
		put_i32s("tokenizer.ggml.tokens", types, 6);
	else if (how == NOT_UTF8)
		put_strings("tokenizer.ggml.tokens", broken, 2);
	else if (how != NO_TOKENS)
		put_strings("tokenizer.ggml.tokens", tokens, 6);
	put_i32s("tokenizer.ggml.token_type", types, how == FEW_TYPES ? 1 : 6);
	if (how != NO_MERGES)
		put_strings("tokenizer.ggml.merges", merges, 1);
	if (how == BOS_TEXT)
		put_text(&b, "tokenizer.ggml.bos_token_id", "3");
	else
		put_u32(&b, "tokenizer.ggml.bos_token_id",
			how == BOS_PAST ? 6 : 3);
	if (how != NO_SCORES) {
		put_key(&b, "tokenizer.ggml.scores", GGUF_ARRAY);
		put(&b, 4, GGUF_F32);
		put(&b, 8, 6);
		for (i = 0; i < 6; i++)
			put(&b, 4, how == NAN_SCORE ? 0x7fc00000 : 0xbf800000);
	}
	/* count what was put: keys begin "tokenizer.ggml." */
	for (i = 0; i + 15 < b.size; i++)
		if (!memcmp(b.data + i, "tokenizer.ggml.", 15))
			b.data[nr_at]++;
}

TEST(a_vocabulary_is_read_and_its_padding_is_no_token)
{
	struct vocab *v = NULL;
	struct encode *e = NULL;
	struct ids ids = { 0 };
	struct err err;
	size_t n;

	build(NOTHING, false);
	CHECK(!open_built(&v, &err));
	CHECK_EQ(v->nr, 6);
	CHECK_EQ(v->bos, 3);
	CHECK_EQ(v->nr_before, 0);
	CHECK(vocab_special(v, 3) && !vocab_special(v, 2));
	vocab_bytes(v, 4, &n);
	CHECK_EQ(n, 0);	       /* [PAD4] is at 4 */
	vocab_bytes(v, 5, &n); /* [PAD9] is not at 9 */
	CHECK_EQ(n, 6);
	CHECK(!encode_open(&e, v));
	CHECK(!encode(e, "ab<s>ba", 7, ENCODE_SPECIAL, &ids, NULL));
	CHECK_EQ(ids.nr, 4);
	CHECK_EQ(ids.v[0], 2);
	CHECK_EQ(ids.v[1], 3);
	CHECK_EQ(ids.v[2], 1);
	ids_free(&ids);
	encode_close(e);
	vocab_close(v);
	unlink(file);
}

TEST(a_vocabulary_that_is_not_right_gets_one_clear_line)
{
	static const struct {
		enum spoil how;
		bool llama;
		int code;
		const char *says;
	} rows[] = {
		{ NO_MODEL, false, -ENOTSUP, "model is missing" },
		{ MODEL_NONE, false, -ENOTSUP, "model is none" },
		{ NO_PRE, false, -ENOTSUP, "pre is missing" },
		{ PRE_UNKNOWN, false, -ENOTSUP, "pre is mystery" },
		{ NO_TOKENS, false, -EINVAL, "tokens is missing" },
		{ TOKENS_INTS, false, -EINVAL, "array of strings" },
		{ NOT_UTF8, false, -EINVAL, "token 1 is not UTF-8" },
		{ FEW_TYPES, false, -EINVAL, "fewer scores or types" },
		{ NO_MERGES, false, -EINVAL, "no tokenizer.ggml.merges" },
		{ BAD_MERGE, false, -EINVAL, "merges[0]" },
		{ LOST_MERGE, false, -EINVAL, "the right is not" },
		{ BOS_PAST, false, -EINVAL, "allowed 0 to 5" },
		{ BOS_TEXT, false, -EINVAL, "not an integer" },
		{ NO_SCORES, true, -EINVAL, "no tokenizer.ggml.scores" },
		{ NAN_SCORE, true, -EINVAL, "score of token 0" },
		{ NOT_UTF8, true, -EINVAL, "token 1 is not UTF-8" },
	};
	struct vocab *v = NULL;
	struct err err;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].says);
		build(rows[i].how, rows[i].llama);
		err = (struct err){ 0 };
		CHECK_EQ(open_built(&v, &err), rows[i].code);
		if (!strstr(err.text, rows[i].says))
			printf("# %s\n", err.text);
		CHECK(strstr(err.text, rows[i].says));
		CHECK(!strchr(err.text, '\n') && !v);
	}
	unlink(file);
}

TEST(a_file_cut_at_any_byte_opens_never)
{
	struct vocab *v = NULL;
	struct err err;
	size_t n, size;

	build(NOTHING, true);
	size = b.size;
	for (n = 0; n < size; n++) {
		b.size = n;
		err = (struct err){ 0 };
		CHECK(open_built(&v, &err) < 0);
		CHECK(err.text[0] && !v);
	}
	b.size = size;
	CHECK(!open_built(&v, &err));
	vocab_close(v);
	unlink(file);
}
