/* SPDX-License-Identifier: MIT */
/*
 * sched.h - who runs in this step.  The face of core/ to the engine.
 *
 *	while (!stopping) {
 *		now = clock();
 *		while (sched_expired(s, now, &id))
 *			...end the stream; sched_finish(s, id);
 *		...for each new request: sched_add(s, &request, &id);
 *		...for each cancel: sched_finish(s, id);
 *		sched_clock(s, now);
 *		if (!sched_step(s, batch))
 *			...sleep until sched_next_deadline(s),
 *			sched_next_rate(s) or a doorbell
 *		backend->run(backend, batch);
 *		sched_commit(s, batch, elapsed_ns);
 *		for (o = batch->out; o < batch->out + batch->nr_outs; o++) {
 *			id = sched_seq(s, o->seq);
 *			...the engine accepts o->token:
 *				sched_append(s, id, o->token);
 *			...or the sequence ends (EOS, length, stop string):
 *				sched_finish(s, id);
 *		}
 *	}
 *
 * (A backend that computes beside us is given the next step before that:
 * ahead.h.)
 *
 * Every output of a step is answered by one append or finish before the next
 * step (of a score: finish after its last output).  To finish is allowed at
 * any time, between step and commit too: the outputs of a finished sequence
 * are then to be passed over (sched_is_live()).
 *
 * The order of a step: for each class in strict order those
 * that decode, then prompts, by tenant: the lowest virtual counter first
 * (tenant.h).  A tenant's own queue goes: preempted ones, earliest deadline,
 * age.  Before that the lower classes have their floor: 5 and 1 percent of
 * the tokens.  Prompts are cut into chunks, the cuts at multiples of 16.
 *
 * A deadline orders a tenant's queue and no more: were it to order tenants,
 * each could name an early one.
 *
 * Pure: no system call, clock, thread, atomic, or allocation after init; the
 * same calls give the same steps.  After a crash nothing here is needed: add
 * each sequence again with its prompt and what was committed.
 * One thread calls all of it.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/batch.h"
#include "daemon/core/budget.h"
#include "daemon/core/plan.h"
#include "daemon/core/runset.h"
#include "daemon/core/seq.h"

struct sched_options {
	uint32_t nr_blocks; /* KV blocks of the backend, block 0 included */
	uint32_t context;   /* most tokens a sequence may hold */
	uint32_t max_tokens_per_step; /* rows; the batch's max is one too */
	uint32_t max_running;	/* sequences with blocks; <= batch max_seqs */
	uint32_t max_seqs;	/* running and waiting */
	uint32_t max_tenants;	/* with sequences, at a time */
	uint32_t queue_entries; /* most waiting sequences of a tenant, */
	uint64_t queue_tokens;	/* and most tokens of them (one always fits) */
	uint64_t target_gap_ns[NR_CLASSES]; /* between tokens; 0 = no target */
	uint8_t hash_key[16];		    /* random, fresh at each start */
	bool no_prefix_index;		    /* nothing is shared */
};

struct sched_request {
	uint64_t tag;	 /* the engine's name for it, back in batch->tag */
	uint64_t tenant; /* key; also the prefix domain */
	enum sched_class cls;
	bool score; /* judge the prompt's tokens instead of sampling */
	/*
	 * It runs on after a restart: bounds of queues do not apply, and
	 * what it has (known > prompt_len) was paid for.
	 */
	bool recovered;
	uint64_t deadline_ns; /* absolute, the caller's clock; 0 = none */
	/*
	 * Borrowed until it is finished: [max_len], the first `known` valid.
	 * What is appended is written behind them, by core/, when it needs it.
	 */
	uint32_t *ids;
	/*
	 * Or NULL.  Borrowed as well: token i of the output is
	 * out[i * out_stride] from before its sched_append() on.  Then ids[],
	 * on pages of its own, is not written for each token.
	 */
	const uint32_t *out;
	uint32_t out_stride;
	uint32_t prompt_len; /* >= 1; a score: >= 2 */
	uint32_t known;	     /* >= prompt_len */
	uint32_t max_len;    /* prompt and all output; what it may grow to */
	/* a score: outputs it has given in an earlier life, not wanted again */
	uint32_t nr_scored;
	const struct sampling *sampling; /* borrowed; NULL for a score */
	uint32_t nr_alt;		 /* 0..MAX_ALT */
	const uint8_t *adapter;		 /* digest[32] or NULL */
};

struct sched_stats {
	uint32_t running, waiting; /* sequences */
	uint32_t blocks_total;	   /* without the null block */
	uint32_t blocks_used;	   /* held by sequences */
	uint32_t blocks_cached;	   /* free, with a known content */
	uint32_t blocks_shared;	   /* held by two or more */
	uint32_t blocks_saved; /* more that there would be without sharing */
	uint64_t steps, prefill_tokens, decode_tokens; /* since start */
	uint64_t hit_tokens; /* found in the index instead of computed */
	uint64_t preemptions, recomputed_tokens;
};

