/* SPDX-License-Identifier: MIT */
/*
 * slow test
 *
 * test_attack.c - hostile clients of the socket, and what stops each.  A line
 * of doc/PROTOCOL.md's table of attacks is a test here, against the real llmd
 * with the null backend.  Most of them attack as the daemon's own uid, which
 * is harder to stop than another's; as root the attacker also drops to 65534.
 */
#include "tests/test.h"
#include "tests/system/raw.h"
#include "tests/system/serve.h"
#include "daemon/model/null.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define NOBODY 65534
#define MS     1000000ull

static struct serve D;

static void start(const char *key, const char *value)
{
	const char *args[] = { "--backend",	"null", "--socket-mode",
			       "0666",		key,	value,
			       "--max-context", "4096", NULL };
	const char *plain[] = { "--backend", "null",	      "--socket-mode",
				"0666",	     "--max-context", "4096",
				NULL };

	if (D.pid > 0) /* a test before failed */
		serve_stop(&D);
	CHECK_EQ(serve_start(&D, "llmd", key ? args : plain), 0);
	chmod(D.dir, 0755);
}

/*
 * An honest request, from submission to its last token; each token is
 * recomputed.  Milliseconds, or -1.
 */
static int honest(struct raw *r, uint32_t slot, uint32_t n)
{
	struct raw_ask a = { .seed = 7 + slot,
			     .prompt_len = 4,
			     .max_tokens = n,
			     .params_flags = LLM_PARAMS_F_IGNORE_EOS,
			     .prompt = { 1, 2, 3, 4 } };
	uint64_t key = null_key(a.seed, a.prompt, 4), t0 = raw_now(), w;
	uint32_t i;

	if (!raw_submit(r, slot, &a))
		return -1;
	raw_bell(r);
	do {
		if (raw_now() - t0 > 10000 * MS)
			return -1;
		if (!raw_arm(r, slot, n))
			raw_sleep(r, 100);
		w = raw_peek(r, slot);
	} while (!raw_done(r, slot, w, n));
	if (LLM_COMMIT_TAIL(w) != n)
		return -1;
	for (i = 0; i < n; i++)
		if (raw_log(r, slot)[i].token != null_token(key, i))
			return -1;
	return (int)((raw_now() - t0) / MS);
}

/* The status of @f in a process of its own, as @uid. */
static int in_child(int (*f)(struct raw *), struct raw *r, uid_t uid)
{
	pid_t p = fork();
	int st;

	if (p == 0) {
		if (uid && setuid(uid))
			_exit(99);
		_exit(f(r));
	}
	waitpid(p, &st, 0);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static int count_fds(pid_t pid)
{
	char path[64];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static int count_maps(pid_t pid)
{
	char path[64], line[512];
	FILE *f;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "llm-session") != NULL;
	if (f)
		fclose(f);
	return n;
}

static struct llm_info info(void)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_INFO };
	struct llm_hello_reply rep;
	struct llm_info in;
	int fd = raw_connect(D.sock);

	memset(&in, 0, sizeof(in));
	if (fd >= 0 && send(fd, &h, sizeof(h), MSG_NOSIGNAL) == sizeof(h) &&
	    recv(fd, &rep, sizeof(rep), MSG_WAITALL) == sizeof(rep))
		(void)!recv(fd, &in, sizeof(in), MSG_WAITALL);
	close(fd);
	return in;
}

/* Wait for @cond, 5 s at most. */
#define UNTIL(cond)                                                            \
	do {                                                                   \
		int tries_ = 0;                                                \
		while (!(cond) && ++tries_ < 1000)                             \
			serve_msleep(5);                                       \
		CHECK(cond);                                                   \
	} while (0)

/* ---- pages that are not the client's --------------------------------- */

/*
 * Every way known to us to get a write into a file that came read-only; the
 * first that worked, 0 if none.
 */
