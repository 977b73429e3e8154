// SPDX-License-Identifier: MIT
/*
 * Hostile processes with random calls, offsets, words and netlink messages,
 * for a bounded time: the kernel has nothing to say, and who behaves is served.
 * kt.fuzz_s=N.
 */
#include "host.h"
#include "kt.h"
#include "nl.h"
#include "side.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <linux/llm_netlink.h>

#define NR_FDS	6
#define NR_MAPS 8

/* One hostile process. */
struct fuzz {
	uint64_t seed;
	const char *path; /* what it opens */
	int fd[NR_FDS];
	struct {
		char *p;
		size_t len;
		bool writable;
	} map[NR_MAPS];
	struct io_uring ring;
	bool has_ring;
	struct nl nl;
	bool has_nl;
	bool root; /* its netlink messages may change something */
};

static uint32_t rnd(struct fuzz *f)
{
	f->seed = f->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(f->seed >> 33);
}

/* ---- the two devices */

/* Small numbers, bounds and anything. */
static uint64_t rnd_value(struct fuzz *f)
{
	static const uint64_t edges[] = {
		0,	    1,	      2,    3,		63,	    64,
		4095,	    4096,     4097, 65535,	65536,	    1u << 20,
		1u << 30,   1u << 31, ~0u,  1ull << 32, 1ull << 34, 1ull << 44,
		1ull << 63, ~0ull,    ~1ull
	};

	switch (rnd(f) % 4) {
	case 0:
		return rnd(f) % 16;
	case 1:
		return edges[rnd(f) % (sizeof(edges) / sizeof(edges[0]))] +
		       rnd(f) % 3 - 1;
	case 2:
		return rnd(f);
	default:
		return (uint64_t)rnd(f) << 32 | rnd(f);
	}
}

static int rnd_fd(struct fuzz *f)
{
	return f->fd[rnd(f) % NR_FDS];
}

static void reopen(struct fuzz *f)
{
	int *fd = &f->fd[rnd(f) % NR_FDS];

	if (*fd >= 0)
		close(*fd);
	if (rnd(f) % 8 == 0)
		*fd = dup(rnd_fd(f));
	else
		*fd = open(f->path,
			   O_RDWR | O_CLOEXEC | (rnd(f) % 2 ? O_NONBLOCK : 0));
}

static void setup(struct fuzz *f)
{
	struct llm_setup s = { .size = sizeof(s) };

	if (rnd(f) % 2) {
		s.sq_entries = 1u << rnd(f) % 8;
		s.nr_streams = 1 + rnd(f) % 70;
		s.arena_size = 4096 << rnd(f) % 5;
		s.log_size = 4096 << rnd(f) % 5;
	}
	if (rnd(f) % 4 == 0)
		((uint32_t *)&s)[rnd(f) % (sizeof(s) / 4)] =
			(uint32_t)rnd_value(f);
	ioctl(rnd_fd(f), LLM_IOC_SETUP, &s);
}

/* A known or unknown call with words that make some sense, or none. */
static void call(struct fuzz *f)
{
	static const unsigned long ops[] = {
		LLM_IOC_SETUP,	 LLM_IOC_ENTER,	  LLM_IOC_ENTER,
		LLMD_IOC_ATTACH, LLMD_IOC_TAKE,	  LLMD_IOC_WAKE,
		LLMD_IOC_GETFD,	 LLMD_IOC_DETACH, LLMD_IOC_KICK,
	};
	static const uint32_t sizes[] = { 160, 24, 24, 24, 16, 16, 176, 0, 0 };
	uint64_t arg[64];
	size_t i, k = rnd(f) % 9;
	int ret;

	for (i = 0; i < 64; i++)
		arg[i] = rnd(f) % 3 ? 0 : rnd_value(f);
	*(uint32_t *)arg = rnd(f) % 8 ? sizes[k] : (uint32_t)rnd_value(f);
	if (ops[k] == LLM_IOC_ENTER && rnd(f) % 8) {
		struct llm_enter *e = (void *)arg;

		e->flags &= 1;
		e->resv = 0;
		e->to_submit = rnd(f) % 80;
		e->timeout_ns = 1 + rnd(f) % 200000;
	}
	if (ops[k] == LLMD_IOC_TAKE)
		((struct llmd_take *)arg)->timeout_ns =
			rnd(f) % 4 ? ~0ull : 1 + rnd(f) % 300000;
	if (ops[k] == LLMD_IOC_GETFD)
		((struct llmd_getfd *)arg)->session =
			(uint64_t)(rnd(f) % 64) << 32 | rnd(f) % 64;
	ret = ioctl(rnd_fd(f), rnd(f) % 16 ? ops[k] : rnd(f),
		    rnd(f) % 16 ? arg : (void *)(uintptr_t)rnd_value(f));
	if (ret > 2 && ops[k] == LLMD_IOC_GETFD) {
		int *fd = &f->fd[rnd(f) % NR_FDS];

		if (*fd >= 0)
			close(*fd);
		*fd = ret;
	}
}

