/* SPDX-License-Identifier: MIT */
/*
 * hash.h - hashes of bytes and of numbers for tables in memory.
 *
 * Not for secrets: a table that a file fills takes a seed from hash_seed(),
 * so that the file cannot choose its collisions.
 */
#ifndef TEXT_HASH_H
#define TEXT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t hash_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static inline uint64_t hash_bytes(uint64_t seed, const void *p, size_t size)
{
	const uint8_t *s = p;
	uint64_t h = seed ^ size, w;

	for (; size >= 8; s += 8, size -= 8) {
		memcpy(&w, s, 8);
		h = hash_mix(h ^ w);
	}
	w = 0;
	if (size)
		memcpy(&w, s, size);
	return hash_mix(h ^ w);
}

/* No seed is no reason to fail: it guards the time that loading takes. */
static inline uint64_t hash_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		seed = 0x9e3779b97f4a7c15u;
	return seed;
}

/* Places of an open table for @nr entries: a power of two, half are free. */
static inline size_t hash_places(size_t nr)
{
	size_t n = 16;

	while (n < 2 * nr)
		n *= 2;
	return n;
}

#endif
