/* SPDX-License-Identifier: MIT */
#include "text/forms.h"
#include "text/utf8.h"
#include "text/vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define NR_MAX	      (UINT32_C(1) << 29) /* code points of a text */
#define INSERTION_MAX 16		  /* marks sorted in place */

void forms_work_free(struct forms_work *w)
{
	free(w->cp);
	free(w->sorted);
	*w = (struct forms_work){ 0 };
}

bool forms_settled(struct form f, const uint8_t *s, size_t size)
{
	/* below these all is inert (DerivedNormalizationProps, ccc) */
	uint32_t limit = f.compat ? 0xa0 : f.compose ? 0x300 : 0xc0;
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
static int sort_run(struct forms_work *w, int32_t *run, size_t nr)
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
static int order(struct forms_work *w, size_t nr)
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

int forms_apply(struct form f, struct forms_work *w, const uint8_t *s,
		size_t size, struct bytes *out)
{
	utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE |
				    (f.compat ? UTF8PROC_COMPAT : 0);
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
	if (f.compose) {
		n = utf8proc_normalize_utf32(w->cp, (utf8proc_ssize_t)nr,
					     UTF8PROC_COMPOSE |
						     UTF8PROC_STABLE);
		if (n < 0)
			return -E2BIG;
		nr = (size_t)n;
	}
	if (nr > NR_MAX)
		return -E2BIG;
	if (bytes_room(out, nr * 4))
		return -ENOMEM;
	for (k = 0; k < nr; k++)
		out->nr += utf8_put(out->v + out->nr, (uint32_t)w->cp[k]);
	return 0;
}
