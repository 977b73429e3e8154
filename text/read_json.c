/* SPDX-License-Identifier: MIT */
#include "text/read_json.h"
#include "text/added.h"
#include "text/decoder.h"
#include "text/normal.h"
#include "text/recipe.h"
#include "text/split.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MERGES_MAX (1u << 22)

/* ---- tokens of the model */

static int bad_model(struct recipe *r, const char *what)
{
	return err_set(r->err, -EINVAL, "%s: %s", r->path, what);
}

static int read_kind(struct recipe *r, const json_t *model)
{
	const json_t *vocab = json_object_get(model, "vocab");
	const char *type = NULL;
	int ret;

	if (!json_is_object(model))
		return bad_model(r, "no object \"model\"");
	ret = json_get_str(r->path, model, "type", &type, r->err);
	if (ret)
		return ret;
	if (!type) /* files from before the field was */
		type = json_has(model, "merges") ? "BPE"
		       : json_is_array(vocab)	 ? "Unigram"
						 : "not given";
	r->kind = strcmp(type, "Unigram") ? RECIPE_BPE : RECIPE_UNIGRAM;
	if (r->kind == RECIPE_BPE && strcmp(type, "BPE"))
		return err_set(
			r->err, -ENOTSUP,
			"%s: model.type is %s: not supported (BPE and Unigram are)",
			r->path, type);
	if (r->kind == RECIPE_BPE && !json_is_object(vocab))
		return bad_model(r, "no object \"model.vocab\"");
	if (r->kind == RECIPE_UNIGRAM && !json_is_array(vocab))
		return bad_model(r, "no array \"model.vocab\"");
	return 0;
}

/* An id as a number that recipe_name() refuses where it is none. */
static uint64_t id_of(const json_t *id)
{
	json_int_t n = json_integer_value(id);

	return json_is_integer(id) && n >= 0 ? (uint64_t)n : UINT64_MAX;
}

