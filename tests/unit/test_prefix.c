/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/core/batch.h"
#include "daemon/core/kv.h"
#include "daemon/core/prefix.h"

static const uint8_t key[16] = { 7 };
static struct prefix_model model = { .arith = 5, .kv_type = 1 };
static struct kv kv;
static struct prefix p;

static void begin(uint32_t nr_blocks)
{
	CHECK_EQ(kv_init(&kv, nr_blocks), 0);
	CHECK_EQ(prefix_init(&p, &kv, &model, key, 16), 0);
}

static void end(void)
{
	const char *bad = kv_check(&kv);

	bad = bad ? bad : prefix_check(&p);
	CHECK_STR(bad ? bad : "", "");
	prefix_deinit(&p);
	kv_deinit(&kv);
}

static uint32_t domain(uint64_t tenant, bool public_prefix, uint8_t adapter)
{
	struct prefix_domain_key k = { .tenant = tenant,
				       .public_prefix = public_prefix,
				       .adapter = { adapter } };

	return prefix_domain_get(&p, &k);
}

static void fill(uint32_t ids[KV_BLOCK], uint32_t with)
{
	uint32_t i;

	for (i = 0; i < KV_BLOCK; i++)
		ids[i] = with * 100 + i;
}

static uint32_t put(struct prefix_pos *pos, uint32_t block, const uint32_t *ids)
{
	struct prefix_digest digest = prefix_hash(&p, pos, ids);

	return prefix_insert(&p, pos, block, ids, &digest);
}

/* A new block with these ids behind @pos; the block in the index. */
static uint32_t insert(struct prefix_pos *pos, const uint32_t *ids,
		       uint32_t *ret_own)
{
	CHECK_EQ(kv_alloc(&kv, ret_own), 0);
	return put(pos, *ret_own, ids);
}

TEST(a_chain_is_found_again_and_only_in_its_order)
{
	uint32_t a[KV_BLOCK], b[KV_BLOCK], d, x, y;
	struct prefix_pos pos;

	begin(8);
	fill(a, 1);
	fill(b, 2);
	d = domain(1, false, 0);
	prefix_root(&p, d, &pos);
	CHECK_EQ(insert(&pos, a, &x), x);
	CHECK_EQ(insert(&pos, b, &y), y);

	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, b), 0);
	CHECK_EQ(prefix_find(&p, &pos, a), x);
	CHECK_EQ(prefix_find(&p, &pos, a), 0);
	CHECK_EQ(prefix_find(&p, &pos, b), y);
	end();
}

TEST(T10_a_forced_collision_is_a_miss_and_never_a_wrong_block)
{
	uint32_t ids[6][KV_BLOCK], block[6], d, e, i;
	struct prefix_pos pos;

	begin(16);
	p.collide = true;
	d = domain(1, false, 0);
	e = domain(2, false, 0);
	CHECK(d != e);
	prefix_root(&p, d, &pos);
	for (i = 0; i < 6; i++) {
		fill(ids[i], i);
		CHECK_EQ(insert(&pos, ids[i], &block[i]), block[i]);
	}
	/* same digest everywhere: other ids, another parent, another domain */
	ids[0][15]++;
	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids[0]), 0);
	ids[0][15]--;
	CHECK_EQ(prefix_find(&p, &pos, ids[1]), 0);
	prefix_root(&p, e, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids[0]), 0);
	/* and what is there is still found */
	prefix_root(&p, d, &pos);
	for (i = 0; i < 6; i++)
		CHECK_EQ(prefix_find(&p, &pos, ids[i]), block[i]);
	/* also when some of the run have left the table */
	for (i = 0; i < 6; i++)
		kv_put(&kv, block[5 - i]);
	while (kv.blocks[kv.blocks[0].next].cached == 0)
		CHECK_EQ(kv_alloc(&kv, &i), 0);
	CHECK_EQ(prefix_reclaim(&p), 0);
	CHECK_EQ(kv_alloc(&kv, &i), 0);
	CHECK_EQ(prefix_reclaim(&p), 0);
	prefix_root(&p, d, &pos);
	for (i = 0; i < 4; i++)
		CHECK_EQ(prefix_find(&p, &pos, ids[i]), block[i]);
	CHECK_EQ(prefix_find(&p, &pos, ids[4]), 0);
	end();
}

