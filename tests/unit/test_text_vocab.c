/* SPDX-License-Identifier: MIT */
/* vocab.h: what is read, and what a file that is not right gets. */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/encode.h"
#include "text/vocab.h"
#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test_text_vocab.XXXXXX";

static char *in_dir(const char *file)
{
	static char path[PATH_MAX];

	if (strstr(dir, "XXXXXX"))
		CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return path;
}

static void clean_dir(void)
{
	unlink(in_dir("tokenizer.json"));
	unlink(in_dir("tokenizer_config.json"));
	unlink(in_dir("chat_template.jinja"));
	rmdir(dir);
	strcpy(strchr(dir, '.'), ".XXXXXX");
}

static void write_file(const char *file, const char *text)
{
	FILE *f = fopen(in_dir(file), "w");

	CHECK(f && fputs(text, f) >= 0 && !fclose(f));
}

/* In @root, at a path of keys and indices parted by '/', put JSON @value. */
static void put(json_t *root, const char *path, const char *value)
{
	json_t *new = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
	char key[128];
	const char *slash;

	CHECK(!value || new);
	while ((slash = strchr(path, '/'))) {
		snprintf(key, sizeof(key), "%.*s", (int)(slash - path), path);
		root = json_is_array(root)
			       ? json_array_get(root, (size_t)atoi(key))
			       : json_object_get(root, key);
		CHECK(root);
		path = slash + 1;
	}
	if (json_is_array(root))
		CHECK(!json_array_set_new(root, (size_t)atoi(path), new));
	else if (new)
		CHECK(!json_object_set_new(root, path, new));
	else
		json_object_del(root, path);
}

/* Open golden tokenizer @base with one field changed. */
static int open_with(struct vocab **v, const char *base, const char *path,
		     const char *value, struct err *err)
{
	json_t *j = golden_json(base, "tokenizer.json");

	CHECK(j);
	if (path)
		put(j, path, value);
	CHECK(!json_dump_file(j, in_dir("tokenizer.json"), 0));
	json_decref(j);
	return vocab_open(v, dir, err);
}

TEST(a_vocabulary_is_read)
{
	struct vocab *v = NULL;
	struct err err = { 0 };
	const uint8_t *s;
	size_t n;

	CHECK_EQ(vocab_open(&v, golden_path("bpe-llama3", ""), &err), 0);
	CHECK_EQ(v->nr, 512);
	CHECK_EQ(v->bos, 506);
	CHECK_EQ(v->eos, 507);
	CHECK_EQ(v->nr_before, 1);
	CHECK_EQ(v->before[0], 506);
	CHECK_EQ(v->nr_after, 0);
	CHECK(v->chat_template && strstr(v->chat_template, "<|eot_id|>"));
	CHECK_EQ(vocab_find_added(v, "<|eot_id|>"), 510);
	CHECK_EQ(vocab_find_added(v, "<|eot"), VOCAB_NONE);
	CHECK(vocab_special(v, 510) && !vocab_special(v, 0));
	CHECK(!vocab_special(v, 512));
	s = vocab_bytes(v, 0, &n);
	CHECK_EQ(n, 1);
	CHECK_EQ(s[0], '!');
	vocab_bytes(v, 512, &n);
	CHECK_EQ(n, 0);
	vocab_close(v);

	/* the file itself, and in a folder without the others */
	CHECK_EQ(open_with(&v, "bpe-llama3", NULL, NULL, &err), 0);
	CHECK_EQ(v->bos, 506); /* what the post-processor puts first */
	CHECK_EQ(v->eos, VOCAB_NONE);
	CHECK(!v->chat_template);
	vocab_close(v);
	CHECK_EQ(vocab_open(&v, in_dir("tokenizer.json"), &err), 0);
	vocab_close(v);
	vocab_close(NULL);
	clean_dir();
}

