/* SPDX-License-Identifier: MIT */
#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

/*
 * The table of well-formed sequences (Unicode 3.9, table 3-7) as two facts
 * about the first byte: how long, and what the second byte may be.  Any
 * further byte is 80..bf.
 */
static int lead(uint8_t b, uint8_t *lo, uint8_t *hi)
{
	*lo = 0x80;
	*hi = 0xbf;
	if (b < 0x80)
		return 1;
	if (b < 0xc2)
		return 0;
	if (b < 0xe0)
		return 2;
	if (b < 0xf0) {
		if (b == 0xe0)
			*lo = 0xa0; /* else overlong */
		if (b == 0xed)
			*hi = 0x9f; /* else a surrogate */
		return 3;
	}
	if (b < 0xf5) {
		if (b == 0xf0)
			*lo = 0x90; /* else overlong */
		if (b == 0xf4)
			*hi = 0x8f; /* else past 10ffff */
		return 4;
	}
	return 0;
}

int utf8_look(const uint8_t *s, size_t size, uint32_t *cp)
{
	static const uint8_t mask[5] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint8_t lo, hi;
	int len = lead(s[0], &lo, &hi), i;
	uint32_t c;

	*cp = UTF8_BROKEN;
	if (len == 0)
		return -1;
	c = s[0] & mask[len];
	for (i = 1; i < len; i++) {
		if ((size_t)i == size)
			return 0;
		if (s[i] < lo || s[i] > hi)
			return -i;
		c = c << 6 | (s[i] & 0x3f);
		lo = 0x80;
		hi = 0xbf;
	}
	*cp = c;
	return len;
}

uint32_t utf8_next(const uint8_t *s, size_t *pos)
{
	uint8_t b = s[*pos];
	uint32_t cp;

	if (b < 0x80) {
		(*pos)++;
		return b;
	}
	*pos += (size_t)utf8_look(s + *pos, 4, &cp);
	return cp;
}

uint32_t utf8_prev(const uint8_t *s, size_t pos, size_t *ret_start)
{
	size_t at = pos - 1;

	while ((s[at] & 0xc0) == 0x80)
		at--;
	*ret_start = at;
	return utf8_next(s, &at);
}

size_t utf8_put(uint8_t out[4], uint32_t cp)
{
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (uint8_t)(0xc0 | cp >> 6);
		out[1] = (uint8_t)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (uint8_t)(0xe0 | cp >> 12);
		out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | cp >> 18);
	out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (cp & 0x3f));
	return 4;
}

size_t utf8_valid(const uint8_t *s, size_t size)
{
	size_t i = 0;
	uint32_t cp;
	int n;

	while (i < size) {
		if (s[i] < 0x80) {
			i++;
			continue;
		}
		n = utf8_look(s + i, size - i, &cp);
		if (n <= 0)
			break;
		i += (size_t)n;
	}
	return i;
}

size_t utf8_clean(uint8_t *out, const uint8_t *s, size_t size)
{
	size_t i = 0, o = 0, whole;
	uint32_t cp;
	int n;

	while (i < size) {
		whole = utf8_valid(s + i, size - i);
		memcpy(out + o, s + i, whole);
		o += whole;
		i += whole;
		if (i == size)
			break;
		n = utf8_look(s + i, size - i, &cp);
		i = n ? i + (size_t)-n : size;
		o += utf8_put(out + o, UTF8_BROKEN);
	}
	return o;
}

bool utf8_is_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 ||
	       cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
	       cp == 0x3000;
}

/* So that are Other_Alphabetic: circled and squared Latin letters. */
static bool enclosed_letter(uint32_t cp)
{
	return (cp >= 0x24b6 && cp <= 0x24e9) ||
	       (cp >= 0x1f130 && cp <= 0x1f149) ||
	       (cp >= 0x1f150 && cp <= 0x1f169) ||
	       (cp >= 0x1f170 && cp <= 0x1f189);
}

bool utf8_is_word(uint32_t cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return true;
	default:
		return enclosed_letter(cp) || cp == 0x200c || cp == 0x200d;
	}
}

bool utf8_is_number(uint32_t cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return true;
	default:
		return false;
	}
}

bool utf8_is_punct(uint32_t cp)
{
	if (cp < 0x80)
		return (cp > 0x20 && cp < 0x30) || (cp > 0x39 && cp < 0x41) ||
		       (cp > 0x5a && cp < 0x61) || (cp > 0x7a && cp < 0x7f);
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_PC:
	case UTF8PROC_CATEGORY_PD:
	case UTF8PROC_CATEGORY_PS:
	case UTF8PROC_CATEGORY_PE:
	case UTF8PROC_CATEGORY_PI:
	case UTF8PROC_CATEGORY_PF:
	case UTF8PROC_CATEGORY_PO:
		return true;
	default:
		return false;
	}
}
