/* SPDX-License-Identifier: MIT */
#include "daemon/core/runset.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "daemon/core/seq.h"
#include "daemon/core/victim.h"

/* A queue's order: who was preempted, then the earliest deadline, then age. */
static bool queue_before(const void *arg, uint32_t a, uint32_t b)
{
	const struct seq *q = arg;

	if (q[a].resumed != q[b].resumed)
		return q[a].resumed;
	if (q[a].deadline_ns != q[b].deadline_ns)
		return q[a].deadline_ns < q[b].deadline_ns;
	return q[a].order < q[b].order;
}

static bool deadline_before(const void *arg, uint32_t a, uint32_t b)
{
	const struct seq *q = arg;

	if (q[a].deadline_ns != q[b].deadline_ns)
		return q[a].deadline_ns < q[b].deadline_ns;
	return q[a].order < q[b].order;
}

static int alloc_arrays(struct runset *r)
{
	uint32_t c;

	r->seqs = table_alloc(r->max_seqs, sizeof(*r->seqs));
	r->running = calloc(r->max_running, sizeof(*r->running));
	r->free_slots = calloc(r->max_running, sizeof(*r->free_slots));
	r->tables = table_alloc((size_t)r->max_running * r->max_table,
				sizeof(*r->tables));
	r->match = calloc(r->max_table, sizeof(*r->match));
	if (!r->seqs || !r->running || !r->free_slots || !r->tables ||
	    !r->match)
		return -ENOMEM;
	for (c = 0; c < NR_CLASSES; c++) {
		r->decoding[c] =
			calloc(r->max_running, sizeof(*r->decoding[c]));
		r->growing[c] = calloc(r->max_seqs, sizeof(*r->growing[c]));
		if (!r->decoding[c] || !r->growing[c])
			return -ENOMEM;
	}
	return 0;
}

int runset_init(struct runset *r, uint32_t nr_blocks, uint32_t max_seqs,
		uint32_t max_running, uint32_t max_table, uint32_t max_tenants,
		const uint8_t hash_key[16])
{
	uint32_t i;
	int ret;

	memset(r, 0, sizeof(*r));
	if (!max_seqs || !max_running || !max_table || !max_tenants)
		return -EINVAL;
	r->max_seqs = max_seqs;
	r->max_running = max_running;
	/*
	 * An odd number of cache lines a table: at a power of two the same
	 * entry of a thousand tables falls into a few sets of the cache.
	 */
	r->max_table = ((max_table + 15) / 16 | 1) * 16;
	ret = kv_init(&r->kv, nr_blocks);
	if (!ret)
		ret = prefix_init(&r->prefix, &r->kv, hash_key, max_seqs);
	if (!ret)
		ret = tenants_init(&r->tenants, max_tenants);
	if (!ret)
		ret = alloc_arrays(r);
	if (!ret)
		ret = heap_init(&r->queue, max_seqs, queue_before, r->seqs);
	if (!ret)
		ret = heap_init(&r->deadline, max_seqs, deadline_before,
				r->seqs);
	if (ret) {
		runset_deinit(r);
		return ret;
	}
	r->deadline_root = HEAP_EMPTY;
	r->nr_returns = 1; /* seq.tried = 0: never refused */
	for (i = 0; i < max_seqs; i++)
		r->seqs[i].next_free = i + 1 < max_seqs ? i + 1 : SEQ_NONE;
	for (i = 0; i < max_running; i++) {
		r->running[i] = SEQ_NONE;
		r->free_slots[i] = max_running - 1 - i;
	}
	r->watermark = nr_blocks / 100 ? nr_blocks / 100 : 1;
	r->class_floor[CLASS_BATCH] = nr_blocks / 20;
	r->class_floor[CLASS_IDLE] = nr_blocks / 100;
	return 0;
}

void runset_deinit(struct runset *r)
{
	uint32_t c;

	heap_deinit(&r->deadline);
	heap_deinit(&r->queue);
	for (c = 0; c < NR_CLASSES; c++) {
		free(r->decoding[c]);
		free(r->growing[c]);
	}
	free(r->match);
	table_free(r->tables);
	free(r->free_slots);
	free(r->running);
	table_free(r->seqs);
	tenants_deinit(&r->tenants);
	prefix_deinit(&r->prefix);
	kv_deinit(&r->kv);
	memset(r, 0, sizeof(*r));
}

