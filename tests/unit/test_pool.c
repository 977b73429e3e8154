/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
#include "kernels/pool.h"
#include "base/err.h"
#include "tests/test.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MAX_ITEMS 1000

struct tally {
	uint32_t nr_threads;
	uint32_t times[MAX_ITEMS + 1]; /* plain: two writers would be a race */
	uint32_t bad;
	uint32_t busy; /* rounds of work an item */
};

static void count_items(void *arg, uint32_t thread, uint32_t first,
			uint32_t end)
{
	struct tally *t = arg;

	if (thread >= t->nr_threads || first >= end)
		t->bad = 1;
	for (uint32_t i = first; i < end; i++) {
		for (volatile uint32_t n = 0; n < t->busy; n++)
			;
		t->times[i]++;
	}
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

TEST(each_item_is_done_once_and_seen_on_return)
{
	static const struct {
		const char *name;
		uint32_t threads, items, grain, regions;
	} rows[] = {
		{ "one thread", 1, 10, 1, 50 },
		{ "no items", 2, 0, 1, 50 },
		{ "one item", 2, 1, 1, 50 },
		{ "a grain over the items", 2, 7, 100, 50 },
		{ "two threads, back to back", 2, 64, 1, 20000 },
		{ "a last short grain", 3, 1000, 7, 2000 },
		{ "more threads than items", 8, 3, 1, 5000 },
		{ "more threads than CPUs", 16, 400, 3, 500 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct tally t;
		struct pool *p = NULL;

		ROW(rows[i].name);
		CHECK_EQ(pool_open(rows[i].threads, &p, NULL), 0);
		t = (struct tally){ .nr_threads = rows[i].threads };
		for (uint32_t r = 0; r < rows[i].regions; r++) {
			pool_run(p, count_items, &t, rows[i].items,
				 rows[i].grain);
			/* another gap each time: late workers, sleeping ones */
			for (volatile uint32_t n = 0; n < r * 37 % 9000; n++)
				;
			for (uint32_t j = 0; j < rows[i].items; j++)
				CHECK_EQ(t.times[j], r + 1);
		}
		CHECK_EQ(t.times[rows[i].items], 0);
		CHECK_EQ(t.bad, 0);
		pool_close(p);
	}
}

TEST(a_pool_that_waits_uses_no_cpu)
{
	static struct tally t = { .nr_threads = 4 };
	struct pool *p = NULL;
	double before;

	CHECK_EQ(pool_open(4, &p, NULL), 0);
	pool_run(p, count_items, &t, 100, 1);
	usleep(20000); /* the last spin is over */
	before = cpu_ms();
	usleep(300000);
	CHECK(cpu_ms() - before < 3);
	pool_close(p);
}

/* What an honest pool costs: about the work, not the threads that wait. */
TEST(waiting_for_a_slow_item_does_not_burn_the_other_threads)
{
	static struct tally one = { .nr_threads = 8, .busy = 4000000 };
	struct pool *p = NULL;
	double alone, together;

	if (SANITIZED)
		SKIP("a sanitizer's own work would be measured");
	CHECK_EQ(pool_open(8, &p, NULL), 0);
	count_items(&one, 0, 0, 1); /* warm */
	alone = cpu_ms();
	for (int i = 0; i < 10; i++)
		count_items(&one, 0, 0, 1);
	alone = cpu_ms() - alone;
	together = cpu_ms();
	for (int i = 0; i < 5; i++) /* two grains: six threads at least wait */
		pool_run(p, count_items, &one, 2, 1);
	together = cpu_ms() - together;
	pool_close(p);
	/* all of them spinning would be four times the work; a busy machine
	 * makes an item dearer, but not three times */
	CHECK(together < alone * 3 + 5);
}

TEST(two_threads_on_one_busy_cpu_are_not_slower_than_one)
{
	static struct tally t = { .nr_threads = 2, .busy = 3000 };
	cpu_set_t all, one;
	double ms[2] = { 1e9, 1e9 };

	/*
	 * The worst machine for a pool: both threads on one CPU.  A barrier
	 * that spins burns a scheduler's slice a region here, some 3 ms.
	 */
	if (SANITIZED)
		SKIP("a sanitizer's own work would be measured");
	CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &all)) {
			CPU_SET(c, &one);
			break;
		}
	CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	for (int round = 0; round < 3; round++)
		for (uint32_t n = 1; n <= 2; n++) {
			struct pool *p = NULL;
			double start;

			CHECK_EQ(pool_open(n, &p, NULL), 0);
			start = cpu_ms();
			for (int i = 0; i < 300; i++)
				pool_run(p, count_items, &t, 64, 4);
			start = cpu_ms() - start;
			ms[n - 1] = start < ms[n - 1] ? start : ms[n - 1];
			pool_close(p);
		}
	CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
	printf("# 300 regions on one CPU: %.1f ms of it with 1 thread, %.1f with 2\n",
	       ms[0], ms[1]);
	CHECK(ms[1] < ms[0] * 1.35 + 3);
}

TEST(threads_follow_the_cpus_we_may_use)
{
	cpu_set_t all, one;

	CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	CHECK(pool_cpus() >= 1);
	CHECK(pool_cpus() <= (uint32_t)CPU_COUNT(&all));
	CPU_ZERO(&one);
	for (int c = 0; c < CPU_SETSIZE && !CPU_COUNT(&one); c++)
		if (CPU_ISSET(c, &all))
			CPU_SET(c, &one);
	CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	CHECK_EQ(pool_cpus(), 1);
	CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
}

TEST(too_many_threads_are_refused_in_words)
{
	struct pool *p = NULL;
	struct err err = { 0 };

	CHECK_EQ(pool_open(POOL_MAX_THREADS + 1, &p, &err), -EINVAL);
	CHECK(!p);
	CHECK_STR(err.text, "257 threads, allowed 1..256");
	pool_close(NULL);
}
