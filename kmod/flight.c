// SPDX-License-Identifier: GPL-2.0-only
/*
 * flight.c - see flight.h.
 *
 * A slot's word is the request's place in the session's queue << 32 | its gen;
 * 0 = nothing flies (a gen is never 0).  Who takes a non-zero word out, by xchg
 * or cmpxchg, owns its charge.
 */
#include <linux/atomic.h>
#include <linux/nospec.h>
#include <linux/rculist.h>
#include <uapi/linux/llm.h>

#include "check.h"
#include "flight.h"
#include "quota.h"
#include "session.h"

int llm_flight_begin(struct llm_session *s, struct llm_sqe *e)
{
	bool flies = llm_entry_flies(e);
	atomic64_t *slot;
	u64 was = 0;
	int err;

	lockdep_assert_held(&s->lock);
	if (!flies)
		return llm_quota_submit(s->tenant, false, &e->class_);
	/* checked before; not to be passed in speculation either */
	slot = &s->flight[array_index_nospec(e->stream, s->lay.nr_streams)];
	/* a slot holds one stream: a newer request takes over the older's charge */
	was = atomic64_xchg(slot, (u64)s->tail << 32 | e->gen);
	err = llm_quota_submit(s->tenant, !was, &e->class_);
	if (err)
		/* nobody else changed it: what is not acknowledged is not over */
		atomic64_set(slot, was);
	return err;
}

static bool llm_flight_over(struct llm_session *s, u32 stream, u64 flight)
{
	u64 word, *commit;

	/*
	 * Pairs with the release in the ring's reap: a daemon that passed the entry
	 * had stored its admission before.
	 */
	if ((s32)(smp_load_acquire(&s->acked) - (u32)(flight >> 32)) <= 0)
		return false;
	commit = llm_area_at(&s->area[LLM_AREA_ENGINE], s->lay.off_commit + stream * sizeof(u64));
	word = READ_ONCE(*commit);
	/* another gen: this one was never admitted */
	return LLM_COMMIT_GEN(word) != (u32)flight || LLM_COMMIT_STATE(word) == LLM_ST_FREE ||
	       LLM_COMMIT_STATE(word) == LLM_ST_END;
}

static u32 llm_flight_sweep_one(struct llm_session *s)
{
	u32 i, nr = 0;

	for (i = 0; i < s->lay.nr_streams; i++) {
		u64 flight = atomic64_read(&s->flight[i]);

		if (flight && llm_flight_over(s, i, flight) &&
		    atomic64_cmpxchg(&s->flight[i], flight, 0) == flight)
			nr++;
	}
	return nr;
}

void llm_flight_sweep(struct llm_tenant *t)
{
	struct llm_session *s;
	u32 nr = 0;

	/* a session is freed through RCU, its memory with it */
	rcu_read_lock();
	list_for_each_entry_rcu(s, &t->sessions, fellow)
		nr += llm_flight_sweep_one(s);
	rcu_read_unlock();
	if (nr)
		llm_quota_landed(t, nr);
}

void llm_flight_drop(struct llm_session *s)
{
	u32 i, nr = 0;

	for (i = 0; i < s->lay.nr_streams; i++)
		nr += !!atomic64_xchg(&s->flight[i], 0);
	if (nr)
		llm_quota_landed(s->tenant, nr);
}
