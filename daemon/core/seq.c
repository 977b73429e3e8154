/* SPDX-License-Identifier: MIT */
#include "daemon/core/seq.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/core/kv.h"

/* Token @pos of the output behind ids[]. */
static inline uint32_t out_token(const struct seq *q, uint32_t pos)
{
	return q->out[(size_t)(pos - q->prompt_len) * q->out_stride];
}

void seq_flush(struct seq *q)
{
	uint32_t sure = q->known - q->late;

	assert(q->known <= q->max_len); /* what ids[] has room for */
	if (!q->out && q->stored < sure) {
		assert(q->stored + 1 == sure);
		q->ids[q->stored++] = q->last;
	}
	for (; q->stored < sure; q->stored++)
		q->ids[q->stored] = out_token(q, q->stored);
}

#define QUAD 4u
typedef uint32_t quad __attribute__((vector_size(QUAD * 4)));

/*
 * The tokens of @block, all known: where they lie, or in @buf.  Four are one
 * store: who compares or copies them loads 16 bytes, and a load that is wider
 * than the store before it waits until all stores are out of the core's queue,
 * the step's to logs and text among them (measured: 5 ns a token of 70).
 */
static const uint32_t *block_ids(const struct seq *q, uint32_t block,
				 uint32_t buf[KV_BLOCK])
{
	uint32_t pos = block * KV_BLOCK, i = 0;
	const uint32_t *out;

	if (pos + KV_BLOCK <= q->stored)
		return q->ids + pos;
	for (; pos + i < q->stored; i++)
		buf[i] = q->ids[pos + i];
	out = q->out + (size_t)(pos + i - q->prompt_len) * q->out_stride;
	for (; i % QUAD; i++, out += q->out_stride)
		buf[i] = *out;
	for (; i < KV_BLOCK; i += QUAD, out += QUAD * q->out_stride) {
		quad four = { out[0], out[q->out_stride],
			      out[2 * q->out_stride], out[3 * q->out_stride] };

		memcpy(buf + i, &four, sizeof(four));
	}
	return buf;
}

uint32_t seq_match(const struct seq *q, const struct prefix *p, uint32_t *table,
		   struct prefix_pos *ret_pos, uint32_t *ret_nr_free)
{
	uint32_t n = 0, block;

	*ret_nr_free = 0;
	if (q->domain == PREFIX_NONE)
		return 0;
	prefix_root(p, q->domain, ret_pos);
	if (q->score)
		return 0;
	for (; n < q->known / KV_BLOCK; n++) {
		block = prefix_find(p, ret_pos, q->ids + n * KV_BLOCK);
		if (!block)
			break;
		table[n] = block;
		*ret_nr_free += p->kv->blocks[block].ref == 0;
	}
	return n;
}

void seq_take_hits(struct seq *q, struct prefix *p, uint32_t nr_hit,
		   const struct prefix_pos *pos)
{
	uint32_t i;

	for (i = 0; i < nr_hit; i++)
		kv_get(p->kv, q->table[i]);
	q->nr_table = q->nr_hit = q->nr_indexed = nr_hit;
	if (q->domain != PREFIX_NONE)
		q->pos = *pos;
	/* the last known token is always run: it is what the output wants */
	q->computed = nr_hit * KV_BLOCK;
	if (q->computed == q->known)
		q->computed--;
}

int seq_grow(struct seq *q, struct prefix *p)
{
	uint32_t block;
	int ret = kv_alloc(p->kv, &block);

	if (ret == -ENOSPC && !prefix_reclaim(p))
		ret = kv_alloc(p->kv, &block);
	if (ret)
		return ret;
	q->table[q->nr_table++] = block;
	return 0;
}

void seq_index(struct seq *q, struct prefix *p)
{
	if (q->domain == PREFIX_NONE)
		return;
	assert(q->computed <= q->known);
	while ((q->nr_indexed + 1) * KV_BLOCK <= q->computed) {
		uint32_t buf[KV_BLOCK];
		const uint32_t *ids = block_ids(q, q->nr_indexed, buf);

		if (!prefix_is_current(p, &q->pos)) {
			/*
			 * The chain goes through another's equal block, and
			 * that one was evicted: index our own from the root.
			 */
			prefix_root(p, q->domain, &q->pos);
			q->nr_indexed = 0;
			seq_flush(q);
			ids = q->ids;
		}
		prefix_insert(p, &q->pos, q->table[q->nr_indexed], ids);
		q->nr_indexed++;
	}
}

void seq_release(struct seq *q, struct prefix *p)
{
	while (q->nr_table)
		kv_put(p->kv, q->table[--q->nr_table]);
	q->nr_hit = q->nr_indexed = q->computed = 0;
}

uint32_t seq_nr_private(const struct seq *q, const struct kv *kv)
{
	uint32_t n = 0, i;

	for (i = 0; i < q->nr_table; i++)
		n += kv->blocks[q->table[i]].ref == 1;
	return n;
}
