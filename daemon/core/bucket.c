/* SPDX-License-Identifier: MIT */
#include "daemon/core/bucket.h"

#include <assert.h>

#define UNIT 1000000000ll /* billionths: one a nanosecond at a rate of 1 */

/* Up to @now_ns.  No product overflows: a full bucket is below 2^62. */
static void fill(struct bucket *b, uint32_t rate, uint64_t now_ns)
{
	int64_t full = UNIT * (int64_t)rate;
	uint64_t gone, missing;

	assert(rate);
	if (!b->at_ns || b->level > full)
		b->level = full; /* first used, or the rate was lowered */
	gone = now_ns > b->at_ns ? now_ns - b->at_ns : 0;
	b->at_ns += gone;
	missing = (uint64_t)(full - b->level);
	if (gone > missing / rate)
		b->level = full;
	else
		b->level += (int64_t)(gone * rate);
}

bool bucket_holds(struct bucket *b, uint32_t rate, uint64_t now_ns, uint32_t n)
{
	fill(b, rate, now_ns);
	return b->level >= UNIT * (int64_t)n;
}

void bucket_charge(struct bucket *b, uint32_t rate, uint64_t now_ns, uint32_t n)
{
	const int64_t least = -(INT64_MAX / 2);

	fill(b, rate, now_ns);
	b->level -= UNIT * (int64_t)n;
	if (b->level < least)
		b->level = least;
}

uint64_t bucket_ready_ns(struct bucket *b, uint32_t rate, uint64_t now_ns)
{
	fill(b, rate, now_ns);
	return b->level > 0 ? now_ns : now_ns + (uint64_t)-b->level / rate + 1;
}