static void remap(struct fuzz *f)
{
	size_t i = rnd(f) % NR_MAPS, len = 4096ul << rnd(f) % 6;
	bool writable = rnd(f) % 2;
	off_t off = (off_t)(rnd(f) % 4 ? LLM_MMAP_OFF(rnd(f) % 5) +
						 (rnd(f) % 4) * 4096ull
				       : rnd_value(f) & ~4095ull);

	if (f->map[i].p)
		munmap(f->map[i].p, f->map[i].len);
	f->map[i].p =
		mmap(NULL, len, writable ? PROT_READ | PROT_WRITE : PROT_READ,
		     rnd(f) % 8 ? MAP_SHARED : MAP_PRIVATE, rnd_fd(f), off);
	f->map[i].len = len;
	f->map[i].writable = writable;
	if (f->map[i].p == MAP_FAILED)
		f->map[i].p = NULL;
	else if (!writable)
		mprotect(f->map[i].p, len, PROT_READ | PROT_WRITE);
}

static void scribble(struct fuzz *f)
{
	size_t i = rnd(f) % NR_MAPS, n, words;
	uint32_t *w = (uint32_t *)f->map[i].p;

	if (!w || !f->map[i].writable)
		return;
	words = f->map[i].len / 4;
	for (n = rnd(f) % 64; n; n--)
		w[rnd(f) % words] = (uint32_t)rnd_value(f);
	if (rnd(f) % 2)
		w[0] = rnd(f) % 100; /* a tail or a head that may be right */
}

static void text(struct fuzz *f)
{
	static char buf[70000];
	int fd = rnd_fd(f), flags = fcntl(fd, F_GETFL);

	if (fd < 0 || flags < 0)
		return;
	/* never asleep for good */
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	if (rnd(f) % 2)
		(void)!write(fd, buf, rnd_value(f) % sizeof(buf));
	else
		(void)!read(fd, buf, rnd_value(f) % sizeof(buf));
	poll(&(struct pollfd){ .fd = fd, .events = (short)rnd(f) }, 1, 0);
}

static void uring(struct fuzz *f)
{
	static const uint32_t ops[] = { LLM_URING_ENTER, LLM_URING_SUBMIT,
					LLMD_URING_TAKE, LLMD_URING_WAKE };
	struct io_uring_sqe *q;
	size_t i;

	if (!f->has_ring || rnd(f) % 32 == 0) {
		if (f->has_ring)
			io_uring_queue_exit(&f->ring);
		f->has_ring = io_uring_queue_init(8, &f->ring,
						  rnd(f) % 2
							  ? IORING_SETUP_SQE128
							  : 0) == 0;
		return;
	}
	q = io_uring_get_sqe(&f->ring);
	if (!q)
		return;
	if (rnd(f) % 4 == 0) {
		io_uring_prep_poll_add(q, rnd_fd(f), POLLIN | POLLPRI);
	} else {
		io_uring_prep_rw(IORING_OP_URING_CMD, q, rnd_fd(f), NULL, 0, 0);
		q->cmd_op = rnd(f) % 16 ? ops[rnd(f) % 4] : rnd(f);
		q->flags = rnd(f) % 4 ? 0 : IOSQE_ASYNC;
		for (i = 0; i < 4; i++)
			((uint32_t *)q->cmd)[i] =
				rnd(f) % 2 ? 0 : (uint32_t)rnd_value(f);
	}
	io_uring_submit(&f->ring);
	io_uring_cq_advance(&f->ring, io_uring_cq_ready(&f->ring));
}

