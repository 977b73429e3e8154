/* SPDX-License-Identifier: MIT */
/*
 * rig.h - core/ under test: a scheduler, a backend that cannot be fooled, and
 * streams that know what must come out.
 *
 * The backend's KV of a token is a digest of all tokens up to it, made from
 * the KV of the token before, which is read through the block table, as
 * attention would.  A token is a function of (seed, position, that KV).  So a
 * wrong block, a stale one, one written while shared, a row left out or a row
 * of the wrong token all end in another token than the one that rig_token()
 * says, which looks at the stream's own tokens alone.
 *
 * Time is the rig's: a step takes a + b * rows + c * reads.
 *
 * With `ahead` the backend answers late: a step is planned and submitted before
 * the one before it is collected (core/ahead.h).  What must come out is the same.
 */
#ifndef SIM_RIG_H
#define SIM_RIG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/ahead.h"
#include "daemon/core/sched.h"

enum rig_state { RIG_FREE, RIG_LIVE, RIG_DONE, RIG_CANCELLED, RIG_EXPIRED };

struct rig_stream {
	enum rig_state state;
	uint64_t tenant, seed, deadline_ns;
	enum sched_class cls;
	bool score, in_sched;
	uint32_t id;	 /* in the scheduler */
	uint32_t *ids;	 /* owned: [max_len] */
	uint32_t *given; /* owned: [max_len] what core/ has, and writes */
	uint32_t prompt_len, known, max_len;
	uint64_t *kv;	    /* owned: [max_len] what each token's KV must be, */
	uint32_t kv_len;    /* as far as it was worked out */
	uint32_t nr_scores; /* outputs of a score, must come in order */
	uint32_t high;	    /* tokens computed in this life of the engine */
	uint32_t cached_len, nr_preempts; /* as the scheduler last had them */
	uint64_t wanted_ns, first_ns, last_ns, max_gap_ns;
	uint64_t start_step, first_step;
};

/* What came of a batch, and the step whose turn it is after that. */
struct rig_step {
	uint64_t *row_kv;    /* owned: [max_tokens_per_step] */
	uint32_t *out_token; /* owned: the same */
	uint64_t ns;	     /* it took */
	uint64_t *tag;	 /* owned: [max_running] of the last in this batch, */
	uint32_t nr_tag; /* so many of them */
};

struct rig {
	struct sched s;
	struct sched_options opt;
	struct batch b, other;
	struct rig_step step, other_step; /* of b; of other */
	bool ahead;			  /* set it before the first step */
	uint32_t nr_ahead;		  /* steps not collected */
	struct batch *last;		  /* that was submitted last */
	uint64_t nr_late;		  /* rows of tokens not known */
	uint64_t nr_vain;		  /* rows of streams that had ended */
	uint64_t *kv;			  /* [nr_blocks * 16] */
	bool *written; /* [nr_blocks * 16] the slot holds something */
	struct rig_stream *streams;
	uint32_t nr_streams, vocab;
	uint64_t now_ns, nr_steps, rows;
	uint64_t nr_same; /* steps that said to be like the one before */
	uint64_t again;	  /* rows of tokens that had been computed before */
	double a_ns, b_ns, c_ns; /* the machine's speed */
	bool check_all;		 /* every invariant after every step */
	/* called between step and commit; may be NULL */
	void (*in_flight)(struct rig *r);
	/* called for each token before it is appended; may be NULL */
	void (*on_token)(struct rig *r, struct rig_stream *st);
	uint64_t luck; /* for callbacks */
	char bad[200]; /* what went wrong first; "" = nothing */
};

#define RIG_BAD(r, ...)                                                        \
	do {                                                                   \
		if (!*(r)->bad)                                                \
			snprintf((r)->bad, sizeof((r)->bad), __VA_ARGS__);     \
	} while (0)

static inline uint64_t rig_mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdu;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53u;
	return x ^ x >> 33;
}

/* splitmix64: one line of luck */
static inline uint64_t rig_rand(uint64_t *state)
{
	return rig_mix(*state += 0x9e3779b97f4a7c15u);
}

static inline uint32_t rig_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(rig_rand(state) % n);
}

static inline uint64_t rig_kv(uint64_t before, uint32_t token, uint32_t pos)
{
	return rig_mix(before * 31 + token * 0x1000193u + pos + 1);
}

static inline uint32_t rig_sample(const struct rig *r, uint64_t seed,
				  uint32_t position, uint64_t kv)
{
	return (uint32_t)(rig_mix(seed ^ rig_mix(position ^ kv)) % r->vocab);
}

