/* SPDX-License-Identifier: MIT */
#include "text/trie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_bytes(const void *a, const void *b)
{
	const struct trie_string *x = a, *y = b;
	uint32_t n = x->size < y->size ? x->size : y->size;
	int c = memcmp(x->s, y->s, n);

	if (c)
		return c;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* Bytes that @x and @y begin with in common. */
static uint32_t common(const struct trie_string *x, const struct trie_string *y)
{
	uint32_t n = x->size < y->size ? x->size : y->size, i = 0;

	while (i < n && x->s[i] == y->s[i])
		i++;
	return i;
}

/* Sorted strings: each adds the bytes that the one before has not. */
static size_t count(const struct trie_string *str, uint32_t nr)
{
	size_t n = 1;
	uint32_t i;

	for (i = 0; i < nr; i++)
		n += str[i].size - (i ? common(&str[i - 1], &str[i]) : 0);
	return n;
}

/*
 * Breadth first: the strings of a node are a range of the sorted list; @from
 * and @to are the queue of ranges, one a node.
 */
static void build(struct trie *t, const struct trie_string *str, uint32_t *from,
		  uint32_t *to, uint32_t *depth)
{
	uint32_t at, i, end, d;

	t->nr = 1;
	for (at = 0; at < t->nr; at++) {
		t->first[at] = t->nr;
		t->value[at] = TRIE_NONE;
		d = depth[at];
		i = from[at];
		end = to[at];
		for (; i < end && str[i].size == d; i++)
			if (d)
				t->value[at] = str[i].value;
		while (i < end) {
			t->byte[t->nr] = str[i].s[d];
			from[t->nr] = i;
			while (i < end && str[i].s[d] == t->byte[t->nr])
				i++;
			to[t->nr] = i;
			depth[t->nr++] = d + 1;
		}
	}
	t->first[at] = t->nr;
}

int trie_init(struct trie *t, struct trie_string *str, uint32_t nr)
{
	uint32_t *from, *to, *depth, i;
	size_t n;
	int ret = -ENOMEM;

	*t = (struct trie){ 0 };
	if (nr)
		qsort(str, nr, sizeof(*str), by_bytes);
	n = count(str, nr);
	if (n >= TRIE_NONE)
		return ret;
	from = malloc(n * sizeof(*from));
	to = malloc(n * sizeof(*to));
	depth = malloc(n * sizeof(*depth));
	t->byte = malloc(n);
	t->first = malloc((n + 1) * sizeof(*t->first));
	t->value = malloc(n * sizeof(*t->value));
	if (!from || !to || !depth || !t->byte || !t->first || !t->value) {
		trie_deinit(t);
		goto out;
	}
	from[0] = depth[0] = 0;
	to[0] = nr;
	build(t, str, from, to, depth);
	memset(t->root, 0xff, sizeof(t->root));
	for (i = t->first[0]; i < t->first[1]; i++)
		t->root[t->byte[i]] = i;
	ret = 0;
out:
	free(from);
	free(to);
	free(depth);
	return ret;
}

void trie_deinit(struct trie *t)
{
	free(t->byte);
	free(t->first);
	free(t->value);
	*t = (struct trie){ 0 };
}
