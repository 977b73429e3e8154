/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flight.h - requests that were submitted and have not ended.
 *
 * The kernel sees a request go out; that it ended stands in the stream's commit
 * word, which the daemon writes.  So each stream slot keeps what flies from it,
 * and charges are given back when somebody looks: at the next submission to the
 * slot, or by a sweep when the tenant meets its limit.  A daemon that writes
 * nonsense miscounts; nothing else hangs on these numbers.
 */
#ifndef LLM_FLIGHT_H
#define LLM_FLIGHT_H

struct llm_session;
struct llm_sqe;
struct llm_tenant;

/*
 * Charge @e, the copy that will stand at s->tail, to its tenant; its class is
 * lowered to the ceiling.  Under s->lock.  -EDQUOT, -EAGAIN: see
 * llm_quota_submit().
 */
int llm_flight_begin(struct llm_session *s, struct llm_sqe *e);

/* Give back what ended, over all sessions of @t.  Does not sleep. */
void llm_flight_sweep(struct llm_tenant *t);

/* Give back all of @s, which is closed. */
void llm_flight_drop(struct llm_session *s);

#endif
