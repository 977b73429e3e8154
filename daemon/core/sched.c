/* SPDX-License-Identifier: MIT */
#include "daemon/core/sched.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/entry.h"

/* The floors: hundredths of the tokens that go to a class whatever happens. */
static const int64_t floor_percent[NR_CLASSES] = { 0, 5, 1 };

/* Most waiting sequences passed over, for their twins, in one walk. */
#define MAX_SKIPPED 256u

/* Who decodes first where not all fit: the share, then the longest unserved. */
static bool decode_before(const void *arg, uint32_t a, uint32_t b)
{
	const struct runset *r = arg;
	const struct seq *x = &r->seqs[a], *y = &r->seqs[b];
	uint64_t vx = r->tenants.all[x->tenant].vt[x->cls];
	uint64_t vy = r->tenants.all[y->tenant].vt[y->cls];

	if (vx != vy)
		return vx < vy;
	if (x->step != y->step)
		return x->step < y->step;
	return x->order < y->order;
}

int sched_init(struct sched *s, const struct sched_options *opt)
{
	int ret;

	memset(s, 0, sizeof(*s));
	if (!opt->context || !opt->max_tokens_per_step || !opt->queue_entries ||
	    opt->max_running > opt->max_seqs)
		return -EINVAL;
	s->opt = *opt;
	budget_init(&s->budget);
	ret = runset_init(&s->run, opt->nr_blocks, opt->max_seqs,
			  opt->max_running, seq_blocks(opt->context),
			  opt->max_tenants, opt->hash_key);
	if (ret)
		return ret;
	ret = plan_init(&s->plan, opt->max_running);
	if (!ret)
		ret = plan_init(&s->other_plan, opt->max_running);
	if (!ret)
		ret = heap_init(&s->decode_order, opt->max_seqs, decode_before,
				&s->run);
	s->skipped = calloc(MAX_SKIPPED, sizeof(*s->skipped));
	if (!ret && !s->skipped)
		ret = -ENOMEM;
	if (ret)
		sched_deinit(s);
	return ret;
}

void sched_deinit(struct sched *s)
{
	free(s->skipped);
	heap_deinit(&s->decode_order);
	plan_deinit(&s->other_plan);
	plan_deinit(&s->plan);
	runset_deinit(&s->run);
	memset(s, 0, sizeof(*s));
}

int sched_set_tenant(struct sched *s, uint64_t tenant, uint32_t weight,
		     uint32_t rate)
{
	uint32_t t;
	int ret = tenant_get(&s->run.tenants, tenant, &t);

	return ret ? ret : tenant_set(&s->run.tenants, t, weight, rate);
}

void sched_clock(struct sched *s, uint64_t now_ns)
{
	tenants_clock(&s->run.tenants, now_ns);
}

uint64_t sched_next_rate(struct sched *s)
{
	return tenants_ready_ns(&s->run.tenants);
}

static int check_lengths(const struct sched *s, const struct sched_request *req)
{
	if (!req->ids || !req->prompt_len || req->known < req->prompt_len ||
	    req->max_len < req->known || req->cls >= NR_CLASSES ||
	    req->nr_alt > MAX_ALT)
		return -EINVAL;
	if (req->score && (req->known != req->prompt_len || req->known < 2 ||
			   req->nr_scored >= req->known - 1))
		return -EINVAL;
	if (req->max_len > s->opt.context ||
	    seq_blocks(req->max_len) > s->opt.nr_blocks - 1)
		return -E2BIG;
	return 0;
}

static uint32_t domain_of(struct sched *s, const struct sched_request *req)
{
	struct prefix_domain_key key = { .tenant = req->tenant };

	if (s->opt.no_prefix_index)
		return PREFIX_NONE;
	if (req->adapter)
		memcpy(key.adapter, req->adapter, sizeof(key.adapter));
	return prefix_domain_get(&s->run.prefix, &key);
}

/* Do penalties look at the tokens that came before? */
static bool wants_history(const struct sampling *p)
{
	return p && (p->repetition_penalty != 1 || p->frequency_penalty != 0 ||
		     p->presence_penalty != 0);
}

