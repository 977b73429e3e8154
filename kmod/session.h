/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * session.h - one client's memory and identity: the bottom of the module.
 *
 * A session begins with open("/dev/llm") and gets its memory with set-up.  It
 * is kept alive by the client's file, by each descriptor that the daemon got
 * with GETFD, by each place in the work ring or on its lists, and by whoever
 * found it and has not put it yet.  Its pages may live longer: a mapping or a
 * pin holds them.
 *
 * Locks of the module, outermost first:
 *   session->setup      set-up of one session (memory is allocated under it)
 *   llm_attach_lock     mutex, ring.c; the daemon comes or goes
 *   llm_sessions_lock   mutex, session.c; publishing, withdrawing, announcing
 *   llm_ring_lock       turn.h: whose turn it is, the ring, the parked TAKE
 *   session->lock       the session's queue of copied entries
 *   tenant->lock        limits and usage
 * llm_tenants_lock (quota.c) nests in none but session->setup.  A wait queue's
 * own lock nests in all.  Nothing sleeps and no user memory is touched under a
 * spinlock.  No code of ours runs in interrupts.
 */
#ifndef LLM_SESSION_H
#define LLM_SESSION_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/llm.h>

#include "area.h"

struct file;
struct llm_tenant;
struct llm_text;
struct mem_cgroup;
struct pid;

/* An entry as it was copied, with the time. */
struct llm_queued {
	struct llm_sqe sqe;
	u64 queued_ns;		/* CLOCK_MONOTONIC */
};

struct llm_session {
	struct kref ref;
	struct rcu_work free_work;

	/* set at open, never changed */
	struct llm_tenant *tenant;	/* owned reference */
	kuid_t uid;			/* of the opener */
	u32 uid_nr;			/* the same, in the initial namespace */
	struct pid *pid;		/* of the opener; owned reference */
	u64 opened_ns;

	/*
	 * Set up once, under setup; may be read by who saw llm_session_ready().
	 * client and engine point into pages that the other side may change at
	 * any time; host into one that only we write.
	 */
	struct mutex setup;
	bool ready;		/* release by publish, acquire in llm_session_ready() */
	bool killed;		/* set once, under llm_sessions_lock; read anywhere */
	u64 id;			/* generation << 32 | index; never 0, never reused */
	u32 index;		/* in the table */
	u64 memory;		/* bytes charged to the tenant */
	struct llm_setup lay;
	struct mem_cgroup *memcg;	/* owned reference */
	struct llm_area area[LLM_AREA_NR];
	struct llm_client_ctl *client;
	struct llm_host_ctl *host;
	struct llm_engine_ctl *engine;
	struct llm_text *text;	/* owned; read/write mode; under setup */
	struct list_head fellow;	/* in tenant->sessions */
	atomic64_t *flight;	/* [nr_streams]; flight.c */

	/*
	 * The queue.  queue[pos & (sq_entries - 1)]: [acked, next) stand in the work
	 * ring, [next, tail) wait.  An entry is ours until the daemon's head has
	 * passed it; when the daemon is lost, next goes back to acked, so what it had
	 * not acknowledged is at the front again.  lock is for who adds (sq_head, tail);
	 * the ring takes out under llm_ring_lock (next, acked).  tail and acked cross
	 * by release and acquire.
	 */
	spinlock_t lock;
	u32 sq_head;		/* entries consumed; HOST has a copy */
	u32 tail;
	u32 acked, next;
	struct llm_queued *queue;

	/* under llm_ring_lock (turn.h) */
	struct list_head active;	/* in tenant->active, with a reference */
	u32 told;		/* epoch in which the daemon was told of it; 0 = none */
	bool closed;		/* ended by its client or the host; s->lock too */

	wait_queue_head_t wq;	/* the client sleeps here */
};

/* Start and end of the module.  -ENOMEM. */
int llm_session_init(void);
void llm_session_exit(void);

/*
 * A session for @file, opened by the calling task; not set up, not to be found.
 * The file owns the reference.  ERR_PTR(-ENOMEM).
 */
struct llm_session *llm_session_new(const struct file *file);

/*
 * Make all that @s needs as @setup wishes and fill @setup with what it got.  Then
 * either llm_session_publish(), or llm_session_unset() as if nothing had been: a
 * caller who cannot be told has no session.  Under s->setup.  -EBUSY: was set up;
 * -EINVAL, -EPROTO: see llm_layout_fill(); -EDQUOT: a limit of the tenant; -ENOMEM.
 */
int llm_session_setup(struct llm_session *s, struct llm_setup *setup);
void llm_session_unset(struct llm_session *s);

/* From here on @s is set up and others can find it.  Under s->setup. */
void llm_session_publish(struct llm_session *s);

/* Set up?  Then layout, areas and pointers may be used. */
static inline bool llm_session_ready(const struct llm_session *s)
{
	/* pairs with the release at the end of set-up */
	return smp_load_acquire(&s->ready);
}

/* 0, or why nothing can be done with @s: -ENXIO (not set up), -ESHUTDOWN (killed). */
static inline int llm_session_usable(const struct llm_session *s)
{
	if (!llm_session_ready(s))
		return -ENXIO;
	return READ_ONCE(s->killed) ? -ESHUTDOWN : 0;
}

/* The client's file is closed: @s can no longer be found. */
void llm_session_withdraw(struct llm_session *s);

/*
 * The session of @id with a reference, or NULL.  Any context.  Only sessions
 * that are set up and whose client is there are found.
 */
struct llm_session *llm_session_find(u64 id);

/*
 * The session with the smallest table index >= *@index, with a reference, or
 * NULL; *@index moves behind it.  Start with 0.
 */
struct llm_session *llm_session_next(u32 *index);

/* Give a reference back.  Any context. */
void llm_session_put(struct llm_session *s);

/* Tell all sessions, now and to come, in HOST: state, then epoch.  Wakes them. */
void llm_session_announce(u32 state, u32 epoch);

/*
 * End @s for its client: HOST says LLM_DAEMON_FAILED, every call -ESHUTDOWN,
 * sleepers wake.  False where it was done before.  The ring does the rest
 * (llm_ring_kill()).
 */
bool llm_session_fail(struct llm_session *s);

/* What `llm ps` and netlink show of @s; uid in the initial namespace. */
void llm_session_describe(struct llm_session *s, struct llm_session_info *info);

/* Set-up sessions whose client is there. */
u32 llm_session_count(void);

/* The features that this kernel offers. */
u32 llm_session_features(void);

#endif
