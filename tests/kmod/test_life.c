// SPDX-License-Identifier: MIT
/* Lives: who holds what, who is charged, what is left when all is closed. */
#include "host.h"
#include "kt.h"
#include "side.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>

#define PARAM(name) "/sys/module/llm/parameters/" name

/* ---- waiting */

KTEST(ping_ioctl, "a ping comes back: ENTER, TAKE and WAKE by ioctl")
{
	struct client c;
	struct echo e;
	uint32_t i;

	echo_start(&e, BY_IOCTL);
	CHECK(client_open(&c) == 0);
	for (i = 1; i <= 200; i++)
		CHECK(client_ping(&c, i % SIDE_STREAMS, i));
	CHECK_EQ(atomic_load(&e.served), 200);
	echo_stop(&e);
}

KTEST(K14_12, "no wake-up is lost, with random delays on both sides")
{
	long i, rounds = kt_rounds(1500);
	volatile unsigned spin;
	unsigned seed = 3;
	struct client c;
	struct echo e;

	echo_start(&e, BY_URING);
	CHECK(client_open(&c) == 0);
	for (i = 1; i <= rounds; i++) {
		for (spin = (unsigned)rand_r(&seed) % 3000; spin; spin--)
			;
		CHECK(client_ping(&c, 1 + (unsigned)i % 7, (uint32_t)i));
	}
	echo_stop(&e);
}

KTEST(K14_11, "a wait queue that is polled lives as long as the file")
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLPRI };
	struct io_uring_sqe *q;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	struct client c;
	struct daemon d;
	int i, ep;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	for (i = 0; i < 20; i++) {
		struct view v;

		CHECK(client_open(&c) == 0);
		CHECK(view_open(&d, c.lay.session, &v) == 0);
		ep = epoll_create1(EPOLL_CLOEXEC);
		CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, c.fd, &ev) == 0);
		CHECK(io_uring_queue_init(4, &ring, 0) == 0);
		q = io_uring_get_sqe(&ring);
		io_uring_prep_poll_multishot(q, c.fd, POLLIN);
		CHECK(io_uring_submit(&ring) == 1);
		/* the last descriptor goes; the ring still holds the file */
		client_close(&c);
		v.engine->bell++;
		daemon_wake(&d, v.id);
		CHECK(io_uring_wait_cqe(&ring, &cqe) == 0);
		CHECK(cqe->res & POLLIN);
		io_uring_cqe_seen(&ring, cqe);
		if (i % 2)
			close(ep);
		io_uring_queue_exit(&ring);
		v.engine->bell++;
		daemon_wake(&d, v.id);
		if (!(i % 2))
			close(ep);
		view_close(&v);
		daemon_drain(&d);
	}
}

/* ---- storms */

struct storm {
	struct daemon *d;
	atomic_ullong id;
	atomic_bool stop;
	long woken;
};

static void *wake_storm(void *arg)
{
	struct storm *s = arg;
	uint64_t ids[64];
	size_t i;

	while (!atomic_load(&s->stop)) {
		uint64_t id = atomic_load(&s->id);
		struct llmd_wake w = { .size = sizeof(w),
				       .nr = 64,
				       .ids = (uintptr_t)ids };

		for (i = 0; i < 64; i++)
			ids[i] = id - (i % 3) * 0x100000001ull;
		s->woken += ioctl(s->d->fd, LLMD_IOC_WAKE, &w);
		daemon_drain(s->d);
	}
	return NULL;
}

KTEST(K14_14, "WAKE of an id races with its close")
{
	long i, rounds = kt_rounds(300);
	struct storm s = { 0 };
	struct client c;
	struct daemon d;
	pthread_t t;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	s.d = &d;
	CHECK(pthread_create(&t, NULL, wake_storm, &s) == 0);
	for (i = 0; i < rounds; i++) {
		CHECK(client_open(&c) == 0);
		atomic_store(&s.id, c.lay.session);
		if (i % 4 == 0)
			client_enter(&c, 0, LLM_ENTER_WAIT, 100000);
		client_close(&c);
	}
	atomic_store(&s.stop, true);
	pthread_join(t, NULL);
}