int sched_add(struct sched *s, const struct sched_request *req,
	      uint32_t *ret_id)
{
	struct seq q = {
		.tag = req->tag,
		.ids = req->ids,
		.out = req->out,
		.out_stride = req->out_stride,
		.sampling = req->score ? NULL : req->sampling,
		.deadline_ns = req->deadline_ns ? req->deadline_ns : UINT64_MAX,
		.prompt_len = req->prompt_len,
		.known = req->known,
		.stored = req->known,
		.max_len = req->max_len,
		.nr_alt = (uint8_t)req->nr_alt,
		.cls = (uint8_t)req->cls,
		.score = req->score,
		.history = wants_history(req->sampling),
		.scored = req->nr_scored,
		.paid = req->recovered ? req->prompt_len : 0,
	};
	const struct tenant *t;
	int ret = check_lengths(s, req);

	if (ret)
		return ret;
	if (s->run.free_seq == SEQ_NONE)
		return -EAGAIN;
	ret = tenant_get(&s->run.tenants, req->tenant, &q.tenant);
	if (ret)
		return ret;
	t = &s->run.tenants.all[q.tenant];
	if (!req->recovered && t->nr_queued &&
	    (t->nr_queued >= s->opt.queue_entries ||
	     t->queued_tokens + req->known > s->opt.queue_tokens))
		return -EAGAIN;
	q.domain = domain_of(s, req);
	return runset_add(&s->run, &q, ret_id);
}

void sched_finish(struct sched *s, uint32_t id)
{
	struct seq *q = &s->run.seqs[id];

	assert(q->state != SEQ_FREE && !q->dead);
	if (s->under_way && q->planned)
		q->dead = true; /* the step still writes to its blocks */
	else if (q->flights)
		runset_retire(&s->run, id); /* as those do */
	else
		runset_remove(&s->run, id);
}

void sched_hold(struct sched *s, uint32_t id, bool hold)
{
	runset_hold(&s->run, id, hold);
}

bool sched_expired(const struct sched *s, uint64_t now_ns, uint32_t *ret_id)
{
	if (sched_next_deadline(s) > now_ns || s->under_way)
		return false;
	*ret_id = s->run.deadline_root;
	return true;
}

uint64_t sched_next_deadline(const struct sched *s)
{
	uint32_t id = s->run.deadline_root;

	return id == HEAP_EMPTY ? UINT64_MAX : s->run.seqs[id].deadline_ns;
}

/* ---- a step ---- */

/* The next @n tokens of @id go into the batch, and are paid for. */
static void take_rows(struct sched *s, struct batch *b, uint32_t id, uint32_t n)
{
	struct seq *q = &s->run.seqs[id];
	uint32_t end = q->computed + n, from, to;

	budget_spend(&s->budget, q->computed, n);
	plan_span(s->at, b, id, q, n);
	if (q->computed < q->high)
		s->recomputed += (end < q->high ? end : q->high) - q->computed;
	/* an output token was paid when it came out, a prompt's is now */
	from = q->computed > q->paid ? q->computed : q->paid;
	to = end < q->prompt_len ? end : q->prompt_len;
	if (to > from) {
		tenant_charge(&s->run.tenants, q->tenant, q->cls,
			      (uint64_t)COST_PREFILL * (to - from));
		tenant_count(&s->run.tenants, q->tenant, to - from);
		q->paid = to;
	}
	q->planned = n;
	q->step = s->run.step;
	s->left -= n;
	s->class_tokens[q->cls] += n;
}

/*
 * A row for each of the @nr sequences of @cls that can decode.  An output
 * token was paid when it came out, so nothing is charged here.
 */
static void take_decoding(struct sched *s, struct batch *b,
			  enum sched_class cls, const uint32_t *ids,
			  uint32_t nr)
{
	uint64_t reads;

	nr = plan_decode(s->at, b, s->run.seqs, ids, nr, &reads);
	budget_spend_rows(&s->budget, nr, reads);
	s->left -= nr;
	s->class_tokens[cls] += nr;
}

