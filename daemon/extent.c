/* SPDX-License-Identifier: MIT */
#include "daemon/extent.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t align_up(uint64_t n)
{
	return (n + EXTENT_ALIGN - 1) & ~(uint64_t)(EXTENT_ALIGN - 1);
}

int extent_init(struct extents *x, uint32_t nr_slots, uint64_t begin,
		uint64_t size)
{
	*x = (struct extents){
		.begin = begin,
		.size = size & ~(uint64_t)(EXTENT_ALIGN - 1),
		.nr_slots = nr_slots,
	};
	x->slot = calloc(nr_slots, sizeof(*x->slot));
	x->gap = calloc((size_t)nr_slots + 1, sizeof(*x->gap));
	if (!x->slot || !x->gap) {
		extent_deinit(x);
		return -ENOMEM;
	}
	if (x->size)
		x->gap[x->nr_gaps++] = (struct extent){ begin, x->size };
	return 0;
}

void extent_deinit(struct extents *x)
{
	free(x->slot);
	free(x->gap);
	*x = (struct extents){ 0 };
}

static void gap_remove(struct extents *x, uint32_t i)
{
	x->nr_gaps--;
	memmove(x->gap + i, x->gap + i + 1, (x->nr_gaps - i) * sizeof(*x->gap));
}

int extent_take(struct extents *x, uint32_t slot, uint64_t size,
		uint64_t *ret_off)
{
	uint32_t i;

	assert(slot < x->nr_slots && !x->slot[slot].size && size);
	if (size > x->size)
		return -ENOSPC;
	size = align_up(size);
	for (i = x->nr_gaps; i-- > 0;) {
		struct extent *g = &x->gap[i];

		if (g->size < size)
			continue;
		x->slot[slot] = (struct extent){ g->off, size };
		*ret_off = g->off;
		g->off += size;
		g->size -= size;
		if (!g->size)
			gap_remove(x, i);
		return 0;
	}
	return -ENOSPC;
}

void extent_put(struct extents *x, uint32_t slot)
{
	struct extent e = x->slot[slot];
	uint32_t i;

	if (!e.size)
		return;
	x->slot[slot] = (struct extent){ 0 };
	/* join with the gap before and the gap behind, wherever they stand */
	for (i = x->nr_gaps; i-- > 0;) {
		struct extent *g = &x->gap[i];

		if (g->off + g->size == e.off)
			e.off = g->off;
		else if (e.off + e.size != g->off)
			continue;
		e.size += g->size;
		gap_remove(x, i);
	}
	assert(x->nr_gaps <= x->nr_slots);
	x->gap[x->nr_gaps++] = e;
}

int extent_claim(struct extents *x, uint32_t slot, uint64_t off, uint64_t size)
{
	uint64_t end;
	uint32_t i;

	if (!size || off % EXTENT_ALIGN || size > x->size ||
	    slot >= x->nr_slots || x->slot[slot].size)
		return -EINVAL;
	size = align_up(size);
	for (i = 0; i < x->nr_gaps; i++) {
		struct extent g = x->gap[i];

		if (off < g.off || off - g.off > g.size ||
		    size > g.size - (off - g.off))
			continue;
		/* up to two gaps are left of one */
		end = g.off + g.size;
		gap_remove(x, i);
		if (off > g.off)
			x->gap[x->nr_gaps++] =
				(struct extent){ g.off, off - g.off };
		if (off + size < end)
			x->gap[x->nr_gaps++] =
				(struct extent){ off + size, end - off - size };
		x->slot[slot] = (struct extent){ off, size };
		return 0;
	}
	return -EINVAL;
}

uint64_t extent_longest(const struct extents *x)
{
	uint64_t longest = 0;
	uint32_t i;

	for (i = 0; i < x->nr_gaps; i++)
		if (x->gap[i].size > longest)
			longest = x->gap[i].size;
	return longest;
}
