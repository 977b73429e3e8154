/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/choose.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/place.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

_Static_assert(CUDA_MAX_ALT == OPS_MAX_ALT, "one limit of alternatives");

#define WORDS_EACH 1024u /* lists of a usual request */

/* Words of lists: of one sampler the longest that there may be, of all some. */
static size_t list_words(const struct ops_shape *s, const struct ops_limits *l)
{
	return l->max_context + 4 * (size_t)s->vocab +
	       (size_t)l->max_logits * WORDS_EACH;
}

static size_t samplers_bytes(const struct ops_limits *l)
{
	return l->max_logits * sizeof(struct cuda_sampler);
}

/* token, nr_alt, logprob; alternatives and their logprobs */
static size_t answer_words(const struct ops_limits *l)
{
	return (size_t)l->max_logits * (3 + 2 * CUDA_MAX_ALT);
}

void choose_place(struct place *p, const struct ops_shape *s,
		  const struct ops_limits *l, struct choose *ret)
{
	size_t logits = (size_t)l->max_logits * s->vocab;

	*ret = (struct choose){
		.dev = place_take(p, samplers_bytes(l) + list_words(s, l) * 4),
		.max_words = list_words(s, l),
		.l = place_take(p, logits * sizeof(*ret->l)),
		.count = place_take(p, logits * sizeof(*ret->count)),
		.answer_dev = place_take(p, answer_words(l) * 4),
	};
}

int choose_open(struct choose *c, struct device *d,
		const struct ops_shape *shape, const struct ops_limits *limits,
		struct err *err)
{
	c->host = device_take_pinned(
		d, samplers_bytes(limits) + list_words(shape, limits) * 4, err);
	c->question = device_take_pinned(
		d, 2 * limits->max_logits * sizeof(*c->question), err);
	c->answer_host = device_take_pinned(d, answer_words(limits) * 4, err);
	return c->host && c->question && c->answer_host ? 0 : -ENOMEM;
}

/* ---- sample ---- */

/* Samplers and their lists, as they are written down. */
struct writing {
	struct choose *c;
	uint32_t *host;	     /* of the lists */
	const uint32_t *dev; /* of them, there */
	size_t words;	     /* of lists so far */
	uint32_t nr;	     /* samplers so far */
};

static struct writing begin_writing(struct ops_ctx *ctx)
{
	struct choose *c = &ctx->choose;

	return (struct writing){
		.c = c,
		.host = (uint32_t *)(void *)(c->host + ctx->limits.max_logits),
		.dev = (const uint32_t *)(const void *)(c->dev +
							ctx->limits.max_logits),
	};
}

/* @n words of @src are appended; where they are there. */
static const void *list(struct writing *w, const void *src, size_t n)
{
	const uint32_t *there = w->dev + w->words;

	assert(n <= w->c->max_words - w->words);
	if (n)
		memcpy(w->host + w->words, src, n * sizeof(*w->host));
	w->words += n;
	return there;
}

static int has_penalties(const struct sampler *s)
{
	return s->repetition != 1 || s->frequency != 0 || s->presence != 0;
}

/* What is read of the history. */
static size_t history_len(const struct step_out *o)
{
	return has_penalties(o->sampler) ? o->prompt_len + o->position : 0;
}

static size_t allowed_words(const struct sampler *s, uint32_t vocab)
{
	return s->allowed ? (vocab + 31) / 32 : 0;
}

static size_t words_of(const struct step_out *o, uint32_t vocab)
{
	const struct sampler *s = o->sampler;

	return history_len(o) + 2 * (size_t)s->nr_bias + s->nr_end_ids +
	       allowed_words(s, vocab);
}

static void write_sampler(struct writing *w, const struct step_out *o,
			  uint32_t row, uint32_t vocab)
{
	const struct sampler *s = o->sampler;

	w->c->host[w->nr++] = (struct cuda_sampler){
		.seed = s->seed,
		.temperature = s->temperature,
		.top_p = s->top_p,
		.min_p = s->min_p,
		.repetition = s->repetition,
		.frequency = s->frequency,
		.presence = s->presence,
		.top_k = s->top_k,
		.min_tokens = s->min_tokens,
		.row = row,
		.position = o->position,
		.prompt_len = o->prompt_len,
		.nr_bias = s->nr_bias,
		.nr_end_ids = s->nr_end_ids,
		.bias_ids = list(w, s->bias_ids, s->nr_bias),
		.bias = list(w, s->bias, s->nr_bias),
		.end_ids = list(w, s->end_ids, s->nr_end_ids),
		.allowed = s->allowed ? list(w, s->allowed,
					     allowed_words(s, vocab))
				      : NULL,
		.history = list(w, o->history, history_len(o)),
	};
}