/* seq_can_decode(), unless its tenant is over its rate. */
static bool can_decode(const struct runset *r, const struct seq *q)
{
	return seq_can_decode(q) && !(r->tenants.nr_throttled &&
				      r->tenants.all[q->tenant].throttled);
}

/*
 * Blocks for the new token of each sequence that decodes.  Before anything
 * else is planned: only now can everyone be a victim.  Who wants no row now
 * is left in growing[].
 */
static void grow_decoding(struct sched *s)
{
	struct runset *r = &s->run;
	uint32_t c, i, left;

	for (c = 0; c < NR_CLASSES; c++) {
		for (i = left = 0; i < r->nr_growing[c]; i++) {
			uint32_t id = r->growing[c][i];
			struct seq *q = &r->seqs[id];

			if (q->state == SEQ_DECODE && seq_is_short(q)) {
				if (!can_decode(r, q)) {
					r->growing[c][left++] = id;
					continue;
				}
				runset_grow(r, id);
			}
			q->growing = false;
		}
		r->nr_growing[c] = left;
	}
}

/*
 * A row for each sequence of @cls that decodes, for at most @limit of them.
 * True where that was all.
 */
static bool plan_decoding(struct sched *s, struct batch *b,
			  enum sched_class cls, uint32_t limit)
{
	struct runset *r = &s->run;
	const uint32_t *ids = r->decoding[cls];
	uint32_t root = HEAP_EMPTY, nr = r->nr_decoding[cls], i;

	limit = limit < s->left ? limit : s->left;
	if (nr > limit || r->tenants.nr_throttled)
		for (i = nr = 0; i < r->nr_decoding[cls]; i++)
			nr += can_decode(r, &r->seqs[ids[i]]);
	if (nr <= limit && !r->tenants.nr_throttled) {
		take_decoding(s, b, cls, ids, r->nr_decoding[cls]);
		return true;
	}
	for (i = 0; i < r->nr_decoding[cls]; i++)
		if (can_decode(r, &r->seqs[ids[i]]))
			heap_push(&s->decode_order, &root, ids[i]);
	for (i = 0; i < limit && root != HEAP_EMPTY; i++) {
		uint32_t id = root;

		heap_remove(&s->decode_order, &root, id);
		r->seqs[id].step = r->step;
		take_decoding(s, b, cls, &id, 1);
	}
	return nr <= limit;
}

/*
 * The tenant's next prompt: one that is under way, unless one that waits has
 * an earlier deadline.
 */
static uint32_t next_prompt(const struct sched *s, const struct tenant *t,
			    enum sched_class cls)
{
	const struct runset *r = &s->run;
	uint32_t fill = t->fill[cls], wait = t->wait[cls];

	if (t->shut[cls] == s->pass)
		wait = HEAP_EMPTY;
	if (fill == HEAP_EMPTY)
		return wait;
	if (wait == HEAP_EMPTY)
		return fill;
	return r->seqs[wait].deadline_ns < r->seqs[fill].deadline_ns ? wait
								     : fill;
}

/*
 * Nothing of @t is let in in this walk; its prompts under way go on.  Others
 * may be let in before it only as far as its turn would have brought it: beyond
 * this counter what they leave is kept for it, or a large request would wait
 * for ever behind small ones.
 */
static void shut(struct sched *s, struct tenant *t, enum sched_class cls,
		 uint32_t nr_tokens, uint64_t *gate)
{
	uint64_t g = t->vt[cls] + (uint64_t)COST_PREFILL * nr_tokens * t->unit;

	t->shut[cls] = s->pass;
	*gate = g < *gate ? g : *gate;
	if (cls < s->starved)
		s->starved = cls;
}

