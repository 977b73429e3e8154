/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/choose.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/place.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

_Static_assert(CUDA_MAX_ALT == OPS_MAX_ALT, "one limit of alternatives");

#define WORDS_EACH 1024u /* lists of a usual request */

/*
 * On the device all lies in one run of words, so that one copy brings what is
 * asked and one takes what is answered.  Of max_logits outputs, in turn:
 *	logprobs of alternatives, alternatives	answered: CUDA_MAX_ALT of each
 *	logprob					answered
 *	token					both: to be judged, or chosen
 *	nr_alt					asked
 *	samplers, then their lists		asked
 */
static size_t at_logprob(uint32_t rows)
{
	return 2 * CUDA_MAX_ALT * (size_t)rows;
}

static size_t at_token(uint32_t rows)
{
	return at_logprob(rows) + rows;
}

static size_t at_nr_alt(uint32_t rows)
{
	return at_token(rows) + rows;
}

static size_t at_samplers(uint32_t rows)
{
	return (at_nr_alt(rows) + rows + 1) / 2 * 2; /* they have pointers */
}

static size_t at_lists(uint32_t rows)
{
	return at_samplers(rows) + rows * (sizeof(struct cuda_sampler) / 4);
}

/* Words of lists: of one sampler the longest that there may be, of all some. */
static size_t list_words(const struct ops_shape *s, const struct ops_limits *l)
{
	return l->max_context + 4 * (size_t)s->vocab +
	       (size_t)l->max_logits * WORDS_EACH;
}

static size_t all_words(const struct ops_shape *s, const struct ops_limits *l)
{
	return at_lists(l->max_logits) + list_words(s, l);
}

void choose_place(struct place *p, const struct ops_shape *s,
		  const struct ops_limits *l, struct choose *ret)
{
	size_t logits = (size_t)l->max_logits * s->vocab;

	*ret = (struct choose){
		.dev = place_take(p, all_words(s, l) * sizeof(*ret->dev)),
		.max_words = list_words(s, l),
		.l = place_take(p, logits * sizeof(*ret->l)),
		.count = place_take(p, logits * sizeof(*ret->count)),
	};
}

int choose_open(struct choose *c, struct device *d,
		const struct ops_shape *shape, const struct ops_limits *limits,
		struct err *err)
{
	uint32_t rows = limits->max_logits;

	c->host = device_take_pinned(
		d, all_words(shape, limits) * sizeof(*c->host), err);
	c->answer = device_take_pinned(d, at_nr_alt(rows) * sizeof(*c->answer),
				       err);
	return c->host && c->answer ? 0 : -ENOMEM;
}

/* Words [first, end) of the questions to the device. */
static int send(struct ops_ctx *ctx, size_t first, size_t end)
{
	struct choose *c = &ctx->choose;

	return device_send(&ctx->device, c->dev + first, c->host + first,
			   (end - first) * sizeof(*c->host));
}

/* What is asked of each output but by samplers. */
static void ask(struct ops_ctx *ctx, const struct step_out *outs,
		uint32_t count)
{
	uint32_t rows = ctx->limits.max_logits;
	struct choose *c = &ctx->choose;

	for (uint32_t i = 0; i < count; i++) {
		assert(outs[i].nr_alt <= OPS_MAX_ALT);
		c->host[at_token(rows) + i] = outs[i].token;
		c->host[at_nr_alt(rows) + i] = outs[i].nr_alt;
	}
}

/* ---- sample ---- */

/* Samplers and their lists, as they are written down. */
struct writing {
	struct cuda_sampler *sampler;
	uint32_t *host;	     /* of the lists */
	const uint32_t *dev; /* of them, there */
	size_t words, max;   /* of lists so far; at most */
	uint32_t nr;	     /* samplers so far */
};

static struct writing begin_writing(struct ops_ctx *ctx)
{
	uint32_t rows = ctx->limits.max_logits;
	struct choose *c = &ctx->choose;

	return (struct writing){
		.sampler = (void *)(c->host + at_samplers(rows)),
		.host = c->host + at_lists(rows),
		.dev = c->dev + at_lists(rows),
		.max = c->max_words,
	};
}

