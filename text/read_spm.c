/* SPDX-License-Identifier: MIT */
#include "text/read_spm.h"
#include "text/added.h"
#include "text/normal.h"
#include "text/recipe.h"
#include "text/split.h"
#include "text/spm.h"
#include "base/err.h"
#include "base/map.h"

#include <errno.h>
#include <string.h>

static int name_pieces(struct recipe *r, const struct spm *m)
{
	uint32_t flags, i;
	int ret;

	for (i = 0; i < m->nr; i++) {
		const struct spm_piece *p = &m->piece[i];

		if (!p->size)
			continue; /* a hole */
		flags = RECIPE_MODEL;
		if (p->type != SPM_NORMAL)
			flags |= RECIPE_MUTE;
		ret = recipe_name(r, "piece", i, p->s, p->size, flags);
		if (ret)
			return ret;
		r->token[i].score = (double)p->score;
	}
	return 0;
}

static int add_pieces(struct recipe *r, const struct spm *m)
{
	uint32_t i, flags;

	for (i = 0; i < m->nr; i++) {
		if (!m->piece[i].size)
			continue;
		switch (m->piece[i].type) {
		case SPM_UNKNOWN:
		case SPM_CONTROL:
			flags = ADDED_SPECIAL;
			break;
		case SPM_USER:
			flags = 0;
			break;
		default:
			continue;
		}
		/* one too long to look for is only ever an id */
		if (m->piece[i].size > ADDED_SIZE_MAX) {
			r->token[i].flags |= RECIPE_SPECIAL;
			continue;
		}
		if (recipe_add(r, i, flags))
			return -ENOMEM;
	}
	return 0;
}

/* How ids become text: sentencepiece's Decode. */
static void set_spelling(struct recipe *r, const struct spm *m)
{
	r->how = (struct spelling){ .fallback = true };
	if (m->escape) {
		memcpy(r->how.replace, SPELL_SPACE, SPELL_SPACE_SIZE);
		r->how.replace_size = SPELL_SPACE_SIZE;
	}
	if (m->squeeze)
		r->how.lead = UINT8_MAX - 1;
	else if (m->prefix)
		r->how.lead = 1;
}

static uint32_t id_or_none(const struct spm *m, int64_t id)
{
	return id >= 0 && id < m->nr ? (uint32_t)id : RECIPE_NONE;
}

/* The model itself says nothing; so llama.cpp and the usual converters. */
static void set_around(struct recipe *r, const struct spm *m)
{
	r->bos = id_or_none(m, m->bos);
	r->eos = id_or_none(m, m->eos);
	if (m->model == SPM_BPE && r->bos != RECIPE_NONE)
		r->post.before[r->post.nr_before++] = r->bos;
	if (m->model == SPM_UNIGRAM && r->eos != RECIPE_NONE)
		r->post.after[r->post.nr_after++] = r->eos;
}

int read_spm_pieces(struct recipe *r, const struct spm *m)
{
	const struct normal_sentence how = { m->prefix, m->squeeze, m->escape };
	int ret;

	if (m->suffix || (m->model != SPM_BPE && m->model != SPM_UNIGRAM))
		return err_set(
			r->err, -ENOTSUP,
			"%s: a SentencePiece model %s: not supported (BPE and unigram are)",
			r->path,
			m->suffix ? "with spaces behind words"
				  : "of words or characters");
	r->kind = m->model == SPM_BPE ? RECIPE_BPE : RECIPE_UNIGRAM;
	r->bpe = (struct bpe_options){ .chars = true, .fuse_unk = true };
	r->byte_fallback = m->byte_fallback;
	r->narrow = true;
	r->unk = id_or_none(m, m->unk);
	ret = name_pieces(r, m);
	if (!ret)
		ret = recipe_index(r);
	if (!ret)
		ret = add_pieces(r, m);
	if (!ret && r->kind == RECIPE_BPE)
		ret = recipe_merges_of_scores(r);
	if (!ret)
		ret = normal_open_sentence(&r->normal, r->path, &how,
					   m->charsmap, m->charsmap_size,
					   r->err);
	if (!ret)
		ret = split_open(&r->split, r->path, NULL, r->err);
	set_spelling(r, m);
	set_around(r, m);
	return ret;
}

int read_spm(struct recipe *r)
{
	struct spm m;
	struct err e;
	int ret = map_open(&r->map, r->path, &e);

	if (ret)
		return err_set(r->err, ret, "%s", e.text);
	ret = spm_read(&m, r->path, r->map.data, r->map.size, r->err);
	if (ret)
		return ret;
	ret = read_spm_pieces(r, &m);
	spm_deinit(&m);
	return ret;
}
