// SPDX-License-Identifier: MIT
/* The daemon's side: TAKE, its end, GETFD, redelivery, turns. */
#include "host.h"
#include "kt.h"
#include "side.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static bool has_cancel(void)
{
	return kt_kernel() >= 607;
}

static void park(struct io_uring *ring, struct daemon *d, uint64_t user_data)
{
	struct io_uring_sqe *q = io_uring_get_sqe(ring);

	io_uring_prep_rw(IORING_OP_URING_CMD, q, d->fd, NULL, 0, 0);
	q->cmd_op = LLMD_URING_TAKE;
	q->user_data = user_data;
	CHECK(io_uring_submit(ring) == 1);
}

static int cqe_of(struct io_uring *ring, uint64_t *ret_data)
{
	struct io_uring_cqe *cqe;
	int res;

	CHECK(io_uring_wait_cqe(ring, &cqe) == 0);
	res = cqe->res;
	if (ret_data)
		*ret_data = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

/* ---- redelivery */

/* PINGs 1.. of @nr go in, with the order in user_data. */
static void submit_numbered(struct client *c, uint32_t from, uint32_t nr)
{
	uint32_t i;

	for (i = from; i < from + nr; i++) {
		struct llm_sqe e =
			side_entry(LLM_OP_PING, i % SIDE_STREAMS, i + 1);

		e.user_data = i;
		client_put(c, &e);
	}
	CHECK_EQ(client_enter(c, nr, 0, 0), (int)nr);
}

/* The next entry is number @want; acknowledged where @ack. */
static void next_is(struct daemon *d, uint32_t *pos, uint64_t want)
{
	const struct llmd_work *w;

	for (;; (*pos)++) {
		CHECK(*pos != __atomic_load_n(&d->hdr->tail, __ATOMIC_ACQUIRE));
		w = &d->work[*pos & (d->hdr->entries - 1)];
		if (w->kind == LLMD_WORK_SQE)
			break;
	}
	CHECK_EQ(w->sqe.user_data, want);
	(*pos)++;
}

KTEST(redeliver,
      "what a dead daemon had not acknowledged is first for the next")
{
	struct client c;
	struct daemon d;
	uint32_t pos, i;

	CHECK(client_open(&c) == 0);
	submit_numbered(&c, 0, 20);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	pos = d.ctl->head;
	CHECK_EQ(d.hdr->epoch, c.host->epoch);
	for (i = 0; i < 20; i++)
		next_is(&d, &pos, i);
	/* OPEN and seven entries are done with, thirteen were only looked at */
	__atomic_store_n(&d.ctl->head, d.ctl->head + 8, __ATOMIC_RELEASE);
	submit_numbered(&c, 20, 5);
	daemon_close(&d);
	submit_numbered(&c, 25, 5);

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK_EQ(daemon_take(&d, ~0ull), 24); /* OPEN, 7 to 29 */
	CHECK_EQ(daemon_peek(&d)->kind, LLMD_WORK_OPEN);
	pos = d.ctl->head;
	for (i = 7; i < 30; i++)
		next_is(&d, &pos, i);
	/* the same by DETACH and by a second ATTACH, with the file kept */
	__atomic_store_n(&d.ctl->head, d.ctl->head + 4, __ATOMIC_RELEASE);
	CHECK(ioctl(d.fd, LLMD_IOC_DETACH) == 0);
	CHECK(!daemon_peek(&d));
	CHECK_EQ(daemon_take(&d, ~0ull), 0);
	CHECK(daemon_attach(&d) == 0);
	pos = d.ctl->head;
	for (i = 10; i < 30; i++)
		next_is(&d, &pos, i);
	CHECK(daemon_attach(&d) == 0);
	pos = d.ctl->head;
	for (i = 10; i < 30; i++)
		next_is(&d, &pos, i);
	CHECK_EQ(daemon_drain(&d), 21);
	CHECK(daemon_attach(&d) == 0);
	CHECK_EQ(daemon_drain(&d), 1); /* OPEN alone */
}

KTEST(redeliver_full, "a queue longer than the ring comes whole and in order")
{
	struct llm_setup big = { .sq_entries = 1024,
				 .nr_streams = 8,
				 .arena_size = 4096,
				 .log_size = 4096 };
	uint32_t i, n = 0, life;
	struct client c;
	struct daemon d;

	CHECK(client_setup(&c, &big) == 0);
	for (i = 0; i < 4; i++)
		submit_numbered(&c, i * 256, 256);
	{
		struct llm_sqe e = side_entry(LLM_OP_PING, 1, 5000);

		client_put(&c, &e);
		CHECK_ERR(client_enter(&c, 1, 0, 0), EBUSY);
	}
	for (life = 0; life < 5; life++) {
		CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
		CHECK(d.hdr->flags & LLMD_RING_F_OVERFLOW);
		for (i = 0; i < 150; i++) {
			const struct llmd_work *w = daemon_peek(&d);

			if (!w) {
				CHECK(daemon_take(&d, ~0ull) > 0);
				w = daemon_peek(&d);
			}
			if (w->kind == LLMD_WORK_SQE)
				CHECK_EQ(w->sqe.user_data, n++);
			daemon_ack(&d);
		}
		daemon_close(&d);
	}
	CHECK_EQ(n, 5 * 149);
	CHECK_EQ(client_enter(&c, 1, 0, 0), 1); /* there is room again */
}

KTEST(close_drops,
      "what a client had queued goes with it, its session is closed")
{
	struct client c[2];
	struct daemon d;
	uint64_t id;

	CHECK(client_open(&c[0]) == 0 && client_open(&c[1]) == 0);
	submit_numbered(&c[0], 0, 10);
	submit_numbered(&c[1], 0, 2);
	client_close(&c[0]); /* nobody heard of it: not a word */
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK_EQ(daemon_take(&d, ~0ull), 3);
	id = daemon_peek(&d)->session;
	CHECK(id == c[1].lay.session);
	client_close(
		&c[1]); /* entries are in the ring: they stay before CLOSE */
	CHECK_EQ(daemon_take(&d, ~0ull), 4);
	daemon_ack(&d);
	daemon_ack(&d);
	daemon_ack(&d);
	CHECK_EQ(daemon_peek(&d)->kind, LLMD_WORK_CLOSE);
	CHECK(daemon_peek(&d)->session == id);
	daemon_ack(&d);
	CHECK_EQ(daemon_take(&d, ~0ull), 0);
}

/* ---- the end of a TAKE */

KTEST(K14_04,
      "submits race with the ring's end: each TAKE has exactly one answer")
{
	long i, rounds = kt_rounds(150), answers = 0, taken = 0;
	struct io_uring ring;
	struct client c;
	struct daemon d;
	pid_t pid;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	daemon_drain(&d);
	pid = fork();
	if (!pid) {
		struct llm_sqe e = side_entry(LLM_OP_NOP, 0, 0);
		struct client own;

		if (client_open(&own))
			_exit(1);
		for (;;) {
			client_put(&own, &e);
			if (client_enter(&own, 1, 0, 0) < 0)
				own.ctl->sq_tail--;
		}
	}
	/* the racer runs, however the emulator shares its processors */
	CHECK(daemon_take(&d, 20000000000ull) > 0);
	for (i = 0; i < rounds; i++) {
		uint64_t seen = 0, data;

		CHECK(io_uring_queue_init(8, &ring, 0) == 0);
		park(&ring, &d, 1);
		taken += daemon_drain(&d);
		park(&ring, &d, 2);
		if (i % 3 == 0)
			ioctl(d.fd, LLMD_IOC_KICK);
		if (i % 2) { /* both are answered; neither twice */
			int n;

			for (n = 0; n < 2; n++) {
				int res;

				ioctl(d.fd, LLMD_IOC_KICK);
				res = cqe_of(&ring, &data);
				CHECK(res >= 0 || res == -EBUSY ||
				      res == -EINTR);
				CHECK(!(seen & 1ull << data));
				seen |= 1ull << data;
				answers++;
			}
			CHECK(io_uring_cq_ready(&ring) == 0);
		}
		taken += daemon_drain(&d);
		io_uring_queue_exit(&ring); /* must not hang */
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_EQ(answers, rounds / 2 * 2);
	CHECK(taken > 0);
}

struct kicker {
	struct daemon *d;
	struct client *c;
	atomic_bool stop;
};

static void *kick_main(void *arg)
{
	struct kicker *k = arg;
	struct llm_sqe e = side_entry(LLM_OP_NOP, 0, 0);
	unsigned seed = 5;

	while (!atomic_load(&k->stop)) {
		if (rand_r(&seed) % 2) {
			ioctl(k->d->fd, LLMD_IOC_KICK);
		} else {
			client_put(k->c, &e);
			if (client_enter(k->c, 1, 0, 0) < 0)
				k->c->ctl->sq_tail--;
		}
	}
	return NULL;
}

KTEST(K14_05, "a parked TAKE is taken out once: by work, a kick or a cancel")
{
	long i, rounds = kt_rounds(300);
	struct kicker k = { 0 };
	struct io_uring ring;
	struct client c;
	struct daemon d;
	pthread_t t;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(io_uring_queue_init(8, &ring, 0) == 0);
	k.d = &d;
	k.c = &c;
	CHECK(pthread_create(&t, NULL, kick_main, &k) == 0);
	for (i = 0; i < rounds; i++) {
		uint64_t data;
		int res;

		park(&ring, &d, (uint64_t)i);
		res = cqe_of(&ring, &data);
		CHECK(data == (uint64_t)i && res >= 0);
		CHECK(io_uring_cq_ready(&ring) == 0);
		daemon_drain(&d);
	}
	atomic_store(&k.stop, true);
	pthread_join(t, NULL);
}

KTEST(take_kick,
      "a TAKE is ended by KICK, a second one is refused, a ring's end frees")
{
	struct io_uring ring;
	struct daemon d;
	int i;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	daemon_drain(&d);
	CHECK(io_uring_queue_init(8, &ring, 0) == 0);
	park(&ring, &d, 1);
	usleep(20000);
	CHECK_EQ(io_uring_cq_ready(&ring), 0);
	if (has_cancel()) {
		park(&ring, &d, 2);
		CHECK_EQ(cqe_of(&ring, NULL), -EBUSY);
	}
	CHECK(ioctl(d.fd, LLMD_IOC_KICK) == 0);
	CHECK_EQ(cqe_of(&ring, NULL), 0);
	park(&ring, &d, 3);
	usleep(20000);
	CHECK_EQ(io_uring_cq_ready(&ring), 0);
	daemon_close(&d);
	io_uring_queue_exit(&ring);
	for (i = 0; daemon_open(&d) && i < 100; i++)
		usleep(10000); /* the ring lets the file go from a worker */
	CHECK(i < 100);
}

static void die_in_take(int how, int say)
{
	struct io_uring ring;
	struct daemon d;

	if (daemon_open(&d) || daemon_attach(&d))
		_exit(1);
	daemon_drain(&d);
	if (write(say, "x", 1) != 1)
		_exit(1);
	if (how == BY_IOCTL) {
		daemon_take(&d, 0);
		_exit(2);
	}
	io_uring_queue_init(8, &ring, 0);
	park(&ring, &d, 1);
	cqe_of(&ring, NULL);
	_exit(3);
}

KTEST(K14_08, "SIGKILL with a TAKE parked: gone in a second, the epoch moves")
{
	struct client c;
	uint32_t epoch;
	uint64_t start;
	int how, p[2];
	pid_t pid;
	char b;

	CHECK(client_open(&c) == 0);
	for (how = BY_IOCTL; how <= BY_URING; how++) {
		epoch = c.host->epoch;
		CHECK(pipe(p) == 0);
		pid = fork();
		if (!pid)
			die_in_take(how, p[1]);
		CHECK_EQ(read(p[0], &b, 1), 1);
		usleep(30000);
		CHECK_EQ(c.host->daemon, LLM_DAEMON_READY);
		CHECK_EQ(c.host->epoch, epoch + 1);
		c.ctl->epoch_seen = epoch + 1;
		start = host_now_ns();
		kill(pid, SIGKILL);
		CHECK_EQ(side_wait(pid), 256 + SIGKILL);
		CHECK(host_now_ns() - start < 1000000000ull);
		CHECK_EQ(client_enter(&c, 0, LLM_ENTER_WAIT, 2000000000), 0);
		CHECK_EQ(c.host->daemon, LLM_DAEMON_NONE);
		CHECK_EQ(c.host->epoch, epoch + 2);
		CHECK_EQ(poll(&(struct pollfd){ .fd = c.fd, .events = POLLPRI },
			      1, 0),
			 1);
		close(p[0]);
		close(p[1]);
	}
}

KTEST(K14_09, "every command has its answer when a worker issues it")
{
	struct llm_uring_enter enter = { .to_submit = 1 };
	struct llm_sqe e = side_entry(LLM_OP_PING, 1, 1);
	struct io_uring_sqe *q;
	struct io_uring ring;
	struct client c;
	struct daemon d;
	uint64_t id;
	int i;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	id = c.lay.session;
	CHECK(io_uring_queue_init(8, &ring, IORING_SETUP_SQE128) == 0);
	client_put(&c, &e);
	for (i = 0; i < 4; i++) {
		q = io_uring_get_sqe(&ring);
		memset(q, 0, 128);
		io_uring_prep_rw(IORING_OP_URING_CMD, q, i < 2 ? c.fd : d.fd,
				 NULL, 0, 0);
		q->flags = IOSQE_ASYNC;
		switch (i) {
		case 0:
			q->cmd_op = LLM_URING_ENTER;
			memcpy(q->cmd, &enter, sizeof(enter));
			break;
		case 1:
			q->cmd_op = LLM_URING_SUBMIT;
			e.gen = 2;
			memcpy(q->cmd, &e, sizeof(e));
			break;
		case 2:
			q->cmd_op = LLMD_URING_TAKE;
			break;
		default:
			q->cmd_op = LLMD_URING_WAKE;
			memcpy(q->cmd,
			       &(struct llmd_uring_wake){ .ids = (uintptr_t)&id,
							  .nr = 1 },
			       16);
		}
		CHECK(io_uring_submit(&ring) == 1);
		CHECK_EQ(cqe_of(&ring, NULL), i == 2 ? 3 : i < 2);
	}
}

/* ---- GETFD, and the module's life */

struct guesser {
	struct daemon *d;
	atomic_ullong near; /* an id that was given out lately */
	atomic_bool stop;
	atomic_long hits;
};

static void *guess_main(void *arg)
{
	struct guesser *g = arg;

	while (!atomic_load(&g->stop)) {
		uint64_t id = atomic_load(&g->near), k;

		for (k = 0; k < 4; k++) {
			struct view v;

			/* generation and index both count */
			if (view_open(g->d, id + k * 0x100000001ull, &v))
				continue;
			CHECK(v.lay.session == v.id);
			CHECK(v.lay.area_size[3] && v.lay.off_extent);
			const struct llm_host_ctl *h =
				side_map(v.fd, LLM_AREA_HOST, 4096, PROT_READ);
			CHECK(h != MAP_FAILED && h->session == v.id);
			munmap((void *)h, 4096);
			view_close(&v);
			g->hits++;
		}
	}
	return NULL;
}

KTEST(K14_06, "who guesses ids during set-up never sees a half-made session")
{
	struct guesser g = { 0 };
	long i, rounds = kt_rounds(200);
	struct client c;
	struct daemon d;
	pthread_t t;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(client_open(&c) == 0);
	atomic_store(&g.near, c.lay.session);
	client_close(&c);
	g.d = &d;
	CHECK(pthread_create(&t, NULL, guess_main, &g) == 0);
	for (i = 0; i < rounds; i++) {
		CHECK(client_open(&c) == 0);
		atomic_store(&g.near, c.lay.session);
		client_close(&c);
	}
	/* one that stays, so that a guess is right at least once */
	CHECK(client_open(&c) == 0);
	atomic_store(&g.near, c.lay.session);
	while (!atomic_load(&g.hits)) /* the test's time limit ends it */
		usleep(1000);
	atomic_store(&g.stop, true);
	pthread_join(t, NULL);
}

KTEST(K14_25, "GETFD into a read-only page: EFAULT, and no descriptor")
{
	struct client c;
	struct daemon d;
	struct llmd_getfd *g;
	struct rlimit none = { 3, 3 }, was;
	int i, fd, before;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0);
	g = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*g = (struct llmd_getfd){ .size = sizeof(*g),
				  .session = c.lay.session };
	mprotect(g, 4096, PROT_READ);
	before = dup(0);
	close(before);
	for (i = 0; i < 50; i++)
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_GETFD, g), EFAULT);
	CHECK_EQ(fd = dup(0), before);
	close(fd);
	/* no room for one: nothing happened either */
	mprotect(g, 4096, PROT_READ | PROT_WRITE);
	getrlimit(RLIMIT_NOFILE, &was);
	none.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	for (i = 0; i < 50; i++)
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_GETFD, g), EMFILE);
	setrlimit(RLIMIT_NOFILE, &was);
	fd = ioctl(d.fd, LLMD_IOC_GETFD, g);
	CHECK_EQ(fd, before);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	g->session += 1ull << 32;
	CHECK_ERR(ioctl(d.fd, LLMD_IOC_GETFD, g), ENOENT);
}