static void *sleep_main(void *arg)
{
	struct client *c = arg;

	c->ctl->epoch_seen = c->host->epoch;
	client_enter(c, 0, LLM_ENTER_WAIT, 20000000);
	return NULL;
}

KTEST(K14_15, "what is closed under sleepers is used by them to their end")
{
	long i, rounds = kt_rounds(40);
	struct client c;
	struct daemon d;
	pthread_t t[2];
	struct view v;

	for (i = 0; i < rounds; i++) {
		CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
		CHECK(client_open(&c) == 0);
		CHECK(view_open(&d, c.lay.session, &v) == 0);
		pthread_create(&t[0], NULL, sleep_main, &c);
		pthread_create(&t[1], NULL, sleep_main, &c);
		usleep((unsigned)i % 5 * 500);
		close(c.fd);
		if (i % 2)
			daemon_close(&d);
		v.engine->bell++;
		if (!(i % 2))
			daemon_wake(&d, v.id);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
		c.fd = -1;
		client_close(&c);
		if (!(i % 2))
			daemon_close(&d);
		view_close(&v);
	}
}

static void storm_client(unsigned seed, int ms)
{
	uint64_t end = host_now_ns() + (uint64_t)ms * 1000000;
	struct client c;
	int i;

	while (host_now_ns() < end) {
		if (client_open(&c))
			continue; /* a limit, or a slow free */
		for (i = 0; i < 20; i++) {
			struct llm_sqe e =
				side_entry((unsigned)rand_r(&seed) % 6,
					   (unsigned)rand_r(&seed) % 9,
					   (unsigned)rand_r(&seed) % 9);

			e.len = (unsigned)rand_r(&seed) % 70000;
			client_put(&c, &e);
			if (rand_r(&seed) % 8 == 0)
				c.ctl->sq_tail = (unsigned)rand_r(&seed);
			client_enter(&c, 1 + (unsigned)rand_r(&seed) % 3,
				     (unsigned)rand_r(&seed) % 2, 100000);
		}
		client_close(&c);
	}
	_exit(0);
}

/* Serve at random for @ms, with deaths. */
static void storm_daemon(int ms)
{
	uint64_t end = host_now_ns() + (uint64_t)ms * 1000000;
	const struct llmd_work *w;
	unsigned seed = 7;
	struct daemon d;
	struct view v;
	int i;

	while (host_now_ns() < end) {
		if (daemon_open(&d))
			continue;
		daemon_attach(&d);
		for (i = 0; i < 30; i++) {
			daemon_take(&d, 200000);
			for (; (w = daemon_peek(&d)); daemon_ack(&d)) {
				if (rand_r(&seed) % 16 == 0)
					break; /* dies with entries in the ring */
				if (rand_r(&seed) % 2 ||
				    view_open(&d, w->session, &v))
					continue;
				if (w->kind == LLMD_WORK_SQE)
					view_commit(&v, w->sqe.stream,
						    LLM_COMMIT(w->sqe.gen,
							       LLM_ST_END, 1,
							       0));
				v.engine->bell++;
				daemon_wake(&d, v.id);
				view_close(&v);
			}
			if (rand_r(&seed) % 16 == 0)
				ioctl(d.fd, LLMD_IOC_DETACH);
			if (rand_r(&seed) % 16 == 0)
				daemon_attach(&d);
		}
		daemon_close(&d);
	}
	_exit(0);
}

/* Sessions that can be had now; all are kept open. */
static int open_all(void)
{
	struct llm_setup s = { .sq_entries = 2,
			       .nr_streams = 1,
			       .arena_size = 4096,
			       .log_size = 4096 };
	struct client c;
	int n = 0;

	while (client_setup(&c, &s) == 0)
		n++;
	return errno == EDQUOT ? n : -errno;
}