TEST(T11_a_domain_is_its_tenants_own_at_the_index)
{
	uint32_t ids[KV_BLOCK], a, b, x, y;
	struct prefix_pos pos;

	begin(8);
	fill(ids, 1);
	a = domain(1, false, 0);
	b = domain(2, false, 0);
	prefix_root(&p, a, &pos);
	CHECK_EQ(insert(&pos, ids, &x), x);
	prefix_root(&p, b, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids), 0);
	CHECK_EQ(insert(&pos, ids, &y), y);
	prefix_root(&p, b, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids), y);
	prefix_root(&p, a, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids), x);
	end();
}

TEST(T13_an_adapter_a_tenant_and_a_public_prefix_of_one_name_differ)
{
	struct prefix_pos pos[4];
	uint32_t i, j;

	begin(8);
	prefix_root(&p, domain(7, false, 0), &pos[0]);
	prefix_root(&p, domain(7, true, 0), &pos[1]);
	prefix_root(&p, domain(0, false, 7), &pos[2]);
	prefix_root(&p, domain(7, false, 7), &pos[3]);
	for (i = 0; i < 4; i++)
		for (j = 0; j < i; j++)
			CHECK(memcmp(&pos[i].chain, &pos[j].chain, 16) &&
			      pos[i].parent != pos[j].parent);
	end();
}

TEST(another_model_arithmetic_or_kv_type_is_another_root)
{
	struct prefix_model other[4] = { model, model, model, model };
	struct prefix_digest root[4];
	struct prefix_pos pos;
	uint32_t i, j;

	other[1].arith++;
	other[2].kv_type++;
	other[3].digest[31]++;
	CHECK_EQ(kv_init(&kv, 4), 0);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(prefix_init(&p, &kv, &other[i], key, 4), 0);
		prefix_root(&p, domain(1, false, 0), &pos);
		root[i] = pos.chain;
		prefix_deinit(&p);
		for (j = 0; j < i; j++)
			CHECK(memcmp(&root[i], &root[j], sizeof(root[0])));
	}
	kv_deinit(&kv);
}

TEST(of_equal_blocks_the_first_is_indexed_and_children_hang_under_it)
{
	uint32_t a[KV_BLOCK], b[KV_BLOCK], d, x, y, z;
	struct prefix_pos pos;

	begin(8);
	fill(a, 1);
	fill(b, 2);
	d = domain(1, false, 0);
	prefix_root(&p, d, &pos);
	insert(&pos, a, &x);
	prefix_root(&p, d, &pos);
	CHECK_EQ(insert(&pos, a, &y), x);
	CHECK_EQ(pos.parent, x);
	CHECK(!kv.blocks[y].cached);
	CHECK_EQ(insert(&pos, b, &z), z);
	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, a), x);
	CHECK_EQ(prefix_find(&p, &pos, b), z);
	end();
}

TEST(a_block_under_an_evicted_parent_is_not_found_until_indexed_anew)
{
	uint32_t a[KV_BLOCK], b[KV_BLOCK], d, x, y, z;
	struct prefix_pos pos, stale;

	begin(4);
	fill(a, 1);
	fill(b, 2);
	d = domain(1, false, 0);
	prefix_root(&p, d, &pos);
	insert(&pos, a, &x);
	stale = pos;
	insert(&pos, b, &y);
	kv_put(&kv, x);
	CHECK_EQ(kv_alloc(&kv, &z), 0);
	CHECK_EQ(prefix_reclaim(&p), 0);
	CHECK(!prefix_is_current(&p, &stale));
	CHECK_EQ(prefix_find(&p, &stale, b), 0);
	/* the same block number with the same tokens is another content */
	CHECK_EQ(kv_alloc(&kv, &x), 0);
	prefix_root(&p, d, &pos);
	CHECK_EQ(put(&pos, x, a), x);
	stale = pos;
	CHECK_EQ(prefix_find(&p, &stale, b), 0);
	CHECK_EQ(put(&pos, y, b), y);
	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, a), x);
	CHECK_EQ(prefix_find(&p, &pos, b), y);
	end();
}

