/* SPDX-License-Identifier: MIT */
/* Rates: what a bucket grants over time, whatever is asked of it. */
#include "tests/test.h"
#include "daemon/core/bucket.h"

#define SECOND 1000000000ull
#define START  (77 * SECOND)

/* As its users do: charge what it holds. */
static bool take(struct bucket *b, uint32_t rate, uint64_t now_ns, uint32_t n)
{
	if (!bucket_holds(b, rate, now_ns, n))
		return false;
	bucket_charge(b, rate, now_ns, n);
	return true;
}

TEST(a_full_bucket_holds_a_second_of_its_rate_and_no_more)
{
	static const uint32_t rates[] = { 1, 3, 7, 1000, UINT32_MAX };
	unsigned i;

	for (i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		struct bucket b = { 0 };

		CHECK(take(&b, rates[i], START, rates[i]));
		CHECK(!take(&b, rates[i], START, 1));
		/* a year later it holds as much as after a second */
		CHECK(take(&b, rates[i], 31536000 * SECOND, rates[i]));
		CHECK(!take(&b, rates[i], 31536000 * SECOND, 1));
	}
}

TEST(what_is_granted_over_a_minute_is_the_rate_times_the_minute)
{
	static const uint32_t rates[] = { 1, 2, 7, 60, 999, 12345 };
	unsigned i;

	for (i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		struct bucket b = { 0 };
		uint64_t t, got = 0, want = 61ull * rates[i];

		/* asked far more often than it can say yes, at odd moments */
		for (t = START; t < START + 60 * SECOND; t += 77777)
			got += take(&b, rates[i], t, 1);
		CHECK(got <= want && got + 1 + want / 1000 >= want);
	}
}

TEST(a_debt_is_waited_for_as_long_as_the_rate_takes_to_pay_it)
{
	struct bucket b = { 0 };
	uint64_t t;

	CHECK_EQ(bucket_ready_ns(&b, 10, START), START);
	bucket_charge(&b, 10, START, 10); /* empty, not in debt */
	t = bucket_ready_ns(&b, 10, START);
	CHECK(t > START && t <= START + 2);
	bucket_charge(&b, 10, START, 25);
	t = bucket_ready_ns(&b, 10, START);
	CHECK(t > START + 5 * SECOND / 2 && t <= START + 5 * SECOND / 2 + 2);
	CHECK(!take(&b, 10, t - 2, 0));
	CHECK_EQ(bucket_ready_ns(&b, 10, t), t);
	/* and it never overflows */
	for (int i = 0; i < 10; i++)
		bucket_charge(&b, 10, t, UINT32_MAX);
	CHECK(bucket_ready_ns(&b, 10, t) > t + 1000 * SECOND);
}

TEST(a_rate_that_changes_holds_from_the_next_question_on)
{
	struct bucket b = { 0 };

	CHECK(take(&b, 1000, START, 1));
	CHECK(take(&b, 5, START, 5));
	CHECK(!take(&b, 5, START, 1));
	CHECK(!take(&b, 100, START, 1));
	CHECK(take(&b, 100, START + SECOND / 100 + 1, 1));
}

TEST(a_clock_that_goes_back_adds_nothing)
{
	struct bucket b = { 0 };

	CHECK(take(&b, 5, START, 5));
	CHECK(!take(&b, 5, START - SECOND, 1));
	CHECK(!take(&b, 5, START, 1));
	CHECK(take(&b, 5, START + SECOND / 5, 1));
}
