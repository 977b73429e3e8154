/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * quota.h - tenants: who is charged, what each may have, what each has.
 *
 * A tenant is a 64-bit key.  The module parameter `tenant` says what stands
 * behind it: "uid" (default; the opener's user id in the initial namespace),
 * "cgroup" (id of the opener's cgroup v2) or "userns" (number of the opener's
 * user namespace << 32 | its user id in the initial namespace).
 *
 * A tenant is made by the first session of its key, or by llm_tenant_set(),
 * and goes with the last reference.  One that was set is pinned: it stays, with
 * its limits, until llm_tenant_reset().
 *
 * Locks.  llm_tenants_lock (a mutex, inside quota.c) guards the table: get,
 * find, next, set, reset and put take it, so they may sleep.  tenant->lock (a
 * spinlock, innermost of the module) guards limits and usage; whoever holds a
 * reference may take it, for a few loads.
 */
#ifndef LLM_QUOTA_H
#define LLM_QUOTA_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct cred;

struct llm_limits {
	u64 max_memory;		/* bytes of all areas, touched or not */
	u32 weight;		/* share of the work ring: LLM_WEIGHT_MIN..MAX */
	u32 max_sessions;
	u32 max_streams;	/* nr_streams, over all sessions */
	u32 max_inflight;	/* requests submitted and not ended */
	u32 max_submit_rate;	/* entries a second, as many at once; 0 = no limit */
	u32 max_token_rate;	/* tokens a second; 0 = no limit; held for the daemon */
	u32 class_ceiling;	/* LLM_CLASS_*: a better one asked for becomes this */
};

#define LLM_WEIGHT_MIN		1u
#define LLM_WEIGHT_DEFAULT	100u
#define LLM_WEIGHT_MAX		10000u

/* Which fields of an llm_limits count, for llm_tenant_set(). */
#define LLM_LIMIT_WEIGHT	BIT(0)
#define LLM_LIMIT_SESSIONS	BIT(1)
#define LLM_LIMIT_STREAMS	BIT(2)
#define LLM_LIMIT_INFLIGHT	BIT(3)
#define LLM_LIMIT_MEMORY	BIT(4)
#define LLM_LIMIT_SUBMIT_RATE	BIT(5)
#define LLM_LIMIT_TOKEN_RATE	BIT(6)
#define LLM_LIMIT_CLASS		BIT(7)
#define LLM_LIMIT_ALL		(BIT(8) - 1)

struct llm_usage {
	u64 memory;		/* bytes charged now */
	u32 sessions, streams;	/* charged now */
	u32 inflight;		/* charged now; an upper bound between two looks */
	u64 submitted;		/* entries accepted since the tenant was made */
	u64 refused;		/* sessions and entries that met a limit */
};

struct llm_tenant {
	struct kref ref;
	u64 key;		/* never changes */

	spinlock_t lock;
	struct llm_limits limits;	/* lock */
	struct llm_usage usage;		/* lock */
	u64 bucket_ns;		/* lock; when the rate bucket will be empty again */

	bool pinned;		/* llm_tenants_lock */
	struct list_head sessions; /* of struct llm_session.fellow; RCU; writers: lock */

	/* the work ring's: ring.c, under its lock */
	struct list_head turn;	/* waits for its turn, while it has active sessions */
	struct list_head active; /* of struct llm_session.active */
	u32 deficit;
};

/* ---- the table; these sleep */

/* The key of who opens a file with @cred now, in the calling task. */
u64 llm_tenant_key(const struct cred *cred);

/* "uid", "cgroup" or "userns". */
const char *llm_tenant_policy(void);

/* The tenant of @key, made if there is none.  A reference, or ERR_PTR(-ENOMEM). */
struct llm_tenant *llm_tenant_get(u64 key);

/* The tenant of @key with a reference, or NULL. */
struct llm_tenant *llm_tenant_find(u64 key);

/*
 * The tenant with the smallest key >= @key, with a reference, or NULL.  To walk
 * over all: start with 0, go on with key + 1 (stop at key U64_MAX).  Each that
 * exists throughout the walk is seen exactly once.
 */
struct llm_tenant *llm_tenant_next(u64 key);

/* Give a reference back. */
void llm_tenant_put(struct llm_tenant *t);

/*
 * Move the limits named by @which (LLM_LIMIT_*) to those in @limits; the tenant
 * is made if there is none, and pinned.  They hold from the next set-up or
 * submission on; what is already held is not taken back.  Tells LLM_EVENT_TENANT.
 * -EINVAL: a weight or class out of range, nothing is changed; -ENOMEM.
 */
int llm_tenant_set(u64 key, u32 which, const struct llm_limits *limits);

/* Back to the defaults, no longer pinned.  -ENOENT.  Tells LLM_EVENT_TENANT. */
int llm_tenant_reset(u64 key);

/* A consistent copy of both; either may be NULL.  Does not sleep. */
void llm_tenant_look(struct llm_tenant *t, struct llm_limits *limits, struct llm_usage *usage);

/* What a tenant has that nobody set: module parameters. */
extern struct llm_limits llm_limits_default;

/* Forget all tenants: at unload, when no session is left. */
void llm_quota_exit(void);

/* ---- charging: any context but hard irq; do not sleep.  All or nothing. */

/* -EDQUOT where sessions, streams or memory would pass a limit. */
int llm_quota_open(struct llm_tenant *t, u32 nr_streams, u64 memory);
void llm_quota_close(struct llm_tenant *t, u32 nr_streams, u64 memory);

/*
 * One entry; @flies: it is a request that was not in flight before.  -EDQUOT:
 * too many in flight; -EAGAIN: too many this second.  *@class_ is lowered to the
 * ceiling.  The counter of refusals moves with llm_quota_refused() only.
 */
int llm_quota_submit(struct llm_tenant *t, bool flies, u8 *class_);

/* @nr requests ended. */
void llm_quota_landed(struct llm_tenant *t, u32 nr);

/* Count a refusal that went out to the client, tell LLM_EVENT_QUOTA. */
void llm_quota_refused(struct llm_tenant *t, int error);

#endif
