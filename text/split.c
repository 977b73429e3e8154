/* SPDX-License-Identifier: MIT */
#include "text/split.h"
#include "text/pattern.h"
#include "text/spell.h"
#include "text/stages.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GROWN_MAX (UINT32_C(1) << 31)

struct split {
	struct stages stages;
};

struct cut {
	uint32_t start, end;
	bool match;
};

struct split_work {
	struct span *span[2]; /* owned: a stage reads one, writes the other */
	size_t nr[2], cap[2];
	struct cut *cut; /* owned: one piece, cut */
	size_t nr_cut, cut_cap;
	struct bytes text[2];
	struct pattern_work *pattern;
};

int split_open(struct split **ret, const char *where, const json_t *j,
	       struct err *err)
{
	struct split *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	r = stages_init(&s->stages, where, j, err);
	if (r)
		free(s);
	else
		*ret = s;
	return r;
}

void split_close(struct split *s)
{
	if (!s)
		return;
	stages_deinit(&s->stages);
	free(s);
}

bool split_is_byte_level(const struct split *s)
{
	return s->stages.byte_level;
}

int split_work_open(struct split_work **ret)
{
	struct split_work *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (pattern_work_open(&w->pattern)) {
		free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void split_work_close(struct split_work *w)
{
	int i;

	if (!w)
		return;
	for (i = 0; i < 2; i++) {
		free(w->span[i]);
		bytes_free(&w->text[i]);
	}
	free(w->cut);
	pattern_work_close(w->pattern);
	free(w);
}

/* ---- cutting one piece */

static int add_cut(struct split_work *w, size_t start, size_t end, bool match)
{
	if (w->nr_cut == w->cut_cap && vec_grow((void **)&w->cut, &w->cut_cap,
						w->nr_cut + 1, sizeof(*w->cut)))
		return -ENOMEM;
	w->cut[w->nr_cut++] =
		(struct cut){ (uint32_t)start, (uint32_t)end, match };
	return 0;
}

/* Matches and what is between them, in order, as offsets in @s. */
static int cut_pattern(const struct stage *st, struct split_work *w,
		       const uint8_t *s, size_t size)
{
	struct pattern_at at = { 0 };
	size_t start, end, from = 0;
	int r;

	while ((r = pattern_next(st->pattern, w->pattern, s, size, &at, &start,
				 &end)) > 0) {
		if (from < start && add_cut(w, from, start, false))
			return -ENOMEM;
		if (add_cut(w, start, end, true))
			return -ENOMEM;
		from = end;
	}
	if (r)
		return r == -ENOMEM ? r : -E2BIG;
	return from < size ? add_cut(w, from, size, false) : 0;
}

static int cut_chars(bool (*is)(uint32_t cp), struct split_work *w,
		     const uint8_t *s, size_t size)
{
	size_t i = 0, from = 0, at;

	while (i < size) {
		at = i;
		if (!is(utf8_next(s, &i)))
			continue;
		if (from < at && add_cut(w, from, at, false))
			return -ENOMEM;
		if (add_cut(w, at, i, true))
			return -ENOMEM;
		from = i;
	}
	return from < size ? add_cut(w, from, size, false) : 0;
}

static int add_span(struct split_work *w, int to, size_t start, size_t end)
{
	if (start == end)
		return 0;
	if (w->nr[to] == w->cap[to] &&
	    vec_grow((void **)&w->span[to], &w->cap[to], w->nr[to] + 1,
		     sizeof(*w->span[to])))
		return -ENOMEM;
	w->span[to][w->nr[to]++] =
		(struct span){ (uint32_t)start, (uint32_t)end };
	return 0;
}

/*
 * Does @c join the cut before it?  The rules of NormalizedString::split in HF
 * tokenizers, down to what they do with two matches in a row.
 */
static bool joins(enum behavior b, const struct cut *before,
		  const struct cut *c)
{
	switch (b) {
	case CONTIGUOUS:
		return before->match == c->match;
	case WITH_PREVIOUS:
		return c->match && !before->match;
	case WITH_NEXT:
		return before->match && !c->match;
	default:
		return false;
	}
}

static int emit(const struct stage *st, struct split_work *w, int to,
		size_t base)
{
	const struct cut *c = w->cut;
	size_t i, j;

	for (i = 0; i < w->nr_cut; i = j) {
		for (j = i + 1; j < w->nr_cut; j++)
			if (!joins(st->behavior, &c[j - 1], &c[j]))
				break;
		if (st->behavior == REMOVED && c[i].match)
			continue;
		if (add_span(w, to, base + c[i].start, base + c[j - 1].end))
			return -ENOMEM;
	}
	return 0;
}

static int cut(const struct stage *st, struct split_work *w, const uint8_t *s,
	       int to)
{
	size_t i, k;
	int r = 0;

	for (i = 0; !r && i < w->nr[!to]; i++) {
		struct span p = w->span[!to][i];

		w->nr_cut = 0;
		if (st->kind == STAGE_PATTERN)
			r = cut_pattern(st, w, s + p.start, p.end - p.start);
		else
			r = cut_chars(st->kind == STAGE_NUMBERS ? utf8_is_number
								: utf8_is_punct,
				      w, s + p.start, p.end - p.start);
		for (k = 0; st->invert && k < w->nr_cut; k++)
			w->cut[k].match = !w->cut[k].match;
		if (!r)
			r = emit(st, w, to, p.start);
	}
	return r;
}

/* ---- stages that rewrite the text */

/* HF's Metaspace; @first: the piece begins where the text began. */
static int metaspace(const struct stage *st, const uint8_t *s, size_t size,
		     bool first, struct bytes *out)
{
	size_t n = st->space_size, i;
	bool has = size &&
		   (s[0] == ' ' || (size >= n && !memcmp(s, st->space, n)));

	if (bytes_room(out, (size + 1) * n))
		return -ENOMEM;
	if (!has && (st->prepend == PREPEND_ALWAYS ||
		     (st->prepend == PREPEND_FIRST && first)))
		bytes_add(out, st->space, n);
	for (i = 0; i < size; i++) {
		if (s[i] == ' ')
			bytes_add(out, st->space, n);
		else
			out->v[out->nr++] = s[i];
	}
	return 0;
}

static int rewrite_piece(const struct stage *st, const uint8_t *s, size_t size,
			 bool first, struct bytes *out)
{
	size_t i = 0;

	switch (st->kind) {
	case STAGE_METASPACE:
		return metaspace(st, s, size, first, out);
	case STAGE_SPACE_BEFORE:
		if (s[0] != ' ' && bytes_add(out, " ", 1))
			return -ENOMEM;
		return bytes_add(out, s, size);
	case STAGE_TO_CHARS:
		if (bytes_room(out, size * 2 + 4))
			return -ENOMEM;
		for (i = 0; i < size; i++)
			out->nr += utf8_put(out->v + out->nr,
					    spell_byte_char(s[i]));
		return 0;
	default:
		if (bytes_room(out, size))
			return -ENOMEM;
		while (i < size)
			out->v[out->nr++] =
				(uint8_t)spell_char_byte(utf8_next(s, &i));
		return 0;
	}
}

static int rewrite(const struct stage *st, struct split_work *w,
		   const uint8_t *s, bool first, struct bytes *out, int to)
{
	size_t i, from;

	out->nr = 0;
	for (i = 0; i < w->nr[!to]; i++) {
		struct span p = w->span[!to][i];

		from = out->nr;
		if (rewrite_piece(st, s + p.start, p.end - p.start,
				  first && !p.start, out))
			return -ENOMEM;
		if (out->nr >= GROWN_MAX)
			return -E2BIG;
		if (add_span(w, to, from, out->nr))
			return -ENOMEM;
	}
	return 0;
}

int split_run(const struct split *sp, struct split_work *w, const uint8_t *s,
	      size_t size, bool first, struct split_result *ret)
{
	int to = 0, r;
	uint32_t i;

	w->nr[to] = 0;
	if (add_span(w, to, 0, size))
		return -ENOMEM;
	for (i = 0; i < sp->stages.nr; i++) {
		const struct stage *st = &sp->stages.stage[i];

		to = !to;
		w->nr[to] = 0;
		if (st->kind < STAGE_SPACE_BEFORE) {
			r = cut(st, w, s, to);
		} else {
			struct bytes *out = &w->text[s == w->text[0].v];

			r = rewrite(st, w, s, first, out, to);
			s = out->v;
		}
		if (r)
			return r;
	}
	*ret = (struct split_result){ s, w->span[to], w->nr[to] };
	return 0;
}