TEST(both_forms_of_merges_are_the_same)
{
	json_t *j = golden_json("bpe-gpt2", "tokenizer.json"), *m, *one;
	json_t *old = json_array();
	struct vocab *a = NULL, *b = NULL;
	struct encode *ea = NULL, *eb = NULL;
	struct ids x = { 0 }, y = { 0 };
	static const char text[] = "The quick brown fox, it's over there.";
	size_t i;

	m = json_object_get(json_object_get(j, "model"), "merges");
	json_array_foreach(m, i, one) json_array_append_new(
		old,
		json_sprintf("%s %s", json_string_value(json_array_get(one, 0)),
			     json_string_value(json_array_get(one, 1))));
	json_object_set_new(json_object_get(j, "model"), "merges", old);
	CHECK(!json_dump_file(j, in_dir("tokenizer.json"), 0));
	CHECK_EQ(vocab_open(&a, dir, NULL), 0);
	CHECK_EQ(vocab_open(&b, golden_path("bpe-gpt2", ""), NULL), 0);
	CHECK(!encode_open(&ea, a) && !encode_open(&eb, b));
	CHECK_EQ(encode(ea, text, strlen(text), 0, &x, NULL), 0);
	CHECK_EQ(encode(eb, text, strlen(text), 0, &y, NULL), 0);
	CHECK_EQ(x.nr, y.nr);
	CHECK(x.nr && !memcmp(x.v, y.v, x.nr * sizeof(*x.v)));
	ids_free(&x);
	ids_free(&y);
	encode_close(ea);
	encode_close(eb);
	vocab_close(a);
	vocab_close(b);
	json_decref(j);
	clean_dir();
}

TEST(tokenizer_config_has_the_last_word_on_bos)
{
	static const struct {
		const char *name, *base, *config;
		uint32_t nr_before, bos;
	} rows[] = {
		{ "says nothing", "bpe-llama3",
		  "{\"bos_token\":\"<|begin_of_text|>\"}", 1, 506 },
		{ "takes it away", "bpe-llama3",
		  "{\"bos_token\":\"<|begin_of_text|>\","
		  "\"add_bos_token\":false}",
		  0, 506 },
		{ "adds it, as an object", "bpe-gpt2",
		  "{\"bos_token\":{\"content\":\"<|endoftext|>\"},"
		  "\"add_bos_token\":true}",
		  1, 511 },
		{ "adds one that is not there", "bpe-gpt2",
		  "{\"bos_token\":\"<s>\",\"add_bos_token\":true}", 0,
		  VOCAB_NONE },
		{ "null", "bpe-gpt2",
		  "{\"bos_token\":null,\"add_bos_token\":null}", 0,
		  VOCAB_NONE },
	};
	struct vocab *v = NULL;
	struct err err = { 0 };
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].name);
		write_file("tokenizer_config.json", rows[i].config);
		CHECK_EQ(open_with(&v, rows[i].base, NULL, NULL, &err), 0);
		CHECK_EQ(v->nr_before, rows[i].nr_before);
		CHECK_EQ(v->bos, rows[i].bos);
		vocab_close(v);
	}
	clean_dir();
}

TEST(the_chat_template_is_found_in_all_its_places)
{
	struct vocab *v = NULL;
	struct err err = { 0 };

	write_file("tokenizer_config.json",
		   "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":"
		   "\"T\"},{\"name\":\"default\",\"template\":\"D\"}]}");
	CHECK_EQ(open_with(&v, "bpe-gpt2", NULL, NULL, &err), 0);
	CHECK_STR(v->chat_template, "D");
	vocab_close(v);
	write_file("chat_template.jinja", "J");
	CHECK_EQ(vocab_open(&v, dir, &err), 0);
	CHECK_STR(v->chat_template, "J");
	vocab_close(v);
	clean_dir();
}

