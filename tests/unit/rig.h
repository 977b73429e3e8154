/* SPDX-License-Identifier: MIT */
/*
 * rig.h - the engine in one process without sockets: a carrier over plain
 * memory, a toy backend, and the client's moves, for tests of the engine.
 *
 * The carrier calls the test back where the engine would sleep or look for
 * work (rig->script), so client and engine take turns on one thread and a
 * test decides at which step a client does what.
 *
 * The toy backend is no function of seed and position alone: it keeps the
 * token ids themselves as "KV", in the slots it is told to, and a sampled
 * token hashes what it reads back through the block table.  So a wrong slot,
 * table, position, history or a KV that was never computed changes the ids.
 *
 * With TOY_LATE it computes beside the engine: results are there when they are
 * collected and not before, a step later than they are wanted.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include "tests/test.h"
#include "base/err.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/core/batch.h"
#include "daemon/engine.h"
#include "daemon/model/backend.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- the toy backend -------------------------------------------------- */

#define TOY_VOCAB  1024u
#define TOY_EOS	   299u
#define TOY_SINGLE 256u /* ids below are bytes; from here on toy_piece[] */

struct toy_flight {
	const struct batch *batch;
	struct batch_out *out; /* owned: what is to be told of it */
	struct batch_alt *alt; /* owned */
};

struct toy {
	struct backend be;
	uint32_t *kv; /* [nr_blocks * KV_BLOCK] token ids, ~0 = never written */
	uint64_t steps;
	struct toy_flight flight[BACKEND_STEPS]; /* TOY_LATE: in turn */
	uint64_t nr_submitted, nr_collected;
};

/* Knobs, for the next toy_open(). */
static uint32_t toy_blocks = 256, toy_context = 512;
static const uint32_t *toy_say; /* output ids to say, then EOS; or NULL */
static uint32_t toy_say_nr;
static const char *toy_piece[TOY_VOCAB - TOY_SINGLE]; /* of ids from 256 */
static int toy_fail_at; /* run() fails at this step; 0 = never */
static uint64_t toy_arith = 7;
static uint64_t toy_noise; /* of runs in this process */
static uint64_t toy_late;  /* rows of tokens that came late */
static int toy_no_text;	   /* the next one has no pieces: ids only */

static inline uint64_t toy_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* What the ids[0..n) say; the same over KV and over a plain array. */
static inline uint64_t toy_hash(uint64_t h, uint32_t id)
{
	return toy_mix(h ^ id);
}

/* The token behind a context of hash @h; lower-case letters and space. */
static inline uint32_t toy_pick(uint64_t h, uint64_t seed, uint32_t position)
{
	uint64_t r = toy_mix(h ^ toy_mix(seed + position));

	if (position > 3 && r % 97 == 0)
		return TOY_EOS;
	return "abcde "[(r >> 20) % 6];
}

static inline float toy_logprob(uint32_t id)
{
	return -(float)(id % 50) / 8;
}

/* The ids that a request must get: what the backend is checked against. */
static inline uint32_t toy_want(const uint32_t *prompt, uint32_t n,
				uint64_t seed, uint32_t max, uint32_t *out)
{
	uint64_t h = 1;
	uint32_t i;

	for (i = 0; i < n; i++)
		h = toy_hash(h, prompt[i]);
	for (i = 0; i < max; i++) {
		out[i] = toy_pick(h, seed, i);
		h = toy_hash(h, out[i]);
		if (out[i] == TOY_EOS)
			return i + 1;
	}
	return max;
}

static inline void toy_out(struct toy *t, const struct batch *b,
			   struct batch_out *o)
{
	const uint32_t *table = b->block_table + (size_t)o->seq * b->max_blocks;
	uint32_t pos = b->position[o->row], i;
	uint64_t h = 1;

