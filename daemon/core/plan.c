/* SPDX-License-Identifier: MIT */
#include "daemon/core/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/batch.h"
#include "daemon/core/seq.h"

int plan_init(struct plan *p, uint32_t max_seqs)
{
	memset(p, 0, sizeof(*p));
	p->max_seqs = max_seqs;
	p->seq = calloc(max_seqs, sizeof(*p->seq));
	p->table_id = calloc(max_seqs, sizeof(*p->table_id));
	p->table_len = calloc(max_seqs, sizeof(*p->table_len));
	p->steady = calloc(max_seqs, sizeof(*p->steady));
	if (!p->seq || !p->table_id || !p->table_len || !p->steady) {
		plan_deinit(p);
		return -ENOMEM;
	}
	return 0;
}

void plan_deinit(struct plan *p)
{
	free(p->seq);
	free(p->table_id);
	free(p->table_len);
	free(p->steady);
	memset(p, 0, sizeof(*p));
}

void plan_begin(struct plan *p, struct batch *b)
{
	p->nr_steady = 0;
	p->nr_before = b->nr_seqs;
	batch_reset(b);
	if (p->batch == b)
		return;
	p->batch = b;
	p->nr_before = 0;
	memset(p->table_id, 0, p->max_seqs * sizeof(*p->table_id));
	memset(p->steady, 0, p->max_seqs * sizeof(*p->steady));
}

void plan_end(struct plan *p, struct batch *b)
{
	b->same_seqs = b->nr_seqs == p->nr_before && b->nr_seqs == p->nr_steady;
}

/* Something else is written into these places. */
static inline void unsteady(struct plan *p, uint32_t seq, uint32_t out)
{
	p->steady[seq] = 0;
	if (out < p->max_seqs)
		p->steady[out] = 0;
}

static __attribute__((noinline)) void copy_table(struct plan *p,
						 struct batch *b, uint32_t row,
						 const struct seq *q)
{
	uint32_t *to = b->block_table + (size_t)row * b->max_blocks, from = 0;

	assert(q->nr_table <= b->max_blocks);
	if (p->table_id[row] == q->table_id)
		from = p->table_len[row];
	p->table_id[row] = q->table_id;
	p->table_len[row] = q->nr_table;
	if (from < q->nr_table)
		memcpy(to + from, q->table + from,
		       (q->nr_table - from) * sizeof(*to));
}

/* The row at @row, token @pos of @q, wants an output. */
static void add_out(struct plan *p, struct batch *b, const struct seq *q,
		    uint32_t row, uint32_t pos)
{
	struct batch_out *o = &b->out[b->nr_outs];

	unsteady(p, b->nr_seqs, b->nr_outs++);
	o->row = row;
	o->seq = b->nr_seqs;
	o->want = q->score ? BATCH_SCORE : BATCH_SAMPLE;
	o->target = q->score ? q->ids[pos + 1] : 0;
	o->position = q->score ? pos : q->known - q->prompt_len;
	o->nr_alt = q->nr_alt;
	o->sampling = q->sampling;
	o->history = q->ids;
	o->prompt_len = q->prompt_len;
}

/* Place of the last known token of @q, which decodes. */
static inline uint32_t tail_slot(struct seq *q)
{
	uint32_t pos = q->computed;

	/* it counts up inside a block: the table is read once a block */
	if (pos % KV_BLOCK && q->tail_slot)
		return ++q->tail_slot;
	q->tail_slot = q->table[pos / KV_BLOCK] * KV_BLOCK + pos % KV_BLOCK;
	return q->tail_slot;
}

/*
 * All of @q, number @id, that does not change from step to step while it
 * decodes in place @at, row @row, output @out.
 */
static __attribute__((noinline)) void decode_row(struct plan *p,
						 struct batch *b,
						 const struct seq *q,
						 uint32_t id, uint32_t at,
						 uint32_t row, uint32_t out)
{
	struct batch_out *o = &b->out[out];

	unsteady(p, at, out);
	if (at == row && at == out)
		p->steady[at] = q->table_id;
	b->tag[at] = q->tag;
	b->query_start[at + 1] = row + 1;
	p->seq[at] = id;
	o->row = row;
	o->seq = at;
	o->want = BATCH_SAMPLE;
	o->nr_alt = q->nr_alt;
	o->sampling = q->sampling;
	o->history = q->ids;
	o->prompt_len = q->prompt_len;
	copy_table(p, b, at, q);
}