/* ---- generic netlink */

/* The user who behaves; no message means him. */
#define GOOD 3000u

/* Keys of tenants: anything; root's, who makes them by it, are few. */
static uint64_t rnd_tenant(struct fuzz *f)
{
	if (f->root && rnd(f) % 16)
		return 300000 + rnd_value(f) % 512;
	return f->root ? ~0ull : rnd_value(f);
}

struct keys {
	uint64_t key[1024];
	uint32_t nr;
};

static void take_key(void *arg, const struct nlmsghdr *h)
{
	struct keys *k = arg;

	if (k->nr < 1024)
		k->key[k->nr++] = nl_u64(h, LLM_A_TENANT_KEY);
}

/* Tenants that a mistake of root's made, back to what they were.  How many. */
static uint32_t forget(void)
{
	static struct keys k;
	static struct nl n;
	uint32_t i, nr = 0;

	if (nl_open(&n))
		return 0;
	do {
		k.nr = 0;
		nl_begin(&n, LLM_CMD_TENANT_GET, NLM_F_DUMP);
		nl_talk(&n, take_key, &k, NULL);
		for (i = 0; i < k.nr; i++)
			nr += nl_reset(&n, k.key[i]) == 0;
	} while (k.nr == 1024);
	nl_close(&n);
	return nr;
}

/*
 * Attributes into @to, at most @room bytes: most @sane, known ones with the size
 * that they want; others with any, some nested in one another, some whose
 * length lies.
 */
static size_t attributes(struct fuzz *f, uint8_t *to, size_t room, bool sane,
			 int depth)
{
	size_t at = 0, size;
	uint32_t i, n;

	for (n = rnd(f) % 7; n; n--) {
		struct nlattr *a = (struct nlattr *)(to + at);
		uint8_t *data = to + at + NLA_HDRLEN;
		uint64_t value = rnd_value(f);
		uint16_t type = (uint16_t)(rnd(f) % (LLM_A_TENANT_MAX + 3));

		if (at + NLA_HDRLEN + 80 > room)
			break;
		if (sane) /* what TENANT_SET takes */
			type = at ? (uint16_t)(LLM_A_TENANT_WEIGHT + rnd(f) % 8)
				  : LLM_A_TENANT_KEY;
		if (type == LLM_A_TENANT_KEY)
			value = rnd_tenant(f);
		size = type == LLM_A_TENANT_KEY ||
				       type == LLM_A_TENANT_MAX_MEMORY
			       ? 8
			       : 4;
		if (!sane && rnd(f) % 4 == 0)
			size = rnd(f) % 80;
		for (i = 0; i < size; i += 8)
			memcpy(data + i, &value, size - i < 8 ? size - i : 8);
		if (!sane && depth < 4 && rnd(f) % 8 == 0) {
			size = attributes(f, data, room - at - NLA_HDRLEN,
					  rnd(f) % 2, depth + 1);
			type |= NLA_F_NESTED;
		}
		if (!sane && rnd(f) % 32 == 0)
			type |= NLA_F_NET_BYTEORDER;
		a->nla_type = type;
		a->nla_len = (uint16_t)(NLA_HDRLEN + size);
		if (!sane && rnd(f) % 32 == 0)
			a->nla_len = (uint16_t)rnd_value(f);
		at += NLA_ALIGN(NLA_HDRLEN + size);
	}
	return at;
}

/*
 * One message or two in a datagram.  Root kills no session: the one who is
 * served beside is one of them.
 */
