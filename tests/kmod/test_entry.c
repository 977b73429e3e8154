// SPDX-License-Identifier: MIT
/* What goes in: entries, sizes, flags, sleeping. */
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
#include <sys/time.h>
#include <sys/wait.h>

static int setup_raw(void *s)
{
	int fd = open("/dev/llm", O_RDWR | O_CLOEXEC);
	int ret = ioctl(fd, LLM_IOC_SETUP, s), err = errno;

	close(fd);
	errno = err;
	return ret;
}

KTEST(entry_defaults, "zeroes get the layout that the keeper gives")
{
	struct llm_setup s = { .size = sizeof(s), .features = ~0u };

	CHECK(setup_raw(&s) == 0);
	/* daemon/layout.c for the same wishes */
	CHECK_EQ(s.sq_entries, 64);
	CHECK_EQ(s.nr_streams, 64);
	CHECK_EQ(s.arena_size, 4 << 20);
	CHECK_EQ(s.log_size, 64 << 20);
	CHECK_EQ(s.off_wish, 128);
	CHECK_EQ(s.off_sq, 128 + 64 * 64);
	CHECK_EQ(s.area_size[0], 12288);
	CHECK_EQ(s.area_size[1], 4 << 20);
	CHECK_EQ(s.area_size[2], 4096);
	CHECK_EQ(s.off_info, 64);
	CHECK_EQ(s.off_commit, 256);
	CHECK_EQ(s.off_record, 4096);
	CHECK_EQ(s.record_stride, 512);
	CHECK_EQ(s.off_extent, 4096 + 64 * 512);
	CHECK_EQ(s.area_size[3], 4096 + 64 * 512 + (64 << 20));
	CHECK(s.features & LLM_FEAT_READWRITE && s.features & LLM_FEAT_URING);
}

KTEST(entry_untold,
      "who cannot be told what he got has no session, and may ask again")
{
	struct llm_setup *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i, fd = open("/dev/llm", O_RDWR | O_CLOEXEC);
	struct daemon d;

	CHECK(fd >= 0 && s != MAP_FAILED);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	*s = (struct llm_setup){ .size = sizeof(*s), .nr_streams = 64 };
	mprotect(s, 4096, PROT_READ);
	for (i = 0; i < 300; i++) { /* more than a tenant may have */
		CHECK_ERR(ioctl(fd, LLM_IOC_SETUP, s), EFAULT);
		CHECK_ERR(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0),
			  ENXIO);
	}
	/* the daemon never heard of them */
	CHECK_EQ(daemon_take(&d, ~0ull), 0);
	mprotect(s, 4096, PROT_READ | PROT_WRITE);
	CHECK(ioctl(fd, LLM_IOC_SETUP, s) == 0);
	CHECK(s->session != 0);
	CHECK_EQ(daemon_take(&d, ~0ull), 1);
	close(fd);
	munmap(s, 4096);
}

KTEST(K14_20, "a span may end where the arena ends, not a byte behind")
{
	static const struct {
		const char *name;
		uint32_t off, len, params_off, params_len;
		int err;
	} rows[] = {
		{ "the end", SIDE_ARENA - 96, 96, 0, 0, 0 },
		{ "all of it", 0, SIDE_ARENA, 0, SIDE_ARENA, 0 },
		{ "empty at the end", SIDE_ARENA, 0, SIDE_ARENA, 0, 0 },
		{ "one byte", SIDE_ARENA - 96, 97, 0, 0, EINVAL },
		{ "one behind", SIDE_ARENA + 4, 0, 0, 0, EINVAL },
		{ "a sum that wraps", 0xfffffffc, 8, 0, 0, EINVAL },
		{ "4 GiB", 0, 0xffffffff, 0, 0, EINVAL },
		{ "parameters", 0, 0, SIDE_ARENA - 88, 89, EINVAL },
		{ "parameters that wrap", 0, 0, 0xfffffff8, 16, EINVAL },
		{ "an odd place", 2, 4, 0, 0, EINVAL },
		{ "parameters at 4", 0, 0, 4, 88, EINVAL },
	};
	struct llm_sqe e;
	struct client c;
	size_t i;
	int ret;

	CHECK(client_open(&c) == 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e = side_entry(LLM_OP_GENERATE, 1, (uint32_t)i + 1);
		e.off = rows[i].off;
		e.len = rows[i].len;
		e.params_off = rows[i].params_off;
		e.params_len = rows[i].params_len;
		client_put(&c, &e);
		errno = 0;
		ret = client_enter(&c, 1, 0, 0);
		if (ret != (rows[i].err ? -1 : 1) || errno != rows[i].err)
			kt_fail(__FILE__, __LINE__, "%s: %d, %s", rows[i].name,
				ret, strerror(errno));
		if (rows[i].err)
			c.ctl->sq_tail--; /* taken back */
	}
}

