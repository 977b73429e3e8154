/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"
#include "text/oniguruma.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/*
 * Every step of matching is counted by PCRE2 against the limit.  An honest
 * pattern walks over a run of characters a few times (\s*[\r\n]+ goes to the
 * end of a run of spaces and all the way back): a number of steps a byte.
 */
#define STEPS_BASE   1000000
#define STEPS_A_BYTE 64
#define HEAP_KIB     (64 * 1024)

struct pattern {
	pcre2_code *code;
	/* a plain string, looked for without PCRE2; NULL: a pattern */
	uint8_t *literal; /* owned */
	size_t size;
};

struct pattern_work {
	pcre2_match_data *match;
	pcre2_match_context *context;
};

static pcre2_code *compile(const char *where, const uint8_t *s, size_t size,
			   uint32_t options, struct err *err)
{
	pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
	PCRE2_UCHAR text[120];
	PCRE2_SIZE at;
	pcre2_code *code;
	int why;

	if (!cc) {
		err_set(err, -ENOMEM, "%s: out of memory", where);
		return NULL;
	}
	pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
	code = pcre2_compile(s, size, options | PCRE2_UTF, &why, &at, cc);
	pcre2_compile_context_free(cc);
	if (!code) {
		pcre2_get_error_message(why, text, sizeof(text));
		err_set(err, -EINVAL, "%s: not a pattern: %s", where,
			(const char *)text);
	}
	return code;
}

static int open_literal(struct pattern *p, const char *where, const char *src,
			size_t size, struct err *err)
{
	p->literal = malloc(size);
	p->size = size;
	if (!p->literal)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	memcpy(p->literal, src, size);
	return 0;
}

static int open_regex(struct pattern *p, const char *where, const char *src,
		      size_t size, struct err *err)
{
	struct bytes out = { 0 };
	int r = oniguruma_translate(&out, where, src, size, err);

	if (!r) {
		p->code = compile(where, out.v ? out.v : (uint8_t *)"", out.nr,
				  PCRE2_MULTILINE | PCRE2_UCP, err);
		r = p->code ? 0 : -EINVAL;
	}
	bytes_free(&out);
	return r;
}

int pattern_open(struct pattern **ret, const char *where, const char *src,
		 size_t size, bool literal, struct err *err)
{
	struct pattern *p;
	int r;

	if (size > PATTERN_SOURCE_MAX)
		return err_set(err, -EINVAL,
			       "%s: a pattern of %zu bytes, allowed %d", where,
			       size, PATTERN_SOURCE_MAX);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	/* an empty string matches everywhere, as an empty pattern does */
	r = literal && size ? open_literal(p, where, src, size, err)
			    : open_regex(p, where, src, size, err);
	if (r)
		pattern_close(p);
	else
		*ret = p;
	return r;
}

void pattern_close(struct pattern *p)
{
	if (!p)
		return;
	pcre2_code_free(p->code);
	free(p->literal);
	free(p);
}

int pattern_work_open(struct pattern_work **ret)
{
	struct pattern_work *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->match = pcre2_match_data_create(1, NULL);
	w->context = pcre2_match_context_create(NULL);
	if (!w->match || !w->context) {
		pattern_work_close(w);
		return -ENOMEM;
	}
	pcre2_set_heap_limit(w->context, HEAP_KIB);
	*ret = w;
	return 0;
}

void pattern_work_close(struct pattern_work *w)
{
	if (!w)
		return;
	pcre2_match_data_free(w->match);
	pcre2_match_context_free(w->context);
	free(w);
}

/*
 * The check of UTF-8 is left out: it would read the whole text at every
 * match, and the text is clean.
 */
static int match(const struct pattern *p, struct pattern_work *w,
		 const uint8_t *s, size_t size, size_t from)
{
	uint64_t steps = STEPS_BASE + (uint64_t)STEPS_A_BYTE * size;
	int rc;

	pcre2_set_match_limit(w->context, steps > UINT32_MAX ? UINT32_MAX
							     : (uint32_t)steps);
	rc = pcre2_match(p->code, s, size, from, PCRE2_NO_UTF_CHECK, w->match,
			 w->context);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return -ENOMEM;
	return rc < 0 ? -E2BIG : 1;
}

static int next_literal(const struct pattern *p, const uint8_t *s, size_t size,
			struct pattern_at *at, size_t *start, size_t *end)
{
	const uint8_t *found = at->pos < size
				       ? memmem(s + at->pos, size - at->pos,
						p->literal, p->size)
				       : NULL;

	if (!found)
		return 0;
	*start = (size_t)(found - s);
	at->pos = *end = *start + p->size;
	return 1;
}

int pattern_next(const struct pattern *p, struct pattern_work *w,
		 const uint8_t *s, size_t size, struct pattern_at *at,
		 size_t *start, size_t *end)
{
	const PCRE2_SIZE *o = pcre2_get_ovector_pointer(w->match);
	int r;

	if (p->literal)
		return next_literal(p, s, size, at, start, end);
	while (at->pos <= size) {
		r = match(p, w, s, size, at->pos);
		if (r <= 0)
			return r;
		if (o[0] < at->pos || o[1] < o[0] || o[1] > size)
			return -EINVAL;
		if (o[0] == o[1] && at->has_last && at->last == o[1]) {
			if (at->pos == size)
				return 0;
			utf8_next(s, &at->pos);
			continue;
		}
		at->pos = at->last = o[1];
		at->has_last = true;
		*start = o[0];
		*end = o[1];
		return 1;
	}
	return 0;
}
