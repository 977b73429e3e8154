/* SPDX-License-Identifier: MIT */
#include "daemon/core/entry.h"

#include <string.h>

#include "daemon/core/runset.h"
#include "daemon/core/seq.h"
#include "daemon/core/victim.h"

/*
 * Is a sequence of the same domain about to index the very block that @q
 * misses first?  Then waiting costs less than computing it twice, and the
 * block is held once.  Never across domains: to wait for a block is to learn
 * that somebody computes it.  Nor for a lower class: that may take long.
 */
static bool has_twin(const struct runset *r, const struct seq *q,
		     uint32_t nr_hit, const struct prefix_pos *pos)
{
	const uint32_t *ids = q->ids + nr_hit * KV_BLOCK;
	uint32_t i;

	if (q->score || q->domain == PREFIX_NONE ||
	    (nr_hit + 1) * KV_BLOCK > q->known)
		return false;
	for (i = 0; i < r->max_running; i++) {
		const struct seq *x;

		if (r->running[i] == SEQ_NONE)
			continue;
		x = &r->seqs[r->running[i]];
		if (x->state == SEQ_FILL && x->domain == q->domain &&
		    !x->held && !x->dead && x->cls <= q->cls &&
		    x->pos.parent == pos->parent &&
		    x->pos.parent_gen == pos->parent_gen &&
		    x->nr_indexed == nr_hit &&
		    (nr_hit + 1) * KV_BLOCK <= seq_goal(x) &&
		    !memcmp(x->ids + nr_hit * KV_BLOCK, ids, KV_BLOCK * 4))
			return true;
	}
	return false;
}

/* Lower classes always keep one slot each, if they have work. */
static bool slot_for(const struct runset *r, const struct seq *q)
{
	uint32_t kept = 0, c;

	for (c = q->cls + 1u; c < NR_CLASSES; c++)
		kept += r->tenants.nr_wanting[c] && !r->class_running[c];
	/* the floor is for machines that have room for it */
	if (r->max_running <= NR_CLASSES)
		kept = 0;
	return r->nr_running + kept < r->max_running;
}

/* Does anyone run who is not held (those give way at once)? */
static bool someone_runs(const struct runset *r)
{
	uint32_t i, seen = 0;

	for (i = 0; seen < r->nr_running; i++) {
		if (r->running[i] == SEQ_NONE)
			continue;
		if (!r->seqs[r->running[i]].held)
			return true;
		seen++;
	}
	return false;
}

/* What the pool lacks to admit @q with these hits; 0 = nothing. */
static uint32_t lacking(const struct runset *r, const struct seq *q,
			uint32_t nr_hit, uint32_t nr_hit_free)
{
	uint32_t need = runset_promise(q) - nr_hit + nr_hit_free;
	uint32_t have = r->kv.nr_free - r->reserved;

	/* alone it is always let in: runset_add()'s caller saw to that */
	if (someone_runs(r))
		need += r->watermark;
	return need > have ? need - have : 0;
}

/*
 * Was it refused for want of blocks, and has nobody given any back since?
 * Then it need not be looked for in the index again, which for a long prompt
 * that waits would cost more each step than the rest of the schedule.
 */
static bool still_blocked(const struct runset *r, const struct seq *q)
{
	uint32_t c;

	for (c = q->cls + 1u; c < NR_CLASSES; c++)
		if (r->class_running[c])
			return false; /* there may be a victim this time */
	return q->tried == r->nr_returns;
}

enum entry_answer entry_admit(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];
	struct prefix_pos pos = { 0, 0 };
	struct victim_view v = runset_view(r);
	uint32_t nr_hit, nr_free, lack, victim;

	if (still_blocked(r, q))
		return ENTRY_NO_BLOCKS;
	q->tried = 0;
	nr_hit = seq_match(q, &r->prefix, r->match, &pos, &nr_free);
	if (has_twin(r, q, nr_hit, &pos))
		return ENTRY_TWIN;
	while (!slot_for(r, q)) {
		victim = victim_choose(&v, id, VICTIM_SLOT);
		r->wanted |= r->frozen && victim != SEQ_NONE;
		if (r->frozen || victim == SEQ_NONE)
			return ENTRY_NO_SLOT;
		runset_preempt(r, victim);
		/* its blocks may be among our hits: count the free ones anew */
		nr_hit = seq_match(q, &r->prefix, r->match, &pos, &nr_free);
	}
	lack = lacking(r, q, nr_hit, nr_free);
	if (lack && victim_blocks(&v, id, VICTIM_BLOCKS) < lack) {
		q->tried = r->nr_returns;
		return ENTRY_NO_BLOCKS;
	}
	if (lack && r->frozen) {
		r->wanted = true;
		return ENTRY_NO_BLOCKS;
	}
	while (lack) {
		victim = victim_choose(&v, id, VICTIM_BLOCKS);
		if (victim == SEQ_NONE)
			return ENTRY_NO_BLOCKS;
		runset_preempt(r, victim);
		nr_hit = seq_match(q, &r->prefix, r->match, &pos, &nr_free);
		lack = lacking(r, q, nr_hit, nr_free);
	}
	runset_start(r, id, nr_hit, &pos);
	return ENTRY_ADMITTED;
}
