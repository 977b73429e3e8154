/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/core/batch.h"
#include "daemon/core/kv.h"
#include "daemon/core/prefix.h"

static const uint8_t key[16] = { 7 };
static struct kv kv;
static struct prefix p;

static void begin(uint32_t nr_blocks)
{
	CHECK_EQ(kv_init(&kv, nr_blocks), 0);
	CHECK_EQ(prefix_init(&p, &kv, key, 16), 0);
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

/* A new block with these ids behind @pos; the block in the index. */
static uint32_t insert(struct prefix_pos *pos, const uint32_t *ids,
		       uint32_t *ret_own)
{
	CHECK_EQ(kv_alloc(&kv, ret_own), 0);
	return prefix_insert(&p, pos, *ret_own, ids);
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

/* Six blocks in a line, and two more children at its root and its first. */
TEST(T10_a_forced_collision_is_a_miss_and_never_a_wrong_block)
{
	uint32_t ids[8][KV_BLOCK], block[8], d, e, i;
	struct prefix_pos pos, first;

	begin(16);
	p.collide = true;
	d = domain(1, false, 0);
	e = domain(2, false, 0);
	CHECK(d != e);
	prefix_root(&p, d, &pos);
	for (i = 0; i < 6; i++) {
		fill(ids[i], i);
		CHECK_EQ(insert(&pos, ids[i], &block[i]), block[i]);
		if (!i)
			first = pos;
	}
	for (; i < 8; i++) {
		fill(ids[i], i);
		prefix_root(&p, d, &pos);
		if (i == 7)
			pos = first;
		CHECK_EQ(insert(&pos, ids[i], &block[i]), block[i]);
	}
	/* one hash everywhere: other ids, another parent, another domain */
	ids[0][15]++;
	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids[0]), 0);
	ids[0][15]--;
	CHECK_EQ(prefix_find(&p, &pos, ids[1]), 0);
	CHECK_EQ(prefix_find(&p, &pos, ids[7]), 0);
	prefix_root(&p, e, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids[0]), 0);
	pos = first;
	CHECK_EQ(prefix_find(&p, &pos, ids[6]), 0);
	/* and what is there is still found */
	CHECK_EQ(prefix_find(&p, &pos, ids[7]), block[7]);
	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids[6]), block[6]);
	prefix_root(&p, d, &pos);
	for (i = 0; i < 6; i++)
		CHECK_EQ(prefix_find(&p, &pos, ids[i]), block[i]);
	/* also when some have left: one of the table's run, one of the line */
	kv_put(&kv, block[6]);
	for (i = 0; i < 6; i++)
		kv_put(&kv, block[5 - i]);
	kv_put(&kv, block[7]);
	while (kv.nr_empty)
		CHECK_EQ(kv_alloc(&kv, &i), 0);
	CHECK_EQ(prefix_reclaim(&p), 0);
	CHECK_EQ(kv_alloc(&kv, &i), 0);
	CHECK_EQ(prefix_reclaim(&p), 0);
	prefix_root(&p, d, &pos);
	CHECK_EQ(prefix_find(&p, &pos, ids[6]), 0);
	for (i = 0; i < 5; i++)
		CHECK_EQ(prefix_find(&p, &pos, ids[i]), block[i]);
	CHECK_EQ(prefix_find(&p, &pos, ids[5]), 0);
	pos = first;
	CHECK_EQ(prefix_find(&p, &pos, ids[7]), block[7]);
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
			CHECK(pos[i].parent != pos[j].parent);
	end();
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
	CHECK_EQ(prefix_insert(&p, &pos, x, a), x);
	stale = pos;
	CHECK_EQ(prefix_find(&p, &stale, b), 0);
	CHECK_EQ(prefix_insert(&p, &pos, y, b), y);
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
				prefix_insert(&p, &pos, b, ids);
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

/*
 * Paths of up to four blocks over three kinds of them in two domains, so that
 * most blocks have several children.  path[] is what was put into a block.
 */
TEST(T16_random_trees_of_blocks_are_found_as_they_were_put)
{
	enum { NR = 100, HELD = 60, KINDS = 3, DEEP = 4 };
	uint32_t ids[KV_BLOCK], held[HELD], path[NR] = { 0 }, d[2];
	uint32_t nr_held = 0, nr_found = 0, nr_deep = 0, i, b, k, want;
	uint64_t x = 88172645463325252u;

	begin(NR);
	d[0] = domain(1, false, 0);
	d[1] = domain(2, false, 0);
	for (i = 0; i < 300000; i++) {
		struct prefix_pos pos;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		want = 1 + (x >> 60) % 2;
		prefix_root(&p, d[want - 1], &pos);
		for (k = 0, b = 0; k <= (x >> 56) % DEEP; k++) {
			uint32_t kind = (uint32_t)(x >> 3 * k) % KINDS;

			fill(ids, kind);
			want = want * KINDS + kind;
			b = prefix_find(&p, &pos, ids);
			if (!b)
				break;
			CHECK_EQ(path[b], want);
			nr_found++;
			nr_deep += k == DEEP - 1;
		}
		if (nr_held == HELD || (nr_held && (x >> 52) % 3 == 0)) {
			k = (uint32_t)(x >> 24) % nr_held;
			kv_put(&kv, held[k]);
			held[k] = held[--nr_held];
			continue;
		}
		if (b) {
			kv_get(&kv, b);
			held[nr_held++] = b;
			continue;
		}
		if (kv_alloc(&kv, &b) &&
		    (prefix_reclaim(&p) || kv_alloc(&kv, &b)))
			continue;
		held[nr_held++] = b;
		if (prefix_is_current(&p, &pos)) {
			struct prefix_pos behind = pos, again = pos;

			CHECK_EQ(prefix_insert(&p, &behind, b, ids), b);
			CHECK_EQ(prefix_find(&p, &again, ids), b);
			path[b] = want;
		}
		if (i % 5 == 0)
			CHECK(!kv_check(&kv) && !prefix_check(&p));
	}
	printf("# %u found, %u of them four deep\n", nr_found, nr_deep);
	CHECK(nr_found > 100000 && nr_deep > 1000);
	while (nr_held)
		kv_put(&kv, held[--nr_held]);
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
