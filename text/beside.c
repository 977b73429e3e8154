/* SPDX-License-Identifier: MIT */
#include "text/beside.h"
#include "text/recipe.h"
#include "base/err.h"
#include "base/json.h"
#include "base/map.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_MAX  (1u << 20) /* bytes of a chat template */
#define NO_FILE(code) ((code) == -ENOENT || (code) == -ENOTDIR)

/* Set *ret to the id of the token that @config names, if it does. */
static void read_named(const struct recipe *r, const json_t *config,
		       const char *key, uint32_t *ret)
{
	const json_t *t = json_object_get(config, key);
	const struct recipe_token *a;
	const char *name;
	size_t n, i;
	uint32_t id;

	if (json_is_object(t))
		t = json_object_get(t, "content");
	name = json_string_value(t);
	if (!name)
		return;
	n = strlen(name);
	id = recipe_find(r, name, n);
	for (i = 0; id == RECIPE_NONE && i < r->nr; i++) {
		a = &r->token[i];
		if (a->flags & RECIPE_ADDED && a->size == n &&
		    !memcmp(a->name, name, n))
			id = (uint32_t)i;
	}
	if (id != RECIPE_NONE)
		*ret = id;
}

int beside_template(struct recipe *r, const char *where, const void *s,
		    size_t size)
{
	if (size > TEMPLATE_MAX || memchr(s, '\0', size))
		return err_set(
			r->err, -EINVAL,
			"%s: a chat template of %zu bytes, allowed %u without NUL",
			where, size, TEMPLATE_MAX);
	/* where several are, transformers takes the last */
	free(r->chat_template);
	r->chat_template = strndup(s, size);
	return r->chat_template ? 0 : recipe_no_memory(r);
}

/* chat_template is a string, or a list of {name, template}: "default". */
static int read_chat(struct recipe *r, const char *where, const json_t *config)
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
	return beside_template(r, where, json_string_value(t),
			       json_string_length(t));
}

/*
 * add_bos_token and add_eos_token, where they are given, have the last word
 * over the post-processor (so do the tokenizer classes of transformers).
 */
static int override(struct recipe *r, const char *where, const json_t *config,
		    const char *key, uint32_t id, uint32_t *list, uint32_t *nr)
{
	bool on = false;
	int ret;

	if (!json_has(config, key))
		return 0;
	ret = json_get_bool(where, config, key, &on, r->err);
	if (ret)
		return ret;
	if (on && !*nr && id != RECIPE_NONE)
		list[(*nr)++] = id;
	else if (!on && *nr == 1 && list[0] == id)
		*nr = 0;
	return 0;
}

static int read_config(struct recipe *r, const char *where)
{
	struct post *p = &r->post;
	struct err e;
	json_t *j = json_read_file(where, &e);
	int ret;

	if (!j && NO_FILE(e.code)) {
		/* then what the tokenizer puts first is its bos */
		if (r->bos == RECIPE_NONE && p->nr_before == 1)
			r->bos = p->before[0];
		return 0;
	}
	if (!j)
		return err_set(r->err, e.code, "%s", e.text);
	read_named(r, j, "bos_token", &r->bos);
	read_named(r, j, "eos_token", &r->eos);
	ret = override(r, where, j, "add_bos_token", r->bos, p->before,
		       &p->nr_before);
	if (!ret)
		ret = override(r, where, j, "add_eos_token", r->eos, p->after,
			       &p->nr_after);
	if (!ret)
		ret = read_chat(r, where, j);
	json_decref(j);
	return ret;
}

static int read_jinja(struct recipe *r, const char *where)
{
	struct err e;
	struct map map;
	int ret = map_open(&map, where, &e);

	if (ret)
		return NO_FILE(ret) ? 0 : err_set(r->err, ret, "%s", e.text);
	ret = beside_template(r, where, map.size ? map.data : "", map.size);
	map_close(&map);
	return ret;
}

int beside_read(struct recipe *r, const char *dir)
{
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
	ret = read_config(r, path);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/chat_template.jinja", dir);
	return read_jinja(r, path);
}
