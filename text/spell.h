/* SPDX-License-Identifier: MIT */
/*
 * spell.h - how the names in a vocabulary stand for bytes.
 *
 * Three spellings are in use.  GPT-2's byte alphabet writes a character for
 * every byte, so that no name holds a blank or half a character.
 * SentencePiece writes the text itself with U+2581 for a space; and, where a
 * character has no token, its bytes by names of their own, "<0x0A>".
 */
#ifndef TEXT_SPELL_H
#define TEXT_SPELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPELL_SPACE	  "\xe2\x96\x81" /* U+2581, a space in a name */
#define SPELL_SPACE_SIZE  3
#define SPELL_REPLACE_MAX 8 /* bytes of what stands for a space */

/*
 * GPT-2's byte alphabet: the character that stands for byte @b, and back
 * (-1: @cp stands for none).
 */
uint32_t spell_byte_char(uint8_t b);
int spell_char_byte(uint32_t cp);

/* The byte that a name like "<0x0A>" stands for, or -1. */
int spell_fallback(const uint8_t *name, size_t size);

/* What a tokenizer's decoder makes of a name. */
struct spelling {
	bool level;    /* the name is written in the byte alphabet */
	bool fallback; /* "<0x0A>" is a byte */
	/* what is turned into a space; replace_size 0: nothing is */
	uint8_t replace[SPELL_REPLACE_MAX];
	uint8_t replace_size;
	/* spaces that a text loses at its very beginning: so many, or all in
	 * its first token */
	uint8_t lead;
	bool lead_all;
};

/*
 * Write the bytes of @name, valid UTF-8, to @out, which has room for @size;
 * the bytes written.  In the byte alphabet a name with any other character
 * stands for itself (so HF's ByteLevel decoder); *ret_mapped is false then.
 */
size_t spell_name(const struct spelling *how, const uint8_t *name, size_t size,
		  uint8_t *out, bool *ret_mapped);

#endif