KTEST(K14_10, "the module stays while anything of it is mapped")
{
	struct client c;

	CHECK(client_open(&c) == 0);
	close(c.fd);
	CHECK(host_rmmod() == -1);
	CHECK(errno == EAGAIN || errno == EBUSY);
	CHECK(c.host->session == c.lay.session);
}

KTEST(K14_13, "the module stays while somebody polls")
{
	struct client c;
	pid_t pid;

	CHECK(client_open(&c) == 0);
	c.ctl->epoch_seen = c.host->epoch;
	pid = fork();
	if (!pid)
		_exit(poll(&(struct pollfd){ .fd = c.fd, .events = POLLIN }, 1,
			   400) != 0);
	client_close(&c);
	usleep(50000);
	CHECK(host_rmmod() == -1);
	CHECK(errno == EAGAIN || errno == EBUSY);
	CHECK_EQ(side_wait(pid), 0);
}

KTEST(K14_19, "a daemon that asks itself does not block itself")
{
	struct llm_sqe e = side_entry(LLM_OP_PING, 1, 1);
	struct client c;
	struct daemon d;
	struct view v;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(client_open(&c) == 0);
	client_put(&c, &e);
	CHECK_EQ(client_enter(&c, 1, 0, 0), 1);
	CHECK_EQ(daemon_take(&d, 0), 2);
	CHECK(view_open(&d, c.lay.session, &v) == 0);
	daemon_ack(&d);
	view_commit(&v, 1, LLM_COMMIT(1, LLM_ST_END, LLM_END_STOP, 0));
	daemon_ack(&d);
	__atomic_fetch_add(&v.engine->bell, 1, __ATOMIC_SEQ_CST);
	CHECK_EQ(daemon_wake(&d, v.id), 0); /* nobody sleeps */
	CHECK_EQ(client_enter(&c, 0, LLM_ENTER_WAIT, 0), 0);
	CHECK(LLM_COMMIT_STATE(client_word(&c, 1)) == LLM_ST_END);
	/* the last put of the client's file is in this thread */
	client_close(&c);
	CHECK_EQ(daemon_take(&d, 0), 1);
	CHECK_EQ(daemon_peek(&d)->kind, LLMD_WORK_CLOSE);
	view_close(&v);
	daemon_close(&d);
}

