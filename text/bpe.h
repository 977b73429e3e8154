/* SPDX-License-Identifier: MIT */
/*
 * bpe.h - byte-pair encoding (Sennrich, Haddow, Birch 2016) over bytes: the
 * "model" of tokenizer.json.
 *
 * A piece of text begins as one symbol a byte.  Again and again the pair of
 * neighbours with the lowest rank, of equals the leftmost, becomes one
 * symbol, until no pair has a rank.  With a heap of pairs over a linked list
 * that is n log n whatever the piece: a piece of n bytes has less than n
 * merges, each puts at most two pairs into the heap.
 *
 * A struct bpe is read-only once open and may be shared by threads.
 */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpe;
struct err;
struct ids;

#define BPE_NONE UINT32_MAX

/* The tokens of the model, as vocab.c found them in model.vocab. */
struct bpe_tokens {
	uint32_t nr;
	const uint8_t *bytes; /* token i is bytes [end[i-1], end[i]) */
	const uint32_t *end;
	/* is token i written in the byte alphabet and in model.vocab?  Else no
	 * text can become it by merging */
	const bool *mergeable;
};

/*
 * From the JSON value of "model" (type BPE) and its tokens, both borrowed for
 * the call.  0, or -EINVAL, -ENOTSUP, -ENOMEM with @err naming @where.
 */
int bpe_open(struct bpe **ret, const char *where, const json_t *model,
	     const struct bpe_tokens *tokens, struct err *err);
void bpe_close(struct bpe *b);

struct bpe_symbol {
	uint32_t id;
	uint32_t prev, next; /* index of neighbours, BPE_NONE at the ends */
	uint32_t rank;	     /* of the pair with next; BPE_NONE: not a pair */
};

/* A thread's scratch; zeroed before the first use. */
struct bpe_work {
	struct bpe_symbol *symbol; /* owned */
	uint64_t *heap; /* owned: rank << 32 | index of the left symbol */
	size_t symbol_cap, heap_cap, nr_heap;
	uint64_t moves; /* of the heap, so far: tests of linearity */
};

void bpe_work_free(struct bpe_work *w);

/*
 * Append the ids of one piece, @size bytes under 2^32.  0 or -ENOMEM.  A byte
 * that has no token becomes the unknown token, or nothing if there is none.
 */
int bpe_encode(const struct bpe *b, struct bpe_work *w, const uint8_t *s,
	       size_t size, struct ids *out);

#endif
