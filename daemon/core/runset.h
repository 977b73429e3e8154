/* SPDX-License-Identifier: MIT */
/*
 * runset.h - the sequences, and what each of them holds: its state, its place
 * in a queue, its slot among the running, its blocks.
 *
 * Every move between states is made here, so that five books agree: the
 * state, the heaps of the tenants, the arrays of the decoding, the pool, and
 * who wants service.  When a move is made is decided above (sched.c).
 *
 *   WAIT --admit--> FILL --fill done--> DECODE
 *    ^                |                   |
 *    +----preempt-----+-------------------+      and any of them: release
 *
 * Admission takes the blocks of all known tokens at once: a sequence that was
 * let in can always compute what it knows.  Beyond that it has a promise, a
 * table length that nobody else can eat into: one more token, and after its
 * k-th preemption 64 * 2^(k-1) tokens.  So a sequence is preempted for lack
 * of blocks at most log2 of its length times, however small the pool is
 * (TensorRT-LLM's GUARANTEED_NO_EVICT is where that ends, vLLM's promise of
 * nothing is where it begins).
 */
#ifndef CORE_RUNSET_H
#define CORE_RUNSET_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/heap.h"
#include "daemon/core/kv.h"
#include "daemon/core/prefix.h"
#include "daemon/core/tenant.h"
#include "daemon/core/victim.h"

struct seq;

struct runset {
	struct kv kv;
	struct prefix prefix;
	struct tenants tenants;
	uint32_t max_seqs, max_running, max_table;

	struct seq *seqs;	    /* owned: [max_seqs] */
	uint32_t free_seq, nr_seqs; /* list of the free; how many are not */
	struct heap queue;	    /* order of tenant.wait and tenant.fill */
	struct heap deadline;	    /* order of deadline_root */
	uint32_t deadline_root;
	uint64_t nr_arrived, nr_tables;

	uint32_t *running;    /* owned: [max_running] numbers or SEQ_NONE */
	uint32_t *free_slots; /* owned: a stack */
	uint32_t nr_running;
	uint32_t *tables; /* owned: [max_running][max_table] */
	uint32_t *match;  /* owned: [max_table] what seq_match() found */
	uint32_t *decoding[NR_CLASSES]; /* owned: [max_running] */
	uint32_t nr_decoding[NR_CLASSES];
	/* of those the ones that are short of a block, and some that were */
	uint32_t *growing[NR_CLASSES]; /* owned: [max_seqs] */
	uint32_t nr_growing[NR_CLASSES];
	uint32_t class_blocks[NR_CLASSES], class_floor[NR_CLASSES];
	uint32_t class_running[NR_CLASSES];
	uint32_t reserved;   /* free blocks that are promised; <= kv.nr_free */
	uint32_t watermark;  /* blocks that admission leaves free */
	uint64_t step;	     /* the one being planned or under way */
	uint64_t nr_returns; /* times that blocks came back, or could */
	/* steps are under way (ahead.h): nobody is preempted now, */
	bool frozen;
	bool wanted; /* though somebody was to be */

	/* counts since start */
	uint64_t nr_preempts, hit_tokens;
};

/*
 * @nr_blocks: of the pool, the null block included; @max_table: most blocks
 * of one sequence.  0, -EINVAL or -ENOMEM.
 */
int runset_init(struct runset *r, uint32_t nr_blocks, uint32_t max_seqs,
		uint32_t max_running, uint32_t max_table, uint32_t max_tenants,
		const uint8_t hash_key[16]);
void runset_deinit(struct runset *r);

/*
 * Put the sequence described by @what (the engine's half of it, tenant and
 * domain) into its queue.  -EAGAIN where all sequences are in use.
 */
int runset_add(struct runset *r, const struct seq *what, uint32_t *ret_id);
/* Forget it: blocks, slot, queue place; its number is free. */
void runset_remove(struct runset *r, uint32_t id);
/* Out of the order of service, or back into it. */
void runset_hold(struct runset *r, uint32_t id, bool hold);

/* What the choice of a victim looks at (victim.h). */
struct victim_view runset_view(const struct runset *r);
/* The table length that @q can count on once it is in. */
uint32_t runset_promise(const struct seq *q);
/*
 * From WAIT to FILL, with the first @nr_hit blocks of match[], behind which is
 * @pos.  That there are a slot and blocks for it is entry.c's word.
 */
void runset_start(struct runset *r, uint32_t id, uint32_t nr_hit,
		  const struct prefix_pos *pos);
/* From FILL or DECODE back to WAIT, without its blocks. */
void runset_preempt(struct runset *r, uint32_t id);
/*
 * Make sure of blocks for all that @id knows; preempts others, or at last
 * @id itself: then -EAGAIN.
 */
int runset_grow(struct runset *r, uint32_t id);

/*
 * What is known of @id, which decodes, has come to the end of a block or one
 * token beyond: where it has none for that one, into growing[].
 */
void runset_block_edge(struct runset *r, uint32_t id);

/* Are there blocks for the next token of all that decode, without a victim? */
bool runset_can_grow(const struct runset *r);
/*
 * It has ended, but a step under way has rows of it: it is served no more, and
 * keeps its number and its blocks until runset_remove().
 */
void runset_retire(struct runset *r, uint32_t id);

/*
 * Out of its heap for a while: a WAIT sequence that is passed over, a FILL
 * sequence whose rows are planned (set seq.planned after this).  And back in,
 * unless it has been held meanwhile (set seq.planned to 0 before).
 */
void runset_pop(struct runset *r, uint32_t id);
void runset_push(struct runset *r, uint32_t id);
/* From FILL to DECODE: it has caught up with what is known. */
void runset_filled(struct runset *r, uint32_t id);

/* All books against each other; NULL or what is wrong.  For tests. */
const char *runset_check(const struct runset *r);

#endif
