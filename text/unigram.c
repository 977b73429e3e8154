/* SPDX-License-Identifier: MIT */
#include "text/unigram.h"
#include "text/recipe.h"
#include "text/spell.h"
#include "text/trie.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_PENALTY 10 /* below the worst token */
#define SUM_MAX		100000

struct unigram {
	struct trie trie; /* of all tokens that text may become */
	double *score;	  /* owned: [nr] by id */
	double unk_score;
	uint32_t unk;
	bool fallback, narrow;
	uint32_t byte_id[256]; /* "<0x0A>"; RECIPE_NONE: none */
};

struct unigram_best {
	double score;
	uint32_t id;
	uint32_t from; /* where that token begins; RECIPE_NONE: unreached */
};

/* ---- opening */

static bool spoken(const struct recipe_token *t)
{
	return t->name && t->size && t->flags & RECIPE_MODEL &&
	       !(t->flags & RECIPE_MUTE);
}

static int open_trie(struct unigram *u, struct recipe *r)
{
	struct trie_string *str = malloc((r->nr + 1) * sizeof(*str));
	double least = 0;
	uint32_t nr = 0, i;
	int ret;

	if (!str)
		return -ENOMEM;
	for (i = 0; i < r->nr; i++) {
		const struct recipe_token *t = &r->token[i];

		u->score[i] = t->score;
		if (!spoken(t))
			continue;
		if (!nr || t->score < least)
			least = t->score;
		str[nr++] = (struct trie_string){ t->name, t->size, i };
	}
	u->unk_score = least - UNKNOWN_PENALTY;
	if (u->narrow)
		u->unk_score = (double)(float)u->unk_score;
	ret = trie_init(&u->trie, str, nr);
	free(str);
	return ret;
}

static int check(struct recipe *r)
{
	uint32_t i;

	if (r->unk >= r->nr)
		return err_set(r->err, -EINVAL,
			       "%s: a unigram model without an unknown token",
			       r->path);
	for (i = 0; i < r->nr; i++)
		if (r->token[i].flags & RECIPE_MODEL &&
		    r->token[i].size > UNIGRAM_TOKEN_MAX)
			return err_set(
				r->err, -EINVAL,
				"%s: token %u has %u bytes, allowed %d in a unigram model",
				r->path, i, r->token[i].size,
				UNIGRAM_TOKEN_MAX);
	return 0;
}

int unigram_open(struct unigram **ret, struct recipe *r)
{
	struct unigram *u;
	uint32_t i;
	int b, e = check(r);

	if (e)
		return e;
	u = calloc(1, sizeof(*u));
	if (!u)
		return recipe_no_memory(r);
	u->unk = r->unk;
	u->fallback = r->byte_fallback;
	u->narrow = r->narrow;
	memset(u->byte_id, 0xff, sizeof(u->byte_id));
	u->score = malloc((r->nr + 1) * sizeof(*u->score));
	if (!u->score || open_trie(u, r)) {
		unigram_close(u);
		return recipe_no_memory(r);
	}
	for (i = 0; i < r->nr; i++) {
		if (!(r->token[i].flags & RECIPE_MODEL))
			continue;
		b = spell_fallback(r->token[i].name, r->token[i].size);
		if (b >= 0)
			u->byte_id[b] = i;
	}
	*ret = u;
	return 0;
}

void unigram_close(struct unigram *u)
{
	if (!u)
		return;
	trie_deinit(&u->trie);
	free(u->score);
	free(u);
}

int unigram_work_init(struct unigram_work *w)
{
	*w = (struct unigram_work){ 0 };
	return cache_init(&w->cache);
}

void unigram_work_deinit(struct unigram_work *w)
{
	free(w->best);
	free(w->id);
	cache_deinit(&w->cache);
}

/* ---- forward: the best cut up to every byte */

/*
 * Sums are double in HF; in sentencepiece they are float, and moved back
 * towards zero where they leave [-SUM_MAX, SUM_MAX] (its 0.2.3): ties,
 * and near ones, are decided by those roundings.
 */
static void offer(const struct unigram *u, struct unigram_best *to,
		  double score, double before, uint32_t id, size_t from)
{
	double sum = u->narrow ? (double)((float)score + (float)before)
			       : score + before;

	if (to->from != RECIPE_NONE && !(sum > to->score))
		return;
	*to = (struct unigram_best){ sum, id, (uint32_t)from };
}

