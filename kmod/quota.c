// SPDX-License-Identifier: GPL-2.0-only
/*
 * quota.c - see quota.h.
 *
 * The rate is a token bucket kept as one instant (GCRA): each entry moves
 * bucket_ns by 1 s / rate; where it would stand more than a second ahead of now,
 * the entry is refused.  So a tenant that was quiet may submit a second's worth
 * at once.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>
#include <uapi/linux/llm.h>

#include "event.h"
#include "quota.h"

static DEFINE_MUTEX(llm_tenants_lock);
static DEFINE_XARRAY(llm_tenants);	/* by key; holds no reference but a pinned one's */

struct llm_limits llm_limits_default = {
	.max_memory = 32ull << 30,
	.weight = LLM_WEIGHT_DEFAULT,
	.max_sessions = 256,
	.max_streams = 16384,
	.max_inflight = 4096,
	.class_ceiling = LLM_CLASS_INTERACTIVE,
};

/* The defaults may be moved; they hold for tenants that are made from then on. */
module_param_named(max_memory, llm_limits_default.max_memory, ullong, 0644);
MODULE_PARM_DESC(max_memory, "bytes of shared areas a tenant, by default");
module_param_named(max_sessions, llm_limits_default.max_sessions, uint, 0644);
MODULE_PARM_DESC(max_sessions, "sessions a tenant, by default");
module_param_named(max_streams, llm_limits_default.max_streams, uint, 0644);
MODULE_PARM_DESC(max_streams, "streams a tenant, by default");
module_param_named(max_inflight, llm_limits_default.max_inflight, uint, 0644);
MODULE_PARM_DESC(max_inflight, "requests in flight a tenant, by default");
module_param_named(max_submit_rate, llm_limits_default.max_submit_rate, uint, 0644);
MODULE_PARM_DESC(max_submit_rate, "entries a second and tenant, by default; 0 = no limit");

static int llm_weight_set(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, LLM_WEIGHT_MIN, LLM_WEIGHT_MAX);
}

static const struct kernel_param_ops llm_weight_ops = {
	.set = llm_weight_set,
	.get = param_get_uint,
};

module_param_cb(weight, &llm_weight_ops, &llm_limits_default.weight, 0644);
MODULE_PARM_DESC(weight, "share of the work ring a tenant, by default; 1 to 10000");

enum llm_policy { LLM_BY_UID, LLM_BY_CGROUP, LLM_BY_USERNS };

static const char *const llm_policies[] = { "uid", "cgroup", "userns" };
static enum llm_policy llm_policy;

static int llm_policy_set(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(llm_policies, val);

	if (i < 0)
		return i;
	if (i == LLM_BY_CGROUP && !IS_ENABLED(CONFIG_CGROUPS))
		return -EOPNOTSUPP;
	llm_policy = i;
	return 0;
}

static int llm_policy_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", llm_policies[llm_policy]);
}

static const struct kernel_param_ops llm_policy_ops = {
	.set = llm_policy_set,
	.get = llm_policy_get,
};

/* read-only once loaded: keys of two kinds must not meet in one table */
module_param_cb(tenant, &llm_policy_ops, NULL, 0444);
MODULE_PARM_DESC(tenant, "who is charged: uid (default), cgroup, userns");

const char *llm_tenant_policy(void)
{
	return llm_policies[llm_policy];
}

static u64 llm_cgroup_key(void)
{
#ifdef CONFIG_CGROUPS
	u64 id;

	rcu_read_lock();
	id = cgroup_id(task_dfl_cgroup(current));
	rcu_read_unlock();
	return id;
#else
	return 0;
#endif
}

u64 llm_tenant_key(const struct cred *cred)
{
	u64 uid = from_kuid(&init_user_ns, cred->euid);

	switch (llm_policy) {
	case LLM_BY_CGROUP:
		return llm_cgroup_key();
	case LLM_BY_USERNS:
		return (u64)cred->user_ns->ns.inum << 32 | uid;
	default:
		return uid;
	}
}

/* ---- the table */

static struct llm_tenant *llm_tenant_new(u64 key)
{
	struct llm_tenant *t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);

	if (!t)
		return NULL;
	kref_init(&t->ref);
	t->key = key;
	spin_lock_init(&t->lock);
	t->limits = llm_limits_default;
	INIT_LIST_HEAD(&t->sessions);
	INIT_LIST_HEAD(&t->turn);
	INIT_LIST_HEAD(&t->active);
	return t;
}