/* ---- states: the two heaps, the decoding, who wants service ---- */

static struct tenant *tenant_of(struct runset *r, const struct seq *q)
{
	return &r->tenants.all[q->tenant];
}

static bool wants(const struct seq *q)
{
	return !q->held && (q->state == SEQ_WAIT || q->state == SEQ_FILL);
}

/* Change state and held, and tell the tenant whether it wants service. */
static void set_state(struct runset *r, struct seq *q, enum seq_state state,
		      bool held)
{
	bool before = wants(q);

	q->state = (uint8_t)state;
	q->held = held;
	if (wants(q) == before)
		return;
	if (before)
		tenant_unwant(&r->tenants, q->tenant, q->cls);
	else
		tenant_want(&r->tenants, q->tenant, q->cls);
}

/* Is it in a heap?  A FILL sequence in a step under way is in none. */
static bool in_heap(const struct seq *q)
{
	return wants(q) && !(q->state == SEQ_FILL && q->planned);
}

static uint32_t *heap_of(struct runset *r, const struct seq *q)
{
	struct tenant *t = tenant_of(r, q);

	return q->state == SEQ_WAIT ? &t->wait[q->cls] : &t->fill[q->cls];
}

static void enlist(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	if (in_heap(q)) {
		heap_push(&r->queue, heap_of(r, q), id);
	} else if (q->state == SEQ_DECODE) {
		q->decode_at = r->nr_decoding[q->cls];
		r->decoding[q->cls][r->nr_decoding[q->cls]++] = id;
	}
}

static void delist(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	if (in_heap(q)) {
		heap_remove(&r->queue, heap_of(r, q), id);
	} else if (q->state == SEQ_DECODE) {
		uint32_t last = --r->nr_decoding[q->cls];

		last = r->decoding[q->cls][last];
		r->decoding[q->cls][q->decode_at] = last;
		r->seqs[last].decode_at = q->decode_at;
	}
}

static void count_queued(struct runset *r, const struct seq *q, bool enters)
{
	struct tenant *t = tenant_of(r, q);

	t->nr_queued += enters ? 1 : -1u;
	t->queued_tokens += enters ? q->known : -(uint64_t)q->known;
}

int runset_add(struct runset *r, const struct seq *what, uint32_t *ret_id)
{
	uint32_t id = r->free_seq;
	struct seq *q;

	if (id == SEQ_NONE)
		return -EAGAIN;
	q = &r->seqs[id];
	r->free_seq = q->next_free;
	r->nr_seqs++;
	*q = *what;
	q->state = SEQ_FREE;
	q->order = ++r->nr_arrived;
	q->slot = SEQ_NONE;
	tenant_of(r, q)->nr_seqs++;
	set_state(r, q, SEQ_WAIT, false);
	count_queued(r, q, true);
	enlist(r, id);
	if (q->deadline_ns != UINT64_MAX)
		heap_push(&r->deadline, &r->deadline_root, id);
	*ret_id = id;
	return 0;
}

void runset_hold(struct runset *r, uint32_t id, bool hold)
{
	struct seq *q = &r->seqs[id];

	if (q->held == hold)
		return;
	r->nr_returns++; /* who is held is a victim */
	delist(r, id);
	set_state(r, q, q->state, hold);
	enlist(r, id);
}

/* ---- blocks and slots ---- */

static uint32_t promised(const struct seq *q)
{
	return q->promise > q->nr_table ? q->promise - q->nr_table : 0;
}

/* Give blocks, promise and slot back. */
static void give_back(struct runset *r, struct seq *q)
{
	r->nr_returns++;
	r->reserved -= promised(q);
	q->promise = 0;
	r->class_blocks[q->cls] -= q->nr_table;
	r->class_running[q->cls]--;
	if (q->state == SEQ_DECODE && q->computed > q->high)
		q->high = q->computed;
	seq_release(q, &r->prefix);
	r->running[q->slot] = SEQ_NONE;
	r->nr_running--;
	r->free_slots[r->max_running - 1 - r->nr_running] = q->slot;
	q->slot = SEQ_NONE;
	q->table = NULL;
}

void runset_block_edge(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	if (q->known % KV_BLOCK == 0)
		seq_block_known(q, &r->prefix);
	if (!seq_is_short(q) || q->growing)
		return;
	q->growing = true;
	r->growing[q->cls][r->nr_growing[q->cls]++] = id;
}

