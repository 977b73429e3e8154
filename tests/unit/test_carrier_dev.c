/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/*
 * The device carrier, engine's side, over a module made of user memory
 * (fake_device.h).  This program is the clients, the keeper and the engine; in
 * the last test clients are threads.
 */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/carrier_dev.h"
#include "daemon/handover.h"
#include "daemon/idmap.h"
#include "daemon/view.h"
#include "tests/unit/fake_device.h"

#include <sys/socket.h>

static const struct dev_calls calls = { .ioctl = fdev_daemon_ioctl_view,
					.mmap = fdev_daemon_mmap,
					.munmap = fdev_munmap };
static struct board board;
static struct carrier *c;
static int ctl; /* the keeper's end */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int start(struct err *err)
{
	int sp[2];
	struct handover in = { .board = &board };

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp), 0);
	ctl = sp[0];
	in.ctl = sp[1];
	in.device = fdev_open_daemon();
	memset(&board, 0, sizeof(board));
	return carrier_dev_start(&in, &calls, &c, err);
}

static void begin(uint32_t entries)
{
	struct err err = { 0 };

	fdev_begin(entries);
	CHECK_EQ(start(&err), 0);
}

/* The engine dies, or ends: its process's descriptors and mappings go. */
static void end(void)
{
	c->close(c);
	close(ctl);
	CHECK_EQ(fdev.maps, 0);
}

/* A client's session with @entries places; where it stands in fdev.s. */
static struct fdev_session *client(uint32_t entries)
{
	struct llm_setup u = { .size = sizeof(u),
			       .sq_entries = entries,
			       .nr_streams = 8 };
	int fd = fdev_open("x"), i;

	CHECK_EQ(fdev_client_ioctl(fd, LLM_IOC_SETUP, &u), 0);
	for (i = 0; i < LLM_AREA_NR; i++)
		CHECK(fdev_client_mmap(fd, LLM_MMAP_OFF(i), u.area_size[i],
				       PROT_READ));
	return fdev_by_fd(fd);
}

static void leave(struct fdev_session *s)
{
	int i;

	close(s->fd);
	fdev_hangup(s);
	for (i = LLM_AREA_NR; i-- > 0;)
		fdev_munmap(s->area[i], 0);
}

static int submit(struct fdev_session *s, uint32_t gen)
{
	struct llm_client_ctl *ct = fdev_client(s);
	struct llm_sqe *ring =
		(struct llm_sqe *)(s->area[LLM_AREA_CLIENT] + s->su.off_sq);
	struct llm_enter e = { .size = sizeof(e), .to_submit = 1 };
	int ret;

	ring[ct->sq_tail % s->su.sq_entries] =
		(struct llm_sqe){ .op = LLM_OP_PING, .gen = gen };
	shm_publish(&ct->sq_tail, ct->sq_tail + 1);
	ret = fdev_client_ioctl(s->fd, LLM_IOC_ENTER, &e);
	if (ret != 1) /* taken back */
		shm_publish(&ct->sq_tail, ct->sq_tail - 1);
	return ret;
}

static struct carrier_work next(void)
{
	struct carrier_work w;

	memset(&w, 0, sizeof(w));
	if (!c->take(c, &w))
		w.session = NULL;
	return w;
}

static void expect(enum carrier_kind kind, uint64_t id, uint32_t gen)
{
	struct carrier_work w = next();

	CHECK(w.session);
	CHECK_EQ(w.kind, kind);
	CHECK_EQ(w.session->id, id);
	if (kind == CARRIER_SQE)
		CHECK_EQ(w.sqe.gen, gen);
}

static void expect_nothing(void)
{
	CHECK(!next().session);
}

/* wait(), once the descriptors say what poll() would; how long it slept. */
static uint64_t wait_ms(int ms)
{
	uint64_t from = now_ns();

	fdev_settle();
	CHECK_EQ(c->wait(c, ms ? from + (uint64_t)ms * 1000000u : 0), 0);
	return (now_ns() - from) / 1000000u;
}

/* ---- idmap ------------------------------------------------------------ */

