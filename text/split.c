/* SPDX-License-Identifier: MIT */
#include "text/split.h"
#include "text/pattern.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STAGES_MAX 48
#define DEPTH_MAX  8 /* sequences in sequences */
#define GROWN_MAX  (UINT32_C(1) << 31)

/* GPT-2's own pattern, which ByteLevel applies with use_regex. */
#define GPT2_PATTERN                                                           \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"    \
	"|\\s+(?!\\S)|\\s+"

enum kind {
	PATTERN, /* pieces between matches, and matches */
	NUMBERS, /* the same, a match is one character */
	PUNCT,
	SPACE_BEFORE, /* a piece that has none gets one */
	TO_CHARS,     /* bytes -> byte alphabet */
	TO_BYTES,     /* and back */
};

/* Which side a match joins; names of tokenizer.json in behaviors[]. */
enum behavior { ISOLATED, REMOVED, CONTIGUOUS, WITH_PREVIOUS, WITH_NEXT };

struct stage {
	enum kind kind;
	enum behavior behavior;
	bool invert;		 /* what does not match is the match */
	struct pattern *pattern; /* owned */
};

struct split {
	struct stage stage[STAGES_MAX];
	uint32_t nr;
	bool byte_level;
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

uint32_t split_byte_char(uint8_t b)
{
	/* printable Latin-1 stands for itself, the others follow from 256 */
	if ((b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad))
		return b;
	if (b <= 0x20)
		return 256u + b;
	if (b < 0xad)
		return 256u + 33 + (b - 0x7fu);
	return 256 + 33 + 34;
}

int split_char_byte(uint32_t cp)
{
	if (cp < 256)
		return split_byte_char((uint8_t)cp) == cp ? (int)cp : -1;
	cp -= 256;
	if (cp <= 0x20)
		return (int)cp;
	if (cp < 33 + 34)
		return (int)(cp - 33 + 0x7f);
	return cp == 33 + 34 ? 0xad : -1;
}

/* ---- loading */

static int add_stage(struct split *s, const char *where, struct stage st,
		     struct err *err)
{
	if (s->nr == STAGES_MAX) {
		pattern_close(st.pattern);
		return err_set(err, -EINVAL, "%s: more than %d stages", where,
			       STAGES_MAX);
	}
	s->stage[s->nr++] = st;
	return 0;
}

static int get_behavior(const char *where, const json_t *j, enum behavior *ret,
			struct err *err)
{
	static const char *const behaviors[] = {
		[ISOLATED] = "Isolated",
		[REMOVED] = "Removed",
		[CONTIGUOUS] = "Contiguous",
		[WITH_PREVIOUS] = "MergedWithPrevious",
		[WITH_NEXT] = "MergedWithNext",
	};
	const char *name = NULL;
	int i, r;

	r = json_get_str(where, j, "behavior", &name, err);
	if (r || !name)
		return r;
	for (i = 0; i <= WITH_NEXT; i++) {
		if (strcmp(name, behaviors[i]))
			continue;
		*ret = (enum behavior)i;
		return 0;
	}
	return err_set(err, -EINVAL, "%s: behavior is \"%s\", not known", where,
		       name);
}

static int open_pattern(struct split *s, const char *where, const json_t *j,
			struct err *err)
{
	const json_t *p = json_object_get(j, "pattern");
	const json_t *str = json_object_get(p, "String");
	const json_t *src = str ? str : json_object_get(p, "Regex");
	struct stage st = { .kind = PATTERN };
	int r;

	if (!json_is_string(src))
		return err_set(
			err, -EINVAL,
			"%s: Split needs pattern.String or pattern.Regex",
			where);
	r = get_behavior(where, j, &st.behavior, err);
	if (r)
		return r;
	r = json_get_bool(where, j, "invert", &st.invert, err);
	if (r)
		return r;
	r = pattern_open(&st.pattern, where, json_string_value(src),
			 json_string_length(src), str != NULL, err);
	return r ? r : add_stage(s, where, st, err);
}

static int open_digits(struct split *s, const char *where, const json_t *j,
		       struct err *err)
{
	bool each = false;
	int r = json_get_bool(where, j, "individual_digits", &each, err);

	if (r)
		return r;
	return add_stage(s, where,
			 (struct stage){ .kind = NUMBERS,
					 .behavior = each ? ISOLATED
							  : CONTIGUOUS },
			 err);
}

static int open_punctuation(struct split *s, const char *where, const json_t *j,
			    struct err *err)
{
	struct stage st = { .kind = PUNCT };
	int r = get_behavior(where, j, &st.behavior, err);

	return r ? r : add_stage(s, where, st, err);
}

static int open_byte_level(struct split *s, const char *where, const json_t *j,
			   struct err *err)
{
	struct stage st = { .kind = PATTERN };
	bool space = true, regex = true;
	int r;