TEST(a_file_that_is_not_right_gets_one_clear_line)
{
	static const struct {
		const char *base, *path, *value;
		int code;
		const char *says;
	} rows[] = {
		{ "bpe-gpt2", "model", NULL, -EINVAL, "\"model\"" },
		{ "bpe-gpt2", "model", "[]", -EINVAL, "\"model\"" },
		{ "bpe-gpt2", "model/type", "\"WordPiece\"", -ENOTSUP,
		  "WordPiece: not supported" },
		{ "bpe-gpt2", "model/type", "\"Unigram\"", -EINVAL,
		  "no array" },
		{ "bpe-gpt2", "model/type", "3", -EINVAL, "type" },
		{ "bpe-gpt2", "model/vocab", "{}", -EINVAL, NULL },
		{ "bpe-gpt2", "model/vocab", "[1]", -EINVAL, "model.vocab" },
		{ "bpe-gpt2", "model/vocab/!", "-1", -EINVAL, "\"!\"" },
		{ "bpe-gpt2", "model/vocab/!", "1", -EINVAL, "id 1 to" },
		{ "bpe-gpt2", "model/vocab/!", "4000000000", -EINVAL, "\"!\"" },
		{ "bpe-gpt2", "model/vocab/!", "99999999999999", -EINVAL,
		  "integer from 0 to" },
		{ "bpe-gpt2", "model/vocab/!", "1.5", -EINVAL, "\"!\"" },
		{ "bpe-gpt2", "model/vocab/!", "\"x\"", -EINVAL, "\"!\"" },
		{ "bpe-gpt2", "model/merges", "{}", -EINVAL, "merges" },
		{ "bpe-gpt2", "model/merges", NULL, -EINVAL, "merges" },
		{ "bpe-gpt2", "model/merges/0", "\"ab\"", -EINVAL,
		  "merges[0]" },
		{ "bpe-gpt2", "model/merges/7", "[\"a\"]", -EINVAL,
		  "merges[7]" },
		{ "bpe-gpt2", "model/merges/7", "[\"a\",1]", -EINVAL,
		  "merges[7]" },
		{ "bpe-gpt2", "model/merges/7", "\"a b c\"", -EINVAL,
		  "merges[7]" },
		{ "bpe-gpt2", "model/merges/7", "[\"no\",\"where\"]", -EINVAL,
		  "not in the vocabulary" },
		{ "bpe-gpt2", "model/byte_fallback", "true", -ENOTSUP,
		  "byte_fallback" },
		{ "bpe-gpt2", "model/dropout", "0.1", -ENOTSUP, "dropout" },
		{ "bpe-gpt2", "model/continuing_subword_prefix", "\"##\"",
		  -ENOTSUP, "continuing_subword_prefix" },
		{ "bpe-gpt2", "model/ignore_merges", "1", -EINVAL,
		  "ignore_merges" },
		{ "bpe-gpt2", "pre_tokenizer", "null", -ENOTSUP,
		  "pre_tokenizer" },
		{ "bpe-gpt2", "pre_tokenizer/type", "\"Metaspace\"", -ENOTSUP,
		  "ByteLevel stands in only one" },
		{ "bpe-gpt2", "pre_tokenizer/type", "\"Bert\"", -ENOTSUP,
		  "Bert" },
		{ "unigram", "model/vocab/7", "[\"a\"]", -EINVAL,
		  "model.vocab[7]" },
		{ "unigram", "model/vocab/7", "[7,7]", -EINVAL,
		  "model.vocab[7]" },
		{ "unigram", "model/vocab/7", "[\"a\",1e300]", -EINVAL,
		  "finite score" },
		{ "unigram", "model/vocab", "{}", -EINVAL, "no array" },
		{ "unigram", "model/unk_id", "null", -EINVAL, "unknown token" },
		{ "unigram", "model/unk_id", "4000", -EINVAL, "unknown token" },
		{ "unigram", "pre_tokenizer/replacement", "\"\"", -EINVAL,
		  "replacement" },
		{ "unigram", "pre_tokenizer/prepend_scheme", "\"last\"",
		  -EINVAL, "prepend_scheme" },
		{ "unigram", "decoder/decoders/0/type", "\"CTC\"", -ENOTSUP,
		  "CTC" },
		{ "spm-bpe", "decoder/decoders/3/stop", "1", -ENOTSUP,
		  "Strip" },
		{ "spm-bpe", "decoder/decoders/2/type", "\"ByteFallback\"",
		  -ENOTSUP, "Strip" },
		{ "spm-bpe", "decoder/decoders/0/content", "\"_\"", -ENOTSUP,
		  "Replace" },
		{ "unigram", "normalizer",
		  "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"?\"}",
		  -EINVAL, "base64" },
		{ "unigram", "normalizer",
		  "{\"type\":\"Precompiled\",\"precompiled_charsmap\":"
		  "\"/wAAAA==\"}",
		  -EINVAL, "a trie of 255" },
		{ "bpe-llama3", "pre_tokenizer/pretokenizers/0/pattern",
		  "{\"Regex\":\"(a\"}", -EINVAL, "pretokenizers[0]" },
		{ "bpe-llama3", "pre_tokenizer/pretokenizers/0/pattern",
		  "{\"Regex\":\"[a&&b]\"}", -ENOTSUP, "&&" },
		{ "bpe-qwen2", "normalizer/type", "\"Nmt\"", -ENOTSUP, "Nmt" },
		{ "bpe-gpt2", "decoder/type", "\"Metaspace\"", -ENOTSUP,
		  "decoder" },
		{ "bpe-gpt2", "decoder/type", "\"CTC\"", -ENOTSUP,
		  "decoder CTC" },
		{ "bpe-gpt2", "post_processor/type", "\"Bert\"", -ENOTSUP,
		  "post_processor" },
		{ "bpe-flags", "post_processor/special_tokens", "{}", -EINVAL,
		  "special_tokens" },
		{ "bpe-flags", "post_processor/single", "7", -EINVAL,
		  "single" },
		{ "bpe-flags", "post_processor/special_tokens/<s>/ids", "[480]",
		  -EINVAL, "0 to 478" },
		{ "bpe-flags", "post_processor/special_tokens/<s>/ids",
		  "[1,1,1,1,1,1,1,1,1]", -EINVAL, "more than 8" },
		{ "bpe-gpt2", "added_tokens", "{}", -EINVAL, "added_tokens" },
		{ "bpe-gpt2", "added_tokens/0", "7", -EINVAL,
		  "added_tokens[0]" },
		{ "bpe-gpt2", "added_tokens/0/id", "-1", -EINVAL,
		  "<|endoftext|>" },
		{ "bpe-gpt2", "added_tokens/0/id", "0", -EINVAL, "id 0" },
		{ "bpe-gpt2", "added_tokens/0/id", "null", -EINVAL,
		  "<|endoftext|>" },
		{ "bpe-gpt2", "added_tokens/0/content", "\"!\"", -EINVAL,
		  "added_tokens[0]" },
		{ "bpe-gpt2", "added_tokens/0/special", "\"yes\"", -EINVAL,
		  "added_tokens[0]: special" },
	};
	struct vocab *v = NULL;
	struct err err;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[200];

		snprintf(name, sizeof(name), "%s = %s", rows[i].path,
			 rows[i].value ? rows[i].value : "(none)");
		ROW(name);
		err = (struct err){ 0 };
		CHECK_EQ(open_with(&v, rows[i].base, rows[i].path,
				   rows[i].value, &err),
			 rows[i].code);
		CHECK_EQ(err.code, rows[i].code);
		CHECK(!v);
		CHECK(!strncmp(err.text, dir, strlen(dir))); /* which file */
		if (rows[i].says && !strstr(err.text, rows[i].says))
			printf("# %s\n", err.text);
		CHECK(!rows[i].says || strstr(err.text, rows[i].says));
		CHECK(!strchr(err.text, '\n'));
	}
	clean_dir();
}