/* @n words of @src are appended; where they are there. */
static const void *list(struct writing *w, const void *src, size_t n)
{
	const uint32_t *there = w->dev + w->words;

	assert(n <= w->max - w->words);
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

	w->sampler[w->nr++] = (struct cuda_sampler){
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

/* Choose for those written down, and begin anew; @first: of what is sent. */
static int run_samplers(struct ops_ctx *ctx, struct writing *w, size_t first)
{
	uint32_t rows = ctx->limits.max_logits;
	struct choose *c = &ctx->choose;
	size_t end = at_lists(rows) + w->words;
	int ret;

	if (!w->words)
		end = at_samplers(rows) + w->nr * (sizeof(*w->sampler) / 4);
	ret = send(ctx, first, end);
	if (!ret && w->nr)
		ret = device_started(
			&ctx->device,
			cuda_sample(
				&(struct cuda_sample_args){
					.logits = ctx->buf.logits,
					.sampler = (void *)(c->dev +
							    at_samplers(rows)),
					.l = c->l,
					.count = c->count,
					.token = c->dev + at_token(rows),
					.nr_samplers = (int)w->nr,
					.vocab = (int)ctx->shape.vocab,
				},
				ctx->device.stream));
	*w = begin_writing(ctx);
	return ret;
}

int op_sample_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	uint32_t rows = ctx->limits.max_logits, vocab = ctx->shape.vocab;
	struct writing w = begin_writing(ctx);
	size_t first = at_token(rows);
	int ret;

	assert(count <= rows && !ctx->choose.asked);
	if (!count)
		return 0;
	ask(ctx, outs, count);
	for (uint32_t i = 0; i < count; i++) {
		if (!outs[i].sampler)
			continue;
		if (words_of(&outs[i], vocab) > w.max - w.words) {
			if ((ret = run_samplers(ctx, &w, first)) ||
			    (ret = device_wait(&ctx->device)))
				return ret;
			/* what was chosen stays */
			first = at_samplers(rows);
		}
		write_sampler(&w, &outs[i], i, vocab);
	}
	ctx->choose.asked = count;
	return run_samplers(ctx, &w, first);
}

/* ---- score ---- */

static int run_score(struct ops_ctx *ctx, uint32_t count)
{
	uint32_t *at = ctx->choose.dev, rows = ctx->limits.max_logits;

	return device_started(
		&ctx->device,
		cuda_score(
			&(struct cuda_score_args){
				.logits = ctx->buf.logits,
				.token = at + at_token(rows),
				.nr_alt = at + at_nr_alt(rows),
				.logprob = (float *)(void *)(at +
							     at_logprob(rows)),
				.alt_token = at + at_logprob(rows) / 2,
				.alt_logprob = (float *)(void *)at,
				.rows = (int)count,
				.vocab = (int)ctx->shape.vocab,
			},
			ctx->device.stream));
}

/* All answers, or from words @first on; the device has nothing to do then. */
static int fetch(struct ops_ctx *ctx, size_t first)
{
	size_t end = at_nr_alt(ctx->limits.max_logits);
	struct choose *c = &ctx->choose;
	int ret = device_fetch(&ctx->device, c->answer + first, c->dev + first,
			       (end - first) * sizeof(*c->answer));

	if (!ret)
		ret = device_wait(&ctx->device);
	if (!ret)
		image_landed(&ctx->image);
	return ret;
}

static void answer(const struct ops_ctx *ctx, uint32_t i, struct step_out *o)
{
	const uint32_t *at = ctx->choose.answer;
	uint32_t rows = ctx->limits.max_logits;
	size_t alt = (size_t)i * CUDA_MAX_ALT;

	if (o->sampler)
		o->token = at[at_token(rows) + i];
	memcpy(&o->logprob, at + at_logprob(rows) + i, sizeof(o->logprob));
	memcpy(o->alt_token, at + at_logprob(rows) / 2 + alt,
	       o->nr_alt * sizeof(*at));
	memcpy(o->alt_logprob, at + alt, o->nr_alt * sizeof(*at));
}

int op_score_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	uint32_t rows = ctx->limits.max_logits, nr_alt = 0;
	struct choose *c = &ctx->choose;
	int ret = 0;

	assert(count <= rows && (!c->asked || c->asked == count));
	if (!count)
		return 0;
	if (!c->asked) {
		ask(ctx, outs, count);
		ret = send(ctx, at_token(rows), at_samplers(rows));
	}
	c->asked = 0;
	for (uint32_t i = 0; i < count; i++)
		nr_alt += outs[i].nr_alt;
	if (ret || (ret = run_score(ctx, count)) ||
	    (ret = fetch(ctx, nr_alt ? 0 : at_logprob(rows))))
		return ret;
	for (uint32_t i = 0; i < count; i++)
		answer(ctx, i, &outs[i]);
	return 0;
}
