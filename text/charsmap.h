/* SPDX-License-Identifier: MIT */
/*
 * charsmap.h - SentencePiece's precompiled_charsmap: what strings of
 * characters are rewritten to before a text is cut into pieces.
 *
 *	u32 trie_size, little-endian, bytes
 *	trie_size bytes: a double array (Yata's darts-clone), u32 units
 *	strings, each ended by NUL; a trie's value is an offset into them
 *
 * A unit: bit 31 set = a leaf, the value below it; else bits 0-7 and 31 the
 * byte that leads here, bit 8 "a leaf follows", bits 10-30 the offset to the
 * children, times 256 where bit 9 is set.  The file is hostile: every step is
 * checked against the array, every value against the strings.
 */
#ifndef TEXT_CHARSMAP_H
#define TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

struct bytes;
struct charsmap;
struct err;

/*
 * @blob is copied.  0, or -EINVAL, -ENOMEM with @err naming @where; an empty
 * blob maps nothing.
 */
int charsmap_open(struct charsmap **ret, const char *where, const void *blob,
		  size_t size, struct err *err);
void charsmap_close(struct charsmap *c);

/*
 * Append @s, valid UTF-8, rewritten as sentencepiece does: at each place the
 * longest string that begins there.  0, -ENOMEM, or -E2BIG (it would grow past
 * 2 GiB).  Linear: no string is
 * longer than CHARSMAP_KEY_MAX.
 */
int charsmap_apply(const struct charsmap *c, const uint8_t *s, size_t size,
		   struct bytes *out);
/*
 * The same as HF's Precompiled does it: grapheme by grapheme, and of the
 * strings that begin there the shortest, which stands for all of it.
 */
int charsmap_apply_graphemes(const struct charsmap *c, const uint8_t *s,
			     size_t size, struct bytes *out);

#define CHARSMAP_KEY_MAX 256 /* bytes looked at from one place on */

#endif
