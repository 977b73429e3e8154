/* SPDX-License-Identifier: MIT */
/*
 * tenant.h - who is charged: virtual token counters (VTC, Sheng et al., OSDI
 * 2024), one for each tenant and class.
 *
 * What a tenant is served moves its counter by cost / weight; who has the
 * lowest counter of those that want service is served next.  A tenant that
 * comes back is lifted to the lowest counter of those that want service (or
 * where the last one left off), so idleness earns no credit.  "Wants service"
 * is the paper's "is in the queue": it has tokens to compute before its next
 * output; a tenant that only decodes is no measure of what others got.
 *
 * The counter is kept for each class, because classes are strict: a tenant
 * that computed all night as `idle` must neither be punished for it by day
 * nor lend its low counter to a newcomer of another class.
 *
 * Costs, in tenths of a token (VTC's artifact: input 1, output 2; the rest is
 * ours): a prefill token 10, an output token 20, a token found in the prefix
 * index 1 (it holds memory), recomputation 0.
 *
 * A tenant is a 64-bit key; how many sessions it has is not known here, so
 * many sessions get no more than one.  One thread; allocates at init only.
 *
 * A tenant may have a rate, tokens a second (prompt tokens computed and output
 * tokens).  Over it, it is throttled: it wants service and gets none until its
 * bucket holds something again.  Meanwhile its counter is no measure of what
 * others got, and when it comes back it is lifted as one that was idle.
 */
#ifndef CORE_TENANT_H
#define CORE_TENANT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/bucket.h"

enum sched_class {
	CLASS_INTERACTIVE,
	CLASS_BATCH,
	CLASS_IDLE,
};
#define NR_CLASSES	  3

#define TENANT_NONE	  UINT32_MAX
#define TENANT_WEIGHT	  100u /* of who has no other */
#define TENANT_WEIGHT_MAX 10000u
#define TENANT_VT	  (1u << 24) /* of a tenth of a token, at weight 1 */

#define COST_PREFILL	  10u
#define COST_DECODE	  20u
#define COST_HIT	  1u

struct tenant {
	uint64_t key;
	uint64_t vt[NR_CLASSES]; /* virtual: tenths x TENANT_VT / weight */
	uint64_t served;	 /* tenths of a token, all classes, ever */
	uint64_t tokens;	 /* computed and put out, ever */
	uint32_t weight, unit;	 /* vt for a tenth of a token */
	uint32_t rate;		 /* tokens a second; 0: any */
	struct bucket bucket;	 /* where it has a rate */
	bool throttled;		 /* since the last tenants_clock() */
	uint32_t nr_seqs;   /* sequences of any state; 0 = may be forgotten */
	uint32_t nr_queued; /* waiting for admission, */
	uint64_t queued_tokens;		 /* and their tokens */
	uint32_t nr_wanting[NR_CLASSES]; /* sequences that want service */
	uint32_t at[NR_CLASSES];	 /* place in the list of the wanting */
	/* walks of sched.c: in which nothing is left, or none to admit */
	uint64_t blocked[NR_CLASSES], shut[NR_CLASSES];
	uint32_t wait[NR_CLASSES], fill[NR_CLASSES]; /* heaps: sched.c's */
	uint32_t next;				     /* in its hash chain */
};

struct tenants {
	struct tenant *all;	       /* owned: [max] */
	uint32_t *heads;	       /* owned: [mask + 1] */
	uint32_t *wanting[NR_CLASSES]; /* owned: [max] */
	uint32_t nr_wanting[NR_CLASSES];
	uint64_t vt_left[NR_CLASSES]; /* where the last one left off */
	uint32_t nr, max, mask;
	uint32_t nr_rated,
		nr_throttled; /* that have a rate; that are over it */
	uint64_t now_ns;      /* as tenants_clock() was told */
	/* output tokens that tenants_settle() is to charge for */
	uint32_t due, due_tenant;
	enum sched_class due_cls;
};

/* Room for @max tenants at a time.  0 or -ENOMEM. */
int tenants_init(struct tenants *t, uint32_t max);
void tenants_deinit(struct tenants *t);

/*
 * The tenant of @key, made where it is new; an idle one may be forgotten for
 * it, the one that loses least by it.  -EAGAIN where all have sequences.
 */
int tenant_get(struct tenants *t, uint64_t key, uint32_t *ret_tenant);
/* The tenant of @key, if it is here.  0 or -ENOENT. */
int tenant_find(const struct tenants *t, uint64_t key, uint32_t *ret_tenant);
/*
 * From now on it has @weight, 1..TENANT_WEIGHT_MAX, and @rate (0: any).  Who
 * is forgotten loses them: give them again before a sequence of it.  0 or
 * -EINVAL.
 */
int tenant_set(struct tenants *t, uint32_t tenant, uint32_t weight,
	       uint32_t rate);
/* What time it is: find who is throttled. */
void tenants_clock(struct tenants *t, uint64_t now_ns);
/*
 * When the first of the throttled that have sequences may go on; UINT64_MAX:
 * none is.
 */
uint64_t tenants_ready_ns(struct tenants *t);

/* Counters beyond this go down together: no overflow, whatever the speed. */
#define TENANT_REBASE (1ull << 62)
/* All counters of @cls down together; who stands where stays. */
void tenants_rebase(struct tenants *t, enum sched_class cls);
/* @cost in tenths of a token. */
static inline void tenant_charge(struct tenants *t, uint32_t tenant,
				 enum sched_class cls, uint64_t cost)
{
	struct tenant *x = &t->all[tenant];

	x->served += cost;
	x->vt[cls] += cost * x->unit;
	if (x->vt[cls] >= TENANT_REBASE)
		tenants_rebase(t, cls);
}
/* @nr tokens of it were computed or put out: against its rate. */
static inline void tenant_count(struct tenants *t, uint32_t tenant, uint32_t nr)
{
	struct tenant *x = &t->all[tenant];

	x->tokens += nr;
	if (x->rate)
		bucket_charge(&x->bucket, x->rate, t->now_ns, nr);
}
/* Charge for the output tokens that are still due. */
void tenants_settle(struct tenants *t);
/*
 * An output token of it: charged by tenants_settle(), at once for a row of
 * them.  Whatever here writes by the counters settles first; who reads them,
 * tenant_next() too, does so before.
 */
static inline void tenant_output(struct tenants *t, uint32_t tenant,
				 enum sched_class cls)
{
	if (t->due_tenant != tenant || t->due_cls != cls) {
		tenants_settle(t);
		t->due_tenant = tenant;
		t->due_cls = cls;
	}
	t->due++;
}
/* One sequence more that wants service; the first lifts the counter. */
void tenant_want(struct tenants *t, uint32_t tenant, enum sched_class cls);
void tenant_unwant(struct tenants *t, uint32_t tenant, enum sched_class cls);
/*
 * Who is next in @cls of those neither throttled nor blocked in walk @pass; or
 * TENANT_NONE.
 */
uint32_t tenant_next(const struct tenants *t, enum sched_class cls,
		     uint64_t pass);

#endif
