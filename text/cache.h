/* SPDX-License-Identifier: MIT */
/*
 * cache.h - the ids of pieces of text seen before: words come again.
 *
 * Direct-mapped, one cache line an entry, never more than CACHE_ENTRIES: a new
 * piece takes the place of what stood there.  It holds what a piece's bytes
 * alone decide, so hits and misses give the same ids.  One thread at a time.
 */
#ifndef TEXT_CACHE_H
#define TEXT_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_ENTRIES	8192
#define CACHE_PIECE_MAX 30 /* bytes */
#define CACHE_IDS_MAX	8

struct cache_entry {
	uint8_t size; /* of the piece; 0: an empty entry */
	uint8_t nr;   /* ids */
	uint8_t piece[CACHE_PIECE_MAX];
	uint32_t id[CACHE_IDS_MAX];
};

struct cache {
	struct cache_entry *entry; /* owned: [CACHE_ENTRIES] */
	uint64_t seed;
};

/* 0 or -ENOMEM. */
int cache_init(struct cache *c);
void cache_deinit(struct cache *c);

/* The entry of a piece of 1 to CACHE_PIECE_MAX bytes: its own, or another's. */
struct cache_entry *cache_at(const struct cache *c, const uint8_t *s,
			     size_t size);
/* Is it the piece's own? */
int cache_holds(const struct cache_entry *e, const uint8_t *s, size_t size);
/* Make it so; nothing happens where there are more than CACHE_IDS_MAX ids. */
void cache_put(struct cache_entry *e, const uint8_t *s, size_t size,
	       const uint32_t *id, size_t nr);

#endif
