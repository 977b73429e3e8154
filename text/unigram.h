/* SPDX-License-Identifier: MIT */
/*
 * unigram.h - the unigram model (Kudo 2018): of all ways to cut a piece into
 * tokens the one with the largest sum of scores.
 *
 * Viterbi over a trie of the tokens: for each character in turn, each token
 * that begins there may end the best cut up to its end.  Steps are at most
 * size times the longest token, whatever the text.  Sums, ties and unknown
 * characters are those of HF's Unigram::encode and of sentencepiece's
 * EncodeOptimized: a later cut must be better, not as good.
 *
 * A struct unigram is read-only once open and may be shared by threads.
 */
#ifndef TEXT_UNIGRAM_H
#define TEXT_UNIGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "text/cache.h" /* a member of the workspace */

struct ids;
struct recipe;
struct unigram;

#define UNIGRAM_TOKEN_MAX 4096 /* bytes of a token */

/* From an indexed recipe of kind RECIPE_UNIGRAM.  0, -EINVAL, -ENOMEM with
 * the recipe's err. */
int unigram_open(struct unigram **ret, struct recipe *r);
void unigram_close(struct unigram *u);

struct unigram_best; /* the best cut that ends at a byte */

/* A thread's scratch. */
struct unigram_work {
	struct unigram_best *best; /* owned */
	size_t cap;
	uint32_t *id; /* owned: the answer, from the back */
	size_t id_cap;
	struct cache cache;
	uint64_t steps; /* in the trie, so far: tests of linearity */
};

/* 0 or -ENOMEM. */
int unigram_work_init(struct unigram_work *w);
void unigram_work_deinit(struct unigram_work *w);

/*
 * Append the ids of one piece, valid UTF-8 of @size bytes under 2^31.  0 or
 * -ENOMEM.
 */
int unigram_encode(const struct unigram *u, struct unigram_work *w,
		   const uint8_t *s, size_t size, struct ids *out);

#endif
