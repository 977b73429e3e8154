/* SPDX-License-Identifier: MIT */
/*
 * bpe.h - byte-pair encoding of one piece of text: spelled in symbols, merged
 * by merge.h.
 *
 * A piece is spelled a byte a symbol (byte-level models), or a character a
 * symbol, where one without a token becomes its bytes (byte fallback) or the
 * unknown token.
 *
 * SentencePiece models take a whole text for one piece.  It is cut before it
 * is merged, wherever no merge joins the two characters that meet there: no
 * token ever reaches over such a place, so the ids are those of the whole, at
 * the cost of words.
 *
 * A struct bpe is read-only once open and may be shared by threads.
 */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/cache.h" /* both are members of the workspace */
#include "text/merge.h"

struct bpe;
struct ids;
struct recipe;

#define BPE_NONE MERGE_NONE

/*
 * From an indexed recipe (recipe.h) of kind RECIPE_BPE, borrowed for the call.
 * @bytes and @end say how byte-level tokens are spelled: token i is
 * [end[i-1], end[i]).  0 or -ENOMEM.
 */
int bpe_open(struct bpe **ret, const struct recipe *r, const uint8_t *bytes,
	     const uint32_t *end);
void bpe_close(struct bpe *b);

/* A thread's scratch. */
struct bpe_work {
	uint32_t *id; /* owned: the symbols of one piece */
	size_t cap;
	struct merge_work merge;
	struct cache cache;
	uint64_t symbols; /* merged so far: tests of linearity */
};

/* 0 or -ENOMEM. */
int bpe_work_init(struct bpe_work *w);
void bpe_work_deinit(struct bpe_work *w);

/*
 * Append the ids of one piece, valid UTF-8 of @size bytes under 2^31.  0 or
 * -ENOMEM.  What has no token becomes the unknown token, or nothing if there
 * is none.
 */
int bpe_encode(const struct bpe *b, struct bpe_work *w, const uint8_t *s,
	       size_t size, struct ids *out);

#endif
