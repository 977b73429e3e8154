/* SPDX-License-Identifier: MIT */
/*
 * extent.h - who has which part of a session's ENGINE arena.
 *
 * Each stream slot owns at most one extent: what its record points to lies in
 * it.  Taken at admission, given back when the slot is submitted to again.
 * The map is private memory of the engine; recovery rebuilds it from the
 * records with extent_claim().
 *
 * Pages of the arena, once touched, cannot be given back (a hole may not be
 * punched under the seals), so the extent freed last is used first.
 *
 * Everything is bounded by the number of slots: n extents leave at most n + 1
 * gaps.  O(gaps) an operation; no allocation after extent_init().  One thread.
 */
#ifndef DAEMON_EXTENT_H
#define DAEMON_EXTENT_H

#include <stdint.h>

#define EXTENT_ALIGN 64u /* bytes: a line of its own for each stream */

struct extent {
	uint64_t off, size; /* bytes; size 0 = none */
};

struct extents {
	uint64_t begin, size; /* the arena: offsets are [begin, begin + size) */
	uint32_t nr_slots;
	uint32_t nr_gaps;
	struct extent *slot; /* owned: [nr_slots] */
	struct extent *gap;  /* owned: [nr_slots + 1], given back last first */
};

/*
 * An arena of @size bytes at @begin (both multiples of EXTENT_ALIGN; what is
 * over is not used), all free.  0 or -ENOMEM.
 */
int extent_init(struct extents *x, uint32_t nr_slots, uint64_t begin,
		uint64_t size);
void extent_deinit(struct extents *x);

/*
 * Give @slot, which has none, @size bytes: *ret_off, a multiple of
 * EXTENT_ALIGN.  -ENOSPC where no gap is that long, *ret_off untouched.
 */
int extent_take(struct extents *x, uint32_t slot, uint64_t size,
		uint64_t *ret_off);
/* Give back what @slot has; nothing where it has none. */
void extent_put(struct extents *x, uint32_t slot);
/*
 * Recovery: @slot has exactly this extent.  -EINVAL where it lies outside the
 * arena, is not aligned, or another slot has a part of it.
 */
int extent_claim(struct extents *x, uint32_t slot, uint64_t off, uint64_t size);

/* The longest extent that could be taken now, bytes. */
uint64_t extent_longest(const struct extents *x);

#endif
