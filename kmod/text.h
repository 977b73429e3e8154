/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * text.h - write(2) a prompt, read(2) its text: a session for shells.
 *
 * The first write on a fresh descriptor makes a small session of one stream,
 * whose client is the kernel.  A write is one user turn; what is read is the
 * text of its answer, bytes as they are committed, and 0 at its end.  The next
 * write begins the next turn, and gives up what was not read.
 */
#ifndef LLM_TEXT_H
#define LLM_TEXT_H

#include <linux/poll.h>
#include <linux/types.h>

struct iov_iter;
struct llm_session;

/*
 * Submit @from as one turn: TEXT, CHAT, the model's default length, the tenant's
 * class.  While an answer is being made it waits for its end, or with @nonblock is
 * -EAGAIN.  The bytes taken (all); -EINVAL: the descriptor was set up for rings;
 * -EMSGSIZE: more than 64 KiB; -EFAULT, -ENOMEM, -EDQUOT, -ESHUTDOWN; -EAGAIN also
 * where the tenant's rate is used up; -ERESTARTSYS.
 */
ssize_t llm_text_write(struct llm_session *s, struct iov_iter *from, bool nonblock);

/*
 * Text that was not read yet; 0 at the end of the answer, or where nothing was
 * asked.  -EAGAIN with @nonblock where there is none yet.  Where the daemon
 * refused or failed: its errno, after the text; -ECANCELED, -ETIME (deadline);
 * -EIO: the daemon wrote nonsense; -EINVAL, -EFAULT, -ESHUTDOWN, -ERESTARTSYS.
 */
ssize_t llm_text_read(struct llm_session *s, struct iov_iter *to, bool nonblock);

/* Readable, writable?  @s->wq is on the caller's poll table already. */
__poll_t llm_text_poll(struct llm_session *s);

#endif
