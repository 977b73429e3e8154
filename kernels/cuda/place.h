/* SPDX-License-Identifier: MIT */
/*
 * place.h - a walk over a run of memory that names places in it: with a base
 * they are its, without one it only counts.
 */
#ifndef KERNELS_CUDA_PLACE_H
#define KERNELS_CUDA_PLACE_H

#include <stddef.h>

#define PLACE_ALIGN ((size_t)256)

struct place {
	char *base;  /* NULL: count */
	size_t used; /* bytes */
};

/* The next @size bytes. */
static inline void *place_take(struct place *p, size_t size)
{
	char *at = p->base ? p->base + p->used : NULL;

	p->used += (size + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
	return at;
}

#endif
