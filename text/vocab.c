/* SPDX-License-Identifier: MIT */
#include "text/vocab.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/normal.h"
#include "text/post.h"
#include "text/split.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/json.h"
#include "base/map.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEMPLATE_MAX  (1u << 20) /* bytes of a chat template */
#define NO_FILE(code) ((code) == -ENOENT || (code) == -ENOTDIR)

/* What is needed while loading only. */
struct loader {
	struct vocab *v;
	const char *path;	      /* of tokenizer.json */
	json_t *root;		      /* owned */
	const json_t *model, *tokens; /* "model" and its "vocab" */
	const char **name; /* owned: [nr], borrowed from root; NULL: a hole */
	bool *mergeable;   /* owned: [nr] */
	struct err *err;
};

static int no_memory(struct loader *l)
{
	return err_set(l->err, -ENOMEM, "%s: out of memory", l->path);
}

/* ---- names and ids */

static int check_model(struct loader *l)
{
	const char *type = NULL;
	int r;

	l->model = json_object_get(l->root, "model");
	l->tokens = json_object_get(l->model, "vocab");
	if (!json_is_object(l->model))
		return err_set(l->err, -EINVAL, "%s: no object \"model\"",
			       l->path);
	r = json_get_str(l->path, l->model, "type", &type, l->err);
	if (r)
		return r;
	if (!type && json_has(l->model, "merges"))
		type = "BPE"; /* files from before the field was */
	if (!type || strcmp(type, "BPE"))
		return err_set(
			l->err, -ENOTSUP,
			"%s: model.type is %s: not supported yet (only byte-level BPE is)",
			l->path, type ? type : "not given");
	if (!json_is_object(l->tokens))
		return err_set(l->err, -EINVAL, "%s: no object \"model.vocab\"",
			       l->path);
	return 0;
}

/* Read an id and widen v->nr to hold it. */
static int check_id(struct loader *l, const char *what, const char *name,
		    const json_t *id)
{
	json_int_t n = json_integer_value(id);

	if (!json_is_integer(id) || n < 0 || n >= VOCAB_IDS_MAX)
		return err_set(
			l->err, -EINVAL,
			"%s: %s \"%.60s\": its id is not an integer from 0 to %u",
			l->path, what, name, VOCAB_IDS_MAX - 1);
	if (n >= l->v->nr)
		l->v->nr = (uint32_t)n + 1;
	return 0;
}

static const json_t *added_list(const struct loader *l)
{
	return json_object_get(l->root, "added_tokens");
}

static int count_ids(struct loader *l)
{
	const json_t *added = added_list(l), *a;
	json_t *id;
	const char *name;
	size_t i;

	json_object_foreach((json_t *)l->tokens, name,
			    id) if (check_id(l, "model.vocab", name,
					     id)) return -EINVAL;
	if (added && !json_is_null(added) && !json_is_array(added))
		return err_set(l->err, -EINVAL,
			       "%s: added_tokens is not an array", l->path);
	json_array_foreach(added, i, a)
	{
		const json_t *c = json_object_get(a, "content");

		if (!json_is_string(c) ||
		    json_string_length(c) > ADDED_SIZE_MAX)
			return err_set(
				l->err, -EINVAL,
				"%s: added_tokens[%zu].content is not a string of at most %d bytes",
				l->path, i, ADDED_SIZE_MAX);
		if (check_id(l, "added token", json_string_value(c),
			     json_object_get(a, "id")))
			return -EINVAL;
	}
	if (!l->v->nr)
		return err_set(l->err, -EINVAL, "%s: no tokens", l->path);
	return 0;
}

static int name_ids(struct loader *l)
{
	const json_t *a, *in_model;
	json_t *id;
	const char *name;
	size_t i, n;

	json_object_foreach((json_t *)l->tokens, name, id)
	{
		n = (size_t)json_integer_value(id);
		if (l->name[n])
			return err_set(
				l->err, -EINVAL,
				"%s: model.vocab gives id %zu to \"%.50s\" and \"%.50s\"",
				l->path, n, l->name[n], name);
		l->name[n] = name;
		l->mergeable[n] = true;
	}
	json_array_foreach(added_list(l), i, a)
	{
		name = json_string_value(json_object_get(a, "content"));
		n = (size_t)json_integer_value(json_object_get(a, "id"));
		in_model = json_object_get(l->tokens, name);
		if (in_model && (size_t)json_integer_value(in_model) != n)
			return err_set(
				l->err, -EINVAL,
				"%s: added_tokens[%zu] \"%.50s\" has id %zu, in model.vocab %" JSON_INTEGER_FORMAT,
				l->path, i, name, n,
				json_integer_value(in_model));
		if (l->name[n] && strcmp(l->name[n], name))
			return err_set(
				l->err, -EINVAL,
				"%s: id %zu is both \"%.50s\" and \"%.50s\"",
				l->path, n, l->name[n], name);
		l->name[n] = name;
	}
	return 0;
}

