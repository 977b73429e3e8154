/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/*
 * The whole way over the device, in one process: the client library, a module
 * of user memory (fake_device.h), the device carrier and the engine in a
 * thread of its own, with the toy backend, which knows the right tokens.
 */
#include "tests/unit/rig.h"
#include "tests/unit/fake_device.h"
#include "daemon/carrier_dev.h"
#include "daemon/handover.h"
#include "daemon/view.h"
#include "include/llmclient.h"
#include "libclient/carrier_dev.h"

#include <poll.h>
#include <sys/socket.h>

#define NODE	"/dev/null" /* a character device: that is all it must be */
#define MAX_OUT 40u

static const struct dev_calls calls = { .ioctl = fdev_daemon_ioctl_view,
					.mmap = fdev_daemon_mmap,
					.munmap = fdev_munmap };
static struct board board;
static int ctl;
static pthread_t engine;

static void *run(void *arg)
{
	struct backend_options bo = { .max_seqs = 16,
				      .max_tokens_per_step = 64 };
	struct engine_options o = { .backend = &bo, .open_backend = toy_open };
	struct carrier *c = arg;

	engine_run(&o, c, &board);
	c->close(c);
	return NULL;
}

/* A life of the engine begins; the keeper's part of it. */
static void begin_engine(void)
{
	struct handover in = { .board = &board };
	struct carrier *c;
	int sp[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp), 0);
	ctl = sp[0];
	in.ctl = sp[1];
	in.device = fdev_open_daemon();
	board.ready = board.draining = 0;
	CHECK_EQ(carrier_dev_start(&in, &calls, &c, NULL), 0);
	CHECK_EQ(pthread_create(&engine, NULL, run, c), 0);
}

/* It ends where it stands: streams in the middle, entries not taken. */
static void end_engine(void)
{
	shutdown(ctl, SHUT_RDWR);
	pthread_join(engine, NULL);
	close(ctl);
}

static void begin(bool serve)
{
	fdev_begin(8);
	memset(&board, 0, sizeof(board));
	llmc_dev_calls.open = fdev_open;
	llmc_dev_calls.ioctl = fdev_client_ioctl;
	llmc_dev_calls.mmap = fdev_client_mmap;
	llmc_dev_calls.munmap = fdev_munmap;
	if (serve)
		begin_engine();
}

static int open_with(struct llmc **ret, struct llmc_options o)
{
	o.size = LLMC_OPTIONS_SIZE;
	o.socket = NODE;
	return llmc_open(ret, &o);
}

static struct llmc *open_session(void)
{
	struct llmc *s = NULL;

	CHECK_EQ(open_with(&s, (struct llmc_options){ 0 }), 0);
	return s;
}

/* The library closes its descriptor; the module hears of it. */
static void close_session(struct llmc *s)
{
	struct fdev_session *f = fdev_by_fd(llmc_fd(s));

	fdev_hangup(f);
	llmc_close(s);
}

static int submit(struct llmc *s, uint32_t first, struct llmc_stream **st)
{
	uint32_t ids[3] = { first, first + 1, 9 };
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
				  .ids = ids,
				  .nr_ids = 3,
				  .max_tokens = MAX_OUT,
				  .set = LLM_SET_SEED,
				  .seed = first };

	return llmc_submit(s, &q, st);
}

/* All of @st is what a prompt of submit(@first) must get. */
static void check_tokens(struct llmc_stream *st, uint32_t first)
{
	uint32_t ids[3] = { first, first + 1, 9 }, want[MAX_OUT], i = 0, k, nr;
	struct llmc_token tok[8];
	ssize_t n;

	nr = toy_want(ids, 3, first, MAX_OUT, want);
	while ((n = llmc_read(st, tok, 8)) != 0) {
		for (k = 0; n > 0 && k < (uint32_t)n; k++) {
			CHECK(i < nr);
			CHECK_EQ(tok[k].token, want[i++]);
		}
		if (n < 0) {
			CHECK_EQ(n, -EAGAIN);
			CHECK_EQ(llmc_wait(st, 1, 20000), 1);
		}
	}
	CHECK_EQ(i, nr);
}

/* ---- opening ---------------------------------------------------------- */

TEST(a_session_knows_what_is_served_when_it_is_open)
{
	struct llmc *s;

	begin(true);
	s = open_session();
	CHECK_STR((const char *)llmc_model(s)->name, "toy");
	CHECK_EQ(llmc_epoch(s), 1);
	/* the bell that told of it is answered: no wake is pending */
	fdev_settle();
	CHECK_EQ(poll(&(struct pollfd){ llmc_fd(s), POLLIN, 0 }, 1, 0), 0);
	close_session(s);
	end_engine();
}

static void *late(void *arg)
{
	usleep(50000);
	begin_engine();
	return NULL;
}

