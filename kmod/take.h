/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * take.h - the daemon sleeps until the ring has something: TAKE by ioctl and by
 * io_uring, poll(), and KICK.
 *
 * Nothing is consumed by a TAKE; the daemon's head does that.  So a TAKE that
 * ends early, twice or not at all loses nothing.
 */
#ifndef LLM_TAKE_H
#define LLM_TAKE_H

#include <linux/poll.h>
#include <linux/types.h>

struct file;
struct io_uring_cmd;
struct llm_ring;

/* For the daemon's file; these may sleep. */

/*
 * Wait until there is something in the ring, a KICK, or @timeout_ns have
 * passed (0 = for ever, ~0 = do not wait).  Entries ready; 0: time-out or kick;
 * -EPROTO: head is not in the ring; -EINTR.
 */
int llm_take(struct llm_ring *r, u64 timeout_ns);

/* End sleeping TAKEs. */
void llm_take_kick(void);

/* poll() of the daemon's file. */
__poll_t llm_take_poll(struct llm_ring *r, struct file *file, struct poll_table_struct *pt);

/* TAKE by io_uring, and its cancellation: as ->uring_cmd() returns. */
int llm_take_uring(struct llm_ring *r, struct io_uring_cmd *cmd, unsigned int issue_flags);
void llm_take_uring_cancel(struct io_uring_cmd *cmd, unsigned int issue_flags);

#endif
