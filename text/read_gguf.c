/* SPDX-License-Identifier: MIT */
#include "text/read_gguf.h"
#include "text/added.h"
#include "text/beside.h"
#include "text/normal.h"
#include "text/pre.h"
#include "text/read_spm.h"
#include "text/recipe.h"
#include "text/split.h"
#include "text/spm.h"
#include "text/utf8.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/gguf_get.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* The three arrays of a vocabulary; score and type may be missing. */
struct arrays {
	const struct gguf_value *token, *score, *type;
	const uint8_t *at; /* where the walk over token stands */
};

static int find_arrays(struct recipe *r, struct arrays *a)
{
	const struct gguf *g = r->gguf;
	int ret;

	*a = (struct arrays){ 0 };
	ret = gguf_get_array(g, KEY("tokens"), GGUF_STRINGS, &a->token, r->err);
	if (!ret)
		ret = gguf_get_array(g, KEY("scores"), GGUF_NUMBERS, &a->score,
				     r->err);
	if (!ret)
		ret = gguf_get_array(g, KEY("token_type"), GGUF_INTEGERS,
				     &a->type, r->err);
	if (ret)
		return ret;
	if (!a->token || !a->token->count || a->token->count > RECIPE_IDS_MAX)
		return err_set(
			r->err, -EINVAL,
			"%s: tokenizer.ggml.tokens is missing, or not of 1 to %u",
			r->path, RECIPE_IDS_MAX);
	if ((a->score && a->score->count < a->token->count) ||
	    (a->type && a->type->count < a->token->count))
		return err_set(r->err, -EINVAL,
			       "%s: fewer scores or types than the %llu tokens",
			       r->path, (unsigned long long)a->token->count);
	return 0;
}

/* What fills up a vocabulary to the model's rows: "[PAD17]" at 17. */
static bool is_pad(struct gguf_str s, uint32_t i)
{
	char pad[24];
	int n;

	if (s.size < 4 || memcmp(s.data, "[PAD", 4))
		return false;
	n = snprintf(pad, sizeof(pad), "[PAD%u]", i);
	return s.size == (size_t)n && !memcmp(s.data, pad, s.size);
}

/* Token @i, asked for in order; padding is no token: size 0. */
static int next_token(struct recipe *r, struct arrays *a, uint32_t i,
		      struct spm_piece *ret)
{
	struct gguf_str s = gguf_next_str(a->token, &a->at);
	int64_t type = a->type ? gguf_int(a->type, i) : SPM_NORMAL;
	double score = a->score ? gguf_number(a->score, i) : 0;

	if (s.size > INT32_MAX ||
	    utf8_valid((const uint8_t *)s.data, s.size) != s.size)
		return err_set(r->err, -EINVAL, "%s: token %u is not UTF-8",
			       r->path, i);
	if (!isfinite(score))
		return err_set(r->err, -EINVAL,
			       "%s: the score of token %u is no number",
			       r->path, i);
	*ret = (struct spm_piece){
		.s = (const uint8_t *)s.data,
		.size = (uint32_t)s.size,
		.type = type >= SPM_NORMAL && type <= SPM_BYTE
				? (enum spm_type)type
				: SPM_NORMAL,
		.score = (float)score,
	};
	if (is_pad(s, i))
		ret->size = 0;
	return 0;
}

/* ---- SentencePiece */

/*
 * What GGUF does not say: Phi-3's added tokens take the white space behind
 * them, but for three (its tokenizer.json says so; llama.cpp goes by the
 * model's name too).
 */
static int strip_phi3(struct recipe *r)
{
	static const char *const not [] = { "<unk>", "<s>", "<|endoftext|>" };
	char *name = NULL;
	size_t i, k;
	bool is;
	int ret = gguf_get_str(r->gguf, "general.name", &name, r->err);

	if (ret)
		return ret;
	is = name && (strcasestr(name, "phi-3") || strcasestr(name, "phi3"));
	free(name);
	for (i = 0; is && i < r->nr_added; i++) {
		struct added_token *t = &r->added[i];

		for (k = 0; k < 3; k++)
			if (t->size == strlen(not [k]) &&
			    !memcmp(t->s, not [k], t -> size))
				break;
		t->flags |= k == 3 ? ADDED_RSTRIP : 0;
	}
	return 0;
}

