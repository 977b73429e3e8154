/* SPDX-License-Identifier: MIT */
/* score.c - raw log probabilities: of the token at hand, of the likeliest. */
#include "kernels/ref/ref.h"

#include "kernels/expf.h"
#include "kernels/host.h"
#include "kernels/logits.h"
#include "kernels/noise.h"

#include <assert.h>
#include <math.h>

static float logprob(float l, float max, double log_sum)
{
	return l == -INFINITY ? -INFINITY
			      : (float)((double)l - (double)max - log_sum);
}

static void judge(struct step_out *o, const float *logits, uint32_t vocab)
{
	float max = -INFINITY;
	uint64_t sum = 0, after = 0;
	double log_sum;

	for (uint32_t i = 0; i < vocab; i++)
		max = fmaxf(max, logits_clean(logits[i]));
	for (uint32_t i = 0; i < vocab && max > -INFINITY; i++)
		sum += exp_mass(exp_neg(logits_clean(logits[i]) - max));
	log_sum = sum ? noise_log((double)sum * 0x1p-40) : 0;
	o->logprob = o->token < vocab ? logprob(logits_clean(logits[o->token]),
						max, log_sum)
				      : -INFINITY;
	for (uint32_t a = 0; a < o->nr_alt; a++) {
		uint64_t best = UINT64_MAX; /* the next in order */

		for (uint32_t i = 0; i < vocab; i++) {
			uint64_t key = logits_key(logits_clean(logits[i]), i);

			if (key < best && (!a || key > after))
				best = key;
		}
		if (best == UINT64_MAX) {
			o->alt_token[a] = 0;
			o->alt_logprob[a] = -INFINITY;
			continue;
		}
		after = best;
		o->alt_token[a] = (uint32_t)best;
		o->alt_logprob[a] = logprob(
			logits_clean(logits[(uint32_t)best]), max, log_sum);
	}
}

int op_score_ref(struct ops_ctx *ctx, struct step_out *outs, uint32_t count)
{
	assert(count <= ctx->limits.max_logits);
	for (uint32_t i = 0; i < count; i++) {
		assert(outs[i].nr_alt <= OPS_MAX_ALT);
		judge(&outs[i], host_row(&ctx->buf[OPS_LOGITS], i),
		      ctx->shape.vocab);
	}
	return 0;
}