/* Its number will be another's. */
static void stop_growing(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];
	uint32_t *list = r->growing[q->cls], i = 0;

	if (!q->growing)
		return;
	while (list[i] != id)
		i++;
	list[i] = list[--r->nr_growing[q->cls]];
	q->growing = false;
}

void runset_remove(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	assert(q->state != SEQ_FREE);
	if (q->deadline_ns != UINT64_MAX)
		heap_remove(&r->deadline, &r->deadline_root, id);
	delist(r, id);
	stop_growing(r, id);
	if (q->state == SEQ_WAIT)
		count_queued(r, q, false);
	if (q->slot != SEQ_NONE)
		give_back(r, q);
	set_state(r, q, SEQ_FREE, false);
	if (q->domain != PREFIX_NONE)
		prefix_domain_put(&r->prefix, q->domain);
	tenant_of(r, q)->nr_seqs--;
	r->nr_seqs--;
	q->next_free = r->free_seq;
	r->free_seq = id;
}

void runset_preempt(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	assert(q->slot != SEQ_NONE && !q->planned && !q->late);
	seq_flush(q);
	delist(r, id);
	give_back(r, q);
	q->resumed = true;
	q->nr_preempts++;
	r->nr_preempts++;
	set_state(r, q, SEQ_WAIT, q->held);
	count_queued(r, q, true);
	enlist(r, id);
}

void runset_retire(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	if (q->deadline_ns != UINT64_MAX)
		heap_remove(&r->deadline, &r->deadline_root, id);
	q->deadline_ns = UINT64_MAX;
	q->dead = true;
	runset_hold(r, id, true);
}

struct victim_view runset_view(const struct runset *r)
{
	return (struct victim_view){
		.seqs = r->seqs,
		.running = r->running,
		.nr_slots = r->max_running,
		.kv = &r->kv,
		.tenants = &r->tenants,
		.class_blocks = r->class_blocks,
		.class_floor = r->class_floor,
		.class_running = r->class_running,
	};
}

/* One block for @q, out of its promise or out of what nobody was promised. */
static int take_block(struct runset *r, struct seq *q)
{
	bool own = promised(q) > 0;
	int ret;

	if (!own && r->kv.nr_free <= r->reserved)
		return -ENOSPC;
	ret = seq_grow(q, &r->prefix);
	assert(!ret); /* reserved <= nr_free: there was one */
	r->reserved -= own;
	r->class_blocks[q->cls]++;
	return ret;
}

bool runset_can_grow(const struct runset *r)
{
	uint32_t free = r->kv.nr_free - r->reserved, c, i;

	for (c = 0; c < NR_CLASSES; c++)
		for (i = 0; i < r->nr_growing[c]; i++) {
			const struct seq *q = &r->seqs[r->growing[c][i]];

			if (q->state != SEQ_DECODE || q->held ||
			    !seq_is_short(q) || promised(q))
				continue;
			if (!free--)
				return false;
		}
	return true;
}

int runset_grow(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	while (q->nr_table < seq_blocks(q->known)) {
		struct victim_view v;
		uint32_t victim;

		if (!take_block(r, q))
			continue;
		assert(!r->frozen); /* runset_can_grow() */
		v = runset_view(r);
		victim = victim_choose(&v, id, VICTIM_GROW);
		if (victim == SEQ_NONE)
			victim = id;
		runset_preempt(r, victim);
		if (victim == id)
			return -EAGAIN;
	}
	return 0;
}

/* ---- moves ---- */

uint32_t runset_promise(const struct seq *q)
{
	uint32_t spare = 1, most = q->max_len - q->known, shift;

	if (q->nr_preempts) {
		shift = q->nr_preempts - 1 < 20 ? q->nr_preempts - 1 : 20;
		spare = VICTIM_SPARED << shift;
	}
	return seq_blocks(q->known + (spare < most ? spare : most));
}

