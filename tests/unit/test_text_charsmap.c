/* SPDX-License-Identifier: MIT */
/* charsmap.h: a trie that lies must not lead out of its array. */
#include "tests/test.h"
#include "text/charsmap.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/little.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

static uint64_t seed = 88172645463325252u;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % n;
}

/*
 * "a" becomes "xy", "ab" becomes "z", written by hand: the root's children
 * begin at 256, so "a" is at 256 ^ 'a' = 353, its children at 353 ^ 1 = 352.
 */
static size_t by_hand(uint8_t *p)
{
	static const char strings[] = "xy\0z";
	uint32_t unit[512] = { 0 };
	size_t i;

	unit[0] = 256u << 10;
	unit[256 ^ 'a'] = 1u << 10 | 1u << 8 | 'a'; /* leaf at 352 */
	unit[352] = 1u << 31 | 0;		    /* "xy" */
	unit[352 ^ 'b'] = 1u << 10 | 1u << 8 | 'b';
	unit[352 ^ 'b' ^ 1] = 1u << 31 | 3; /* "z" */
	little_put(p, 4, sizeof(unit));
	for (i = 0; i < 512; i++)
		little_put(p + 4 + 4 * i, 4, unit[i]);
	memcpy(p + 4 + sizeof(unit), strings, sizeof(strings));
	return 4 + sizeof(unit) + sizeof(strings);
}

TEST(the_longest_string_is_taken_or_the_shortest)
{
	static uint8_t blob[4096];
	struct charsmap *c = NULL;
	struct bytes out = { 0 };

	CHECK(!charsmap_open(&c, "c", blob, by_hand(blob), NULL));
	CHECK(!charsmap_apply(c, (const uint8_t *)"aabcb", 5, &out));
	CHECK(out.nr == 5 && !memcmp(out.v, "xyzcb", 5));
	out.nr = 0;
	/* a grapheme at a time, so "ab" is never seen */
	CHECK(!charsmap_apply_graphemes(c, (const uint8_t *)"aabc", 4, &out));
	CHECK(out.nr == 6 && !memcmp(out.v, "xyxybc", 6));
	out.nr = 0;
	/* a with an accent is one grapheme: all of it becomes "xy" */
	CHECK(!charsmap_apply_graphemes(c,
					(const uint8_t *)"a\xcc\x81"
							 "b",
					4, &out));
	CHECK(out.nr == 3 && !memcmp(out.v, "xyb", 3));
	bytes_free(&out);
	charsmap_close(c);
}

TEST(a_trie_that_lies_leads_nowhere)
{
	static const uint8_t text[] =
		"ab\xc3\xa9\xe4\xbd\xa0 aab\xf0\x9f\x98\x80";
	static uint8_t good[4096];
	size_t size = by_hand(good), round, i;
	struct bytes out = { 0 };

	for (round = 0; round < 20000; round++) {
		uint8_t *p = malloc(size);
		struct charsmap *c = NULL;

		memcpy(p, good, size);
		for (i = rnd(6); i < 8; i++) {
			size_t at =
				rnd(2) ? 4 + 4 * (size_t)(rnd(2) ? 0
								 : 352 ^ rnd(4))
				       : rnd((uint32_t)size);

			p[at + rnd(at + 4 < size ? 4 : 1)] = (uint8_t)rnd(256);
		}
		if (!charsmap_open(&c, "c", p, size, NULL)) {
			out.nr = 0;
			CHECK(!charsmap_apply(c, text, sizeof(text) - 1, &out));
			CHECK_EQ(utf8_valid(out.v, out.nr), out.nr);
			out.nr = 0;
			CHECK(!charsmap_apply_graphemes(
				c, text, sizeof(text) - 1, &out));
			CHECK_EQ(utf8_valid(out.v, out.nr), out.nr);
			charsmap_close(c);
		}
		free(p);
	}
	bytes_free(&out);
}
