/* SPDX-License-Identifier: MIT */
#include "daemon/core/kv.h"

#include "base/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Put @id behind @at in the free list; at = 0: at the head. */
static void link_behind(struct kv *kv, uint32_t at, uint32_t id)
{
	struct kv_block *b = kv->blocks;

	b[id].prev = at;
	b[id].next = b[at].next;
	b[b[id].next].prev = id;
	b[at].next = id;
}

static void unlink_block(struct kv *kv, uint32_t id)
{
	struct kv_block *b = kv->blocks;

	b[b[id].prev].next = b[id].next;
	b[b[id].next].prev = b[id].prev;
}

int kv_init(struct kv *kv, uint32_t nr_blocks)
{
	uint32_t id;

	memset(kv, 0, sizeof(*kv));
	if (nr_blocks < 2)
		return -EINVAL;
	kv->blocks = table_alloc(nr_blocks, sizeof(*kv->blocks));
	if (!kv->blocks)
		return -ENOMEM;
	kv->nr_blocks = nr_blocks;
	/* from the last to the first, so that block 1 is taken first */
	for (id = nr_blocks - 1; id > 0; id--)
		link_behind(kv, 0, id);
	kv->nr_free = nr_blocks - 1;
	return 0;
}

void kv_deinit(struct kv *kv)
{
	table_free(kv->blocks);
	memset(kv, 0, sizeof(*kv));
}

int kv_alloc(struct kv *kv, uint32_t *ret_id)
{
	uint32_t id = kv->blocks[0].next;

	if (id == 0 || kv->blocks[id].cached)
		return -ENOSPC;
	unlink_block(kv, id);
	kv->nr_free--;
	kv->blocks[id].ref = 1;
	*ret_id = id;
	return 0;
}

void kv_get(struct kv *kv, uint32_t id)
{
	struct kv_block *b = &kv->blocks[id];

	assert(id > 0 && id < kv->nr_blocks);
	if (b->ref == 0) {
		assert(b->cached);
		unlink_block(kv, id);
		kv->nr_free--;
		kv->nr_cached--;
	} else {
		kv->nr_shared += b->ref == 1;
		kv->nr_saved++;
	}
	b->ref++;
}

void kv_put(struct kv *kv, uint32_t id)
{
	struct kv_block *b = &kv->blocks[id];

	assert(id > 0 && id < kv->nr_blocks && b->ref > 0);
	b->ref--;
	if (b->ref > 0) {
		kv->nr_shared -= b->ref == 1;
		kv->nr_saved--;
		return;
	}
	kv->nr_free++;
	if (b->cached) {
		kv->nr_cached++;
		link_behind(kv, kv->blocks[0].prev, id);
	} else {
		b->gen++;
		link_behind(kv, 0, id);
	}
}

uint32_t kv_oldest(const struct kv *kv)
{
	uint32_t id = kv->blocks[0].next;

	/*
	 * Called when kv_alloc() has said -ENOSPC: then the head is cached.
	 * Where blocks without content are left there is no need to evict.
	 */
	return kv->blocks[id].cached ? id : 0;
}

void kv_mark_cached(struct kv *kv, uint32_t id)
{
	assert(kv->blocks[id].ref > 0 && !kv->blocks[id].cached);
	kv->blocks[id].cached = true;
}

void kv_unmark_cached(struct kv *kv, uint32_t id)
{
	struct kv_block *b = &kv->blocks[id];

	assert(b->cached);
	b->cached = false;
	if (b->ref > 0)
		return;
	kv->nr_cached--;
	b->gen++;
	unlink_block(kv, id);
	link_behind(kv, 0, id);
}

const char *kv_check(const struct kv *kv)
{
	const struct kv_block *b = kv->blocks;
	uint32_t used = 0, shared = 0, saved = 0, nr = 0, cached = 0, id, prev;

	for (id = 1; id < kv->nr_blocks; id++) {
		used += b[id].ref > 0;
		shared += b[id].ref > 1;
		saved += b[id].ref > 1 ? b[id].ref - 1 : 0;
	}
	for (prev = 0, id = b[0].next; id; prev = id, id = b[id].next) {
		if (++nr >= kv->nr_blocks)
			return "the free list is a circle";
		if (b[id].ref)
			return "a held block is on the free list";
		if (b[id].prev != prev)
			return "the free list is not linked both ways";
		if (cached && !b[id].cached)
			return "an empty block stands behind a cached one";
		cached += b[id].cached;
	}
	if (b[0].prev != prev)
		return "the free list's end is not its last block";
	if (b[0].ref || b[0].cached)
		return "the null block is held or cached";
	if (used + nr + 1 != kv->nr_blocks)
		return "used + free + null is not all blocks";
	if (nr != kv->nr_free || cached != kv->nr_cached)
		return "the free or cached counter is wrong";
	if (shared != kv->nr_shared || saved != kv->nr_saved)
		return "the shared or saved counter is wrong";
	return NULL;
}
