/* SPDX-License-Identifier: MIT */
#include "daemon/engine.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/core/ahead.h"
#include "daemon/engine_state.h"
#include "daemon/mark.h"
#include "daemon/model/backend.h"
#include "daemon/serve.h"
#include "daemon/stats.h"
#include "daemon/worker.h"
#include "include/llm_shm.h"
#include "text/chat.h"
#include "text/vocab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* What an option of 0 means. */
#define MAX_SEQS	   1024u /* sequences of a step */
#define MAX_TOKENS	   1024u /* rows of a step */
#define MAX_WAITING	   4096u
#define MAX_WAITING_TENANT 2048u
#define MAX_TENANTS	   1024u
#define TARGET_GAP_NS	   50000000ull
#define STEP_LIMIT_NS	   60000000000ull
#define RAMP_ROWS	   32u	/* rows of the first step */
#define RAMP_STEPS	   20u	/* then the scheduler's own model is fitted */
#define MAX_NEW_TOKENS	   256u /* where generation_config is silent */

/* Both ways to commit are one text, and neither asks at each token which. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- start ------------------------------------------------------------ */

static uint32_t or_default(uint32_t n, uint32_t otherwise)
{
	return n ? n : otherwise;
}

static int open_backend(struct engine *e, struct err *err)
{
	struct backend_options bo = *e->opt->backend;

	bo.max_seqs = or_default(bo.max_seqs, MAX_SEQS);
	if (bo.max_seqs > BOARD_MAX_SEQS)
		bo.max_seqs = BOARD_MAX_SEQS;
	bo.max_tokens_per_step = or_default(bo.max_tokens_per_step, MAX_TOKENS);
	/* a step is to hold every sequence's next token, if it can */
	if (bo.max_seqs > bo.max_tokens_per_step)
		bo.max_seqs = bo.max_tokens_per_step;
	e->max_seqs = bo.max_seqs;
	e->max_tokens = bo.max_tokens_per_step;
	return e->opt->open_backend(&bo, &e->be, err);
}

/* A model without a tokenizer, or with one of a kind unknown, serves ids. */
static int open_vocab(struct engine *e, struct err *err)
{
	const char *model = e->opt->backend->model;
	int ret;

	if (!model || e->be->piece)
		return 0;
	ret = vocab_open(&e->vocab, model, err);
	if (ret == -ENOENT || ret == -ENOTSUP) {
		log_warn("ids only: %s", err->text);
		*err = (struct err){ 0 };
		return 0;
	}
	return ret;
}

static void kick(void *arg)
{
	struct carrier *c = arg;

	c->kick(c);
}

static int open_sched(struct engine *e, struct err *err)
{
	const struct model_info *m = &e->be->info;
	struct sched_options so = {
		.nr_blocks = m->nr_blocks,
		.context = m->context,
		.max_tokens_per_step = e->max_tokens,
		.max_running = e->max_seqs,
		.max_seqs = e->max_waiting + e->max_seqs,
		.max_tenants = MAX_TENANTS,
		/* bounds of queues are kept at admission, see serve.c */
		.queue_entries = UINT32_MAX,
		.queue_tokens = UINT64_MAX,
	};
	uint64_t gap = e->opt->target_gap_ns;
	uint32_t max_blocks = seq_blocks(m->context);
	int ret;

	if (max_blocks > m->nr_blocks)
		max_blocks = m->nr_blocks;
	if (!gap)
		gap = TARGET_GAP_NS;
	so.target_gap_ns[CLASS_INTERACTIVE] = gap;
	so.target_gap_ns[CLASS_BATCH] = 4 * gap;
	so.target_gap_ns[CLASS_IDLE] = 4 * gap;
	if (getrandom(so.hash_key, sizeof(so.hash_key), 0) < 0)
		return err_set(err, -errno, "getrandom: %s", strerror(errno));
	ret = sched_init(&e->sched, &so);
	if (ret)
		return err_set(err, ret,
			       "scheduler of %u sequences, %u KV blocks: %s",
			       so.max_seqs, so.nr_blocks, strerror(-ret));
	e->sched_open = true;
	ret = batch_init(&e->batch, e->max_tokens, e->max_seqs, max_blocks);
	if (!ret && e->be->submit)
		ret = batch_init(&e->other, e->max_tokens, e->max_seqs,
				 max_blocks);
	if (!ret)
		ret = pool_init(&e->pool, so.max_seqs);
	if (ret)
		return err_set(err, ret, "no memory for steps of %u tokens",
			       e->max_tokens);
	if (e->batch.max_tokens > RAMP_ROWS)
		e->batch.max_tokens = RAMP_ROWS;
	e->other.max_tokens = e->batch.max_tokens;
	return 0;
}