TEST(ids_are_found_while_there_and_not_after)
{
	struct idmap m = { 0 };
	uint64_t id[500];
	uint32_t i, k, index, rnd = 1;

	for (i = 0; i < 500; i++) {
		id[i] = (uint64_t)i << 32 | (i * 2654435761u >> 7) | 1;
		CHECK(!idmap_find(&m, id[i], &index));
		CHECK_EQ(idmap_reserve(&m), 0);
		idmap_add(&m, id[i], i);
	}
	for (i = 0; i < 500; i++) { /* out in an order of no kind */
		rnd = rnd * 1664525u + 1013904223u;
		k = rnd % (500 - i);
		CHECK(idmap_find(&m, id[k], &index));
		idmap_remove(&m, id[k]);
		CHECK(!idmap_find(&m, id[k], &index));
		id[k] = id[499 - i];
		for (k = 0; k < 499 - i; k++)
			CHECK(idmap_find(&m, id[k], &index));
	}
	CHECK(!idmap_find(&m, 0, &index));
	idmap_deinit(&m);
}

/* ---- attach ----------------------------------------------------------- */

TEST(a_device_that_refuses_is_told_in_one_line)
{
	struct err err = { 0 };

	fdev_begin(8);
	fdev.refuse_attach = -EPROTO;
	CHECK_EQ(start(&err), -EPROTO);
	CHECK(strstr(err.text, "another version"));
	close(ctl);
	fdev.refuse_attach = 0;
	fdev.entries = 12;
	CHECK_EQ(start(&err), -EPROTO);
	CHECK(strstr(err.text, "12 entries"));
	close(ctl);
}

TEST(the_boards_epoch_is_the_modules)
{
	begin(8);
	CHECK_EQ(board.epoch, 1);
	end();
	CHECK_EQ(start(NULL), 0);
	CHECK_EQ(board.epoch, 3); /* one for the loss, one for the attach */
	end();
}

/* ---- the way of a session --------------------------------------------- */

TEST(a_session_is_opened_heard_and_closed_in_order)
{
	struct fdev_session *s;
	struct carrier_work w;
	uint32_t index;

	begin(8);
	expect_nothing();
	s = client(4);
	CHECK_EQ(submit(s, 5), 1);
	w = next();
	CHECK_EQ(w.kind, CARRIER_OPEN);
	CHECK_EQ(w.session->id, s->id);
	CHECK_EQ(w.session->uid, 1000);
	CHECK_EQ(w.session->tenant, 77);
	CHECK_EQ(w.session->nr_streams, 8);
	CHECK_EQ(w.session->host->session, s->id);
	CHECK(w.session->arena == s->area[LLM_AREA_ARENA]);
	index = w.session->index;
	/* ENGINE is ours to write, and nothing is there */
	CHECK_EQ(w.session->commit[7], 0);
	w.session->commit[7] = 1;
	expect(CARRIER_SQE, s->id, 5);
	expect_nothing();
	leave(s);
	expect(CARRIER_CLOSE, s->id, 0);
	expect_nothing(); /* with it the memory is gone */
	CHECK_EQ(s->id, 0);
	/* its place is free for the next */
	s = client(4);
	w = next();
	CHECK_EQ(w.session->id, s->id);
	CHECK_EQ(w.session->index, index);
	leave(s);
	end();
	CHECK_EQ(s->id, 0);
}

TEST(the_head_moves_with_ack_and_no_earlier)
{
	struct fdev_session *s;

	begin(8);
	s = client(4);
	expect(CARRIER_OPEN, s->id, 0);
	expect_nothing();
	CHECK_EQ(shm_load(&fdev.ctl->head), 0);
	wait_ms(0); /* no entry is owed: OPEN is behind us */
	CHECK_EQ(shm_load(&fdev.ctl->head), 1);
	submit(s, 1);
	submit(s, 2);
	expect(CARRIER_SQE, s->id, 1);
	expect(CARRIER_SQE, s->id, 2);
	expect_nothing();
	wait_ms(0);
	CHECK_EQ(shm_load(&fdev.ctl->head), 1);
	c->ack(c);
	CHECK_EQ(shm_load(&fdev.ctl->head), 3);
	leave(s);
	end();
}

/* What a dead engine had taken and not acknowledged comes again, in order. */
TEST(what_was_not_acknowledged_comes_to_the_next_engine)
{
	struct fdev_session *s;
	uint32_t i;

	begin(8);
	s = client(8);
	for (i = 1; i <= 4; i++)
		submit(s, i);
	expect(CARRIER_OPEN, s->id, 0);
	expect(CARRIER_SQE, s->id, 1);
	expect(CARRIER_SQE, s->id, 2);
	c->ack(c);
	expect(CARRIER_SQE, s->id, 3);
	end();
	submit(s, 5); /* nobody serves: it waits */
	CHECK_EQ(start(NULL), 0);
	expect(CARRIER_OPEN, s->id, 0);
	for (i = 3; i <= 5; i++)
		expect(CARRIER_SQE, s->id, i);
	expect_nothing();
	c->ack(c);
	leave(s);
	end();
}