KTEST(K14_24, "a tail 2^31 ahead is EINVAL at once, a head beyond it EPROTO")
{
	static const uint32_t ahead[] = { 65, 1000, 1u << 31, ~0u };
	struct llm_sqe e = side_entry(LLM_OP_PING, 1, 1);
	uint64_t start = host_now_ns();
	struct client c;
	struct daemon d;
	size_t i;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	daemon_drain(&d);
	for (i = 0; i < 4; i++) {
		c.ctl->sq_tail = ahead[i];
		CHECK_ERR(client_enter(&c, ~0u, 0, 0), EINVAL);
	}
	c.ctl->sq_tail = 0;
	client_put(&c, &e);
	for (i = 0; i < 4; i++) {
		d.ctl->head += ahead[i] + 256;
		if (!i)
			CHECK_EQ(client_enter(&c, 1, 0, 0), 1);
		CHECK_ERR(daemon_take(&d, ~0ull), EPROTO);
		CHECK_ERR(daemon_take(&d, 0), EPROTO);
		CHECK(poll(&(struct pollfd){ .fd = d.fd, .events = POLLIN }, 1,
			   0) == 1);
		d.ctl->head -= ahead[i] + 256;
	}
	/* nothing was lost by it */
	CHECK_EQ(daemon_take(&d, ~0ull), 1);
	CHECK(daemon_peek(&d)->sqe.gen == 1);
	CHECK(host_now_ns() - start < 3000000000ull);
}

/* A thread that changes what is being submitted. */
struct flipper {
	struct llm_sqe *sqe;
	atomic_bool stop;
};

static void *flip_entry(void *arg)
{
	struct flipper *f = arg;

	while (!atomic_load(&f->stop)) {
		__atomic_store_n(&f->sqe->stream, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&f->sqe->stream, 999, __ATOMIC_RELAXED);
	}
	return NULL;
}