	for (i = 0; i <= pos; i++)
		h = toy_hash(
			h,
			t->kv[table[i / KV_BLOCK] * KV_BLOCK + i % KV_BLOCK]);
	if (o->want == BATCH_SCORE)
		o->token = o->target;
	else if (toy_say)
		o->token = o->position < toy_say_nr ? toy_say[o->position]
						    : TOY_EOS;
	else
		o->token = toy_pick(h, o->sampling->seed, o->position);
	o->logprob = toy_logprob(o->token);
	for (i = 0; i < o->nr_alt; i++) {
		o->alt->token[i] = (o->token + i) % TOY_VOCAB;
		o->alt->logprob[i] = o->logprob - (float)i;
	}
}

static inline int toy_run(struct backend *be, struct batch *b)
{
	struct toy *t = (struct toy *)be;
	uint32_t i;

	if (toy_fail_at && ++t->steps == (uint64_t)toy_fail_at)
		return -EIO;
	for (i = 0; i < b->nr_tokens; i++)
		if (b->slot[i] >= KV_BLOCK)
			t->kv[b->slot[i]] = b->token[i];
	for (i = 0; i < b->nr_outs; i++)
		toy_out(t, b, &b->out[i]);
	toy_noise += b->nr_tokens;
	return 0;
}

/* Of a token: what it has come to, where it is one of the step before. */
static inline void toy_resolve(const struct toy *t, struct batch *b)
{
	const struct toy_flight *before;
	uint32_t i;

	for (i = 0; i < b->nr_tokens; i++) {
		if (b->token[i] < BATCH_LATE)
			continue;
		if (t->nr_submitted != t->nr_collected + 1)
			abort(); /* there is no step before it */
		before = &t->flight[(t->nr_submitted - 1) % BACKEND_STEPS];
		if (b->token[i] - BATCH_LATE >= before->batch->nr_outs)
			abort();
		b->token[i] = before->out[b->token[i] - BATCH_LATE].token;
		toy_late++;
	}
}

static inline int toy_submit(struct backend *be, struct batch *b)
{
	struct toy *t = (struct toy *)be;
	struct toy_flight *f = &t->flight[t->nr_submitted % BACKEND_STEPS];
	uint32_t i;
	int ret;

	if (t->nr_submitted - t->nr_collected == BACKEND_STEPS)
		abort();
	toy_resolve(t, b);
	ret = toy_run(be, b);
	if (ret)
		return ret;
	free(f->out);
	free(f->alt);
	f->batch = b;
	f->out = malloc((b->nr_outs + 1) * sizeof(*f->out));
	f->alt = malloc((b->nr_outs + 1) * sizeof(*f->alt));
	for (i = 0; i < b->nr_outs; i++) {
		f->out[i] = b->out[i];
		f->alt[i] = *b->out[i].alt;
		b->out[i].token = UINT32_MAX;
	}
	t->nr_submitted++;
	return 0;
}

static inline int toy_collect(struct backend *be, struct batch *b)
{
	struct toy *t = (struct toy *)be;
	struct toy_flight *f = &t->flight[t->nr_collected % BACKEND_STEPS];
	uint32_t i;

	if (t->nr_collected == t->nr_submitted || f->batch != b)
		abort();
	for (i = 0; i < b->nr_outs; i++) {
		b->out[i].token = f->out[i].token;
		b->out[i].logprob = f->out[i].logprob;
		*b->out[i].alt = f->alt[i];
	}
	t->nr_collected++;
	return 0;
}

static inline uint32_t toy_bytes(const struct backend *be, uint32_t token,
				 uint8_t *buf)
{
	const char *s;

	if (token < TOY_SINGLE) {
		buf[0] = (uint8_t)token;
		return 1;
	}
	s = token < TOY_VOCAB ? toy_piece[token - TOY_SINGLE] : NULL;
	if (!s)
		return 0;
	memcpy(buf, s, strlen(s));
	return (uint32_t)strlen(s);
}

