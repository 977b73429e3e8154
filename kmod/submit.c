// SPDX-License-Identifier: GPL-2.0-only
/* submit.c - see submit.h. */
#include <linux/ktime.h>
#include <linux/minmax.h>

#include "check.h"
#include "flight.h"
#include "quota.h"
#include "ring.h"
#include "session.h"
#include "submit.h"
#include "trace.h"

#define LLM_SUBMIT_MAX	256u	/* bounds the time a spinlock is held */

/* Each word is read once; what is checked is what is used. */
static void llm_entry_fetch(struct llm_sqe *to, const struct llm_sqe *from)
{
	const u64 *src = (const u64 *)from;
	u64 *dst = (u64 *)to;
	size_t i;

	for (i = 0; i < sizeof(*to) / sizeof(u64); i++)
		dst[i] = READ_ONCE(src[i]);
}

/* s->lock.  @e is our copy.  Does not sleep. */
static int llm_entry_queue(struct llm_session *s, struct llm_sqe *e)
{
	struct llm_queued *q;
	int err;

	lockdep_assert_held(&s->lock);
	err = llm_entry_check(e, s->lay.nr_streams, s->lay.arena_size);
	if (err)
		return err;
	if (s->closed)
		return -ESHUTDOWN;
	/* pairs with the release in the ring's reap: the place was read for good */
	if (s->tail - smp_load_acquire(&s->acked) == s->lay.sq_entries)
		return -EBUSY;
	err = llm_flight_begin(s, e);
	if (err)
		return err;
	q = &s->queue[s->tail & (s->lay.sq_entries - 1)];
	q->sqe = *e;
	q->queued_ns = ktime_get_ns();
	/* the entry before the tail; pairs with the acquire in llm_ring_next_kind() */
	smp_store_release(&s->tail, s->tail + 1);
	trace_llm_submit(s->tenant->key, s->id, e->op, e->stream, e->gen);
	return 0;
}

/* Queue up to @want entries.  How many; *@ret_err: why it ended before. */
static u32 llm_submit_some(struct llm_session *s, u32 want, int *ret_err)
{
	u32 avail, n = 0, mask = s->lay.sq_entries - 1;
	struct llm_sqe e, *sq;
	int err = 0;

	spin_lock(&s->lock);
	/* pairs with the client's release of sq_tail: entries before tail */
	avail = smp_load_acquire(&s->client->sq_tail) - s->sq_head;
	if (avail > s->lay.sq_entries) {
		err = -EINVAL;
		avail = 0;
	}
	want = min(want, avail);
	while (n < want) {
		sq = llm_area_at(&s->area[LLM_AREA_CLIENT],
				 s->lay.off_sq + (s->sq_head & mask) * sizeof(*sq));
		llm_entry_fetch(&e, sq);
		err = llm_entry_queue(s, &e);
		if (err == -EINVAL && !n)
			WRITE_ONCE(s->host->sq_dropped, s->host->sq_dropped + 1);
		if (err)
			break;
		s->sq_head++;
		n++;
	}
	/* the copies before the head: the client may reuse the slots */
	smp_store_release(&s->host->sq_head, s->sq_head);
	spin_unlock(&s->lock);
	*ret_err = err;
	return n;
}

static void llm_submit_refused(struct llm_session *s, int err)
{
	trace_llm_refuse(s->tenant->key, s->id, err);
	llm_quota_refused(s->tenant, err);
}

int llm_submit(struct llm_session *s, u32 want)
{
	int err = 0;
	u32 n;

	want = min(want, LLM_SUBMIT_MAX);
	n = llm_submit_some(s, want, &err);
	if (err == -EDQUOT) {
		/* at the limit as far as we know: look who ended meanwhile */
		llm_flight_sweep(s->tenant);
		n += llm_submit_some(s, want - n, &err);
	}
	if (n) {
		llm_ring_submitted(s);
		return n;
	}
	if (err)
		llm_submit_refused(s, err);
	return err;
}

int llm_submit_one(struct llm_session *s, const struct llm_sqe *from)
{
	struct llm_sqe e;
	int err;

	llm_entry_fetch(&e, from);
	spin_lock(&s->lock);
	err = llm_entry_queue(s, &e);
	spin_unlock(&s->lock);
	if (err == -EDQUOT) {
		llm_flight_sweep(s->tenant);
		spin_lock(&s->lock);
		err = llm_entry_queue(s, &e);
		spin_unlock(&s->lock);
	}
	if (err) {
		llm_submit_refused(s, err);
		return err;
	}
	llm_ring_submitted(s);
	return 1;
}
