/* SPDX-License-Identifier: MIT */
#include "kernels/logits.h"

#include "kernels/ops.h"

#define IN_PROMPT 0x80000000u

static void add_bias(float *l, uint32_t vocab, const struct sampler *s)
{
	for (uint32_t i = 0; i < s->nr_bias; i++) {
		uint32_t id = s->bias_ids[i];

		if (id < vocab)
			l[id] = logits_biased(l[id], s->bias[i]);
	}
}

static void add_penalties(float *l, uint32_t vocab, const struct step_out *o,
			  uint32_t *count)
{
	uint32_t len = o->prompt_len + o->position;
	const struct sampler *s = o->sampler;

	for (uint32_t i = 0; i < len; i++)
		if (o->history[i] < vocab) {
			if (i < o->prompt_len)
				count[o->history[i]] |= IN_PROMPT;
			else
				count[o->history[i]]++;
		}
	for (uint32_t i = 0; i < len; i++) {
		uint32_t id = o->history[i];

		if (id >= vocab || !count[id])
			continue; /* done at its first place */
		l[id] = logits_penalized(l[id], s->repetition, s->frequency,
					 s->presence, count[id] & ~IN_PROMPT);
		count[id] = 0;
	}
}

void logits_adjust(float *l, uint32_t vocab, const struct step_out *o,
		   uint32_t *count)
{
	const struct sampler *s = o->sampler;

	for (uint32_t i = 0; s->allowed && i < vocab; i++)
		if (!(s->allowed[i / 32] >> (i % 32) & 1))
			l[i] = -INFINITY;
	add_bias(l, vocab, s);
	for (uint32_t i = 0; o->position < s->min_tokens && i < s->nr_end_ids;
	     i++)
		if (s->end_ids[i] < vocab)
			l[s->end_ids[i]] = -INFINITY;
	if (s->repetition != 1 || s->frequency != 0 || s->presence != 0)
		add_penalties(l, vocab, o, count);
}