/* ---- turns */

/* A client of @uid with @n NOPs queued; leaves when @go is closed. */
static pid_t crowd(unsigned uid, int sessions, uint32_t n, int say, int go)
{
	pid_t pid = fork();
	int i;
	char b;

	if (pid)
		return pid;
	if (setresuid(uid, uid, uid))
		_exit(1);
	for (i = 0; i < sessions; i++) {
		struct llm_setup s = { .sq_entries = 1024,
				       .nr_streams = 1,
				       .arena_size = 4096,
				       .log_size = 4096 };
		struct client c;
		uint32_t k;

		if (client_setup(&c, &s))
			_exit(2);
		for (k = 0; k < n; k++)
			client_put(&c, &(struct llm_sqe){ 0 });
		for (k = 0; k < n; k += 256)
			client_enter(&c, 256, 0, 0);
	}
	if (write(say, "x", 1) != 1 || read(go, &b, 1) < 0)
		_exit(3);
	_exit(0);
}

static void weight(const char *value)
{
	CHECK(host_put("/sys/module/llm/parameters/weight", value));
}

KTEST(turns, "tenants share the ring by weight, sessions of one evenly")
{
	long by_uid[3] = { 0 }, first_uid[2] = { 0 };
	uint64_t one = 0, by_session[2] = { 0 };
	const struct llmd_work *w;
	int say[2], go[2], i;
	struct daemon d;
	pid_t pid[3];
	char b;

	CHECK(pipe(say) == 0 && pipe(go) == 0);
	/* one session of weight 100, two of one tenant of 300, one of 25 */
	weight("100");
	pid[0] = crowd(1001, 1, 1000, say[1], go[0]);
	CHECK_EQ(read(say[0], &b, 1), 1);
	weight("300");
	pid[1] = crowd(1002, 2, 1000, say[1], go[0]);
	CHECK_EQ(read(say[0], &b, 1), 1);
	weight("25");
	pid[2] = crowd(1003, 1, 1000, say[1], go[0]);
	CHECK_EQ(read(say[0], &b, 1), 1);
	weight("100");
	CHECK(!host_put("/sys/module/llm/parameters/weight", "0"));
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	for (i = 0; i < 855; i++) {
		w = daemon_peek(&d);
		if (!w) {
			CHECK(daemon_take(&d, ~0ull) > 0);
			w = daemon_peek(&d);
		}
		CHECK(w->tenant >= 1001 && w->tenant <= 1003);
		CHECK_EQ(w->uid, w->tenant);
		by_uid[w->tenant - 1001]++;
		if (w->tenant == 1002) {
			if (!one)
				one = w->session;
			by_session[w->session != one]++;
		}
		if (i < 100 && w->tenant <= 1002)
			first_uid[w->tenant - 1001]++;
		daemon_ack(&d);
	}
	printf("# of 855: %ld %ld %ld; sessions %llu %llu\n", by_uid[0],
	       by_uid[1], by_uid[2], (unsigned long long)by_session[0],
	       (unsigned long long)by_session[1]);
	/* 100 : 300 : 25 of 855 is 201 : 604 : 50 */
	CHECK(by_uid[0] >= 198 && by_uid[0] <= 204);
	CHECK(by_uid[1] >= 600 && by_uid[1] <= 608);
	CHECK(by_uid[2] >= 48 && by_uid[2] <= 53);
	CHECK(first_uid[0] >= 20 && first_uid[1] >= 60);
	CHECK(by_session[0] - by_session[1] + 1 <= 2);
	for (i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		side_wait(pid[i]);
	}
}

