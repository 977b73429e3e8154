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
	if (!p->seq || !p->table_id || !p->table_len) {
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
	memset(p, 0, sizeof(*p));
}

void plan_begin(struct plan *p, struct batch *b)
{
	batch_reset(b);
	if (p->batch == b)
		return;
	p->batch = b;
	memset(p->table_id, 0, p->max_seqs * sizeof(*p->table_id));
}

static void copy_table(struct plan *p, struct batch *b, uint32_t row,
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
static void add_out(struct batch *b, const struct seq *q, uint32_t row,
		    uint32_t pos)
{
	struct batch_out *o = &b->out[b->nr_outs++];

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

void plan_span(struct plan *p, struct batch *b, uint32_t id,
	       const struct seq *q, uint32_t n)
{
	uint32_t row = b->nr_tokens, pos = q->computed, end = pos + n, block;

	assert(n && row + n <= b->max_tokens && b->nr_seqs < b->max_seqs &&
	       end <= q->known && seq_blocks(end) <= q->nr_table);
	for (; pos < end; pos++, row++) {
		/* a block out of the index is whole: it is not written */
		block = pos < q->nr_hit * KV_BLOCK ? 0
						   : q->table[pos / KV_BLOCK];
		b->token[row] = q->ids[pos];
		b->position[row] = pos;
		b->slot[row] = block * KV_BLOCK + pos % KV_BLOCK;
		if (q->score ? pos >= q->scored : pos + 1 == q->known)
			add_out(b, q, row, pos);
	}
	copy_table(p, b, b->nr_seqs, q);
	b->tag[b->nr_seqs] = q->tag;
	b->context_len[b->nr_seqs] = end;
	p->seq[b->nr_seqs++] = id;
	b->query_start[b->nr_seqs] = b->nr_tokens = row;
}
