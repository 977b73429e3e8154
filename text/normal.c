/* SPDX-License-Identifier: MIT */
#include "text/normal.h"
#include "text/charsmap.h"
#include "text/forms.h"
#include "text/pattern.h"
#include "text/spell.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define STEPS_MAX 32		      /* normalizers in a row */
#define DEPTH_MAX 8		      /* sequences in sequences */
#define GROWN_MAX (UINT32_C(1) << 31) /* bytes of a normalized text */

enum kind { FORM, LOWERCASE, PREPEND, REPLACE, STRIP, CHARSMAP, SENTENCE };

struct step {
	enum kind kind;
	struct form form;
	char *text; /* owned: what is put there */
	size_t text_size;
	struct pattern *pattern;   /* owned */
	bool left, right;	   /* STRIP */
	struct charsmap *charsmap; /* owned; CHARSMAP and SENTENCE */
	struct normal_sentence sentence;
};

struct normal {
	struct step step[STEPS_MAX];
	uint32_t nr;
};

struct normal_work {
	struct bytes out[2]; /* steps read one and write the other */
	struct forms_work forms;
	struct bytes mapped; /* a sentence, after its charsmap */
	struct pattern_work *pattern;
};

/* ---- loading */

/* A string with its NULs. */
static int keep_text(struct step *st, const char *where, const json_t *j,
		     struct err *err)
{
	st->text_size = json_string_length(j);
	st->text = malloc(st->text_size + 1);
	if (!st->text)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	memcpy(st->text, json_string_value(j), st->text_size + 1);
	return 0;
}

static int open_replace(struct step *st, const char *where, const json_t *j,
			struct err *err)
{
	const json_t *p = json_object_get(j, "pattern");
	const json_t *c = json_object_get(j, "content");
	const json_t *s = json_object_get(p, "String");
	const json_t *re = json_object_get(p, "Regex");
	const json_t *src = s ? s : re;

	if (!json_is_string(src) || !json_is_string(c))
		return err_set(
			err, -EINVAL,
			"%s: Replace needs pattern.String or pattern.Regex, and content, as strings",
			where);
	st->kind = REPLACE;
	if (keep_text(st, where, c, err))
		return -ENOMEM;
	return pattern_open(&st->pattern, where, json_string_value(src),
			    json_string_length(src), s != NULL, err);
}

static int open_prepend(struct step *st, const char *where, const json_t *j,
			struct err *err)
{
	const json_t *p = json_object_get(j, "prepend");

	if (!json_is_string(p))
		return err_set(err, -EINVAL,
			       "%s: Prepend needs a string \"prepend\"", where);
	st->kind = PREPEND;
	return keep_text(st, where, p, err);
}

static int open_strip(struct step *st, const char *where, const json_t *j,
		      struct err *err)
{
	int r;

	st->kind = STRIP;
	st->left = st->right = true;
	r = json_get_bool(where, j, "strip_left", &st->left, err);
	return r ? r : json_get_bool(where, j, "strip_right", &st->right, err);
}

static int open_precompiled(struct step *st, const char *where, const json_t *j,
			    struct err *err)
{
	const json_t *map = json_object_get(j, "precompiled_charsmap");
	size_t size = json_string_length(map), n;
	uint8_t *blob;
	int r;

	st->kind = CHARSMAP;
	if (!json_is_string(map))
		return err_set(err, -EINVAL,
			       "%s: precompiled_charsmap is not a string",
			       where);
	blob = malloc(size + 1);
	if (!blob)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	if (sodium_base642bin(blob, size, size ? json_string_value(map) : "",
			      size, NULL, &n, NULL,
			      sodium_base64_VARIANT_ORIGINAL))
		r = err_set(err, -EINVAL,
			    "%s: precompiled_charsmap is not base64", where);
	else
		r = charsmap_open(&st->charsmap, where, blob, n, err);
	free(blob);
	return r;
}

static int open_step(struct normal *n, const char *where, const json_t *j,
		     int depth, struct err *err);

