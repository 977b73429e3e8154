// SPDX-License-Identifier: GPL-2.0-only
/*
 * session.c - see session.h.
 *
 * The table holds no reference: a lookup takes one under RCU, if there is still
 * one to take, and compares the whole id.  The last put may come under a
 * spinlock, freeing may not, so it goes through RCU to a work item.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "check.h"
#include "compat.h"
#include "event.h"
#include "quota.h"
#include "session.h"

static DEFINE_MUTEX(llm_sessions_lock);
static DEFINE_XARRAY_ALLOC1(llm_sessions);	/* index -> session, no reference */
static atomic_t llm_nr_sessions;
static struct workqueue_struct *llm_free_wq;

/* llm_sessions_lock */
static u32 llm_next_index;
static u32 llm_next_gen;
static u32 llm_state, llm_epoch;	/* what HOST pages say */

int llm_session_init(void)
{
	llm_free_wq = alloc_workqueue("llm_free", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return llm_free_wq ? 0 : -ENOMEM;
}

void llm_session_exit(void)
{
	rcu_barrier();			/* queue_rcu_work() goes through call_rcu() */
	destroy_workqueue(llm_free_wq);
	WARN_ON_ONCE(!xa_empty(&llm_sessions));
	xa_destroy(&llm_sessions);
}

u32 llm_session_features(void)
{
	u32 f = LLM_FEAT_READWRITE;

	if (IS_ENABLED(CONFIG_IO_URING))
		f |= LLM_FEAT_URING | LLM_FEAT_SQE128;
	return f;
}

u32 llm_session_count(void)
{
	return atomic_read(&llm_nr_sessions);
}

/* ---- birth and death */

static void llm_session_free_memory(struct llm_session *s)
{
	int i;

	for (i = 0; i < LLM_AREA_NR; i++)
		llm_area_deinit(&s->area[i]);
	kvfree(s->queue);
	s->queue = NULL;
	kvfree(s->flight);
	s->flight = NULL;
	mem_cgroup_put(s->memcg);
	s->memcg = NULL;
}

static void llm_session_free(struct work_struct *work)
{
	struct llm_session *s = container_of(to_rcu_work(work), struct llm_session, free_work);

	llm_session_free_memory(s);
	llm_tenant_put(s->tenant);
	put_pid(s->pid);
	kfree(s->text);
	mutex_destroy(&s->setup);
	kfree(s);
}

static void llm_session_release(struct kref *ref)
{
	struct llm_session *s = container_of(ref, struct llm_session, ref);

	/* at once: who closes one session and opens the next meets no limit */
	if (s->ready)
		llm_quota_close(s->tenant, s->lay.nr_streams, s->memory);
	queue_rcu_work(llm_free_wq, &s->free_work);
}

void llm_session_put(struct llm_session *s)
{
	kref_put(&s->ref, llm_session_release);
}

struct llm_session *llm_session_new(const struct file *file)
{
	struct llm_session *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	struct llm_tenant *t;

	if (!s)
		return ERR_PTR(-ENOMEM);
	t = llm_tenant_get(llm_tenant_key(file->f_cred));
	if (IS_ERR(t)) {
		kfree(s);
		return ERR_CAST(t);
	}
	kref_init(&s->ref);
	INIT_RCU_WORK(&s->free_work, llm_session_free);
	s->tenant = t;
	s->uid = file->f_cred->euid;
	s->uid_nr = from_kuid(&init_user_ns, s->uid);
	s->pid = get_pid(task_tgid(current));
	s->opened_ns = ktime_get_ns();
	mutex_init(&s->setup);
	INIT_LIST_HEAD(&s->fellow);
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->active);
	init_waitqueue_head(&s->wq);
	return s;
}

/* ---- set-up */

/* Pages that a kernel path reads or writes; the rest comes with the first touch. */
static u64 llm_session_there(const struct llm_setup *lay, int area)
{
	switch (area) {
	case LLM_AREA_ENGINE:
		return lay->off_extent;
	case LLM_AREA_ARENA:
		return 0;
	default:
		return lay->area_size[area];
	}
}

