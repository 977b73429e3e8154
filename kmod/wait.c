// SPDX-License-Identifier: GPL-2.0-only
/* wait.c - see wait.h. */
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "session.h"
#include "trace.h"
#include "wait.h"

bool llm_wait_bell(const struct llm_session *s)
{
	return READ_ONCE(s->engine->bell) != READ_ONCE(s->client->bell_seen);
}

bool llm_wait_news(const struct llm_session *s)
{
	return READ_ONCE(s->host->epoch) != READ_ONCE(s->client->epoch_seen);
}

static bool llm_wait_over(const struct llm_session *s)
{
	return llm_wait_bell(s) || llm_wait_news(s) || READ_ONCE(s->killed);
}

int llm_wait(struct llm_session *s, u64 timeout_ns)
{
	int err;

	if (timeout_ns)
		err = wait_event_interruptible_hrtimeout(s->wq, llm_wait_over(s),
				ns_to_ktime(min_t(u64, timeout_ns, KTIME_MAX)));
	else
		err = llm_sleep_on(s->wq, llm_wait_over(s));
	if (READ_ONCE(s->killed))
		return -ESHUTDOWN;
	/* the time-out is relative: not to be restarted */
	return err == -ERESTARTSYS ? -EINTR : err;
}

static bool llm_wait_wake_one(u64 id)
{
	struct llm_session *s = llm_session_find(id);
	bool slept;

	if (!s)
		return false;
	trace_llm_wake(id, READ_ONCE(s->engine->bell));
	slept = waitqueue_active(&s->wq);	/* the caller had the fence */
	if (slept)
		wake_up_interruptible_poll(&s->wq, EPOLLIN | EPOLLRDNORM);
	llm_session_put(s);
	return slept;
}

int llm_wait_wake(u64 ids, u32 nr)
{
	const u64 __user *from = u64_to_user_ptr(ids);
	u32 i, woken = 0;
	u64 id;

	if (nr > LLM_MAX_WAKE)
		return -EINVAL;
	/*
	 * The bells, rung by the caller, before the queues are looked at; pairs
	 * with set_current_state() in llm_sleep_on() and the fence in ->poll().
	 */
	smp_mb();
	for (i = 0; i < nr; i++) {
		if (get_user(id, from + i))
			return woken ?: -EFAULT;
		woken += llm_wait_wake_one(id);
	}
	return woken;
}