static int write_file(int fd, uint8_t *map)
{
	static const uint64_t x = 0x4141414141414141ull;
	struct iovec l = { (void *)&x, 8 }, r = { map, 8 };
	const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	size_t n = 4096;
	int f;
	void *p;

	if (mprotect(map, n, PROT_READ | PROT_WRITE) == 0)
		return 1;
	if (pwrite(fd, &x, 8, 0) > 0)
		return 2;
	if (mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
	    MAP_FAILED)
		return 3;
	f = reopen(fd, O_RDWR);
	if (f >= 0) {
		if (pwrite(f, &x, 8, 0) > 0)
			return 4;
		if (mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0) !=
		    MAP_FAILED)
			return 5;
		p = mmap(NULL, n, PROT_READ, MAP_SHARED, f, 0);
		if (p != MAP_FAILED &&
		    mprotect(p, n, PROT_READ | PROT_WRITE) == 0)
			return 6;
		if (ftruncate(f, 0) == 0)
			return 7;
		if (fallocate(f, hole, 0, 4096) == 0)
			return 8;
		if (fcntl(f, F_ADD_SEALS, F_SEAL_WRITE) == 0)
			return 9;
		if (fchmod(f, 0777) == 0 && pwrite(f, &x, 8, 0) > 0)
			return 16;
	}
	if (ftruncate(fd, 0) == 0)
		return 10;
	if (fallocate(fd, hole, 0, 4096) == 0)
		return 11;
	if (madvise(map, n, MADV_REMOVE) == 0)
		return 12;
	f = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (f >= 0 && pwrite(f, &x, 8, (off_t)(uintptr_t)map) > 0)
		return 13;
	if (process_vm_writev(getpid(), &l, 1, &r, 1, 0) > 0)
		return 14;
	return *(volatile uint64_t *)map == x ? 15 : 0;
}

static int write_engine(struct raw *r)
{
	return write_file(r->fd[2], (uint8_t *)r->engine);
}

static int write_host(struct raw *r)
{
	return write_file(r->fd[1], (uint8_t *)r->host);
}

