/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "daemon/extent.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

static uint64_t rng = 1;
static uint32_t rnd(uint32_t n)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng >> 33) % n;
}

/* Every byte of the arena belongs to exactly one slot or one gap. */
static int whole(const struct extents *x)
{
	static uint8_t used[1 << 14];
	uint32_t i;
	uint64_t o, units = x->size / EXTENT_ALIGN;

	memset(used, 0, sizeof(used));
	for (i = 0; i < x->nr_slots; i++)
		for (o = 0; o < x->slot[i].size; o += EXTENT_ALIGN)
			used[(x->slot[i].off - x->begin + o) / EXTENT_ALIGN]++;
	for (i = 0; i < x->nr_gaps; i++) {
		if (!x->gap[i].size)
			return 0;
		for (o = 0; o < x->gap[i].size; o += EXTENT_ALIGN)
			used[(x->gap[i].off - x->begin + o) / EXTENT_ALIGN]++;
	}
	for (o = 0; o < units; o++)
		if (used[o] != 1)
			return 0;
	return 1;
}

TEST(random_takes_and_puts_keep_every_byte_owned_once)
{
	struct extents x, y;
	uint32_t i, n, slot;
	uint64_t off;

	CHECK_EQ(extent_init(&x, 37, 4096, 64 * 1000 + 13), 0);
	CHECK_EQ(x.size, 64 * 1000);
	for (n = 0; n < 30000; n++) {
		slot = rnd(37);
		if (x.slot[slot].size) {
			extent_put(&x, slot);
		} else {
			uint64_t size = 1 + rnd(rnd(4) ? 900 : 30000);
			uint64_t longest = extent_longest(&x);
			int ret = extent_take(&x, slot, size, &off);

			CHECK((ret == 0) == (size <= longest));
			if (!ret) {
				CHECK_EQ(off % EXTENT_ALIGN, 0);
				CHECK(off >= 4096 &&
				      off + size <= 4096 + x.size);
			}
		}
		CHECK(whole(&x));
		if (n % 100)
			continue;
		/* recovery gets the same map from the extents alone */
		CHECK_EQ(extent_init(&y, 37, 4096, 64 * 1000 + 13), 0);
		for (i = 0; i < 37; i++)
			if (x.slot[i].size)
				CHECK_EQ(extent_claim(&y, i, x.slot[i].off,
						      x.slot[i].size),
					 0);
		CHECK(whole(&y));
		CHECK_EQ(extent_longest(&y), extent_longest(&x));
		extent_deinit(&y);
	}
	for (i = 0; i < 37; i++)
		extent_put(&x, i);
	CHECK_EQ(x.nr_gaps, 1);
	CHECK_EQ(extent_longest(&x), 64 * 1000);
	extent_deinit(&x);
}

TEST(the_extent_freed_last_is_used_first)
{
	struct extents x;
	uint64_t a, b, c, again;

	CHECK_EQ(extent_init(&x, 4, 0, 1 << 20), 0);
	CHECK_EQ(extent_take(&x, 0, 1000, &a), 0);
	CHECK_EQ(extent_take(&x, 1, 1000, &b), 0);
	CHECK_EQ(extent_take(&x, 2, 1000, &c), 0);
	extent_put(&x, 1);
	CHECK_EQ(extent_take(&x, 3, 900, &again), 0);
	CHECK_EQ(again, b);
	extent_deinit(&x);
}

TEST(a_claim_that_lies_is_refused)
{
	struct extents x;
	static const struct {
		const char *name;
		uint32_t slot;
		uint64_t off, size;
	} t[] = {
		{ "before the arena", 0, 4096 - 64, 64 },
		{ "behind it", 0, 4096 + 64 * 100, 64 },
		{ "over its end", 0, 4096 + 64 * 99, 65 },
		{ "size wraps", 0, 4096, UINT64_MAX - 10 },
		{ "offset wraps", 0, UINT64_MAX & ~63ull, 128 },
		{ "not aligned", 0, 4097, 64 },
		{ "empty", 0, 4096, 0 },
		{ "another's", 0, 4096 + 64 * 10, 64 },
		{ "reaches into another's", 0, 4096 + 64 * 9, 128 },
		{ "a slot that has one", 1, 4096, 64 },
		{ "no such slot", 9, 4096, 64 },
	};
	unsigned i;

	CHECK_EQ(extent_init(&x, 4, 4096, 64 * 100), 0);
	CHECK_EQ(extent_claim(&x, 1, 4096 + 64 * 10, 64 * 5), 0);
	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		ROW(t[i].name);
		CHECK_EQ(extent_claim(&x, t[i].slot, t[i].off, t[i].size),
			 -EINVAL);
		CHECK(whole(&x));
	}
	extent_deinit(&x);
}
