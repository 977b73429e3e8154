/* SPDX-License-Identifier: MIT */
#include "daemon/core/tenant.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/heap.h"

/*
 * Large enough that the rounding of unit moves no share by more than 0.1 %.
 * What 64 bits hold then, 5 * 10^10 output tokens at weight 1, is a few months
 * of a fast machine: at TENANT_REBASE all counters of the class go down together.
 */
static_assert(TENANT_VT / TENANT_WEIGHT_MAX >= 1000, "rounding of unit");

int tenants_init(struct tenants *t, uint32_t max)
{
	uint32_t i, size = 1;
	bool ok;

	memset(t, 0, sizeof(*t));
	while (size < max)
		size *= 2;
	t->max = max;
	t->mask = size - 1;
	t->all = calloc(max, sizeof(*t->all));
	t->heads = calloc(size, sizeof(*t->heads));
	ok = t->all && t->heads;
	for (i = 0; i < NR_CLASSES; i++) {
		t->wanting[i] = calloc(max, sizeof(*t->wanting[i]));
		ok = ok && t->wanting[i];
	}
	if (!ok) {
		tenants_deinit(t);
		return -ENOMEM;
	}
	for (i = 0; i < size; i++)
		t->heads[i] = TENANT_NONE;
	return 0;
}

void tenants_deinit(struct tenants *t)
{
	uint32_t i;

	free(t->all);
	free(t->heads);
	for (i = 0; i < NR_CLASSES; i++)
		free(t->wanting[i]);
	memset(t, 0, sizeof(*t));
}