/*
 * A name in GPT-2's byte alphabet stands for those bytes; one with any other
 * character for itself (so HF's ByteLevel decoder).  The bytes written.
 */
static size_t name_to_bytes(const char *name, uint8_t *out, bool *ret_mapped)
{
	const uint8_t *s = (const uint8_t *)name;
	size_t size = strlen(name), i = 0, n = 0;
	int b;

	while (i < size) {
		b = split_char_byte(utf8_next(s, &i));
		if (b < 0) {
			memcpy(out, s, size);
			*ret_mapped = false;
			return size;
		}
		out[n++] = (uint8_t)b;
	}
	*ret_mapped = true;
	return n;
}

static int spell_ids(struct loader *l)
{
	struct vocab *v = l->v;
	size_t total = 0, n;
	bool mapped;
	uint32_t i;

	for (i = 0; i < v->nr; i++)
		total += l->name[i] ? strlen(l->name[i]) : 0;
	if (total > UINT32_MAX)
		return err_set(l->err, -EINVAL, "%s: tokens of %zu bytes",
			       l->path, total);
	v->token_bytes = malloc(total + 1);
	if (!v->token_bytes)
		return no_memory(l);
	for (i = 0, total = 0; i < v->nr; i++) {
		n = 0;
		mapped = false;
		if (l->name[i])
			n = name_to_bytes(l->name[i], v->token_bytes + total,
					  &mapped);
		else
			v->token_flags[i] = VOCAB_HOLE;
		if (!mapped || !n)
			l->mergeable[i] = false;
		if (n > v->token_max)
			v->token_max = n;
		total += n;
		v->token_end[i] = (uint32_t)total;
	}
	return 0;
}

static int load_tokens(struct loader *l)
{
	struct vocab *v = l->v;
	int r = count_ids(l);

	if (r)
		return r;
	l->name = calloc(v->nr, sizeof(*l->name));
	l->mergeable = calloc(v->nr, sizeof(*l->mergeable));
	v->token_end = calloc(v->nr, sizeof(*v->token_end));
	v->token_flags = calloc(v->nr, 1);
	if (!l->name || !l->mergeable || !v->token_end || !v->token_flags)
		return no_memory(l);
	r = name_ids(l);
	return r ? r : spell_ids(l);
}

/* ---- added tokens */

static int read_added(struct loader *l, size_t i, const json_t *a,
		      struct added_token *ret)
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
	const json_t *c = json_object_get(a, "content");
	char where[PATH_MAX + 40];
	size_t k;

	snprintf(where, sizeof(where), "%s: added_tokens[%zu]", l->path, i);
	*ret = (struct added_token){
		.s = (const uint8_t *)json_string_value(c),
		.size = json_string_length(c),
		.id = (uint32_t)json_integer_value(json_object_get(a, "id")),
	};
	for (k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
		bool on = false;

		if (json_get_bool(where, a, flags[k].key, &on, l->err))
			return -EINVAL;
		ret->flags |= on ? flags[k].flag : 0;
	}
	l->v->token_flags[ret->id] |= VOCAB_ADDED;
	if (ret->flags & ADDED_SPECIAL)
		l->v->token_flags[ret->id] |= VOCAB_SPECIAL;
	return 0;
}

/* A token that is looked for in normalized text is normalized itself. */
static int normalize_added(struct loader *l, struct normal_work *w,
			   struct added_token *t, uint8_t **copy)
{
	const uint8_t *s;
	size_t size;
	int r = normal_apply(l->v->normal, w, t->s, t->size, &s, &size);

	if (r == -ENOMEM)
		return no_memory(l);
	if (r)
		return err_set(l->err, -EINVAL,
			       "%s: added token \"%.50s\" cannot be normalized",
			       l->path, (const char *)t->s);
	*copy = malloc(size + 1);
	if (!*copy)
		return no_memory(l);
	memcpy(*copy, s, size);
	t->s = *copy;
	t->size = size <= ADDED_SIZE_MAX ? size : 0;
	return 0;
}

