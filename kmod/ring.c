// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring.c - see ring.h.
 *
 * Pumping moves items from the sessions' queues into the ring while it has
 * room.  It happens whenever somebody comes by: a submission, a set-up, a TAKE,
 * a poll.  A daemon that is busy takes from memory alone and is told by
 * LLMD_RING_F_OVERFLOW when only a TAKE brings more.
 *
 * head is hostile: it counts only while it stands in [reaped, tail].  Elsewhere
 * the ring is full for us, and TAKE says EPROTO.
 */
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "area.h"
#include "compat.h"
#include "event.h"
#include "flight.h"
#include "quota.h"
#include "ring.h"
#include "session.h"
#include "sleeper.h"
#include "trace.h"
#include "turn.h"

struct llm_ring {
	struct llm_area ring;	/* header page, then entries: we write */
	struct llm_area ctl;	/* one page: the daemon writes */
	struct llmd_ring_hdr *hdr;	/* in the first page of ring */
	const struct llmd_ctl *ctl_page;	/* hostile */
	struct pid *pid;	/* of the opener; owned reference */

	/* under llm_ring_lock; positions are free-running */
	u32 entries;		/* power of two */
	u32 reaped, tail;	/* [reaped, tail) is not acknowledged */
	struct llm_session *owner[LLM_RING_ENTRIES];	/* of those; a reference each */
};

static DEFINE_MUTEX(llm_attach_lock);	/* one attaches, or leaves, at a time */

/* under llm_ring_lock; state and epoch are written under llm_attach_lock too */
static struct llm_ring *llm_ring;	/* /dev/llmd is open */
static u32 llm_state;			/* LLM_DAEMON_NONE or _READY */
static u32 llm_epoch;
static u64 llm_pushed, llm_redelivered;

/* ---- pages */

static struct llmd_work *llm_ring_slot(struct llm_ring *r, u32 pos)
{
	return llm_area_at(&r->ring,
			   LLMD_RING_HDR + (pos & (r->entries - 1)) * sizeof(struct llmd_work));
}

static u32 llm_ring_head(struct llm_ring *r)
{
	/* pairs with the daemon's release: what is before head is admitted or refused */
	return smp_load_acquire(&r->ctl_page->head);
}

struct llm_area *llm_ring_area(struct llm_ring *r, u32 index)
{
	return index == LLMD_AREA_RING ? &r->ring : &r->ctl;
}

/* ---- from queues to the ring, and out of it.  All under llm_ring_lock. */

/* Let go of what head has passed.  False: head is not in the ring. */
static bool llm_ring_reap(struct llm_ring *r)
{
	u32 head = llm_ring_head(r);

	lockdep_assert_held(&llm_ring_lock);
	if (head - r->reaped > r->tail - r->reaped)
		return false;
	for (; r->reaped != head; r->reaped++) {
		struct llm_session *s = r->owner[r->reaped & (r->entries - 1)];
		struct llmd_work *w = llm_ring_slot(r, r->reaped);

		r->owner[r->reaped & (r->entries - 1)] = NULL;
		if (w->kind == LLMD_WORK_SQE) {
			trace_llm_take(w->tenant, s->id, w->sqe.op, w->sqe.stream, w->sqe.gen);
			/* pairs with the acquires in llm_flight_over(), llm_entry_queue() */
			smp_store_release(&s->acked, s->acked + 1);
		}
		llm_session_put(s);
	}
	return true;
}

/* What the daemon of this epoch has to hear of @s next; 0: nothing. */
static u32 llm_ring_next_kind(const struct llm_session *s)
{
	lockdep_assert_held(&llm_ring_lock);
	if (s->closed)
		return s->told == llm_epoch ? LLMD_WORK_CLOSE : 0;
	if (s->told != llm_epoch)
		return LLMD_WORK_OPEN;
	/* pairs with the release in llm_entry_queue(): the entry is there */
	return s->next != smp_load_acquire(&s->tail) ? LLMD_WORK_SQE : 0;
}

