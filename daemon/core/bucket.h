/* SPDX-License-Identifier: MIT */
/*
 * bucket.h - a rate: so many units a second, at most a second's worth at once.
 *
 * A token bucket that fills by itself: it holds up to `rate` units, is full
 * when first used, and may be drawn below empty by who charges after the fact
 * (bucket_charge()); then it is to be left alone until it holds something
 * again.  Over any time t at most rate * (t + 1) units are granted, plus what
 * one charge drew it below empty.
 *
 * Pure: the time comes in.  A clock that goes back adds nothing.  A rate of 0
 * is the caller's "no limit" and never comes here.
 */
#ifndef CORE_BUCKET_H
#define CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: full when first used. */
struct bucket {
	int64_t level;	/* billionths of a unit; below 0: owed */
	uint64_t at_ns; /* when it held that; 0: never used */
};

/* Does it hold @n units? */
bool bucket_holds(struct bucket *b, uint32_t rate, uint64_t now_ns, uint32_t n);
/* Take @n units whatever it holds. */
void bucket_charge(struct bucket *b, uint32_t rate, uint64_t now_ns,
		   uint32_t n);
/* When it holds more than nothing: @now_ns where it does. */
uint64_t bucket_ready_ns(struct bucket *b, uint32_t rate, uint64_t now_ns);

#endif
