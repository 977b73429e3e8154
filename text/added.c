/* SPDX-License-Identifier: MIT */
#include "text/added.h"
#include "text/ac.h"
#include "text/utf8.h"
#include "text/vec.h"

#include <errno.h>
#include <stdlib.h>

struct token {
	uint32_t id, size, flags;
};

struct added {
	struct ac ac; /* of the reversed strings; value = index of token */
	struct ac_node *node; /* owned */
	struct token *token;  /* owned: [nr] */
};

int added_open(struct added **ret, const struct added_token *t, size_t nr)
{
	struct added *a = calloc(1, sizeof(*a));
	size_t total = 1, i;

	if (!a)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		total += t[i].size;
	a->token = calloc(nr ? nr : 1, sizeof(*a->token));
	a->node = total < AC_NONE ? calloc(total, sizeof(*a->node)) : NULL;
	if (!a->token || !a->node) {
		added_close(a);
		return -ENOMEM;
	}
	ac_init(&a->ac, a->node, (uint32_t)total);
	for (i = 0; i < nr; i++) {
		a->token[i] = (struct token){ t[i].id, (uint32_t)t[i].size,
					      t[i].flags };
		ac_add(&a->ac, t[i].s, t[i].size, true, (uint32_t)i);
	}
	ac_link(&a->ac);
	*ret = a;
	return 0;
}

void added_close(struct added *a)
{
	if (!a)
		return;
	free(a->node);
	free(a->token);
	free(a);
}

void added_work_free(struct added_work *w)
{
	free(w->piece);
	free(w->hit);
	*w = (struct added_work){ 0 };
}

static int push(struct added_work *w, uint32_t id, size_t start, size_t end)
{
	if (w->nr == w->cap &&
	    vec_grow((void **)&w->piece, &w->cap, w->nr + 1, sizeof(*w->piece)))
		return -ENOMEM;
	w->piece[w->nr++] =
		(struct piece){ id, (uint32_t)start, (uint32_t)end };
	return 0;
}

/* The longest token at every place where one begins, last place first. */
static int find(const struct added *a, struct added_work *w, const uint8_t *s,
		size_t size, size_t *ret_nr)
{
	uint32_t state = 0, out;
	size_t i, nr = 0;

	for (i = size; i-- > 0;) {
		state = ac_step(&a->ac, state, s[i]);
		out = a->ac.node[state].out;
		if (out == AC_NONE)
			continue;
		if (vec_grow((void **)&w->hit, &w->hit_cap, nr + 1,
			     sizeof(*w->hit)))
			return -ENOMEM;
		w->hit[nr++] =
			(struct piece){ out, (uint32_t)i,
					(uint32_t)i + a->token[out].size };
	}
	*ret_nr = nr;
	return 0;
}

static bool word_beside(const uint8_t *s, size_t size, size_t start, size_t end)
{
	size_t at;

	if (start && utf8_is_word(utf8_prev(s, start, &at)))
		return true;
	return end < size && utf8_is_word(utf8_next(s, &end));
}

/* Where the white space that ends at @start begins, not before @floor. */
static size_t strip_left(const uint8_t *s, size_t start, size_t floor)
{
	size_t at;

	while (start > floor && utf8_is_space(utf8_prev(s, start, &at)))
		start = at;
	return start > floor ? start : floor;
}

static size_t strip_right(const uint8_t *s, size_t size, size_t end)
{
	size_t next = end;

	while (end < size && utf8_is_space(utf8_next(s, &next)))
		end = next;
	return end;
}

int added_split(const struct added *a, struct added_work *w, const uint8_t *s,
		size_t size, bool special, size_t plain, size_t plain_end)
{
	size_t nr = 0, from = 0, searched = 0, start, end;
	size_t space_from = 1, space_end = 0; /* the last run walked over */
	const struct token *t;

	w->nr = 0;
	w->work += size;
	if (a && find(a, w, s, size, &nr))
		return -ENOMEM;
	while (nr-- > 0) {
		start = w->hit[nr].start;
		end = w->hit[nr].end;
		if (start < searched)
			continue; /* overlaps what was found to its left */
		searched = end;
		t = &a->token[w->hit[nr].id];
		if (t->flags & ADDED_SPECIAL &&
		    (!special || (start < plain_end && end > plain)))
			continue;
		if (t->flags & ADDED_SINGLE_WORD &&
		    word_beside(s, size, start, end))
			continue;
		if (t->flags & ADDED_LSTRIP && start > from) {
			start = strip_left(s, start, from);
			w->work += w->hit[nr].start - start;
		}
		if (t->flags & ADDED_RSTRIP) {
			/* tokens made of spaces would walk one run again and
			 * again: inside it the answer is known */
			if (end < space_from || end > space_end) {
				space_from = end;
				space_end = strip_right(s, size, end);
				w->work += space_end - end;
			}
			end = space_end;
		}
		if (from < start && push(w, ADDED_TEXT, from, start))
			return -ENOMEM;
		if (push(w, t->id, start, end))
			return -ENOMEM;
		from = end;
	}
	if (from != size && push(w, ADDED_TEXT, from, size))
		return -ENOMEM;
	return 0;
}
