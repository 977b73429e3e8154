/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/choose.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/place.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

_Static_assert(CUDA_MAX_ALT == OPS_MAX_ALT, "one limit of alternatives");

_Static_assert(CUDA_LATE == OPS_LATE, "one name of what is not known yet");

#define WORDS_EACH 1024u /* lists of a usual request */

/*
 * On the device two runs of words.  Answers, of max_rows outputs in turn:
 *	logprobs of alternatives	CUDA_MAX_ALT of each
 *	alternatives			CUDA_MAX_ALT of each
 *	logprob
 *	token				chosen; or asked: to be judged
 * and what is asked besides, a sheet: of max_logits outputs
 *	nr_alt
 *	samplers, then their lists
 * Sheets follow each other in a flight's pinned memory, each in its place on the
 * device once the one before was read: so the host waits for none of them.
 */
static size_t at_alt(uint32_t rows)
{
	return CUDA_MAX_ALT * (size_t)rows;
}

static size_t at_logprob(uint32_t rows)
{
	return 2 * at_alt(rows);
}

static size_t at_token(uint32_t rows)
{
	return at_logprob(rows) + rows;
}

static size_t at_end(uint32_t rows)
{
	return at_token(rows) + rows;
}

static size_t even(size_t words)
{
	return (words + 1) / 2 * 2;
}

static size_t at_samplers(uint32_t logits)
{
	return even(logits); /* they have pointers */
}

static size_t at_lists(uint32_t logits)
{
	return at_samplers(logits) + logits * (sizeof(struct cuda_sampler) / 4);
}

/* Words of lists: of one sampler the longest that there may be, of all some. */
static size_t list_words(const struct ops_shape *s, const struct ops_limits *l,
			 uint32_t samplers)
{
	return l->max_context + 4 * (size_t)s->vocab +
	       (size_t)samplers * WORDS_EACH;
}

static size_t sheet_words(const struct ops_shape *s, const struct ops_limits *l)
{
	return at_lists(l->max_logits) + list_words(s, l, l->max_logits);
}

/* Of a flight: tokens to be judged, and a sheet for each portion of rows. */
static size_t flight_words(const struct ops_shape *s,
			   const struct ops_limits *l)
{
	uint32_t n = (l->max_rows + l->max_logits - 1) / l->max_logits;

	return n * (at_lists(l->max_logits) + even(l->max_logits)) +
	       list_words(s, l, l->max_rows);
}

void choose_place(struct place *p, const struct ops_shape *s,
		  const struct ops_limits *l, struct choose *ret)
{
	size_t logits = (size_t)l->max_logits * s->vocab;

	*ret = (struct choose){
		.answer = place_take(p, at_end(l->max_rows) *
						sizeof(*ret->answer)),
		.question = place_take(p, sheet_words(s, l) *
						  sizeof(*ret->question)),
		.l = place_take(p, logits * sizeof(*ret->l)),
		.count = place_take(p, logits * sizeof(*ret->count)),
		.max_words = flight_words(s, l),
	};
}

int choose_open(struct choose *c, struct device *d,
		const struct ops_shape *shape, const struct ops_limits *limits,
		struct err *err)
{
	for (uint32_t i = 0; i < OPS_STEPS; i++) {
		struct flight *f = &c->flight[i];

		f->host = device_take_pinned(d, c->max_words * sizeof(*f->host),
					     err);
		f->answer = device_take_pinned(
			d, at_end(limits->max_rows) * sizeof(*f->answer), err);
		if (!f->host || !f->answer)
			return -ENOMEM;
		f->done = device_take_event(d, err);
		if (!f->done)
			return -EIO;
	}
	return 0;
}

const uint32_t *choose_late(const struct ops_ctx *ctx)
{
	return ctx->choose.answer + at_token(ctx->limits.max_rows);
}

/* The flight of the step at hand. */
static struct flight *flight_of(struct ops_ctx *ctx)
{
	struct flight *f = &ctx->choose.flight[ctx->choose.next];

	assert(!f->in_flight); /* it was collected */
	return f;
}