static size_t message(struct fuzz *f, uint8_t *to, size_t room)
{
	static const uint16_t flags[] = { 0, NLM_F_ACK, NLM_F_DUMP,
					  NLM_F_DUMP | NLM_F_ACK, NLM_F_ECHO };
	struct nlmsghdr *h = (struct nlmsghdr *)to;
	struct genlmsghdr *g = (struct genlmsghdr *)(to + NLMSG_HDRLEN);
	size_t size = NLMSG_HDRLEN + GENL_HDRLEN;

	*h = (struct nlmsghdr){
		.nlmsg_type = f->nl.family,
		.nlmsg_flags = NLM_F_REQUEST | flags[rnd(f) % 5],
		.nlmsg_seq = rnd(f),
	};
	*g = (struct genlmsghdr){
		.cmd = (uint8_t)(rnd(f) % (LLM_CMD_MAX + 2)),
		.version = (uint8_t)(rnd(f) % 8 ? LLM_FAMILY_VERSION : rnd(f)),
		.reserved = (uint16_t)(rnd(f) % 16 ? 0 : rnd(f)),
	};
	if (f->root && g->cmd == LLM_CMD_SESSION_KILL)
		g->cmd = LLM_CMD_TENANT_SET;
	size += attributes(f, to + size, room - size, rnd(f) % 2, 0);
	h->nlmsg_len = (uint32_t)size;
	if (rnd(f) % 16 == 0)
		h->nlmsg_flags = (uint16_t)rnd(f);
	if (rnd(f) % 16 == 0)
		h->nlmsg_len = (uint32_t)rnd_value(f);
	return NLMSG_ALIGN(size);
}

static void netlink(struct fuzz *f)
{
	_Alignas(8) static uint8_t out[4096];
	static uint8_t in[NL_BUF];
	size_t size;
	int small;

	if (f->root && rnd(f) % 8192 == 0)
		forget();
	if (!f->has_nl || rnd(f) % 64 == 0) {
		if (f->has_nl)
			nl_close(&f->nl); /* in the middle of a dump, perhaps */
		f->has_nl = nl_open(&f->nl) == 0;
		if (f->has_nl && rnd(f) % 4 == 0)
			nl_join(&f->nl);
		small = 1 << (8 + rnd(f) % 10);
		if (f->has_nl)
			setsockopt(f->nl.fd, SOL_SOCKET, SO_RCVBUF, &small,
				   sizeof(small));
		return;
	}
	size = message(f, out, sizeof(out) / 2);
	if (rnd(f) % 4 == 0)
		size += message(f, out + size, sizeof(out) - size);
	send(f->nl.fd, out, rnd(f) % 16 ? size : rnd(f) % (size + 1),
	     MSG_DONTWAIT);
	while (rnd(f) % 8 &&
	       recv(f->nl.fd, in, rnd(f) % 4 ? sizeof(in) : rnd(f) % 64,
		    MSG_DONTWAIT) > 0)
		;
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void fuzz_main(const char *path, uint64_t seed, uint64_t end_ns)
{
	/* what sleeps for ever by chance is woken: a signal now and then */
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	struct sigaction sa = { .sa_handler = on_alarm };
	static struct fuzz f;
	size_t i;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);

	f.seed = seed;
	f.path = path;
	f.root = geteuid() == 0;
	for (i = 0; i < NR_FDS; i++)
		f.fd[i] = -1;
	while (host_now_ns() < end_ns) {
		switch (rnd(&f) % 13) {
		case 0:
			reopen(&f);
			break;
		case 1:
			setup(&f);
			break;
		case 2:
		case 3:
			remap(&f);
			break;
		case 4:
		case 5:
			scribble(&f);
			break;
		case 6:
			text(&f);
			break;
		case 7:
			uring(&f);
			break;
		case 9:
			netlink(&f);
			break;
		case 8: /* a short life that inherits all of it */
			if (rnd(&f) % 16 == 0 && fork() == 0) {
				call(&f);
				_exit(0);
			}
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
			break;
		default:
			call(&f);
		}
	}
	_exit(0);
}

