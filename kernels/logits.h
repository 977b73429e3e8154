/* SPDX-License-Identifier: MIT */
/*
 * logits.h - the parts of sampling and scoring that touch few ids, written
 * once for all host op sets: steps 0 to 5 of struct sampler, and the order
 * of tokens.
 */
#ifndef KERNELS_LOGITS_H
#define KERNELS_LOGITS_H

#include "kernels/device.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

struct step_out;

#define LOGITS_GREEDY 1e-5f /* temperatures below this choose the largest */

/* Step 0: a logit that can be compared. */
DEVICE_TOO float logits_clean(float l)
{
	if (l != l)
		return -INFINITY;
	return l > FLT_MAX ? FLT_MAX : l;
}

/*
 * A key whose ascending order as an integer is: larger l first, then lower
 * id.  -0 and +0 are the same logit.
 */
DEVICE_TOO uint64_t logits_key(float l, uint32_t id)
{
	uint32_t u;

	l += 0.0f;
	memcpy(&u, &l, 4);
	u = u >> 31 ? u : ~u & 0x7fffffff;
	return (uint64_t)u << 32 | id;
}

/* Step 2 on one logit. */
DEVICE_TOO float logits_biased(float l, float b)
{
	if (!(b > -100.0f)) /* NaN forbids too */
		return -INFINITY;
	return l + (b > 100.0f ? 100.0f : b);
}

/* Steps 4 and 5 on one logit; @outputs: how often the output has the id. */
DEVICE_TOO float logits_penalized(float l, float repetition, float frequency,
				  float presence, uint32_t outputs)
{
	l = l > 0 ? l / repetition : l * repetition;
	if (outputs) {
		float off = frequency * (float)outputs;

		off = off + presence;
		l = l - off;
	}
	return logits_clean(l); /* -inf * 0, FLT_MAX * 2 */
}

/*
 * Steps 1 to 5 on l[vocab], which step 0 has cleaned.  @count is [vocab],
 * all zero before and after.
 */
void logits_adjust(float *l, uint32_t vocab, const struct step_out *out,
		   uint32_t *count);

#endif