static inline void toy_close(struct backend *be)
{
	struct toy *t = (struct toy *)be;
	uint32_t i;

	for (i = 0; i < BACKEND_STEPS; i++) {
		free(t->flight[i].out);
		free(t->flight[i].alt);
	}
	free(t->kv);
	free(be);
}

static inline int toy_open(const struct backend_options *opt,
			   struct backend **ret, struct err *err)
{
	struct toy *t = calloc(1, sizeof(*t));

	t->kv = malloc(toy_blocks * KV_BLOCK * sizeof(*t->kv));
	memset(t->kv, 0xff, toy_blocks * KV_BLOCK * sizeof(*t->kv));
	t->be = (struct backend){
		.info = { .name = "toy",
			  .digest = { 1, 2, 3 },
			  .arith = toy_arith,
			  .vocab = TOY_VOCAB,
			  .context = toy_context,
			  .nr_blocks = toy_blocks,
			  .nr_eos = 1,
			  .eos = { TOY_EOS },
			  .top_p = 1,
			  .repetition_penalty = 1 },
		.run = toy_run,
		.piece = toy_no_text ? NULL : toy_bytes,
		.close = toy_close,
	};
#ifdef TOY_LATE
	t->be.submit = toy_submit;
	t->be.collect = toy_collect;
#endif
	*ret = &t->be;
	return 0;
}

/* ---- sessions over plain memory --------------------------------------- */

#define RIG_SESSIONS 4
#define RIG_STREAMS  16u
#define RIG_SQ	     16u
#define RIG_ARENA    65536u
#define RIG_LOG	     (1u << 20)

struct rig_session {
	struct session s;
	struct llm_client_ctl *client; /* the client's own views */
	struct llm_sqe *sqe;
	struct llm_wish *wish;
	uint8_t *arena;
	struct llm_host_ctl *host;
	void *mem[4];
	bool exists; /* to the keeper */
	bool told;   /* to this life of the engine */
	bool closing, broken;
	uint32_t taken; /* entries handed out in this life */
	uint32_t gen[RIG_STREAMS], arm[RIG_STREAMS];
	uint32_t tail; /* the client's own */
	uint32_t at;   /* next free byte of the arena, client's own */
	bool wake;     /* marked since the last flush */
	int bell;      /* an eventfd to ring, or 0 */
	uint64_t wakes;
};

struct rig {
	struct carrier c; /* first: the engine calls with it */
	struct board board;
	struct rig_session ses[RIG_SESSIONS];
	/* the test's turn; returns 0, or nonzero to end the engine */
	int (*script)(struct rig *r, uint64_t deadline_ns);
	void *arg;
	uint64_t turn; /* calls of script */
	bool lazy;     /* do not stop by itself when idle */
	uint32_t max_tokens, max_seqs, max_waiting, max_tenant;
	const char *model; /* where a tokenizer is, or NULL */
};

static inline int rig_take(struct carrier *c, struct carrier_work *ret)
{
	struct rig *r = (struct rig *)c;
	uint32_t i, tail;

	for (i = 0; i < RIG_SESSIONS; i++) {
		struct rig_session *x = &r->ses[i];

		*ret = (struct carrier_work){ .session = &x->s };
		if (!x->exists)
			continue;
		if (!x->told) {
			x->told = true;
			x->taken = x->s.engine->sq_head;
			ret->kind = CARRIER_OPEN;
			return 1;
		}
		if (x->closing) {
			x->exists = false;
			ret->kind = CARRIER_CLOSE;
			return 1;
		}
		tail = shm_acquire(&x->client->sq_tail);
		if (x->broken)
			continue;
		if (tail - x->taken > RIG_SQ) {
			x->broken = true;
			ret->kind = CARRIER_BROKEN;
			return 1;
		}
		if (tail != x->taken) {
			ret->kind = CARRIER_SQE;
			ret->sqe = x->sqe[x->taken++ % RIG_SQ];
			return 1;
		}
	}
	return 0;
}