TEST(no_way_leads_to_a_write_into_engine_or_host)
{
	struct raw r;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK_EQ(in_child(write_engine, &r, 0), 0);
	CHECK_EQ(in_child(write_host, &r, 0), 0);
	CHECK(honest(&r, 0, 50) >= 0);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(nor_does_one_for_another_uid)
{
	struct raw r;

	if (getuid())
		SKIP("needs root to become another user");
	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK_EQ(in_child(write_engine, &r, NOBODY), 0);
	CHECK_EQ(in_child(write_host, &r, NOBODY), 0);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

/* The attack itself works: where a cure is missing, it finds the way. */
TEST(the_same_attack_succeeds_where_a_cure_is_missing)
{
	struct raw n = { 0 };
	int fd = memfd_create("naive", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 65536), 0);
	n.fd[2] = reopen(fd, O_RDONLY);
	n.engine = mmap(NULL, 65536, PROT_READ, MAP_SHARED, n.fd[2], 0);
	/* read-only descriptor alone: opened again for writing, by anyone */
	CHECK_EQ(in_child(write_engine, &n, 0), 4);
	if (getuid() == 0) {
		CHECK_EQ(in_child(write_engine, &n, NOBODY), 4);
		CHECK_EQ(pwrite(fd, "clean..", 8, 0), 8);
		CHECK_EQ(fchmod(fd, 0600), 0);
		CHECK_EQ(in_child(write_engine, &n, NOBODY), 0);
	}
	/* mode 0600 alone: not by others, but by the same uid and root */
	CHECK_EQ(fchmod(fd, 0600), 0);
	CHECK_EQ(in_child(write_engine, &n, 0), 4);
	munmap((void *)n.engine, 65536);
	close(n.fd[2]);
	close(fd);
}

/* ---- the client's own pages ------------------------------------------ */

static int own_tricks(struct raw *r)
{
	uint64_t size = r->su.area_size[LLM_AREA_CLIENT] + r->su.arena_size;
	int f, seal;

	if (ftruncate(r->fd[0], 0) == 0)
		return 1;
	if (ftruncate(r->fd[0], (off_t)size + 4096) == 0)
		return 2;
	for (seal = 1; seal < 0x40; seal *= 2)
		if (fcntl(r->fd[0], F_ADD_SEALS, seal) == 0)
			return 3;
	f = reopen(r->fd[0], O_RDWR | O_TRUNC);
	if (f >= 0)
		return 4;
	f = reopen(r->fd[0], O_RDWR);
	if (f >= 0 && ftruncate(f, 4096) == 0)
		return 5;
	return 0;
}

TEST(own_pages_cannot_shrink_grow_or_be_sealed)
{
	struct raw r;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK_EQ(in_child(own_tricks, &r, 0), 0);
	CHECK(honest(&r, 0, 50) >= 0);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(a_hole_under_the_ring_is_zeroes_not_a_dead_engine)
{
	struct raw r;
	pid_t engine;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK(honest(&r, 0, 5) >= 0);
	engine = serve_engine(D.pid);
	/* everything but the first page; then everything */
	CHECK_EQ(fallocate(r.fd[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   4096, 16384),
		 0);
	shm_publish(&raw_ctl(&r)->sq_tail, ++r.tail);
	raw_bell(&r);
	UNTIL(raw_eng(&r)->sq_head == r.tail);
	CHECK_EQ(fallocate(r.fd[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   0, 1 << 20),
		 0);
	raw_bell(&r); /* the tail is 0 now: a lie */
	UNTIL(raw_eng(&r)->broken == 1);
	raw_close(&r);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK(honest(&r, 1, 50) >= 0);
	CHECK_EQ(serve_engine(D.pid), engine);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

/* A prompt id that flips between good and bad while it is read. */
static void *flipper(void *arg)
{
	struct raw *r = arg;
	uint32_t *id = (uint32_t *)(r->arena + 128), x = 1, i;

	while (!shm_load((uint32_t *)(r->arena + 60 * RAW_ROOM))) {
		x = x * 1664525u + 1013904223u;
		shm_store(id, 7u);
		for (i = 0; i < x >> 24; i++)
			__asm__ volatile("");
		shm_store(id, 0xffffffffu);
		for (i = 0; i < (x >> 16 & 255); i++)
			__asm__ volatile("");
	}
	return NULL;
}

TEST(a_prompt_that_changes_while_it_is_read_gets_no_bad_id_in)
{
	struct raw_ask a = { .prompt_len = 90,
			     .max_tokens = 1,
			     .prompt = { 7 } };
	uint32_t i, good = 0, bad = 0, *stop;
	uint64_t begin;
	pthread_t t;
	struct raw r;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	stop = (uint32_t *)(r.arena + 60 * RAW_ROOM);
	CHECK_EQ(pthread_create(&t, NULL, flipper, &r), 0);
	begin = raw_now();
	/* 3 s, or longer where a busy machine has not shown both yet */
	for (i = 0;
	     raw_now() - begin < 3000 * MS ||
	     ((good <= 10 || bad <= 10) && raw_now() - begin < 60000 * MS);
	     i++) {
		uint64_t t0 = raw_now();
		int ret;

		CHECK(raw_submit(&r, 0, &a));
		raw_bell(&r);
		while ((ret = raw_result(&r, 0)) == -EAGAIN)
			CHECK(raw_now() - t0 < 5000 * MS);
		bad += ret != 0;
		if (ret)
			continue;
		good++;
		CHECK_EQ(*(const uint32_t *)(r.engine +
					     raw_record(&r, 0)->prompt_off),
			 7);
		while (LLM_COMMIT_STATE(raw_peek(&r, 0)) != LLM_ST_END)
			CHECK(raw_now() - t0 < 5000 * MS);
	}
	shm_store(stop, 1u);
	pthread_join(t, NULL);
	/* both were seen, so the window was open */
	CHECK(good > 10 && bad > 10);
	printf("# %u tries: %u admitted, all clean, %u refused\n", i, good,
	       bad);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(a_lie_about_the_tail_ends_that_session_and_no_other)
{
	static const uint32_t lie[] = { 65, 1000, 0x80000000u, ~0u };
	struct raw good, bad;
	unsigned i;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&good, D.sock), 0);
	for (i = 0; i < 4; i++) {
		struct raw_ask a = { .prompt_len = 1, .max_tokens = 4000 };

		CHECK_EQ(raw_open(&bad, D.sock), 0);
		a.params_flags = LLM_PARAMS_F_IGNORE_EOS;
		CHECK(raw_submit(&bad, 0, &a));
		raw_bell(&bad);
		UNTIL(raw_result(&bad, 0) == 0);
		shm_publish(&raw_ctl(&bad)->sq_tail, bad.tail + lie[i]);
		raw_bell(&bad);
		UNTIL(shm_acquire(&raw_eng(&bad)->broken) == 1);
		UNTIL(LLM_COMMIT_STATE(raw_peek(&bad, 0)) == LLM_ST_END);
		CHECK(honest(&good, i, 100) >= 0);
		raw_close(&bad);
	}
	raw_close(&good);
	CHECK_EQ(serve_stop(&D), 0);
}

/* ---- what the engine waits for: nothing ------------------------------ */

/* The descriptors that a client gets: three files; none that could block. */
TEST(a_client_gets_three_memfds_and_no_eventfd)
{
	char path[64], to[128];
	struct raw r;
	ssize_t n;
	int i;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", r.fd[i]);
		n = readlink(path, to, sizeof(to) - 1);
		CHECK(n > 0);
		to[n] = 0;
		CHECK(strstr(to, "memfd:llm-session"));
		CHECK_EQ(fcntl(r.fd[i], F_GETFL) & O_ACCMODE,
			 i == 0 ? O_RDWR : O_RDONLY);
	}
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

/* All slots busy with long streams, each armed for every token. */
static void occupy(struct raw *r)
{
	struct raw_ask a = { .prompt_len = 1,
			     .max_tokens = 4000,
			     .params_flags = LLM_PARAMS_F_IGNORE_EOS };
	uint32_t i;

	for (i = 0; i < RAW_STREAMS; i++) {
		a.seed = i;
		raw_submit(r, i, &a);
		raw_arm(r, i, 1);
	}
	raw_bell(r);
}

TEST(one_that_never_reads_and_one_that_is_stopped_cost_others_nothing)
{
	struct raw good, mute, z;
	int alone, beside, i;
	pid_t p;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&good, D.sock), 0);
	CHECK_EQ(raw_open(&mute, D.sock), 0);
	alone = honest(&good, 0, 200);
	CHECK(alone >= 0);
	/* wakes it never drains: thousands more than its buffer holds */
	occupy(&mute);
	for (i = 0; i < 3000; i++) {
		raw_arm(&mute, 1 + 2 * ((uint32_t)i % 32), 1);
		if (i % 16 == 0)
			raw_bell(&mute);
	}
	beside = honest(&good, 1, 200);
	CHECK(beside >= 0 && beside < alone * 8 + 1000);
	p = fork();
	if (p == 0) {
		if (raw_open(&z, D.sock))
			_exit(1);
		occupy(&z);
		raise(SIGSTOP);
		_exit(0);
	}
	CHECK(waitpid(p, &i, WUNTRACED) == p && WIFSTOPPED(i));
	beside = honest(&good, 2, 200);
	CHECK(beside >= 0 && beside < alone * 8 + 1000);
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
	raw_close(&mute);
	raw_close(&good);
	CHECK_EQ(serve_stop(&D), 0);
}

/* Bells and junk entries as fast as it can. */
static int flood(struct raw *unused)
{
	uint64_t end = raw_now() + 1500 * MS;
	uint32_t x = 1, i;
	struct raw r;

	(void)unused;
	if (raw_open(&r, D.sock))
		return 1;
	while (raw_now() < end) {
		for (i = 0; i < 64; i++) {
			struct llm_sqe e;
			uint32_t *w = (uint32_t *)&e;
			unsigned k;

			for (k = 0; k < sizeof(e) / 4; k++) {
				x = x * 1664525u + 1013904223u;
				w[k] = x >> (x & 31);
			}
			e.op = (uint8_t)(x >> 8 & 7);
			e.stream = (uint16_t)(x >> 16 & 127);
			raw_push(&r, &e);
		}
		for (i = 0; i < 50; i++)
			(void)!send(r.conn, "bbbbbbbbbbbbbbbb", 16,
				    MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return 0;
}

TEST(a_flood_of_bells_and_junk_leaves_others_their_share)
{
	struct raw good;
	pid_t p, engine;
	int alone, beside, st;

	start(NULL, NULL);
	engine = serve_engine(D.pid);
	CHECK_EQ(raw_open(&good, D.sock), 0);
	alone = honest(&good, 0, 200);
	p = fork();
	if (p == 0)
		_exit(flood(NULL));
	serve_msleep(200);
	beside = honest(&good, 3, 200);
	CHECK(beside >= 0 && beside < alone * 8 + 1300);
	CHECK(waitpid(p, &st, 0) == p && st == 0);
	CHECK_EQ(serve_engine(D.pid), engine); /* junk killed nobody */
	raw_close(&good);
	CHECK_EQ(serve_stop(&D), 0);
}

/* ---- descriptors, sessions ------------------------------------------- */

static void send_fds(int conn, const void *bytes, size_t len, int fd, int nr)
{
	char cb[CMSG_SPACE(sizeof(int) * 16)] = { 0 };
	struct iovec io = { (void *)bytes, len };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = cb,
			    .msg_controllen =
				    CMSG_SPACE(sizeof(int) * (size_t)nr) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	int i;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nr);
	for (i = 0; i < nr; i++)
		memcpy(CMSG_DATA(c) + sizeof(int) * (size_t)i, &fd,
		       sizeof(int));
	(void)!sendmsg(conn, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

TEST(descriptors_sent_to_us_are_not_received)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_SESSION };
	struct raw r;
	pid_t engine;
	int i, k, e, fd;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK(honest(&r, 0, 5) >= 0);
	serve_msleep(50);
	engine = serve_engine(D.pid);
	e = count_fds(engine);
	k = count_fds(D.pid);
	for (i = 0; i < 20; i++) { /* to the engine, with a bell */
		send_fds(r.conn, "b", 1, r.fd[2], 16);
		serve_msleep(1);
	}
	CHECK(honest(&r, 1, 5) >= 0);
	CHECK_EQ(count_fds(engine), e);
	/* to the keeper, with half a hello */
	fd = raw_connect(D.sock);
	CHECK(fd >= 0);
	send_fds(fd, &h, 40, r.fd[2], 16);
	serve_msleep(50);
	CHECK_EQ(count_fds(D.pid), k + 1); /* its connection alone */
	close(fd);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

static int hold(struct raw *r)
{
	int way = write_engine(r);

	serve_msleep(100000);
	return way;
}

TEST(a_session_passed_on_is_the_openers_and_lives_to_the_last_copy)
{
	struct raw r;
	pid_t p;

	start("--max-sessions-user", "1");
	CHECK_EQ(raw_open(&r, D.sock), 0);
	p = fork();
	if (p == 0) {
		if (getuid() == 0 && setuid(NOBODY))
			_exit(99);
		_exit(hold(&r));
	}
	raw_close(&r);
	serve_msleep(100);
	CHECK_EQ(info().nr_sessions, 1);
	CHECK_EQ(raw_open(&r, D.sock), -EDQUOT); /* charged to us */
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
	UNTIL(info().nr_sessions == 0);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(a_user_opens_as_many_sessions_as_he_may_and_gets_them_back)
{
	struct raw q[8];
	int i, n = 0, no = 0;

	start("--max-sessions-user", "6");
	for (i = 0; i < 8; i++) {
		int ret = raw_open(&q[n], D.sock);

		n += ret == 0;
		no += ret == -EDQUOT;
	}
	CHECK_EQ(n, 6);
	CHECK_EQ(no, 2);
	for (i = 0; i < n; i++)
		raw_close(&q[i]);
	UNTIL(info().nr_sessions == 0);
	for (i = 0; i < 6; i++)
		CHECK_EQ(raw_open(&q[i], D.sock), 0);
	for (i = 0; i < 6; i++)
		raw_close(&q[i]);
	CHECK_EQ(serve_stop(&D), 0);
}

/* Opens, submits, leaves things half done; killed somewhere in between. */
static int restless(struct raw *unused)
{
	struct raw r;

	(void)unused;
	for (;;) {
		if (raw_open(&r, D.sock))
			return 1;
		occupy(&r);
		serve_msleep(1);
		raw_close(&r);
	}
}

TEST(a_client_killed_at_any_moment_leaves_nothing_behind)
{
	struct raw r;
	pid_t p, engine;
	int i, ek, kk, em, km;

	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK(honest(&r, 0, 5) >= 0);
	serve_msleep(50);
	engine = serve_engine(D.pid);
	ek = count_fds(engine);
	kk = count_fds(D.pid);
	em = count_maps(engine);
	km = count_maps(D.pid);
	for (i = 0; i < 60; i++) {
		p = fork();
		if (p == 0)
			_exit(restless(NULL));
		usleep((useconds_t)(i * 337 % 12000));
		kill(p, SIGKILL);
		waitpid(p, NULL, 0);
	}
	UNTIL(info().nr_sessions == 1);
	UNTIL(info().running == 0 && info().waiting == 0);
	CHECK(honest(&r, 1, 50) >= 0);
	UNTIL(info().kv_used == 0);
	CHECK_EQ(serve_engine(D.pid), engine);
	CHECK_EQ(count_fds(engine), ek);
	UNTIL(count_fds(D.pid) == kk);
	CHECK_EQ(count_maps(engine), em);
	CHECK_EQ(count_maps(D.pid), km);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(a_session_of_another_user_is_not_listed)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_LIST };
	struct llm_hello_reply rep;
	struct raw r;
	pid_t p;
	int st, fd;

	if (getuid())
		SKIP("needs root to become another user");
	start(NULL, NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	p = fork();
	if (p == 0) {
		if (setuid(NOBODY))
			_exit(99);
		fd = raw_connect(D.sock);
		if (send(fd, &h, sizeof(h), 0) != sizeof(h) ||
		    recv(fd, &rep, sizeof(rep), MSG_WAITALL) != sizeof(rep))
			_exit(98);
		_exit((int)rep.nr);
	}
	waitpid(p, &st, 0);
	CHECK(WIFEXITED(st));
	CHECK_EQ(WEXITSTATUS(st), 0);
	fd = raw_connect(D.sock);
	CHECK_EQ(send(fd, &h, sizeof(h), 0), sizeof(h));
	CHECK_EQ(recv(fd, &rep, sizeof(rep), MSG_WAITALL), sizeof(rep));
	CHECK_EQ(rep.nr, 1);
	close(fd);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}