/* The next item of @s into the ring, which has room.  Its kind; 0: none. */
static u32 llm_ring_put(struct llm_ring *r, struct llm_session *s)
{
	struct llmd_work *w = llm_ring_slot(r, r->tail);
	u32 kind = llm_ring_next_kind(s);

	if (!kind)
		return 0;
	w->session = s->id;
	w->kind = kind;
	w->uid = s->uid_nr;
	w->tenant = s->tenant->key;
	/* as they stand: a limit holds from the next submission on */
	w->weight = READ_ONCE(s->tenant->limits.weight);
	w->token_rate = READ_ONCE(s->tenant->limits.max_token_rate);
	w->epoch = llm_epoch;
	if (kind == LLMD_WORK_SQE) {
		struct llm_queued *q = &s->queue[s->next++ & (s->lay.sq_entries - 1)];

		w->sqe = q->sqe;
		w->queued_ns = q->queued_ns;
		trace_llm_queue(w->tenant, s->id, w->sqe.op, w->sqe.stream, w->sqe.gen);
	} else {
		memset(&w->sqe, 0, sizeof(w->sqe));	/* what stood here before */
		w->queued_ns = ktime_get_ns();
		s->told = kind == LLMD_WORK_OPEN ? llm_epoch : 0;
	}
	kref_get(&s->ref);
	r->owner[r->tail & (r->entries - 1)] = s;
	r->tail++;
	llm_pushed++;
	/* the entry before the tail; pairs with the daemon's acquire */
	smp_store_release(&r->hdr->tail, r->tail);
	return kind;
}

static bool llm_ring_room(const struct llm_ring *r)
{
	return r->tail - r->reaped < r->entries;
}

/* What @s has into the ring at once while nobody waits; else it takes its turns. */
static void llm_ring_add(struct llm_ring *r, struct llm_session *s)
{
	while (llm_ring_next_kind(s)) {
		if (llm_turn_any() || !llm_ring_room(r)) {
			llm_turn_join(s);
			break;
		}
		llm_ring_put(r, s);
	}
}

/*
 * Fill the ring; @s, if not NULL, has something new.  Entries in it, 0 where there
 * is no daemon, -EPROTO.  *@ret_cmd: a TAKE to finish after unlocking, if one was
 * parked and there is work; sleeping ones are woken.
 */
static int llm_ring_pump(struct llm_session *s, struct io_uring_cmd **ret_cmd)
{
	struct llm_ring *r = llm_ring;
	bool attached = r && llm_state != LLM_DAEMON_NONE;
	u32 before, kind;

	lockdep_assert_held(&llm_ring_lock);
	*ret_cmd = NULL;
	if (!attached || !llm_ring_reap(r)) {
		if (s)
			llm_turn_join(s);
		return attached ? -EPROTO : 0;
	}
	before = r->tail;
	if (s)
		llm_ring_add(r, s);
	while (llm_ring_room(r) && (s = llm_turn_peek())) {
		kind = llm_ring_put(r, s);
		/* may drop the list's reference */
		llm_turn_done(s, kind, llm_ring_next_kind(s));
	}
	WRITE_ONCE(r->hdr->flags, llm_turn_any() ? LLMD_RING_F_OVERFLOW : 0);
	if (r->tail != r->reaped)
		*ret_cmd = llm_sleeper_unpark(NULL, r->tail - r->reaped);
	if (r->tail != before)
		llm_sleeper_wake();
	return r->tail - r->reaped;
}

int llm_ring_ready(struct llm_ring *r, u32 *ret_tail)
{
	struct io_uring_cmd *cmd;
	int n;

	spin_lock(&llm_ring_lock);
	n = llm_ring_pump(NULL, &cmd);
	*ret_tail = r->tail;
	spin_unlock(&llm_ring_lock);
	llm_sleeper_finish(cmd);
	return n;
}

u32 llm_ring_tail(const struct llm_ring *r)
{
	return READ_ONCE(r->tail);
}

/* ---- the daemon comes and goes */

/* Has something for a daemon that may come: keeps its place. */
static bool llm_ring_waits(const struct llm_session *s)
{
	return !s->closed && s->next != READ_ONCE(s->tail);
}

/*
 * llm_ring_lock.  Empty the ring: what head has not passed is in its session's
 * queue still, so next goes back and the session joins.  tail goes to wherever
 * head stands.  How many entries went back.
 */
