/* SPDX-License-Identifier: MIT */
#include "text/spell.h"
#include "text/utf8.h"

#include <string.h>

uint32_t spell_byte_char(uint8_t b)
{
	/* printable Latin-1 stands for itself, the others follow from 256 */
	if ((b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad))
		return b;
	if (b <= 0x20)
		return 256u + b;
	if (b < 0xad)
		return 256u + 33 + (b - 0x7fu);
	return 256 + 33 + 34;
}

int spell_char_byte(uint32_t cp)
{
	if (cp < 256)
		return spell_byte_char((uint8_t)cp) == cp ? (int)cp : -1;
	cp -= 256;
	if (cp <= 0x20)
		return (int)cp;
	if (cp < 33 + 34)
		return (int)(cp - 33 + 0x7f);
	return cp == 33 + 34 ? 0xad : -1;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int spell_fallback(const uint8_t *name, size_t size)
{
	int hi, lo;

	if (size != 6 || memcmp(name, "<0x", 3) || name[5] != '>')
		return -1;
	hi = hex(name[3]);
	lo = hex(name[4]);
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static size_t spell_level(const uint8_t *name, size_t size, uint8_t *out,
			  bool *ret_mapped)
{
	size_t i = 0, n = 0;
	int b;

	while (i < size) {
		b = spell_char_byte(utf8_next(name, &i));
		if (b < 0) {
			memcpy(out, name, size);
			*ret_mapped = false;
			return size;
		}
		out[n++] = (uint8_t)b;
	}
	return n;
}

size_t spell_name(const struct spelling *how, const uint8_t *name, size_t size,
		  uint8_t *out, bool *ret_mapped)
{
	size_t i = 0, n = 0, r = how->replace_size;
	int b;

	*ret_mapped = true;
	if (how->level)
		return spell_level(name, size, out, ret_mapped);
	b = how->fallback ? spell_fallback(name, size) : -1;
	if (b >= 0) {
		out[0] = (uint8_t)b;
		return 1;
	}
	while (i < size) {
		if (r && size - i >= r && !memcmp(name + i, how->replace, r)) {
			out[n++] = ' ';
			i += r;
		} else {
			out[n++] = name[i++];
		}
	}
	return n;
}