/* Netlink alone, as an administrator whose every word is a mistake. */
static void fuzz_netlink(uint64_t seed, uint64_t end_ns)
{
	static struct fuzz f;

	f.seed = seed;
	f.root = true;
	while (host_now_ns() < end_ns)
		netlink(&f);
	_exit(0);
}

static pid_t hostile(const char *path, unsigned uid, uint64_t seed,
		     uint64_t end_ns)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (uid)
		side_as_uid(uid);
	if (!path)
		fuzz_netlink(seed, end_ns);
	fuzz_main(path, seed, end_ns);
	_exit(0);
}

static long seconds(void)
{
	return kt_arg("fuzz_s", kt_debug() ? 20 : 6);
}

static void good_client(struct client *c)
{
	CHECK(seteuid(GOOD) == 0);
	CHECK(client_open(c) == 0);
	CHECK(seteuid(0) == 0);
}

KTEST(fuzz_clients,
      "hostile clients with random calls: no report, others are served")
{
	uint64_t seed = (uint64_t)kt_arg("seed", 1), start = host_now_ns();
	uint64_t end = start + (uint64_t)seconds() * 500000000ull;
	uint32_t served = 0;
	struct client c;
	struct echo e;
	pid_t pid[4];
	int i, status;

	echo_start(&e, BY_IOCTL);
	good_client(&c);
	for (i = 0; i < 3; i++)
		pid[i] = hostile("/dev/llm", 2000, seed + (uint64_t)i, end);
	pid[i] = hostile(NULL, 0, seed, end);
	while (host_now_ns() < end)
		CHECK(client_ping(&c, 1, ++served));
	for (i = 0; i < 4; i++) {
		CHECK(waitpid(pid[i], &status, 0) == pid[i]);
		/* SIGBUS, SIGSEGV: it hurt itself */
	}
	printf("# %u pings beside them\n", served);
	CHECK(served > 10);
	echo_stop(&e);
	served = forget();
	printf("# %u tenants with limits that nobody meant\n", served);
	CHECK(served > 0); /* its messages got that far */
}

KTEST(fuzz_daemon,
      "a hostile daemon as well: no report, and the next one serves")
{
	uint64_t seed = (uint64_t)kt_arg("seed", 1) + 100;
	uint64_t end = host_now_ns() + (uint64_t)seconds() * 500000000ull;
	struct client c;
	struct echo e;
	pid_t pid[4];
	int i, status;

	for (i = 0; i < 2; i++)
		pid[i] = hostile("/dev/llm", 2000, seed + (uint64_t)i, end);
	for (; i < 4; i++)
		pid[i] = hostile("/dev/llmd", 0, seed + (uint64_t)i, end);
	for (i = 0; i < 4; i++)
		CHECK(waitpid(pid[i], &status, 0) == pid[i]);
	forget();
	echo_start(&e, BY_IOCTL);
	good_client(&c);
	CHECK(client_ping(&c, 1, 1));
	echo_stop(&e);
}

KTEST(killed, "sessions killed at random moments leave nothing")
{
	long i, k, rounds = kt_debug() ? 250 : 60; /* four sessions each */
	unsigned seed = 9;
	struct echo e;

	echo_start(&e, BY_IOCTL);
	for (i = 0; i < rounds; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct client c[4];

			close(e.d.fd); /* not to hold the daemon's file */
			for (k = 0; k < 4; k++) {
				uint32_t g;

				if (client_open(&c[k]))
					_exit(1);
				memset(c[k].arena, 1, SIDE_ARENA);
				for (g = 1; g < 4; g++)
					client_ping(&c[k], g, g);
			}
			for (;;)
				client_enter(&c[0], 0, LLM_ENTER_WAIT, 0);
		}
		usleep((unsigned)rand_r(&seed) % 20000);
		kill(pid, SIGKILL);
		side_wait(pid);
		if (i % 16 == 15) { /* and the daemon, in between */
			echo_stop(&e);
			echo_start(&e, BY_IOCTL);
		}
	}
	echo_stop(&e);
}
