/* SPDX-License-Identifier: MIT */
/*
 * merge.h - the heart of byte-pair encoding (Sennrich, Haddow, Birch 2016):
 * again and again the two neighbours whose pair has the lowest rank, of
 * equals the leftmost, become one symbol, until no pair has a rank.
 *
 * With a heap of pairs over a linked list that is n log n whatever the piece:
 * n symbols merge less than n times, and each merge puts at most two pairs
 * into the heap.  Short pieces, nearly all there are, are scanned instead.
 *
 * A struct merges is read-only once open and may be shared by threads.
 */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stddef.h>
#include <stdint.h>

#define MERGE_NONE UINT32_MAX

/* Neighbours @left and @right become @made; a lower rank comes first. */
struct bpe_merge {
	uint32_t left, right, made, rank;
};

struct merges {
	struct bpe_merge *pair; /* owned: open addressing; left MERGE_NONE:
				   an empty place */
	size_t mask;
	uint64_t seed;
};

/* Of one pair given twice the last counts.  0 or -ENOMEM. */
int merges_init(struct merges *m, const struct bpe_merge *list, size_t nr);
void merges_deinit(struct merges *m);

struct merge_symbol {
	uint32_t id;
	uint32_t prev, next; /* index of neighbours, MERGE_NONE at the ends */
	uint32_t rank;	     /* of the pair with next; MERGE_NONE: none */
	uint32_t made;	     /* what that pair becomes */
};

/* A thread's scratch; zeroed before the first use. */
struct merge_work {
	struct merge_symbol *symbol; /* owned */
	uint64_t *heap; /* owned: rank << 32 | index of the left symbol */
	size_t symbol_cap, heap_cap, nr_heap;
	uint64_t moves; /* of the heap, so far: tests of linearity */
};

void merge_work_free(struct merge_work *w);

/*
 * Merge the @nr ids in @id where they are; the number that is left, or
 * -ENOMEM with @id as it was.
 */
long merge_run(const struct merges *m, struct merge_work *w, uint32_t *id,
	       size_t nr);

#endif