KTEST(K14_30, "after a storm all counters of the tenant are as before it")
{
	int ms = (int)kt_rounds(1500), i, n, p[2], go[2];
	struct llm_sqe e;
	struct client keep;
	pid_t pid[5];
	char b;

	CHECK(host_put(PARAM("max_sessions"), "12"));
	CHECK(host_put(PARAM("max_inflight"), "40"));
	CHECK(pipe(p) == 0 && pipe(go) == 0);
	/* a session that lives through it keeps the tenant and its counters */
	pid[4] = fork();
	if (!pid[4]) {
		side_as_uid(4242);
		if (client_open(&keep))
			_exit(1);
		if (write(p[1], "x", 1) != 1 || read(go[0], &b, 1) != 1)
			_exit(2);
		for (i = 0; i < 100; i++) { /* the last frees are on the way */
			pid_t q = fork();

			if (!q)
				_exit(open_all());
			n = side_wait(q);
			if (n == 11)
				break;
			usleep(20000);
		}
		if (n != 11)
			_exit(10 + n % 10);
		/* 40 in flight: 8 slots in this one, the rest in others */
		for (n = 0; n < 40; n++) {
			if (n && n % 8 == 0 && client_open(&keep))
				_exit(4);
			e = side_entry(LLM_OP_PING, (unsigned)n % 8, 1);
			client_put(&keep, &e);
			if (client_enter(&keep, 1, 0, 0) != 1)
				_exit(5);
		}
		if (client_open(&keep))
			_exit(6);
		client_put(&keep, &e);
		if (client_enter(&keep, 1, 0, 0) != -1 || errno != EDQUOT)
			_exit(7);
		_exit(0);
	}
	CHECK_EQ(read(p[0], &b, 1), 1);
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		if (!pid[i] && i == 3)
			storm_daemon(ms);
		if (!pid[i]) {
			side_as_uid(4242);
			storm_client((unsigned)i + 1, ms);
		}
	}
	for (i = 0; i < 4; i++)
		CHECK_EQ(side_wait(pid[i]), 0);
	CHECK_EQ(write(go[1], "y", 1), 1);
	CHECK_EQ(side_wait(pid[4]), 0);
	CHECK(host_put(PARAM("max_sessions"), "256"));
	CHECK(host_put(PARAM("max_inflight"), "4096"));
}

/* ---- who is charged */

static long cgroup_number(const char *cg, const char *file)
{
	char path[128], buf[64];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/%s", cg, file);
	return host_slurp(path, buf, sizeof(buf)) ? strtol(buf, NULL, 10) : -1;
}

static void cgroup_make(const char *cg, const char *max)
{
	char path[128];

	CHECK(host_put("/sys/fs/cgroup/cgroup.subtree_control", "+memory"));
	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", cg);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	if (!max)
		return;
	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/memory.max", cg);
	CHECK(host_put(path, max));
}

static void cgroup_join(const char *cg)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", cg);
	if (!host_put(path, "0"))
		_exit(98);
}

KTEST(K14_31,
      "a dead client's memory is given back when the daemon has closed it")
{
	const long size = 8 << 20;
	struct daemon d;
	struct view v;
	uint64_t id;
	int p[2], go[2], i;
	long held;
	pid_t pid;

	cgroup_make("k31", NULL);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(pipe(p) == 0 && pipe(go) == 0);
	pid = fork();
	if (!pid) {
		struct client c;
		char b;

		cgroup_join("k31");
		if (client_setup(&c, &(struct llm_setup){ .arena_size = size,
							  .log_size = size }))
			_exit(1);
		memset(c.arena, 1, size);
		if (write(p[1], &c.lay.session, 8) != 8 ||
		    read(go[0], &b, 1) != 1)
			_exit(2);
		_exit(0);
	}
	CHECK_EQ(read(p[0], &id, 8), 8);
	CHECK(view_open(&d, id, &v) == 0);
	/* the engine's pages are the client's bill too */
	memset((char *)v.engine + v.lay.off_extent, 1, size);
	CHECK(cgroup_number("k31", "memory.current") > 2 * size);
	CHECK_EQ(write(go[1], "x", 1), 1);
	CHECK_EQ(side_wait(pid), 0);
	usleep(100000);
	held = cgroup_number("k31", "memory.current");
	CHECK(held > 2 * size); /* the daemon still looks at it */
	while (!daemon_peek(&d) || daemon_peek(&d)->kind != LLMD_WORK_CLOSE) {
		if (daemon_peek(&d))
			daemon_ack(&d);
		else
			CHECK(daemon_take(&d, 1000000000) > 0);
	}
	daemon_ack(&d);
	view_close(&v);
	CHECK_EQ(daemon_take(&d, ~0ull), 0);
	for (i = 0; i < 100; i++) {
		held = cgroup_number("k31", "memory.current");
		if (held < 1 << 20)
			break;
		usleep(10000);
	}
	printf("# left of %ld bytes in %d ms: %ld\n", 2 * size, i * 10, held);
	CHECK(held < 1 << 20);
}