KTEST(K14_02, "what was checked is what is queued, whoever flips it")
{
	struct io_uring_sqe *q;
	struct io_uring_cqe *cqe;
	struct flipper f = { 0 };
	struct io_uring ring;
	struct client c;
	struct daemon d;
	pthread_t t[2];
	long i, good = 0, rounds = kt_rounds(3000);
	struct flipper in_ring = { 0 };

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(io_uring_queue_init(1, &ring, IORING_SETUP_SQE128) == 0);
	/* the SQE in the memory that the kernel reads, flipped during submit */
	q = io_uring_get_sqe(&ring);
	f.sqe = (struct llm_sqe *)q->cmd;
	in_ring.sqe = c.sq;
	f.sqe->stream = in_ring.sqe->stream = 1;
	pthread_create(&t[0], NULL, flip_entry, &f);
	pthread_create(&t[1], NULL, flip_entry, &in_ring);
	for (i = 0; i < rounds; i++) {
		io_uring_prep_rw(IORING_OP_URING_CMD, q, c.fd, NULL, 0, 0);
		q->cmd_op = LLM_URING_SUBMIT;
		f.sqe->op = LLM_OP_PING;
		f.sqe->gen = (uint32_t)i + 1;
		CHECK(io_uring_submit_and_wait(&ring, 1) == 1);
		CHECK(io_uring_wait_cqe(&ring, &cqe) == 0);
		CHECK(cqe->res == 1 || cqe->res == -EINVAL);
		good += cqe->res == 1;
		io_uring_cqe_seen(&ring, cqe);
		q = io_uring_get_sqe(&ring);
		/* the same through our own ring, always in its first place */
		c.sq[0].op = LLM_OP_PING;
		c.sq[0].gen = (uint32_t)i + 1;
		c.ctl->sq_tail = c.host->sq_head + 1;
		if (!(c.host->sq_head & (SIDE_ENTRIES - 1)))
			good += client_enter(&c, 1, 0, 0) == 1;
		else { /* a NOP brings the ring on to its first place */
			c.sq[c.host->sq_head & (SIDE_ENTRIES - 1)] =
				(struct llm_sqe){ 0 };
			client_enter(&c, 1, 0, 0);
		}
		if (!(i % 16)) {
			const struct llmd_work *w;

			for (; (w = daemon_peek(&d)); daemon_ack(&d))
				CHECK(w->kind != LLMD_WORK_SQE ||
				      w->sqe.op == LLM_OP_NOP ||
				      w->sqe.stream < SIDE_STREAMS);
			daemon_take(&d, ~0ull);
		}
	}
	atomic_store(&f.stop, true);
	atomic_store(&in_ring.stop, true);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	CHECK(good > 0);
}