/* s->setup, tenant charged.  On failure nothing is left. */
static int llm_session_alloc(struct llm_session *s, const struct llm_setup *lay)
{
	int i, err = -ENOMEM;

	s->memcg = get_mem_cgroup_from_mm(current->mm);
	s->queue = kvcalloc(lay->sq_entries, sizeof(*s->queue), GFP_KERNEL_ACCOUNT);
	s->flight = kvcalloc(lay->nr_streams, sizeof(*s->flight), GFP_KERNEL_ACCOUNT);
	if (!s->queue || !s->flight)
		goto out_free;
	for (i = 0; i < LLM_AREA_NR; i++) {
		err = llm_area_init(&s->area[i], i, lay->area_size[i], llm_session_there(lay, i),
				    s->memcg);
		if (err)
			goto out_free;
	}
	s->client = llm_area_at(&s->area[LLM_AREA_CLIENT], 0);
	s->host = llm_area_at(&s->area[LLM_AREA_HOST], 0);
	s->engine = llm_area_at(&s->area[LLM_AREA_ENGINE], 0);
	return 0;
out_free:
	llm_session_free_memory(s);
	return err;
}

/* llm_sessions_lock.  A place and a name; nobody finds an entry that is NULL. */
static int llm_session_reserve(struct llm_session *s)
{
	int err;

	lockdep_assert_held(&llm_sessions_lock);
	err = xa_alloc_cyclic(&llm_sessions, &s->index, NULL, XA_LIMIT(1, INT_MAX),
			      &llm_next_index, GFP_KERNEL_ACCOUNT);
	if (err < 0)
		return err;
	llm_next_gen++;
	s->id = (u64)llm_next_gen << 32 | s->index;
	return 0;
}

int llm_session_setup(struct llm_session *s, struct llm_setup *setup)
{
	struct llm_setup lay = *setup;
	u64 memory = 0;
	int i, err;

	lockdep_assert_held(&s->setup);
	if (s->ready)
		return -EBUSY;
	err = llm_layout_fill(&lay, llm_session_features());
	if (err)
		return err;
	for (i = 0; i < LLM_AREA_NR; i++)
		memory += lay.area_size[i];
	/* the quota first: nothing is ever allocated beyond it */
	err = llm_quota_open(s->tenant, lay.nr_streams, memory);
	if (err) {
		llm_quota_refused(s->tenant, err);
		return err;
	}
	err = llm_session_alloc(s, &lay);
	if (err)
		goto out_close;
	mutex_lock(&llm_sessions_lock);
	err = llm_session_reserve(s);
	mutex_unlock(&llm_sessions_lock);
	if (err)
		goto out_free;
	lay.session = s->id;
	s->lay = lay;
	s->memory = memory;
	*setup = lay;
	return 0;
out_free:
	llm_session_free_memory(s);
out_close:
	llm_quota_close(s->tenant, lay.nr_streams, memory);
	return err;
}

void llm_session_unset(struct llm_session *s)
{
	lockdep_assert_held(&s->setup);
	mutex_lock(&llm_sessions_lock);
	xa_erase(&llm_sessions, s->index);
	mutex_unlock(&llm_sessions_lock);
	llm_session_free_memory(s);
	llm_quota_close(s->tenant, s->lay.nr_streams, s->memory);
}

void llm_session_publish(struct llm_session *s)
{
	lockdep_assert_held(&s->setup);
	mutex_lock(&llm_sessions_lock);
	s->host->session = s->id;
	s->host->daemon = llm_state;
	s->host->epoch = llm_epoch;
	/* all of the above before; pairs with the acquire in llm_session_ready() */
	smp_store_release(&s->ready, true);
	spin_lock(&s->tenant->lock);
	list_add_rcu(&s->fellow, &s->tenant->sessions);
	spin_unlock(&s->tenant->lock);
	xa_store(&llm_sessions, s->index, s, GFP_KERNEL);	/* reserved: cannot fail */
	atomic_inc(&llm_nr_sessions);
	mutex_unlock(&llm_sessions_lock);
	llm_event_tell(LLM_EVENT_OPEN, &(struct llm_event){ .tenant = s->tenant->key,
							    .session = s->id });
}

