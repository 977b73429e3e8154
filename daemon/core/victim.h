/* SPDX-License-Identifier: MIT */
/*
 * victim.h - who gives its blocks back when there are too few.
 *
 * Pure choice; sched.c preempts.  The order: who is held (its client does not
 * read), then the lowest class, then the tenant that had the most of its
 * share, then the least recomputation for each block that becomes free, then
 * who came last.  Not in question: whom the step being planned has rows of,
 * and who would free nothing.
 *
 *  - To grow, a sequence may take from its own class and those below, its own
 *    blocks included.  Who was resumed is spared for 64 new tokens: a block
 *    changes hands at most that often (vllm-project/vllm#25538 shows the
 *    alternative, a preemption each step).
 *  - To be admitted it may take from strictly lower classes only, and leaves
 *    each class its floor: equals never displace each other.
 */
#ifndef CORE_VICTIM_H
#define CORE_VICTIM_H

#include <stdbool.h>
#include <stdint.h>

struct kv;
struct seq;
struct tenants;

#define VICTIM_SPARED 64u /* new tokens before it may be one again */

enum victim_why {
	VICTIM_GROW,   /* a running sequence needs its next block */
	VICTIM_BLOCKS, /* a waiting one needs blocks to be admitted */
	VICTIM_SLOT,   /* a waiting one needs a place among the running */
};

/* What the choice looks at; all borrowed. */
struct victim_view {
	const struct seq *seqs;
	const uint32_t *running; /* [nr_slots] numbers, SEQ_NONE = empty */
	uint32_t nr_slots;
	const struct kv *kv;
	const struct tenants *tenants;
	const uint32_t *class_blocks;  /* [NR_CLASSES] held by each class, */
	const uint32_t *class_floor;   /* [NR_CLASSES] and left to it */
	const uint32_t *class_running; /* [NR_CLASSES] sequences */
};

/* The victim for sequence number @id, SEQ_NONE where there is none. */
uint32_t victim_choose(const struct victim_view *v, uint32_t id,
		       enum victim_why why);
/*
 * No more blocks than this come free if one victim after the other is taken
 * for @id; fewer where others share them.
 */
uint32_t victim_blocks(const struct victim_view *v, uint32_t id,
		       enum victim_why why);

#endif
