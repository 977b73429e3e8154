/* SPDX-License-Identifier: GPL-2.0-only */
/* submit.h - entries in: fetched once, checked, charged, queued. */
#ifndef LLM_SUBMIT_H
#define LLM_SUBMIT_H

#include <linux/types.h>

struct llm_session;
struct llm_sqe;

/*
 * Consume up to @want entries of @s's submission ring.  Never sleeps.  How many
 * were queued; or, where that is none, why the first was not:
 *   -EINVAL   it makes no sense (HOST sq_dropped counts these), or sq_tail is
 *             more than a ring ahead
 *   -EBUSY    the queue is full: the daemon has sq_entries of this session
 *   -EDQUOT   the tenant has its number of requests in flight
 *   -EAGAIN   the tenant submitted its number of entries this second
 *   -ESHUTDOWN  the session is over
 * What is refused is not consumed: the client takes it back (sq_tail), mends it,
 * or tries again.
 */
int llm_submit(struct llm_session *s, u32 want);

/* The same for one entry that lies elsewhere; @from may change meanwhile.  1. */
int llm_submit_one(struct llm_session *s, const struct llm_sqe *from);

#endif