/* What token @known of @st must be: out of its own tokens, nothing else. */
static inline uint32_t rig_token(const struct rig *r, struct rig_stream *st)
{
	for (; st->kv_len < st->known; st->kv_len++)
		st->kv[st->kv_len] =
			rig_kv(st->kv_len ? st->kv[st->kv_len - 1] : 0,
			       st->ids[st->kv_len], st->kv_len);
	return rig_sample(r, st->seed, st->known - st->prompt_len,
			  st->kv[st->known - 1]);
}

static inline struct rig_step *rig_step_of(struct rig *r, const struct batch *b)
{
	return b == &r->b ? &r->step : &r->other_step;
}

static inline int rig_init_batch(struct rig *r, struct batch *b)
{
	struct rig_step *s = rig_step_of(r, b);
	uint32_t n = r->opt.max_tokens_per_step;

	s->row_kv = calloc(n, sizeof(*s->row_kv));
	s->out_token = calloc(n, sizeof(*s->out_token));
	s->tag = calloc(r->opt.max_running, sizeof(*s->tag));
	return !s->row_kv || !s->out_token || !s->tag ||
	       batch_init(b, n, r->opt.max_running, seq_blocks(r->opt.context));
}

static inline void rig_deinit_batch(struct rig *r, struct batch *b)
{
	struct rig_step *s = rig_step_of(r, b);

	free(s->row_kv);
	free(s->out_token);
	free(s->tag);
	batch_deinit(b);
}

static inline int rig_init(struct rig *r, const struct sched_options *opt,
			   uint32_t nr_streams)
{
	memset(r, 0, sizeof(*r));
	r->opt = *opt;
	r->vocab = 1000;
	r->a_ns = 1e6;
	r->b_ns = 1e4;
	r->kv = calloc((size_t)opt->nr_blocks * KV_BLOCK, sizeof(*r->kv));
	r->written = calloc((size_t)opt->nr_blocks * KV_BLOCK, 1);
	r->streams = calloc(nr_streams, sizeof(*r->streams));
	r->nr_streams = nr_streams;
	if (!r->kv || !r->written || !r->streams || rig_init_batch(r, &r->b) ||
	    rig_init_batch(r, &r->other))
		return -1;
	return sched_init(&r->s, opt);
}

static inline void rig_free_stream(struct rig_stream *st)
{
	free(st->ids);
	free(st->given);
	free(st->kv);
	memset(st, 0, sizeof(*st));
}

static inline void rig_deinit(struct rig *r)
{
	uint32_t i;

	for (i = 0; i < r->nr_streams; i++)
		rig_free_stream(&r->streams[i]);
	free(r->streams);
	free(r->kv);
	free(r->written);
	rig_deinit_batch(r, &r->b);
	rig_deinit_batch(r, &r->other);
	sched_deinit(&r->s);
}

/* One stream in two has a penalty: its outputs want the whole history. */
static const struct sampling rig_penalty = { .repetition_penalty = 1.5 };

static inline bool rig_has_penalty(const struct rig_stream *st)
{
	return !st->score && st->seed % 2;
}

/* Give the stream to the scheduler, as it stands: also after a crash. */
static inline int rig_submit(struct rig *r, struct rig_stream *st)
{
	struct sched_request req = {
		.tag = (uint64_t)(st - r->streams),
		.tenant = st->tenant,
		.cls = st->cls,
		.score = st->score,
		.recovered = st->in_sched,
		.deadline_ns = st->deadline_ns,
		.ids = st->given,
		/* every other one has its output in a place of its own */
		.out = st->seed % 2 ? st->ids + st->prompt_len : NULL,
		.out_stride = 1,
		.prompt_len = st->prompt_len,
		.known = st->known,
		.max_len = st->max_len,
		.nr_scored = st->nr_scores,
		.sampling = rig_has_penalty(st) ? &rig_penalty : NULL,
	};
	int ret;

	memset(st->given, 0xff, st->max_len * sizeof(*st->given));
	memcpy(st->given, st->ids, st->known * sizeof(*st->given));
	ret = sched_add(&r->s, &req, &st->id);
	if (!ret)
		st->in_sched = true;
	return ret;
}

