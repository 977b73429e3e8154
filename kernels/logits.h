/* SPDX-License-Identifier: MIT */
/*
 * logits.h - the parts of sampling and scoring that touch few ids, written
 * once for all host op sets: steps 0 to 5 of struct sampler, and the order
 * of tokens.
 */
#ifndef KERNELS_LOGITS_H
#define KERNELS_LOGITS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

struct step_out;

#define LOGITS_GREEDY 1e-5f /* temperatures below this choose the largest */

/* Step 0: a logit that can be compared. */
static inline float logits_clean(float l)
{
	if (l != l)
		return -INFINITY;
	return l > FLT_MAX ? FLT_MAX : l;
}

/*
 * A key whose ascending order as an integer is: larger l first, then lower
 * id.  -0 and +0 are the same logit.
 */
static inline uint64_t logits_key(float l, uint32_t id)
{
	uint32_t u;

	l += 0.0f;
	memcpy(&u, &l, 4);
	u = u >> 31 ? u : ~u & 0x7fffffff;
	return (uint64_t)u << 32 | id;
}

/*
 * Steps 1 to 5 on l[vocab], which step 0 has cleaned.  @count is [vocab],
 * all zero before and after.
 */
void logits_adjust(float *l, uint32_t vocab, const struct step_out *out,
		   uint32_t *count);

#endif
