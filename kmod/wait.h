/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wait.h - the client sleeps, the daemon wakes.
 *
 * No wake-up is lost.  Client: bell is read, stored to bell_seen, the wish
 * stored, full fence, the commit word looked at; then it sleeps here, where it
 * stands on the queue before bell is compared.  Daemon: commit word stored, full
 * fence, wish read, bell stored, WAKE, which has a fence before it looks at the
 * queue.  Two pairs, each of which cannot both miss.
 */
#ifndef LLM_WAIT_H
#define LLM_WAIT_H

#include <linux/sched/signal.h>
#include <linux/types.h>
#include <linux/wait.h>

struct llm_session;

/*
 * wait_event_interruptible(), but whoever is woken looks at @cond before it goes
 * back on the queue, where it mostly need not: 110 instructions less a sleep.
 * 0 or -ERESTARTSYS.
 */
#define llm_sleep_on(wq, cond)						\
({									\
	DEFINE_WAIT(__wait);						\
	int __err = 0;							\
									\
	might_sleep();							\
	while (!(cond)) {						\
		/* on the queue, then cond once more: pairs with the waker's fence */ \
		prepare_to_wait(&(wq), &__wait, TASK_INTERRUPTIBLE);	\
		if (cond)						\
			break;						\
		if (signal_pending(current)) {				\
			__err = -ERESTARTSYS;				\
			break;						\
		}							\
		schedule();						\
	}								\
	finish_wait(&(wq), &__wait);					\
	__err;								\
})

/* Did the bell ring since the client looked? */
bool llm_wait_bell(const struct llm_session *s);

/* Did the epoch move since the client acted on it? */
bool llm_wait_news(const struct llm_session *s);

/*
 * Sleep until there is bell, news or a kill.  @timeout_ns is relative, 0 = for
 * ever.  0, -ETIME, -EINTR, -ESHUTDOWN.
 */
int llm_wait(struct llm_session *s, u64 timeout_ns);

/*
 * Wake the sleepers of up to LLM_MAX_WAKE sessions; @ids is the user address of
 * __u64[@nr], in the calling task.  Ids that are no session's are passed over.
 * How many had a sleeper; -EINVAL, -EFAULT.
 */
int llm_wait_wake(u64 ids, u32 nr);

#endif