/* The sums over rows that were planned: context lengths, and what is read. */
static uint64_t count_reads(struct batch *b, uint32_t row, uint32_t at,
			    uint32_t n)
{
	const uint32_t *position = b->position + row;
	uint32_t *context = b->context_len + at, i;
	uint64_t reads = 0;

	for (i = 0; i < n; i++) {
		context[i] = position[i] + 1;
		reads += context[i];
	}
	return reads;
}

/*
 * What planning costs at a thousand streams is decided here: one line of the
 * sequence, one of the output, and arrays walked in order; asked for ahead,
 * the lines are there in time.  A sequence that decodes where it did in the
 * step before is known by its table in steady[].
 */
uint32_t plan_decode(struct plan *p, struct batch *b, struct seq *seqs,
		     const uint32_t *ids, uint32_t nr, uint64_t *ret_reads)
{
	const uint32_t row = b->nr_tokens, at = b->nr_seqs;
	struct batch_out *restrict out = b->out + b->nr_outs;
	uint32_t *restrict token = b->token + row;
	uint32_t *restrict position = b->position + row;
	uint32_t *restrict slot = b->slot + row;
	const uint64_t *steady = p->steady + at;
	const uint32_t *len = p->table_len + at;
	uint32_t n = 0, nr_new = 0, i;

	if (row != at || at != b->nr_outs) /* not the places of before */
		memset(p->steady + at, 0,
		       (nr < p->max_seqs - at ? nr : p->max_seqs - at) *
			       sizeof(*p->steady));
	for (i = 0; i < nr; i++) {
		struct seq *restrict q = &seqs[ids[i]];

		if (i + 8 < nr) {
			__builtin_prefetch(&seqs[ids[i + 8]], 1);
			__builtin_prefetch(&out[n + 8], 1);
		}
		if (!seq_can_decode(q))
			continue;
		assert(q->computed + 1 == q->known && !q->score);
		if (steady[n] != q->table_id) {
			assert(row + n < b->max_tokens && at + n < b->max_seqs);
			decode_row(p, b, q, ids[i], at + n, row + n,
				   b->nr_outs + n);
			nr_new++;
		} else if (len[n] != q->nr_table) {
			copy_table(p, b, at + n, q);
		}
		token[n] = q->last;
		position[n] = q->computed;
		slot[n] = tail_slot(q);
		out[n].position = q->known - q->prompt_len;
		q->planned = 1;
		n++;
		if (q->known % KV_BLOCK == KV_BLOCK - 1)
			seq_look_ahead(q);
	}
	*ret_reads = count_reads(b, row, at, n);
	p->nr_steady += n - nr_new;
	b->nr_tokens += n;
	b->nr_seqs += n;
	b->nr_outs += n;
	return n;
}

void plan_span(struct plan *p, struct batch *b, uint32_t id,
	       const struct seq *q, uint32_t n)
{
	uint32_t row = b->nr_tokens, pos = q->computed, end = pos + n, block;

	assert(n && row + n <= b->max_tokens && b->nr_seqs < b->max_seqs &&
	       end <= q->stored && seq_blocks(end) <= q->nr_table);
	for (; pos < end; pos++, row++) {
		/* a block out of the index is whole: it is not written */
		block = pos < q->nr_hit * KV_BLOCK ? 0
						   : q->table[pos / KV_BLOCK];
		b->token[row] = q->ids[pos];
		b->position[row] = pos;
		b->slot[row] = block * KV_BLOCK + pos % KV_BLOCK;
		if (q->score ? pos >= q->scored : pos + 1 == q->known)
			add_out(p, b, q, row, pos);
	}
	unsteady(p, b->nr_seqs, b->nr_seqs);
	copy_table(p, b, b->nr_seqs, q);
	b->tag[b->nr_seqs] = q->tag;
	b->context_len[b->nr_seqs] = end;
	p->seq[b->nr_seqs++] = id;
	b->query_start[b->nr_seqs] = b->nr_tokens = row;
}
