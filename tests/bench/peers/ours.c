/* SPDX-License-Identifier: MIT */
/* ours.c - peer.h over our backend, without daemon and scheduler. */
#include "tests/bench/peers/peer.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"
#include "daemon/model/forward.h"
#include "daemon/model/model.h"
#include "kernels/ops.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCKS ((PEER_CONTEXT + PEER_STEPS) / KV_BLOCK) /* a sequence's */

static struct backend *be;
static struct batch batch;
static uint32_t nr_seqs;

void peer_open(const char *model, uint32_t threads)
{
	struct backend_options opt = { .model = model,
				       .max_context = PEER_CONTEXT + PEER_STEPS,
				       .max_tokens_per_step = PEER_PROMPT,
				       .max_seqs = PEER_BATCH,
				       .threads = threads };
	struct err err = { 0 };

	log_init("ours", LOG_LEVEL_ERROR);
	if (model_open(&opt, &be, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	if (be->info.nr_blocks <= PEER_BATCH * BLOCKS ||
	    batch_init(&batch, PEER_PROMPT, PEER_BATCH, BLOCKS)) {
		fprintf(stderr, "ours: no memory for KV\n");
		exit(1);
	}
}

/* Rows [from, from + nr) of sequence @seq, in blocks of its own. */
static void add(uint32_t seq, const uint32_t *ids, uint32_t from, uint32_t nr,
		bool out)
{
	static const struct sampling greedy = { .top_p = 1,
						.repetition_penalty = 1 };
	struct batch *b = &batch;
	uint32_t *table = b->block_table + (size_t)b->nr_seqs * b->max_blocks;

	for (uint32_t i = 0; i < BLOCKS; i++)
		table[i] = 1 + seq * BLOCKS + i;
	for (uint32_t i = from; i < from + nr; i++) {
		uint32_t at = b->nr_tokens++;

		b->token[at] = ids[i - from];
		b->position[at] = i;
		b->slot[at] = table[i / KV_BLOCK] * KV_BLOCK + i % KV_BLOCK;
	}
	if (out)
		b->out[b->nr_outs++] = (struct batch_out){
			.row = b->nr_tokens - 1,
			.seq = b->nr_seqs,
			.want = BATCH_SAMPLE,
			.sampling = &greedy,
			.prompt_len = from + nr,
		};
	b->context_len[b->nr_seqs] = from + nr;
	b->tag[b->nr_seqs] = seq;
	b->query_start[++b->nr_seqs] = b->nr_tokens;
}

static uint32_t run(void)
{
	if (be->run(be, &batch)) {
		fprintf(stderr, "ours: a step failed\n");
		exit(1);
	}
	return batch.nr_outs ? batch.out[batch.nr_outs - 1].token : 0;
}

uint32_t peer_prefill(const uint32_t *ids, uint32_t nr)
{
	batch_reset(&batch);
	add(0, ids, 0, nr, true);
	return run();
}

void peer_fill(const uint32_t *ids, uint32_t n, uint32_t context)
{
	const struct forward *f = model_forward(be);
	struct block_copy pairs[BLOCKS];

	for (uint32_t at = 0; at < context; at += PEER_PROMPT) {
		uint32_t left = context - at;

		batch_reset(&batch);
		add(0, ids + at, at, left < PEER_PROMPT ? left : PEER_PROMPT,
		    false);
		run();
	}
	for (uint32_t k = 1; k < n; k++) {
		for (uint32_t i = 0; i < BLOCKS; i++)
			pairs[i] = (struct block_copy){ 1 + i,
							1 + k * BLOCKS + i };
		if (f->ops->copy_blocks(f->ctx, pairs, BLOCKS))
			exit(1);
	}
	nr_seqs = n;
}

uint32_t peer_decode(uint32_t token, uint32_t at)
{
	batch_reset(&batch);
	for (uint32_t k = 0; k < nr_seqs; k++)
		add(k, &token, at, 1, true);
	return run();
}

void peer_rewind(void)
{
	/* the next steps write over these */
}
