// SPDX-License-Identifier: GPL-2.0-only
#include <linux/notifier.h>

#include "event.h"

static ATOMIC_NOTIFIER_HEAD(llm_listeners);

void llm_event_tell(enum llm_event_kind kind, const struct llm_event *event)
{
	atomic_notifier_call_chain(&llm_listeners, kind, (void *)event);
}

int llm_event_listen(struct notifier_block *nb)
{
	return atomic_notifier_chain_register(&llm_listeners, nb);
}

void llm_event_unlisten(struct notifier_block *nb)
{
	/* waits for calls in progress (RCU) */
	atomic_notifier_chain_unregister(&llm_listeners, nb);
}