struct sched {
	struct sched_options opt;
	struct runset run;
	struct plan plan, other_plan; /* of a batch each, where there are two */
	struct plan *at;	      /* borrowed: of the step being planned */
	struct budget budget;
	uint64_t pass;	  /* marks tenants that are blocked in this walk */
	uint32_t left;	  /* tokens the step being planned has room for */
	uint32_t starved; /* the highest class that could not be admitted */
	int64_t credit[NR_CLASSES];	   /* floors: hundredths of a token */
	uint32_t class_tokens[NR_CLASSES]; /* planned in this step */
	uint32_t *skipped; /* owned: waiting sequences passed over */
	uint32_t nr_skipped;
	struct heap decode_order; /* when not all that decode fit */
	bool under_way;		  /* between step and commit */
	/* steps submitted and not collected (ahead.h), the oldest first */
	struct ahead_step {
		uint32_t rows;
		uint64_t reads;
	} ahead[2]; /* as budget_observe() is to have them */
	uint32_t nr_ahead;
	uint64_t prefill_tokens, decode_tokens, recomputed;
};

/* 0, -EINVAL (an option is 0 or too small) or -ENOMEM. */
int sched_init(struct sched *s, const struct sched_options *opt);
void sched_deinit(struct sched *s);

/*
 * A tenant's weight, 1..10000 (TENANT_WEIGHT is 100), and its rate, tokens a
 * second (0: any), from now on.  A tenant without sequences may be forgotten:
 * call it before each sched_add().  -EINVAL, -EAGAIN as sched_add().
 */
int sched_set_tenant(struct sched *s, uint64_t tenant, uint32_t weight,
		     uint32_t rate);
/*
 * What time it is, the caller's clock: before a step, where tenants have
 * rates.  Who is over his rate is served nothing.
 */
void sched_clock(struct sched *s, uint64_t now_ns);
/* When one that waits for its rate may go on; UINT64_MAX: none does. */
uint64_t sched_next_rate(struct sched *s);

/*
 * Queue a sequence; its number in *ret_id, valid until it is finished.
 * -EINVAL: lengths that make no sense.
 * -E2BIG: max_len is over the context or over all KV blocks together.
 * -EAGAIN: busy; the tenant's queue, or the table of sequences or tenants,
 *          is full.  Nothing has changed; try later.
 */
int sched_add(struct sched *s, const struct sched_request *req,
	      uint32_t *ret_id);
/* @token was accepted: it is known now. */
static inline void sched_append(struct sched *s, uint32_t id, uint32_t token)
{
	struct seq *q = &s->run.seqs[id];

	/* that it does not grow past its length: seq_flush() */
	assert(q->state == SEQ_DECODE && !q->score && q->computed == q->known);
	seq_append(q, token);
	if (q->known % KV_BLOCK <= 1)
		runset_block_edge(&s->run, id);
	s->decode_tokens++;
	tenant_output(&s->run.tenants, q->tenant, q->cls);
}
/* It has ended, for whatever reason: everything it holds is given back. */
void sched_finish(struct sched *s, uint32_t id);
/*
 * Stop serving it (its client does not read), or go on.  While held it
 * is the first to lose its blocks and counts for nobody's share.
 */
void sched_hold(struct sched *s, uint32_t id, bool hold);
/* One whose deadline has come; again for the next.  Finish each. */
bool sched_expired(const struct sched *s, uint64_t now_ns, uint32_t *ret_id);
/* The nearest deadline; UINT64_MAX: none. */
uint64_t sched_next_deadline(const struct sched *s);

/*
 * Fill @b (the same batch each time, or two in turn: ahead.h) with the next
 * step.  Rows in it; 0 = nothing can run until a call above changes that, and
 * no commit is due.
 */
uint32_t sched_step(struct sched *s, struct batch *b);
/* For commit: what each lower class has coming to it after such a step. */
void sched_settle_floors(struct sched *s, uint32_t nr_tokens);
/* The step has run and took @elapsed_ns (0 = not measured). */
void sched_commit(struct sched *s, const struct batch *b, uint64_t elapsed_ns);
/* The number of the @i-th sequence of the last step. */
static inline uint32_t sched_seq(const struct sched *s, uint32_t i)
{
	return s->at->seq[i];
}
/* Was @id not finished since?  Ask before any sched_add() after a commit. */
static inline bool sched_is_live(const struct sched *s, uint32_t id)
{
	return s->run.seqs[id].state != SEQ_FREE && !s->run.seqs[id].dead;
}
/* To read: known, computed, cached_len, nr_preempts, ... */
static inline const struct seq *sched_get(const struct sched *s, uint32_t id)
{
	return &s->run.seqs[id];
}

void sched_get_stats(const struct sched *s, struct sched_stats *ret_stats);
/* All invariants; NULL or what is wrong.  Slow: for tests. */
const char *sched_check(const struct sched *s);

#endif
