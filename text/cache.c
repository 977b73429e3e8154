/* SPDX-License-Identifier: MIT */
#include "text/cache.h"
#include "text/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct cache_entry) == 64, "one cache line");

int cache_init(struct cache *c)
{
	c->entry = calloc(CACHE_ENTRIES, sizeof(*c->entry));
	c->seed = hash_seed();
	return c->entry ? 0 : -ENOMEM;
}

void cache_deinit(struct cache *c)
{
	free(c->entry);
	c->entry = NULL;
}

struct cache_entry *cache_at(const struct cache *c, const uint8_t *s,
			     size_t size)
{
	return &c->entry[hash_bytes(c->seed, s, size) % CACHE_ENTRIES];
}

int cache_holds(const struct cache_entry *e, const uint8_t *s, size_t size)
{
	return e->size == size && !memcmp(e->piece, s, size);
}

void cache_put(struct cache_entry *e, const uint8_t *s, size_t size,
	       const uint32_t *id, size_t nr)
{
	if (nr > CACHE_IDS_MAX)
		return;
	e->size = (uint8_t)size;
	e->nr = (uint8_t)nr;
	memcpy(e->piece, s, size);
	memcpy(e->id, id, nr * sizeof(*id));
}
