/* SPDX-License-Identifier: MIT */
/*
 * vec.h - growing arrays of ids and of bytes, for work outside the step path.
 *
 * A zeroed struct is an empty array; the owner frees it.  Growth doubles, so
 * n pushes cost O(n); arrays are meant to be kept and emptied (nr = 0) rather
 * than freed between texts.
 */
#ifndef TEXT_VEC_H
#define TEXT_VEC_H

#include <stddef.h>
#include <stdint.h>

struct ids {
	uint32_t *v;	/* owned */
	size_t nr, cap; /* ids */
};

struct bytes {
	uint8_t *v;	/* owned */
	size_t nr, cap; /* bytes */
};

/* Append; 0 or -ENOMEM with the array as it was. */
int ids_push(struct ids *a, uint32_t id);
int ids_add(struct ids *a, const uint32_t *id, size_t nr);
int bytes_add(struct bytes *a, const void *p, size_t size);
/* Make room for @more bytes after nr, so that they may be written there. */
int bytes_room(struct bytes *a, size_t more);
/* Free and empty. */
void ids_free(struct ids *a);
void bytes_free(struct bytes *a);

/*
 * The same for an array of anything: grow @*v, of elements of @each bytes, so
 * that it holds at least @need of them.  0 or -ENOMEM with all as it was.
 */
int vec_grow(void **v, size_t *cap, size_t need, size_t each);

#endif
