/* SPDX-License-Identifier: MIT */
#include "daemon/stats.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/core/ahead.h"
#include "daemon/engine_state.h"
#include "include/llm_shm.h"

void stats_begin(struct engine *e)
{
	struct board *b = e->board;

	shm_store(&b->step_begin_ns, 0ull);
	shm_store(&b->commits, 0ull);
	shm_store(&b->first_commit_ns, 0ull);
	shm_store(&b->nr_rows, 0u);
}

static void put_row(struct board *b, uint32_t at, const struct glance *g)
{
	b->row[at].session = g->session;
	b->row[at].stream = g->slot;
	b->row[at].gen = g->gen;
}

void stats_step_begin(struct engine *e, uint64_t now_ns)
{
	struct board *b = e->board;
	uint32_t i, nr = e->batch.nr_seqs;

	/* the rows of the step before stand there still */
	for (i = 0; i < nr && !e->batch.same_seqs; i++)
		put_row(b, i, &e->pool.glance[e->batch.tag[i]]);
	shm_store(&b->nr_rows, nr);
	shm_add(&b->step, 1);
	shm_add(&b->info.steps, 1);
	/* pairs with the keeper's acquire: the rows are those of this step */
	shm_publish(&b->step_begin_ns, now_ns);
}

void stats_step_end(struct engine *e)
{
	shm_publish(&e->board->step_begin_ns, 0ull);
}

/* Those of the step before that live and are not in the newest as well. */
static uint32_t put_older(struct engine *e, const struct batch *older,
			  uint32_t at)
{
	struct board *b = e->board;
	uint32_t i;

	for (i = 0; i < older->nr_seqs; i++) {
		uint64_t tag = older->tag[i];

		if (!sched_is_live(&e->sched, ahead_seq(&e->sched, older, i)) ||
		    e->pool.all[tag].step == b->step)
			continue;
		put_row(b, at++, &e->pool.glance[tag]);
	}
	return at;
}

void stats_submitted(struct engine *e)
{
	const struct batch *newest = e->flight[e->nr_flights - 1].batch;
	struct board *b = e->board;
	uint32_t nr = newest->nr_seqs, i;

	shm_add(&b->step, 1);
	shm_add(&b->info.steps, 1);
	shm_store(&b->nr_rows, 0u); /* while they change they are nobody's */
	for (i = 0; i < nr; i++) {
		e->pool.all[newest->tag[i]].step = b->step;
		put_row(b, i, &e->pool.glance[newest->tag[i]]);
	}
	if (e->nr_flights > 1)
		nr = put_older(e, e->flight[0].batch, nr);
	shm_publish(&b->nr_rows, nr);
	shm_publish(&b->step_begin_ns, e->flight[0].begin_ns);
}

void stats_collected(struct engine *e)
{
	struct board *b = e->board;

	if (!e->nr_flights) {
		stats_step_end(e);
		return;
	}
	/* the newest one's stand first */
	shm_publish(&b->nr_rows, e->flight[0].batch->nr_seqs);
	shm_publish(&b->step_begin_ns, e->flight[0].begin_ns);
}

void stats_commit(struct engine *e, uint32_t commits, uint64_t tokens)
{
	struct board *b = e->board;
	uint64_t death_ns;

	if (!commits)
		return;
	shm_add(&b->commits, commits);
	shm_add(&b->info.tokens_out, tokens);
	if (shm_load(&b->first_commit_ns))
		return;
	shm_store(&b->first_commit_ns, e->now_ns);
	death_ns = shm_load(&b->death_ns);
	if (death_ns && death_ns < e->now_ns)
		shm_store(&b->info.pause_ns, e->now_ns - death_ns);
}

void stats_prompt(struct engine *e, uint32_t prompt, uint32_t cached)
{
	shm_add(&e->board->info.tokens_in, prompt);
	shm_add(&e->board->info.tokens_cached, cached);
}

void stats_gauges(struct engine *e)
{
	struct llm_info *info = &e->board->info;
	struct sched_stats st;

	sched_get_stats(&e->sched, &st);
	shm_store(&info->running, st.running);
	shm_store(&info->waiting, st.waiting + e->nr_text);
	shm_store(&info->kv_blocks, st.blocks_total);
	shm_store(&info->kv_used, st.blocks_used);
	shm_store(&info->kv_cached, st.blocks_cached);
	shm_store(&info->kv_shared, st.blocks_shared);
	if (st.blocks_saved > shm_load(&info->kv_saved))
		shm_store(&info->kv_saved, st.blocks_saved);
	shm_add(&info->preemptions, st.preemptions - e->preemptions);
	e->preemptions = st.preemptions;
	accounts_gauges(&e->accounts, &e->sched);
}
