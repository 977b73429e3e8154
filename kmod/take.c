// SPDX-License-Identifier: GPL-2.0-only
/* take.c - see take.h. */
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/wait.h>

#include "compat.h"
#include "ring.h"
#include "sleeper.h"
#include "take.h"
#include "turn.h"
#include "wait.h"

/*
 * Something new since the ring was empty at @tail, or a kick?  No lock: both
 * move before the wake-up.
 */
static bool llm_take_moved(const struct llm_ring *r, u32 tail, u32 kicks)
{
	return llm_ring_tail(r) != tail || llm_sleeper_kicks() != kicks;
}

/*
 * What a TAKE that slept says: what was pushed since, without a lock.  At least
 * one where it was not a kick; head is looked at the next time.
 */
static int llm_take_found(const struct llm_ring *r, u32 tail)
{
	return min(llm_ring_tail(r) - tail, LLM_RING_ENTRIES);
}

static int llm_take_sleep(struct llm_ring *r, u32 tail, u32 kicks)
{
	return llm_sleep_on(llm_sleepers, llm_take_moved(r, tail, kicks));
}

int llm_take(struct llm_ring *r, u64 timeout_ns)
{
	u32 kicks = llm_sleeper_kicks(), tail;
	int n = llm_ring_ready(r, &tail), err;

	if (n || timeout_ns == ~0ULL)
		return n;
	if (timeout_ns)
		err = wait_event_interruptible_hrtimeout(llm_sleepers,
				llm_take_moved(r, tail, kicks),
				ns_to_ktime(min_t(u64, timeout_ns, KTIME_MAX)));
	else
		err = llm_take_sleep(r, tail, kicks);
	if (err == -ETIME)
		return 0;
	return err ? -EINTR : llm_take_found(r, tail);
}

void llm_take_kick(void)
{
	struct io_uring_cmd *cmd;

	spin_lock(&llm_ring_lock);
	llm_sleeper_kick();
	cmd = llm_sleeper_unpark(NULL, 0);
	spin_unlock(&llm_ring_lock);
	llm_sleeper_finish(cmd);
}

__poll_t llm_take_poll(struct llm_ring *r, struct file *file, struct poll_table_struct *pt)
{
	u32 tail;
	int n;

	poll_wait(file, &llm_sleepers, pt);
	smp_mb();	/* on the queue before the ring is read; pairs with llm_sleeper_wake()'s */
	n = llm_ring_ready(r, &tail);
	if (n < 0)
		return EPOLLERR;
	return n ? EPOLLIN | EPOLLRDNORM : 0;
}

#if LLM_HAVE_URING_CANCEL
int llm_take_uring(struct llm_ring *r, struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	u32 tail;
	int n = llm_ring_ready(r, &tail);
	bool parked;

	if (n)
		return n;
	/*
	 * Mark first, publish second: once it is published the command may be
	 * completed by another task.  Once it is marked it may no longer be finished
	 * by our return value, only by llm_cmd_done().
	 */
	llm_cmd_mark_cancelable(cmd, issue_flags);
	spin_lock(&llm_ring_lock);
	parked = llm_sleeper_park(cmd);
	spin_unlock(&llm_ring_lock);
	if (parked)
		llm_ring_ready(r, &tail);	/* work came in between: that ends it */
	else
		llm_cmd_done(cmd, -EBUSY, issue_flags);
	return -EIOCBQUEUED;
}

void llm_take_uring_cancel(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	bool parked;

	spin_lock(&llm_ring_lock);
	parked = llm_sleeper_unpark(cmd, 0);
	spin_unlock(&llm_ring_lock);
	/* not parked any more: the task work is on its way, it completes the command */
	if (parked)
		llm_cmd_done(cmd, -ECANCELED, issue_flags);
}
#else
int llm_take_uring(struct llm_ring *r, struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	u32 kicks = llm_sleeper_kicks(), tail;
	int n = llm_ring_ready(r, &tail);

	if (n)
		return n;
	/*
	 * Nobody would tell us that the task dies, and a parked command would hold
	 * its exit for ever.  Sleep in an io-wq worker instead; those are woken by a
	 * signal when the request is cancelled.
	 */
	if (issue_flags & IO_URING_F_NONBLOCK)
		return -EAGAIN;
	return llm_take_sleep(r, tail, kicks) ? -EINTR : llm_take_found(r, tail);
}

void llm_take_uring_cancel(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
}
#endif