TEST(a_session_waits_for_a_daemon_that_is_about_to_come)
{
	struct llmc_stream *st;
	struct llmc *s;
	pthread_t t;

	begin(false);
	CHECK_EQ(pthread_create(&t, NULL, late, NULL), 0);
	s = open_session();
	pthread_join(t, NULL);
	CHECK_EQ(submit(s, 3, &st), 0);
	check_tokens(st, 3);
	close_session(s);
	end_engine();
}

TEST(a_device_that_nobody_serves_is_told_so)
{
	struct llmc *s = NULL;

	begin(false);
	CHECK_EQ(open_with(&s, (struct llmc_options){ 0 }), -ECONNREFUSED);
	CHECK(strstr(llmc_error(), "no llmd serves " NODE));
	CHECK(!s);
}

TEST(a_refused_set_up_has_its_code_and_words)
{
	static const struct {
		const char *name;
		int error, want;
		const char *words;
	} rows[] = {
		{ "quota", -EDQUOT, -EDQUOT, "quota of sessions" },
		{ "another ABI", -EPROTO, -EPROTO, "no llm.ko" },
		{ "not ours", -ENOTTY, -EPROTO, "no llm.ko" },
		{ "memory", -ENOMEM, -ENOMEM, "Cannot allocate" },
	};
	struct llmc *s = NULL;
	size_t i;

	begin(false);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].name);
		fdev.refuse_setup = rows[i].error;
		CHECK_EQ(open_with(&s, (struct llmc_options){ 0 }),
			 rows[i].want);
		CHECK(strstr(llmc_error(), rows[i].words));
		CHECK(!s);
	}
}

TEST(the_device_is_where_llm_device_says)
{
	struct llm_tenant_info *list;
	struct llm_info info;
	uint32_t nr;

	unsetenv("LLM_SOCKET");
	setenv("LLM_DEVICE", NODE, 1);
	CHECK_STR(llmc_default_socket(), NODE);
	begin(true);
	CHECK_EQ(llmc_info(NULL, &info), 0);
	CHECK_STR((const char *)info.model.name, "toy");
	CHECK_EQ(info.daemon, LLM_DAEMON_READY);
	CHECK_EQ(llmc_tenants(NULL, &list, &nr), -EOPNOTSUPP);
	fdev_hangup(&fdev.s[0]);
	end_engine();
	setenv("LLM_SOCKET", "/elsewhere", 1); /* a socket named stands first */
	CHECK_STR(llmc_default_socket(), "/elsewhere");
	unsetenv("LLM_SOCKET");
	setenv("LLM_DEVICE", "", 1); /* none */
	CHECK(strcmp(llmc_default_socket(), "/dev/llm"));
	unsetenv("LLM_DEVICE");
}

/* ---- submitting ------------------------------------------------------- */

TEST(tokens_come_over_the_device_as_they_must_be)
{
	struct llmc_stream *st[12];
	struct llmc *s;
	uint32_t i;

	begin(true);
	s = open_session();
	for (i = 0; i < 12; i++)
		CHECK_EQ(submit(s, 10 + i, &st[i]), 0);
	for (i = 0; i < 12; i++) {
		check_tokens(st[i], 10 + i);
		llmc_release(st[i]);
	}
	/* slots, ring and arena many times over */
	for (i = 0; i < 200; i++) {
		CHECK_EQ(submit(s, i, &st[0]), 0);
		check_tokens(st[0], i);
		llmc_release(st[0]);
	}
	CHECK_EQ(llmc_ping(s, 20000, NULL), 0);
	close_session(s);
	end_engine();
}

/* The kernel's no comes from llmc_submit(), and leaves nothing behind. */
TEST(a_refused_entry_fails_the_call_and_wedges_nothing)
{
	static const struct {
		const char *name;
		int error, want;
		const char *words;
	} rows[] = {
		{ "in flight", -EDQUOT, -EDQUOT, "quota of requests" },
		{ "rate", -EAGAIN, -EAGAIN, "this second" },
		{ "queue", -EBUSY, -EAGAIN, "queue of this session" },
		{ "invalid", -EINVAL, -EINVAL, "invalid" },
	};
	struct llmc_options o = { .nr_streams = 2, .sq_entries = 2 };
	struct llmc_stream *st;
	struct llmc *s = NULL;
	size_t i;
	uint32_t k;

	begin(true);
	CHECK_EQ(open_with(&s, o), 0);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].name);
		fdev.refuse_enter = rows[i].error;
		for (k = 0; k < 5; k++) { /* more than streams or places */
			CHECK_EQ(submit(s, k, &st), rows[i].want);
			CHECK(strstr(llmc_error(), rows[i].words));
		}
		fdev.refuse_enter = 0;
		CHECK_EQ(submit(s, 60, &st), 0);
		check_tokens(st, 60);
		llmc_release(st);
	}
	close_session(s);
	end_engine();
}

