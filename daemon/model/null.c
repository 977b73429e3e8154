/* SPDX-License-Identifier: MIT */
#include "daemon/model/null.h"
#include "base/err.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * What a token of KV is pretended to take, so that --kv-memory means
 * something (preemption can be provoked) and a scheduler has a pool to fill.
 */
#define KV_TOKEN_BYTES	 1024u
#define DEFAULT_KV_BYTES (1ull << 30) /* 65,536 blocks, a million tokens */
#define DEFAULT_CONTEXT	 32768u
#define MAX_CONTEXT	 (1u << 20)
#define MAX_BLOCKS	 (1u << 24)

/*
 * What an output of the last step came from.  A sequence that goes on in the
 * same place is known by where its tokens and its sampling lie and by the
 * position that comes next (another one there would begin at 0): what lies
 * there, on pages of its own, need not be read again.
 */
struct memory {
	const uint32_t *history;
	const struct sampling *sampling;
	uint64_t key;
	uint32_t next; /* position; 0 = nothing is remembered */
	uint32_t min_tokens;
};

struct null {
	struct backend be;
	struct memory *memory; /* owned: [max_outs] */
	uint32_t max_outs;     /* of a step */
};

static void sample(struct memory *m, struct batch_out *o)
{
	if (!o->position || m->next != o->position ||
	    m->history != o->history || m->sampling != o->sampling) {
		assert(o->history || !o->prompt_len);
		m->history = o->history;
		m->sampling = o->sampling;
		m->key = null_key(o->sampling->seed, o->history, o->prompt_len);
		m->min_tokens = o->sampling->min_tokens;
	}
	m->next = o->position + 1;
	o->token = null_token(m->key, o->position);
	if (o->position < m->min_tokens && o->token == NULL_EOS)
		o->token = NULL_EOS + 1;
}

static int null_run(struct backend *be, struct batch *batch)
{
	struct memory *m = ((struct null *)be)->memory;

	assert(batch->nr_outs <= ((struct null *)be)->max_outs);
	for (uint32_t i = 0; i < batch->nr_outs; i++) {
		struct batch_out *o = &batch->out[i];

		if (o->want == BATCH_SAMPLE)
			sample(&m[i], o);
		else
			o->token = o->target;
		o->logprob = null_logprob(o->token);
		for (uint32_t k = 0; k < o->nr_alt; k++) {
			o->alt->token[k] = (o->token + k) % NULL_VOCAB;
			o->alt->logprob[k] = o->logprob - (float)k;
		}
	}
	return 0;
}

static uint32_t piece(const struct backend *be, uint32_t token, uint8_t *buf)
{
	return null_piece(token, buf);
}

static void null_close(struct backend *be)
{
	free(((struct null *)be)->memory);
	free(be);
}

static int fill_info(struct model_info *info, const struct backend_options *opt,
		     struct err *err)
{
	uint64_t bytes = opt->kv_bytes ? opt->kv_bytes : DEFAULT_KV_BYTES;
	uint64_t blocks = bytes / KV_TOKEN_BYTES / KV_BLOCK;

	info->context = opt->max_context ? opt->max_context : DEFAULT_CONTEXT;
	if (info->context > MAX_CONTEXT)
		return err_set(err, -EINVAL,
			       "null: max-context is %u, allowed 1 to %u",
			       info->context, MAX_CONTEXT);
	if (blocks > MAX_BLOCKS)
		blocks = MAX_BLOCKS;
	if (blocks * KV_BLOCK < info->context && opt->max_context)
		return err_set(err, -ENOMEM,
			       "null: kv-memory of %" PRIu64
			       " bytes holds %" PRIu64
			       " tokens, a sequence of max-context needs %u",
			       bytes, blocks * KV_BLOCK, info->context);
	if (blocks * KV_BLOCK < info->context)
		info->context = (uint32_t)(blocks * KV_BLOCK);
	if (!info->context)
		return err_set(err, -ENOMEM,
			       "null: kv-memory is %" PRIu64
			       " bytes, needed %u for a block",
			       bytes, KV_TOKEN_BYTES * KV_BLOCK);
	strcpy(info->name, "null");
	memcpy(info->digest, "null backend, tokens of seed v2", 32);
	info->arith = 0x6c6c6d2d6e756c32ull; /* "llm-nul2" */
	info->vocab = NULL_VOCAB;
	info->kv_token_bytes = KV_TOKEN_BYTES;
	info->nr_blocks = (uint32_t)blocks + 1; /* block 0 holds nothing */
	info->nr_eos = 1;
	info->eos[0] = NULL_EOS;
	info->top_p = 1;
	info->repetition_penalty = 1;
	return 0;
}

int null_open(const struct backend_options *opt, struct backend **ret_be,
	      struct err *err)
{
	struct null *null = calloc(1, sizeof(*null));
	struct backend *be = &null->be;
	int ret;

	if (null)
		null->memory =
			calloc(opt->max_tokens_per_step, sizeof(*null->memory));
	if (!null || !null->memory) {
		free(null);
		return err_set(err, -ENOMEM, "null: no memory");
	}
	null->max_outs = opt->max_tokens_per_step;
	be->run = null_run;
	be->piece = piece;
	be->ascii = true;
	be->close = null_close;
	ret = fill_info(&be->info, opt, err);
	if (ret)
		null_close(be);
	else
		*ret_be = be;
	return ret;
}
