/* SPDX-License-Identifier: MIT */
#include "base/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINE  64u
#define LARGE ((size_t)2 << 20)

/* A line before the table; the table begins behind it. */
struct head {
	_Alignas(LINE) size_t mapped; /* bytes from here on; 0 = from the heap */
};

/* A stretch of whole large pages; what is before and behind is given back. */
static struct head *map_large(size_t bytes)
{
	size_t before, behind;
	uint8_t *at;

	bytes = (bytes + LARGE - 1) & ~(LARGE - 1);
	at = mmap(NULL, bytes + LARGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)at & (LARGE - 1);
	behind = LARGE - before;
	if (before)
		munmap(at, before);
	at += before;
	munmap(at + bytes, behind);
	/* a wish: without it, or where it is refused, small pages serve */
	madvise(at, bytes, MADV_HUGEPAGE);
	((struct head *)at)->mapped = bytes;
	return (struct head *)at;
}

void *table_alloc(size_t nr, size_t size)
{
	struct head *h;
	size_t bytes;

	if (__builtin_mul_overflow(nr, size, &bytes) ||
	    bytes > SIZE_MAX / 2 - LARGE)
		return NULL;
	bytes = (bytes + sizeof(*h) + LINE - 1) & ~(size_t)(LINE - 1);
	if (bytes >= LARGE) {
		h = map_large(bytes);
	} else {
		h = aligned_alloc(LINE, bytes);
		if (h)
			memset(h, 0, bytes);
	}
	return h ? h + 1 : NULL;
}

void table_free(void *table)
{
	struct head *h = table;

	if (!h)
		return;
	h--;
	if (h->mapped)
		munmap(h, h->mapped);
	else
		free(h);
}
