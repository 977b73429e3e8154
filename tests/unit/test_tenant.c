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

TEST(a_configured_tenant_is_never_forgotten_and_its_weight_is_checked)
{
	uint32_t i;

	CHECK_EQ(tenants_init(&tab, 2), 0);
	CHECK_EQ(tenant_configure(&tab, 5, 0), -EINVAL);
	CHECK_EQ(tenant_configure(&tab, 5, TENANT_WEIGHT_MAX + 1), -EINVAL);
	CHECK_EQ(tenant_configure(&tab, 5, 300), 0);
	for (i = 0; i < 10; i++)
		get(100 + i);
	CHECK_EQ(tab.all[get(5)].weight, 300);
	tenants_deinit(&tab);
}

TEST(a_cost_moves_the_counter_by_its_weight_within_a_thousandth)
{
	static const uint32_t weights[] = { 1, 7, 100, 333, 999, 1000 };
	uint32_t i, a;

	CHECK_EQ(tenants_init(&tab, 8), 0);
	for (i = 0; i < sizeof(weights) / sizeof(*weights); i++) {
		double want = 1e6 * (1 << 20) / weights[i];

		CHECK_EQ(tenant_configure(&tab, i, weights[i]), 0);
		a = get(i);
		tenant_charge(&tab, a, CLASS_BATCH, 1000000);
		CHECK((double)tab.all[a].vt[CLASS_BATCH] > 0.999 * want &&
		      (double)tab.all[a].vt[CLASS_BATCH] <= want);
		CHECK_EQ(tab.all[a].vt[CLASS_INTERACTIVE], 0);
		CHECK_EQ(tab.all[a].served, 1000000);
	}
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
