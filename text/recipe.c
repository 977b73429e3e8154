/* SPDX-License-Identifier: MIT */
#include "text/recipe.h"
#include "text/added.h"
#include "text/hash.h"
#include "text/normal.h"
#include "text/split.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN	   50  /* bytes of a name in a message */
#define MERGED_MAX 512 /* bytes of a token made by scores; usual: under 64 */

void recipe_init(struct recipe *r, const char *path, struct err *err)
{
	*r = (struct recipe){ .path = path,
			      .err = err,
			      .seed = hash_seed(),
			      .unk = RECIPE_NONE,
			      .bos = RECIPE_NONE,
			      .eos = RECIPE_NONE };
}

void recipe_deinit(struct recipe *r)
{
	free(r->token);
	free(r->place);
	free(r->merge);
	free(r->added);
	normal_close(r->normal);
	split_close(r->split);
	free(r->chat_template);
	json_decref(r->root);
	map_close(&r->map);
	if (r->gguf)
		gguf_close(r->gguf);
	free(r->gguf);
}

int recipe_no_memory(struct recipe *r)
{
	return err_set(r->err, -ENOMEM, "%s: out of memory", r->path);
}

static int shown(size_t size)
{
	return size < SHOWN ? (int)size : SHOWN;
}

static int room(struct recipe *r, uint32_t nr)
{
	size_t cap = r->cap;

	if (nr <= r->nr)
		return 0;
	if (nr > r->cap &&
	    vec_grow((void **)&r->token, &cap, nr, sizeof(*r->token)))
		return recipe_no_memory(r);
	r->cap = (uint32_t)cap;
	memset(r->token + r->nr, 0, (nr - r->nr) * sizeof(*r->token));
	r->nr = nr;
	return 0;
}

int recipe_name(struct recipe *r, const char *what, uint64_t id,
		const void *name, size_t size, uint32_t flags)
{
	struct recipe_token *t;

	if (id >= RECIPE_IDS_MAX || size > UINT32_MAX / 2)
		return err_set(
			r->err, -EINVAL,
			"%s: %s \"%.*s\": its id is not an integer from 0 to %u",
			r->path, what, shown(size), (const char *)name,
			RECIPE_IDS_MAX - 1);
	if (room(r, (uint32_t)id + 1))
		return -ENOMEM;
	t = &r->token[id];
	if (t->name && (t->size != size || memcmp(t->name, name, size)))
		return err_set(r->err, -EINVAL,
			       "%s: %s gives id %" PRIu64
			       " to \"%.*s\" and \"%.*s\"",
			       r->path, what, id, shown(t->size),
			       (const char *)t->name, shown(size),
			       (const char *)name);
	t->name = name;
	t->size = (uint32_t)size;
	t->flags |= flags;
	return 0;
}

int recipe_add(struct recipe *r, uint32_t id, uint32_t flags)
{
	struct recipe_token *t = &r->token[id];

	if (vec_grow((void **)&r->added, &r->added_cap, r->nr_added + 1,
		     sizeof(*r->added)))
		return recipe_no_memory(r);
	r->added[r->nr_added++] =
		(struct added_token){ t->name, t->size, id, flags };
	t->flags |= RECIPE_ADDED;
	if (flags & ADDED_SPECIAL)
		t->flags |= RECIPE_SPECIAL;
	return 0;
}

/* ---- names to ids */

static struct recipe_place *place_of(const struct recipe *r, const void *name,
				     size_t size, uint32_t *tag)
{
	uint64_t h = hash_bytes(r->seed, name, size);
	size_t i = h;
	const struct recipe_token *t;
	struct recipe_place *p;

	*tag = (uint32_t)(h >> 32);
	for (;; i++) {
		p = &r->place[i & r->place_mask];
		if (p->id == RECIPE_NONE)
			return p;
		if (p->tag != *tag)
			continue;
		t = &r->token[p->id];
		if (t->size == size && !memcmp(t->name, name, size))
			return p;
	}
}

int recipe_index(struct recipe *r)
{
	size_t n = hash_places(r->nr);
	struct recipe_place *p;
	uint32_t i, tag;

	r->place = malloc(n * sizeof(*r->place));
	if (!r->place)
		return recipe_no_memory(r);
	memset(r->place, 0xff, n * sizeof(*r->place));
	r->place_mask = n - 1;
	r->unique = true;
	for (i = 0; i < r->nr; i++) {
		if (!r->token[i].name || !(r->token[i].flags & RECIPE_MODEL))
			continue;
		p = place_of(r, r->token[i].name, r->token[i].size, &tag);
		r->unique = r->unique && p->id == RECIPE_NONE;
		*p = (struct recipe_place){ i, tag };
	}
	return 0;
}

uint32_t recipe_find(const struct recipe *r, const void *name, size_t size)
{
	uint32_t tag;

	return place_of(r, name, size, &tag)->id;
}

