/* SPDX-License-Identifier: MIT */
#include "daemon/core/ahead.h"

#include <assert.h>

#include "daemon/core/sched.h"

bool ahead_may_plan(const struct sched *s)
{
	return !s->nr_ahead || (!s->run.wanted && runset_can_grow(&s->run));
}

uint32_t ahead_seq(const struct sched *s, const struct batch *b, uint32_t i)
{
	const struct plan *p = s->plan.batch == b ? &s->plan : &s->other_plan;

	assert(p->batch == b);
	return p->seq[i];
}

/* Tokens of @q that we know. */
static uint32_t sure(const struct seq *q)
{
	return q->known - q->late;
}

/* Its rows will have been computed before those of any later step. */
static void submitted(struct sched *s, uint32_t id)
{
	struct runset *r = &s->run;
	struct seq *q = &r->seqs[id];

	assert(!q->dead);
	q->flights++;
	q->computed += q->planned;
	if (q->state == SEQ_DECODE) {
		q->planned = 0;
		if (q->computed % KV_BLOCK == 0 && q->computed <= sure(q))
			seq_index(q, &r->prefix);
		return;
	}
	s->prefill_tokens += q->planned;
	q->high = q->high > q->computed ? q->high : q->computed;
	if (q->score && q->computed > q->scored)
		q->scored = q->computed;
	seq_index(q, &r->prefix);
	if (q->computed < seq_goal(q)) {
		q->planned = 0;
		runset_push(r, id);
	} else if (!q->score) {
		q->planned = 0;
		runset_filled(r, id);
	}
	/* a score that is done stays out of the queue: see ahead_collected() */
}

/* May @q go on with a token that we do not know yet? */
static bool goes_on(const struct seq *q)
{
	return !q->score && !q->history && q->known + 1 < q->max_len;
}

void ahead_submitted(struct sched *s, const struct batch *b)
{
	struct ahead_step *step = &s->ahead[s->nr_ahead];
	uint32_t k, i;

	assert(s->under_way && s->nr_ahead < 2);
	s->under_way = false;
	s->nr_ahead++;
	s->run.frozen = true;
	*step = (struct ahead_step){
		.rows = s->budget.rows,
		.reads = s->budget.reads,
	};
	for (i = 0; i < b->nr_seqs; i++)
		submitted(s, ahead_seq(s, b, i));
	for (k = 0; k < b->nr_outs; k++) {
		uint32_t id = ahead_seq(s, b, b->out[k].seq);
		struct seq *q = &s->run.seqs[id];

		if (!goes_on(q))
			continue;
		q->last = BATCH_LATE + k;
		q->known++;
		q->late++;
		if (q->known % KV_BLOCK <= 1)
			runset_block_edge(&s->run, id);
	}
	sched_settle_floors(s, b->nr_tokens);
}

/* A step less that has rows of @id. */
static void collected(struct sched *s, uint32_t id)
{
	struct runset *r = &s->run;
	struct seq *q = &r->seqs[id];

	assert(q->flights);
	if (--q->flights)
		return;
	if (q->dead) {
		runset_remove(r, id);
	} else if (q->state == SEQ_FILL && q->planned) {
		q->planned = 0; /* a score that is done */
		runset_filled(r, id);
	}
}

void ahead_collected(struct sched *s, const struct batch *b,
		     uint64_t elapsed_ns)
{
	uint32_t i;

	assert(!s->under_way && s->nr_ahead);
	for (i = 0; i < b->nr_seqs; i++)
		collected(s, ahead_seq(s, b, i));
	s->budget.rows = s->ahead[0].rows;
	s->budget.reads = s->ahead[0].reads;
	if (elapsed_ns)
		budget_observe(&s->budget, elapsed_ns);
	s->ahead[0] = s->ahead[1];
	if (!--s->nr_ahead)
		s->run.frozen = s->run.wanted = false;
}

void ahead_append(struct sched *s, uint32_t id, uint32_t token)
{
	struct runset *r = &s->run;
	struct seq *q = &r->seqs[id];

	if (!q->late) { /* it waited for this token */
		sched_append(s, id, token);
		return;
	}
	assert(q->state == SEQ_DECODE && !q->score);
	q->late--;
	if (!q->late) /* else the last one is still to come */
		q->last = token;
	if (!q->out) {
		assert(q->stored + 1 == sure(q));
		q->ids[q->stored++] = token;
	}
	if (sure(q) % KV_BLOCK == 0 && q->computed >= sure(q))
		seq_index(q, &r->prefix);
	s->decode_tokens++;
	tenant_output(&r->tenants, q->tenant, q->cls);
}
