// SPDX-License-Identifier: MIT
/*
 * bench.c - round trips between two processes, side by side in one boot: a PING
 * through /dev/llm, 8 bytes over an eventfd pair, a Unix socket, TCP.
 *
 * With qemu's -icount one instruction is one nanosecond, so these are costs in
 * instructions of both sides and the kernel between them: the same to the digit
 * in each run, and no times of a real processor.
 */
#include "bench.h"
#include "host.h"
#include "kt.h"
#include "side.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WARM 100

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* p50 in ns, which other rows are compared with. */
static double report(const char *name, uint64_t *ns, int n, double llm)
{
	double p50;

	qsort(ns, (size_t)n, sizeof(*ns), by_value);
	p50 = (double)ns[n / 2];
	printf("BENCH %-34s %6.2f %6.2f %6.2f", name, p50 / 1e3,
	       (double)ns[n * 9 / 10] / 1e3, (double)ns[n * 99 / 100] / 1e3);
	if (llm > 0)
		printf("   %.3f", llm / p50);
	printf("\n");
	free(ns);
	return p50;
}

static uint64_t *room(int n)
{
	uint64_t *ns = calloc((size_t)n, sizeof(*ns));

	CHECK(ns);
	return ns;
}

enum step { NOTHING, SUBMIT, TAKE_NOW, WAKE_NOBODY, WAIT_MET, NR_STEPS };

/* The calls of a round trip one by one, none of which sleeps. */
static void account(int n)
{
	static const char *const name[] = {
		[NOTHING] = "a system call that does nothing",
		[SUBMIT] = "  ENTER: an entry into the work ring",
		[TAKE_NOW] = "  TAKE: what is there",
		[WAKE_NOBODY] = "  WAKE: nobody sleeps",
		[WAIT_MET] = "  ENTER: a wish that is met",
	};
	struct llm_sqe e = side_entry(LLM_OP_NOP, 0, 0);
	uint64_t *ns, t;
	struct client c;
	struct daemon d;
	enum step step;
	struct view v;
	int i;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(client_open(&c) == 0);
	CHECK(view_open(&d, c.lay.session, &v) == 0);
	daemon_drain(&d);
	v.engine->bell++;
	for (step = NOTHING; step < NR_STEPS; step++) {
		ns = room(n);
		for (i = 0; i < n; i++) {
			client_put(&c, &e);
			t = host_now_ns();
			if (step == NOTHING)
				syscall(SYS_getppid);
			else if (step == TAKE_NOW)
				daemon_take(&d, ~0ull);
			else if (step == WAKE_NOBODY)
				daemon_wake(&d, v.id);
			else if (step == WAIT_MET)
				client_enter(&c, 0, LLM_ENTER_WAIT, 0);
			else
				client_enter(&c, 1, 0, 0);
			ns[i] = host_now_ns() - t;
			if (step != SUBMIT)
				c.ctl->sq_tail--;
			while (daemon_peek(&d))
				daemon_ack(&d);
		}
		report(name[step], ns, n, 0);
	}
	view_close(&v);
	client_close(&c);
	daemon_close(&d);
}

/* ENTER(WAIT) -> TAKE -> commit, bell -> WAKE, @how the daemon takes. */
static double device(const char *name, enum how how, int n)
{
	uint64_t *ns = room(n), t;
	struct client c;
	int i, p[2];
	pid_t pid;
	char b;

	CHECK(pipe(p) == 0);
	/* a process, not a thread: address spaces switch as in life */
	pid = fork();
	if (!pid) {
		static struct echo e;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		e.how = how;
		if (daemon_open(&e.d) || daemon_attach(&e.d) ||
		    write(p[1], "x", 1) != 1)
			_exit(1);
		echo_main(&e);
		_exit(0);
	}
	CHECK_EQ(read(p[0], &b, 1), 1);
	CHECK(client_open(&c) == 0);
	for (i = -WARM; i < n; i++) {
		t = host_now_ns();
		CHECK(client_ping_ns(&c, 2, (uint32_t)(i + WARM + 1), 0));
		if (i >= 0)
			ns[i] = host_now_ns() - t;
	}
	kill(pid, SIGKILL);
	side_wait(pid);
	client_close(&c);
	return report(name, ns, n, 0);
}

/* fd: [0] we write, [1] we read, [2] they read, [3] they write; 8 bytes. */
static void pair(const char *name, const int fd[4], int n, double llm)
{
	uint64_t *ns = room(n), b = 1, t;
	pid_t pid = fork();
	int i;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (read(fd[2], &b, 8) == 8 && write(fd[3], &b, 8) == 8)
			;
		_exit(0);
	}
	for (i = -WARM; i < n; i++) {
		t = host_now_ns();
		b = 1;
		CHECK(write(fd[0], &b, 8) == 8 && read(fd[1], &b, 8) == 8);
		if (i >= 0)
			ns[i] = host_now_ns() - t;
	}
	kill(pid, SIGKILL);
	side_wait(pid);
	report(name, ns, n, llm);
}

static bool tcp_pair(int s[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, i;
	socklen_t len = sizeof(a);

	s[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(l, (void *)&a, len) || listen(l, 1) ||
	    getsockname(l, (void *)&a, &len) || connect(s[0], (void *)&a, len))
		return false;
	s[1] = accept(l, NULL, NULL);
	for (i = 0; i < 2; i++)
		setsockopt(s[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return true;
}

static void round_trips(const char *how, int n)
{
	int e[2] = { eventfd(0, 0), eventfd(0, 0) }, s[2];
	double llm;

	printf("BENCH %-34s %6s %6s %6s   %s\n", how, "p50", "p90", "p99",
	       "llm / this");
	llm = device("llm, TAKE by ioctl", BY_IOCTL, n);
	device("llm, TAKE by io_uring", BY_URING, n);
	pair("eventfd pair", (int[]){ e[0], e[1], e[0], e[1] }, n, llm);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	pair("unix stream socket", (int[]){ s[0], s[0], s[1], s[1] }, n, llm);
	CHECK(tcp_pair(s));
	pair("tcp, loopback, NODELAY", (int[]){ s[0], s[0], s[1], s[1] }, n,
	     llm);
}

void bench(int n)
{
	const struct sched_param one = { .sched_priority = 1 };

	printf("BENCH %-34s %6s %6s %6s\n", "us = instructions / 1000", "p50",
	       "p90", "p99");
	account(n);
	/*
	 * The fair class preempts at some wake-ups and not at others, which makes
	 * two values 2.4 us apart of a row.  Two processes of one real-time
	 * priority run until they sleep: one value a row.
	 */
	round_trips("round trip, fair class", n);
	CHECK(sched_setscheduler(0, SCHED_FIFO, &one) == 0);
	round_trips("round trip, SCHED_FIFO", n);
}
