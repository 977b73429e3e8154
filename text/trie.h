/* SPDX-License-Identifier: MIT */
/*
 * trie.h - which of many byte strings begin here.
 *
 * Nodes lie breadth first, so a node's children stand side by side, sorted by
 * their byte, and where they begin is where the node before has its last:
 * nine bytes a node, and a step looks at one short run of bytes.
 */
#ifndef TEXT_TRIE_H
#define TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#define TRIE_NONE UINT32_MAX

struct trie_string {
	const uint8_t *s;
	uint32_t size;	/* 1 or more */
	uint32_t value; /* under TRIE_NONE */
};

struct trie {
	uint8_t *byte;	 /* owned: [nr] the byte that leads here */
	uint32_t *first; /* owned: [nr + 1] a node's first child */
	uint32_t *value; /* owned: [nr] of the string that ends here */
	uint32_t nr;
	uint32_t root[256]; /* the root's children by their byte */
};

/*
 * Of equal strings the one that stands last counts.  Sorts @str; strings need
 * not outlive the call.  0 or -ENOMEM.  n log n comparisons.
 */
int trie_init(struct trie *t, struct trie_string *str, uint32_t nr);
void trie_deinit(struct trie *t);

/* The child of node @at (0: the root) by @byte, or TRIE_NONE. */
static inline uint32_t trie_step(const struct trie *t, uint32_t at,
				 uint8_t byte)
{
	uint32_t i, end;

	if (!at)
		return t->root[byte];
	end = t->first[at + 1];
	for (i = t->first[at]; i < end; i++)
		if (t->byte[i] >= byte)
			return t->byte[i] == byte ? i : TRIE_NONE;
	return TRIE_NONE;
}

#endif
