// SPDX-License-Identifier: MIT
/*
 * What fails in the middle leaves nothing, and is undone once.
 *
 * On a kernel with fault injection each operation is run with its first,
 * second, ... allocation (and user copy) failing, until it has none left to
 * fail.  A stock kernel has only the failures that a caller can bring about;
 * those are repeated.
 */
#include "host.h"
#include "kt.h"
#include "nl.h"
#include "side.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/llm_netlink.h>

static const char fail_nth[] = "/proc/thread-self/fail-nth";

/* An operation under test: 0, or -1 with errno; leaves nothing open. */
struct operation {
	const char *name;
	int (*run)(void);
};

static struct client client;
static struct daemon server;
static int opened = -1;

static int op_open(void)
{
	opened = open("/dev/llm", O_RDWR | O_CLOEXEC);
	return opened < 0 ? -1 : 0;
}

static int op_setup(void)
{
	struct llm_setup s = { .size = sizeof(s),
			       .nr_streams = 4,
			       .sq_entries = 4,
			       .arena_size = 8192,
			       .log_size = 8192 };

	return ioctl(opened, LLM_IOC_SETUP, &s);
}

static int op_map(void)
{
	char *p = side_map(client.fd, LLM_AREA_ARENA, SIDE_ARENA,
			   PROT_READ | PROT_WRITE);

	if (p == MAP_FAILED)
		return -1;
	p[0] = p[SIDE_ARENA - 1] = 1; /* late pages */
	return munmap(p, SIDE_ARENA);
}

static int op_enter(void)
{
	struct llm_sqe e = side_entry(LLM_OP_NOP, 0, 0);
	int ret;

	client_put(&client, &e);
	ret = client_enter(&client, 1, 0, 0);
	if (ret < 0)
		client.ctl->sq_tail--;
	return ret == 1 ? 0 : -1;
}

static int op_write(void)
{
	return write(opened, "hello", 5) == 5 ? 0 : -1;
}

static int op_daemon(void)
{
	opened = open("/dev/llmd", O_RDWR | O_CLOEXEC);
	return opened < 0 ? -1 : 0;
}

static int op_attach(void)
{
	return daemon_attach(&server);
}

static int op_getfd(void)
{
	struct view v;

	if (view_open(&server, client.lay.session, &v))
		return -1;
	((char *)v.engine)[v.lay.off_extent + 4096] = 1;
	view_close(&v);
	return 0;
}

static int op_take(void)
{
	return daemon_take(&server, ~0ull) < 0 ? -1 : 0;
}

static int op_wake(void)
{
	return daemon_wake(&server, client.lay.session) < 0 ? -1 : 0;
}

/* One netlink command about the tenant 4711, over a socket of its own. */
static int netlink_op(int cmd, int flags)
{
	static struct nl n;
	int ret, err;

	if (nl_open(&n))
		return -1;
	nl_begin(&n, cmd, NLM_F_ACK | flags);
	if (cmd == LLM_CMD_SESSION_KILL)
		nl_put64(&n, LLM_A_SESSION_ID, 12345); /* nobody's */
	else if (!flags)
		nl_put64(&n, LLM_A_TENANT_KEY, 4711);
	if (cmd == LLM_CMD_TENANT_SET)
		nl_put32(&n, LLM_A_TENANT_WEIGHT, 50);
	ret = nl_talk(&n, NULL, NULL, NULL);
	err = errno;
	nl_close(&n);
	errno = err;
	return ret;
}

static int op_nl_set(void)
{
	return netlink_op(LLM_CMD_TENANT_SET, 0);
}

static int op_nl_get(void)
{
	return netlink_op(LLM_CMD_TENANT_GET, 0);
}

static int op_nl_dump(void)
{
	return netlink_op(LLM_CMD_TENANT_GET, NLM_F_DUMP);
}

static int op_nl_sessions(void)
{
	return netlink_op(LLM_CMD_SESSION_GET, NLM_F_DUMP);
}

static int op_nl_kill(void)
{
	int ret = netlink_op(LLM_CMD_SESSION_KILL, 0);

	return ret && errno == ENOENT ? 0 : ret;
}

static int op_nl_reset(void)
{
	int ret = netlink_op(LLM_CMD_TENANT_RESET, 0);

	return ret && errno == ENOENT ? 0 : ret;
}

static void injection_on(void)
{
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_usercopy/verbose", "0" },
	};
	char path[96];
	size_t i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s",
			 settings[i][0]);
		CHECK(host_put(path, settings[i][1]));
	}
}