static int uring_op(struct io_uring *ring, int fd, uint32_t op,
		    const void *payload, size_t size, unsigned flags)
{
	struct io_uring_sqe *q = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int res;

	io_uring_prep_rw(IORING_OP_URING_CMD, q, fd, NULL, 0, 0);
	q->cmd_op = op;
	q->flags = (__u8)flags;
	memcpy(q->cmd, payload, size);
	CHECK(io_uring_submit_and_wait(ring, 1) == 1);
	CHECK(io_uring_wait_cqe(ring, &cqe) == 0);
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

KTEST(K14_03, "SUBMIT on a ring of 64-byte entries is EINVAL")
{
	struct llm_sqe e = side_entry(LLM_OP_PING, 1, 1);
	struct llm_uring_enter enter = { .to_submit = 1 };
	struct io_uring small, wide;
	struct client c;

	CHECK(client_open(&c) == 0);
	CHECK(io_uring_queue_init(4, &small, 0) == 0);
	CHECK(io_uring_queue_init(4, &wide, IORING_SETUP_SQE128) == 0);
	/* 16 bytes are there */
	CHECK_EQ(uring_op(&small, c.fd, LLM_URING_SUBMIT, &e, 16, 0), -EINVAL);
	CHECK_EQ(uring_op(&wide, c.fd, LLM_URING_SUBMIT, &e, 64, 0), 1);
	CHECK_EQ(uring_op(&small, c.fd, LLM_URING_ENTER, &enter, 16, 0), 0);
	enter.flags = LLM_ENTER_WAIT;
	CHECK_EQ(uring_op(&small, c.fd, LLM_URING_ENTER, &enter, 16, 0),
		 -EINVAL);
	CHECK_EQ(uring_op(&small, c.fd, 0x1234, &enter, 16, 0), -EOPNOTSUPP);
}

KTEST(K14_07,
      "entries of both sizes work, also in one ring where there are such")
{
	struct llm_uring_enter enter = { .to_submit = 1 };
	struct llm_sqe e = side_entry(LLM_OP_PING, 1, 1);
	struct io_uring_params p = { .flags = 1u << 19 }; /* SQE_MIXED */
	struct io_uring narrow, wide;
	struct client c;
	int fd;

	CHECK(client_open(&c) == 0);
	client_put(&c, &e);
	CHECK(io_uring_queue_init(4, &narrow, 0) == 0);
	CHECK_EQ(uring_op(&narrow, c.fd, LLM_URING_ENTER, &enter, 16, 0), 1);
	CHECK(io_uring_queue_init(4, &wide, IORING_SETUP_SQE128) == 0);
	e.gen = 2;
	CHECK_EQ(uring_op(&wide, c.fd, LLM_URING_SUBMIT, &e, 64, 0), 1);
	client_put(&c, &e);
	CHECK_EQ(uring_op(&wide, c.fd, LLM_URING_ENTER, &enter, 16, 0), 1);
	/* from 6.19 a ring may mix; before, the flag is refused */
	fd = (int)syscall(__NR_io_uring_setup, 4, &p);
	if (kt_kernel() < 619) {
		CHECK(fd < 0);
		return;
	}
	CHECK(fd >= 0);
	{
		size_t sq = p.sq_off.array + p.sq_entries * sizeof(unsigned);
		size_t cq = p.cq_off.cqes +
			    p.cq_entries * sizeof(struct io_uring_cqe);
		size_t size = sq > cq ? sq : cq;
		char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
				fd, IORING_OFF_SQ_RING);
		struct io_uring_sqe *sqe =
			mmap(NULL, p.sq_entries * 64, PROT_READ | PROT_WRITE,
			     MAP_SHARED, fd, IORING_OFF_SQES);
		unsigned *array = (unsigned *)(at + p.sq_off.array), i;
		unsigned *tail = (unsigned *)(at + p.sq_off.tail);
		struct io_uring_cqe *cqe =
			(struct io_uring_cqe *)(at + p.cq_off.cqes);

		CHECK(at != MAP_FAILED && sqe != MAP_FAILED);
		memset(sqe, 0, p.sq_entries * 64);
		for (i = 0; i < p.sq_entries; i++)
			array[i] = i;
		/* places 0 and 1: one of 128 bytes, URING_CMD128 */
		sqe[0].opcode = 64;
		sqe[0].fd = c.fd;
		sqe[0].cmd_op = LLM_URING_SUBMIT;
		e.gen = 3;
		memcpy(sqe[0].cmd, &e, sizeof(e));
		/* place 2: one of 64, which has no room for SUBMIT */
		sqe[2].opcode = IORING_OP_URING_CMD;
		sqe[2].fd = c.fd;
		sqe[2].cmd_op = LLM_URING_SUBMIT;
		__atomic_store_n(tail, 3, __ATOMIC_RELEASE);
		CHECK(syscall(__NR_io_uring_enter, fd, 3, 2,
			      IORING_ENTER_GETEVENTS, NULL, 0) >= 0);
		CHECK_EQ(cqe[0].res, 1);
		CHECK_EQ(cqe[1].res, -EINVAL);
	}
}

KTEST(K14_23, "a client that writes nonsense into all its words harms nobody")
{
	struct client c, good;
	struct echo e;
	unsigned seed = 1;
	long i, rounds = kt_rounds(400);
	size_t k;

	echo_start(&e, BY_IOCTL);
	CHECK(client_open(&c) == 0 && client_open(&good) == 0);
	for (i = 0; i < rounds; i++) {
		uint32_t *w = (uint32_t *)c.ctl;

		for (k = 0; k < c.lay.area_size[0] / 4; k += 7)
			w[(k + (size_t)rand_r(&seed)) %
			  (c.lay.area_size[0] / 4)] = (uint32_t)rand_r(&seed);
		/* some look right */
		c.ctl->sq_tail = c.host->sq_head + (uint32_t)i % 70;
		client_enter(&c, (uint32_t)rand_r(&seed) % 300, i % 2, 1000);
		CHECK(client_ping(&good, 2, (uint32_t)i + 1));
	}
	CHECK_EQ(c.host->session, c.lay.session);
	echo_stop(&e);
}