static inline void rig_ack(struct carrier *c)
{
	struct rig *r = (struct rig *)c;
	uint32_t i;

	for (i = 0; i < RIG_SESSIONS; i++)
		if (r->ses[i].exists)
			shm_publish(&r->ses[i].s.engine->sq_head,
				    r->ses[i].taken);
}

static inline void rig_wake(struct carrier *c, struct session *s)
{
	((struct rig *)c)->ses[s->index].wake = true;
}

static inline uint32_t rig_flush(struct carrier *c)
{
	struct rig *r = (struct rig *)c;
	const uint64_t one = 1;
	uint32_t i, n = 0;

	for (i = 0; i < RIG_SESSIONS; i++) {
		if (!r->ses[i].wake)
			continue;
		r->ses[i].wake = false;
		r->ses[i].wakes++;
		if (r->ses[i].bell && write(r->ses[i].bell, &one, 8) != 8)
			abort();
		n++;
	}
	return n;
}

static inline int rig_wait(struct carrier *c, uint64_t deadline_ns)
{
	struct rig *r = (struct rig *)c;
	struct timespec ts = { 0, 200000 };

	r->turn++;
	if (r->script && r->script(r, deadline_ns))
		return -ESHUTDOWN;
	if (!r->script && deadline_ns == UINT64_MAX && !r->lazy)
		return -ESHUTDOWN; /* nothing to do: the test is over */
	if (deadline_ns)
		nanosleep(&ts, NULL);
	return 0;
}

static inline void rig_kick(struct carrier *c)
{
}

static inline void rig_no(struct carrier *c)
{
}

static inline uint8_t *rig_map(struct rig_session *x, int i, size_t size)
{
	x->mem[i] = aligned_alloc(4096, (size + 4095) & ~4095ul);
	memset(x->mem[i], 0, (size + 4095) & ~4095ul);
	return x->mem[i];
}

/* What the keeper does when a client comes. */
static inline struct rig_session *rig_session(struct rig *r, uint32_t i,
					      uint64_t tenant)
{
	struct rig_session *x = &r->ses[i];
	uint8_t *client = rig_map(x, 0, 64 * 1024), *engine;
	uint64_t extent = 8192 + RIG_STREAMS * 512;

	memset(&x->s, 0, sizeof(x->s));
	engine = rig_map(x, 3, extent + RIG_LOG);
	x->client = (struct llm_client_ctl *)client;
	x->wish = (struct llm_wish *)(client + 4096);
	x->sqe = (struct llm_sqe *)(client + 16384);
	x->arena = rig_map(x, 1, RIG_ARENA);
	x->host = (struct llm_host_ctl *)rig_map(x, 2, 4096);
	x->s = (struct session){
		.id = 100 + i,
		.tenant = tenant,
		.uid = (uint32_t)tenant,
		.index = i,
		.nr_streams = RIG_STREAMS,
		.sq_entries = RIG_SQ,
		.record_stride = 512,
		.arena_size = RIG_ARENA,
		.log_size = RIG_LOG,
		.off_extent = extent,
		.client = x->client,
		.sqe = x->sqe,
		.wish = x->wish,
		.arena = x->arena,
		.host = x->host,
		.engine = (struct llm_engine_ctl *)engine,
		.model = (struct llm_model *)(engine + 1024),
		.commit = (uint64_t *)(engine + 4096),
		.record = engine + 8192,
		.base = engine,
	};
	x->exists = true;
	return x;
}

static inline void rig_init(struct rig *r)
{
	memset(&r->c + 1, 0, sizeof(*r) - sizeof(r->c));
	r->c.take = rig_take;
	r->c.ack = rig_ack;
	r->c.wake = rig_wake;
	r->c.flush = rig_flush;
	r->c.wait = rig_wait;
	r->c.close = rig_no;
	/* never NULL again: the worker of an engine that was cut may call it */
	r->c.kick = rig_kick;
}

