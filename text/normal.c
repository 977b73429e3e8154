/* SPDX-License-Identifier: MIT */
#include "text/normal.h"
#include "text/pattern.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define STEPS_MAX     32		  /* normalizers in a row */
#define DEPTH_MAX     8			  /* sequences in sequences */
#define GROWN_MAX     (UINT32_C(1) << 31) /* bytes of a normalized text */
#define INSERTION_MAX 16		  /* marks sorted in place */

enum kind { COMPOSE, DECOMPOSE, LOWERCASE, PREPEND, REPLACE };

struct step {
	enum kind kind;
	bool compat; /* NFKC, NFKD */
	char *text;  /* owned: what is put there */
	size_t text_size;
	struct pattern *pattern; /* owned */
};

struct normal {
	struct step step[STEPS_MAX];
	uint32_t nr;
};

struct normal_work {
	struct bytes out[2]; /* steps read one and write the other */
	int32_t *cp;	     /* owned: [cap] code points */
	int32_t *sorted;     /* owned: [sorted_cap] one run of marks */
	size_t cap, sorted_cap;
	struct pattern_work *pattern;
};

/* ---- loading */

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
	st->text_size = json_string_length(c);
	st->text = strndup(json_string_value(c), st->text_size);
	if (!st->text)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
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
	st->text_size = json_string_length(p);
	st->text = strndup(json_string_value(p), st->text_size);
	if (!st->text)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	return 0;
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
		bool compat;
	} plain[] = {
		{ "NFC", COMPOSE, false },	   { "NFKC", COMPOSE, true },
		{ "NFD", DECOMPOSE, false },	   { "NFKD", DECOMPOSE, true },
		{ "Lowercase", LOWERCASE, false },
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
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcmp(type, plain[i].name))
			continue;
		st->kind = plain[i].kind;
		st->compat = plain[i].compat;
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

void normal_close(struct normal *n)
{
	uint32_t i;

	if (!n)
		return;
	for (i = 0; i < n->nr; i++) {
		free(n->step[i].text);
		pattern_close(n->step[i].pattern);
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
	free(w->cp);
	free(w->sorted);
	pattern_work_close(w->pattern);
	free(w);
}

/* ---- Unicode forms */

/* True where no code point of @s changes under the form and none combines. */
static bool settled(const struct step *st, const uint8_t *s, size_t size)
{
	/* below these all is inert (DerivedNormalizationProps, ccc) */
	uint32_t limit = st->compat ? 0xa0 : st->kind == COMPOSE ? 0x300 : 0xc0;
	size_t i = 0;

	while (i < size)
		if (utf8_next(s, &i) >= limit)
			return false;
	return true;
}

static int class_of(int32_t cp)
{
	return utf8proc_get_property(cp)->combining_class;
}

/* One run of marks, by counting: stable, linear, whatever its length. */
static int sort_run(struct normal_work *w, int32_t *run, size_t nr)
{
	size_t start[257] = { 0 }, i, j;
	int32_t cp;
	int k;

	if (nr <= INSERTION_MAX) {
		for (i = 1; i < nr; i++) {
			cp = run[i];
			k = class_of(cp);
			for (j = i; j && class_of(run[j - 1]) > k; j--)
				run[j] = run[j - 1];
			run[j] = cp;
		}
		return 0;
	}
	if (vec_grow((void **)&w->sorted, &w->sorted_cap, nr, sizeof(*run)))
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		start[class_of(run[i]) + 1]++;
	for (i = 1; i < 256; i++)
		start[i] += start[i - 1];
	for (i = 0; i < nr; i++)
		w->sorted[start[class_of(run[i])]++] = run[i];
	memcpy(run, w->sorted, nr * sizeof(*run));
	return 0;
}

/* Canonical ordering (UAX #15): marks between starters, sorted by class. */
static int order(struct normal_work *w, size_t nr)
{
	size_t i = 0, from;

	while (i < nr) {
		if (!class_of(w->cp[i])) {
			i++;
			continue;
		}
		for (from = i; i < nr && class_of(w->cp[i]); i++)
			;
		if (i - from > 1 && sort_run(w, w->cp + from, i - from))
			return -ENOMEM;
	}
	return 0;
}

static int form(const struct step *st, struct normal_work *w, const uint8_t *s,
		size_t size, struct bytes *out)
{
	utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE |
				    (st->compat ? UTF8PROC_COMPAT : 0);
	utf8proc_ssize_t n;
	size_t i = 0, nr = 0, k;
	int32_t cp;

	while (i < size) {
		cp = (int32_t)utf8_next(s, &i);
		/* the longest decomposition known is of 18 (U+FDFA) */
		if (vec_grow((void **)&w->cp, &w->cap, nr + 32, sizeof(*w->cp)))
			return -ENOMEM;
		n = utf8proc_decompose_char(cp, w->cp + nr,
					    (utf8proc_ssize_t)(w->cap - nr),
					    options, NULL);
		if (n < 0 || (size_t)n > w->cap - nr)
			return -E2BIG;
		nr += (size_t)n;
	}
	if (order(w, nr))
		return -ENOMEM;
	if (st->kind == COMPOSE) {
		n = utf8proc_normalize_utf32(w->cp, (utf8proc_ssize_t)nr,
					     UTF8PROC_COMPOSE |
						     UTF8PROC_STABLE);
		if (n < 0)
			return -E2BIG;
		nr = (size_t)n;
	}
	if (nr > GROWN_MAX / 4)
		return -E2BIG;
	if (bytes_room(out, nr * 4))
		return -ENOMEM;
	for (k = 0; k < nr; k++)
		out->nr += utf8_put(out->v + out->nr, (uint32_t)w->cp[k]);
	return 0;
}

/* ---- the others */

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
	default:
		return form(st, w, s, size, out);
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

		if (st->kind <= DECOMPOSE && settled(st, s, size))
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