KTEST(K14_27, "reserved words of an answer are zero, whatever was in them")
{
	struct llmd_attach a;
	struct llmd_getfd g;
	struct llm_setup s;
	struct client c;
	struct daemon d;
	size_t i;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0);
	/* out-fields full of old bytes: all are overwritten */
	memset(&s, 0xaa, sizeof(s));
	s.size = sizeof(s);
	s.abi = LLM_ABI_VERSION;
	s.flags = s.sq_entries = s.nr_streams = 0;
	s.arena_size = s.log_size = 0;
	memset(s.resv, 0, sizeof(s.resv));
	CHECK(setup_raw(&s) == 0);
	for (i = 0; i < sizeof(s.resv) / 4; i++)
		CHECK_EQ(s.resv[i], 0);
	CHECK_EQ(s.off_wish, 128);
	CHECK_EQ(s.flags, 0);
	CHECK(s.features && !(s.features & ~7u));
	memset(&a, 0xaa, sizeof(a));
	a.size = sizeof(a);
	a.abi = LLM_ABI_VERSION;
	a.flags = a.ring_entries = 0;
	CHECK(ioctl(d.fd, LLMD_IOC_ATTACH, &a) == 0);
	CHECK_EQ(a.ring_entries, 256);
	CHECK(a.nr_sessions != 0xaaaaaaaa && a.epoch != 0xaaaaaaaa);
	memset(&g, 0xaa, sizeof(g));
	g.size = sizeof(g);
	g.flags = 0;
	g.session = c.lay.session;
	CHECK(ioctl(d.fd, LLMD_IOC_GETFD, &g) >= 0);
	CHECK(memcmp(&g.info, &c.lay, sizeof(g.info)) == 0);
	/* pages come zeroed */
	for (i = 0; i < SIDE_ARENA; i++)
		CHECK(!c.arena[i]);
	/* and so is what a work item does not use */
	for (i = 0; i < sizeof(daemon_peek(&d)->sqe); i++)
		CHECK(!((const char *)&daemon_peek(&d)->sqe)[i]);
	CHECK_EQ(daemon_peek(&d)->resv1[0], 0);
}

KTEST(K14_28, "a struct's size is checked: 0, 3, too big, unknown tail")
{
	static const uint32_t bad[] = { 0, 3, 4097, ~0u, 1u << 31 };
	struct {
		struct llm_setup s;
		char more[64];
	} big = { .s = { .size = sizeof(big), .sq_entries = 2 } };
	struct client c;
	struct daemon d;
	size_t i;
	char *edge;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0);
	for (i = 0; i < 5; i++) {
		struct llm_setup s = { .size = bad[i] };
		struct llm_enter e = { .size = bad[i] };
		struct llmd_attach a = { .size = bad[i] };
		struct llmd_take t = { .size = bad[i] };
		struct llmd_wake w = { .size = bad[i] };
		struct llmd_getfd g = { .size = bad[i] };

		CHECK_ERR(setup_raw(&s), EINVAL);
		CHECK_ERR(ioctl(c.fd, LLM_IOC_ENTER, &e), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_ATTACH, &a), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_TAKE, &t), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_WAKE, &w), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_GETFD, &g), EINVAL);
	}
	big.more[3] = 1;
	CHECK_ERR(setup_raw(&big), E2BIG);
	big.more[3] = 0;
	CHECK(setup_raw(&big) == 0);
	/* a shorter one is zero-filled: nothing behind it is read */
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	*(uint32_t *)(edge + 4096 - 8) = 8;
	CHECK_EQ(ioctl(c.fd, LLM_IOC_ENTER, edge + 4096 - 8), 0);
	CHECK_EQ(setup_raw(edge + 4096 - 8), 0);
	*(uint32_t *)(edge + 4096 - 8) = 12;
	CHECK_ERR(ioctl(c.fd, LLM_IOC_ENTER, edge + 4096 - 8), EFAULT);
	CHECK_ERR(ioctl(c.fd, LLM_IOC_ENTER, NULL), EFAULT);
}