/* Let @id of @t in, or pass over it, or over the tenant. */
static bool let_in(struct sched *s, struct tenant *t, uint32_t id,
		   uint64_t *gate)
{
	struct runset *r = &s->run;
	const struct seq *q = &r->seqs[id];

	/* what a higher class waits for is not given to a lower one */
	if (t->vt[q->cls] > *gate || s->starved < q->cls) {
		t->shut[q->cls] = s->pass;
		return false;
	}
	switch (entry_admit(r, id)) {
	case ENTRY_ADMITTED:
		return true;
	case ENTRY_TWIN:
		if (s->nr_skipped < MAX_SKIPPED) {
			runset_pop(r, id);
			s->skipped[s->nr_skipped++] = id;
		} else {
			t->shut[q->cls] = s->pass;
		}
		return false;
	case ENTRY_NO_SLOT:
	case ENTRY_NO_BLOCKS:
		shut(s, t, q->cls, q->known, gate);
	}
	return false;
}

/* How many of the next tokens of @q to compute now, of at most @limit. */
static uint32_t chunk(struct sched *s, const struct seq *q, uint32_t limit)
{
	uint32_t todo = seq_goal(q) - q->computed, n, cut;

	n = budget_fill(&s->budget, q->computed, todo < limit ? todo : limit);
	cut = (q->computed + n) % KV_BLOCK;
	/* end on a block, so that the block can be indexed; but do not stop */
	return n < todo && n > cut ? n - cut : n;
}

/* Prompts of @cls, in the order of shares, for at most @limit tokens. */
static void plan_prompts(struct sched *s, struct batch *b, enum sched_class cls,
			 uint32_t limit)
{
	struct runset *r = &s->run;
	uint64_t gate = UINT64_MAX;
	uint32_t i;

	s->pass++;
	s->nr_skipped = 0;
	limit = limit < s->left ? limit : s->left;
	while (limit) {
		uint32_t at = tenant_next(&r->tenants, cls, s->pass), id, n;
		struct tenant *t;

		if (at == TENANT_NONE)
			break;
		t = &r->tenants.all[at];
		id = next_prompt(s, t, cls);
		if (id == HEAP_EMPTY) {
			t->blocked[cls] = s->pass;
			continue;
		}
		if (r->seqs[id].state == SEQ_WAIT && !let_in(s, t, id, &gate))
			continue;
		n = chunk(s, &r->seqs[id], limit);
		if (!n)
			break;
		runset_pop(r, id);
		take_rows(s, b, id, n);
		limit -= n;
	}
	for (i = 0; i < s->nr_skipped; i++)
		runset_push(r, s->skipped[i]);
}

/* The target of the strictest class that has a gap between tokens. */
static uint64_t target_ns(const struct sched *s)
{
	uint64_t min = UINT64_MAX;
	uint32_t c;

	for (c = 0; c < NR_CLASSES; c++)
		if (s->run.nr_decoding[c] && s->opt.target_gap_ns[c] &&
		    s->opt.target_gap_ns[c] < min)
			min = s->opt.target_gap_ns[c];
	return min == UINT64_MAX ? 0 : min;
}

/*
 * Of the room that is left, an eighth is not for those that decode while
 * prompts wait: if they fill each step, nobody else would ever begin.  What
 * the prompts do not use goes back to them.
 */
static uint32_t kept_for_prompts(const struct sched *s, enum sched_class cls)
{
	if (!s->run.tenants.nr_wanting[cls])
		return 0;
	return (s->left + (uint32_t)(s->run.step % 8)) / 8;
}

/* Who remembers what stands in @b; where neither does, the one to learn it. */
static struct plan *plan_of(struct sched *s, const struct batch *b)
{
	struct plan *p = &s->plan, *other = &s->other_plan;

	if (p->batch == b || !p->batch)
		return p;
	return other->batch == b || !other->batch ? other : p;
}

