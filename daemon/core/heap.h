/* SPDX-License-Identifier: MIT */
/*
 * heap.h - queues with an order: a pairing heap over numbers.
 *
 * A member is an index < the number of nodes; the links lie in an array
 * beside the members, so many heaps can share one array as long as each
 * member is in one of them at a time.  A heap is its root, HEAP_EMPTY at
 * first.  Push and peek are O(1), removal of any member is O(log n)
 * amortized (Fredman, Sedgewick, Sleator, Tarjan 1986).  The order must be
 * total and must not change while a member is in.  Allocates at init only.
 */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#define HEAP_EMPTY UINT32_MAX

struct heap_node {
	uint32_t child, next; /* first child; next sibling */
	uint32_t prev; /* sibling before, or the parent of a first child */
};

/* Does @a come out before @b?  @arg as given to heap_init(). */
typedef bool heap_before(const void *arg, uint32_t a, uint32_t b);

struct heap {
	struct heap_node *nodes; /* owned */
	heap_before *before;
	const void *arg; /* borrowed */
};

/* Links for members 0..@nr_nodes - 1.  0 or -ENOMEM. */
int heap_init(struct heap *h, uint32_t nr_nodes, heap_before *before,
	      const void *arg);
void heap_deinit(struct heap *h);

/* Put @i, member of no heap, into the heap at *root. */
void heap_push(const struct heap *h, uint32_t *root, uint32_t i);
/* Take @i out of the heap at *root, of which it is a member. */
void heap_remove(const struct heap *h, uint32_t *root, uint32_t i);

#endif