/* A free stream with room for its tokens; the caller fills the prompt. */
static inline struct rig_stream *rig_stream(struct rig *r, uint64_t tenant,
					    uint32_t prompt_len, uint32_t out)
{
	uint32_t i;

	for (i = 0; i < r->nr_streams; i++) {
		struct rig_stream *st = &r->streams[i];

		if (st->state != RIG_FREE)
			continue;
		st->state = RIG_LIVE;
		st->tenant = tenant;
		st->prompt_len = st->known = prompt_len;
		st->max_len = prompt_len + out;
		st->ids = calloc(st->max_len, sizeof(*st->ids));
		st->given = calloc(st->max_len, sizeof(*st->given));
		st->kv = calloc(st->max_len, sizeof(*st->kv));
		st->wanted_ns = r->now_ns;
		st->start_step = r->nr_steps;
		return st;
	}
	return NULL;
}

/* The prompt from token @from on, out of @seed: equal seeds, equal tokens. */
static inline void rig_prompt(struct rig *r, struct rig_stream *st,
			      uint64_t seed, uint32_t from)
{
	uint32_t i;

	for (i = from; i < st->prompt_len; i++)
		st->ids[i] = (uint32_t)(rig_mix(seed + i * 77u) % r->vocab);
	st->seed = seed;
}

/* Submit a stream with a prompt out of @seed; NULL where it was refused. */
static inline struct rig_stream *rig_go(struct rig *r, uint64_t tenant,
					uint64_t seed, uint32_t prompt_len,
					uint32_t out)
{
	struct rig_stream *st = rig_stream(r, tenant, prompt_len, out);

	if (!st)
		return NULL;
	rig_prompt(r, st, seed, 0);
	if (!rig_submit(r, st))
		return st;
	rig_free_stream(st);
	return NULL;
}

static inline void rig_end(struct rig *r, struct rig_stream *st,
			   enum rig_state how)
{
	if (st->in_sched) {
		st->cached_len = sched_get(&r->s, st->id)->cached_len;
		st->nr_preempts = sched_get(&r->s, st->id)->nr_preempts;
		sched_finish(&r->s, st->id);
	}
	st->in_sched = false;
	st->state = how;
}

/* The token of row @row of @b; of a late one what it has come to. */
static inline uint32_t rig_row_token(struct rig *r, const struct batch *b,
				     uint32_t row)
{
	uint32_t token = b->token[row];

	if (token < BATCH_LATE)
		return token;
	token -= BATCH_LATE;
	if (!r->nr_ahead || token >= r->last->nr_outs) {
		RIG_BAD(r, "row %u is of a step that is not there", row);
		return 0;
	}
	r->nr_late++;
	return rig_step_of(r, r->last)->out_token[token];
}

/* Row @row, token @pos: read the KV before it, make its own, perhaps write. */
static inline void rig_run_row(struct rig *r, const struct batch *b,
			       const uint32_t *table, uint32_t row,
			       uint32_t pos)
{
	uint32_t own = table[pos / KV_BLOCK] * KV_BLOCK + pos % KV_BLOCK, at;
	const struct kv_block *block = &r->s.run.kv.blocks[own / KV_BLOCK];
	uint64_t before = 0, kv;

	if (pos) {
		at = table[(pos - 1) / KV_BLOCK] * KV_BLOCK +
		     (pos - 1) % KV_BLOCK;
		if (!r->written[at])
			RIG_BAD(r, "token %u reads what nobody wrote", pos);
		before = r->kv[at];
	}
	kv = rig_kv(before, rig_row_token(r, b, row), pos);
	rig_step_of(r, b)->row_kv[row] = kv;
	if (b->slot[row] / KV_BLOCK == 0) {
		if (!r->written[own] || r->kv[own] != kv)
			RIG_BAD(r, "token %u was said to be there", pos);
		return;
	}
	if (b->slot[row] != own)
		RIG_BAD(r, "token %u has a slot that is not its own", pos);
	if (block->ref != 1 || block->cached)
		RIG_BAD(r, "token %u is written to a shared block", pos);
	r->kv[own] = kv;
	r->written[own] = true;
}

