/* SPDX-License-Identifier: MIT */
/*
 * ac.h - an Aho-Corasick automaton (Aho and Corasick, 1975) in the caller's
 * memory: which of many byte strings end here, at one step a byte.
 *
 * Nodes are a trie with first-child and next-sibling links plus failure
 * links; a step walks failure links, amortized O(1) a byte, and among
 * siblings, at most min(256, number of strings).  Building and stepping
 * allocate nothing.  A linked automaton is read-only and may be shared; the
 * state is a number, 0 at the start.
 */
#ifndef TEXT_AC_H
#define TEXT_AC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AC_NONE	      UINT32_MAX
#define AC_STRING_MAX 65535 /* bytes of one string */

struct ac_node {
	uint32_t child, sibling; /* 0: none (the root is nobody's child) */
	uint32_t fail;	/* longest proper suffix of this that is a node */
	uint32_t out;	/* value of the longest string that ends here */
	uint32_t queue; /* while linking */
	uint16_t depth; /* bytes of this prefix */
	uint8_t byte;
};

struct ac {
	struct ac_node *node; /* borrowed: [cap] */
	uint32_t nr, cap;
};

/* @mem: room for @cap nodes; 1 + the sum of all strings' bytes suffices. */
void ac_init(struct ac *ac, struct ac_node *mem, uint32_t cap);
/*
 * Add a string of 1..AC_STRING_MAX bytes, back to front if @reverse, with
 * @value < AC_NONE.  0, or -EEXIST where the very string is there (its first
 * value stays), or -ENOSPC.
 */
int ac_add(struct ac *ac, const uint8_t *s, size_t size, bool reverse,
	   uint32_t value);
/* After the last ac_add(), before the first ac_step(). */
void ac_link(struct ac *ac);

/* From @state by one byte.  node[] of the answer tells depth and out. */
uint32_t ac_step(const struct ac *ac, uint32_t state, uint8_t byte);

#endif
