/* SPDX-License-Identifier: MIT */
/* params.c - a request's sampling, packed as the contract's llm_params. */
#include "libclient/internal.h"

#include <errno.h>
#include <string.h>

static uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

size_t llmc_params_size(const struct llmc_request *req)
{
	size_t n = sizeof(struct llm_params), i;

	n += 4ul * req->nr_stop_ids + sizeof(struct llm_bias) * req->nr_bias +
	     4ul * req->nr_stop;
	for (i = 0; i < req->nr_stop; i++)
		n += strlen(req->stop[i]);
	return (n + 3) & ~3ul;
}

int llmc_params_check(const struct llmc_request *r)
{
	uint32_t i;

	if ((r->nr_stop && !r->stop) || (r->nr_stop_ids && !r->stop_ids) ||
	    (r->nr_bias && !r->bias))
		return llmc_fail(-EINVAL,
				 "a list of stops or biases is NULL, its "
				 "count is not 0");
	if (r->nr_stop > LLM_MAX_STOP)
		return llmc_fail(-EINVAL, "%u stop strings, allowed 0 to %u",
				 r->nr_stop, LLM_MAX_STOP);
	for (i = 0; i < r->nr_stop; i++)
		if (!r->stop[i] || !*r->stop[i] ||
		    strlen(r->stop[i]) > LLM_MAX_STOP_BYTES)
			return llmc_fail(-EINVAL,
					 "a stop string of %zu bytes, allowed "
					 "1 to %u",
					 r->stop[i] ? strlen(r->stop[i]) : 0,
					 LLM_MAX_STOP_BYTES);
	if (r->nr_stop_ids > LLM_MAX_STOP_IDS || r->nr_bias > LLM_MAX_BIAS)
		return llmc_fail(-EINVAL,
				 "%u stop ids and %u biases, allowed %u and %u",
				 r->nr_stop_ids, r->nr_bias, LLM_MAX_STOP_IDS,
				 LLM_MAX_BIAS);
	if (r->nr_alt > LLM_MAX_ALT)
		return llmc_fail(-EINVAL, "%u alternatives, allowed 0 to %u",
				 r->nr_alt, LLM_MAX_ALT);
	return 0;
}

void llmc_params_write(const struct llmc_request *req, uint8_t *buf,
		       size_t size)
{
	struct llm_params p = {
		.size = sizeof(p),
		.set = req->set,
		.flags = req->params_flags,
		.top_k = req->top_k,
		.seed = req->seed,
		.temperature_bits = bits(req->temperature),
		.top_p_bits = bits(req->top_p),
		.min_p_bits = bits(req->min_p),
		.repetition_bits = bits(req->repetition_penalty),
		.frequency_bits = bits(req->frequency_penalty),
		.presence_bits = bits(req->presence_penalty),
		.min_tokens = req->min_tokens,
		.nr_alt = req->nr_alt,
		.nr_stop_ids = req->nr_stop_ids,
		.nr_bias = req->nr_bias,
		.nr_stop = req->nr_stop,
	};
	uint8_t *at = buf;
	uint32_t i, n;

	memset(buf, 0, size);
	memcpy(at, &p, sizeof(p));
	at += sizeof(p);
	if (req->nr_stop_ids)
		memcpy(at, req->stop_ids, 4ul * req->nr_stop_ids);
	at += 4ul * req->nr_stop_ids;
	if (req->nr_bias)
		memcpy(at, req->bias, sizeof(*req->bias) * req->nr_bias);
	at += sizeof(*req->bias) * req->nr_bias;
	for (i = 0; i < req->nr_stop; i++, at += 4) {
		n = (uint32_t)strlen(req->stop[i]);
		memcpy(at, &n, 4);
	}
	for (i = 0; i < req->nr_stop; i++) {
		n = (uint32_t)strlen(req->stop[i]);
		memcpy(at, req->stop[i], n);
		at += n;
	}
}