TEST(a_domain_lives_while_it_has_users_or_blocks)
{
	uint32_t ids[KV_BLOCK], d, x, other;
	struct prefix_pos pos;

	begin(4);
	fill(ids, 1);
	d = domain(1, false, 0);
	prefix_root(&p, d, &pos);
	insert(&pos, ids, &x);
	prefix_domain_put(&p, d);
	kv_put(&kv, x);
	/* nobody uses it, its block is cached: it is found again */
	CHECK_EQ(domain(1, false, 0), d);
	prefix_domain_put(&p, d);
	while (!kv_alloc(&kv, &other))
		;
	CHECK_EQ(prefix_reclaim(&p), 0);
	/* now it is gone, and its number may name another */
	other = domain(2, false, 0);
	CHECK_EQ(other, d);
	CHECK(!prefix_is_current(&p, &pos));
	CHECK_EQ(prefix_reclaim(&p), -ENOSPC);
	end();
}

TEST(T16_a_million_random_operations_keep_pool_and_index_in_step)
{
	enum { NR = 48, HELD = 40 };
	static struct {
		uint32_t block, word;
	} held[HELD];
	uint32_t ids[KV_BLOCK], nr_held = 0, d[3], i, b, op;
	uint64_t x = 88172645463325252u;

	begin(NR);
	p.collide = false;
	for (i = 0; i < 3; i++)
		d[i] = domain(i, false, 0);
	for (i = 0; i < 1000000; i++) {
		struct prefix_pos pos;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		op = (uint32_t)(x >> 40) % 100;
		prefix_root(&p, d[(x >> 8) % 3], &pos);
		fill(ids, (uint32_t)(x >> 16) % 60);
		b = prefix_find(&p, &pos, ids);
		if (b && op < 50 && nr_held < HELD) {
			kv_get(&kv, b);
			held[nr_held++].block = b;
		} else if (op < 60 && nr_held < HELD) {
			if (kv_alloc(&kv, &b) &&
			    (prefix_reclaim(&p) || kv_alloc(&kv, &b)))
				continue;
			prefix_root(&p, d[(x >> 8) % 3], &pos);
			if (op < 55)
				put(&pos, b, ids);
			held[nr_held++].block = b;
		} else if (nr_held) {
			uint32_t at = (uint32_t)(x >> 24) % nr_held;

			kv_put(&kv, held[at].block);
			held[at] = held[--nr_held];
		}
		if (i % 97 == 0)
			CHECK(!kv_check(&kv) && !prefix_check(&p));
	}
	while (nr_held)
		kv_put(&kv, held[--nr_held].block);
	CHECK_EQ(kv_nr_used(&kv), 0);
	end();
}

/* Large enough that a reclaim evicts several: 4 of 16,384. */
TEST(a_large_pool_evicts_the_oldest_few_and_only_those)
{
	uint32_t ids[KV_BLOCK], n = 16384, d, i, b, found;
	static uint32_t block[16384];
	struct prefix_pos pos;

	begin(n);
	d = domain(1, false, 0);
	for (i = 1; i < n; i++) {
		prefix_root(&p, d, &pos);
		fill(ids, i);
		CHECK_EQ(insert(&pos, ids, &block[i]), block[i]);
	}
	CHECK_EQ(kv_alloc(&kv, &b), -ENOSPC);
	CHECK_EQ(prefix_reclaim(&p), -ENOSPC); /* all are held */
	for (i = 1; i < n; i++)		       /* from the oldest on */
		kv_put(&kv, block[i]);
	CHECK_EQ(prefix_reclaim(&p), 0);
	CHECK(!prefix_check(&p) && !kv_check(&kv));
	for (i = 1, found = 0; i < n; i++) {
		prefix_root(&p, d, &pos);
		fill(ids, i);
		b = prefix_find(&p, &pos, ids);
		CHECK_EQ(b, i <= 4 ? 0 : block[i]);
		found += b != 0;
	}
	CHECK_EQ(found, n - 1 - 4);
	for (i = 1; i <= 4; i++)
		CHECK_EQ(kv_alloc(&kv, &b), 0);
	CHECK_EQ(kv_alloc(&kv, &b), -ENOSPC);
	prefix_domain_put(&p, d);
	end();
}