static u32 llm_ring_empty(struct llm_ring *r)
{
	u32 pos, nr = 0;

	lockdep_assert_held(&llm_ring_lock);
	llm_ring_reap(r);
	for (pos = r->reaped; pos != r->tail; pos++) {
		struct llm_session *s = r->owner[pos & (r->entries - 1)];

		r->owner[pos & (r->entries - 1)] = NULL;
		if (llm_ring_slot(r, pos)->kind == LLMD_WORK_SQE && !s->closed) {
			s->next = s->acked;
			llm_turn_join(s);
			nr++;
		}
		llm_session_put(s);
	}
	r->tail = r->reaped = llm_ring_head(r);
	/* the ring is empty from here on; pairs with the daemon's acquire */
	smp_store_release(&r->hdr->tail, r->tail);
	WRITE_ONCE(r->hdr->flags, 0);
	llm_redelivered += nr;
	return nr;
}

static void llm_ring_tell(u32 state, u32 epoch)
{
	llm_session_announce(state, epoch);
	llm_event_tell(LLM_EVENT_DAEMON, &(struct llm_event){ .state = state, .epoch = epoch });
}

/* llm_attach_lock */
static void llm_ring_lose(struct llm_ring *r)
{
	u32 nr;

	lockdep_assert_held(&llm_attach_lock);
	if (llm_state == LLM_DAEMON_NONE)
		return;
	spin_lock(&llm_ring_lock);
	llm_state = LLM_DAEMON_NONE;
	llm_epoch++;
	nr = llm_ring_empty(r);
	llm_turn_sift(llm_ring_waits);
	spin_unlock(&llm_ring_lock);
	trace_llm_detach(llm_epoch, nr);
	llm_ring_tell(LLM_DAEMON_NONE, llm_epoch);
}

int llm_ring_open(struct llm_ring **ret_ring)
{
	struct llm_ring *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	u64 size = PAGE_ALIGN(LLMD_RING_HDR + LLM_RING_ENTRIES * sizeof(struct llmd_work));
	int err;

	if (!r)
		return -ENOMEM;
	r->entries = LLM_RING_ENTRIES;
	r->pid = get_pid(task_tgid(current));
	err = llm_area_init(&r->ring, LLMD_AREA_RING, size, size, NULL);
	if (err)
		goto out_free;
	err = llm_area_init(&r->ctl, LLMD_AREA_CTL, PAGE_SIZE, PAGE_SIZE, NULL);
	if (err)
		goto out_ring;
	r->hdr = llm_area_at(&r->ring, 0);
	r->ctl_page = llm_area_at(&r->ctl, 0);
	r->hdr->entries = r->entries;
	spin_lock(&llm_ring_lock);
	if (llm_ring)
		err = -EBUSY;
	else
		llm_ring = r;
	spin_unlock(&llm_ring_lock);
	if (err)
		goto out_ctl;
	*ret_ring = r;
	return 0;
out_ctl:
	llm_area_deinit(&r->ctl);
out_ring:
	llm_area_deinit(&r->ring);
out_free:
	put_pid(r->pid);
	kfree(r);
	return err;
}

void llm_ring_close(struct llm_ring *r)
{
	mutex_lock(&llm_attach_lock);
	llm_ring_lose(r);
	spin_lock(&llm_ring_lock);
	WARN_ON_ONCE(llm_sleeper_unpark(NULL, 0));	/* a parked command holds the file */
	llm_ring = NULL;
	spin_unlock(&llm_ring_lock);
	mutex_unlock(&llm_attach_lock);
	llm_area_deinit(&r->ctl);
	llm_area_deinit(&r->ring);
	put_pid(r->pid);
	kfree(r);
}

/* Every session into the turns: the daemon has heard of none. */
static u32 llm_ring_join_all(void)
{
	struct llm_session *s;
	u32 index = 0, nr = 0;

	while ((s = llm_session_next(&index))) {
		spin_lock(&llm_ring_lock);
		if (!s->closed) {
			llm_turn_join(s);
			nr++;
		}
		spin_unlock(&llm_ring_lock);
		llm_session_put(s);
		cond_resched();
	}
	return nr;
}

