/* SPDX-License-Identifier: MIT */
/*
 * idmap.h - from a session's 64-bit id to the small index it has here.
 *
 * Open addressing with linear probing; ids are never 0, which marks a free
 * place.  Grows, so it allocates: when a session opens, never in a step.
 */
#ifndef DAEMON_IDMAP_H
#define DAEMON_IDMAP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct idmap_place {
	uint64_t id; /* 0: free */
	uint32_t index;
};

struct idmap {
	struct idmap_place *at; /* owned: [size]; NULL: empty */
	uint32_t nr, size;	/* size: a power of two, or 0 */
};

static inline uint32_t idmap_home(const struct idmap *m, uint64_t id)
{
	return (uint32_t)(id * 0x9e3779b97f4a7c15ull >> 32) & (m->size - 1);
}

/* Where @id stands, or the free place where it would.  @m->size is not 0. */
static inline struct idmap_place *idmap_probe(const struct idmap *m,
					      uint64_t id)
{
	uint32_t i = idmap_home(m, id);

	while (m->at[i].id && m->at[i].id != id)
		i = (i + 1) & (m->size - 1);
	return &m->at[i];
}

static inline bool idmap_find(const struct idmap *m, uint64_t id, uint32_t *ret)
{
	const struct idmap_place *p;

	if (!m->nr || !id)
		return false;
	p = idmap_probe(m, id);
	*ret = p->index;
	return p->id != 0;
}

/* Room for one more: half of the places stay free.  0 or -ENOMEM. */
static inline int idmap_reserve(struct idmap *m)
{
	struct idmap more = { .nr = m->nr, .size = m->size ? 2 * m->size : 64 };
	uint32_t i;

	if (2 * (m->nr + 1) <= m->size)
		return 0;
	more.at = calloc(more.size, sizeof(*more.at));
	if (!more.at)
		return -ENOMEM;
	for (i = 0; i < m->size; i++)
		if (m->at[i].id)
			*idmap_probe(&more, m->at[i].id) = m->at[i];
	free(m->at);
	*m = more;
	return 0;
}

/* After idmap_reserve(); @id is not 0 and not there. */
static inline void idmap_add(struct idmap *m, uint64_t id, uint32_t index)
{
	*idmap_probe(m, id) = (struct idmap_place){ id, index };
	m->nr++;
}

/* @id is there.  Those behind it move up, so no probe stops too early. */
static inline void idmap_remove(struct idmap *m, uint64_t id)
{
	uint32_t mask = m->size - 1;
	uint32_t hole = (uint32_t)(idmap_probe(m, id) - m->at), i = hole;

	for (i = (i + 1) & mask; m->at[i].id; i = (i + 1) & mask) {
		uint32_t home = idmap_home(m, m->at[i].id);

		/* it may not stand before its home */
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		m->at[hole] = m->at[i];
		hole = i;
	}
	m->at[hole].id = 0;
	m->nr--;
}

static inline void idmap_deinit(struct idmap *m)
{
	free(m->at);
	*m = (struct idmap){ 0 };
}

#endif
