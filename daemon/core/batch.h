/* SPDX-License-Identifier: MIT */
/*
 * batch.h - the flat batch of one step: what the scheduler hands to a backend.
 *
 * A step runs nr_tokens rows, grouped by sequence.  There is no prefill and no
 * decode in it: a sequence brings a span of one or more known tokens, whose KV
 * is computed and written to the slots named; some rows also want an output
 * (a sampled token, or the log probability of a given one).
 *
 * All arrays belong to the batch, are sized once by batch_init() and reused
 * each step: the step path calls no allocator.  Written by: the scheduler
 * (all but results); the backend (results).  One thread.
 */
#ifndef CORE_BATCH_H
#define CORE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define KV_BLOCK 16u /* tokens of KV in a block */
#define MAX_ALT	 20u /* alternatives (top logprobs) a row may ask for */

/*
 * BATCH_LATE + i for a token: that of out[i] of the batch submitted before,
 * which is not known yet (backend.h, submit).
 */
#define BATCH_LATE 0x80000000u

/*
 * How a token is chosen; every number already resolved and checked at
 * admission.  Meaning and order: kernels/ops.h, op_sample.
 */
struct sampling {
	uint64_t seed;
	float temperature;	  /* 0 = greedy */
	float top_p;		  /* (0, 1]; 1 = off */
	float min_p;		  /* [0, 1]; 0 = off */
	float repetition_penalty; /* > 0; 1 = off; prompt and output tokens */
	float frequency_penalty;  /* 0 = off; output tokens */
	float presence_penalty;	  /* 0 = off; output tokens */
	uint32_t top_k;		  /* 0 = off */
	uint32_t min_tokens; /* until then the ids of `end_ids` are forbidden */
	uint32_t nr_bias;
	uint32_t nr_end_ids;	  /* EOS (unless ignored) and stop ids */
	const uint32_t *bias_ids; /* borrowed: [nr_bias] */
	const float *bias; /* borrowed: [nr_bias], [-100, 100]; -100 forbids */
	const uint32_t *end_ids; /* borrowed: [nr_end_ids] */
};

enum batch_want {
	BATCH_SAMPLE, /* the next token after this row */
	BATCH_SCORE,  /* the log probability of `target` after this row */
};

/* The likeliest tokens, raw, descending; the first nr_alt are valid. */
struct batch_alt {
	uint32_t token[MAX_ALT];
	float logprob[MAX_ALT];
};

/*
 * One wanted output and, after run(), its result: a cache line, for a step
 * may walk a thousand of them.
 */
struct batch_out {
	uint32_t row; /* index of the token row, < nr_tokens; ascending */
	uint32_t seq; /* index of its sequence in the batch, < nr_seqs */
	enum batch_want want;
	uint32_t target;   /* BATCH_SCORE: the token judged */
	uint32_t position; /* index in the OUTPUT stream: keys the noise */
	uint32_t nr_alt;   /* alternatives wanted, 0..MAX_ALT */
	const struct sampling *sampling; /* borrowed; NULL for BATCH_SCORE */
	/*
	 * For penalties; borrowed: all tokens before the one sampled.  Where
	 * `sampling` has no penalty, only the prompt is sure to be there.
	 */
	const uint32_t *history; /* [prompt_len + position] */
	uint32_t prompt_len;
	/* results */
	uint32_t token;
	float logprob; /* of `token` (or `target`), raw: before anything else */
	struct batch_alt *alt; /* borrowed: the batch's own, its place fixed */
};

struct batch {
	uint32_t nr_tokens, nr_seqs, nr_outs;
	uint32_t max_tokens, max_seqs;
	uint32_t max_blocks; /* of one sequence */
	/* a token row */
	uint32_t *token;    /* [nr_tokens] ids, BATCH_LATE */
	uint32_t *position; /* [nr_tokens] place in the sequence, from 0 */
	/*
	 * [nr_tokens] slot mapping: block * KV_BLOCK + offset of the token's
	 * own KV.  A slot in block 0 means: do not write, the KV that the
	 * block table names is there already (a whole-prompt prefix hit whose
	 * last token only wants its output).
	 */
	uint32_t *slot;
	/* a sequence */
	uint32_t *query_start; /* [nr_seqs + 1] first row of each; end */
	uint32_t *context_len; /* [nr_seqs] tokens of KV after this step */
	uint32_t *block_table; /* [nr_seqs][max_blocks] block ids */
	uint64_t *tag;	/* [nr_seqs] the caller's name for the sequence */
	bool same_seqs; /* nr_seqs and tag[] are those this batch had before */
	struct batch_out *out; /* [nr_outs], at most max_tokens */
	struct batch_alt *alt; /* [max_tokens] what out[].alt points to */
};

/*
 * Allocate for steps of at most @max_tokens rows over @max_seqs sequences of
 * at most @max_blocks blocks.  0 or -ENOMEM; batch_deinit() undoes.
 */
int batch_init(struct batch *b, uint32_t max_tokens, uint32_t max_seqs,
	       uint32_t max_blocks);
void batch_deinit(struct batch *b);
/* Empty it for the next step. */
void batch_reset(struct batch *b);

#endif