/*
 * @n words of its pinned memory, at an even place, which the next ones that are
 * taken begin behind.  Where it has no more, all that was sent lands first.
 */
static int take_words(struct ops_ctx *ctx, size_t n, uint32_t **ret)
{
	struct choose *c = &ctx->choose;
	int r;

	assert(n <= c->max_words);
	if (n > c->max_words - c->words) {
		r = device_wait(&ctx->device);
		if (r)
			return r;
		c->words = 0;
	}
	*ret = flight_of(ctx)->host + c->words;
	c->words += even(n);
	return 0;
}

/* Tokens that are to be judged to where the others will be chosen. */
static int send_tokens(struct ops_ctx *ctx, const struct step_out *outs,
		       uint32_t count)
{
	uint32_t *host, *dev, i, judged = 0;
	int ret;

	for (i = 0; i < count; i++)
		judged += !outs[i].sampler;
	if (!judged)
		return 0;
	ret = take_words(ctx, count, &host);
	if (ret)
		return ret;
	for (i = 0; i < count; i++)
		host[i] = outs[i].token;
	dev = ctx->choose.answer + at_token(ctx->limits.max_rows) +
	      ctx->choose.nr;
	return device_send(&ctx->device, dev, host, count * sizeof(*host));
}

/* ---- sample ---- */

/* Samplers and their lists, as they are written down. */
struct writing {
	struct cuda_sampler *sampler;
	uint32_t *host;	     /* of the lists */
	const uint32_t *dev; /* of them, there */
	size_t words;	     /* of lists so far */
	uint32_t nr;	     /* samplers so far */
};

/* @n words of @src are appended; where they are there. */
static const void *list(struct writing *w, const void *src, size_t n)
{
	const uint32_t *there = w->dev + w->words;

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

	if (!s)
		return 0;
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

static int run_sample(struct ops_ctx *ctx, uint32_t nr)
{
	uint32_t logits = ctx->limits.max_logits;
	struct choose *c = &ctx->choose;

	return device_started(
		&ctx->device,
		cuda_sample(
			&(struct cuda_sample_args){
				.logits = ctx->buf.logits,
				.sampler = (void *)(c->question +
						    at_samplers(logits)),
				.l = c->l,
				.count = c->count,
				.token = c->answer +
					 at_token(ctx->limits.max_rows) + c->nr,
				.nr_samplers = (int)nr,
				.vocab = (int)ctx->shape.vocab,
			},
			ctx->device.stream));
}

/*
 * A sheet: what is asked of all @count outputs, and the samplers of those from
 * @from to @to, whose lists have @words.
 */
static int run_sheet(struct ops_ctx *ctx, const struct step_out *outs,
		     uint32_t count, uint32_t from, uint32_t to, size_t words)
{
	uint32_t logits = ctx->limits.max_logits, *host, i;
	struct choose *c = &ctx->choose;
	struct writing w = { .dev = c->question + at_lists(logits) };
	size_t end = count;
	int ret = take_words(ctx, at_lists(logits) + words, &host);

	if (ret)
		return ret;
	w.sampler = (void *)(host + at_samplers(logits));
	w.host = host + at_lists(logits);
	for (i = 0; i < count; i++)
		host[i] = outs[i].nr_alt;
	for (i = from; i < to; i++)
		if (outs[i].sampler)
			write_sampler(&w, &outs[i], i, ctx->shape.vocab);
	assert(w.words == words);
	if (w.nr)
		end = at_samplers(logits) + w.nr * (sizeof(*w.sampler) / 4);
	if (words)
		end = at_lists(logits) + words;
	ret = device_send(&ctx->device, c->question, host, end * sizeof(*host));
	return ret || !w.nr ? ret : run_sample(ctx, w.nr);
}

int op_sample_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	uint32_t logits = ctx->limits.max_logits, vocab = ctx->shape.vocab;
	size_t room = list_words(&ctx->shape, &ctx->limits, logits);
	uint32_t from = 0, to = 0;
	int ret;

	assert(count <= logits && !ctx->choose.asked);
	assert(count <= ctx->limits.max_rows - ctx->choose.nr);
	if (!count)
		return 0;
	ret = send_tokens(ctx, outs, count);
	for (; to < count && !ret; from = to) {
		size_t words = 0;

		for (; to < count; to++) {
			size_t more = words_of(&outs[to], vocab);

			assert(outs[to].nr_alt <= OPS_MAX_ALT);
			assert(more <= room);
			if (more > room - words)
				break;
			words += more;
		}
		ret = run_sheet(ctx, outs, count, from, to, words);
	}
	ctx->choose.asked = count;
	return ret;
}