static inline void rig_deinit(struct rig *r)
{
	uint32_t i, k;

	for (i = 0; i < RIG_SESSIONS; i++)
		for (k = 0; k < 4; k++)
			free(r->ses[i].mem[k]);
}

/* One life of the engine, until the script (or idleness) ends it. */
static inline int rig_run(struct rig *r)
{
	struct backend_options bo = {
		.model = r->model,
		.max_tokens_per_step = r->max_tokens ? r->max_tokens : 64,
		.max_seqs = r->max_seqs ? r->max_seqs : 32,
	};
	struct engine_options opt = {
		.backend = &bo,
		.open_backend = toy_open,
		.max_waiting = r->max_waiting ? r->max_waiting : 64,
		.max_waiting_tenant = r->max_tenant ? r->max_tenant : 64,
	};
	uint32_t i;

	r->board.epoch++;
	for (i = 0; i < RIG_SESSIONS; i++) {
		r->ses[i].told = r->ses[i].wake = false;
		if (r->ses[i].host)
			r->ses[i].host->epoch = r->board.epoch;
	}
	return engine_run(&opt, &r->c, &r->board);
}

/* ---- the client's moves ----------------------------------------------- */

/* @size bytes into the arena; where they lie. */
static inline uint32_t rig_put(struct rig_session *x, const void *p,
			       uint32_t size)
{
	uint32_t at = (x->at + 7) & ~7u;

	if (at + size > RIG_ARENA)
		at = 0;
	memcpy(x->arena + at, p, size);
	x->at = at + size;
	return at;
}

static inline uint32_t rig_submit(struct rig_session *x, struct llm_sqe q)
{
	if (!q.gen)
		q.gen = ++x->gen[q.stream % RIG_STREAMS];
	x->sqe[x->tail % RIG_SQ] = q;
	shm_publish(&x->client->sq_tail, ++x->tail);
	return q.gen;
}

/* GENERATE from ids, seeded; the gen. */
static inline uint32_t rig_ids(struct rig_session *x, uint16_t stream,
			       const uint32_t *ids, uint32_t n, uint32_t max,
			       uint64_t seed)
{
	struct llm_params p = { .size = sizeof(p),
				.set = LLM_SET_SEED,
				.seed = seed };

	return rig_submit(x, (struct llm_sqe){
				     .op = LLM_OP_GENERATE,
				     .stream = stream,
				     .max_tokens = max,
				     .off = rig_put(x, ids, 4 * n),
				     .len = 4 * n,
				     .params_off = rig_put(x, &p, sizeof(p)),
				     .params_len = sizeof(p),
			     });
}

static inline uint64_t rig_word(const struct rig_session *x, uint32_t stream)
{
	return shm_acquire(&x->s.commit[stream]);
}

static inline const struct llm_record *rig_record(const struct rig_session *x,
						  uint32_t stream)
{
	return session_record(&x->s, stream);
}

static inline const struct llm_tok *rig_log(const struct rig_session *x,
					    uint32_t stream)
{
	return (const struct llm_tok *)(x->s.base +
					rig_record(x, stream)->log_off);
}

/* The text delivered so far, zero-terminated in a static buffer. */
static inline const char *rig_text(const struct rig_session *x, uint32_t stream)
{
	static char buf[8192];
	const struct llm_record *r = rig_record(x, stream);
	uint32_t tail = LLM_COMMIT_TAIL(rig_word(x, stream));
	uint32_t n = tail ? rig_log(x, stream)[tail - 1].text_end : 0;

	memcpy(buf, x->s.base + r->text_off, n);
	buf[n] = 0;
	return buf;
}

static inline bool rig_ended(const struct rig_session *x, uint32_t stream)
{
	return LLM_COMMIT_STATE(rig_word(x, stream)) == LLM_ST_END;
}

static inline uint32_t rig_end(const struct rig_session *x, uint32_t stream)
{
	return LLM_COMMIT_END(rig_word(x, stream));
}

#endif