/* llm_tenants_lock.  Entries in the table are alive: the last put takes them out. */
static struct llm_tenant *llm_tenant_get_locked(u64 key)
{
	struct llm_tenant *t = xa_load(&llm_tenants, key);
	int err;

	lockdep_assert_held(&llm_tenants_lock);
	if (t) {
		kref_get(&t->ref);
		return t;
	}
	t = llm_tenant_new(key);
	if (!t)
		return ERR_PTR(-ENOMEM);
	err = xa_err(xa_store(&llm_tenants, key, t, GFP_KERNEL_ACCOUNT));
	if (err) {
		kfree(t);
		return ERR_PTR(err);
	}
	return t;
}

struct llm_tenant *llm_tenant_get(u64 key)
{
	struct llm_tenant *t;

	mutex_lock(&llm_tenants_lock);
	t = llm_tenant_get_locked(key);
	mutex_unlock(&llm_tenants_lock);
	return t;
}

struct llm_tenant *llm_tenant_find(u64 key)
{
	struct llm_tenant *t;

	mutex_lock(&llm_tenants_lock);
	t = xa_load(&llm_tenants, key);
	if (t)
		kref_get(&t->ref);
	mutex_unlock(&llm_tenants_lock);
	return t;
}

struct llm_tenant *llm_tenant_next(u64 key)
{
	unsigned long index = key;
	struct llm_tenant *t;

	mutex_lock(&llm_tenants_lock);
	t = xa_find(&llm_tenants, &index, ULONG_MAX, XA_PRESENT);
	if (t)
		kref_get(&t->ref);
	mutex_unlock(&llm_tenants_lock);
	return t;
}

/* llm_tenants_lock, which kref_put_mutex() took */
static void llm_tenant_release(struct kref *ref)
{
	struct llm_tenant *t = container_of(ref, struct llm_tenant, ref);

	lockdep_assert_held(&llm_tenants_lock);
	WARN_ON_ONCE(!list_empty(&t->sessions) || !list_empty(&t->turn) || t->usage.sessions ||
		     t->usage.inflight || t->usage.memory);
	xa_erase(&llm_tenants, t->key);
	mutex_unlock(&llm_tenants_lock);
	kfree(t);
}

void llm_tenant_put(struct llm_tenant *t)
{
	kref_put_mutex(&t->ref, llm_tenant_release, &llm_tenants_lock);
}

static bool llm_limits_ok(u32 which, const struct llm_limits *l)
{
	if (which & ~LLM_LIMIT_ALL)
		return false;
	if (which & LLM_LIMIT_WEIGHT && (l->weight < LLM_WEIGHT_MIN || l->weight > LLM_WEIGHT_MAX))
		return false;
	return !(which & LLM_LIMIT_CLASS) || l->class_ceiling < LLM_CLASS_NR;
}

static void llm_limits_move(struct llm_limits *to, u32 which, const struct llm_limits *from)
{
	if (which & LLM_LIMIT_WEIGHT)
		WRITE_ONCE(to->weight, from->weight);	/* read in llm_ring_put() */
	if (which & LLM_LIMIT_SESSIONS)
		to->max_sessions = from->max_sessions;
	if (which & LLM_LIMIT_STREAMS)
		to->max_streams = from->max_streams;
	if (which & LLM_LIMIT_INFLIGHT)
		to->max_inflight = from->max_inflight;
	if (which & LLM_LIMIT_MEMORY)
		to->max_memory = from->max_memory;
	if (which & LLM_LIMIT_SUBMIT_RATE)
		to->max_submit_rate = from->max_submit_rate;
	if (which & LLM_LIMIT_TOKEN_RATE)
		WRITE_ONCE(to->max_token_rate, from->max_token_rate);	/* the same */
	if (which & LLM_LIMIT_CLASS)
		to->class_ceiling = from->class_ceiling;
}

static void llm_tenant_changed(struct llm_tenant *t, u32 which, const struct llm_limits *limits)
{
	spin_lock(&t->lock);
	llm_limits_move(&t->limits, which, limits);
	spin_unlock(&t->lock);
	llm_event_tell(LLM_EVENT_TENANT, &(struct llm_event){ .tenant = t->key });
}

