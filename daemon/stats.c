/* SPDX-License-Identifier: MIT */
#include "daemon/stats.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
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

void stats_step_begin(struct engine *e, uint64_t now_ns)
{
	struct board *b = e->board;
	uint32_t i, nr = e->batch.nr_seqs;

	if (nr > BOARD_MAX_ROWS)
		nr = BOARD_MAX_ROWS;
	/* the rows of the step before stand there still */
	for (i = 0; i < nr && !e->batch.same_seqs; i++) {
		const struct glance *g = &e->pool.glance[e->batch.tag[i]];

		b->row[i].session = g->session;
		b->row[i].stream = g->slot;
		b->row[i].gen = g->gen;
	}
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
