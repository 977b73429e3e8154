// SPDX-License-Identifier: MIT
/* host.c - see host.h. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

uint64_t host_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* The loopback interface up, by hand: there is no ip(8) here. */
static void loopback_up(void)
{
	struct {
		struct nlmsghdr h;
		struct {
			unsigned char family, pad;
			unsigned short type;
			int index;
			unsigned int flags, change;
		} link;
	} m = {
		.h = { sizeof(m), 16 /* RTM_NEWLINK */, NLM_F_REQUEST, 0, 0 },
		.link = { 0, 0, 0, 1, 1, 1 },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		send(fd, &m, sizeof(m), 0);
		close(fd);
	}
}

void host_mounts(void)
{
	static const struct {
		const char *dir, *type;
	} mounts[] = {
		{ "/dev", "devtmpfs" },
		{ "/proc", "proc" },
		{ "/sys", "sysfs" },
		{ "/sys/kernel/debug", "debugfs" },
		{ "/sys/kernel/tracing", "tracefs" },
		{ "/sys/fs/cgroup", "cgroup2" },
		{ "/tmp", "tmpfs" },
	};
	size_t i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].dir, 0755);
		mount("none", mounts[i].dir, mounts[i].type, 0, NULL);
	}
	loopback_up();
}

bool host_slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	if (fd < 0)
		return false;
	while ((n = read(fd, buf + len, size - 1 - (size_t)len)) > 0)
		len += n;
	close(fd);
	buf[len] = 0;
	return n == 0 || len > 0;
}

bool host_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int err = errno;

	if (fd >= 0)
		close(fd);
	errno = err;
	return n == (ssize_t)strlen(text);
}

int host_insmod(const char *path, const char *args)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = (int)syscall(SYS_finit_module, fd, args, 0);
	close(fd);
	return ret;
}

int host_rmmod(void)
{
	return (int)syscall(SYS_delete_module, "llm", O_NONBLOCK);
}

bool host_unload(void)
{
	int i;

	for (i = 0; i < 200 && host_rmmod(); i++)
		poll(NULL, 0, 50);
	return access("/sys/module/llm", F_OK) != 0;
}

static bool lines_with(const char *path, const char *what, bool print)
{
	FILE *f = fopen(path, "re");
	bool found = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, what))
			continue;
		found = true;
		if (print)
			printf("# %s", line);
	}
	if (f)
		fclose(f);
	return found;
}

bool host_kunit_passed(void)
{
	const char *results = "/sys/kernel/debug/kunit/llm/results";

	return lines_with(results, "ok ", false) &&
	       !lines_with(results, "not ok ", true);
}

bool host_no_leak(void)
{
	const char *kmemleak = "/sys/kernel/debug/kmemleak";

	if (access(kmemleak, F_OK)) {
		printf("# no kmemleak\n");
		return false;
	}
	poll(NULL, 0, 6000); /* objects younger than 5 s are not looked at */
	host_put(kmemleak, "scan");
	host_put(kmemleak, "scan");
	return !lines_with(kmemleak, "", true);
}

static bool log_complains(void)
{
	static const char *const bad[] = {
		"BUG: ",       "WARNING: ",
		"KASAN",       "UBSAN",
		"Oops",	       "suspicious RCU",
		"ODEBUG",      "refcount_t",
		"INFO: task ", "possible circular",
		"kernel BUG",  "general protection",
		"soft lockup", "possible recursive",
	};
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool found = false;
	char rec[8192];
	ssize_t n;
	size_t i;

	while ((n = read(fd, rec, sizeof(rec) - 1)) > 0 ||
	       (n < 0 && errno == EPIPE)) {
		if (n < 0)
			continue;
		rec[n] = 0;
		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			if (strstr(rec, bad[i])) {
				printf("# log: %s", rec);
				found = true;
				break;
			}
	}
	close(fd);
	return found;
}

bool host_log_clean(void)
{
	/* W 9, D 7, L 14: what a splat leaves even where its text was lost */
	unsigned long mask = 1ul << 7 | 1ul << 9 | 1ul << 14;
	bool good = !log_complains();
	char buf[64] = "0";

	host_slurp("/proc/sys/kernel/tainted", buf, sizeof(buf));
	if (strtoul(buf, NULL, 10) & mask) {
		printf("# tainted: %s", buf);
		good = false;
	}
	/* lockdep switches itself off when it has something to say */
	if (access("/proc/lockdep_stats", F_OK) == 0 &&
	    !lines_with("/proc/lockdep_stats",
			"debug_locks:                             1", false)) {
		printf("# lockdep is off\n");
		good = false;
	}
	return good;
}

void host_exit(int code)
{
	fflush(stdout);
	tcdrain(1);
	/* qemu ends with code << 1 | 1 */
	if (ioperm(0xf4, 1, 1) == 0) {
		outb((unsigned char)code, 0xf4);
	} else {
		unsigned char b = (unsigned char)code;
		int fd = open("/dev/port", O_WRONLY | O_CLOEXEC);

		if (pwrite(fd, &b, 1, 0xf4) != 1)
			printf("# no way to tell qemu\n");
	}
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
