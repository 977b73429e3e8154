// SPDX-License-Identifier: MIT
/*
 * kt.c - init of the virtual machine: loads the module, runs the tests, each in
 * a process of its own, reads the kernel's log, and says how it went through
 * qemu's isa-debug-exit device.
 */
#include "kt.h"
#include "bench.h"
#include "host.h"
#include "nl.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <linux/llm_netlink.h>

#define LIMIT_S 120

static struct kt *first, **last = &first;

void kt_add(struct kt *t)
{
	*last = t;
	last = &t->next;
}

void kt_fail(const char *file, int line, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("# %s:%d: %s\n", file, line, text);
	fflush(stdout);
	_exit(1);
}

long kt_arg(const char *name, long otherwise)
{
	char line[4096], key[64], *at;

	if (!host_slurp("/proc/cmdline", line, sizeof(line)))
		return otherwise;
	snprintf(key, sizeof(key), " kt.%s=", name);
	at = strstr(line, key);
	return at ? strtol(at + strlen(key), NULL, 0) : otherwise;
}

long kt_rounds(long n)
{
	return n * kt_arg("scale", 1);
}

int kt_kernel(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	return major * 100 + minor;
}

bool kt_debug(void)
{
	return access("/proc/lockdep_stats", F_OK) == 0;
}

/* A stuck test: where it and its children are, then the end of it. */
static void end_stuck(pid_t pid, long limit_s)
{
	char path[64], buf[4096];

	printf("# over its %ld s\n", limit_s);
	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	if (host_slurp(path, buf, sizeof(buf)))
		printf("# %s", buf);
	kill(-pid, SIGKILL);
}

static void count_one(void *arg, const struct nlmsghdr *h)
{
	(void)h;
	++*(int *)arg;
}

/* Sessions are freed a little after their close, tenants with them: let them. */
static void settle(void)
{
	static struct nl n;
	int tries, nr = 1;

	if (nl_open(&n))
		return;
	for (tries = 0; nr && tries < 400; tries++) {
		nr = 0;
		nl_begin(&n, LLM_CMD_TENANT_GET, NLM_F_DUMP);
		if (nl_talk(&n, count_one, &nr, NULL) || !nr)
			break;
		poll(NULL, 0, 5);
	}
	nl_close(&n);
}

static int run_one(const struct kt *t)
{
	long limit_s = LIMIT_S + kt_arg("fuzz_s", 0), waited = 0;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		t->body();
		fflush(stdout);
		_exit(0);
	}
	setpgid(pid, pid);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		poll(NULL, 0, 5);
		if (++waited == limit_s * 200)
			end_stuck(pid, limit_s);
		if (waited > (limit_s + 20) * 200) {
			printf("# and cannot be killed\n");
			return 1;
		}
	}
	kill(-1, SIGKILL); /* what it left running: all but init */
	for (waited = 0; waitpid(-1, NULL, WNOHANG) >= 0; waited++) {
		poll(NULL, 0, 5);
		if (waited > 20 * 200) {
			printf("# left a process that cannot be killed\n");
			return 1;
		}
	}
	if (WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	return status != 0;
}

/* K14_07 is printed as K14.07; a test that is none of the list without. */
static const char *sentence(const char *id)
{
	static char text[8];

	if (strncmp(id, "K14_", 4) != 0)
		return "";
	snprintf(text, sizeof(text), "K14.%s", id + 4);
	return text;
}

static int run_all(const char *only, int count[2])
{
	struct kt *t;

	for (t = first; t; t = t->next) {
		uint64_t start = host_now_ns();
		int bad;

		if (*only && !strstr(t->id, only))
			continue;
		bad = run_one(t);
		settle();
		count[bad]++;
		printf("%s %s%s%s # %.0f ms\n", bad ? "not ok" : "ok",
		       sentence(t->id), *sentence(t->id) ? " " : "", t->what,
		       (double)(host_now_ns() - start) / 1e6);
		fflush(stdout);
	}
	return 0;
}

static void only_of(char *only, size_t size)
{
	char line[4096], *at;

	*only = 0;
	if (!host_slurp("/proc/cmdline", line, sizeof(line)))
		return;
	at = strstr(line, " kt.only=");
	if (at)
		snprintf(only, size, "%.*s", (int)strcspn(at + 9, " \n"),
			 at + 9);
}

/* One line as a test that the machine itself passes or not. */
static void verdict(int count[2], bool good, const char *what)
{
	count[!good]++;
	printf("%s %s\n", good ? "ok" : "not ok", what);
}

int main(void)
{
	struct utsname u;
	int count[2] = { 0 };
	char only[64];

	host_mounts();
	setvbuf(stdout, NULL, _IOLBF, 0);
	uname(&u);
	only_of(only, sizeof(only));
	printf("# kernel %s, %ld processors%s\n", u.release,
	       sysconf(_SC_NPROCESSORS_ONLN), kt_debug() ? ", checks" : "");
	if (access("/llm_kunit.ko", F_OK) == 0)
		verdict(count,
			host_insmod("/llm_kunit.ko", "") == 0 &&
				host_kunit_passed(),
			"KUnit's tests pass");
	if (host_insmod("/llm.ko", "")) {
		printf("# llm.ko: %s\n", strerror(errno));
		verdict(count, false, "the module loads");
	} else if (kt_arg("bench", 0)) {
		bench((int)kt_arg("bench", 0));
		verdict(count, true, "round trips were measured");
	} else {
		run_all(only, count);
		verdict(count, host_unload(), "the module is unloaded");
	}
	if (kt_debug())
		verdict(count, host_no_leak(), "kmemleak finds nothing");
	verdict(count, host_log_clean(), "the kernel's log has no complaint");
	printf("%d passed, %d failed, 0 skipped\n", count[0], count[1]);
	host_exit(count[1] ? 1 : 0);
}