/* Fail the n-th thing of @o for n = 1, 2, ... until it has none left. */
static void sweep(const struct operation *o, void (*before)(void))
{
	char buf[32];
	int n, ret, fd, failed = 0;

	fd = open(fail_nth, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	for (n = 1; n < 2000; n++) {
		if (before)
			before();
		snprintf(buf, sizeof(buf), "%d", n);
		CHECK(pwrite(fd, buf, strlen(buf), 0) > 0);
		ret = o->run();
		memset(buf, 0, sizeof(buf));
		/* looking may be what fails: then it was not reached */
		if (pread(fd, buf, sizeof(buf) - 1, 0) <= 0)
			strcpy(buf, "1");
		while (pwrite(fd, "0", 1, 0) != 1)
			;
		failed += ret != 0;
		/* what failed once works the next time, and only once */
		if (ret)
			CHECK(o->run() == 0);
		if (opened >= 0)
			close(opened);
		opened = -1;
		if (atoi(buf) > 0) /* was not reached */
			break;
	}
	close(fd);
	printf("# %s: %d faults, %d refusals\n", o->name, n - 1, failed);
	CHECK(n < 2000);
}

static void before_open(void)
{
	opened = open("/dev/llm", O_RDWR | O_CLOEXEC);
	CHECK(opened >= 0);
}

/* The failures that a caller brings about, many times; what is good goes on. */
static void provoke(void)
{
	struct llm_setup s = { .size = sizeof(s), .nr_streams = 4 }, t;
	struct llmd_getfd *g = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i, fd;

	*g = (struct llmd_getfd){ .size = sizeof(*g),
				  .session = client.lay.session };
	mprotect(g, 4096, PROT_READ);
	for (i = 0; i < 200; i++) {
		fd = open("/dev/llm", O_RDWR | O_CLOEXEC);
		t = s;
		t.sq_entries = 3;
		CHECK_ERR(ioctl(fd, LLM_IOC_SETUP, &t), EINVAL);
		t = s;
		t.abi = 77;
		CHECK_ERR(ioctl(fd, LLM_IOC_SETUP, &t), EPROTO);
		CHECK_ERR(ioctl(fd, LLM_IOC_SETUP, (void *)8), EFAULT);
		t = s;
		t.log_size = LLM_MAX_LOG_BYTES;
		t.arena_size = LLM_MAX_ARENA_BYTES;
		if (i % 50 == 0) { /* 32 MiB of page pointers; never touched */
			int big = open("/dev/llm", O_RDWR | O_CLOEXEC);

			CHECK(ioctl(big, LLM_IOC_SETUP, &t) == 0 ||
			      errno == ENOMEM);
			close(big);
		}
		t = s;
		CHECK(ioctl(fd, LLM_IOC_SETUP, &t) == 0);
		CHECK_ERR(ioctl(fd, LLM_IOC_SETUP, &t), EBUSY);
		CHECK_ERR(ioctl(server.fd, LLMD_IOC_GETFD, g), EFAULT);
		CHECK_ERR(open("/dev/llmd", O_RDWR), EBUSY);
		close(fd);
		daemon_drain(
			&server); /* an OPEN in the ring holds its session */
	}
}

static void both_ends(void)
{
	CHECK(client_open(&client) == 0);
	CHECK(daemon_open(&server) == 0 && daemon_attach(&server) == 0);
}

KTEST(K14_16,
      "an error path leaks nothing: each allocation of a client fails once")
{
	static const struct operation open_ = { "open", op_open };
	static const struct operation more[] = { { "SETUP", op_setup },
						 { "write", op_write } };
	static const struct operation rest[] = { { "mmap", op_map },
						 { "ENTER", op_enter } };
	size_t i;

	both_ends();
	if (access(fail_nth, F_OK)) {
		CHECK(!kt_debug());
		provoke();
		return;
	}
	injection_on();
	sweep(&open_, NULL);
	for (i = 0; i < 2; i++)
		sweep(&more[i], before_open);
	for (i = 0; i < 2; i++)
		sweep(&rest[i], NULL);
}

KTEST(fault_netlink, "each allocation of a netlink command fails once")
{
	static const struct operation ops[] = {
		{ "TENANT_SET", op_nl_set },
		{ "TENANT_GET", op_nl_get },
		{ "TENANT_GET, dump", op_nl_dump },
		{ "SESSION_GET, dump", op_nl_sessions },
		{ "SESSION_KILL", op_nl_kill },
		{ "TENANT_RESET", op_nl_reset },
	};
	size_t i;

	both_ends();
	if (access(fail_nth, F_OK)) { /* then they have nothing to fail of */
		CHECK(!kt_debug());
		for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
			CHECK(ops[i].run() == 0);
		return;
	}
	injection_on();
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		sweep(&ops[i], NULL);
}

KTEST(K14_17,
      "an error path undoes once: each allocation of a daemon fails once")
{
	static const struct operation ops[] = { { "ATTACH", op_attach },
						{ "GETFD", op_getfd },
						{ "TAKE", op_take },
						{ "WAKE", op_wake } };
	static const struct operation open_ = { "open of llmd", op_daemon };
	size_t i;

	both_ends();
	if (access(fail_nth, F_OK)) {
		CHECK(!kt_debug());
		provoke();
		return;
	}
	injection_on();
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		sweep(&ops[i], NULL);
	daemon_close(&server);
	sweep(&open_, NULL);
}
