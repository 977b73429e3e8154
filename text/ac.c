/* SPDX-License-Identifier: MIT */
#include "text/ac.h"

#include <errno.h>

void ac_init(struct ac *ac, struct ac_node *mem, uint32_t cap)
{
	*ac = (struct ac){ .node = mem, .nr = 1, .cap = cap };
	mem[0] = (struct ac_node){ .out = AC_NONE };
}

static uint32_t child(const struct ac *ac, uint32_t at, uint8_t byte)
{
	uint32_t c = ac->node[at].child;

	while (c && ac->node[c].byte != byte)
		c = ac->node[c].sibling;
	return c;
}

int ac_add(struct ac *ac, const uint8_t *s, size_t size, bool reverse,
	   uint32_t value)
{
	uint32_t at = 0, c;
	size_t i;

	if (!size || size > AC_STRING_MAX || ac->cap - ac->nr < size)
		return -ENOSPC;
	for (i = 0; i < size; i++) {
		uint8_t b = s[reverse ? size - 1 - i : i];

		c = child(ac, at, b);
		if (!c) {
			c = ac->nr++;
			ac->node[c] = (struct ac_node){
				.sibling = ac->node[at].child,
				.out = AC_NONE,
				.depth = (uint16_t)(i + 1),
				.byte = b,
			};
			ac->node[at].child = c;
		}
		at = c;
	}
	if (ac->node[at].out != AC_NONE)
		return -EEXIST;
	ac->node[at].out = value;
	return 0;
}

/*
 * Breadth first, so that a node's failure target, which is less deep, is
 * finished before it.  The queue is threaded through the nodes.
 */
void ac_link(struct ac *ac)
{
	struct ac_node *n = ac->node;
	uint32_t at, c, last = 0;

	for (at = 0;; at = n[at].queue) {
		for (c = n[at].child; c; c = n[c].sibling) {
			if (at)
				n[c].fail = ac_step(ac, n[at].fail, n[c].byte);
			if (n[c].out == AC_NONE)
				n[c].out = n[n[c].fail].out;
			n[last].queue = c;
			last = c;
		}
		if (at == last)
			break;
	}
}

uint32_t ac_step(const struct ac *ac, uint32_t state, uint8_t byte)
{
	uint32_t c;

	while (!(c = child(ac, state, byte)) && state)
		state = ac->node[state].fail;
	return c;
}
