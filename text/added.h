/* SPDX-License-Identifier: MIT */
/*
 * added.h - added tokens: whole strings that are cut out of the text before
 * (or after) it is normalized and split, special or not.
 *
 * Leftmost-longest, with the flags of Hugging Face tokenizers in the order in
 * which AddedVocabulary::find_matches applies them.  Linear: an automaton of
 * the reversed strings runs over the text from its end; where it stands after
 * byte i, the longest string in it is the longest token that begins at i.
 *
 * A struct added is read-only once open and may be shared by threads.
 */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added;

#define ADDED_TEXT     UINT32_MAX /* a piece of plain text, no token */
#define ADDED_SIZE_MAX 4096	  /* bytes of one token's text */

enum {
	ADDED_SPECIAL = 1 << 0,
	ADDED_LSTRIP = 1 << 1,	    /* takes the white space before it */
	ADDED_RSTRIP = 1 << 2,	    /* takes the white space after it */
	ADDED_SINGLE_WORD = 1 << 3, /* not beside a word character */
	ADDED_NORMALIZED = 1 << 4,  /* looked for in normalized text */
};

struct added_token {
	const uint8_t *s; /* valid UTF-8, 1 to ADDED_SIZE_MAX bytes */
	size_t size;
	uint32_t id;
	uint32_t flags; /* ADDED_* */
};

/*
 * The set of @nr tokens; of two with the same text the first counts.  Strings
 * need not outlive the call.  0 or -ENOMEM.
 */
int added_open(struct added **ret, const struct added_token *t, size_t nr);
void added_close(struct added *a);

struct piece {
	uint32_t id;	     /* or ADDED_TEXT */
	uint32_t start, end; /* bytes */
};

/* A thread's result and scratch; zeroed before the first use. */
struct added_work {
	struct piece *piece; /* owned: [cap]; nr are the answer */
	size_t nr, cap;
	struct piece *hit; /* owned: what was found, from the back */
	size_t hit_cap;
	uint64_t work; /* bytes looked at, so far: tests of linearity */
};

void added_work_free(struct added_work *w);

/*
 * Cut @s, valid UTF-8 under 2^31 bytes, into w->piece[0 .. nr).  Special
 * tokens count if @special, but not one that overlaps [plain, plain_end).
 * Text may come twice where a token's stripping went over another token; so
 * it does in HF.  @a may be NULL.  0 or -ENOMEM.
 */
int added_split(const struct added *a, struct added_work *w, const uint8_t *s,
		size_t size, bool special, size_t plain, size_t plain_end);

#endif
