/* SPDX-License-Identifier: MIT */
/*
 * plan.h - writes the rows of sequences into the batch of a step.
 *
 * Block tables only grow while a sequence runs, and a sequence that decodes
 * mostly keeps its place in the batch.  So a plan remembers what stands in
 * each place of the batch and writes what is new.  That needs the same batch
 * in every step, and nobody else who writes what the scheduler writes.  Where
 * two are used in turn (ahead.h), each has a plan of its own.
 */
#ifndef CORE_PLAN_H
#define CORE_PLAN_H

#include <stdint.h>

struct batch;
struct seq;

struct plan {
	const struct batch *batch; /* borrowed: the one whose rows we know */
	uint32_t max_seqs;
	uint32_t *seq;	     /* owned: [max_seqs] the sequence of each */
	uint64_t *table_id;  /* owned: [max_seqs] whose table is in the row, */
	uint32_t *table_len; /* owned: [max_seqs] and how much of it */
	/*
	 * owned: [max_seqs] the table_id of the sequence that decoded in
	 * place i: its number in seq[], its tag, row i and output i stand
	 * there, but for what a step adds.  0: nobody's.
	 */
	uint64_t *steady;
	uint32_t nr_steady; /* in this step: places that were found so */
	uint32_t nr_before; /* sequences of the step before */
};

/* For batches of at most @max_seqs sequences.  0 or -ENOMEM. */
int plan_init(struct plan *p, uint32_t max_seqs);
void plan_deinit(struct plan *p);
/* Begin a step in @b, which is emptied; plan_end() once all is in. */
void plan_begin(struct plan *p, struct batch *b);
void plan_end(struct plan *p, struct batch *b);
/*
 * Add a row for each of the @nr sequences @ids that can decode (they are of
 * state SEQ_DECODE, with blocks): the last known token, which alone is not
 * computed.  The batch has room for them.  Writes `planned` of each.  Returns
 * the rows; *ret_reads is the sum of the KV tokens they attend to.
 */
uint32_t plan_decode(struct plan *p, struct batch *b, struct seq *seqs,
		     const uint32_t *ids, uint32_t nr, uint64_t *ret_reads);
/*
 * Add the next @n tokens of sequence number @id.  The caller has seen to room
 * in the batch and to blocks for them.
 */
void plan_span(struct plan *p, struct batch *b, uint32_t id,
	       const struct seq *q, uint32_t n);

#endif