void llm_session_withdraw(struct llm_session *s)
{
	mutex_lock(&llm_sessions_lock);
	if (s->ready) {
		xa_erase(&llm_sessions, s->index);
		atomic_dec(&llm_nr_sessions);
		spin_lock(&s->tenant->lock);
		list_del_rcu(&s->fellow);
		spin_unlock(&s->tenant->lock);
	}
	mutex_unlock(&llm_sessions_lock);
	if (s->ready)
		llm_event_tell(LLM_EVENT_CLOSE, &(struct llm_event){ .tenant = s->tenant->key,
								     .session = s->id });
}

/* ---- finding */

struct llm_session *llm_session_find(u64 id)
{
	struct llm_session *s;

	rcu_read_lock();
	s = xa_load(&llm_sessions, (u32)id);
	if (s && (s->id != id || !kref_get_unless_zero(&s->ref)))
		s = NULL;
	rcu_read_unlock();
	return s;
}

struct llm_session *llm_session_next(u32 *index)
{
	unsigned long i = *index;
	struct llm_session *s;

	rcu_read_lock();
	s = xa_find(&llm_sessions, &i, ULONG_MAX, XA_PRESENT);
	while (s && !kref_get_unless_zero(&s->ref))
		s = xa_find_after(&llm_sessions, &i, ULONG_MAX, XA_PRESENT);
	rcu_read_unlock();
	*index = i + 1;
	return s;
}

/* ---- what the host says to clients */

/* llm_sessions_lock */
static void llm_session_say(struct llm_session *s, u32 state, u32 epoch)
{
	lockdep_assert_held(&llm_sessions_lock);
	WRITE_ONCE(s->host->daemon, state);
	/* state before epoch; the client reads them the other way round */
	smp_store_release(&s->host->epoch, epoch);
	wake_up_interruptible_poll(&s->wq, EPOLLPRI);
}

void llm_session_announce(u32 state, u32 epoch)
{
	struct llm_session *s;
	unsigned long i;

	mutex_lock(&llm_sessions_lock);
	llm_state = state;
	llm_epoch = epoch;
	/* the lock keeps them from being withdrawn */
	xa_for_each(&llm_sessions, i, s)
		if (!s->killed)
			llm_session_say(s, state, epoch);
	mutex_unlock(&llm_sessions_lock);
}

bool llm_session_fail(struct llm_session *s)
{
	bool first;

	mutex_lock(&llm_sessions_lock);
	first = !s->killed;
	WRITE_ONCE(s->killed, true);
	if (first) {
		llm_session_say(s, LLM_DAEMON_FAILED, s->host->epoch);
		wake_up_interruptible_poll(&s->wq, EPOLLHUP | EPOLLERR);
	}
	mutex_unlock(&llm_sessions_lock);
	return first;
}

void llm_session_describe(struct llm_session *s, struct llm_session_info *info)
{
	u64 off = s->lay.off_commit, word;
	u32 i;

	*info = (struct llm_session_info){
		.session = s->id,
		.tenant = s->tenant->key,
		.age_ns = ktime_get_ns() - s->opened_ns,
		.uid = s->uid_nr,
		.pid = pid_nr(s->pid),
		.streams = s->lay.nr_streams,
	};
	for (i = 0; i < s->lay.nr_streams; i++, off += sizeof(u64)) {
		word = READ_ONCE(*(u64 *)llm_area_at(&s->area[LLM_AREA_ENGINE], off));
		info->tokens += LLM_COMMIT_TAIL(word);
		info->queued += LLM_COMMIT_STATE(word) == LLM_ST_QUEUED;
		info->running += LLM_COMMIT_STATE(word) == LLM_ST_RUNNING;
		info->ended += LLM_COMMIT_STATE(word) == LLM_ST_END;
	}
}