/* One sequence of the batch: are its rows its span, its slots its blocks? */
static inline void rig_run_seq(struct rig *r, struct batch *b, uint32_t at)
{
	struct rig_stream *st = &r->streams[b->tag[at]];
	const struct seq *q = sched_get(&r->s, sched_seq(&r->s, at));
	const uint32_t *table = b->block_table + (size_t)at * b->max_blocks;
	uint32_t row = b->query_start[at], end = b->query_start[at + 1];
	uint32_t pos = q->computed;

	if (end - row != q->planned || b->context_len[at] != pos + end - row)
		RIG_BAD(r, "stream %d: rows are not its span", (int)b->tag[at]);
	if (memcmp(table, q->table, q->nr_table * sizeof(*table)))
		RIG_BAD(r, "stream %d: not its block table", (int)b->tag[at]);
	if (st->high > pos)
		r->again += (st->high < pos + end - row ? st->high - pos
							: end - row);
	st->high = st->high > pos + end - row ? st->high : pos + end - row;
	for (; row < end; row++, pos++) {
		/* a late one is the one behind those known, and of this stream */
		if (b->position[row] != pos ||
		    (b->token[row] < BATCH_LATE
			     ? b->token[row] != st->ids[pos]
			     : pos != st->known ||
				       r->last->tag[r->last->out[b->token[row] -
								 BATCH_LATE]
							    .seq] !=
					       b->tag[at]))
			RIG_BAD(r, "row %u is not token %u", row, pos);
		if (!st->score && pos + 1 >= st->max_len)
			RIG_BAD(r, "row %u asks for a token too many", row);
		rig_run_row(r, b, table, row, pos);
	}
}

/* A step that says it has the sequences of the one before: has it? */
static inline void rig_same(struct rig *r, const struct batch *b)
{
	struct rig_step *s = rig_step_of(r, b);
	size_t size = b->nr_seqs * sizeof(*s->tag);

	if (b->same_seqs &&
	    (b->nr_seqs != s->nr_tag || memcmp(b->tag, s->tag, size)))
		RIG_BAD(r, "a step that is not like the one before");
	r->nr_same += b->same_seqs;
	s->nr_tag = b->nr_seqs;
	memcpy(s->tag, b->tag, size);
}

/* Blocks nobody holds and nobody knows lose their bytes, as they may. */
static inline void rig_scrub(struct rig *r)
{
	uint32_t i;

	for (i = 1; i < r->opt.nr_blocks; i++)
		if (!r->s.run.kv.blocks[i].ref && !r->s.run.kv.blocks[i].cached)
			memset(r->written + (size_t)i * KV_BLOCK, 0, KV_BLOCK);
}

static inline void rig_score(struct rig *r, const struct batch_out *o,
			     struct rig_stream *st)
{
	if (o->want != BATCH_SCORE || o->position != st->nr_scores ||
	    o->target != st->ids[o->position + 1])
		RIG_BAD(r, "a score came out of order");
	if (++st->nr_scores == st->prompt_len - 1)
		rig_end(r, st, RIG_DONE);
}

/* What the engine does with an output. */
static inline void rig_output(struct rig *r, const struct batch *b, uint32_t i)
{
	const struct batch_out *o = &b->out[i];
	struct rig_stream *st = &r->streams[b->tag[o->seq]];
	uint32_t token = rig_step_of(r, b)->out_token[i];

	if (!sched_is_live(&r->s, ahead_seq(&r->s, b, o->seq))) {
		r->nr_vain++;
		return;
	}
	if (st->score) {
		rig_score(r, o, st);
		return;
	}
	if (o->position != st->known - st->prompt_len ||
	    o->history != st->given)
		RIG_BAD(r, "an output for token %u, known %u", o->position,
			st->known);
	if (rig_has_penalty(st) &&
	    memcmp(o->history, st->ids, st->known * sizeof(*st->ids)))
		RIG_BAD(r, "a history that is not what was appended, at %u",
			st->known);
	if (token != rig_token(r, st))
		RIG_BAD(r, "stream %d: token %u is another",
			(int)(st - r->streams), st->known);
	st->ids[st->known++] = token;
	if (!st->first_ns) {
		st->first_ns = r->now_ns;
		st->first_step = r->nr_steps;
	} else if (r->now_ns - st->last_ns > st->max_gap_ns) {
		st->max_gap_ns = r->now_ns - st->last_ns;
	}
	st->last_ns = r->now_ns;
	if (r->on_token)
		r->on_token(r, st);
	if (st->state != RIG_LIVE)
		return;
	if (st->known == st->max_len)
		rig_end(r, st, RIG_DONE);
	else if (r->ahead)
		ahead_append(&r->s, st->id, token);
	else
		sched_append(&r->s, st->id, token);
}

static inline void rig_check(struct rig *r)
{
	const char *bad = sched_check(&r->s);

	if (bad)
		RIG_BAD(r, "%s", bad);
	if (r->again != r->s.recomputed)
		RIG_BAD(r, "%d tokens computed again, %d accounted for",
			(int)r->again, (int)r->s.recomputed);
	rig_scrub(r);
}