/* Sort the added tokens into the two sets; @t and @copy have room for all. */
static int fill_added(struct loader *l, struct added_token *t, uint8_t **copy)
{
	const json_t *list = added_list(l);
	size_t nr = json_array_size(list), i, k[2];
	struct normal_work *w;
	struct added_token one;
	int r = 0, set;

	if (normal_work_open(&w))
		return no_memory(l);
	k[0] = 0; /* [0] grows from the front, [1] from the back */
	k[1] = nr;
	for (i = 0; !r && i < nr; i++) {
		r = read_added(l, i, json_array_get(list, i), &one);
		set = (one.flags & ADDED_NORMALIZED) != 0;
		if (!r && set)
			r = normalize_added(l, w, &one, &copy[i]);
		if (r || !one.size)
			continue;
		t[set ? --k[1] : k[0]++] = one;
	}
	normal_work_close(w);
	if (!r && k[0] && added_open(&l->v->added[0], t, k[0]))
		r = no_memory(l);
	if (!r && k[1] < nr && added_open(&l->v->added[1], t + k[1], nr - k[1]))
		r = no_memory(l);
	return r;
}

static int load_added(struct loader *l)
{
	size_t nr = json_array_size(added_list(l)), i;
	struct added_token *t;
	uint8_t **copy;
	int r;

	if (!nr)
		return 0;
	t = calloc(nr, sizeof(*t));
	copy = calloc(nr, sizeof(*copy));
	r = t && copy ? fill_added(l, t, copy) : no_memory(l);
	for (i = 0; copy && i < nr; i++)
		free(copy[i]);
	free(copy);
	free(t);
	return r;
}

/* ---- the files beside it */

/* The id of a token that tokenizer_config.json names, VOCAB_NONE if none. */
static uint32_t named_id(const struct loader *l, const json_t *config,
			 const char *key)
{
	const json_t *t = json_object_get(config, key), *id;
	const char *name;

	if (json_is_object(t))
		t = json_object_get(t, "content");
	name = json_string_value(t);
	if (!name)
		return VOCAB_NONE;
	id = json_object_get(l->tokens, name);
	return id ? (uint32_t)json_integer_value(id)
		  : vocab_find_added(l->v, name);
}

static int set_template(struct loader *l, const char *where, const void *s,
			size_t size)
{
	if (size > TEMPLATE_MAX || memchr(s, '\0', size))
		return err_set(
			l->err, -EINVAL,
			"%s: a chat template of %zu bytes, allowed %u without NUL",
			where, size, TEMPLATE_MAX);
	l->v->chat_template = strndup(s, size);
	return l->v->chat_template ? 0 : no_memory(l);
}

/* chat_template is a string, or a list of {name, template}: "default". */
static int load_chat(struct loader *l, const char *where, const json_t *config)
{
	const json_t *t = json_object_get(config, "chat_template"), *one;
	const char *name;
	size_t i;

	json_array_foreach(t, i, one)
	{
		name = json_string_value(json_object_get(one, "name"));
		if (name && !strcmp(name, "default")) {
			t = json_object_get(one, "template");
			break;
		}
	}
	if (!json_is_string(t))
		return 0;
	return set_template(l, where, json_string_value(t),
			    json_string_length(t));
}

/*
 * add_bos_token and add_eos_token, where they are given, have the last word
 * over the post-processor (so do the tokenizer classes of transformers).
 */
static int override(struct loader *l, const char *where, const json_t *config,
		    const char *key, uint32_t id, uint32_t *list, uint32_t *nr)
{
	bool on = false;
	int r;

	if (!json_has(config, key))
		return 0;
	r = json_get_bool(where, config, key, &on, l->err);
	if (r)
		return r;
	if (on && !*nr && id != VOCAB_NONE)
		list[(*nr)++] = id;
	else if (!on && *nr == 1 && list[0] == id)
		*nr = 0;
	return 0;
}

