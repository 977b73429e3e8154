/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdint.h>

#include "daemon/core/tenant.h"

static struct tenants tab;

static uint32_t get(uint64_t key)
{
	uint32_t i = TENANT_NONE;

	CHECK_EQ(tenant_get(&tab, key, &i), 0);
	return i;
}

TEST(a_tenant_keeps_its_place_and_an_idle_one_gives_it_up)
{
	uint32_t a, b, c;

	CHECK_EQ(tenants_init(&tab, 2), 0);
	a = get(10);
	b = get(11);
	CHECK(a != b);
	CHECK_EQ(get(10), a);
	tab.all[a].nr_seqs = 1;
	c = get(12);
	CHECK_EQ(c, b);
	tab.all[c].nr_seqs = 1;
	CHECK_EQ(tenant_get(&tab, 13, &b), -EAGAIN);
	CHECK_EQ(get(10), a);
	tenants_deinit(&tab);
}

static int set(uint64_t key, uint32_t weight, uint32_t rate)
{
	return tenant_set(&tab, get(key), weight, rate);
}

TEST(terms_are_checked_and_go_with_the_tenant)
{
	uint32_t i;

	CHECK_EQ(tenants_init(&tab, 2), 0);
	CHECK_EQ(set(5, 0, 0), -EINVAL);
	CHECK_EQ(set(5, TENANT_WEIGHT_MAX + 1, 0), -EINVAL);
	CHECK_EQ(set(5, TENANT_WEIGHT_MAX, 10), 0);
	CHECK_EQ(tab.all[get(5)].weight, TENANT_WEIGHT_MAX);
	tenants_clock(&tab, 1);
	tenant_count(&tab, get(5), 1000);
	tenants_clock(&tab, 2);
	CHECK_EQ(tab.nr_throttled, 1);
	for (i = 0; i < 10; i++)
		get(100 + i);
	CHECK_EQ(tab.all[get(5)].weight, TENANT_WEIGHT);
	CHECK_EQ(tab.nr_rated, 0);
	CHECK_EQ(tab.nr_throttled, 0);
	tenants_deinit(&tab);
}

TEST(a_cost_moves_the_counter_by_its_weight_within_a_thousandth)
{
	static const uint32_t weights[] = { 1,	  7,	100,  333,  999,
					    1000, 3333, 9999, 10000 };
	uint32_t i, a;

	CHECK_EQ(tenants_init(&tab, 16), 0);
	for (i = 0; i < sizeof(weights) / sizeof(*weights); i++) {
		double want = 1e6 * TENANT_VT / weights[i];

		CHECK_EQ(set(i, weights[i], 0), 0);
		a = get(i);
		tenant_charge(&tab, a, CLASS_BATCH, 1000000);
		CHECK((double)tab.all[a].vt[CLASS_BATCH] > 0.999 * want &&
		      (double)tab.all[a].vt[CLASS_BATCH] <= want);
		CHECK_EQ(tab.all[a].vt[CLASS_INTERACTIVE], 0);
		CHECK_EQ(tab.all[a].served, 1000000);
	}
	tenants_deinit(&tab);
}

TEST(counters_go_on_for_ever_and_keep_their_distances)
{
	uint64_t before, i;
	uint32_t a, b, c;

	CHECK_EQ(tenants_init(&tab, 4), 0);
	CHECK_EQ(set(1, 1, 0), 0);
	CHECK_EQ(set(2, 1, 0), 0);
	a = get(1);
	b = get(2);
	c = get(3);
	tenant_want(&tab, a, 0);
	tenant_want(&tab, b, 0);
	tenant_charge(&tab, b, 0, 12345);
	before = tab.all[b].vt[0] - tab.all[a].vt[0];
	/* 10^13 tokens of weight 1: 2^64 would have been passed many times */
	for (i = 0; i < 1000; i++) {
		tenant_charge(&tab, a, 0, 200000000000ull);
		tenant_charge(&tab, b, 0, 200000000000ull);
		CHECK_EQ(tab.all[b].vt[0] - tab.all[a].vt[0], before);
		CHECK_EQ(tenant_next(&tab, 0, 1), a);
	}
	tenant_want(&tab, c, 0);
	CHECK_EQ(tab.all[c].vt[0], tab.all[a].vt[0]);
	tenants_deinit(&tab);
}

TEST(a_tenant_over_its_rate_is_passed_over_and_earns_no_credit_by_it)
{
	const uint64_t second = 1000000000ull;
	uint32_t a, b, c;

	CHECK_EQ(tenants_init(&tab, 4), 0);
	a = get(1);
	b = get(2);
	CHECK_EQ(set(1, 100, 10), 0);
	tab.all[a].nr_seqs = tab.all[b].nr_seqs = 1;
	tenants_clock(&tab, second);
	tenant_want(&tab, a, 0);
	tenant_want(&tab, b, 0);
	CHECK_EQ(tenant_next(&tab, 0, 1), a);
	CHECK(tenants_ready_ns(&tab) == UINT64_MAX);
	tenant_count(&tab, a, 30); /* ten were its own, twenty are owed */
	tenants_clock(&tab, second);
	CHECK_EQ(tenant_next(&tab, 0, 1), b);
	CHECK(tenants_ready_ns(&tab) > 3 * second &&
	      tenants_ready_ns(&tab) < 3 * second + 10);
	tenant_charge(&tab, b, 0, 1000);
	/* a newcomer is measured by who is served, not by who is throttled */
	c = get(3);
	tenant_want(&tab, c, 0);
	CHECK_EQ(tab.all[c].vt[0], tab.all[b].vt[0]);
	tenants_clock(&tab, 3 * second);
	CHECK(tab.all[a].throttled);
	tenants_clock(&tab, 3 * second + 10);
	CHECK(!tab.all[a].throttled);
	CHECK_EQ(tab.all[a].vt[0], tab.all[b].vt[0]);
	/* without a rate it waits for nothing */
	tenant_count(&tab, a, 3000);
	tenants_clock(&tab, 3 * second + 20);
	CHECK(tab.all[a].throttled);
	CHECK_EQ(set(1, 100, 0), 0);
	CHECK(!tab.all[a].throttled && !tab.nr_throttled && !tab.nr_rated);
	tenants_deinit(&tab);
}