uint32_t sched_step(struct sched *s, struct batch *b)
{
	uint32_t c;

	assert(!s->under_way && b->max_seqs >= s->opt.max_running);
	tenants_settle(&s->run.tenants);
	s->run.step++;
	s->left = s->opt.max_tokens_per_step < b->max_tokens
			  ? s->opt.max_tokens_per_step
			  : b->max_tokens;
	s->starved = NR_CLASSES;
	memset(s->class_tokens, 0, sizeof(s->class_tokens));
	s->at = plan_of(s, b);
	plan_begin(s->at, b);
	budget_begin(&s->budget, target_ns(s));
	grow_decoding(s);
	/* a prompt's chunk is worth its step from 16 tokens on */
	for (c = CLASS_BATCH; c < NR_CLASSES; c++) {
		uint32_t due = (uint32_t)(s->credit[c] / 100);

		plan_decoding(s, b, (enum sched_class)c, due);
		due -= due < s->class_tokens[c] ? due : s->class_tokens[c];
		if (due >= KV_BLOCK)
			plan_prompts(s, b, (enum sched_class)c, due);
	}
	s->starved = NR_CLASSES;
	for (c = 0; c < NR_CLASSES; c++) {
		enum sched_class cls = (enum sched_class)c;
		bool all = plan_decoding(s, b, cls,
					 s->left - kept_for_prompts(s, cls));

		plan_prompts(s, b, cls, s->left);
		if (!all)
			plan_decoding(s, b, cls, s->left);
	}
	plan_end(s->at, b);
	s->under_way = b->nr_seqs > 0;
	return b->nr_tokens;
}

void sched_settle_floors(struct sched *s, uint32_t nr_tokens)
{
	int64_t most = 100 * (int64_t)(s->opt.max_tokens_per_step / 8);
	uint32_t c;

	most = most < 100 * KV_BLOCK ? 100 * KV_BLOCK : most;
	for (c = CLASS_BATCH; c < NR_CLASSES; c++) {
		int64_t *credit = &s->credit[c];

		*credit += floor_percent[c] * nr_tokens -
			   100 * (int64_t)s->class_tokens[c];
		if (*credit < 0 ||
		    (!s->run.tenants.nr_wanting[c] && !s->run.nr_decoding[c]))
			*credit = 0;
		*credit = *credit < most ? *credit : most;
	}
}

void sched_commit(struct sched *s, const struct batch *b, uint64_t elapsed_ns)
{
	const uint32_t *ids = s->at->seq;
	struct runset *r = &s->run;
	uint32_t i;

	assert(s->under_way);
	s->under_way = false;
	for (i = 0; i < b->nr_seqs; i++) {
		uint32_t id = ids[i];
		struct seq *q = &r->seqs[id];

		if (q->dead) {
			runset_remove(r, id);
			continue;
		}
		q->computed += q->planned;
		if (q->state != SEQ_FILL) {
			q->planned = 0;
			if (q->computed % KV_BLOCK == 0)
				seq_index(q, &r->prefix);
			continue;
		}
		s->prefill_tokens += q->planned;
		q->planned = 0;
		q->high = q->high > q->computed ? q->high : q->computed;
		if (q->score && q->computed > q->scored)
			q->scored = q->computed;
		seq_index(q, &r->prefix);
		if (q->computed == seq_goal(q))
			runset_filled(r, id);
		else
			runset_push(r, id);
	}
	sched_settle_floors(s, b->nr_tokens);
	if (elapsed_ns)
		budget_observe(&s->budget, elapsed_ns);
}

void sched_get_stats(const struct sched *s, struct sched_stats *ret_stats)
{
	const struct runset *r = &s->run;

	*ret_stats = (struct sched_stats){
		.running = r->nr_running,
		.waiting = r->nr_seqs - r->nr_running,
		.blocks_total = r->kv.nr_blocks - 1,
		.blocks_used = kv_nr_used(&r->kv),
		.blocks_cached = r->kv.nr_cached,
		.blocks_shared = r->kv.nr_shared,
		.blocks_saved = r->kv.nr_saved,
		.steps = r->step,
		.prefill_tokens = s->prefill_tokens,
		.decode_tokens = s->decode_tokens,
		.hit_tokens = r->hit_tokens,
		.preemptions = r->nr_preempts,
		.recomputed_tokens = s->recomputed,
	};
}

const char *sched_check(const struct sched *s)
{
	return runset_check(&s->run);
}
