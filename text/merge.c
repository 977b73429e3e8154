/* SPDX-License-Identifier: MIT */
#include "text/merge.h"
#include "text/hash.h"
#include "text/vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHORT 32 /* symbols: scanned rather than heaped */

/* ---- the table of pairs */

/* The place of a pair: its entry, or an empty one. */
static struct bpe_merge *place_of(const struct merges *m, uint32_t left,
				  uint32_t right)
{
	size_t i = hash_mix(m->seed ^ ((uint64_t)left << 32 | right));
	struct bpe_merge *p;

	for (;; i++) {
		p = &m->pair[i & m->mask];
		if (p->left == MERGE_NONE ||
		    (p->left == left && p->right == right))
			return p;
	}
}

int merges_init(struct merges *m, const struct bpe_merge *list, size_t nr)
{
	size_t n = hash_places(nr), i;

	m->pair = malloc(n * sizeof(*m->pair));
	if (!m->pair)
		return -ENOMEM;
	m->mask = n - 1;
	m->seed = hash_seed();
	for (i = 0; i < n; i++)
		m->pair[i] = (struct bpe_merge){ MERGE_NONE, 0, 0, MERGE_NONE };
	for (i = 0; i < nr; i++)
		*place_of(m, list[i].left, list[i].right) = list[i];
	return 0;
}

void merges_deinit(struct merges *m)
{
	free(m->pair);
	*m = (struct merges){ 0 };
}

void merge_work_free(struct merge_work *w)
{
	free(w->symbol);
	free(w->heap);
	*w = (struct merge_work){ 0 };
}

/* ---- a short piece: the least rank is looked for anew each time */

static size_t merge_short(const struct merges *m, uint32_t *id, size_t nr)
{
	const struct bpe_merge *pair[SHORT];
	size_t i, best;

	for (i = 0; i + 1 < nr; i++)
		pair[i] = place_of(m, id[i], id[i + 1]);
	for (; nr > 1; nr--) {
		for (best = 0, i = 1; i + 1 < nr; i++)
			if (pair[i]->rank < pair[best]->rank)
				best = i;
		if (pair[best]->rank == MERGE_NONE)
			break;
		id[best] = pair[best]->made;
		for (i = best + 1; i + 1 < nr; i++)
			id[i] = id[i + 1];
		for (i = best + 1; i + 2 < nr; i++)
			pair[i] = pair[i + 1];
		if (best)
			pair[best - 1] = place_of(m, id[best - 1], id[best]);
		if (best + 2 < nr)
			pair[best] = place_of(m, id[best], id[best + 1]);
	}
	return nr;
}

/* ---- the heap: least key first, so lowest rank, then leftmost */

static void heap_push(struct merge_work *w, uint64_t key)
{
	size_t i = w->nr_heap++, up;

	for (; i; i = up) {
		up = (i - 1) / 2;
		w->moves++;
		if (w->heap[up] <= key)
			break;
		w->heap[i] = w->heap[up];
	}
	w->heap[i] = key;
}

static uint64_t heap_pop(struct merge_work *w)
{
	uint64_t top = w->heap[0], key = w->heap[--w->nr_heap];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < w->nr_heap) {
		w->moves++;
		if (down + 1 < w->nr_heap && w->heap[down + 1] < w->heap[down])
			down++;
		if (w->heap[down] >= key)
			break;
		w->heap[i] = w->heap[down];
		i = down;
	}
	w->heap[i] = key;
	return top;
}

/* Give symbol @i the rank of its pair and put that into the heap. */
static void rank_pair(const struct merges *m, struct merge_work *w, uint32_t i)
{
	struct merge_symbol *y = w->symbol;
	const struct bpe_merge *p;

	y[i].rank = MERGE_NONE;
	if (y[i].next == MERGE_NONE)
		return;
	p = place_of(m, y[i].id, y[y[i].next].id);
	y[i].rank = p->rank;
	y[i].made = p->made;
	if (p->rank != MERGE_NONE)
		heap_push(w, (uint64_t)p->rank << 32 | i);
}

static void merge_heap(const struct merges *m, struct merge_work *w)
{
	struct merge_symbol *y = w->symbol;
	uint32_t i, right;
	uint64_t key;

	while (w->nr_heap) {
		key = heap_pop(w);
		i = (uint32_t)key;
		/* a neighbour was merged since: that pair is no more.  A
		 * symbol that was taken in has no rank */
		if (y[i].rank != key >> 32)
			continue;
		right = y[i].next;
		y[i].id = y[i].made;
		y[i].next = y[right].next;
		y[right].rank = MERGE_NONE;
		if (y[i].next != MERGE_NONE)
			y[y[i].next].prev = i;
		rank_pair(m, w, i);
		if (y[i].prev != MERGE_NONE)
			rank_pair(m, w, y[i].prev);
	}
}

static long merge_long(const struct merges *m, struct merge_work *w,
		       uint32_t *id, size_t nr)
{
	size_t i, n = 0;

	/* nr - 1 pairs at first, and two for each of up to nr - 1 merges */
	if (vec_grow((void **)&w->symbol, &w->symbol_cap, nr,
		     sizeof(*w->symbol)) ||
	    vec_grow((void **)&w->heap, &w->heap_cap, 3 * nr, sizeof(*w->heap)))
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		w->symbol[i] = (struct merge_symbol){
			.id = id[i],
			.prev = (uint32_t)i - 1,
			.next = i + 1 < nr ? (uint32_t)i + 1 : MERGE_NONE,
		};
	w->nr_heap = 0;
	for (i = 0; i < nr; i++)
		rank_pair(m, w, (uint32_t)i);
	merge_heap(m, w);
	for (i = 0; i != MERGE_NONE; i = w->symbol[i].next)
		id[n++] = w->symbol[i].id;
	return (long)n;
}

long merge_run(const struct merges *m, struct merge_work *w, uint32_t *id,
	       size_t nr)
{
	return nr <= SHORT ? (long)merge_short(m, id, nr)
			   : merge_long(m, w, id, nr);
}
