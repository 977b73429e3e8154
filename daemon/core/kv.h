/* SPDX-License-Identifier: MIT */
/*
 * kv.h - the pool of KV blocks: who may use which 16 tokens of KV memory.
 *
 * It owns the bookkeeping, not the memory: a block is a number, and a backend
 * knows where its keys and values lie.  A block with references is held by
 * that many sequences.  A block without any is free: without content, or
 * cached (the prefix index knows its content).  Those without content are taken
 * first, the one given back last before the others; the cached ones stand in
 * the order in which they were given back, least recently used first.
 *
 * That order is a ring of numbers and not a list through the blocks: whose turn
 * comes is known far ahead, and who walks it waits for no line of memory.  A
 * block that leaves it from the middle leaves a hole; they are closed when the
 * ring is full, and then at least half of it is holes.
 *
 * Block 0 is the null block: never taken, never free, never cached.  A slot
 * in it means "do not write" (batch.h).
 *
 * It never calls up: kv_alloc() does not evict.  It says -ENOSPC, and who
 * knows what a cached block means (prefix_reclaim) makes room.
 * All operations are O(1), kv_put() amortized; no allocation after kv_init().
 * One thread.
 */
#ifndef CORE_KV_H
#define CORE_KV_H

#include <stdbool.h>
#include <stdint.h>

struct kv_block {
	uint32_t ref; /* sequences that hold it; 0 = it is free */
	uint32_t gen; /* +1 when its content dies: (id, gen) names a content */
	uint32_t at;  /* while it is free: its place in aged[] or empty[] */
	bool cached;  /* the prefix index knows it; set by prefix.c only */
};

struct kv {
	uint32_t nr_blocks; /* block 0 included */
	uint32_t nr_free;   /* without references, cached ones included */
	uint32_t nr_cached; /* without references and cached */
	uint32_t nr_shared; /* with two references or more */
	uint32_t nr_saved;  /* blocks that sharing spares: sum of ref - 1 */
	struct kv_block *blocks; /* owned: [nr_blocks] */
	uint32_t *empty; /* owned: [nr_blocks] free, without content: a stack */
	uint32_t nr_empty;
	/*
	 * Free and cached: a ring of [aged_mask + 1], twice the blocks or more;
	 * owned.  Places count up for ever; from head to before tail each holds
	 * a block or 0, a hole; the first is none.
	 */
	uint32_t *aged;
	uint32_t aged_mask, aged_head, aged_tail;
};

/* @nr_blocks >= 2, the null block included.  0, -EINVAL or -ENOMEM. */
int kv_init(struct kv *kv, uint32_t nr_blocks);
void kv_deinit(struct kv *kv);

/*
 * Take a block without content: one reference, in *ret_id.
 * -ENOSPC where none is left, though cached blocks may be.
 */
int kv_alloc(struct kv *kv, uint32_t *ret_id);
/* One more holder, of a held block or of a cached free one. */
void kv_get(struct kv *kv, uint32_t id);
/*
 * One holder less.  The last one makes the block free: a cached one stands
 * behind all others then; another loses its content (gen moves).
 */
void kv_put(struct kv *kv, uint32_t id);

/* The block at place @at of the free and cached ones, from the oldest on. */
static inline uint32_t kv_aged(const struct kv *kv, uint32_t at)
{
	return kv->aged[at & kv->aged_mask];
}
/* The cached free block unused for longest, 0 where there is none. */
static inline uint32_t kv_oldest(const struct kv *kv)
{
	return kv->aged_head == kv->aged_tail ? 0 : kv_aged(kv, kv->aged_head);
}
/* For prefix.c: the index has learnt @id, a block that is held. */
void kv_mark_cached(struct kv *kv, uint32_t id);
/* For prefix.c: the index forgot @id.  If free, its content is dead. */
void kv_unmark_cached(struct kv *kv, uint32_t id);

/* Blocks with references. */
static inline uint32_t kv_nr_used(const struct kv *kv)
{
	return kv->nr_blocks - 1 - kv->nr_free;
}

/* Is (@id, @gen) still the content it was? */
static inline bool kv_is(const struct kv *kv, uint32_t id, uint32_t gen)
{
	return kv->blocks[id].gen == gen;
}

/*
 * Walk everything and compare with the counters: used + free + null block ==
 * all, each free block where it says it is.  NULL, or the first thing that is
 * wrong.  O(nr_blocks): for tests and debug builds.
 */
const char *kv_check(const struct kv *kv);

#endif