static int open_sequence(struct normal *n, const char *where, const json_t *j,
			 int depth, struct err *err)
{
	const json_t *list = json_object_get(j, "normalizers");
	char at[160];
	size_t i;
	int r = 0;

	if (!json_is_array(list))
		return err_set(err, -EINVAL,
			       "%s: Sequence needs an array \"normalizers\"",
			       where);
	if (depth == DEPTH_MAX)
		return err_set(err, -EINVAL,
			       "%s: sequences nested deeper than %d", where,
			       DEPTH_MAX);
	for (i = 0; !r && i < json_array_size(list); i++) {
		snprintf(at, sizeof(at), "%s.normalizers[%zu]", where, i);
		r = open_step(n, at, json_array_get(list, i), depth + 1, err);
	}
	return r;
}

static int open_step(struct normal *n, const char *where, const json_t *j,
		     int depth, struct err *err)
{
	static const struct {
		const char *name;
		enum kind kind;
		struct form form;
	} plain[] = {
		{ "NFC", FORM, { .compose = true } },
		{ "NFKC", FORM, { .compose = true, .compat = true } },
		{ "NFD", FORM, { 0 } },
		{ "NFKD", FORM, { .compat = true } },
		{ "Lowercase", LOWERCASE, { 0 } },
	};
	const char *type = NULL;
	struct step *st;
	size_t i;
	int r;

	if (!json_is_object(j))
		return err_set(err, -EINVAL, "%s: not an object", where);
	r = json_get_str(where, j, "type", &type, err);
	if (r)
		return r;
	if (!type)
		return err_set(err, -EINVAL, "%s: no \"type\"", where);
	if (!strcmp(type, "Sequence"))
		return open_sequence(n, where, j, depth, err);
	if (n->nr == STEPS_MAX)
		return err_set(err, -EINVAL, "%s: more than %d normalizers",
			       where, STEPS_MAX);
	st = &n->step[n->nr++]; /* counted first: closed on error too */
	if (!strcmp(type, "Replace"))
		return open_replace(st, where, j, err);
	if (!strcmp(type, "Prepend"))
		return open_prepend(st, where, j, err);
	if (!strcmp(type, "Strip"))
		return open_strip(st, where, j, err);
	if (!strcmp(type, "Precompiled"))
		return open_precompiled(st, where, j, err);
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcmp(type, plain[i].name))
			continue;
		st->kind = plain[i].kind;
		st->form = plain[i].form;
		return 0;
	}
	return err_set(err, -ENOTSUP, "%s: normalizer %s is not supported yet",
		       where, type);
}

int normal_open(struct normal **ret, const char *where, const json_t *j,
		struct err *err)
{
	struct normal *n;
	int r;