static int load_config(struct loader *l, const char *where)
{
	struct vocab *v = l->v;
	struct err e;
	json_t *j = json_read_file(where, &e);
	int r;

	if (!j && NO_FILE(e.code)) {
		/* then what the tokenizer puts first is its bos */
		if (v->nr_before == 1)
			v->bos = v->before[0];
		return 0;
	}
	if (!j)
		return err_set(l->err, e.code, "%s", e.text);
	v->bos = named_id(l, j, "bos_token");
	v->eos = named_id(l, j, "eos_token");
	r = override(l, where, j, "add_bos_token", v->bos, v->before,
		     &v->nr_before);
	if (!r)
		r = override(l, where, j, "add_eos_token", v->eos, v->after,
			     &v->nr_after);
	if (!r)
		r = load_chat(l, where, j);
	json_decref(j);
	return r;
}

static int load_jinja(struct loader *l, const char *where)
{
	struct err e;
	struct map map;
	int r = map_open(&map, where, &e);

	if (r)
		return NO_FILE(r) ? 0 : err_set(l->err, r, "%s", e.text);
	/* where both are, transformers takes this one */
	free(l->v->chat_template);
	l->v->chat_template = NULL;
	r = set_template(l, where, map.size ? map.data : "", map.size);
	map_close(&map);
	return r;
}

static int load_beside(struct loader *l, const char *dir)
{
	char path[PATH_MAX];
	int r;

	l->v->bos = l->v->eos = VOCAB_NONE;
	snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
	r = load_config(l, path);
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/chat_template.jinja", dir);
	return load_jinja(l, path);
}

/* ---- all of it */

static int load_post(struct loader *l)
{
	struct vocab *v = l->v;
	struct post post = { 0 };
	int r;

	static_assert(POST_AROUND_MAX == VOCAB_AROUND_MAX, "one limit");
	r = post_read(&post, l->path,
		      json_object_get(l->root, "post_processor"), v->nr,
		      l->err);
	if (!r)
		r = post_check_decoder(
			l->path, json_object_get(l->root, "decoder"), l->err);
	memcpy(v->before, post.before, sizeof(v->before));
	memcpy(v->after, post.after, sizeof(v->after));
	v->nr_before = post.nr_before;
	v->nr_after = post.nr_after;
	return r;
}

static int load(struct loader *l, const char *dir)
{
	struct vocab *v = l->v;
	struct bpe_tokens tokens;
	char where[PATH_MAX + 40];
	struct err e;
	int r;

	l->root = json_read_file(l->path, &e);
	if (!l->root)
		return err_set(l->err, e.code, "%s", e.text);
	r = check_model(l);
	if (!r)
		r = load_tokens(l);
	if (r)
		return r;
	tokens = (struct bpe_tokens){ v->nr, v->token_bytes, v->token_end,
				      l->mergeable };
	snprintf(where, sizeof(where), "%s: model", l->path);
	r = bpe_open(&v->bpe, where, l->model, &tokens, l->err);
	if (r)
		return r;
	snprintf(where, sizeof(where), "%s: pre_tokenizer", l->path);
	r = split_open(&v->split, where,
		       json_object_get(l->root, "pre_tokenizer"), l->err);
	if (r)
		return r;
	snprintf(where, sizeof(where), "%s: normalizer", l->path);
	r = normal_open(&v->normal, where,
			json_object_get(l->root, "normalizer"), l->err);
	if (!r)
		r = load_added(l);
	if (!r)
		r = load_post(l);
	if (!r)
		r = load_beside(l, dir);
	return r;
}

/* @path is tokenizer.json or its folder: both, in the caller's buffers. */
static int find_file(const char *path, char file[PATH_MAX], char dir[PATH_MAX],
		     struct err *err)
{
	struct stat st;
	char *slash;
	bool folder;

	if (stat(path, &st))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	folder = S_ISDIR(st.st_mode);
	if (strlen(path) + sizeof("/chat_template.jinja  ") >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%s: name too long", path);
	strcpy(file, path);
	strcpy(dir, path);
	if (folder) {
		strcat(file, "/tokenizer.json");
		return 0;
	}
	slash = strrchr(dir, '/');
	strcpy(slash ? slash + 1 : dir, ".");
	return 0;
}

int vocab_open(struct vocab **ret, const char *path, struct err *err)
{
	char file[PATH_MAX], dir[PATH_MAX];
	struct loader l = { .path = file, .err = err };
	int r = find_file(path, file, dir, err);

	if (r)
		return r;
	l.v = calloc(1, sizeof(*l.v));
	r = l.v ? load(&l, dir) : no_memory(&l);
	json_decref(l.root);
	free(l.name);
	free(l.mergeable);
	if (r)
		vocab_close(l.v);
	else
		*ret = l.v;
	return r;
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