int llm_tenant_set(u64 key, u32 which, const struct llm_limits *limits)
{
	struct llm_tenant *t;
	bool pinned;

	if (!llm_limits_ok(which, limits))
		return -EINVAL;
	mutex_lock(&llm_tenants_lock);
	t = llm_tenant_get_locked(key);
	if (IS_ERR(t)) {
		mutex_unlock(&llm_tenants_lock);
		return PTR_ERR(t);
	}
	pinned = t->pinned;
	t->pinned = true;		/* keeps the reference */
	llm_tenant_changed(t, which, limits);
	mutex_unlock(&llm_tenants_lock);
	if (pinned)
		llm_tenant_put(t);
	return 0;
}

int llm_tenant_reset(u64 key)
{
	struct llm_tenant *t;
	bool pinned;

	mutex_lock(&llm_tenants_lock);
	t = xa_load(&llm_tenants, key);
	if (!t) {
		mutex_unlock(&llm_tenants_lock);
		return -ENOENT;
	}
	pinned = t->pinned;
	t->pinned = false;
	llm_tenant_changed(t, LLM_LIMIT_ALL, &llm_limits_default);
	mutex_unlock(&llm_tenants_lock);
	if (pinned)
		llm_tenant_put(t);
	return 0;
}

void llm_tenant_look(struct llm_tenant *t, struct llm_limits *limits, struct llm_usage *usage)
{
	spin_lock(&t->lock);
	if (limits)
		*limits = t->limits;
	if (usage)
		*usage = t->usage;
	spin_unlock(&t->lock);
}

void llm_quota_exit(void)
{
	struct llm_tenant *t;
	unsigned long i;

	/* no session is left: what is in the table is pinned */
	xa_for_each(&llm_tenants, i, t) {
		WARN_ON_ONCE(!t->pinned);
		llm_tenant_put(t);
	}
	xa_destroy(&llm_tenants);
}

/* ---- charging */

int llm_quota_open(struct llm_tenant *t, u32 nr_streams, u64 memory)
{
	struct llm_limits *l = &t->limits;
	struct llm_usage *u = &t->usage;
	int err = 0;

	spin_lock(&t->lock);
	/* usage may stand above a limit that was lowered: no differences */
	if ((u64)u->sessions + 1 > l->max_sessions ||
	    (u64)u->streams + nr_streams > l->max_streams || u->memory + memory > l->max_memory) {
		err = -EDQUOT;
	} else {
		u->sessions++;
		u->streams += nr_streams;
		u->memory += memory;
	}
	spin_unlock(&t->lock);
	return err;
}

void llm_quota_close(struct llm_tenant *t, u32 nr_streams, u64 memory)
{
	spin_lock(&t->lock);
	t->usage.sessions--;
	t->usage.streams -= nr_streams;
	t->usage.memory -= memory;
	spin_unlock(&t->lock);
}

/* tenant->lock */
static bool llm_bucket_full(struct llm_tenant *t)
{
	u64 now, full;

	lockdep_assert_held(&t->lock);
	if (!t->limits.max_submit_rate)
		return false;
	now = ktime_get_ns();
	full = max(t->bucket_ns, now) + NSEC_PER_SEC / t->limits.max_submit_rate;
	if (full > now + NSEC_PER_SEC)
		return true;
	t->bucket_ns = full;
	return false;
}

int llm_quota_submit(struct llm_tenant *t, bool flies, u8 *class_)
{
	int err = 0;

	spin_lock(&t->lock);
	if (flies && t->usage.inflight >= t->limits.max_inflight) {
		err = -EDQUOT;
	} else if (llm_bucket_full(t)) {
		err = -EAGAIN;
	} else {
		t->usage.inflight += flies;
		t->usage.submitted++;
		*class_ = max_t(u32, *class_, t->limits.class_ceiling);
	}
	spin_unlock(&t->lock);
	return err;
}

void llm_quota_landed(struct llm_tenant *t, u32 nr)
{
	spin_lock(&t->lock);
	t->usage.inflight -= nr;
	spin_unlock(&t->lock);
}

void llm_quota_refused(struct llm_tenant *t, int error)
{
	spin_lock(&t->lock);
	t->usage.refused++;
	spin_unlock(&t->lock);
	llm_event_tell(LLM_EVENT_QUOTA, &(struct llm_event){ .tenant = t->key, .error = error });
}