static void fill_limits(struct engine *e)
{
	const struct model_info *m = &e->be->info;
	bool pieces = e->be->piece;

	e->text = (struct stream_text){ .be = e->be, .vocab = e->vocab };
	e->limits = (struct admit_limits){
		.model = m,
		.pool_tokens = (uint64_t)(m->nr_blocks - 1) * KV_BLOCK,
		.default_max_tokens =
			or_default(m->max_new_tokens, MAX_NEW_TOKENS),
		.token_max = e->vocab ? (uint32_t)e->vocab->token_max : 16,
		.text = e->vocab || pieces,
		.chat = e->vocab && chat_kind(e->vocab) != CHAT_NONE,
		.bytes = pieces,
	};
	e->model = (struct llm_model){
		.arith = m->arith,
		.parameters = m->parameters,
		.vocab = m->vocab,
		.context = m->context,
		.flags = (e->limits.text ? LLM_MODEL_F_TEXT : 0) |
			 (e->limits.chat ? LLM_MODEL_F_CHAT : 0),
		.kv_token_bytes = m->kv_token_bytes,
		.default_max_tokens = e->limits.default_max_tokens,
	};
	snprintf((char *)e->model.name, sizeof(e->model.name), "%s", m->name);
	memcpy(e->model.digest, m->digest, sizeof(e->model.digest));
	e->board->info.model = e->model;
}

static void engine_close(struct engine *e)
{
	serve_close_all(e);
	accounts_deinit(&e->accounts);
	worker_close(e->worker);
	free(e->scratch);
	pool_deinit(&e->pool);
	batch_deinit(&e->other);
	batch_deinit(&e->batch);
	if (e->sched_open)
		sched_deinit(&e->sched);
	vocab_close(e->vocab);
	if (e->be)
		e->be->close(e->be);
}

static int engine_open(struct engine *e, struct err *err)
{
	int ret;

	e->max_waiting = or_default(e->opt->max_waiting, MAX_WAITING);
	e->max_waiting_tenant =
		or_default(e->opt->max_waiting_tenant, MAX_WAITING_TENANT);
	e->epoch = shm_load(&e->board->epoch);
	stats_begin(e);
	accounts_init(&e->accounts, e->board->ledger);
	shm_store(&e->board->step_limit_ns, e->opt->step_limit_ns
						    ? e->opt->step_limit_ns
						    : STEP_LIMIT_NS);
	ret = open_backend(e, err);
	if (!ret)
		ret = open_vocab(e, err);
	if (!ret)
		ret = open_sched(e, err);
	if (!ret && e->vocab)
		ret = worker_open(&e->worker, e->vocab, e->pool.max, kick,
				  e->carrier, err);
	if (ret)
		return ret;
	e->scratch = calloc(1, PARAMS_MAX);
	if (!e->scratch)
		return err_set(err, -ENOMEM, "no memory");
	fill_limits(e);
	stats_gauges(e); /* the size of the pool is told with `ready` */
	return 0;
}

/* ---- a step's results ------------------------------------------------- */

/* What a first token tells of its prompt; before the word says RUNNING. */
static void tell_prompt(struct engine *e, struct live *l)
{
	const struct seq *q = sched_get(&e->sched, l->seq);

	l->st.told = true;
	l->st.record->cached_tokens = q->cached_len;
	stats_prompt(e, l->st.prompt_len, q->cached_len);
	l->desk->tokens += l->st.prompt_len - q->cached_len;
}

/* The planned bug: the wish is read before the commit word is stored, */
static void settle_first(struct engine *e, struct live *l)
{
	engine_touch(e, l->desk, l->st.slot);
	if (wish_settle(&l->desk->wishes, l->st.session, e->now_ns))
		e->carrier->wake(e->carrier, l->st.session);
	mark(MARK_LOG);
}

/* and not after it. */
static void settle_not(struct live *l)
{
	l->desk->wishes.touched[l->st.slot / 64] &= ~(1ull << l->st.slot % 64);
}

/* The scheduler hears of it; @late: in time, or after the next step began. */
static ALWAYS_INLINE void append(struct engine *e, struct live *l,
				 uint32_t token, bool late)
{
	if (late)
		ahead_append(&e->sched, l->seq, token);
	else
		sched_append(&e->sched, l->seq, token);
}

/*
 * The outputs of @l, the last of them @token, are in its log: publish them.
 * Returns the tokens delivered; 0 where all are held back.
 */
