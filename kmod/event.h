/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * event.h - what happened, for those who follow (netlink).
 *
 * The core calls down into this and knows no listener.  Listeners are called
 * in the context of the event, also under spinlocks: they must not sleep.
 */
#ifndef LLM_EVENT_H
#define LLM_EVENT_H

#include <linux/types.h>

struct notifier_block;

enum llm_event_kind {
	LLM_EVENT_DAEMON,	/* attached, detached or lost; state and epoch */
	LLM_EVENT_TENANT,	/* limits set or reset; tenant */
	LLM_EVENT_QUOTA,	/* a tenant was refused something; tenant, error */
	LLM_EVENT_OPEN,		/* a session was set up; tenant, session */
	LLM_EVENT_CLOSE,	/* a session's client is gone; tenant, session */
	LLM_EVENT_KILL,		/* a session was ended by the host; tenant, session */
};

struct llm_event {
	u64 tenant;
	u64 session;
	u32 state;		/* LLM_DAEMON_* */
	u32 epoch;
	int error;		/* negative errno */
};

/* Tell all listeners.  Any context but hard irq; does not sleep. */
void llm_event_tell(enum llm_event_kind kind, const struct llm_event *event);

/*
 * The listener's notifier_call() gets the kind as its action and a
 * const struct llm_event * as its data, valid during the call only.
 */
int llm_event_listen(struct notifier_block *nb);
void llm_event_unlisten(struct notifier_block *nb);

#endif
