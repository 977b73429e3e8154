/* SPDX-License-Identifier: MIT */
#include "text/charsmap.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/little.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define GRAPHEME_MAX 6 /* bytes: HF looks a grapheme up if it is shorter */
#define GROWN_MAX    (UINT32_C(1) << 31) /* bytes of a rewritten text */
#define NO_MATCH     UINT32_MAX

struct charsmap {
	uint32_t *unit; /* owned: [nr] */
	uint32_t nr;
	char *text; /* owned: the strings, ended by NUL */
	size_t text_size;
};

int charsmap_open(struct charsmap **ret, const char *where, const void *blob,
		  size_t size, struct err *err)
{
	const uint8_t *p = blob;
	struct charsmap *c;
	uint64_t trie = size >= 4 ? little_get(p, 4) : 0;
	size_t i;

	if (size && (size < 4 || trie % 4 || trie > size - 4))
		return err_set(
			err, -EINVAL,
			"%s: a charsmap of %zu bytes with a trie of %llu",
			where, size, (unsigned long long)trie);
	p += size ? 4 : 0;
	size -= size ? 4 : 0;
	if (utf8_valid(p + trie, size - trie) != size - trie)
		return err_set(err, -EINVAL,
			       "%s: the strings of the charsmap are not UTF-8",
			       where);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	c->nr = (uint32_t)(trie / 4);
	c->text_size = size - trie;
	c->unit = calloc(c->nr + 1, sizeof(*c->unit));
	c->text = malloc(c->text_size + 1);
	if (!c->unit || !c->text) {
		charsmap_close(c);
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	}
	for (i = 0; i < c->nr; i++)
		c->unit[i] = (uint32_t)little_get(p + 4 * i, 4);
	if (c->text_size)
		memcpy(c->text, p + trie, c->text_size);
	c->text[c->text_size] = '\0';
	*ret = c;
	return 0;
}

void charsmap_close(struct charsmap *c)
{
	if (!c)
		return;
	free(c->unit);
	free(c->text);
	free(c);
}

/* ---- the double array */

static uint32_t offset_of(uint32_t unit)
{
	return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/*
 * What stands at the beginning of @s: the shortest or the longest string,
 * its value and its size; NO_MATCH where there is none.
 */
static uint32_t find(const struct charsmap *c, const uint8_t *s, size_t size,
		     bool longest, size_t *ret_size)
{
	uint32_t at, unit, value = NO_MATCH;
	size_t i;

	if (!c->nr)
		return NO_MATCH;
	at = offset_of(c->unit[0]);
	for (i = 0; i < size && i < CHARSMAP_KEY_MAX && s[i]; i++) {
		at ^= s[i];
		if (at >= c->nr)
			break;
		unit = c->unit[at];
		if ((unit & (1u << 31 | 0xff)) != s[i])
			break;
		at ^= offset_of(unit);
		if (!(unit & 1u << 8))
			continue;
		if (at >= c->nr)
			break;
		unit = c->unit[at] & ~(1u << 31);
		if (unit >= c->text_size)
			continue;
		value = unit;
		*ret_size = i + 1;
		if (!longest)
			break;
	}
	return value;
}

static int put(struct bytes *out, const struct charsmap *c, uint32_t value)
{
	return bytes_add(out, c->text + value, strlen(c->text + value));
}

static bool boundary(const uint8_t *s, size_t size, size_t at)
{
	return at >= size || (s[at] & 0xc0) != 0x80;
}

int charsmap_apply(const struct charsmap *c, const uint8_t *s, size_t size,
		   struct bytes *out)
{
	size_t i = 0, n = 0, next;
	uint32_t value;

	while (i < size) {
		value = find(c, s + i, size - i, true, &n);
		/* strings are whole characters, unless the file lies */
		if (value != NO_MATCH && boundary(s, size, i + n) &&
		    (c->text[value] & 0xc0) != 0x80) {
			if (put(out, c, value))
				return -ENOMEM;
			if (out->nr > GROWN_MAX)
				return -E2BIG;
			i += n;
			continue;
		}
		next = i;
		utf8_next(s, &next);
		if (bytes_add(out, s + i, next - i))
			return -ENOMEM;
		i = next;
	}
	return 0;
}

/* ---- by graphemes */

static size_t grapheme_end(const uint8_t *s, size_t size, size_t from)
{
	utf8proc_int32_t state = 0;
	size_t i = from, at;
	uint32_t a = utf8_next(s, &i), b;

	while (i < size) {
		at = i;
		b = utf8_next(s, &i);
		if (utf8proc_grapheme_break_stateful(
			    (utf8proc_int32_t)a, (utf8proc_int32_t)b, &state))
			return at;
		a = b;
	}
	return size;
}

/* All of @s becomes what the shortest string in it says: 1, 0 or -ENOMEM. */
static int rewrite(const struct charsmap *c, const uint8_t *s, size_t size,
		   struct bytes *out)
{
	size_t n;
	uint32_t value = find(c, s, size, false, &n);

	if (value == NO_MATCH || (c->text[value] & 0xc0) == 0x80)
		return 0;
	return put(out, c, value) ? -ENOMEM : 1;
}

int charsmap_apply_graphemes(const struct charsmap *c, const uint8_t *s,
			     size_t size, struct bytes *out)
{
	size_t i = 0, end, next;
	int r;

	for (; i < size; i = end) {
		end = grapheme_end(s, size, i);
		r = end - i < GRAPHEME_MAX ? rewrite(c, s + i, end - i, out)
					   : 0;
		for (; !r && i < end; i = next) {
			next = i;
			utf8_next(s, &next);
			r = rewrite(c, s + i, next - i, out);
			r = r ? r : bytes_add(out, s + i, next - i);
			r = r < 0 ? r : 0;
		}
		if (r < 0)
			return r;
		if (out->nr > GROWN_MAX)
			return -E2BIG;
	}
	return 0;
}