/* Move the sums of all cuts that end in [@at, @last] by that at @at. */
static void move_back(struct unigram_best *best, size_t at, size_t last)
{
	float by = (float)best[at].score;
	size_t i;

	for (i = at; i <= last; i++)
		if (i == at || best[i].from != RECIPE_NONE)
			best[i].score = (double)((float)best[i].score - by);
}

static void forward(const struct unigram *u, struct unigram_work *w,
		    const uint8_t *s, size_t size)
{
	struct unigram_best *best = w->best;
	size_t at, next, i, last = 0; /* last: the farthest that was reached */
	uint32_t node, id;
	bool single;

	for (i = 1; i <= size; i++)
		best[i].from = RECIPE_NONE;
	best[0] = (struct unigram_best){ 0, 0, 0 };
	for (at = 0; at < size; at = next) {
		next = at;
		utf8_next(s, &next);
		single = false;
		if (u->narrow &&
		    (best[at].score < -SUM_MAX || best[at].score > SUM_MAX))
			move_back(best, at, last);
		for (node = 0, i = at; i < size; i++) {
			node = trie_step(&u->trie, node, s[i]);
			if (node == TRIE_NONE)
				break;
			id = u->trie.value[node];
			if (id == TRIE_NONE)
				continue;
			offer(u, &best[i + 1], u->score[id], best[at].score, id,
			      at);
			last = i + 1 > last ? i + 1 : last;
			single = single || i + 1 == next;
		}
		w->steps += i + 1 - at;
		if (!single) {
			offer(u, &best[next], u->unk_score, best[at].score,
			      u->unk, at);
			last = next > last ? next : last;
		}
	}
}

/* ---- backward: the tokens, last first */

static uint32_t whole_id(const struct unigram *u, const uint8_t *s, size_t size)
{
	uint32_t node = 0;
	size_t i;

	for (i = 0; i < size; i++) {
		node = trie_step(&u->trie, node, s[i]);
		if (node == TRIE_NONE)
			return RECIPE_NONE;
	}
	return u->trie.value[node];
}

/* A run of unknown characters is one token, or its bytes; how many ids. */
static size_t put_unknown(const struct unigram *u, uint32_t *id,
			  const uint8_t *s, size_t size)
{
	uint32_t one = whole_id(u, s, size);
	size_t i;

	id[0] = one == RECIPE_NONE ? u->unk : one;
	if (one != RECIPE_NONE || !u->fallback)
		return 1;
	for (i = 0; i < size; i++)
		if (u->byte_id[s[i]] == RECIPE_NONE)
			return 1;
	for (i = 0; i < size; i++)
		id[i] = u->byte_id[s[size - 1 - i]];
	return size;
}

static size_t backward(const struct unigram *u, struct unigram_work *w,
		       const uint8_t *s, size_t size)
{
	const struct unigram_best *best = w->best;
	size_t nr = 0, end = size, from;

	while (end) {
		from = best[end].from;
		if (best[end].id != u->unk) {
			w->id[nr++] = best[end].id;
			end = from;
			continue;
		}
		while (from && best[from].id == u->unk)
			from = best[from].from;
		nr += put_unknown(u, w->id + nr, s + from, end - from);
		end = from;
	}
	return nr;
}

int unigram_encode(const struct unigram *u, struct unigram_work *w,
		   const uint8_t *s, size_t size, struct ids *out)
{
	struct cache_entry *e = NULL;
	size_t nr, i;
	uint32_t t;

	if (size <= CACHE_PIECE_MAX) {
		e = cache_at(&w->cache, s, size);
		if (cache_holds(e, s, size))
			return ids_add(out, e->id, e->nr);
	}
	if (vec_grow((void **)&w->best, &w->cap, size + 1, sizeof(*w->best)) ||
	    vec_grow((void **)&w->id, &w->id_cap, size + 1, sizeof(*w->id)))
		return -ENOMEM;
	forward(u, w, s, size);
	nr = backward(u, w, s, size);
	for (i = 0; i < nr / 2; i++) {
		t = w->id[i];
		w->id[i] = w->id[nr - 1 - i];
		w->id[nr - 1 - i] = t;
	}
	if (e)
		cache_put(e, s, size, w->id, nr);
	return ids_add(out, w->id, nr);
}
