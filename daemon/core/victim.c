/* SPDX-License-Identifier: MIT */
#include "daemon/core/victim.h"

#include "daemon/core/kv.h"
#include "daemon/core/seq.h"
#include "daemon/core/tenant.h"

/* May @x be taken from for @q?  (Whether it frees anything is not asked.) */
static bool allowed(const struct victim_view *v, const struct seq *q,
		    const struct seq *x, enum victim_why why)
{
	if (x->planned)
		return false;
	if (x->held)
		return true;
	switch (why) {
	case VICTIM_GROW:
		return x->cls >= q->cls &&
		       !(x->nr_preempts &&
			 x->known - x->resumed_len < VICTIM_SPARED);
	case VICTIM_BLOCKS:
		return x->cls > q->cls &&
		       v->class_blocks[x->cls] > v->class_floor[x->cls];
	case VICTIM_SLOT:
		return x->cls > q->cls && v->class_running[x->cls] > 1;
	}
	return false;
}

struct candidate {
	const struct seq *seq;
	uint32_t nr_private;
	uint64_t vt;
};

/* Is @a a better victim than @b? */
static bool better(const struct candidate *a, const struct candidate *b)
{
	uint64_t cost_a, cost_b;

	if (a->seq->held != b->seq->held)
		return a->seq->held;
	if (a->seq->cls != b->seq->cls)
		return a->seq->cls > b->seq->cls;
	if (a->vt != b->vt)
		return a->vt > b->vt;
	/* computed / private, cross-multiplied */
	cost_a = (uint64_t)a->seq->computed * b->nr_private;
	cost_b = (uint64_t)b->seq->computed * a->nr_private;
	if (cost_a != cost_b)
		return cost_a < cost_b;
	return a->seq->order > b->seq->order;
}

uint32_t victim_choose(const struct victim_view *v, uint32_t id,
		       enum victim_why why)
{
	const struct seq *q = &v->seqs[id];
	struct candidate best = { 0 }, c;
	uint32_t i;

	for (i = 0; i < v->nr_slots; i++) {
		if (v->running[i] == SEQ_NONE)
			continue;
		c.seq = &v->seqs[v->running[i]];
		if (!allowed(v, q, c.seq, why))
			continue;
		c.nr_private = seq_nr_private(c.seq, v->kv);
		/*
		 * Its blocks may all be shared with other victims: to admit,
		 * several are taken in turn and the last one frees them.
		 */
		if (!c.nr_private && why == VICTIM_GROW && !c.seq->held)
			continue;
		c.vt = v->tenants->all[c.seq->tenant].vt[c.seq->cls];
		if (!best.seq || better(&c, &best))
			best = c;
	}
	return best.seq ? (uint32_t)(best.seq - v->seqs) : SEQ_NONE;
}

uint32_t victim_blocks(const struct victim_view *v, uint32_t id,
		       enum victim_why why)
{
	const struct seq *q = &v->seqs[id];
	uint32_t n = 0, i;

	for (i = 0; i < v->nr_slots; i++) {
		const struct seq *x;

		if (v->running[i] == SEQ_NONE)
			continue;
		x = &v->seqs[v->running[i]];
		/* what it was promised is given up with it */
		if (allowed(v, q, x, why))
			n += x->promise > x->nr_table ? x->promise
						      : x->nr_table;
	}
	return n;
}