KTEST(turns_wait, "who comes when others wait has his turn after theirs")
{
	struct llmd_attach at = { .size = sizeof(at),
				  .abi = LLM_ABI_VERSION,
				  .ring_entries = 4 };
	struct llm_sqe e = side_entry(LLM_OP_NOP, 0, 0);
	const struct llmd_work *w;
	struct client a, b;
	struct daemon d;
	int i;

	CHECK(client_open(&a) == 0 && client_open(&b) == 0);
	CHECK(daemon_open(&d) == 0);
	CHECK(ioctl(d.fd, LLMD_IOC_ATTACH, &at) == 0);
	daemon_drain(&d); /* OPEN, twice */
	for (i = 0; i < 8; i++)
		client_put(&a, &e);
	CHECK_EQ(client_enter(&a, 8, 0, 0), 8); /* four are in the ring */
	daemon_ack(&d);
	client_put(&b, &e);
	CHECK_EQ(client_enter(&b, 1, 0, 0), 1); /* which has room for one now */
	for (i = 1; i < 9; i++) {
		while (!(w = daemon_peek(&d)))
			CHECK(daemon_take(&d, ~0ull) > 0);
		/* a's fifth was there before; then each has his turn */
		CHECK_EQ(w->session, i == 5 ? b.lay.session : a.lay.session);
		daemon_ack(&d);
	}
}