void runset_start(struct runset *r, uint32_t id, uint32_t nr_hit,
		  const struct prefix_pos *pos)
{
	struct seq *q = &r->seqs[id];
	uint32_t paid_hits;

	delist(r, id);
	count_queued(r, q, false);
	q->slot = r->free_slots[r->max_running - 1 - r->nr_running++];
	r->running[q->slot] = id;
	r->class_running[q->cls]++;
	q->table = r->tables + (size_t)q->slot * r->max_table;
	q->table_id = ++r->nr_tables;
	memcpy(q->table, r->match, nr_hit * sizeof(*q->table));
	seq_take_hits(q, &r->prefix, nr_hit, pos);
	r->class_blocks[q->cls] += nr_hit;
	q->promise = runset_promise(q);
	r->reserved += promised(q);
	while (q->nr_table < seq_blocks(q->known))
		take_block(r, q);
	q->resumed_len = q->known;
	r->hit_tokens += q->computed;
	/* what the index gave of a prompt is paid for once, and cheaply */
	paid_hits = q->computed < q->prompt_len ? q->computed : q->prompt_len;
	if (paid_hits > q->paid) {
		tenant_charge(&r->tenants, q->tenant, q->cls,
			      (uint64_t)COST_HIT * (paid_hits - q->paid));
		q->paid = paid_hits;
	}
	if (!q->high)
		q->cached_len = paid_hits;
	set_state(r, q, SEQ_FILL, false);
	enlist(r, id);
}

void runset_pop(struct runset *r, uint32_t id)
{
	heap_remove(&r->queue, heap_of(r, &r->seqs[id]), id);
}

void runset_push(struct runset *r, uint32_t id)
{
	enlist(r, id);
}

void runset_filled(struct runset *r, uint32_t id)
{
	struct seq *q = &r->seqs[id];

	set_state(r, q, SEQ_DECODE, q->held);
	q->tail_slot = 0; /* not known yet */
	enlist(r, id);
}

/* ---- checks ---- */

static const char *check_seq(const struct runset *r, const struct seq *q,
			     uint32_t *refs)
{
	uint32_t i;

	if ((q->slot != SEQ_NONE) != (q->state >= SEQ_FILL))
		return "a slot without running, or running without a slot";
	if (q->state < SEQ_FILL)
		return q->nr_table ? "a waiting sequence holds blocks" : NULL;
	if (q->computed > q->known || q->known > q->max_len)
		return "computed <= known <= max_len does not hold";
	if (q->state == SEQ_DECODE && seq_is_short(q) && !q->growing)
		return "nobody knows that a sequence is short of a block";
	if (q->nr_indexed * KV_BLOCK > q->computed + 1)
		return "a block was indexed before it was computed";
	for (i = 0; i < q->nr_table; i++) {
		if (!q->table[i] || !r->kv.blocks[q->table[i]].ref)
			return "a table names a block without references";
		refs[q->table[i]]++;
	}
	return NULL;
}

/* Is who is growing listed, and once? */
static const char *check_growing(const struct runset *r)
{
	uint32_t listed = 0, flagged = 0, c, i;

	for (c = 0; c < NR_CLASSES; c++) {
		listed += r->nr_growing[c];
		for (i = 0; i < r->nr_growing[c]; i++)
			if (!r->seqs[r->growing[c][i]].growing)
				return "one is listed that is not growing";
	}
	for (i = 0; i < r->max_seqs; i++)
		flagged += r->seqs[i].growing;
	return listed == flagged ? NULL : "one that is growing is not listed";
}

const char *runset_check(const struct runset *r)
{
	uint32_t *refs = calloc(r->kv.nr_blocks, sizeof(*refs));
	uint32_t sum = 0, used[NR_CLASSES] = { 0 }, i;
	const char *bad = refs ? NULL : "no memory to check";

	bad = bad ? bad : kv_check(&r->kv);
	bad = bad ? bad : prefix_check(&r->prefix);
	bad = bad ? bad : check_growing(r);
	for (i = 0; i < r->max_seqs && !bad; i++) {
		const struct seq *q = &r->seqs[i];

		if (q->state == SEQ_FREE)
			continue;
		bad = check_seq(r, q, refs);
		if (q->state >= SEQ_FILL) {
			sum += promised(q);
			used[q->cls] += q->nr_table;
		}
	}
	for (i = 1; i < r->kv.nr_blocks && !bad; i++)
		if (refs[i] != r->kv.blocks[i].ref)
			bad = "references are not what the tables hold";
	for (i = 0; i < NR_CLASSES && !bad; i++)
		if (used[i] != r->class_blocks[i])
			bad = "the blocks of a class are miscounted";
	if (!bad && (sum != r->reserved || sum > r->kv.nr_free))
		bad = "promises do not add up";
	free(refs);
	return bad;
}