TEST(a_session_that_was_ended_says_so_everywhere)
{
	struct llmc_stream *st, *more;
	struct fdev_session *f;
	struct llmc *s;

	begin(true);
	s = open_session();
	end_engine();
	CHECK_EQ(submit(s, 5, &st), 0);
	f = fdev_by_fd(llmc_fd(s));
	fdev.refuse_enter = -ESHUTDOWN;
	CHECK_EQ(submit(s, 6, &more), -EPIPE);
	CHECK_EQ(llmc_wait(st, 1, -1), -EPIPE);
	fdev.refuse_enter = 0;
	shm_store(&fdev_host(f)->daemon, (uint32_t)LLM_DAEMON_FAILED);
	CHECK_EQ(llmc_wait(st, 1, -1), -EPIPE);
	CHECK_EQ(llmc_ack(s), -EPIPE);
	close_session(s);
}

/*
 * The kernel copies entries, not prompts: ARENA room is not free until the
 * engine has admitted, however far HOST's head has moved.
 */
TEST(a_prompt_stays_in_the_arena_until_it_is_admitted)
{
	struct llmc_options o = { .arena_size = 4096 };
	struct llmc_stream *st[64];
	struct llmc *s = NULL;
	uint32_t nr, i;

	begin(true);
	CHECK_EQ(open_with(&s, o), 0);
	end_engine();
	for (nr = 0; nr < 64; nr++) {
		int ret = submit(s, 100 + nr, &st[nr]);

		if (ret == -EAGAIN)
			break;
		CHECK_EQ(ret, 0);
	}
	CHECK(nr > 4 && nr < 64);
	begin_engine();
	for (i = 0; i < nr; i++) {
		check_tokens(st[i], 100 + i);
		llmc_release(st[i]);
	}
	/* and now there is room again */
	CHECK_EQ(submit(s, 7, &st[0]), 0);
	check_tokens(st[0], 7);
	close_session(s);
	end_engine();
}

/* ---- waiting ---------------------------------------------------------- */

TEST(a_program_of_ones_own_loop_is_woken_by_the_descriptor)
{
	struct llmc_stream *st;
	struct llmc_token tok[8];
	struct llmc *s;
	uint32_t got = 0, wakes = 0;
	ssize_t n;

	begin(true);
	s = open_session();
	CHECK_EQ(submit(s, 8, &st), 0);
	while ((n = llmc_read(st, tok, 8)) != 0) {
		struct pollfd p = { llmc_fd(s), POLLIN, 0 };

		got += n > 0 ? (uint32_t)n : 0;
		if (n > 0 || llmc_arm(st, 1, 0))
			continue;
		CHECK_EQ(poll(&p, 1, 20000), 1);
		wakes++;
		CHECK_EQ(llmc_ack(s), 0);
		fdev_settle();
	}
	CHECK(got > 0 && wakes <= got + 2);
	close_session(s);
	end_engine();
}

TEST(a_cancel_needs_no_call_and_is_heard)
{
	struct llmc_result res;
	struct llmc_stream *st;
	struct llmc *s;
	uint32_t calls_before;

	begin(true);
	s = open_session();
	end_engine();
	CHECK_EQ(submit(s, 8, &st), 0);
	calls_before = fdev.nr_enter;
	llmc_cancel(st); /* before anybody has taken it */
	CHECK_EQ(fdev.nr_enter, calls_before);
	begin_engine();
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 20000), 1);
	CHECK_EQ(llmc_result(st, &res), 0);
	CHECK_EQ(res.end, LLM_END_CANCELLED);
	close_session(s);
	end_engine();
}

/* ---- engines end in the middle ---------------------------------------- */

static uint32_t stop;

/*
 * A life that ends before it has caught up with its streams brings nobody on:
 * let it commit something, if there is something.
 */
static void let_serve(void)
{
	uint32_t ms;

	for (ms = 0; ms < 100 && !shm_load(&board.commits); ms++)
		usleep(1000);
	usleep(1000);
}

static void *killer(void *arg)
{
	uint32_t *lives = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		let_serve();
		end_engine();
		begin_engine();
		__atomic_add_fetch(lives, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

TEST(streams_go_on_over_many_lives_with_the_same_tokens)
{
	struct llmc_stream *st[8];
	uint32_t lives = 0, i, round, rounds = SANITIZED ? 10 : 40;
	struct llmc *s;
	pthread_t t;

	begin(true);
	s = open_session();
	stop = 0;
	CHECK_EQ(pthread_create(&t, NULL, killer, &lives), 0);
	/* until there was something to survive, however the threads run */
	for (round = 0;
	     round < rounds || __atomic_load_n(&lives, __ATOMIC_RELAXED) < 2;
	     round++) {
		for (i = 0; i < 8; i++)
			CHECK_EQ(submit(s, round * 8 + i, &st[i]), 0);
		for (i = 0; i < 8; i++) {
			check_tokens(st[i], round * 8 + i);
			llmc_release(st[i]);
		}
	}
	__atomic_store_n(&stop, 1u, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	CHECK(lives >= 2);
	CHECK(llmc_epoch(s) > 2 * lives);
	close_session(s);
	end_engine();
}
