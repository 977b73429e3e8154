/* SPDX-License-Identifier: MIT */
/*
 * slow test
 *
 * test_sessions.c - two thousand sessions at once: opened, idle, through the
 * death of an engine, and given back.  Over the device as many as it gives one
 * user by default, less one that asks whether the daemon is there.
 */
#include "tests/test.h"
#include "tests/system/raw.h"
#include "tests/system/serve.h"

#include <stdbool.h>
#include <sys/resource.h>

#define NR_MAX	  2100
#define NR_DEVICE 255

static struct serve D;
static struct raw r[NR_MAX];

/* ns that the process has been on a CPU */
static uint64_t cpu_ns(pid_t pid)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static bool finishes(struct raw *s, uint32_t n)
{
	struct raw_ask a = { .prompt_len = 1,
			     .max_tokens = n,
			     .params_flags = LLM_PARAMS_F_IGNORE_EOS };
	uint64_t end = raw_now() + 10000000000ull;

	if (!raw_submit(s, 0, &a))
		return false;
	raw_bell(s);
	while (!raw_arm(s, 0, n))
		if (raw_now() > end || raw_sleep(s, 1000) < 0)
			return false;
	return LLM_COMMIT_TAIL(raw_peek(s, 0)) == n;
}

TEST(two_thousand_sessions_are_served_idle_and_recovered)
{
	static const char *const args[] = { "--backend", "null", NULL };
	struct rlimit l;
	uint64_t t0, a, b;
	pid_t engine;
	int i, k, nr = serve_device() ? NR_DEVICE : NR_MAX;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &l), 0);
	if (l.rlim_max < (rlim_t)nr + 200)
		SKIP("RLIMIT_NOFILE allows too few descriptors");
	l.rlim_cur = l.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &l), 0);
	CHECK_EQ(serve_start(&D, "llmd", args), 0);
	t0 = raw_now();
	for (i = 0; i < nr; i++) {
		CHECK_EQ(raw_open(&r[i], D.sock), 0);
		for (k = 0; k < LLM_HELLO_FDS; k++) {
			close(r[i].fd[k]);
			r[i].fd[k] = -1;
		}
	}
	printf("# %d sessions opened in %.0f us each\n", nr,
	       (double)(raw_now() - t0) / 1e3 / nr);
	for (i = 0; i < nr; i += 300)
		CHECK(finishes(&r[i], 20));

	engine = serve_engine(D.pid);
	serve_msleep(200);
	a = cpu_ns(D.pid) + cpu_ns(engine);
	serve_msleep(2000);
	b = cpu_ns(D.pid) + cpu_ns(engine);
	printf("# idle for 2 s: %.3f ms of CPU\n", (double)(b - a) / 1e6);
	CHECK(b - a < 2000000ull * serve_slow()); /* 10 ms in 10 s */

	t0 = raw_now();
	kill(engine, SIGKILL);
	CHECK(finishes(&r[nr - 1], 20));
	printf("# from the kill to 20 tokens: %.0f ms\n",
	       (double)(raw_now() - t0) / 1e6);
	for (i = 0; i < nr; i += 300)
		CHECK(finishes(&r[i], 20));
	for (i = 0; i < nr; i++)
		raw_close(&r[i]);
	CHECK_EQ(raw_open(&r[0], D.sock), 0);
	CHECK(finishes(&r[0], 20));
	raw_close(&r[0]);
	CHECK_EQ(serve_stop(&D), 0);
}