static int read_charsmap(struct recipe *r, struct spm *m)
{
	const struct gguf_value *v = NULL;
	int ret = gguf_get_array(r->gguf, KEY("precompiled_charsmap"),
				 GGUF_INTEGERS, &v, r->err);

	if (ret || !v)
		return ret;
	if (gguf_kind_bytes[v->kind] != 1)
		return err_set(
			r->err, -EINVAL,
			"%s: tokenizer.ggml.precompiled_charsmap is not of bytes",
			r->path);
	m->charsmap = v->data;
	m->charsmap_size = v->count;
	return 0;
}

static int read_options(struct recipe *r, struct spm *m)
{
	const struct gguf *g = r->gguf;
	uint64_t unk = m->unk < 0 ? UINT64_MAX : (uint64_t)m->unk;
	int ret;

	ret = gguf_get_bool(g, KEY("add_space_prefix"), &m->prefix, r->err);
	if (!ret)
		ret = gguf_get_bool(g, KEY("remove_extra_whitespaces"),
				    &m->squeeze, r->err);
	if (!ret)
		ret = gguf_get_u64(g, KEY("unknown_token_id"), 0, UINT32_MAX,
				   &unk, r->err);
	if (!ret)
		ret = read_charsmap(r, m);
	m->unk = unk > UINT32_MAX ? -1 : (int64_t)unk;
	return ret;
}

static int read_pieces(struct recipe *r, enum spm_model model)
{
	struct spm m = { .model = model,
			 .escape = true,
			 .prefix = true,
			 .unk = model == SPM_BPE ? 0 : 2,
			 .bos = model == SPM_BPE ? 1 : -1,
			 .eos = model == SPM_BPE ? 2 : 1 };
	struct arrays a;
	int ret = find_arrays(r, &a);
	uint32_t i;

	if (!ret && !a.score)
		ret = err_set(r->err, -EINVAL, "%s: no tokenizer.ggml.scores",
			      r->path);
	if (!ret)
		ret = read_options(r, &m);
	if (ret)
		return ret;
	m.piece = calloc(a.token->count, sizeof(*m.piece));
	if (!m.piece)
		return recipe_no_memory(r);
	m.nr = (uint32_t)a.token->count;
	for (i = 0; !ret && i < m.nr; i++) {
		ret = next_token(r, &a, i, &m.piece[i]);
		m.byte_fallback |= m.piece[i].type == SPM_BYTE;
	}
	if (!ret)
		ret = read_spm_pieces(r, &m);
	if (!ret)
		ret = strip_phi3(r);
	spm_deinit(&m);
	return ret;
}

static int read_llama(struct recipe *r)
{
	return read_pieces(r, SPM_BPE);
}

static int read_t5(struct recipe *r)
{
	return read_pieces(r, SPM_UNIGRAM);
}

/* ---- byte-level BPE */

static int read_tokens(struct recipe *r)
{
	struct spm_piece p = { 0 };
	struct arrays a;
	int ret = find_arrays(r, &a);
	uint32_t i, nr = ret ? 0 : (uint32_t)a.token->count;

	for (i = 0; !ret && i < nr; i++) {
		ret = next_token(r, &a, i, &p);
		if (!ret && p.size)
			ret = recipe_name(r, "tokenizer.ggml.tokens", i, p.s,
					  p.size, RECIPE_MODEL);
		if (ret || !p.size || p.size > ADDED_SIZE_MAX)
			continue;
		if (p.type == SPM_UNKNOWN || p.type == SPM_CONTROL)
			ret = recipe_add(r, i, ADDED_SPECIAL);
		else if (p.type == SPM_USER)
			ret = recipe_add(r, i, 0);
	}
	return ret ? ret : recipe_index(r);
}

static int read_merges(struct recipe *r)
{
	const struct gguf_value *v = NULL;
	const uint8_t *at = NULL, *space;
	struct gguf_str s;
	uint64_t i;
	int ret = gguf_get_array(r->gguf, KEY("merges"), GGUF_STRINGS, &v,
				 r->err);

	if (!ret && !v)
		ret = err_set(r->err, -EINVAL, "%s: no tokenizer.ggml.merges",
			      r->path);
	for (i = 0; !ret && i < v->count; i++) {
		s = gguf_next_str(v, &at);
		space = s.size > 1 ? memchr(s.data + 1, ' ', s.size - 1) : NULL;
		if (!space)
			return err_set(
				r->err, -EINVAL,
				"%s: tokenizer.ggml.merges[%llu] is not \"a b\"",
				r->path, (unsigned long long)i);
		ret = recipe_merge(
			r, (const uint8_t *)s.data,
			(size_t)(space - (const uint8_t *)s.data), space + 1,
			s.size - 1 - (size_t)(space - (const uint8_t *)s.data));
	}
	return ret;
}