/* Choose for those written down, and begin anew. */
static int run_samplers(struct ops_ctx *ctx, struct writing *w)
{
	struct choose *c = &ctx->choose;
	struct device *d = &ctx->device;
	size_t lists = samplers_bytes(&ctx->limits);
	int ret;

	if (!w->nr)
		return 0;
	if ((ret = device_send(d, c->dev, c->host, w->nr * sizeof(*c->host))) ||
	    (w->words && (ret = device_send(d, (char *)c->dev + lists, w->host,
					    w->words * sizeof(*w->host)))) ||
	    (ret = device_started(
		     d, cuda_sample(
				&(struct cuda_sample_args){
					.logits = ctx->buf.logits,
					.sampler = c->dev,
					.l = c->l,
					.count = c->count,
					.token = c->answer_dev,
					.nr_samplers = (int)w->nr,
					.vocab = (int)ctx->shape.vocab,
				},
				d->stream))))
		return ret;
	*w = begin_writing(ctx);
	return 0;
}

int op_sample_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	struct writing w = begin_writing(ctx);
	struct choose *c = &ctx->choose;
	uint32_t vocab = ctx->shape.vocab, all = 0;
	int ret;

	assert(count <= ctx->limits.max_logits);
	for (uint32_t i = 0; i < count; i++) {
		if (!outs[i].sampler)
			continue;
		if (words_of(&outs[i], vocab) > c->max_words - w.words &&
		    ((ret = run_samplers(ctx, &w)) ||
		     (ret = device_wait(&ctx->device))))
			return ret;
		write_sampler(&w, &outs[i], i, vocab);
		all++;
	}
	if (!all)
		return 0;
	if ((ret = run_samplers(ctx, &w)) ||
	    (ret = device_fetch(&ctx->device, c->answer_host, c->answer_dev,
				count * sizeof(*c->answer_host))) ||
	    (ret = device_wait(&ctx->device)))
		return ret;
	ctx->in_flight = 0;
	for (uint32_t i = 0; i < count; i++)
		if (outs[i].sampler)
			outs[i].token = c->answer_host[i];
	return 0;
}

/* ---- score ---- */

static int run_score(struct ops_ctx *ctx, uint32_t count)
{
	uint32_t *at = ctx->choose.answer_dev, rows = ctx->limits.max_logits;

	return device_started(
		&ctx->device,
		cuda_score(
			&(struct cuda_score_args){
				.logits = ctx->buf.logits,
				.token = at,
				.nr_alt = at + rows,
				.logprob = (float *)(void *)(at + 2 * rows),
				.alt_token = at + 3 * rows,
				.alt_logprob =
					(float *)(void *)(at +
							  (3 + CUDA_MAX_ALT) *
								  rows),
				.rows = (int)count,
				.vocab = (int)ctx->shape.vocab,
			},
			ctx->device.stream));
}

static void answer(const struct ops_ctx *ctx, uint32_t i, struct step_out *o)
{
	const uint32_t *at = ctx->choose.answer_host;
	uint32_t rows = ctx->limits.max_logits;
	const uint32_t *alt = at + 3 * rows + (size_t)i * CUDA_MAX_ALT;

	memcpy(&o->logprob, at + 2 * rows + i, sizeof(o->logprob));
	memcpy(o->alt_token, alt, o->nr_alt * sizeof(*alt));
	memcpy(o->alt_logprob, alt + (size_t)CUDA_MAX_ALT * rows,
	       o->nr_alt * sizeof(*alt));
}

int op_score_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	struct choose *c = &ctx->choose;
	uint32_t rows = ctx->limits.max_logits;
	int ret;

	assert(count <= rows);
	if (!count)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		assert(outs[i].nr_alt <= OPS_MAX_ALT);
		c->question[i] = outs[i].token;
		c->question[rows + i] = outs[i].nr_alt;
	}
	if ((ret = device_send(&ctx->device, c->answer_dev, c->question,
			       (rows + count) * sizeof(*c->question))) ||
	    (ret = run_score(ctx, count)) ||
	    (ret = device_fetch(&ctx->device, c->answer_host, c->answer_dev,
				answer_words(&ctx->limits) *
					sizeof(*c->answer_dev))) ||
	    (ret = device_wait(&ctx->device)))
		return ret;
	ctx->in_flight = 0;
	for (uint32_t i = 0; i < count; i++)
		answer(ctx, i, &outs[i]);
	return 0;
}
