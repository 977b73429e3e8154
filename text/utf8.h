/* SPDX-License-Identifier: MIT */
/*
 * utf8.h - bytes to code points and back, and the few character classes that
 * tokenizers ask for.
 *
 * Broken input is read by the rule of WHATWG and of Unicode 3.9 ("maximal
 * subpart"): the longest beginning of a well-formed character, or one byte
 * where there is none, becomes one U+FFFD.  Surrogates, overlong forms and
 * code points past 10FFFF are broken.
 */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_BROKEN	 0xfffdu /* U+FFFD REPLACEMENT CHARACTER */
#define UTF8_BROKEN_SIZE 3	 /* its bytes: ef bf bd */

/*
 * Look at the beginning of @s, @size >= 1 bytes.
 * > 0: a whole character of so many bytes, @cp its code point;
 * < 0: so many bytes are one broken part, @cp is U+FFFD;
 *   0: all @size (1 to 3) bytes are the beginning of a character: more bytes
 *	may complete it; where no more come they are one broken part.
 */
int utf8_look(const uint8_t *s, size_t size, uint32_t *cp);

/*
 * The code point at @s + *pos in text known to be valid; *pos moves past it.
 * *pos must be less than the size and stand on a boundary.
 */
uint32_t utf8_next(const uint8_t *s, size_t *pos);
/* The code point that ends at @pos > 0 in valid text; *ret_start its place. */
uint32_t utf8_prev(const uint8_t *s, size_t pos, size_t *ret_start);

/* Write @cp, at most 0x10ffff; the number of bytes, 1 to 4. */
size_t utf8_put(uint8_t out[4], uint32_t cp);

/* How many bytes of @s stand before its first broken part. */
size_t utf8_valid(const uint8_t *s, size_t size);
/*
 * Copy @s with U+FFFD for every broken part; @out has room for 3 * @size
 * bytes.  Returns the bytes written.
 */
size_t utf8_clean(uint8_t *out, const uint8_t *s, size_t size);

/* Unicode White_Space, which is \s in Oniguruma and in Rust's regex. */
bool utf8_is_space(uint32_t cp);
/* \w of Rust's regex: UTS #18, Alphabetic + M + Nd + Pc + Join_Control. */
bool utf8_is_word(uint32_t cp);
/* General category N*, as Rust's char::is_numeric. */
bool utf8_is_number(uint32_t cp);
/* ASCII punctuation and symbols, and general category P*. */
bool utf8_is_punct(uint32_t cp);

#endif