static int read_pre(struct recipe *r)
{
	const struct pre *p;
	char *name = NULL;
	json_t *j;
	int ret = gguf_get_str(r->gguf, KEY("pre"), &name, r->err);

	if (ret)
		return ret;
	p = name ? pre_find(name) : NULL;
	if (!p) {
		err_set(r->err, -ENOTSUP,
			"%s: tokenizer.ggml.pre is %.60s: not known, so text cannot be split as the model was trained",
			r->path, name ? name : "missing");
		free(name);
		return -ENOTSUP;
	}
	free(name);
	r->bpe.ignore_merges = pre_ignore_merges(p);
	if (pre_adds_bos(p))
		r->post.nr_before = 1; /* which id is read below */
	j = pre_tokenizer(p);
	ret = j ? split_open(&r->split, r->path, j, r->err)
		: recipe_no_memory(r);
	json_decref(j);
	if (ret)
		return ret;
	j = pre_normalizer(p);
	ret = j ? normal_open(&r->normal, r->path, j, r->err)
		: recipe_no_memory(r);
	json_decref(j);
	return ret;
}

static int read_gpt2(struct recipe *r)
{
	int ret;

	r->kind = RECIPE_BPE;
	r->how.level = true;
	ret = read_pre(r);
	if (!ret)
		ret = read_tokens(r);
	return ret ? ret : read_merges(r);
}

/* ---- what they share */

/* add_bos_token, add_eos_token: the file's word, or else as it was. */
static int read_around(struct recipe *r, const char *key, uint32_t id,
		       uint32_t *list, uint32_t *nr)
{
	bool on = *nr;
	int ret = gguf_get_bool(r->gguf, key, &on, r->err);

	if (ret)
		return ret;
	*nr = on && id != RECIPE_NONE;
	list[0] = *nr ? id : 0;
	return 0;
}

static int read_ends(struct recipe *r)
{
	const struct gguf *g = r->gguf;
	char *template = NULL;
	int ret;

	ret = gguf_get_u32(g, KEY("bos_token_id"), 0, r->nr - 1, &r->bos,
			   r->err);
	if (!ret)
		ret = gguf_get_u32(g, KEY("eos_token_id"), 0, r->nr - 1,
				   &r->eos, r->err);
	if (!ret)
		ret = read_around(r, KEY("add_bos_token"), r->bos,
				  r->post.before, &r->post.nr_before);
	if (!ret)
		ret = read_around(r, KEY("add_eos_token"), r->eos,
				  r->post.after, &r->post.nr_after);
	if (!ret)
		ret = gguf_get_str(g, "tokenizer.chat_template", &template,
				   r->err);
	if (!ret && template)
		ret = beside_template(r, r->path, template, strlen(template));
	free(template);
	return ret;
}

int read_gguf(struct recipe *r)
{
	static const struct {
		const char *model;
		int (*read)(struct recipe *r);
	} models[] = {
		{ "gpt2", read_gpt2 },
		{ "llama", read_llama },
		{ "t5", read_t5 },
	};
	char *model = NULL;
	struct err e;
	size_t i;
	int ret;

	r->gguf = calloc(1, sizeof(*r->gguf));
	if (!r->gguf)
		return recipe_no_memory(r);
	ret = gguf_open(r->gguf, r->path, &e);
	if (ret)
		return err_set(r->err, ret, "%s", e.text);
	ret = gguf_get_str(r->gguf, KEY("model"), &model, r->err);
	for (i = 0; !ret && model && i < 3; i++)
		if (!strcmp(model, models[i].model))
			break;
	if (!ret && (!model || i == 3))
		ret = err_set(
			r->err, -ENOTSUP,
			"%s: tokenizer.ggml.model is %.60s: not supported (gpt2, llama and t5 are)",
			r->path, model ? model : "missing");
	free(model);
	if (!ret)
		ret = models[i].read(r);
	return ret ? ret : read_ends(r);
}
