/* SPDX-License-Identifier: MIT */
#include "text/vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vec_grow(void **v, size_t *cap, size_t need, size_t each)
{
	size_t n = *cap ? *cap : 64;
	void *p;

	if (need <= *cap)
		return 0;
	while (n < need)
		if (__builtin_mul_overflow(n, 2, &n))
			return -ENOMEM;
	p = reallocarray(*v, n, each);
	if (!p)
		return -ENOMEM;
	*v = p;
	*cap = n;
	return 0;
}

int ids_push(struct ids *a, uint32_t id)
{
	if (a->nr == a->cap &&
	    vec_grow((void **)&a->v, &a->cap, a->nr + 1, sizeof(*a->v)))
		return -ENOMEM;
	a->v[a->nr++] = id;
	return 0;
}

int ids_add(struct ids *a, const uint32_t *id, size_t nr)
{
	if (a->cap - a->nr < nr &&
	    vec_grow((void **)&a->v, &a->cap, a->nr + nr, sizeof(*a->v)))
		return -ENOMEM;
	if (nr)
		memcpy(a->v + a->nr, id, nr * sizeof(*id));
	a->nr += nr;
	return 0;
}

int bytes_room(struct bytes *a, size_t more)
{
	size_t need;

	if (__builtin_add_overflow(a->nr, more, &need))
		return -ENOMEM;
	return vec_grow((void **)&a->v, &a->cap, need, 1);
}

int bytes_add(struct bytes *a, const void *p, size_t size)
{
	if (bytes_room(a, size))
		return -ENOMEM;
	if (size)
		memcpy(a->v + a->nr, p, size);
	a->nr += size;
	return 0;
}

void ids_free(struct ids *a)
{
	free(a->v);
	*a = (struct ids){ 0 };
}

void bytes_free(struct bytes *a)
{
	free(a->v);
	*a = (struct bytes){ 0 };
}