KTEST(K14_29, "each bit that means nothing yet is refused")
{
	struct client c;
	struct daemon d;
	int bit;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	for (bit = 0; bit < 32; bit++) {
		uint32_t f = 1u << bit;
		struct llm_setup s = { .size = sizeof(s), .flags = f };
		struct llm_setup r = { .size = sizeof(r), .resv[6] = f };
		struct llmd_attach a = { .size = sizeof(a), .flags = f };
		struct llmd_take t = { .size = sizeof(t), .flags = f };
		struct llmd_getfd g = { .size = sizeof(g),
					.flags = f,
					.session = c.lay.session };
		struct llm_enter e = { .size = sizeof(e), .resv = f };
		struct llm_sqe q = side_entry(LLM_OP_GENERATE, 1, 1);

		CHECK_ERR(setup_raw(&s), EINVAL);
		CHECK_ERR(setup_raw(&r), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_ATTACH, &a), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_TAKE, &t), EINVAL);
		CHECK_ERR(ioctl(d.fd, LLMD_IOC_GETFD, &g), EINVAL);
		CHECK_ERR(ioctl(c.fd, LLM_IOC_ENTER, &e), EINVAL);
		if (f != LLM_ENTER_WAIT)
			CHECK_ERR(client_enter(&c, 0, f, 1), EINVAL);
		q.flags = f;
		client_put(&c, &q);
		if (f & LLM_SQE_F_ALL)
			CHECK_EQ(client_enter(&c, 1, 0, 0), 1);
		else
			CHECK_ERR(client_enter(&c, 1, 0, 0), EINVAL);
		c.ctl->sq_tail = c.host->sq_head;
		q = side_entry(LLM_OP_GENERATE, 1, 1);
		q.resv = 1ull << (2 * bit);
		client_put(&c, &q);
		CHECK_ERR(client_enter(&c, 1, 0, 0), EINVAL);
		c.ctl->sq_tail--;
	}
	for (bit = LLM_OP_NR; bit < 256; bit++) {
		struct llm_sqe q = side_entry((unsigned)bit, 1, 1);

		client_put(&c, &q);
		CHECK_ERR(client_enter(&c, 1, 0, 0), EINVAL);
		c.ctl->sq_tail--;
	}
	CHECK_ERR(ioctl(c.fd, 0x1234, 0), ENOTTY);
	CHECK_ERR(ioctl(d.fd, 0x1234, 0), ENOTTY);
	CHECK_ERR(ioctl(c.fd, LLM_IOC_SETUP, &c.lay), EBUSY);
}

static void on_alarm(int sig)
{
	(void)sig;
}

