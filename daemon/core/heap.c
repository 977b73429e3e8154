/* SPDX-License-Identifier: MIT */
#include "daemon/core/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int heap_init(struct heap *h, uint32_t nr_nodes, heap_before *before,
	      const void *arg)
{
	h->nodes = calloc(nr_nodes, sizeof(*h->nodes));
	h->before = before;
	h->arg = arg;
	return h->nodes ? 0 : -ENOMEM;
}

void heap_deinit(struct heap *h)
{
	free(h->nodes);
	memset(h, 0, sizeof(*h));
}

/* Join two roots: the later becomes the first child of the earlier. */
static uint32_t meld(const struct heap *h, uint32_t a, uint32_t b)
{
	struct heap_node *n = h->nodes;

	if (a == HEAP_EMPTY)
		return b;
	if (b == HEAP_EMPTY)
		return a;
	if (h->before(h->arg, b, a)) {
		uint32_t t = a;

		a = b;
		b = t;
	}
	n[b].next = n[a].child;
	n[b].prev = a;
	if (n[a].child != HEAP_EMPTY)
		n[n[a].child].prev = b;
	n[a].child = b;
	return a;
}

/* Join the siblings from @first: in pairs, then the pairs from the right. */
static uint32_t meld_siblings(const struct heap *h, uint32_t first)
{
	struct heap_node *n = h->nodes;
	uint32_t pairs = HEAP_EMPTY, root = HEAP_EMPTY, a, b, rest;

	for (a = first; a != HEAP_EMPTY; a = rest) {
		b = n[a].next;
		rest = b == HEAP_EMPTY ? HEAP_EMPTY : n[b].next;
		n[a].next = HEAP_EMPTY;
		if (b != HEAP_EMPTY)
			n[b].next = HEAP_EMPTY;
		a = meld(h, a, b);
		n[a].next = pairs;
		pairs = a;
	}
	for (a = pairs; a != HEAP_EMPTY; a = rest) {
		rest = n[a].next;
		n[a].next = HEAP_EMPTY;
		root = meld(h, root, a);
	}
	return root;
}

void heap_push(const struct heap *h, uint32_t *root, uint32_t i)
{
	h->nodes[i] = (struct heap_node){ HEAP_EMPTY, HEAP_EMPTY, HEAP_EMPTY };
	*root = meld(h, *root, i);
	h->nodes[*root].prev = HEAP_EMPTY;
}

void heap_remove(const struct heap *h, uint32_t *root, uint32_t i)
{
	struct heap_node *n = h->nodes;
	uint32_t rest = meld_siblings(h, n[i].child);

	if (*root == i) {
		*root = rest;
	} else {
		if (n[n[i].prev].child == i)
			n[n[i].prev].child = n[i].next;
		else
			n[n[i].prev].next = n[i].next;
		if (n[i].next != HEAP_EMPTY)
			n[n[i].next].prev = n[i].prev;
		*root = meld(h, *root, rest);
	}
	if (*root != HEAP_EMPTY)
		n[*root].prev = n[*root].next = HEAP_EMPTY;
}
