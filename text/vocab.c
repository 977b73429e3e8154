/* SPDX-License-Identifier: MIT */
#include "text/vocab.h"
#include "text/added.h"
#include "text/beside.h"
#include "text/bpe.h"
#include "text/normal.h"
#include "text/post.h"
#include "text/read_gguf.h"
#include "text/read_json.h"
#include "text/read_spm.h"
#include "text/recipe.h"
#include "text/spell.h"
#include "text/split.h"
#include "text/unigram.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/map.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- tokens as bytes */

static int spell_tokens(struct vocab *v, struct recipe *r)
{
	struct recipe_token *t;
	size_t total = 0, n;
	bool mapped;
	uint32_t i;

	for (i = 0; i < r->nr; i++)
		total += r->token[i].size;
	if (total > UINT32_MAX)
		return err_set(r->err, -EINVAL, "%s: tokens of %zu bytes",
			       r->path, total);
	v->nr = r->nr;
	v->token_end = calloc(v->nr, sizeof(*v->token_end));
	v->token_flags = calloc(v->nr, 1);
	v->token_bytes = malloc(total + 1);
	if (!v->token_end || !v->token_flags || !v->token_bytes)
		return recipe_no_memory(r);
	for (i = 0, total = 0; i < v->nr; i++) {
		t = &r->token[i];
		n = t->name ? spell_name(&r->how, t->name, t->size,
					 v->token_bytes + total, &mapped)
			    : 0;
		/* a name outside the byte alphabet is no string of bytes */
		if (n && !mapped)
			t->flags |= RECIPE_MUTE;
		if (!t->name)
			v->token_flags[i] |= VOCAB_HOLE;
		if (t->flags & RECIPE_ADDED)
			v->token_flags[i] |= VOCAB_ADDED;
		if (t->flags & RECIPE_SPECIAL)
			v->token_flags[i] |= VOCAB_SPECIAL;
		if (n > v->token_max)
			v->token_max = n;
		total += n;
		v->token_end[i] = (uint32_t)total;
	}
	return 0;
}

/* ---- added tokens */

/* A token that is looked for in normalized text is normalized itself. */
static int normalize_added(struct recipe *r, struct normal_work *w,
			   struct added_token *t, uint8_t **copy)
{
	const uint8_t *s;
	size_t size;
	int ret = normal_apply(r->normal, w, t->s, t->size, &s, &size);

	if (ret == -ENOMEM)
		return recipe_no_memory(r);
	if (ret)
		return err_set(r->err, -EINVAL,
			       "%s: added token \"%.*s\" cannot be normalized",
			       r->path, (int)(t->size < 50 ? t->size : 50),
			       (const char *)t->s);
	*copy = malloc(size + 1);
	if (!*copy)
		return recipe_no_memory(r);
	if (size)
		memcpy(*copy, s, size);
	t->s = *copy;
	t->size = size <= ADDED_SIZE_MAX ? size : 0;
	return 0;
}

/* Sort the added tokens into the two sets; @t and @copy have room for all. */
static int sort_added(struct vocab *v, struct recipe *r, struct added_token *t,
		      uint8_t **copy)
{
	size_t nr = r->nr_added, i, k[2];
	struct normal_work *w;
	struct added_token one;
	int ret = 0, set;

	if (normal_work_open(&w))
		return recipe_no_memory(r);
	k[0] = 0; /* [0] grows from the front, [1] from the back */
	k[1] = nr;
	for (i = 0; !ret && i < nr; i++) {
		one = r->added[i];
		set = (one.flags & ADDED_NORMALIZED) != 0;
		if (set)
			ret = normalize_added(r, w, &one, &copy[i]);
		if (ret || !one.size)
			continue;
		t[set ? --k[1] : k[0]++] = one;
	}
	normal_work_close(w);
	if (!ret && k[0] && added_open(&v->added[0], t, k[0]))
		ret = recipe_no_memory(r);
	if (!ret && k[1] < nr && added_open(&v->added[1], t + k[1], nr - k[1]))
		ret = recipe_no_memory(r);
	return ret;
}

static int make_added(struct vocab *v, struct recipe *r)
{
	size_t nr = r->nr_added, i;
	struct added_token *t;
	uint8_t **copy;
	int ret;

	if (!nr)
		return 0;
	t = calloc(nr, sizeof(*t));
	copy = calloc(nr, sizeof(*copy));
	ret = t && copy ? sort_added(v, r, t, copy) : recipe_no_memory(r);
	for (i = 0; copy && i < nr; i++)
		free(copy[i]);
	free(copy);
	free(t);
	return ret;
}