/* ---- merges */

static int push_merge(struct recipe *r, uint32_t left, uint32_t right,
		      uint32_t made, uint32_t rank)
{
	if (r->nr_merges == r->merge_cap &&
	    vec_grow((void **)&r->merge, &r->merge_cap, r->nr_merges + 1,
		     sizeof(*r->merge)))
		return recipe_no_memory(r);
	r->merge[r->nr_merges++] =
		(struct bpe_merge){ left, right, made, rank };
	return 0;
}

/*
 * The token of two names joined.  Trainers number tokens in the order of
 * their merges, so the one behind the last is looked at first.
 */
static uint32_t find_joined(const struct recipe *r, const uint8_t *a,
			    size_t a_size, const uint8_t *b, size_t b_size,
			    uint8_t *both)
{
	uint32_t guess = r->nr_merges ? r->merge[r->nr_merges - 1].made + 1 : 0;
	const struct recipe_token *t = &r->token[guess];

	if (r->unique && guess < r->nr && t->name && t->flags & RECIPE_MODEL &&
	    t->size == a_size + b_size && !memcmp(t->name, a, a_size) &&
	    !memcmp(t->name + a_size, b, b_size))
		return guess;
	memcpy(both, a, a_size);
	memcpy(both + a_size, b, b_size);
	return recipe_find(r, both, a_size + b_size);
}

int recipe_merge(struct recipe *r, const uint8_t *a, size_t a_size,
		 const uint8_t *b, size_t b_size)
{
	uint8_t buf[256], *both = buf;
	uint32_t left, right, made;

	if (a_size + b_size > sizeof(buf) && !(both = malloc(a_size + b_size)))
		return recipe_no_memory(r);
	left = recipe_find(r, a, a_size);
	right = recipe_find(r, b, b_size);
	made = find_joined(r, a, a_size, b, b_size, both);
	if (both != buf)
		free(both);
	if (left == RECIPE_NONE || right == RECIPE_NONE || made == RECIPE_NONE)
		return err_set(
			r->err, -EINVAL,
			"%s: model.merges[%zu]: \"%.*s\" and \"%.*s\": %s is not in the vocabulary",
			r->path, r->nr_merges, shown(a_size), (const char *)a,
			shown(b_size), (const char *)b,
			left == RECIPE_NONE    ? "the left"
			: right == RECIPE_NONE ? "the right"
					       : "what they make");
	return push_merge(r, left, right, made, (uint32_t)r->nr_merges);
}

static int best_first(const void *a, const void *b, void *token)
{
	const struct recipe_token *t = token;
	const uint32_t *x = a, *y = b;

	if (t[*x].score != t[*y].score)
		return t[*x].score > t[*y].score ? -1 : 1;
	return *x < *y ? -1 : *x > *y;
}

/*
 * All cuts of token @id at a character; they share one rank.  Each half is
 * hashed, which is quadratic in the token: hence the limit.
 */
static int cut_token(struct recipe *r, uint32_t id, uint32_t rank)
{
	const struct recipe_token *t = &r->token[id];
	size_t i = 0;
	uint32_t left, right;

	if (t->size > MERGED_MAX)
		return err_set(
			r->err, -EINVAL,
			"%s: token %u has %u bytes, allowed %d in a model that merges by score",
			r->path, id, t->size, MERGED_MAX);
	if (recipe_find(r, t->name, t->size) != id)
		return 0;
	while (utf8_next(t->name, &i), i < t->size) {
		left = recipe_find(r, t->name, i);
		if (left == RECIPE_NONE || r->token[left].flags & RECIPE_MUTE)
			continue;
		right = recipe_find(r, t->name + i, t->size - i);
		if (right == RECIPE_NONE || r->token[right].flags & RECIPE_MUTE)
			continue;
		if (push_merge(r, left, right, id, rank))
			return -ENOMEM;
	}
	return 0;
}

int recipe_merges_of_scores(struct recipe *r)
{
	uint32_t *id = malloc((r->nr + 1) * sizeof(*id)), nr = 0, i, rank = 0;
	int ret = 0;

	if (!id)
		return recipe_no_memory(r);
	for (i = 0; i < r->nr; i++)
		if (r->token[i].size > 1 && r->token[i].flags & RECIPE_MODEL &&
		    !(r->token[i].flags & RECIPE_MUTE))
			id[nr++] = i;
	qsort_r(id, nr, sizeof(*id), best_first, r->token);
	for (i = 0; !ret && i < nr; i++) {
		/* of equal scores the leftmost pair in the text comes first */
		if (i && r->token[id[i]].score != r->token[id[i - 1]].score)
			rank = i;
		ret = cut_token(r, id[i], rank);
	}
	free(id);
	return ret;
}