TEST(files_that_are_no_vocabulary_are_refused)
{
	static const struct {
		const char *name, *tokenizer, *config;
		int code;
	} rows[] = {
		{ "empty", "", NULL, -EINVAL },
		{ "no JSON", "llama", NULL, -EINVAL },
		{ "a number", "7", NULL, -EINVAL },
		{ "an empty object", "{}", NULL, -EINVAL },
		{ "a config that is no JSON", NULL, "{", -EINVAL },
		{ "a config of another type", NULL,
		  "{\"add_bos_token\":\"yes\"}", -EINVAL },
		{ "a template with a NUL", NULL,
		  "{\"chat_template\":\"a\\u0000b\"}", -EINVAL },
	};
	struct vocab *v = NULL;
	struct err err = { 0 };
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ROW(rows[i].name);
		if (rows[i].config)
			write_file("tokenizer_config.json", rows[i].config);
		if (rows[i].tokenizer) {
			write_file("tokenizer.json", rows[i].tokenizer);
			CHECK_EQ(vocab_open(&v, dir, &err), rows[i].code);
		} else {
			CHECK_EQ(open_with(&v, "bpe-gpt2", NULL, NULL, &err),
				 rows[i].code);
		}
		CHECK(err.text[0] && !v);
	}
	clean_dir();
	ROW("no such folder");
	CHECK_EQ(vocab_open(&v, "/nonexistent/model", &err), -ENOENT);
	ROW("a folder without one");
	in_dir("");
	CHECK_EQ(vocab_open(&v, dir, &err), -ENOENT);
	ROW("a name too long");
	{
		char *p = malloc(PATH_MAX + 2);

		memset(p, 'x', PATH_MAX + 1);
		p[PATH_MAX + 1] = '\0';
		CHECK(vocab_open(&v, p, &err) < 0);
		free(p);
	}
	clean_dir();
}
