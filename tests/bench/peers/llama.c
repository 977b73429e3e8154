/* SPDX-License-Identifier: MIT */
/*
 * llama.c - peer.h over llama.cpp's library with its defaults: weights repacked,
 * KV in F16, of each sequence its own.  LLAMA_FLASH=off in the environment: no
 * flash attention, which is the faster for few rows.
 */
#include "tests/bench/peers/peer.h"

#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct llama_model *model;
static struct llama_context *ctx;
static struct llama_batch batch;
static uint32_t nr_threads, nr_seqs, context;
static enum llama_flash_attn_type flash = LLAMA_FLASH_ATTN_TYPE_ENABLED;

static void quiet(enum ggml_log_level level, const char *text, void *arg)
{
	(void)arg;
	if (level == GGML_LOG_LEVEL_ERROR)
		fputs(text, stderr);
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "llama.cpp: %s\n", what);
	exit(1);
}

/* A context for @seqs sequences of @tokens each. */
static void new_context(uint32_t seqs, uint32_t tokens)
{
	struct llama_context_params p = llama_context_default_params();

	if (ctx)
		llama_free(ctx);
	p.n_ctx = (tokens + 255) / 256 * 256 * seqs;
	p.n_batch = p.n_ubatch = PEER_PROMPT;
	p.n_seq_max = seqs;
	p.n_threads = p.n_threads_batch = (int32_t)nr_threads;
	p.flash_attn_type = flash;
	p.no_perf = true;
	p.kv_unified = false;
	ctx = llama_init_from_model(model, p);
	must(ctx != NULL, "no context");
	nr_seqs = seqs;
}

void peer_open(const char *path, uint32_t threads)
{
	struct llama_model_params p = llama_model_default_params();
	const char *how = getenv("LLAMA_FLASH");

	llama_log_set(quiet, NULL);
	if (how && !strcmp(how, "off"))
		flash = LLAMA_FLASH_ATTN_TYPE_DISABLED;
	llama_backend_init();
	model = llama_model_load_from_file(path, p);
	must(model != NULL, "the model does not load");
	batch = llama_batch_init(PEER_PROMPT, 0, 1);
	nr_threads = threads;
	new_context(1, PEER_PROMPT);
}

static void add(uint32_t seq, uint32_t token, uint32_t at, int out)
{
	int32_t i = batch.n_tokens++;

	batch.token[i] = (llama_token)token;
	batch.pos[i] = (llama_pos)at;
	batch.n_seq_id[i] = 1;
	batch.seq_id[i][0] = (llama_seq_id)seq;
	batch.logits[i] = (int8_t)out;
}

static uint32_t best(const float *logits)
{
	int32_t n = llama_vocab_n_tokens(llama_model_get_vocab(model));
	uint32_t top = 0;

	for (int32_t i = 1; i < n; i++)
		if (logits[i] > logits[top])
			top = (uint32_t)i;
	return top;
}

/* The step; a token is chosen for each row that wants one. */
static uint32_t run(void)
{
	uint32_t token = 0;

	must(llama_decode(ctx, batch) == 0, "a step failed");
	for (int32_t i = 0; i < batch.n_tokens; i++)
		if (batch.logits[i])
			token = best(llama_get_logits_ith(ctx, i));
	return token;
}

static uint32_t prompt(const uint32_t *ids, uint32_t from, uint32_t nr)
{
	batch.n_tokens = 0;
	for (uint32_t i = 0; i < nr; i++)
		add(0, ids[from + i], from + i, i + 1 == nr);
	return run();
}

uint32_t peer_prefill(const uint32_t *ids, uint32_t nr)
{
	llama_memory_clear(llama_get_memory(ctx), false);
	return prompt(ids, 0, nr);
}

void peer_fill(const uint32_t *ids, uint32_t n, uint32_t tokens)
{
	new_context(n, tokens + PEER_STEPS);
	context = tokens;
	for (uint32_t at = 0; at < tokens; at += PEER_PROMPT)
		prompt(ids, at,
		       tokens - at < PEER_PROMPT ? tokens - at : PEER_PROMPT);
	for (uint32_t k = 1; k < n; k++)
		llama_memory_seq_cp(llama_get_memory(ctx), 0, (llama_seq_id)k,
				    -1, -1);
}

uint32_t peer_decode(uint32_t token, uint32_t at)
{
	batch.n_tokens = 0;
	for (uint32_t k = 0; k < nr_seqs; k++)
		add(k, token, at, 1);
	return run();
}

void peer_rewind(void)
{
	for (uint32_t k = 0; k < nr_seqs; k++)
		llama_memory_seq_rm(llama_get_memory(ctx), (llama_seq_id)k,
				    (llama_pos)context, -1);
}
