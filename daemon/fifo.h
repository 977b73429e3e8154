/* SPDX-License-Identifier: MIT */
/*
 * fifo.h - a bounded first-in-first-out of small indices.
 *
 * Whoever uses it keeps an index from standing in it twice (a flag where the
 * index points), so a capacity of all indices never overflows.
 */
#ifndef DAEMON_FIFO_H
#define DAEMON_FIFO_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct fifo {
	uint32_t *at; /* owned: [cap] */
	uint32_t first, nr, cap;
};

static inline int fifo_init(struct fifo *f, uint32_t cap)
{
	f->first = f->nr = 0;
	f->cap = cap;
	f->at = calloc(cap, sizeof(*f->at));
	return f->at ? 0 : -ENOMEM;
}

static inline void fifo_deinit(struct fifo *f)
{
	free(f->at);
	f->at = NULL;
}

static inline void fifo_push(struct fifo *f, uint32_t index)
{
	assert(f->nr < f->cap);
	f->at[(f->first + f->nr++) % f->cap] = index;
}

static inline bool fifo_pop(struct fifo *f, uint32_t *ret)
{
	if (!f->nr)
		return false;
	*ret = f->at[f->first];
	f->first = (f->first + 1) % f->cap;
	f->nr--;
	return true;
}

/* Was @index there?  Linear: for what is rare. */
static inline bool fifo_remove(struct fifo *f, uint32_t index)
{
	uint32_t i, kept = 0;

	for (i = 0; i < f->nr; i++) {
		uint32_t x = f->at[(f->first + i) % f->cap];

		if (x != index)
			f->at[(f->first + kept++) % f->cap] = x;
	}
	i = f->nr - kept;
	f->nr = kept;
	return i != 0;
}

#endif