KTEST(K14_41,
      "a gigabyte in a cgroup of 64 MiB ends; the daemon is not held up")
{
	struct daemon d;
	struct view v;
	int p[2], status;
	uint64_t id, start;
	size_t i;
	pid_t pid;

	cgroup_make("k41", "67108864");
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		struct client c;

		cgroup_join("k41");
		if (client_setup(&c,
				 &(struct llm_setup){ .arena_size = 1 << 30,
						      .log_size = 1 << 26 }))
			_exit(errno == ENOMEM ? 0 : 1);
		if (write(p[1], &c.lay.session, 8) != 8)
			_exit(2);
		memset(c.arena, 1, 60 << 20); /* full */
		usleep(300000);
		memset(c.arena, 1, 1 << 30);
		_exit(3); /* 64 MiB held a gigabyte? */
	}
	CHECK_EQ(read(p[0], &id, 8), 8);
	CHECK(view_open(&d, id, &v) == 0);
	usleep(100000);
	start = host_now_ns();
	for (i = 0; i < 16 << 20; i += 4096)
		((char *)v.engine)[v.lay.off_extent + i] = 1;
	CHECK(host_now_ns() - start < 60000000000ull);
	view_close(&v);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK((WIFSIGNALED(status) &&
	       (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGBUS)) ||
	      (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

static int pass_fd(int sock, int fd)
{
	char ctl[CMSG_SPACE(sizeof(int))] = { 0 }, b = 0;
	struct iovec iov = { &b, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = ctl,
			    .msg_controllen = sizeof(ctl) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (fd < 0) {
		if (recvmsg(sock, &m, 0) != 1 || !(c = CMSG_FIRSTHDR(&m)))
			return -1;
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		return fd;
	}
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -1;
}

KTEST(K14_33, "who opened is charged, whoever submits")
{
	struct llm_sqe e = side_entry(LLM_OP_PING, 1, 7);
	struct client c = { 0 };
	struct daemon d;
	int sp[2], i;
	pid_t pid;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	daemon_drain(&d);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sp) == 0);
	pid = fork();
	if (!pid) {
		side_as_uid(1000);
		if (open("/dev/llmd", O_RDWR) >= 0 || errno != EACCES)
			_exit(1);
		if (client_open(&c) || pass_fd(sp[0], c.fd))
			_exit(2);
		_exit(0);
	}
	c.fd = pass_fd(sp[1], -1);
	CHECK(c.fd >= 0);
	CHECK_EQ(side_wait(pid), 0);
	c.lay.sq_entries = SIDE_ENTRIES;
	c.ctl = side_map(c.fd, LLM_AREA_CLIENT, 4096, PROT_READ | PROT_WRITE);
	CHECK(c.ctl != MAP_FAILED);
	c.sq = (void *)((char *)c.ctl + 128 + SIDE_STREAMS * 64);
	client_put(&c, &e);
	CHECK_EQ(client_enter(&c, 1, 0, 0), 1);
	CHECK_EQ(daemon_take(&d, ~0ull), 2);
	for (i = 0; i < 2; i++, daemon_ack(&d)) {
		CHECK_EQ(daemon_peek(&d)->uid, 1000);
		CHECK_EQ(daemon_peek(&d)->tenant, 1000);
	}
}

/* ---- ids, loading */

KTEST(K14_32, "an id that was used means nothing any more")
{
	long i, rounds = kt_rounds(1000);
	struct client c, first;
	struct daemon d;
	struct view v;

	CHECK(daemon_open(&d) == 0);
	CHECK(client_open(&first) == 0);
	client_close(&first);
	for (i = 0; i < rounds; i++) {
		CHECK(client_open(&c) == 0);
		CHECK(c.lay.session != first.lay.session);
		if (i < rounds - 1)
			client_close(&c);
	}
	CHECK_ERR(view_open(&d, first.lay.session, &v), ENOENT);
	/* nor does the old generation of a place that is taken */
	CHECK_ERR(view_open(&d, c.lay.session - (1ull << 32), &v), ENOENT);
	CHECK_ERR(view_open(&d, (uint32_t)c.lay.session, &v), ENOENT);
	CHECK_ERR(view_open(&d, 0, &v), ENOENT);
	CHECK_EQ(daemon_wake(&d, first.lay.session), 0);
	CHECK(view_open(&d, c.lay.session, &v) == 0);
}

KTEST(K14_38, "opening races with loading and unloading")
{
	long i, rounds = kt_rounds(15);
	atomic_bool *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	atomic_long *hits = (atomic_long *)(stop + 64);
	pid_t pid = fork();

	if (!pid) {
		struct client c;

		while (!atomic_load(stop))
			if (client_open(&c) == 0) {
				atomic_fetch_add(hits, 1);
				client_close(&c);
			}
		_exit(0);
	}
	/* on until one got in, or the test's time limit ends it */
	for (i = 0; i < rounds || !atomic_load(hits); i++) {
		CHECK(host_unload());
		CHECK(host_insmod("/llm.ko", "") == 0);
		usleep(20000);
	}
	atomic_store(stop, true);
	CHECK_EQ(side_wait(pid), 0);
	printf("# %ld sessions in between\n", atomic_load(hits));
}

KTEST(K14_43, "the last stream is served, the one behind it refused")
{
	struct llm_setup s = { .sq_entries = 2,
			       .nr_streams = LLM_MAX_STREAMS,
			       .arena_size = 4096,
			       .log_size = 4096 };
	static const unsigned streams[] = { 0, 1023, 1024, 1025, 65535 };
	struct llm_sqe e;
	struct client c;
	size_t i;

	CHECK(client_setup(&c, &s) == 0);
	for (i = 0; i < 5; i++) {
		e = side_entry(LLM_OP_PING, streams[i], 1);
		client_put(&c, &e);
		if (streams[i] < 1024) {
			CHECK_EQ(client_enter(&c, 1, 0, 0), 1);
		} else {
			CHECK_ERR(client_enter(&c, 1, 0, 0), EINVAL);
			c.ctl->sq_tail--;
		}
	}
}

/* ---- user memory that does not come */

struct slow {
	int fd;
	unsigned long op;
	void *arg;
};

static void *slow_main(void *arg)
{
	struct slow *s = arg;

	ioctl(s->fd, s->op, s->arg); /* until the process ends */
	return NULL;
}

KTEST(K14_26, "an argument page that never comes holds up nobody else")
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	char *page = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct llmd_wake w = { .size = sizeof(w), .nr = 4 };
	struct client c, other;
	struct slow slow[5];
	uint64_t start;
	struct echo e;
	pthread_t t;
	uint32_t i;

	CHECK(uffd >= 0 && ioctl(uffd, UFFDIO_API, &api) == 0);
	reg.range.start = (uintptr_t)page;
	reg.range.len = 5 * 4096;
	CHECK(ioctl(uffd, UFFDIO_REGISTER, &reg) == 0);
	echo_start(&e, BY_IOCTL);
	CHECK(client_open(&c) == 0 && client_open(&other) == 0);
	w.ids = (uintptr_t)page + 4096;
	slow[0] =
		(struct slow){ open("/dev/llm", O_RDWR), LLM_IOC_SETUP, page };
	slow[1] = (struct slow){ other.fd, LLM_IOC_ENTER, page + 2 * 4096 };
	slow[2] = (struct slow){ e.d.fd, LLMD_IOC_WAKE, &w };
	slow[3] = (struct slow){ e.d.fd, LLMD_IOC_GETFD, page + 3 * 4096 };
	slow[4] = (struct slow){ e.d.fd, LLMD_IOC_ATTACH, page + 4 * 4096 };
	for (i = 0; i < 5; i++)
		CHECK(pthread_create(&t, NULL, slow_main, &slow[i]) == 0);
	usleep(50000);
	start = host_now_ns();
	for (i = 1; i <= 20; i++)
		CHECK(client_ping(&c, 1, i));
	client_close(&c);
	CHECK(client_open(&c) == 0);
	CHECK(client_ping(&c, 1, 1));
	CHECK(host_now_ns() - start < 10000000000ull);
}