int llm_ring_attach(struct llm_ring *r, struct llmd_attach *attach)
{
	u32 entries = attach->ring_entries ?: LLM_RING_ENTRIES, tail;

	if (attach->flags || attach->abi != LLM_ABI_VERSION)
		return -EINVAL;
	if (entries > LLM_RING_ENTRIES || !is_power_of_2(entries))
		return -EINVAL;
	mutex_lock(&llm_attach_lock);
	llm_ring_lose(r);
	spin_lock(&llm_ring_lock);
	r->entries = entries;		/* the ring is empty */
	r->tail = r->reaped = llm_ring_head(r);
	llm_state = LLM_DAEMON_READY;
	llm_epoch++;
	r->hdr->entries = entries;
	r->hdr->epoch = llm_epoch;
	/* all of the header; pairs with the daemon's acquire */
	smp_store_release(&r->hdr->tail, r->tail);
	spin_unlock(&llm_ring_lock);
	attach->epoch = llm_epoch;
	attach->ring_entries = entries;
	/* who is set up from here on joins by llm_ring_opened(); told tells both apart */
	attach->nr_sessions = llm_ring_join_all();
	trace_llm_attach(llm_epoch, attach->nr_sessions);
	llm_ring_tell(LLM_DAEMON_READY, llm_epoch);
	mutex_unlock(&llm_attach_lock);
	llm_ring_ready(r, &tail);
	return 0;
}

void llm_ring_detach(struct llm_ring *r)
{
	mutex_lock(&llm_attach_lock);
	llm_ring_lose(r);
	mutex_unlock(&llm_attach_lock);
}

/* ---- sessions */

void llm_ring_opened(struct llm_session *s)
{
	struct io_uring_cmd *cmd;

	spin_lock(&llm_ring_lock);
	/* with no daemon there is nothing to tell; ATTACH finds it in the table */
	llm_ring_pump(llm_state != LLM_DAEMON_NONE && !s->closed ? s : NULL, &cmd);
	spin_unlock(&llm_ring_lock);
	llm_sleeper_finish(cmd);
}

void llm_ring_submitted(struct llm_session *s)
{
	struct io_uring_cmd *cmd;

	spin_lock(&llm_ring_lock);
	llm_ring_pump(s->closed ? NULL : s, &cmd);
	spin_unlock(&llm_ring_lock);
	llm_sleeper_finish(cmd);
}

void llm_ring_closed(struct llm_session *s)
{
	struct io_uring_cmd *cmd;

	spin_lock(&llm_ring_lock);
	spin_lock(&s->lock);
	s->closed = true;		/* nothing is queued any more */
	WRITE_ONCE(s->tail, s->next);
	spin_unlock(&s->lock);
	if (llm_state != LLM_DAEMON_NONE && s->told == llm_epoch)
		llm_turn_join(s);	/* CLOSE */
	else
		llm_turn_leave(s);
	llm_ring_pump(NULL, &cmd);
	spin_unlock(&llm_ring_lock);
	llm_sleeper_finish(cmd);
	llm_flight_drop(s);
}

int llm_ring_kill(u64 id)
{
	struct llm_session *s = llm_session_find(id);
	bool first;

	if (!s)
		return -ENOENT;
	first = llm_session_fail(s);
	if (first) {
		trace_llm_kill(s->tenant->key, id);
		llm_ring_closed(s);
		llm_event_tell(LLM_EVENT_KILL, &(struct llm_event){ .tenant = s->tenant->key,
								    .session = id });
	}
	llm_session_put(s);
	return first ? 0 : -EALREADY;
}

void llm_ring_describe(struct llm_daemon_info *info)
{
	struct llm_ring *r;

	*info = (struct llm_daemon_info){ .nr_sessions = llm_session_count() };
	spin_lock(&llm_ring_lock);
	r = llm_ring;
	info->state = llm_state;
	info->epoch = llm_epoch;
	info->pushed = llm_pushed;
	info->redelivered = llm_redelivered;
	if (r) {
		llm_ring_reap(r);
		info->pid = pid_nr(r->pid);
		info->ring_entries = r->entries;
		info->ring_used = r->tail - r->reaped;
	}
	spin_unlock(&llm_ring_lock);
}