KTEST(K14_39,
      "a signal after entries were taken says how many; none comes twice")
{
	struct itimerval soon = { .it_value.tv_usec = 30000 }, never = { 0 };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct client c;
	struct daemon d;
	uint32_t i;

	sigaction(SIGALRM, &sa, NULL);
	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	daemon_drain(&d);
	c.ctl->epoch_seen = c.host->epoch;
	for (i = 1; i <= 5; i++) {
		struct llm_sqe e = side_entry(LLM_OP_PING, i, 1);

		client_put(&c, &e);
	}
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK_EQ(client_enter(&c, 5, LLM_ENTER_WAIT, 0), 5);
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK_ERR(client_enter(&c, 0, LLM_ENTER_WAIT, 0), EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK_EQ(c.host->sq_head, 5);
	for (i = 1; i <= 5; i++) {
		CHECK(daemon_peek(&d) && daemon_peek(&d)->sqe.stream == i);
		daemon_ack(&d);
	}
	CHECK(!daemon_peek(&d));
	CHECK_EQ(daemon_take(&d, ~0ull), 0);
}

KTEST(K14_40, "a time-out of 2^64 - 2 ns sleeps; a short one ends with ETIME")
{
	struct itimerval soon = { .it_value.tv_usec = 50000 };
	struct sigaction sa = { .sa_handler = on_alarm };
	static const uint64_t long_ns[] = { ~1ull, ~0ull, 1ull << 63,
					    (1ull << 63) - 1 };
	uint64_t start;
	struct client c;
	struct daemon d;
	size_t i;

	sigaction(SIGALRM, &sa, NULL);
	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	daemon_drain(&d);
	c.ctl->epoch_seen = c.host->epoch;
	for (i = 0; i < 4; i++) {
		start = host_now_ns();
		setitimer(ITIMER_REAL, &soon, NULL);
		CHECK_ERR(client_enter(&c, 0, LLM_ENTER_WAIT, long_ns[i]),
			  EINTR);
		CHECK(host_now_ns() - start > 40000000);
		if (long_ns[i] == ~0ull)
			continue; /* for a TAKE: do not sleep */
		setitimer(ITIMER_REAL, &soon, NULL);
		CHECK_ERR(daemon_take(&d, long_ns[i]), EINTR);
	}
	start = host_now_ns();
	CHECK_ERR(client_enter(&c, 0, LLM_ENTER_WAIT, 20000000), ETIME);
	CHECK(host_now_ns() - start >= 20000000);
	CHECK_EQ(daemon_take(&d, 20000000), 0);
	CHECK_EQ(daemon_take(&d, ~0ull), 0);
}

KTEST(K14_42, "a 32-bit caller sees the same structs and offsets")
{
	char *argv[] = { (char *)"small32", NULL };
	struct daemon d;
	pid_t pid;

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	pid = fork();
	if (!pid) {
		execv("/small32", argv);
		_exit(errno == ENOEXEC ? 100 : 101);
	}
	CHECK_EQ(side_wait(pid), 0);
	CHECK_EQ(daemon_take(&d, ~0ull) > 0, 1);
	for (; daemon_peek(&d) && daemon_peek(&d)->kind != LLMD_WORK_SQE;)
		daemon_ack(&d);
	if (daemon_peek(&d)) { /* it may be gone already, with its entry */
		CHECK_EQ(daemon_peek(&d)->sqe.gen, 77);
		CHECK(daemon_peek(&d)->sqe.user_data == 0x123456789abcdefull);
	}
}

/* Does the epoch move on from @e?  Waits for it. */
static bool epoch_moves(const struct client *c, uint32_t e)
{
	int i;

	for (i = 0; i < 200; i++) {
		if (__atomic_load_n(&c->host->epoch, __ATOMIC_ACQUIRE) != e)
			return true;
		usleep(1000);
	}
	return false;
}

KTEST(K14_44, "who sees an epoch sees the state that was stored before it")
{
	long i, rounds = kt_rounds(300), flips = 0;
	atomic_bool *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t e, last, state;
	struct client c;
	struct daemon d;
	pid_t pid;

	CHECK(client_open(&c) == 0);
	last = c.host->epoch;
	CHECK_EQ(last & 1, 0); /* odd: a daemon is there */
	pid = fork();
	if (!pid) {
		if (daemon_open(&d))
			_exit(1);
		/* on until it was seen: all rounds may fit into one time slice */
		for (i = 0; i < rounds || !atomic_load(seen); i++) {
			daemon_attach(&d);
			ioctl(d.fd, LLMD_IOC_DETACH);
		}
		_exit(0);
	}
	for (; waitpid(pid, NULL, WNOHANG) == 0; last = e) {
		e = __atomic_load_n(&c.host->epoch, __ATOMIC_ACQUIRE);
		state = __atomic_load_n(&c.host->daemon, __ATOMIC_ACQUIRE);
		flips += e != last;
		atomic_store(seen, flips > 0);
		/* another one than e's is the next's: then that is coming */
		CHECK(state == (e & 1 ? LLM_DAEMON_READY : LLM_DAEMON_NONE) ||
		      epoch_moves(&c, e));
	}
	CHECK(flips > 0);
	CHECK_EQ(c.host->daemon, LLM_DAEMON_NONE);
}