	if (s->byte_level)
		return err_set(err, -ENOTSUP,
			       "%s: a second ByteLevel is not supported",
			       where);
	s->byte_level = true;
	r = json_get_bool(where, j, "add_prefix_space", &space, err);
	if (!r)
		r = json_get_bool(where, j, "use_regex", &regex, err);
	if (!r && space)
		r = add_stage(s, where, (struct stage){ .kind = SPACE_BEFORE },
			      err);
	if (!r && regex) {
		r = pattern_open(&st.pattern, where, GPT2_PATTERN,
				 strlen(GPT2_PATTERN), false, err);
		if (!r)
			r = add_stage(s, where, st, err);
	}
	if (!r)
		r = add_stage(s, where, (struct stage){ .kind = TO_CHARS },
			      err);
	return r;
}

static int open_one(struct split *s, const char *where, const json_t *j,
		    int depth, struct err *err)
{
	static const struct {
		const char *name;
		int (*open)(struct split *s, const char *where, const json_t *j,
			    struct err *err);
	} kinds[] = {
		{ "Split", open_pattern },
		{ "Digits", open_digits },
		{ "Punctuation", open_punctuation },
		{ "ByteLevel", open_byte_level },
	};
	const json_t *list = json_object_get(j, "pretokenizers");
	const char *type = NULL;
	char at[160];
	size_t i;
	int r;

	r = json_get_str(where, j, "type", &type, err);
	if (r)
		return r;
	if (!type)
		return err_set(err, -EINVAL, "%s: no \"type\"", where);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(type, kinds[i].name))
			return kinds[i].open(s, where, j, err);
	if (strcmp(type, "Sequence"))
		return err_set(err, -ENOTSUP,
			       "%s: pre-tokenizer %s is not supported yet",
			       where, type);
	if (!json_is_array(list) || depth == DEPTH_MAX)
		return err_set(
			err, -EINVAL,
			"%s: Sequence needs an array \"pretokenizers\", at most %d deep",
			where, DEPTH_MAX);
	for (i = 0; !r && i < json_array_size(list); i++) {
		snprintf(at, sizeof(at), "%s.pretokenizers[%zu]", where, i);
		r = open_one(s, at, json_array_get(list, i), depth + 1, err);
	}
	return r;
}

int split_open(struct split **ret, const char *where, const json_t *j,
	       struct err *err)
{
	struct split *s;
	int r = 0;

	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	if (j && !json_is_null(j))
		r = open_one(s, where, j, 0, err);
	if (!r && !s->byte_level)
		r = err_set(
			err, -ENOTSUP,
			"%s: no ByteLevel: only byte-level BPE is supported yet",
			where);
	/* nothing looks at the byte alphabet any more, or somebody did */
	if (!r && s->stage[s->nr - 1].kind == TO_CHARS)
		s->nr--;
	else if (!r)
		r = add_stage(s, where, (struct stage){ .kind = TO_BYTES },
			      err);
	if (r)
		split_close(s);
	else
		*ret = s;
	return r;
}

void split_close(struct split *s)
{
	uint32_t i;

	if (!s)
		return;
	for (i = 0; i < s->nr; i++)
		pattern_close(s->stage[i].pattern);
	free(s);
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
		if (st->kind == PATTERN)
			r = cut_pattern(st, w, s + p.start, p.end - p.start);
		else
			r = cut_chars(st->kind == NUMBERS ? utf8_is_number
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

static int rewrite_piece(enum kind kind, const uint8_t *s, size_t size,
			 struct bytes *out)
{
	size_t i = 0;

	switch (kind) {
	case SPACE_BEFORE:
		if (s[0] != ' ' && bytes_add(out, " ", 1))
			return -ENOMEM;
		return bytes_add(out, s, size);
	case TO_CHARS:
		if (bytes_room(out, size * 2 + 4))
			return -ENOMEM;
		for (i = 0; i < size; i++)
			out->nr += utf8_put(out->v + out->nr,
					    split_byte_char(s[i]));
		return 0;
	default:
		if (bytes_room(out, size))
			return -ENOMEM;
		while (i < size)
			out->v[out->nr++] =
				(uint8_t)split_char_byte(utf8_next(s, &i));
		return 0;
	}
}

static int rewrite(enum kind kind, struct split_work *w, const uint8_t *s,
		   struct bytes *out, int to)
{
	size_t i, from;

	out->nr = 0;
	for (i = 0; i < w->nr[!to]; i++) {
		struct span p = w->span[!to][i];

		from = out->nr;
		if (rewrite_piece(kind, s + p.start, p.end - p.start, out))
			return -ENOMEM;
		if (out->nr >= GROWN_MAX)
			return -E2BIG;
		if (add_span(w, to, from, out->nr))
			return -ENOMEM;
	}
	return 0;
}

int split_run(const struct split *sp, struct split_work *w, const uint8_t *s,
	      size_t size, struct split_result *ret)
{
	int to = 0, r;
	uint32_t i;

	w->nr[to] = 0;
	if (add_span(w, to, 0, size))
		return -ENOMEM;
	for (i = 0; i < sp->nr; i++) {
		const struct stage *st = &sp->stage[i];

		to = !to;
		w->nr[to] = 0;
		if (st->kind < SPACE_BEFORE) {
			r = cut(st, w, s, to);
		} else {
			struct bytes *out = &w->text[s == w->text[0].v];

			r = rewrite(st->kind, w, s, out, to);
			s = out->v;
		}
		if (r)
			return r;
	}
	*ret = (struct split_result){ s, w->span[to], w->nr[to] };
	return 0;
}