	if (!j || json_is_null(j)) {
		*ret = NULL;
		return 0;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	r = open_step(n, where, j, 0, err);
	if (r || !n->nr) {
		normal_close(n);
		n = NULL;
	}
	if (!r)
		*ret = n;
	return r;
}

int normal_open_sentence(struct normal **ret, const char *where,
			 const struct normal_sentence *how, const void *map,
			 size_t map_size, struct err *err)
{
	struct normal *n = calloc(1, sizeof(*n));
	struct step *st;
	int r;

	if (!n)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	st = &n->step[n->nr++];
	st->kind = SENTENCE;
	st->sentence = *how;
	r = map_size ? charsmap_open(&st->charsmap, where, map, map_size, err)
		     : 0;
	if (r)
		normal_close(n);
	else
		*ret = n;
	return r;
}

void normal_close(struct normal *n)
{
	uint32_t i;

	if (!n)
		return;
	for (i = 0; i < n->nr; i++) {
		free(n->step[i].text);
		pattern_close(n->step[i].pattern);
		charsmap_close(n->step[i].charsmap);
	}
	free(n);
}

int normal_work_open(struct normal_work **ret)
{
	struct normal_work *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (pattern_work_open(&w->pattern)) {
		free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void normal_work_close(struct normal_work *w)
{
	if (!w)
		return;
	bytes_free(&w->out[0]);
	bytes_free(&w->out[1]);
	bytes_free(&w->mapped);
	forms_work_free(&w->forms);
	pattern_work_close(w->pattern);
	free(w);
}

/* ---- the steps */

static int lowercase(const uint8_t *s, size_t size, struct bytes *out)
{
	size_t i = 0;
	uint32_t cp;

	if (bytes_room(out, size * 2 + 4))
		return -ENOMEM;
	while (i < size) {
		cp = utf8_next(s, &i);
		if (cp == 0x130) { /* the one that becomes two: i and a dot */
			if (bytes_add(out, "i\xcc\x87", 3))
				return -ENOMEM;
			continue;
		}
		cp = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
		if (bytes_room(out, 4))
			return -ENOMEM;
		out->nr += utf8_put(out->v + out->nr, cp);
	}
	return 0;
}

static int replace(const struct step *st, struct normal_work *w,
		   const uint8_t *s, size_t size, struct bytes *out)
{
	struct pattern_at at = { 0 };
	size_t start, end, from = 0;
	int r;

	while ((r = pattern_next(st->pattern, w->pattern, s, size, &at, &start,
				 &end)) > 0) {
		if (bytes_add(out, s + from, start - from) ||
		    bytes_add(out, st->text, st->text_size))
			return -ENOMEM;
		if (out->nr > GROWN_MAX)
			return -E2BIG;
		from = end;
	}
	if (r)
		return r == -ENOMEM ? r : -E2BIG;
	return bytes_add(out, s + from, size - from);
}

static int strip(const struct step *st, const uint8_t *s, size_t size,
		 struct bytes *out)
{
	size_t from = 0, at = 0;

	while (st->left && at < size && utf8_is_space(utf8_next(s, &at)))
		from = at;
	while (st->right && size > from &&
	       utf8_is_space(utf8_prev(s, size, &at)))
		size = at;
	return bytes_add(out, s + from, size - from);
}

/*
 * sentencepiece's Normalizer::Normalize once its charsmap was applied: in this
 * order, first spaces at the beginning, then what comes before, then spaces in
 * a row, and at the end whatever is written as a space.
 */
static int sentence(const struct step *st, struct normal_work *w,
		    const uint8_t *s, size_t size, struct bytes *out)
{
	const struct normal_sentence *how = &st->sentence;
	const char *space = how->escape ? SPELL_SPACE : " ";
	size_t n = strlen(space), i = 0;
	bool skip = how->squeeze;

	if (st->charsmap) {
		int r;

		w->mapped.nr = 0;
		r = charsmap_apply(st->charsmap, s, size, &w->mapped);
		if (r)
			return r;
		s = w->mapped.v;
		size = w->mapped.nr;
	}
	while (how->squeeze && i < size && s[i] == ' ')
		i++;
	if (i == size)
		return 0;
	if (bytes_room(out, (size - i + 1) * n))
		return -ENOMEM;
	if (how->prefix && bytes_add(out, space, n))
		return -ENOMEM;
	for (; i < size; i++) {
		if (s[i] != ' ')
			out->v[out->nr++] = s[i];
		else if (!skip && bytes_add(out, space, n))
			return -ENOMEM;
		skip = how->squeeze && s[i] == ' ';
	}
	while (how->squeeze && out->nr >= n &&
	       !memcmp(out->v + out->nr - n, space, n))
		out->nr -= n;
	return 0;
}

static int apply(const struct step *st, struct normal_work *w, const uint8_t *s,
		 size_t size, struct bytes *out)
{
	switch (st->kind) {
	case LOWERCASE:
		return lowercase(s, size, out);
	case PREPEND:
		if (bytes_add(out, st->text, size ? st->text_size : 0))
			return -ENOMEM;
		return bytes_add(out, s, size);
	case REPLACE:
		return replace(st, w, s, size, out);
	case STRIP:
		return strip(st, s, size, out);
	case CHARSMAP:
		return charsmap_apply_graphemes(st->charsmap, s, size, out);
	case SENTENCE:
		return sentence(st, w, s, size, out);
	default:
		return forms_apply(st->form, &w->forms, s, size, out);
	}
}

int normal_apply(const struct normal *n, struct normal_work *w,
		 const uint8_t *s, size_t size, const uint8_t **ret,
		 size_t *ret_size)
{
	uint32_t i;
	int r;

	for (i = 0; n && i < n->nr; i++) {
		const struct step *st = &n->step[i];
		struct bytes *out = &w->out[s == w->out[0].v];

		if (st->kind == FORM && forms_settled(st->form, s, size))
			continue;
		out->nr = 0;
		r = apply(st, w, s, size, out);
		if (r)
			return r;
		if (out->nr > GROWN_MAX)
			return -E2BIG;
		s = out->v;
		size = out->nr;
	}
	*ret = s;
	*ret_size = size;
	return 0;
}
