/* SPDX-License-Identifier: MIT */
/*
 * drive.h - a backend driven by hand: sequences, their blocks, one step.  No
 * scheduler is in the way, so a test says itself which rows run together.
 *
 *	drive_open(&d, dir, ops, threads);
 *	seq_init(&d, &s, ids, nr_ids);
 *	drive_begin(&d); drive_span(&d, &s, n, out); ...; drive_run(&d);
 */
#ifndef TESTS_DRIVE_H
#define TESTS_DRIVE_H

#include "base/err.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"
#include "daemon/model/forward.h"
#include "daemon/model/model.h"
#include "kernels/ops.h"
#include "tests/test.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define DRIVE_ROWS    512u
#define DRIVE_SEQS    64u
#define DRIVE_CONTEXT 512u
#define DRIVE_BLOCKS  (DRIVE_CONTEXT / KV_BLOCK) /* a sequence's */

struct drive {
	struct backend *be;
	struct batch batch;
	uint32_t next_block; /* block ids go round, never 0 */
	uint32_t vocab;
};

struct seq {
	uint32_t ids[DRIVE_CONTEXT]; /* known tokens */
	uint32_t known, computed;
	uint32_t prompt_len;
	uint32_t blocks[DRIVE_BLOCKS];
	uint32_t nr_blocks;
};

enum drive_out {
	OUT_NONE,
	OUT_LAST,  /* after the last row of the span, by `sampling` */
	OUT_SCORE, /* every row judges the token that follows it (or 0) */
};

/* With @opt, whose sizes of a step are drive's own. */
static inline void drive_open_with(struct drive *d,
				   const struct backend_options *options)
{
	struct backend_options opt = *options;
	struct err err = { 0 };

	opt.max_tokens_per_step = DRIVE_ROWS;
	opt.max_seqs = DRIVE_SEQS;
	if (model_open(&opt, &d->be, &err)) {
		printf("# %s\n", err.text);
		CHECK(!"model_open");
	}
	CHECK_EQ(batch_init(&d->batch, DRIVE_ROWS, DRIVE_SEQS, DRIVE_BLOCKS),
		 0);
	d->next_block = 1;
	d->vocab = d->be->info.vocab;
}

/* As drive_open(), with keys and values kept as @kv. */
static inline void drive_open_kv(struct drive *d, const char *dir,
				 const char *ops, uint32_t threads,
				 enum backend_kv kv)
{
	drive_open_with(d, &(struct backend_options){
				   .model = dir,
				   .threads = threads,
				   .ops = ops,
				   .kv = kv,
			   });
}

static inline void drive_open(struct drive *d, const char *dir, const char *ops,
			      uint32_t threads)
{
	drive_open_kv(d, dir, ops, threads, BACKEND_KV_AUTO);
}

static inline void drive_close(struct drive *d)
{
	d->be->close(d->be);
	batch_deinit(&d->batch);
}

static inline void seq_init(struct seq *s, const uint32_t *ids, uint32_t n)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->ids, ids, n * sizeof(*ids));
	s->known = s->prompt_len = n;
}

/*
 * Forget the KV: what preemption does.  The next span takes blocks further
 * on in the pool, so nothing old is there by luck.
 */
static inline void seq_preempt(struct seq *s)
{
	s->computed = 0;
	s->nr_blocks = 0;
}

/* Blocks until @s holds @tokens; scattered over the pool, by 7. */
static inline void seq_grow(struct drive *d, struct seq *s, uint32_t tokens)
{
	uint32_t n = d->be->info.nr_blocks - 1;

	CHECK(tokens <= DRIVE_CONTEXT);
	while (s->nr_blocks * KV_BLOCK < tokens) {
		s->blocks[s->nr_blocks++] = d->next_block;
		d->next_block = (d->next_block - 1 + 7) % n + 1;
	}
}

static inline void drive_begin(struct drive *d)
{
	batch_reset(&d->batch);
}

static inline struct batch_out *drive_add_out(struct batch *b, struct seq *s,
					      uint32_t row, uint32_t at)
{
	struct batch_out *o = &b->out[b->nr_outs++];

	*o = (struct batch_out){ .row = row, .alt = o->alt };
	o->seq = b->nr_seqs;
	o->want = BATCH_SCORE;
	o->target = at + 1 < s->known ? s->ids[at + 1] : 0;
	o->history = s->ids;
	o->prompt_len = s->prompt_len;
	o->position = at + 1 - s->prompt_len;
	return o;
}

/*
 * Add the next @n known tokens of @s to the step.  Returns the first output
 * made, or NULL.  @write false: the KV is there already (a prefix hit).
 */
static inline struct batch_out *drive_span(struct drive *d, struct seq *s,
					   uint32_t n, enum drive_out out,
					   const struct sampling *sampling,
					   bool write)
{
	struct batch *b = &d->batch;
	struct batch_out *first = NULL, *o;

	CHECK(n && s->computed + n <= s->known);
	CHECK(b->nr_tokens + n <= DRIVE_ROWS && b->nr_seqs < DRIVE_SEQS);
	seq_grow(d, s, s->computed + n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = s->computed + i, row = b->nr_tokens++;

		b->token[row] = s->ids[at];
		b->position[row] = at;
		b->slot[row] = write ? s->blocks[at / KV_BLOCK] * KV_BLOCK +
					       at % KV_BLOCK
				     : 0;
		if (out == OUT_NONE || (out == OUT_LAST && i + 1 < n))
			continue;
		o = drive_add_out(b, s, row, at);
		if (!first)
			first = o;
		if (out == OUT_LAST && sampling) {
			o->want = BATCH_SAMPLE;
			o->sampling = sampling;
		}
	}
	s->computed += n;
	memcpy(b->block_table + (size_t)b->nr_seqs * b->max_blocks, s->blocks,
	       s->nr_blocks * sizeof(*s->blocks));
	b->context_len[b->nr_seqs] = s->computed;
	b->query_start[++b->nr_seqs] = b->nr_tokens;
	return first;
}

static inline void drive_run(struct drive *d)
{
	CHECK_EQ(d->be->run(d->be, &d->batch), 0);
}

/* Logits of output @o of the step just run, one of its last portion. */
static inline void drive_logits(struct drive *d, const struct batch_out *o,
				float *logits)
{
	const struct forward *f = model_forward(d->be);
	uint32_t i = (uint32_t)(o - d->batch.out);

	CHECK(i / f->max_logits == (d->batch.nr_outs - 1) / f->max_logits);
	CHECK_EQ(f->ops->peek(f->ctx, OPS_LOGITS, i % f->max_logits, 1, logits),
		 0);
}

#endif