/* ---- score ---- */

int op_score_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	uint32_t rows = ctx->limits.max_rows;
	struct choose *c = &ctx->choose;
	uint32_t *at = c->answer, first = c->nr;
	size_t alt = (size_t)first * CUDA_MAX_ALT;

	assert(c->asked == count);
	if (!count)
		return 0;
	c->asked = 0;
	c->nr += count;
	return device_started(
		&ctx->device,
		cuda_score(
			&(struct cuda_score_args){
				.logits = ctx->buf.logits,
				.token = at + at_token(rows) + first,
				.nr_alt = c->question,
				.logprob = (float *)(void *)(at +
							     at_logprob(rows) +
							     first),
				.alt_token = at + at_alt(rows) + alt,
				.alt_logprob = (float *)(void *)(at + alt),
				.rows = (int)count,
				.vocab = (int)ctx->shape.vocab,
			},
			ctx->device.stream));
}

/* ---- the end of a step ---- */

/* Words [first, first + n) of the answers to the host. */
static int fetch(struct ops_ctx *ctx, size_t first, size_t n)
{
	struct choose *c = &ctx->choose;

	return device_fetch(&ctx->device, flight_of(ctx)->answer + first,
			    c->answer + first, n * sizeof(*c->answer));
}

int op_end_step_cuda(struct ops_ctx *ctx, const struct step_out *outs,
		     uint32_t count)
{
	uint32_t rows = ctx->limits.max_rows, nr_alt = 0, i;
	struct flight *f = flight_of(ctx);
	struct choose *c = &ctx->choose;
	size_t alts = (size_t)count * CUDA_MAX_ALT;
	int ret = 0;

	assert(count == c->nr && !c->asked);
	for (i = 0; i < count; i++)
		nr_alt += outs[i].nr_alt;
	if (count)
		ret = fetch(ctx, at_logprob(rows), rows + (size_t)count);
	if (nr_alt && !ret)
		ret = fetch(ctx, 0, alts);
	if (nr_alt && !ret)
		ret = fetch(ctx, at_alt(rows), alts);
	if (!ret)
		ret = device_record(&ctx->device, f->done);
	f->image = image_last(&ctx->image);
	f->in_flight = 1;
	c->next = (c->next + 1) % (int)OPS_STEPS;
	c->nr_before = count;
	c->words = c->nr = 0;
	return ret;
}

static void answer(const struct ops_ctx *ctx, const struct flight *f,
		   uint32_t i, struct step_out *o)
{
	const uint32_t *at = f->answer;
	uint32_t rows = ctx->limits.max_rows;
	size_t alt = (size_t)i * CUDA_MAX_ALT;

	if (o->sampler)
		o->token = at[at_token(rows) + i];
	memcpy(&o->logprob, at + at_logprob(rows) + i, sizeof(o->logprob));
	memcpy(o->alt_token, at + at_alt(rows) + alt, o->nr_alt * sizeof(*at));
	memcpy(o->alt_logprob, at + alt, o->nr_alt * sizeof(*at));
}

int op_collect_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	struct choose *c = &ctx->choose;
	struct flight *f = &c->flight[c->oldest];
	int ret;

	assert(f->in_flight);
	ret = device_wait_for(&ctx->device, f->done);
	if (ret)
		return ret;
	image_landed(&ctx->image, f->image);
	f->in_flight = 0;
	c->oldest = (c->oldest + 1) % (int)OPS_STEPS;
	for (uint32_t i = 0; i < count; i++)
		answer(ctx, f, i, &outs[i]);
	return 0;
}