static uint32_t *head(const struct tenants *t, uint64_t key)
{
	/* Fibonacci hashing; keys are uids, not chosen by an attacker */
	return &t->heads[(uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & t->mask];
}

/*
 * The place of an idle tenant.  Whose counter is lowest loses least: the lift
 * would have raised it anyway.
 */
static uint32_t forget_one(struct tenants *t)
{
	uint32_t best = TENANT_NONE, i, *at;

	for (i = 0; i < t->nr; i++) {
		const struct tenant *x = &t->all[i];

		if (x->nr_seqs)
			continue;
		if (best == TENANT_NONE || x->vt[0] < t->all[best].vt[0])
			best = i;
	}
	if (best == TENANT_NONE)
		return best;
	for (at = head(t, t->all[best].key); *at != best;)
		at = &t->all[*at].next;
	*at = t->all[best].next;
	t->nr_rated -= t->all[best].rate != 0;
	t->nr_throttled -= t->all[best].throttled;
	return best;
}

static void set_weight(struct tenant *x, uint32_t weight)
{
	x->weight = weight;
	x->unit = TENANT_VT / weight;
}

int tenant_find(const struct tenants *t, uint64_t key, uint32_t *ret_tenant)
{
	uint32_t i;

	for (i = *head(t, key); i != TENANT_NONE; i = t->all[i].next) {
		if (t->all[i].key == key) {
			*ret_tenant = i;
			return 0;
		}
	}
	return -ENOENT;
}

int tenant_get(struct tenants *t, uint64_t key, uint32_t *ret_tenant)
{
	uint32_t i, c;
	struct tenant *x;

	if (!tenant_find(t, key, ret_tenant))
		return 0;
	tenants_settle(t);
	i = t->nr < t->max ? t->nr++ : forget_one(t);
	if (i == TENANT_NONE)
		return -EAGAIN;
	x = &t->all[i];
	memset(x, 0, sizeof(*x));
	x->key = key;
	x->next = *head(t, key);
	*head(t, key) = i;
	set_weight(x, TENANT_WEIGHT);
	for (c = 0; c < NR_CLASSES; c++)
		x->wait[c] = x->fill[c] = HEAP_EMPTY;
	*ret_tenant = i;
	return 0;
}

/* ---- virtual counters ---- */

/*
 * The lowest counter of those in @cls that want service and can have it; of
 * those who want it where all are throttled; UINT64_MAX: nobody does.
 */
static uint64_t lowest(const struct tenants *t, enum sched_class cls)
{
	uint64_t min = UINT64_MAX, all = UINT64_MAX;
	uint32_t i;

	for (i = 0; i < t->nr_wanting[cls]; i++) {
		const struct tenant *x = &t->all[t->wanting[cls][i]];

		all = x->vt[cls] < all ? x->vt[cls] : all;
		if (!x->throttled)
			min = x->vt[cls] < min ? x->vt[cls] : min;
	}
	return min != UINT64_MAX ? min : all;
}

void tenants_settle(struct tenants *t)
{
	if (!t->due)
		return;
	tenant_charge(t, t->due_tenant, t->due_cls,
		      (uint64_t)COST_DECODE * t->due);
	tenant_count(t, t->due_tenant, t->due);
	t->due = 0;
}

/* Those who want service keep their distances; the rest is lifted anyway. */
void tenants_rebase(struct tenants *t, enum sched_class cls)
{
	uint64_t base = lowest(t, cls);
	uint32_t i;

	if (base == UINT64_MAX)
		base = TENANT_REBASE / 2;
	for (i = 0; i < t->nr; i++) {
		uint64_t *vt = &t->all[i].vt[cls];

		*vt -= *vt < base ? *vt : base;
	}
	t->vt_left[cls] -= t->vt_left[cls] < base ? t->vt_left[cls] : base;
}

/* ---- terms: weight and rate ---- */

/*
 * The end of a time without service: no credit for it, as for one that was
 * idle.  The others' lowest counter is what it would have been lifted to.
 */
static void set_throttled(struct tenants *t, struct tenant *x, bool on)
{
	uint32_t c;

	if (x->throttled == on)
		return;
	for (c = 0; c < NR_CLASSES && !on; c++) {
		uint64_t floor = lowest(t, (enum sched_class)c);

		if (x->nr_wanting[c] && floor > x->vt[c])
			x->vt[c] = floor;
	}
	x->throttled = on;
	t->nr_throttled += on ? 1u : -1u;
}

int tenant_set(struct tenants *t, uint32_t tenant, uint32_t weight,
	       uint32_t rate)
{
	struct tenant *x = &t->all[tenant];

	if (weight < 1 || weight > TENANT_WEIGHT_MAX)
		return -EINVAL;
	tenants_settle(t); /* by the weight of then */
	if (x->weight != weight)
		set_weight(x, weight);
	t->nr_rated += (rate != 0) - (x->rate != 0);
	if (!x->rate)
		x->bucket = (struct bucket){ 0 };
	x->rate = rate;
	if (!rate)
		set_throttled(t, x, false);
	return 0;
}

void tenants_clock(struct tenants *t, uint64_t now_ns)
{
	uint32_t i, left = t->nr_rated;

	tenants_settle(t);
	t->now_ns = now_ns;
	for (i = 0; left && i < t->nr; i++) {
		struct tenant *x = &t->all[i];

		if (!x->rate)
			continue;
		left--;
		set_throttled(t, x,
			      bucket_ready_ns(&x->bucket, x->rate, now_ns) >
				      now_ns);
	}
}

uint64_t tenants_ready_ns(struct tenants *t)
{
	uint64_t min = UINT64_MAX, ns;
	uint32_t i;

	tenants_settle(t);
	for (i = 0; t->nr_throttled && i < t->nr; i++) {
		struct tenant *x = &t->all[i];

		if (!x->throttled || !x->nr_seqs)
			continue;
		ns = bucket_ready_ns(&x->bucket, x->rate, t->now_ns);
		min = ns < min ? ns : min;
	}
	return min;
}

/* ---- who wants service ---- */

void tenant_want(struct tenants *t, uint32_t tenant, enum sched_class cls)
{
	struct tenant *x = &t->all[tenant];
	uint64_t floor;

	if (x->nr_wanting[cls]++)
		return;
	tenants_settle(t);
	floor = t->nr_wanting[cls] ? lowest(t, cls) : t->vt_left[cls];
	x->vt[cls] = x->vt[cls] > floor ? x->vt[cls] : floor;
	x->at[cls] = t->nr_wanting[cls];
	t->wanting[cls][t->nr_wanting[cls]++] = tenant;
}

void tenant_unwant(struct tenants *t, uint32_t tenant, enum sched_class cls)
{
	struct tenant *x = &t->all[tenant];
	uint32_t last;

	assert(x->nr_wanting[cls] > 0);
	if (--x->nr_wanting[cls])
		return;
	tenants_settle(t);
	last = t->wanting[cls][--t->nr_wanting[cls]];
	t->wanting[cls][x->at[cls]] = last;
	t->all[last].at[cls] = x->at[cls];
	if (!t->nr_wanting[cls])
		t->vt_left[cls] = x->vt[cls];
}

uint32_t tenant_next(const struct tenants *t, enum sched_class cls,
		     uint64_t pass)
{
	uint32_t best = TENANT_NONE, i;

	for (i = 0; i < t->nr_wanting[cls]; i++) {
		uint32_t id = t->wanting[cls][i];

		if (t->all[id].blocked[cls] == pass || t->all[id].throttled)
			continue;
		/* of equals the one that came to the table first */
		if (best == TENANT_NONE ||
		    t->all[id].vt[cls] < t->all[best].vt[cls] ||
		    (t->all[id].vt[cls] == t->all[best].vt[cls] && id < best))
			best = id;
	}
	return best;
}
