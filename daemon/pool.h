/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the living streams, all sessions', in memory taken at start.
 *
 * A stream lives here from admission (or recovery) until its END is
 * committed.  Its number names it everywhere in the engine: as the tag of its
 * sequence, as its job with the text worker, in its session's desk.
 */
#ifndef DAEMON_POOL_H
#define DAEMON_POOL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/stream.h"

struct desk;

#define POOL_NONE UINT32_MAX

/* What a usual token touches of it is one cache line. */
struct live {
	_Alignas(64) struct desk *desk; /* borrowed: the session's */
	uint32_t seq;  /* its number with the scheduler; POOL_NONE before */
	uint32_t slot; /* st.slot */
	struct stream st;
	uint32_t place; /* in order[] */
	bool text;	/* with the text worker */
	uint64_t step;	/* the last that stats_submitted() found it in */
};

static_assert(offsetof(struct live, st.log_len) == 64, "one line a token");

/* What each round asks of each of them, packed. */
struct glance {
	const __u64 *cancel_gen; /* the client's: shm_load() */
	uint64_t session;	 /* its id */
	uint32_t slot, gen;
};

struct pool {
	struct live *all;      /* owned: [max] */
	struct glance *glance; /* owned: [max] */
	uint32_t *order;       /* owned: [max]; the first nr are alive */
	uint32_t nr, max;
};

/* 0 or -ENOMEM. */
int pool_init(struct pool *p, uint32_t max);
void pool_deinit(struct pool *p);
/* A number that was free, its stream not yet bound; POOL_NONE: all in use. */
uint32_t pool_get(struct pool *p);
/* Its order[] place is taken by the last: walk order[] from the end. */
void pool_put(struct pool *p, uint32_t i);

#endif