TEST(a_full_ring_is_pumped_and_nothing_is_lost)
{
	struct fdev_session *s[3];
	uint32_t i, k, seen[3] = { 0 }, takes;
	struct carrier_work w;

	begin(4);
	for (i = 0; i < 3; i++) {
		s[i] = client(16);
		for (k = 1; k <= 16; k++)
			CHECK_EQ(submit(s[i], k), 1);
	}
	CHECK(shm_load(&fdev_hdr()->flags) & LLMD_RING_F_OVERFLOW);
	for (k = 0; k < 40; k++) {
		while ((w = next()).session) {
			if (w.kind != CARRIER_SQE)
				continue;
			for (i = 0; s[i]->id != w.session->id; i++)
				;
			CHECK_EQ(w.sqe.gen, ++seen[i]);
		}
		c->ack(c);
		wait_ms(0);
	}
	for (i = 0; i < 3; i++)
		CHECK_EQ(seen[i], 16);
	/* and where nothing overflows, no call is made */
	takes = fdev.nr_take;
	CHECK(takes > 0);
	submit(s[0], 17);
	expect(CARRIER_SQE, s[0]->id, 17);
	c->ack(c);
	wait_ms(0);
	CHECK_EQ(fdev.nr_take, takes);
	for (i = 0; i < 3; i++)
		leave(s[i]);
	end();
}

/* Sessions of an earlier life come a few at a time: streams that run go on. */
TEST(many_old_sessions_are_opened_a_batch_between_two_waits)
{
	static struct fdev_session *s[200];
	uint32_t i, n, rounds = 0, opened = 0;

	begin(1024);
	for (i = 0; i < 200; i++)
		s[i] = client(4);
	end();
	CHECK_EQ(start(NULL), 0);
	while (opened < 200) {
		for (n = 0; next().session; n++)
			;
		CHECK(n <= 64);
		opened += n;
		rounds++;
		CHECK(rounds < 100);
		CHECK(wait_ms(1000) <
		      500); /* more is there: it does not sleep */
	}
	CHECK(rounds >= 4);
	for (i = 0; i < 200; i++)
		leave(s[i]);
	for (n = 0; n < 200; n++)
		CHECK_EQ(next().kind, CARRIER_CLOSE);
	expect_nothing();
	end();
}

TEST(a_session_that_cannot_be_mapped_is_passed_over)
{
	struct fdev_session *a, *b;

	begin(16);
	fdev.refuse_getfd = -ENOENT; /* closed again meanwhile: no word */
	a = client(4);
	submit(a, 1);
	expect_nothing();
	fdev.refuse_getfd = 0;
	b = client(4);
	submit(b, 2);
	submit(a, 3);
	expect(CARRIER_OPEN, b->id, 0);
	expect(CARRIER_SQE, b->id, 2);
	expect_nothing();
	leave(a); /* never named, so neither is its end */
	expect_nothing();
	leave(b);
	end();
}

TEST(draining_leaves_what_waits_to_the_next_daemon)
{
	struct fdev_session *s;

	begin(8);
	s = client(4);
	expect(CARRIER_OPEN, s->id, 0);
	submit(s, 1);
	board.draining = 1;
	expect_nothing();
	/* and it sleeps, though the device is readable: others run it to the
	 * end */
	fdev_settle();
	CHECK(wait_ms(60) >= 50);
	CHECK_EQ(c->wait(c, 0), 0);
	end();
	CHECK_EQ(start(NULL), 0);
	expect(CARRIER_OPEN, s->id, 0);
	expect(CARRIER_SQE, s->id, 1);
	c->ack(c);
	leave(s);
	end();
}

/* ---- wake ------------------------------------------------------------- */

TEST(a_wake_rings_each_session_once_a_flush)
{
	struct fdev_session *s[2];
	struct session *held[2];
	uint32_t i;

	begin(8);
	for (i = 0; i < 2; i++) {
		s[i] = client(4);
		held[i] = next().session;
	}
	CHECK_EQ(c->flush(c), 0);
	CHECK_EQ(fdev.nr_wake, 0); /* nobody: no call */
	c->wake(c, held[0]);
	c->wake(c, held[1]);
	c->wake(c, held[0]);
	CHECK_EQ(c->flush(c), 2);
	CHECK_EQ(fdev.nr_wake, 1);
	CHECK_EQ(fdev.nr_woken, 2);
	CHECK_EQ(fdev_engine(s[0])->bell, 1);
	CHECK_EQ(fdev_engine(s[1])->bell, 1);
	/* one that leaves between mark and flush is woken no more */
	c->wake(c, held[0]);
	c->wake(c, held[1]);
	leave(s[0]);
	CHECK_EQ(next().kind, CARRIER_CLOSE);
	expect_nothing();
	CHECK_EQ(c->flush(c), 1);
	CHECK_EQ(fdev_engine(s[1])->bell, 2);
	leave(s[1]);
	end();
}