static ALWAYS_INLINE uint32_t commit_stream(struct engine *e, struct live *l,
					    uint32_t token, bool late)
{
	struct stream *st = &l->st;
	uint32_t before = st->tail;

	if (stream_usual(st) && !bug(BUG_WISH_FIRST)) {
		append(e, l, token, late);
		stream_commit_usual(st);
		engine_touch(e, l->desk, l->slot);
		l->desk->tokens++;
		return 1;
	}
	if (!before && !st->told)
		tell_prompt(e, l);
	if (!st->score)
		append(e, l, token, late);
	if (bug(BUG_WISH_FIRST))
		settle_first(e, l);
	if (!stream_commit(st))
		return 0;
	engine_touch(e, l->desk, st->slot);
	if (bug(BUG_WISH_FIRST))
		settle_not(l);
	if (st->suspect) { /* it can be computed after all */
		st->record->deaths = 0;
		st->suspect = false;
	}
	l->desk->tokens += st->tail - before;
	return st->tail - before;
}

/* The same where @l, number @i, ends with them. */
static uint32_t commit_end(struct engine *e, struct live *l, uint32_t i)
{
	struct stream *st = &l->st;
	uint32_t before = st->tail;

	if (!before && st->nr && !st->told)
		tell_prompt(e, l);
	if (st->suspect) {
		st->record->deaths = 0;
		st->suspect = false;
	}
	if (bug(BUG_WISH_FIRST))
		settle_first(e, l);
	serve_end(e, i);
	if (bug(BUG_WISH_FIRST))
		settle_not(l);
	l->desk->tokens += st->tail - before;
	return st->tail - before;
}

/* @late: of a step that was collected; who has ended since is passed over. */
static ALWAYS_INLINE void commit_outs(struct engine *e, const struct batch *b,
				      bool late)
{
	uint32_t k, i, commits = 0;
	uint64_t tokens = 0;
	bool ended;

	for (k = 0; k < b->nr_outs; k++) {
		const struct batch_out *o = &b->out[k];
		struct live *l;

		if (late &&
		    !sched_is_live(&e->sched, ahead_seq(&e->sched, b, o->seq)))
			continue;
		i = (uint32_t)b->tag[o->seq];
		l = &e->pool.all[i];
		ended = stream_token(&l->st, &e->text, o);
		/* one commit a stream, whatever number of outputs */
		if (k + 1 < b->nr_outs && o[1].seq == o->seq)
			continue;
		tokens += ended ? commit_end(e, l, i)
				: commit_stream(e, l, o->token, late);
		commits++;
	}
	stats_commit(e, commits, tokens);
}

static void engine_commit(struct engine *e)
{
	commit_outs(e, &e->batch, false);
}

/* The commits are stored; F; then the wishes; then a wake a session. */
static void engine_wake(struct engine *e)
{
	struct desk *d = e->look, *next;
	uint32_t wakes;

	if (!d)
		return;
	shm_fence(); /* pairs with the client's between wish and word */
	e->look = NULL;
	for (; d; d = next) {
		next = d->look_next;
		d->look = false;
		account_tokens(d->account, d->tokens);
		d->tokens = 0;
		if (wish_settle(&d->wishes, d->session, e->now_ns))
			e->carrier->wake(e->carrier, d->session);
		if (d->wishes.any_late)
			engine_look(e, d);
	}
	mark(MARK_WISH);
	wakes = e->carrier->flush(e->carrier);
	if (wakes)
		shm_add(&e->board->info.wakes, wakes);
	mark(MARK_WOKEN);
}

/* ---- the loop --------------------------------------------------------- */

/*
 * How long a step takes is learnt from steps.  Until then they begin small and
 * double while they are quick, so that the first one is no step of seconds:
 * an engine that is killed again and again (or one that has a thousand
 * prompts to compute anew) still commits tokens early in each of its lives.
 */
static void ramp(struct engine *e, const struct batch *b, uint64_t elapsed_ns)
{
	uint64_t gap = e->sched.opt.target_gap_ns[CLASS_INTERACTIVE];
	uint32_t *rows = &e->batch.max_tokens;

	if (*rows == e->max_tokens)
		return;
	if (elapsed_ns < gap / 2 && b->nr_tokens > *rows / 2)
		*rows *= 2;
	if (++e->nr_ramp == RAMP_STEPS || *rows > e->max_tokens)
		*rows = e->max_tokens;
	e->other.max_tokens = *rows;
}