TEST(idleness_earns_no_credit_and_leaving_loses_no_debt)
{
	uint32_t a, b, c;

	CHECK_EQ(tenants_init(&tab, 4), 0);
	a = get(1);
	b = get(2);
	tenant_want(&tab, a, 0);
	tenant_charge(&tab, a, 0, 500);
	/* a newcomer begins where the busy one stands */
	tenant_want(&tab, b, 0);
	CHECK_EQ(tab.all[b].vt[0], tab.all[a].vt[0]);
	/* who has more than the others keeps it */
	tenant_charge(&tab, b, 0, 100);
	tenant_unwant(&tab, b, 0);
	tenant_want(&tab, b, 0);
	CHECK(tab.all[b].vt[0] > tab.all[a].vt[0]);
	CHECK_EQ(tenant_next(&tab, 0, 1), a);
	/* all leave: a newcomer begins where the last one left off */
	tenant_unwant(&tab, a, 0);
	tenant_unwant(&tab, b, 0);
	c = get(3);
	tenant_want(&tab, c, 0);
	CHECK_EQ(tab.all[c].vt[0], tab.all[b].vt[0]);
	tenants_deinit(&tab);
}

TEST(the_lowest_counter_of_those_not_blocked_is_next)
{
	uint32_t a, b;

	CHECK_EQ(tenants_init(&tab, 4), 0);
	a = get(1);
	b = get(2);
	CHECK_EQ(tenant_next(&tab, 0, 1), TENANT_NONE);
	tenant_want(&tab, a, 0);
	tenant_want(&tab, b, 0);
	tenant_charge(&tab, a, 0, 10);
	CHECK_EQ(tenant_next(&tab, 0, 1), b);
	tab.all[b].blocked[0] = 1;
	CHECK_EQ(tenant_next(&tab, 0, 1), a);
	CHECK_EQ(tenant_next(&tab, 0, 2), b);
	CHECK_EQ(tenant_next(&tab, 1, 1), TENANT_NONE);
	tenants_deinit(&tab);
}

/* Of output tokens, 20 tenths of a token each. */
TEST(output_tokens_that_are_due_count_for_whoever_asks)
{
	const enum sched_class cls = CLASS_INTERACTIVE;
	uint64_t one = 20ull * (TENANT_VT / TENANT_WEIGHT), was;
	uint32_t a, b, i;

	CHECK_EQ(tenants_init(&tab, 2), 0);
	a = get(1);
	b = get(2);
	tab.all[a].nr_seqs = tab.all[b].nr_seqs = 1;
	/* two tenants, two classes: each its own */
	for (i = 0; i < 3; i++) {
		tenant_output(&tab, a, cls);
		tenant_output(&tab, b, cls);
		tenant_output(&tab, b, CLASS_BATCH);
	}
	tenants_settle(&tab);
	CHECK_EQ(tab.all[a].vt[cls], 3 * one);
	CHECK_EQ(tab.all[b].vt[cls], 3 * one);
	CHECK_EQ(tab.all[b].vt[CLASS_BATCH], 3 * one);
	CHECK_EQ(tab.all[b].served, 6 * 20);
	/* by the weight that it had then */
	tenant_output(&tab, a, cls);
	CHECK_EQ(set(1, 2 * TENANT_WEIGHT, 0), 0);
	CHECK_EQ(tab.all[a].vt[cls], 4 * one);
	/* who comes is lifted to where the other is now, */
	tenant_want(&tab, a, cls);
	tenant_output(&tab, a, cls);
	was = tab.all[a].vt[cls];
	tenant_want(&tab, b, cls);
	CHECK(tab.all[a].vt[cls] > was);
	CHECK_EQ(tab.all[b].vt[cls], tab.all[a].vt[cls]);
	/* or to where the last one left off */
	tenant_unwant(&tab, b, cls);
	tenant_output(&tab, a, cls);
	tenant_unwant(&tab, a, cls);
	CHECK_EQ(tab.vt_left[cls], tab.all[a].vt[cls]);
	CHECK(tab.vt_left[cls] > tab.all[b].vt[cls]);
	/* against its rate, and in the second in which they came out */
	CHECK_EQ(set(1, TENANT_WEIGHT, 2), 0);
	tenants_clock(&tab, 1);
	for (i = 0; i < 5; i++)
		tenant_output(&tab, a, cls);
	tenants_clock(&tab, 2);
	CHECK_EQ(tab.nr_throttled, 1);
	was = tenants_ready_ns(&tab);
	tenant_output(&tab, a, cls);
	CHECK(tenants_ready_ns(&tab) > was);
	/* and never for who has its place afterwards */
	tenant_output(&tab, b, cls);
	tab.all[b].nr_seqs = 0;
	CHECK_EQ(get(3), b);
	CHECK_EQ(tab.all[b].served, 0);
	tenants_settle(&tab);
	CHECK_EQ(tab.all[b].served, 0);
	tenants_deinit(&tab);
}
