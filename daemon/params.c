/* SPDX-License-Identifier: MIT */
#include "daemon/params.h"
#include "base/err.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"
#include "text/stop.h"
#include "text/utf8.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

static_assert(STOP_NR_MAX == LLM_MAX_STOP, "stops of a request");
static_assert(STOP_SIZE_MAX == LLM_MAX_STOP_BYTES, "bytes of a stop");
static_assert(MAX_ALT == LLM_MAX_ALT, "alternatives of a row");

static float single(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* One row a number: written so that NaN is outside every range. */
static int check_number(const char *name, uint32_t bits, float min, float max,
			bool open, struct err *err)
{
	float f = single(bits);

	if (f >= min && f <= max && !(open && f == min))
		return 0;
	return err_set(err, -EINVAL, "%s %g, allowed %s%g to %g", name,
		       (double)f, open ? "over " : "", (double)min,
		       (double)max);
}

static int check_numbers(const struct llm_params *h, struct err *err)
{
	const struct {
		uint32_t set; /* counts where this bit stands; 0 = always */
		const char *name;
		uint32_t bits;
		float min, max;
		bool open; /* min itself is not allowed */
	} t[] = {
		{ LLM_SET_TEMPERATURE, "temperature", h->temperature_bits, 0,
		  100, false },
		{ LLM_SET_TOP_P, "top_p", h->top_p_bits, 0, 1, true },
		{ LLM_SET_MIN_P, "min_p", h->min_p_bits, 0, 1, false },
		{ LLM_SET_REPETITION, "repetition penalty", h->repetition_bits,
		  0, 10, true },
		{ 0, "frequency penalty", h->frequency_bits, -2, 2, false },
		{ 0, "presence penalty", h->presence_bits, -2, 2, false },
	};
	size_t i;
	int ret;

	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		if (t[i].set && !(h->set & t[i].set))
			continue;
		ret = check_number(t[i].name, t[i].bits, t[i].min, t[i].max,
				   t[i].open, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* Flags, counts and reserved words: after this the tail's sizes are sane. */
static int check_head(const struct llm_params *h,
		      const struct model_info *model, struct err *err)
{
	size_t i;

	if (h->set & ~LLM_SET_ALL)
		return err_set(err, -EINVAL,
			       "params.set 0x%x has unknown bits, known 0x%x",
			       h->set, LLM_SET_ALL);
	if (h->flags & ~LLM_PARAMS_F_ALL)
		return err_set(err, -EINVAL,
			       "params.flags 0x%x has unknown bits, known 0x%x",
			       h->flags, LLM_PARAMS_F_ALL);
	for (i = 0; i < sizeof(h->resv) / sizeof(*h->resv); i++)
		if (h->resv[i])
			return err_set(err, -EINVAL,
				       "params.resv[%zu] is 0x%x, allowed 0", i,
				       h->resv[i]);
	if (h->nr_alt > LLM_MAX_ALT)
		return err_set(err, -EINVAL, "%u alternatives, allowed 0 to %u",
			       h->nr_alt, LLM_MAX_ALT);
	if (h->nr_stop_ids > LLM_MAX_STOP_IDS)
		return err_set(err, -EINVAL, "%u stop ids, allowed 0 to %u",
			       h->nr_stop_ids, LLM_MAX_STOP_IDS);
	if (h->nr_bias > LLM_MAX_BIAS)
		return err_set(err, -EINVAL, "%u biases, allowed 0 to %u",
			       h->nr_bias, LLM_MAX_BIAS);
	if (h->nr_stop > LLM_MAX_STOP)
		return err_set(err, -EINVAL, "%u stop strings, allowed 0 to %u",
			       h->nr_stop, LLM_MAX_STOP);
	if (h->set & LLM_SET_TOP_K && h->top_k > model->vocab)
		return err_set(err, -EINVAL, "top_k %u, allowed 0 to %u",
			       h->top_k, model->vocab);
	return check_numbers(h, err);
}

static int check_stops(struct params *p, const uint8_t *tail, size_t size,
		       struct err *err)
{
	const struct llm_params *h = &p->head;
	size_t at = 0, i;

	for (i = 0; i < h->nr_stop; i++) {
		uint32_t len = p->stop_len[i];

		if (!len || len > LLM_MAX_STOP_BYTES)
			return err_set(
				err, -EINVAL,
				"stop string %zu has %u bytes, allowed 1 to %u",
				i, len, LLM_MAX_STOP_BYTES);
		if (len > size - at)
			return err_set(
				err, -EINVAL,
				"stop string %zu has %u bytes, %zu are there",
				i, len, size - at);
		if (utf8_valid(tail + at, len) != len)
			return err_set(err, -EINVAL,
				       "stop string %zu is not UTF-8", i);
		at += len;
	}
	p->stop_total = (uint32_t)at;
	if (size - at >= 4)
		return err_set(
			err, -EINVAL,
			"%zu bytes behind the parameters, allowed 0 to 3",
			size - at);
	for (; at < size; at++)
		if (tail[at])
			return err_set(
				err, -EINVAL,
				"padding behind the parameters is not 0");
	return 0;
}

static int check_tail(struct params *p, const uint8_t *tail, size_t size,
		      const struct model_info *model, struct err *err)
{
	const struct llm_params *h = &p->head;
	size_t fixed = 4 * (size_t)h->nr_stop_ids + 8 * (size_t)h->nr_bias +
		       4 * (size_t)h->nr_stop;
	uint32_t i;
	int ret;

	if (fixed > size)
		return err_set(
			err, -EINVAL,
			"lists of the parameters need %zu bytes, %zu are "
			"there",
			fixed, size);
	p->stop_ids = (const uint32_t *)tail;
	p->bias = (const struct llm_bias *)(p->stop_ids + h->nr_stop_ids);
	p->stop_len = (const uint32_t *)(p->bias + h->nr_bias);
	p->stop_bytes = tail + fixed;
	for (i = 0; i < h->nr_stop_ids; i++)
		if (p->stop_ids[i] >= model->vocab)
			return err_set(err, -EINVAL,
				       "stop id %u is %d, allowed 0 to %u", i,
				       (int32_t)p->stop_ids[i],
				       model->vocab - 1);
	for (i = 0; i < h->nr_bias; i++) {
		if (p->bias[i].token >= model->vocab)
			return err_set(err, -EINVAL,
				       "bias %u is for id %d, allowed 0 to %u",
				       i, (int32_t)p->bias[i].token,
				       model->vocab - 1);
		ret = check_number("bias", p->bias[i].bias_bits, -100, 100,
				   false, err);
		if (ret)
			return ret;
	}
	return check_stops(p, tail + fixed, size - fixed, err);
}

int params_read(struct params *ret, const void *buf, uint32_t size,
		const struct model_info *model, bool has_text, struct err *err)
{
	static const struct llm_params none = { .size = sizeof(none) };
	struct params p = { .head = none };
	const uint8_t *b = buf;
	uint32_t head = sizeof(none), i;
	int r;

	if (!size) {
		*ret = p;
		return 0;
	}
	if (size < 4 || size % 4 || size > PARAMS_MAX)
		return err_set(err, -EINVAL,
			       "parameters of %u bytes, allowed multiples of 4 "
			       "up to %u",
			       size, PARAMS_MAX);
	memcpy(&head, b, sizeof(head));
	if (head < 4 || head % 8 || head > size || head > PARAMS_HEAD_MAX)
		return err_set(err, -EINVAL,
			       "params.size %u in %u bytes, allowed multiples "
			       "of 8 up to %u",
			       head, size, PARAMS_HEAD_MAX);
	for (i = sizeof(p.head); i < head; i++)
		if (b[i])
			return err_set(
				err, -E2BIG,
				"params.size %u has fields unknown here, "
				"known %zu bytes",
				head, sizeof(p.head));
	/* a shorter struct is filled up with zeroes */
	memset(&p.head, 0, sizeof(p.head));
	memcpy(&p.head, b, head < sizeof(p.head) ? head : sizeof(p.head));
	r = check_head(&p.head, model, err);
	if (!r)
		r = check_tail(&p, b + head, size - head, model, err);
	if (r)
		return r;
	if (p.head.nr_stop && !has_text)
		return err_set(err, -EOPNOTSUPP,
			       "stop strings need a tokenizer, this model has "
			       "none");
	*ret = p;
	return 0;
}

size_t params_work_size(const struct params *p)
{
	size_t n = 4 * ((size_t)MODEL_MAX_EOS + p->head.nr_stop_ids) +
		   8 * (size_t)p->head.nr_bias;

	n = (n + 15) & ~(size_t)15;
	n += stop_set_size(p->stop_total);
	return (n + 15) & ~(size_t)15;
}

static void resolve_stops(const struct params *p, void *mem,
			  struct stop_set *ret)
{
	struct stop_string s[LLM_MAX_STOP];
	const uint8_t *at = p->stop_bytes;
	uint32_t i;
	int r;

	for (i = 0; i < p->head.nr_stop; i++) {
		s[i] = (struct stop_string){ at, p->stop_len[i] };
		at += p->stop_len[i];
	}
	r = stop_set_init(ret, s, p->head.nr_stop, mem,
			  stop_set_size(p->stop_total), NULL);
	assert(!r); /* params_read() has checked what it checks */
	(void)r;
}

void params_resolve(const struct params *p, const struct model_info *model,
		    uint64_t seed, void *work, struct sampling *ret,
		    struct stop_set *ret_stop)
{
	const struct llm_params *h = &p->head;
	uint32_t *end_ids = work, nr_end = 0, i;
	uint32_t *bias_ids = end_ids + MODEL_MAX_EOS + h->nr_stop_ids;
	float *bias = (float *)(bias_ids + h->nr_bias);
	uintptr_t stops = ((uintptr_t)(bias + h->nr_bias) + 15) &
			  ~(uintptr_t)15;

	*ret = (struct sampling){
		.seed = seed,
		.temperature = model->temperature,
		.top_p = model->top_p > 0 ? model->top_p : 1,
		.min_p = model->min_p,
		.repetition_penalty = model->repetition_penalty > 0
					      ? model->repetition_penalty
					      : 1,
		.frequency_penalty = single(h->frequency_bits),
		.presence_penalty = single(h->presence_bits),
		.top_k = model->top_k,
		.min_tokens = h->min_tokens,
		.bias_ids = bias_ids,
		.bias = bias,
		.end_ids = end_ids,
	};
	if (h->set & LLM_SET_TEMPERATURE)
		ret->temperature = single(h->temperature_bits);
	if (h->set & LLM_SET_TOP_P)
		ret->top_p = single(h->top_p_bits);
	if (h->set & LLM_SET_MIN_P)
		ret->min_p = single(h->min_p_bits);
	if (h->set & LLM_SET_REPETITION)
		ret->repetition_penalty = single(h->repetition_bits);
	if (h->set & LLM_SET_TOP_K)
		ret->top_k = h->top_k;
	if (!(h->flags & LLM_PARAMS_F_IGNORE_EOS))
		for (i = 0; i < model->nr_eos; i++)
			end_ids[nr_end++] = model->eos[i];
	for (i = 0; i < h->nr_stop_ids; i++)
		end_ids[nr_end++] = p->stop_ids[i];
	ret->nr_end_ids = nr_end;
	for (i = 0; i < h->nr_bias; i++) {
		bias_ids[i] = p->bias[i].token;
		bias[i] = single(p->bias[i].bias_bits);
	}
	ret->nr_bias = h->nr_bias;
	resolve_stops(p, (void *)stops, ret_stop);
}