static int read_bpe_tokens(struct recipe *r, json_t *vocab)
{
	const char *name;
	json_t *id;
	int ret;

	json_object_foreach(vocab, name, id)
	{
		ret = recipe_name(r, "model.vocab", id_of(id), name,
				  strlen(name), RECIPE_MODEL);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_unigram_tokens(struct recipe *r, const json_t *vocab)
{
	const json_t *one, *name, *score;
	size_t i;
	int ret;

	json_array_foreach(vocab, i, one)
	{
		name = json_array_get(one, 0);
		score = json_array_get(one, 1);
		if (!json_is_string(name) || !json_is_number(score) ||
		    !(json_number_value(score) < 1e30) ||
		    !(json_number_value(score) > -1e30))
			return err_set(
				r->err, -EINVAL,
				"%s: model.vocab[%zu] is not a name and a finite score",
				r->path, i);
		ret = recipe_name(r, "model.vocab", i, json_string_value(name),
				  json_string_length(name), RECIPE_MODEL);
		if (ret)
			return ret;
		r->token[i].score = json_number_value(score);
	}
	return 0;
}

/* ---- added tokens */

static int read_flags(struct recipe *r, size_t i, const json_t *a,
		      uint32_t *ret)
{
	static const struct {
		const char *key;
		uint32_t flag;
	} flags[] = {
		{ "special", ADDED_SPECIAL },
		{ "lstrip", ADDED_LSTRIP },
		{ "rstrip", ADDED_RSTRIP },
		{ "single_word", ADDED_SINGLE_WORD },
		{ "normalized", ADDED_NORMALIZED },
	};
	char where[PATH_MAX + 40];
	size_t k;

	snprintf(where, sizeof(where), "%s: added_tokens[%zu]", r->path, i);
	*ret = 0;
	for (k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
		bool on = false;

		if (json_get_bool(where, a, flags[k].key, &on, r->err))
			return -EINVAL;
		*ret |= on ? flags[k].flag : 0;
	}
	return 0;
}

static int read_added(struct recipe *r, size_t i, const json_t *a)
{
	const json_t *c = json_object_get(a, "content");
	uint64_t id = id_of(json_object_get(a, "id"));
	const char *s = json_string_value(c);
	size_t n = json_string_length(c);
	uint32_t flags, in_model;
	int ret;

	if (!json_is_string(c) || n > ADDED_SIZE_MAX)
		return err_set(
			r->err, -EINVAL,
			"%s: added_tokens[%zu].content is not a string of at most %d bytes",
			r->path, i, ADDED_SIZE_MAX);
	in_model = recipe_find(r, s, n);
	if (in_model != RECIPE_NONE && in_model != id)
		return err_set(r->err, -EINVAL,
			       "%s: added_tokens[%zu] \"%.50s\" has id %" PRId64
			       ", in model.vocab %u",
			       r->path, i, s, (int64_t)id, in_model);
	ret = recipe_name(r, "added token", id, s, n, 0);
	if (!ret)
		ret = read_flags(r, i, a, &flags);
	return ret ? ret : recipe_add(r, (uint32_t)id, flags);
}

static int read_added_list(struct recipe *r)
{
	const json_t *list = json_object_get(r->root, "added_tokens"), *a;
	size_t i;
	int ret;

	if (list && !json_is_null(list) && !json_is_array(list))
		return bad_model(r, "added_tokens is not an array");
	json_array_foreach(list, i, a)
	{
		ret = read_added(r, i, a);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- the model's options and merges */

/* A merge is "a b" or ["a", "b"]: where a and b stand. */
static bool read_merge(const json_t *m, const char *ab[2], size_t size[2])
{
	const json_t *x = json_array_get(m, 0), *y = json_array_get(m, 1);
	const char *space;

	if (json_is_array(m)) {
		if (json_array_size(m) != 2 || !json_is_string(x) ||
		    !json_is_string(y))
			return false;
		ab[0] = json_string_value(x);
		ab[1] = json_string_value(y);
		size[0] = json_string_length(x);
		size[1] = json_string_length(y);
		return true;
	}
	if (!json_is_string(m))
		return false;
	ab[0] = json_string_value(m);
	space = strchr(ab[0], ' ');
	if (!space || strchr(space + 1, ' '))
		return false;
	ab[1] = space + 1;
	size[0] = (size_t)(space - ab[0]);
	size[1] = strlen(ab[1]);
	return true;
}

static int read_merges(struct recipe *r, const json_t *model)
{
	const json_t *merges = json_object_get(model, "merges"), *m;
	const char *ab[2];
	size_t size[2], i;
	int ret;

	if (!json_is_array(merges) || json_array_size(merges) > MERGES_MAX)
		return err_set(r->err, -EINVAL,
			       "%s: model.merges is not an array of at most %u",
			       r->path, MERGES_MAX);
	json_array_foreach(merges, i, m)
	{
		if (!read_merge(m, ab, size))
			return err_set(
				r->err, -EINVAL,
				"%s: model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]",
				r->path, i);
		ret = recipe_merge(r, (const uint8_t *)ab[0], size[0],
				   (const uint8_t *)ab[1], size[1]);
		if (ret)
			return ret;
	}
	return 0;
}

static int refuse_options(struct recipe *r, const char *where,
			  const json_t *model)
{
	static const char *const unsupported[] = { "continuing_subword_prefix",
						   "end_of_word_suffix" };
	double dropout = 0;
	const char *s;
	size_t i;
	int ret;

	for (i = 0; i < 2; i++) {
		s = "";
		ret = json_get_str(where, model, unsupported[i], &s, r->err);
		if (ret)
			return ret;
		if (*s)
			return err_set(r->err, -ENOTSUP,
				       "%s.%s is \"%s\": not supported", where,
				       unsupported[i], s);
	}
	ret = json_get_f64(where, model, "dropout", 0, 1, &dropout, r->err);
	if (!ret && dropout > 0)
		ret = err_set(r->err, -ENOTSUP, "%s.dropout: not supported",
			      where);
	return ret;
}

static int read_bpe(struct recipe *r, const char *where, const json_t *model)
{
	const char *unk = NULL;
	int ret;

	ret = refuse_options(r, where, model);
	if (!ret)
		ret = json_get_bool(where, model, "byte_fallback",
				    &r->byte_fallback, r->err);
	if (!ret)
		ret = json_get_bool(where, model, "fuse_unk", &r->bpe.fuse_unk,
				    r->err);
	if (!ret)
		ret = json_get_bool(where, model, "ignore_merges",
				    &r->bpe.ignore_merges, r->err);
	if (!ret)
		ret = json_get_str(where, model, "unk_token", &unk, r->err);
	if (ret)
		return ret;
	r->bpe.chars = !split_is_byte_level(r->split);
	if (r->byte_fallback && !r->bpe.chars)
		return err_set(
			r->err, -ENOTSUP,
			"%s.byte_fallback: not supported together with ByteLevel",
			where);
	if (unk)
		r->unk = recipe_find(r, unk, strlen(unk));
	return read_merges(r, model);
}

static int read_unigram(struct recipe *r, const char *where,
			const json_t *model)
{
	int ret;

	ret = json_get_u32(where, model, "unk_id", 0, RECIPE_IDS_MAX, &r->unk,
			   r->err);
	if (!ret)
		ret = json_get_bool(where, model, "byte_fallback",
				    &r->byte_fallback, r->err);
	if (!ret && split_is_byte_level(r->split))
		ret = err_set(r->err, -ENOTSUP,
			      "%s: Unigram with ByteLevel: not supported",
			      where);
	return ret;
}

/* ---- what is around the model */

static int read_rules(struct recipe *r)
{
	char where[PATH_MAX + 40];
	bool level;
	int ret;

	snprintf(where, sizeof(where), "%s: pre_tokenizer", r->path);
	ret = split_open(&r->split, where,
			 json_object_get(r->root, "pre_tokenizer"), r->err);
	if (ret)
		return ret;
	snprintf(where, sizeof(where), "%s: normalizer", r->path);
	ret = normal_open(&r->normal, where,
			  json_object_get(r->root, "normalizer"), r->err);
	if (!ret)
		ret = decoder_read(&r->how, r->path,
				   json_object_get(r->root, "decoder"), r->err);
	if (ret)
		return ret;
	level = split_is_byte_level(r->split);
	if (!json_has(r->root, "decoder"))
		r->how.level = level;
	if (r->how.level != level)
		return err_set(
			r->err, -ENOTSUP,
			"%s: ByteLevel stands in only one of pre_tokenizer and decoder: not supported",
			r->path);
	return 0;
}

int read_json(struct recipe *r)
{
	char where[PATH_MAX + 40];
	json_t *model;
	struct err e;
	int ret;

	r->root = json_read_file(r->path, &e);
	if (!r->root)
		return err_set(r->err, e.code, "%s", e.text);
	snprintf(where, sizeof(where), "%s: model", r->path);
	model = json_object_get(r->root, "model");
	ret = read_kind(r, model);
	if (!ret && r->kind == RECIPE_BPE)
		ret = read_bpe_tokens(r, json_object_get(model, "vocab"));
	else if (!ret)
		ret = read_unigram_tokens(r, json_object_get(model, "vocab"));
	if (!ret)
		ret = recipe_index(r);
	if (!ret)
		ret = read_added_list(r);
	if (!ret && !r->nr)
		ret = bad_model(r, "no tokens");
	if (!ret)
		ret = read_rules(r);
	if (!ret)
		ret = r->kind == RECIPE_BPE ? read_bpe(r, where, model)
					    : read_unigram(r, where, model);
	if (!ret)
		ret = post_read(&r->post, r->path,
				json_object_get(r->root, "post_processor"),
				r->nr, r->err);
	return ret;
}