/* Compute the step in @b: every row, every output. */
static inline void rig_compute(struct rig *r, struct batch *b)
{
	struct rig_step *s = rig_step_of(r, b);
	uint32_t n = b->nr_tokens, i;
	double reads = 0;

	if (n > r->opt.max_tokens_per_step || b->nr_outs > n)
		RIG_BAD(r, "a step of %u tokens", n);
	rig_same(r, b);
	for (i = 0; i < b->nr_seqs; i++)
		rig_run_seq(r, b, i);
	for (i = 0; i < b->nr_outs; i++) {
		const struct batch_out *o = &b->out[i];

		s->out_token[i] = rig_sample(r, r->streams[b->tag[o->seq]].seed,
					     o->position, s->row_kv[o->row]);
	}
	for (i = 0; i < n; i++)
		reads += b->position[i] + 1;
	s->ns = (uint64_t)(r->a_ns + r->b_ns * n + r->c_ns * reads);
	r->rows += n;
	r->nr_steps++;
}

static inline void rig_outputs(struct rig *r, const struct batch *b)
{
	uint32_t i;

	for (i = 0; i < b->nr_outs; i++)
		rig_output(r, b, i);
	if (r->check_all)
		rig_check(r);
}

/* The step in @b is under way; the one before it may be, too. */
static inline void rig_submitted(struct rig *r, struct batch *b)
{
	rig_compute(r, b);
	ahead_submitted(&r->s, b);
	r->last = b;
	r->nr_ahead++;
	if (r->check_all)
		rig_check(r);
	if (r->in_flight)
		r->in_flight(r);
}

/* As rig_step(), and a step ahead: rows submitted, or collected. */
static inline uint32_t rig_step_ahead(struct rig *r)
{
	struct batch *b = r->last == &r->b ? &r->other : &r->b;
	struct batch *oldest = r->nr_ahead == 1 ? r->last : NULL;
	uint32_t n = 0;

	if (ahead_may_plan(&r->s))
		n = sched_step(&r->s, b);
	if (n)
		rig_submitted(r, b);
	if (!oldest) /* there is nothing to be collected while this runs */
		return n;
	n = oldest->nr_tokens;
	r->now_ns += rig_step_of(r, oldest)->ns;
	ahead_collected(&r->s, oldest, rig_step_of(r, oldest)->ns);
	r->nr_ahead--;
	rig_outputs(r, oldest);
	return n;
}

/* One turn of the engine's loop.  Rows run; 0 = nothing could run. */
static inline uint32_t rig_step(struct rig *r)
{
	uint32_t n, id;

	while (sched_expired(&r->s, r->now_ns, &id))
		rig_end(r, &r->streams[sched_get(&r->s, id)->tag], RIG_EXPIRED);
	sched_clock(&r->s, r->now_ns);
	if (r->ahead)
		return rig_step_ahead(r);
	n = sched_step(&r->s, &r->b);
	if (!n)
		return 0;
	rig_compute(r, &r->b);
	r->now_ns += r->step.ns;
	if (r->in_flight)
		r->in_flight(r);
	sched_commit(&r->s, &r->b, r->step.ns);
	rig_outputs(r, &r->b);
	return n;
}

/* Run until nothing is left to run, at most @max steps; how many it took. */
static inline uint32_t rig_drain(struct rig *r, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && !*r->bad && rig_step(r))
		n++;
	return n;
}

/* The engine dies: core/ is built anew from the streams' logs. */
static inline void rig_crash(struct rig *r)
{
	uint32_t i;

	sched_deinit(&r->s);
	memset(r->written, 0, (size_t)r->opt.nr_blocks * KV_BLOCK);
	r->again = 0;
	r->nr_ahead = 0;
	r->last = NULL;
	if (sched_init(&r->s, &r->opt))
		RIG_BAD(r, "no scheduler after the crash");
	for (i = 0; i < r->nr_streams; i++) {
		struct rig_stream *st = &r->streams[i];

		if (st->state != RIG_LIVE || !st->in_sched)
			continue;
		st->high = 0;
		if (rig_submit(r, st))
			RIG_BAD(r, "a stream is refused after the crash");
	}
}

static inline uint32_t rig_nr(const struct rig *r, enum rig_state state)
{
	uint32_t n = 0, i;

	for (i = 0; i < r->nr_streams; i++)
		n += r->streams[i].state == state;
	return n;
}

#endif
