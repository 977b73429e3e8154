/* SPDX-License-Identifier: MIT */
#include "tools/vocab_out.h"
#include "base/err.h"
#include "base/gguf_out.h"
#include "base/json.h"
#include "base/map.h"
#include "text/pre.h"
#include "text/spm.h"
#include "text/vocab.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* tokenizer.ggml.token_type, as SentencePiece numbers them. */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

struct token {
	const char *text; /* borrowed; NULL: no token has the id */
	int32_t type;
	float score;
};

struct vocab_file {
	struct gguf_out *out;
	const char *dir, *path;
	const json_t *root, *model, *merges; /* merges: an array */
	struct token *token;		     /* [rows] */
	uint32_t rows;
	bool bytes; /* byte-level: "gpt2"; else "llama" */
	struct err *err;
};

static const char *str_of(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

static int name_token(struct vocab_file *f, const char *text, json_int_t id,
		      int32_t type)
{
	if (!text || id < 0 || id >= f->rows)
		return err_set(f->err, -EINVAL,
			       "%s: token %.60s has id %" JSON_INTEGER_FORMAT
			       ", the model has 0 to %u",
			       f->path, text ? text : "(none)", id,
			       f->rows - 1);
	f->token[id].text = text;
	f->token[id].type = type;
	return 0;
}

static int32_t type_of(const struct vocab_file *f, const char *text)
{
	unsigned byte;

	if (f->bytes)
		return NORMAL;
	return strlen(text) == 6 && sscanf(text, "<0x%2X>", &byte) == 1
		       ? BYTE
		       : NORMAL;
}

static int read_tokens(struct vocab_file *f)
{
	static const char *const flags[] = { "lstrip", "rstrip",
					     "single_word" };
	json_t *vocab = json_object_get(f->model, "vocab"), *v;
	const json_t *added = json_object_get(f->root, "added_tokens");
	const char *unk = str_of(f->model, "unk_token"), *text;
	int ret;

	json_object_foreach(vocab, text, v)
	{
		ret = name_token(f, text, json_integer_value(v),
				 type_of(f, text));
		if (ret)
			return ret;
	}
	for (size_t i = 0; i < json_array_size(added); i++) {
		const json_t *a = json_array_get(added, i);
		bool special = json_is_true(json_object_get(a, "special"));

		for (size_t k = 0; k < 3; k++)
			if (json_is_true(json_object_get(a, flags[k])))
				return err_set(
					f->err, -ENOTSUP,
					"%s: an added token is %s, which "
					"a GGUF file cannot say",
					f->path, flags[k]);
		text = str_of(a, "content");
		ret = name_token(f, text,
				 json_integer_value(json_object_get(a, "id")),
				 !special			     ? USER
				 : unk && text && !strcmp(text, unk) ? UNKNOWN
								     : CONTROL);
		if (ret)
			return ret;
	}
	return 0;
}

/* "a b" of merge @i, however it is written; the caller free()s; or NULL. */
static char *merge_text(const json_t *merges, size_t i)
{
	const json_t *m = json_array_get(merges, i);
	const char *a = json_string_value(json_array_get(m, 0));
	const char *b = json_string_value(json_array_get(m, 1));
	char *ret = NULL;

	if (json_is_string(m))
		return strdup(json_string_value(m));
	if (a && b && asprintf(&ret, "%s %s", a, b) < 0)
		ret = NULL;
	return ret;
}

static int put_merges(struct vocab_file *f)
{
	size_t n = json_array_size(f->merges);

	gguf_out_array(f->out, KEY("merges"), GGUF_STRING, n);
	for (size_t i = 0; i < n; i++) {
		char *m = merge_text(f->merges, i);

		if (!m)
			return err_set(f->err, -EINVAL,
				       "%s: merges[%zu] is not two strings",
				       f->path, i);
		gguf_out_item_str(f->out, m, strlen(m));
		free(m);
	}
	return 0;
}

/*
 * SentencePiece merges the pair whose piece has the best score, so a piece
 * that some merge makes gets minus the first such merge's rank; what no merge
 * makes (characters, bytes) never asks for its score.
 */
static int score_tokens(struct vocab_file *f)
{
	json_t *vocab = json_object_get(f->model, "vocab");
	size_t n = json_array_size(f->merges);

	for (uint32_t i = 0; i < f->rows; i++)
		f->token[i].score = f->token[i].type == NORMAL ? -(float)n - 1
							       : 0;
	for (size_t i = n; i-- > 0;) {
		char *m = merge_text(f->merges, i);
		char *space = m ? strchr(m, ' ') : NULL;
		const json_t *id;

		if (!space) {
			free(m);
			return err_set(f->err, -EINVAL,
				       "%s: merges[%zu] is not \"a b\"",
				       f->path, i);
		}
		memmove(space, space + 1, strlen(space));
		id = json_object_get(vocab, m);
		if (id)
			f->token[json_integer_value(id)].score = -(float)i;
		free(m);
	}
	return 0;
}

/*
 * Where tokenizer.model lies beside and has the same pieces: its scores, as
 * converters take them.  False where it does not.
 */
static bool scores_of_model(struct vocab_file *f)
{
	struct map map = { 0 };
	struct spm m;
	char *path;
	bool same;

	if (asprintf(&path, "%s/tokenizer.model", f->dir) < 0)
		return false;
	same = !map_open(&map, path, NULL) && map.size &&
	       !spm_read(&m, path, map.data, map.size, NULL);
	free(path);
	if (!same) {
		map_close(&map);
		return false;
	}
	same = m.model == SPM_BPE && m.nr <= f->rows;
	for (uint32_t i = 0; i < m.nr && same; i++)
		same = f->token[i].text &&
		       strlen(f->token[i].text) == m.piece[i].size &&
		       !memcmp(f->token[i].text, m.piece[i].s, m.piece[i].size);
	for (uint32_t i = 0; i < m.nr && same; i++)
		f->token[i].score = m.piece[i].score;
	spm_deinit(&m);
	map_close(&map);
	return same;
}

static void put_tokens(const struct vocab_file *f)
{
	char pad[24];

	gguf_out_array(f->out, KEY("tokens"), GGUF_STRING, f->rows);
	for (uint32_t i = 0; i < f->rows; i++) {
		const char *s = f->token[i].text;

		snprintf(pad, sizeof(pad), "[PAD%u]", i);
		s = s ? s : pad;
		gguf_out_item_str(f->out, s, strlen(s));
	}
	if (!f->bytes) {
		gguf_out_array(f->out, KEY("scores"), GGUF_F32, f->rows);
		for (uint32_t i = 0; i < f->rows; i++)
			gguf_out_item_f32(f->out, f->token[i].score);
	}
	gguf_out_array(f->out, KEY("token_type"), GGUF_I32, f->rows);
	for (uint32_t i = 0; i < f->rows; i++)
		gguf_out_item_i32(f->out,
				  f->token[i].text ? f->token[i].type : UNUSED);
}

/* What stands around a text, and the chat template. */
static void put_rest(const struct vocab_file *f, const struct vocab *v)
{
	for (uint32_t i = 0; i < f->rows && !f->bytes; i++)
		if (f->token[i].type == UNKNOWN)
			gguf_out_u32(f->out, KEY("unknown_token_id"), i);
	if (v->bos != VOCAB_NONE)
		gguf_out_u32(f->out, KEY("bos_token_id"), v->bos);
	gguf_out_bool(f->out, KEY("add_bos_token"),
		      v->nr_before && v->before[0] == v->bos);
	gguf_out_bool(f->out, KEY("add_eos_token"),
		      v->nr_after && v->after[0] == v->eos);
	if (v->chat_template)
		gguf_out_str(f->out, "tokenizer.chat_template",
			     v->chat_template);
}

/* @f->root is read: see what it is and put it. */
static int put_all(struct vocab_file *f, const struct vocab *v)
{
	const char *type = str_of(f->model, "type"), *way = NULL;
	bool fallback =
		json_is_true(json_object_get(f->model, "byte_fallback"));
	int ret;

	f->bytes = !fallback;
	if (f->bytes)
		way = pre_name(json_object_get(f->root, "pre_tokenizer"),
			       json_object_get(f->root, "normalizer"),
			       json_is_true(json_object_get(f->model,
							    "ignore_merges")));
	if (!type || strcmp(type, "BPE") || (f->bytes && !way))
		return err_set(f->err, -ENOTSUP,
			       "%s: %s has no name in GGUF files that we know",
			       f->path,
			       type && strcmp(type, "BPE")
				       ? type
				       : "its pre_tokenizer");
	ret = read_tokens(f);
	if (!ret && !f->bytes && !scores_of_model(f))
		ret = score_tokens(f);
	if (ret)
		return ret;
	gguf_out_str(f->out, KEY("model"), f->bytes ? "gpt2" : "llama");
	gguf_out_str(f->out, KEY("pre"), f->bytes ? way : "default");
	put_tokens(f);
	if (f->bytes)
		ret = put_merges(f);
	else
		gguf_out_bool(
			f->out, KEY("add_space_prefix"),
			json_is_object(json_object_get(f->root, "normalizer")));
	put_rest(f, v);
	return ret;
}

static int with_vocab(struct gguf_out *out, const char *dir, const char *path,
		      const struct vocab *v, uint32_t rows, struct err *err)
{
	struct vocab_file f = {
		.out = out, .dir = dir, .path = path, .rows = rows, .err = err
	};
	json_t *root = json_read_file(path, err);
	int ret;

	if (!root)
		return -EINVAL;
	f.root = root;
	f.model = json_object_get(root, "model");
	f.merges = json_object_get(f.model, "merges");
	f.token = calloc(rows, sizeof(*f.token));
	ret = f.token ? put_all(&f, v)
		      : err_set(err, -ENOMEM, "%s: no memory", path);
	free(f.token);
	json_decref(root);
	return ret;
}

int vocab_out(struct gguf_out *out, const char *dir, uint32_t rows,
	      struct err *err)
{
	struct vocab *v = NULL;
	char *path = NULL;
	int ret;

	if (asprintf(&path, "%s/tokenizer.json", dir) < 0)
		return err_set(err, -ENOMEM, "%s: no memory", dir);
	ret = vocab_open(&v, path, err);
	if (!ret)
		ret = with_vocab(out, dir, path, v, rows, err);
	vocab_close(v);
	free(path);
	if (ret == -ENOENT)
		ret = -ENOTSUP;
	if (ret == -ENOTSUP)
		gguf_out_str(out, KEY("model"), "none");
	return ret;
}
