/* SPDX-License-Identifier: MIT */
#include "daemon/core/kv.h"

#include "base/table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The ring is full: close the holes, at least half of it (see kv.h). */
static void close_holes(struct kv *kv)
{
	uint32_t from, to = kv->aged_head, id;

	for (from = kv->aged_head; from != kv->aged_tail; from++) {
		id = kv_aged(kv, from);
		if (!id)
			continue;
		kv->aged[to & kv->aged_mask] = id;
		kv->blocks[id].at = to++;
	}
	kv->aged_tail = to;
}

static void push_aged(struct kv *kv, uint32_t id)
{
	if (kv->aged_tail - kv->aged_head > kv->aged_mask)
		close_holes(kv);
	kv->blocks[id].at = kv->aged_tail;
	kv->aged[kv->aged_tail++ & kv->aged_mask] = id;
	kv->nr_cached++;
}

static void pull_aged(struct kv *kv, uint32_t id)
{
	kv->aged[kv->blocks[id].at & kv->aged_mask] = 0;
	while (kv->aged_head != kv->aged_tail && !kv_aged(kv, kv->aged_head))
		kv->aged_head++;
	kv->nr_cached--;
}

/* The content of @id, which is free, is dead. */
static void push_empty(struct kv *kv, uint32_t id)
{
	kv->blocks[id].gen++;
	kv->blocks[id].at = kv->nr_empty;
	kv->empty[kv->nr_empty++] = id;
}

int kv_init(struct kv *kv, uint32_t nr_blocks)
{
	uint32_t id, size = 1;

	memset(kv, 0, sizeof(*kv));
	if (nr_blocks < 2 || nr_blocks > 1u << 30)
		return -EINVAL;
	while (size < 2 * nr_blocks)
		size *= 2;
	kv->blocks = table_alloc(nr_blocks, sizeof(*kv->blocks));
	kv->empty = table_alloc(nr_blocks, sizeof(*kv->empty));
	kv->aged = table_alloc(size, sizeof(*kv->aged));
	if (!kv->blocks || !kv->empty || !kv->aged) {
		kv_deinit(kv);
		return -ENOMEM;
	}
	kv->aged_mask = size - 1;
	kv->nr_blocks = nr_blocks;
	/* from the last to the first, so that block 1 is taken first */
	for (id = nr_blocks - 1; id > 0; id--) {
		kv->blocks[id].at = kv->nr_empty;
		kv->empty[kv->nr_empty++] = id;
	}
	kv->nr_free = nr_blocks - 1;
	return 0;
}

void kv_deinit(struct kv *kv)
{
	table_free(kv->blocks);
	table_free(kv->empty);
	table_free(kv->aged);
	memset(kv, 0, sizeof(*kv));
}

int kv_alloc(struct kv *kv, uint32_t *ret_id)
{
	uint32_t id;

	if (!kv->nr_empty)
		return -ENOSPC;
	id = kv->empty[--kv->nr_empty];
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
		pull_aged(kv, id);
		kv->nr_free--;
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
	if (b->cached)
		push_aged(kv, id);
	else
		push_empty(kv, id);
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
	pull_aged(kv, id);
	push_empty(kv, id);
}

/* Are the two orders of free blocks what the blocks say?  NULL: yes. */
static const char *check_free(const struct kv *kv)
{
	const struct kv_block *b = kv->blocks;
	uint32_t nr = 0, i, id;

	if (kv->nr_empty >= kv->nr_blocks ||
	    kv->aged_tail - kv->aged_head > kv->aged_mask + 1)
		return "more blocks are free than there are";
	for (i = 0; i < kv->nr_empty; i++) {
		id = kv->empty[i];
		if (b[id].ref || b[id].cached)
			return "a held or cached block is among the empty";
		if (b[id].at != i)
			return "an empty block does not know its place";
	}
	for (i = kv->aged_head; i != kv->aged_tail; i++) {
		id = kv_aged(kv, i);
		if (!id)
			continue;
		nr++;
		if (b[id].ref || !b[id].cached)
			return "a held or empty block is among the cached";
		if (b[id].at != i)
			return "a cached block does not know its place";
	}
	if (kv->aged_head != kv->aged_tail && !kv_oldest(kv))
		return "the oldest cached block is a hole";
	if (nr != kv->nr_cached || nr + kv->nr_empty != kv->nr_free)
		return "the free or cached counter is wrong";
	return NULL;
}

const char *kv_check(const struct kv *kv)
{
	const struct kv_block *b = kv->blocks;
	uint32_t used = 0, shared = 0, saved = 0, id;
	const char *bad = check_free(kv);

	if (bad)
		return bad;
	for (id = 1; id < kv->nr_blocks; id++) {
		used += b[id].ref > 0;
		shared += b[id].ref > 1;
		saved += b[id].ref > 1 ? b[id].ref - 1 : 0;
	}
	if (b[0].ref || b[0].cached)
		return "the null block is held or cached";
	if (used + kv->nr_free + 1 != kv->nr_blocks)
		return "used + free + null is not all blocks";
	if (shared != kv->nr_shared || saved != kv->nr_saved)
		return "the shared or saved counter is wrong";
	return NULL;
}
