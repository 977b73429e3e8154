// SPDX-License-Identifier: GPL-2.0-only
/* sleeper.c - see sleeper.h. */
#include <linux/lockdep.h>
#include <linux/poll.h>

#include "compat.h"
#include "sleeper.h"
#include "turn.h"

DECLARE_WAIT_QUEUE_HEAD(llm_sleepers);

/* under llm_ring_lock */
static u32 llm_kicks;
static struct io_uring_cmd *llm_parked;

void llm_sleeper_wake(void)
{
	/* the tail before the queue is looked at; pairs with a sleeper's set_current_state() */
	if (wq_has_sleeper(&llm_sleepers))
		wake_up_interruptible_poll(&llm_sleepers, EPOLLIN | EPOLLRDNORM);
}

u32 llm_sleeper_kicks(void)
{
	return READ_ONCE(llm_kicks);
}

void llm_sleeper_kick(void)
{
	lockdep_assert_held(&llm_ring_lock);
	WRITE_ONCE(llm_kicks, llm_kicks + 1);
	wake_up_interruptible(&llm_sleepers);
}

bool llm_sleeper_park(struct io_uring_cmd *cmd)
{
	lockdep_assert_held(&llm_ring_lock);
	if (llm_parked)
		return false;
	llm_parked = cmd;
	return true;
}

struct io_uring_cmd *llm_sleeper_unpark(const struct io_uring_cmd *only, u32 nr)
{
	struct io_uring_cmd *cmd = llm_parked;

	lockdep_assert_held(&llm_ring_lock);
	if (!cmd || (only && cmd != only))
		return NULL;
	llm_parked = NULL;
	*(u32 *)cmd->pdu = nr;
	return cmd;
}

/* In the task that issued the TAKE.  Nothing is consumed here, so nothing can be lost. */
LLM_CMD_TW(llm_sleeper_tw)
{
	llm_cmd_done(cmd, *(u32 *)cmd->pdu, issue_flags);
}

void llm_sleeper_finish(struct io_uring_cmd *cmd)
{
	if (cmd)
		io_uring_cmd_complete_in_task(cmd, llm_sleeper_tw);
}
