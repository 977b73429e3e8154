/* SPDX-License-Identifier: MIT */
/*
 * admit.h - copy, then check: from a client's entry to an admission record.
 *
 * All that is believed of a request is decided here.  The judgement is pure,
 * over (entry, parameters, prompt, limits): admit_judge(), admit_lengths(),
 * admit_ids() read private copies only, know no clock and have no luck, so
 * they are fuzzed.  admit_entry() brings the copies and does the stores.
 *
 * Exactly once.  An entry (slot, gen) is admitted iff gen is newer than that
 * of the slot's commit word; the store that admits or refuses moves the gen;
 * the carrier's heads move after.  An entry seen twice, in one life or in
 * two, is an old gen the second time.
 *
 * Order of the stores of one admission:
 *   record.gen = 0 -> F                 the record is void: what a crash
 *                                       leaves of it is not believed
 *   params, prompt into the extent      copied once out of ARENA, checked
 *                                       in the copy, never fetched again
 *   the record, all but gen
 *   record.gen = gen (rel)
 *   commit = (gen, QUEUED | END, 0) (rel)     the admission, or the refusal
 *
 * What a client sent is refused with a code and one line (record.error,
 * record.why); nothing it sent can trip an assertion.
 */
#ifndef DAEMON_ADMIT_H
#define DAEMON_ADMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

#include "daemon/params.h"

struct account;
struct err;
struct extents;
struct session;

/* What may be asked for; constant while a model is served. */
struct admit_limits {
	const struct model_info *model; /* borrowed */
	uint64_t pool_tokens; /* KV that one sequence may hold, tokens */
	uint32_t default_max_tokens;
	uint32_t token_max; /* bytes of the longest token; 0 = ids only */
	bool text;	    /* TEXT prompts, and text out */
	bool chat;	    /* CHAT too */
	bool bytes; /* TEXT prompts are bytes as ids (the null backend) */
};

/* The moment: what the engine knows when the entry comes. */
struct admit_now {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	uint64_t random; /* the seed, where the request names none */
	uint32_t epoch;
	uint32_t waiting, max_waiting; /* admitted, not running: in all */
	uint32_t tenant_waiting, max_tenant_waiting; /* of this tenant */
	bool draining;
	/* its limits: asked once the entry is found to make sense (account.h) */
	struct account *account; /* borrowed; NULL: none */
};

/*
 * Where things lie in a stream's extent, offsets from its beginning.  Behind
 * the prompt's room stands room for the log's ids, so that prompt and output
 * are one array: what sampling looks back upon, and what is computed again.
 */
struct admit_layout {
	uint64_t size; /* of the extent */
	uint64_t params_off, prompt_off, log_off, alt_off, text_off;
	uint64_t text_in_off;
	uint32_t prompt_cap, log_len, text_size;
};

/* An entry judged good: what admit_entry() stores. */
struct admit_plan {
	struct admit_layout layout;
	uint32_t prompt_len; /* ids; 0 where they are not known yet (TEXT) */
	uint32_t max_tokens; /* resolved; where TEXT: the most it can be */
};

/*
 * Judge an entry with its parameters, all but the ids themselves.  0 and
 * @ret, or a negative errno and @why; -ETIME: good, but its deadline has
 * passed.  @arena_size: bytes, the keeper's own number.
 */
int admit_judge(const struct admit_limits *lim, const struct admit_now *now,
		const struct llm_sqe *sqe, const struct params *params,
		uint64_t arena_size, struct admit_plan *ret, struct err *why);
/*
 * How many tokens may follow a prompt of @prompt_len ids (SCORE: 0).
 * @max_tokens 0: the model's default.  -E2BIG with both numbers where they do
 * not fit into the context or the pool; -EINVAL for an empty prompt.
 */
int admit_lengths(const struct admit_limits *lim, uint32_t op,
		  uint64_t prompt_len, uint32_t max_tokens, uint32_t min_tokens,
		  uint32_t *ret_max, struct err *why);
/* All ids below the model's vocabulary? */
int admit_ids(const struct admit_limits *lim, const uint32_t *ids, uint32_t nr,
	      struct err *why);

enum admitted {
	ADMIT_NOTHING, /* NOP, a replay, dropped: nothing to do */
	ADMIT_CANCEL,  /* sqe.stream holds the gen named: end it */
	ADMIT_ENDED,   /* PING, refused, too late: END is stored; wake */
	ADMIT_REFUSED, /* the same, counted apart */
	ADMIT_LIMITED, /* the same: a limit of the tenant */
	ADMIT_QUEUED,  /* QUEUED is stored; prompt_len ids are there */
	ADMIT_TEXT,    /* QUEUED is stored; ids are to be made of its text */
};

/*
 * Take one entry, already copied (@sqe is private).  @used: the slot's stream
 * has not ended.  @scratch: PARAMS_MAX bytes, 8-aligned, private.  Stores
 * through @s as written above; takes the extent from @x.
 */
enum admitted admit_entry(const struct admit_limits *lim,
			  const struct admit_now *now, struct session *s,
			  struct extents *x, const struct llm_sqe *sqe,
			  bool used, void *scratch);

#endif
