/* SPDX-License-Identifier: MIT */
/*
 * seq.h - a sequence: `computed` chases `known`.
 *
 * The caller's array ids[] holds the known tokens: the prompt, and what was
 * appended since.  Where the caller keeps its output in a place of its own
 * (out[], as the engine does), what is appended is copied to ids[] when that
 * is wanted, not before: see seq_flush().  KV is computed for the first
 * `computed` of the known.
 * There is no prefill phase and no decode phase: a step computes a span
 * [computed, computed + n).  A chunk, a prefix hit, a resumption after
 * preemption, a recovery after a crash are the same move, from another place.
 *
 * A sequence that runs holds a block table: block i is the KV of tokens
 * [16 i, 16 i + 16).  The first nr_hit blocks came out of the prefix index;
 * they are whole and perhaps shared, so they are never written.
 *
 * The functions here move blocks between a sequence and pool and index; who
 * may have them is decided above (sched.c).
 */
#ifndef CORE_SEQ_H
#define CORE_SEQ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/batch.h"
#include "daemon/core/prefix.h"

#define SEQ_NONE UINT32_MAX

enum seq_state {
	SEQ_FREE,   /* no sequence */
	SEQ_WAIT,   /* in its tenant's queue; holds no blocks */
	SEQ_FILL,   /* runs, and has not caught up with what is known */
	SEQ_DECODE, /* runs; a token a step */
};

/*
 * The first cache line is what a row of decoding needs: a step walks a
 * thousand of these, several times (measured: plan.c, plan_decode()).
 */
struct seq {
	_Alignas(64) uint64_t table_id; /* new for each table that it gets */
	const uint32_t *out; /* borrowed, or NULL: see struct sched_request */
	uint32_t out_stride;
	uint32_t prompt_len, known;
	uint32_t computed;
	uint32_t planned;   /* rows in the step under way */
	uint32_t last;	    /* the token appended last */
	uint32_t tail_slot; /* its slot, if it decodes: plan.c */
	uint32_t nr_table;
	uint32_t stored; /* tokens in ids[]; those behind are in out[] */
	uint32_t tenant;
	uint8_t nr_alt;	  /* 0..MAX_ALT */
	uint8_t cls;	  /* enum sched_class */
	uint8_t state;	  /* enum seq_state; set_state() alone writes it */
	bool held : 1;	  /* the engine wants no more of it for now */
	bool dead : 1;	  /* finished while a step with it was under way */
	bool score : 1;	  /* every row wants the next prompt token judged */
	bool resumed : 1; /* was preempted: goes before the rest of its queue */
	bool history : 1; /* its sampling wants all ids, at each output */
	bool growing : 1; /* in runset.growing */
	/* ahead.h: of the known tokens those at the end that only the device */
	uint8_t late;	 /* knows; */
	uint8_t flights; /* steps under way with rows of it */

	/* what the engine gave */
	_Alignas(64) uint64_t tag;
	uint32_t *ids; /* borrowed: [max_len], the first `stored` valid */
	const struct sampling *sampling; /* borrowed; NULL for a score */
	/* the last in which it had rows, if not everybody that decodes had */
	uint64_t step;
	uint32_t *table;      /* borrowed from sched: [nr_table] */
	uint64_t deadline_ns; /* UINT64_MAX: none */
	uint64_t order;	      /* of arrival */
	uint64_t tried; /* nr_returns when it was refused for want of blocks */
	uint32_t max_len;
	uint32_t domain;
	/* most ever computed, below it is recomputation; stale in SEQ_DECODE */
	uint32_t high;
	uint32_t paid;	     /* prompt tokens already charged */
	uint32_t scored;     /* outputs of a score that were given */
	uint32_t cached_len; /* prompt tokens never computed: found in index */
	uint32_t nr_preempts;
	uint32_t resumed_len; /* known when last admitted */

	uint32_t slot; /* of its table; SEQ_NONE where it does not run */
	uint32_t nr_hit;
	uint32_t promise;      /* table length it can count on */
	struct prefix_pos pos; /* behind the first nr_indexed blocks */
	uint32_t nr_indexed;
	uint32_t decode_at; /* place among the decoding of its class */
	uint32_t next_free;
};

static_assert(offsetof(struct seq, tag) == 64, "decoding needs one line");

static inline uint32_t seq_blocks(uint32_t nr_tokens)
{
	return nr_tokens / KV_BLOCK + (nr_tokens % KV_BLOCK != 0);
}

/* Decodes, and wants a row that is not planned yet. */
static inline bool seq_can_decode(const struct seq *q)
{
	return !q->held && !q->planned && q->known > q->computed;
}

/* Tokens whose KV it needs: of a score the last prompt token wants nothing. */
static inline uint32_t seq_goal(const struct seq *q)
{
	return q->score ? q->known - 1 : q->known;
}

/* All that is known into ids[], but for what is late. */
void seq_flush(struct seq *q);
/*
 * The whole blocks of @q that the index knows, into @table; *ret_pos is the
 * place behind them and *ret_nr_free how many are free now (to take them
 * makes the pool smaller).  Takes nothing.  A score finds none: its rows all
 * want logits, and the index keeps KV only.
 */
uint32_t seq_match(const struct seq *q, const struct prefix *p, uint32_t *table,
		   struct prefix_pos *ret_pos, uint32_t *ret_nr_free);
/* Take the @nr_hit blocks that seq_match() has just put into q->table. */
void seq_take_hits(struct seq *q, struct prefix *p, uint32_t nr_hit,
		   const struct prefix_pos *pos);
/*
 * A block's tokens are all known, though the last is not computed: ask the
 * cache for what the index will write when the block is whole.
 */
static inline void seq_block_known(const struct seq *q, struct prefix *p)
{
	prefix_prefetch(p, q->tail_slot / KV_BLOCK);
	prefix_look_ahead(p); /* it will want a block soon */
}
/*
 * The next token fills a block: ask the cache for what that will touch, and no
 * token before it did.
 */
static inline void seq_look_ahead(const struct seq *q)
{
	size_t span = (size_t)KV_BLOCK * q->out_stride, i;
	size_t to = (size_t)(q->known - q->prompt_len) * q->out_stride;

	for (i = 64; i < sizeof(*q); i += 64)
		__builtin_prefetch((const char *)q + i, 1);
	for (i = to > span ? to - span : 0; i < to; i += 16)
		__builtin_prefetch(q->out + i);
}
/* @token is known, behind the others. */
static inline void seq_append(struct seq *q, uint32_t token)
{
	q->last = token;
	q->known++;
	if (!q->out || q->history)
		seq_flush(q);
}
/* Is there no block for the last token known? */
static inline bool seq_is_short(const struct seq *q)
{
	return q->known > q->nr_table * KV_BLOCK;
}
/* One more block at the table's end, evicting if need be.  0 or -ENOSPC. */
int seq_grow(struct seq *q, struct prefix *p);
/* Index the blocks that have become full, committed and written. */
void seq_index(struct seq *q, struct prefix *p);
/* Give all blocks back, the last first: a chain's tail is evicted first. */
void seq_release(struct seq *q, struct prefix *p);
/* Blocks that would become free if @q gave its blocks back. */
uint32_t seq_nr_private(const struct seq *q, const struct kv *kv);

#endif
