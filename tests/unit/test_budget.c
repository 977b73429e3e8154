/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdint.h>

#include "daemon/core/budget.h"

static struct budget b;

/* A step of @rows decoding rows at @pos on a machine of known speed. */
static void step(uint32_t rows, uint32_t pos, double noise)
{
	uint32_t i;
	double ns;

	budget_begin(&b, 0);
	for (i = 0; i < rows; i++)
		budget_spend(&b, pos, 1);
	ns = 2e6 + 3e4 * b.rows + 5.0 * (double)b.reads;
	budget_observe(&b, (uint64_t)(ns * noise));
}

static void learn(uint32_t nr)
{
	uint32_t i;

	budget_init(&b);
	for (i = 0; i < nr; i++)
		step(1 + i * 7 % 60, i * 131 % 4000,
		     1 + 0.02 * ((double)(i * 37 % 11) - 5) / 5);
}

TEST(the_time_of_a_step_is_learnt_from_steps)
{
	learn(200);
	CHECK(b.coef[0] > 1.8e6 && b.coef[0] < 2.2e6);
	CHECK(b.coef[1] > 2.7e4 && b.coef[1] < 3.3e4);
	CHECK(b.coef[2] > 0.9 * 5 * 1024 && b.coef[2] < 1.1 * 5 * 1024);
}

TEST(prefill_gets_what_decoding_leaves_of_the_target)
{
	uint32_t n;
	double ns;

	learn(200);
	budget_begin(&b, 20000000);
	budget_spend(&b, 1000, 1);
	n = budget_fill(&b, 2000, 100000);
	ns = 2e6 + 3e4 * (n + 1) + 5.0 * (n * (2000 + n / 2.0) + 1000);
	CHECK(ns < 1.1 * 20e6 && ns > 0.8 * 20e6);
	budget_spend(&b, 2000, n);
	CHECK_EQ(budget_fill(&b, 0, 1000), 0);
}

TEST(without_a_target_or_before_it_is_known_all_is_given)
{
	budget_init(&b);
	budget_begin(&b, 1);
	CHECK_EQ(budget_fill(&b, 0, 12345), 12345);
	learn(200);
	budget_begin(&b, 0);
	CHECK_EQ(budget_fill(&b, 0, 12345), 12345);
}

TEST(a_prompt_gets_16_tokens_though_the_target_is_out_of_reach)
{
	learn(200);
	budget_begin(&b, 1000);
	CHECK_EQ(budget_fill(&b, 100, 1000), 16);
	budget_begin(&b, 1000);
	CHECK_EQ(budget_fill(&b, 100, 5), 5);
}

TEST(one_step_that_was_disturbed_does_not_spoil_the_model)
{
	double before, after;

	learn(200);
	budget_begin(&b, 20000000);
	before = budget_fill(&b, 0, 100000);
	step(30, 2000, 1000);
	budget_begin(&b, 20000000);
	after = budget_fill(&b, 0, 100000);
	CHECK(after > 0.5 * before);
}

TEST(a_machine_that_became_slower_is_learnt_anew)
{
	uint32_t i;

	learn(200);
	for (i = 0; i < 600; i++)
		step(1 + i * 7 % 60, i * 131 % 4000, 3);
	CHECK(b.coef[1] > 0.8 * 9e4 && b.coef[1] < 1.2 * 9e4);
}

TEST(steps_that_all_look_alike_never_make_the_model_run_away)
{
	uint32_t i, n;

	budget_init(&b);
	for (i = 0; i < 100000; i++)
		step(8, 500, 1 + 0.01 * (i % 3));
	budget_begin(&b, 20000000);
	budget_spend(&b, 500, 8);
	n = budget_fill(&b, 0, 1000000);
	CHECK(n >= 16 && n < 1000000);
	CHECK(b.cov[0][0] >= 0 && b.cov[0][0] < 1e9);
}