TEST(three_hundred_wakes_are_two_calls)
{
	static struct fdev_session *s[300];
	static struct session *held[300];
	uint32_t i;

	begin(1024);
	for (i = 0; i < 300; i++) {
		s[i] = client(4);
		if (i % 50 == 49)
			wait_ms(0);
		held[i] = next().session;
		CHECK(held[i]);
	}
	for (i = 0; i < 300; i++)
		c->wake(c, held[i]);
	CHECK_EQ(c->flush(c), 300);
	CHECK_EQ(fdev.nr_wake, 2);
	CHECK_EQ(fdev.nr_woken, 300);
	for (i = 0; i < 300; i++)
		leave(s[i]);
	end();
}

/* ---- wait ------------------------------------------------------------- */

TEST(it_sleeps_until_work_a_kick_or_the_deadline)
{
	struct fdev_session *s;
	uint64_t ms;

	begin(8);
	ms = wait_ms(30);
	CHECK(ms >= 25 && ms < 5000);
	c->kick(c); /* before it sleeps: still counts */
	CHECK(wait_ms(20000) < 5000);
	s = client(4);
	CHECK(wait_ms(20000) < 5000);
	expect(CARRIER_OPEN, s->id, 0);
	leave(s);
	end();
}

TEST(the_keepers_word_ends_a_sleep_and_its_end_the_engine)
{
	struct handover_msg m = { .kind = HANDOVER_DRAIN };

	begin(8);
	CHECK_EQ(send(ctl, &m, sizeof(m), 0), sizeof(m));
	CHECK(wait_ms(20000) < 5000);
	shutdown(ctl, SHUT_RDWR);
	CHECK_EQ(c->wait(c, UINT64_MAX), -ESHUTDOWN);
	CHECK_EQ(c->wait(c, UINT64_MAX), -ESHUTDOWN);
	end();
}

TEST(an_engine_that_never_sleeps_still_hears_its_keeper_go)
{
	uint64_t until = now_ns() + 5000000000u;

	begin(8);
	shutdown(ctl, SHUT_RDWR);
	while (!c->wait(c, 0))
		CHECK(now_ns() < until);
	end();
}

TEST(ready_is_told_once)
{
	struct handover_msg m;

	begin(8);
	expect_nothing();
	CHECK(recv(ctl, &m, sizeof(m), MSG_DONTWAIT) < 0);
	board.ready = 1;
	expect_nothing();
	CHECK_EQ(recv(ctl, &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
	CHECK_EQ(m.kind, HANDOVER_READY);
	wait_ms(0);
	CHECK(recv(ctl, &m, sizeof(m), MSG_DONTWAIT) < 0);
	end();
}

/* ---- clients are threads ---------------------------------------------- */

#define NR_THREADS 3
#define NR_EACH	   200u

static void *talker(void *arg)
{
	struct fdev_session *s = arg;
	uint32_t i;

	for (i = 1; i <= NR_EACH; i++)
		while (submit(s, i) != 1)
			usleep(50);
	return NULL;
}

TEST(entries_of_three_threads_come_each_once_and_in_order)
{
	struct fdev_session *s[NR_THREADS];
	uint32_t i, seen[NR_THREADS] = { 0 }, all = 0;
	pthread_t t[NR_THREADS];
	struct carrier_work w;
	uint64_t until = now_ns() + 30000000000u;

	begin(4);
	for (i = 0; i < NR_THREADS; i++)
		s[i] = client(8);
	for (i = 0; i < NR_THREADS; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, talker, s[i]), 0);
	while (all < NR_THREADS * NR_EACH && now_ns() < until) {
		while ((w = next()).session) {
			if (w.kind != CARRIER_SQE)
				continue;
			for (i = 0; s[i]->id != w.session->id; i++)
				;
			CHECK_EQ(w.sqe.gen, ++seen[i]);
			all++;
		}
		c->ack(c);
		CHECK_EQ(c->wait(c, now_ns() + 1000000u), 0);
	}
	CHECK_EQ(all, NR_THREADS * NR_EACH);
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(t[i], NULL);
		leave(s[i]);
	}
	end();
}
