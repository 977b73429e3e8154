/* SPDX-License-Identifier: MIT */
/*
 * forms.h - Unicode normal forms (UAX #15): NFC, NFD, NFKC, NFKD.
 *
 * By utf8proc's tables, with an own canonical ordering: the library's is an
 * insertion sort, quadratic on a long run of combining marks.
 */
#ifndef TEXT_FORMS_H
#define TEXT_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes;

struct form {
	bool compose; /* NFC, NFKC */
	bool compat;  /* NFKC, NFKD */
};

/* A thread's scratch; zeroed before the first use. */
struct forms_work {
	int32_t *cp;	 /* owned: [cap] code points */
	int32_t *sorted; /* owned: [sorted_cap] one run of marks */
	size_t cap, sorted_cap;
};

void forms_work_free(struct forms_work *w);

/* True where @s, valid UTF-8, surely is in that form: a quick look. */
bool forms_settled(struct form f, const uint8_t *s, size_t size);

/* Append @s, valid UTF-8, in that form to @out: 0, -ENOMEM, -E2BIG. */
int forms_apply(struct form f, struct forms_work *w, const uint8_t *s,
		size_t size, struct bytes *out);

#endif