/* Compute the batch; its rows are on the board meanwhile, for blame. */
static int engine_step(struct engine *e)
{
	uint64_t begin_ns = clock_ns();
	int ret;

	stats_step_begin(e, begin_ns);
	mark(MARK_STEP);
	ret = e->be->run(e->be, &e->batch);
	if (ret)
		return ret;
	stats_step_end(e);
	e->now_ns = clock_ns();
	sched_commit(&e->sched, &e->batch, e->now_ns - begin_ns);
	ramp(e, &e->batch, e->now_ns - begin_ns);
	mark(MARK_RAN);
	return 0;
}

/* ---- a step ahead (core/ahead.h), where the backend computes beside us -- */

/* Begin to compute @b, behind the step that may be under way. */
static int submit(struct engine *e, struct batch *b)
{
	uint64_t now_ns = clock_ns();
	int ret;

	e->flight[e->nr_flights++] = (struct flight){ b, now_ns };
	stats_submitted(e);
	mark(MARK_STEP);
	ret = e->be->submit(e->be, b);
	if (ret)
		return ret;
	ahead_submitted(&e->sched, b);
	return 0;
}

/* Wait for the oldest step under way, and commit what has come of it. */
static int collect(struct engine *e)
{
	struct flight f = e->flight[0];
	uint64_t elapsed_ns;
	int ret = e->be->collect(e->be, f.batch);

	if (ret)
		return ret;
	e->now_ns = clock_ns();
	elapsed_ns = e->now_ns - f.begin_ns;
	e->nr_flights--;
	if (e->nr_flights) { /* it runs from now on */
		e->flight[0] = e->flight[1];
		e->flight[0].begin_ns = e->now_ns;
	}
	stats_collected(e);
	ahead_collected(&e->sched, f.batch, elapsed_ns);
	ramp(e, f.batch, elapsed_ns);
	mark(MARK_RAN);
	commit_outs(e, f.batch, true);
	return 0;
}

/*
 * Submit a step, and collect the one before it while that runs: the device has
 * work while we have ours.  A step's tokens are taken as soon as it is done;
 * where nothing is left to be planned, or it cannot be before that, at once.
 */
static int round_ahead(struct engine *e)
{
	struct batch *b = &e->batch;
	uint32_t rows = 0;
	int ret = 0;

	if (e->nr_flights && e->flight[0].batch == b)
		b = &e->other;
	if (ahead_may_plan(&e->sched))
		rows = sched_step(&e->sched, b);
	if (rows)
		ret = submit(e, b);
	else if (!e->nr_flights)
		return 0;
	if (!ret && (!rows || e->nr_flights == 2))
		ret = collect(e);
	return ret ? ret : 1;
}

/* ---- a round ---------------------------------------------------------- */

/* A step, where there is one, from its plan to its commits. */
static int round_now(struct engine *e)
{
	int ret;

	if (!sched_step(&e->sched, &e->batch))
		return 0;
	ret = engine_step(e);
	if (ret)
		return ret;
	engine_commit(e);
	return 1;
}

/* When to look again though nobody rings. */
static uint64_t next_ns(struct engine *e)
{
	uint64_t next = sched_next_deadline(&e->sched);
	uint64_t ns = sched_next_rate(&e->sched);
	struct desk *d;

	if (ns < next)
		next = ns;

	for (d = e->look; d; d = d->look_next) {
		ns = wish_next_ns(&d->wishes);
		if (ns < next)
			next = ns;
	}
	return next;
}

/* One round; 1 where a step ran, 0 where nothing could, or -errno. */
static int engine_round(struct engine *e)
{
	int ret;

	e->now_ns = clock_ns();
	e->draining = shm_load(&e->board->draining);
	serve_take(e);
	sched_clock(&e->sched, e->now_ns);
	ret = e->be->submit ? round_ahead(e) : round_now(e);
	if (ret < 0)
		return ret;
	engine_wake(e);
	stats_gauges(e);
	return ret;
}

int engine_run(const struct engine_options *opt, struct carrier *c,
	       struct board *board)
{
	struct engine e = { .opt = opt, .carrier = c, .board = board };
	struct err err = { 0 };
	int ret, busy;

	ret = engine_open(&e, &err);
	if (ret) {
		snprintf(board->failed, sizeof(board->failed), "%s", err.text);
		engine_close(&e);
		return ret;
	}
	/*
	 * Before the first round: it recovers what earlier lives left, and a
	 * kill in there is the death of an engine that did serve.
	 */
	shm_publish(&board->ready, 1u);
	busy = engine_round(&e);
	while (busy >= 0) {
		if (e.draining && !e.pool.nr)
			break;
		ret = c->wait(c, busy ? 0 : next_ns(&e));
		if (ret == -ESHUTDOWN)
			break;
		busy = engine_round(&e);
	}
	engine_close(&e);
	return busy < 0 ? busy : 0;
}
