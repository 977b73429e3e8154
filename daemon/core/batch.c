/* SPDX-License-Identifier: MIT */
#include "daemon/core/batch.h"

#include "base/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct batch_out) == 64, "an output is a cache line");

int batch_init(struct batch *b, uint32_t max_tokens, uint32_t max_seqs,
	       uint32_t max_blocks)
{
	uint32_t i;

	memset(b, 0, sizeof(*b));
	b->max_tokens = max_tokens;
	b->max_seqs = max_seqs;
	b->max_blocks = max_blocks;
	b->token = calloc(max_tokens, sizeof(*b->token));
	b->position = calloc(max_tokens, sizeof(*b->position));
	b->slot = calloc(max_tokens, sizeof(*b->slot));
	b->query_start = calloc((size_t)max_seqs + 1, sizeof(*b->query_start));
	b->context_len = calloc(max_seqs, sizeof(*b->context_len));
	b->block_table = table_alloc((size_t)max_seqs * max_blocks,
				     sizeof(*b->block_table));
	b->tag = calloc(max_seqs, sizeof(*b->tag));
	b->out = table_alloc(max_tokens, sizeof(*b->out));
	b->alt = calloc(max_tokens, sizeof(*b->alt));
	if (!b->token || !b->position || !b->slot || !b->query_start ||
	    !b->context_len || !b->block_table || !b->tag || !b->out ||
	    !b->alt) {
		batch_deinit(b);
		return -ENOMEM;
	}
	for (i = 0; i < max_tokens; i++)
		b->out[i] = (struct batch_out){ .alt = &b->alt[i] };
	return 0;
}

void batch_deinit(struct batch *b)
{
	free(b->token);
	free(b->position);
	free(b->slot);
	free(b->query_start);
	free(b->context_len);
	table_free(b->block_table);
	free(b->tag);
	table_free(b->out);
	free(b->alt);
	memset(b, 0, sizeof(*b));
}

void batch_reset(struct batch *b)
{
	b->nr_tokens = 0;
	b->nr_seqs = 0;
	b->nr_outs = 0;
	b->query_start[0] = 0;
}