/* ---- all of it */

static int make(struct vocab *v, struct recipe *r)
{
	int ret = spell_tokens(v, r);

	static_assert(POST_AROUND_MAX == VOCAB_AROUND_MAX, "one limit");
	if (!ret && r->kind == RECIPE_UNIGRAM)
		ret = unigram_open(&v->unigram, r);
	else if (!ret && bpe_open(&v->bpe, r, v->token_bytes, v->token_end))
		ret = recipe_no_memory(r);
	if (!ret)
		ret = make_added(v, r);
	if (ret)
		return ret;
	memcpy(v->before, r->post.before, sizeof(v->before));
	memcpy(v->after, r->post.after, sizeof(v->after));
	v->nr_before = r->post.nr_before;
	v->nr_after = r->post.nr_after;
	v->bos = r->bos;
	v->eos = r->eos;
	v->lead = r->how.lead;
	v->lead_all = r->how.lead_all;
	v->normal = r->normal;
	v->split = r->split;
	v->chat_template = r->chat_template;
	r->normal = NULL;
	r->split = NULL;
	r->chat_template = NULL;
	return 0;
}

/* Where the file is, and the folder it is in: both in the caller's buffers. */
static int find_file(const char *path, char file[PATH_MAX], char dir[PATH_MAX],
		     struct err *err)
{
	struct stat st;
	char *slash;

	if (stat(path, &st))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (strlen(path) + sizeof("/tokenizer_config.json  ") >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%s: name too long", path);
	strcpy(file, path);
	strcpy(dir, path);
	if (S_ISDIR(st.st_mode)) {
		strcat(file, "/tokenizer.model");
		if (!access(file, F_OK)) {
			char *name = file + strlen(path);

			strcpy(name, "/tokenizer.json");
			if (access(file, F_OK))
				strcpy(name, "/tokenizer.model");
			return 0;
		}
		strcpy(file + strlen(path), "/tokenizer.json");
		return 0;
	}
	slash = strrchr(dir, '/');
	strcpy(slash ? slash + 1 : dir, ".");
	return 0;
}

/* A SentencePiece model begins with the tag of a piece, JSON with neither. */
static bool is_spm(const char *file)
{
	struct map map;
	bool is;

	if (map_open(&map, file, NULL))
		return false;
	is = map.size && *(const uint8_t *)map.data == 0x0a && map.size > 2 &&
	     *((const uint8_t *)map.data + 2) == 0x0a;
	map_close(&map);
	return is;
}

static int read_file(struct recipe *r, const char *dir)
{
	int ret;

	if (gguf_is(r->path))
		return read_gguf(r);
	ret = is_spm(r->path) ? read_spm(r) : read_json(r);
	return ret ? ret : beside_read(r, dir);
}

int vocab_open(struct vocab **ret, const char *path, struct err *err)
{
	char file[PATH_MAX], dir[PATH_MAX];
	struct recipe r;
	struct vocab *v;
	int e = find_file(path, file, dir, err);

	if (e)
		return e;
	recipe_init(&r, file, err);
	v = calloc(1, sizeof(*v));
	e = v ? read_file(&r, dir) : recipe_no_memory(&r);
	if (!e)
		e = make(v, &r);
	recipe_deinit(&r);
	if (e)
		vocab_close(v);
	else
		*ret = v;
	return e;
}

void vocab_close(struct vocab *v)
{
	if (!v)
		return;
	added_close(v->added[0]);
	added_close(v->added[1]);
	normal_close(v->normal);
	split_close(v->split);
	bpe_close(v->bpe);
	unigram_close(v->unigram);
	free(v->token_end);
	free(v->token_bytes);
	free(v->token_flags);
	free(v->chat_template);
	free(v);
}

uint32_t vocab_find_added(const struct vocab *v, const char *name)
{
	size_t n = strlen(name), size;
	const uint8_t *s;
	uint32_t i;

	for (i = 0; i < v->nr; i++) {
		if (!(v->token_flags[i] & VOCAB_ADDED))
			continue;
		s = vocab_bytes(v, i, &size);
		if (size == n && !memcmp(s, name, n))
			return i;
	}
	return VOCAB_NONE;
}
