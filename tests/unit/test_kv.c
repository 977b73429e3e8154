/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdint.h>

#include "daemon/core/kv.h"

TEST(a_pool_without_a_block_beside_the_null_block_is_refused)
{
	struct kv kv;

	CHECK_EQ(kv_init(&kv, 0), -EINVAL);
	CHECK_EQ(kv_init(&kv, 1), -EINVAL);
}

TEST(every_block_but_the_null_block_is_given_once_then_no_more)
{
	bool seen[8] = { true };
	struct kv kv;
	uint32_t id, i;

	CHECK_EQ(kv_init(&kv, 8), 0);
	for (i = 1; i < 8; i++) {
		CHECK_EQ(kv_alloc(&kv, &id), 0);
		CHECK(id < 8 && !seen[id]);
		seen[id] = true;
	}
	CHECK_EQ(kv_alloc(&kv, &id), -ENOSPC);
	CHECK_EQ(kv_nr_used(&kv), 7);
	CHECK_STR(kv_check(&kv) ? kv_check(&kv) : "", "");
	kv_deinit(&kv);
}

TEST(a_cached_block_is_kept_for_last_and_the_oldest_goes_first)
{
	uint32_t a, b, c, id;
	struct kv kv;

	CHECK_EQ(kv_init(&kv, 4), 0);
	CHECK(!kv_alloc(&kv, &a) && !kv_alloc(&kv, &b) && !kv_alloc(&kv, &c));
	kv_mark_cached(&kv, a);
	kv_mark_cached(&kv, b);
	kv_put(&kv, b);
	kv_put(&kv, a);
	kv_put(&kv, c);
	CHECK_EQ(kv.nr_cached, 2);
	CHECK_EQ(kv_alloc(&kv, &id), 0);
	CHECK_EQ(id, c);
	/* what is left is cached: the pool does not evict by itself */
	CHECK_EQ(kv_alloc(&kv, &id), -ENOSPC);
	CHECK_EQ(kv_oldest(&kv), b);
	kv_get(&kv, b);
	CHECK_EQ(kv_oldest(&kv), a);
	kv_unmark_cached(&kv, a);
	CHECK_EQ(kv_alloc(&kv, &id), 0);
	CHECK_EQ(id, a);
	CHECK_STR(kv_check(&kv) ? kv_check(&kv) : "", "");
	kv_deinit(&kv);
}

TEST(a_generation_ends_with_its_content_and_not_before)
{
	struct kv kv;
	uint32_t a, gen;

	CHECK_EQ(kv_init(&kv, 2), 0);
	CHECK_EQ(kv_alloc(&kv, &a), 0);
	gen = kv.blocks[a].gen;
	kv_mark_cached(&kv, a);
	kv_put(&kv, a);
	kv_get(&kv, a);
	CHECK(kv_is(&kv, a, gen));
	kv_put(&kv, a);
	kv_unmark_cached(&kv, a);
	CHECK(!kv_is(&kv, a, gen));
	gen = kv.blocks[a].gen;
	CHECK_EQ(kv_alloc(&kv, &a), 0);
	kv_put(&kv, a);
	CHECK(!kv_is(&kv, a, gen));
	kv_deinit(&kv);
}

TEST(shared_blocks_and_what_they_save_are_counted)
{
	struct kv kv;
	uint32_t a;

	CHECK_EQ(kv_init(&kv, 3), 0);
	CHECK_EQ(kv_alloc(&kv, &a), 0);
	kv_get(&kv, a);
	kv_get(&kv, a);
	CHECK_EQ(kv.nr_shared, 1);
	CHECK_EQ(kv.nr_saved, 2);
	kv_put(&kv, a);
	kv_put(&kv, a);
	CHECK_EQ(kv.nr_shared, 0);
	CHECK_EQ(kv.nr_saved, 0);
	kv_deinit(&kv);
}

/* A hot block is taken and given back for ever: its holes fill the ring. */
TEST(the_order_of_the_cached_holds_however_often_one_is_used)
{
	uint32_t a[7], i, k;
	struct kv kv;

	CHECK_EQ(kv_init(&kv, 8), 0);
	for (i = 0; i < 7; i++) {
		CHECK_EQ(kv_alloc(&kv, &a[i]), 0);
		kv_mark_cached(&kv, a[i]);
	}
	for (i = 0; i < 7; i++)
		kv_put(&kv, a[i]);
	for (k = 0; k < 1000; k++) {
		/* all but the oldest, in an order that changes */
		i = 1 + k * k % 6;
		kv_get(&kv, a[i]);
		kv_put(&kv, a[i]);
		CHECK(!kv_check(&kv));
		CHECK_EQ(kv_oldest(&kv), a[0]);
	}
	/* k * k % 6 is 0, 1, 3 or 4: blocks 3 and 6 were never used */
	kv_unmark_cached(&kv, a[0]);
	CHECK_EQ(kv_oldest(&kv), a[3]);
	kv_deinit(&kv);
}

/* The check itself must be able to fail, or it proves nothing elsewhere. */
TEST(kv_check_sees_each_kind_of_damage)
{
	static const char *const kinds[] = { "ref",    "counter", "place",
					     "cached", "null",	  "hole",
					     "twice" };
	uint32_t i, a, b;

	for (i = 0; i < 7; i++) {
		struct kv kv;

		ROW(kinds[i]);
		CHECK_EQ(kv_init(&kv, 8), 0);
		CHECK_EQ(kv_alloc(&kv, &a), 0);
		CHECK_EQ(kv_alloc(&kv, &b), 0);
		kv_mark_cached(&kv, a);
		kv_mark_cached(&kv, b);
		kv_put(&kv, a);
		kv_put(&kv, b);
		CHECK(!kv_check(&kv));
		if (i == 0)
			kv.blocks[kv.empty[0]].ref = 1;
		else if (i == 1)
			kv.nr_free--;
		else if (i == 2)
			kv.blocks[b].at++;
		else if (i == 3)
			kv.blocks[3].cached = true;
		else if (i == 4)
			kv.blocks[0].ref = 1;
		else if (i == 5)
			kv.aged[kv.aged_head & kv.aged_mask] = 0;
		else
			kv.empty[1] = kv.empty[0];
		CHECK(kv_check(&kv));
		kv_deinit(&kv);
	}
}
