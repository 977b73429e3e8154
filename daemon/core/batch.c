/* SPDX-License-Identifier: MIT */
#include "daemon/core/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int batch_init(struct batch *b, uint32_t max_tokens, uint32_t max_seqs,
	       uint32_t max_blocks)
{
	memset(b, 0, sizeof(*b));
	b->max_tokens = max_tokens;
	b->max_seqs = max_seqs;
	b->max_blocks = max_blocks;
	b->token = calloc(max_tokens, sizeof(*b->token));
	b->position = calloc(max_tokens, sizeof(*b->position));
	b->slot = calloc(max_tokens, sizeof(*b->slot));
	b->query_start = calloc((size_t)max_seqs + 1, sizeof(*b->query_start));
	b->context_len = calloc(max_seqs, sizeof(*b->context_len));
	b->block_table =
		calloc((size_t)max_seqs * max_blocks, sizeof(*b->block_table));
	b->tag = calloc(max_seqs, sizeof(*b->tag));
	b->out = calloc(max_tokens, sizeof(*b->out));
	if (!b->token || !b->position || !b->slot || !b->query_start ||
	    !b->context_len || !b->block_table || !b->tag || !b->out) {
		batch_deinit(b);
		return -ENOMEM;
	}
	return 0;
}

void batch_deinit(struct batch *b)
{
	free(b->token);
	free(b->position);
	free(b->slot);
	free(b->query_start);
	free(b->context_len);
	free(b->block_table);
	free(b->tag);
	free(b->out);
	memset(b, 0, sizeof(*b));
}

void batch_reset(struct batch *b)
{
	b->nr_tokens = 0;
	b->nr_seqs = 0;
	b->nr_outs = 0;
	b->query_start[0] = 0;
}
