/* SPDX-License-Identifier: MIT */
/* little.h - little-endian numbers in bytes of any alignment. */
#ifndef BASE_LITTLE_H
#define BASE_LITTLE_H

#include <stdint.h>

/* The number in @bytes bytes, at most 8. */
static inline uint64_t little_get(const uint8_t *p, uint32_t bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

static inline void little_put(uint8_t *p, uint32_t bytes, uint64_t v)
{
	for (uint32_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

#endif
