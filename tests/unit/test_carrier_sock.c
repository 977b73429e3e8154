/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/*
 * The socket carrier, driven from both of its ends: this program is the
 * keeper (ctl), the client (the far end of conn, the CLIENT pages through the
 * descriptor) and the engine.  A seam test: in the last one, client and engine
 * are two threads on the same pages.
 */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/areas.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/carrier_sock.h"
#include "daemon/handover.h"
#include "daemon/layout.h"
#include "llm_shm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX 256

static struct board board;
static struct carrier *c;
static int ctl;	      /* the keeper's end */
static uint8_t *host; /* MAX pages of address space */

/* One session as the client and the keeper have it. */
static struct end {
	struct areas areas;
	int conn; /* the client's end */
	int engine_conn;
	struct llm_client_ctl *client; /* writable */
	struct llm_sqe *sqe;
} end[MAX];

static void make(uint32_t i, uint32_t entries)
{
	struct llm_setup s;
	int sp[2];

	memset(&s, 0, sizeof(s));
	s.sq_entries = entries;
	s.nr_streams = 8;
	s.arena_size = s.log_size = 4096;
	CHECK_EQ(layout_fill(&s, NULL), 0);
	CHECK_EQ(areas_create(&end[i].areas, &s, host + i * LAYOUT_PAGE, NULL),
		 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	end[i].conn = sp[0];
	end[i].engine_conn = sp[1];
	end[i].client = mmap(NULL, s.area_size[LLM_AREA_CLIENT],
			     PROT_READ | PROT_WRITE, MAP_SHARED,
			     end[i].areas.fd[AREAS_CLIENT], 0);
	CHECK(end[i].client != MAP_FAILED);
	end[i].sqe = (struct llm_sqe *)((uint8_t *)end[i].client + s.off_sq);
}

/* A carrier with @nr sessions of an earlier life; those with a bit in @busy
 * come as busy. */
static void start(uint32_t nr, uint64_t busy)
{
	static struct handover_old old[MAX];
	struct handover opt = {
		.board = &board, .max_sessions = MAX, .old = old, .nr_old = nr
	};
	struct err err = { 0 };
	uint32_t i;
	int sp[2];

	memset(&board, 0, sizeof(board));
	host = mmap(NULL, MAX * LAYOUT_PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(host != MAP_FAILED);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp), 0);
	ctl = sp[0];
	opt.ctl = sp[1];
	for (i = 0; i < nr; i++) {
		make(i, 4);
		old[i] = (struct handover_old){ .id = 1000 + i,
						.tenant = 7,
						.uid = 7,
						.index = i,
						.conn = end[i].engine_conn,
						.busy = i < 64 && busy >> i & 1,
						.areas = &end[i].areas };
	}
	CHECK_EQ(carrier_sock_start(&opt, &c, &err), 0);
}

static int wait_ms(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return c->wait(c, (uint64_t)t.tv_sec * 1000000000u +
				  (uint64_t)t.tv_nsec + 1 +
				  (uint64_t)ms * 1000000u);
}

static struct carrier_work next(void)
{
	struct carrier_work w;

	memset(&w, 0, sizeof(w));
	if (!c->take(c, &w))
		w.session = NULL;
	return w;
}

static void expect(enum carrier_kind kind, uint32_t index)
{
	struct carrier_work w = next();

	CHECK(w.session);
	CHECK_EQ(w.kind, kind);
	CHECK_EQ(w.session->index, index);
}

/* Submit entries named by gen @from.. and ring. */
static void submit(uint32_t i, uint32_t from, uint32_t nr)
{
	uint32_t k, tail = end[i].client->sq_tail;

	for (k = 0; k < nr; k++)
		end[i].sqe[(tail + k) % end[i].areas.setup.sq_entries] =
			(struct llm_sqe){ .op = LLM_OP_PING, .gen = from + k };
	shm_publish(&end[i].client->sq_tail, tail + nr);
	shm_fence();
	CHECK_EQ(send(end[i].conn, "b", 1, 0), 1);
}

/* Messages the keeper finds, until there is none; counts those of @kind. */
static int heard(uint32_t kind, struct handover_msg *ret)
{
	struct handover_msg m;
	int nr = 0;

	while (recv(ctl, &m, sizeof(m), MSG_DONTWAIT) == (ssize_t)sizeof(m))
		if (m.kind == kind) {
			nr++;
			if (ret)
				*ret = m;
		}
	return nr;
}

static uint32_t head(uint32_t i)
{
	return shm_acquire(
		&((struct llm_engine_ctl *)end[i].areas.engine)->sq_head);
}

TEST(busy_sessions_of_an_earlier_life_come_before_idle_ones)
{
	uint32_t i, seen = 0;

	start(100, 1ull << 60 | 1ull << 3);
	expect(CARRIER_OPEN, 3);
	expect(CARRIER_OPEN, 60);
	/* idle ones a few between two waits, each once */
	for (i = 0; i < 100 && seen < 98; i++) {
		struct carrier_work w;

		while ((w = next()).session) {
			CHECK_EQ(w.kind, CARRIER_OPEN);
			CHECK_EQ(w.session->id, 1000 + w.session->index);
			seen++;
		}
		CHECK_EQ(wait_ms(1000), 0); /* does not sleep meanwhile */
	}
	CHECK_EQ(seen, 98);
	CHECK(i >= 3 && i < 10);
	c->close(c);
}

TEST(a_bell_brings_the_entries_in_order_and_ack_moves_the_head)
{
	struct carrier_work w;
	uint32_t k;

	start(1, 0);
	expect(CARRIER_OPEN, 0);
	CHECK(!next().session);
	submit(0, 5, 3);
	CHECK_EQ(wait_ms(1000), 0);
	for (k = 0; k < 3; k++) {
		w = next();
		CHECK(w.session);
		CHECK_EQ(w.kind, CARRIER_SQE);
		CHECK_EQ(w.sqe.gen, 5 + k);
		CHECK_EQ(head(0), 0);
	}
	CHECK(!next().session);
	c->ack(c);
	CHECK_EQ(head(0), 3);
	CHECK_EQ(board.info.bells, 1);
	c->close(c);
}

TEST(what_a_dead_engine_took_but_did_not_acknowledge_comes_again)
{
	struct carrier_work w;

	start(1, 0);
	/* an earlier life: two entries there, its bell read, head at 1 */
	end[0].sqe[0].gen = 1;
	end[0].sqe[1].gen = 2;
	end[0].client->sq_tail = 2;
	((struct llm_engine_ctl *)end[0].areas.engine)->sq_head = 1;
	c->close(c);
	{
		struct handover_old old = { .conn = dup(end[0].conn),
					    .areas = &end[0].areas };
		struct handover opt = { .board = &board,
					.ctl = dup(ctl),
					.max_sessions = 1,
					.old = &old,
					.nr_old = 1 };
		struct llm_setup s = end[0].areas.setup;

		/* close() unmapped ours: look through new mappings */
		CHECK_EQ(areas_create(&end[0].areas, &s, host, NULL), 0);
		((struct llm_engine_ctl *)end[0].areas.engine)->sq_head = 1;
		end[0].client = mmap(NULL, s.area_size[LLM_AREA_CLIENT],
				     PROT_READ | PROT_WRITE, MAP_SHARED,
				     end[0].areas.fd[AREAS_CLIENT], 0);
		end[0].sqe =
			(struct llm_sqe *)((uint8_t *)end[0].client + s.off_sq);
		end[0].sqe[1].gen = 2;
		end[0].client->sq_tail = 2;
		CHECK_EQ(carrier_sock_start(&opt, &c, NULL), 0);
	}
	expect(CARRIER_OPEN, 0);
	w = next(); /* no bell was rung in this life */
	CHECK(w.session && w.kind == CARRIER_SQE);
	CHECK_EQ(w.sqe.gen, 2);
	CHECK(!next().session);
	c->close(c);
}

TEST(sessions_take_turns_and_a_ring_is_taken_once_a_wait)
{
	uint32_t order[8], k;

	start(2, 0);
	expect(CARRIER_OPEN, 0);
	expect(CARRIER_OPEN, 1);
	CHECK(!next().session);
	submit(0, 1, 4);
	submit(1, 1, 4);
	CHECK_EQ(wait_ms(1000), 0);
	for (k = 0; k < 8; k++) {
		struct carrier_work w = next();

		CHECK(w.session && w.kind == CARRIER_SQE);
		CHECK_EQ(w.sqe.gen, 1 + k / 2);
		order[k] = w.session->index;
		if (k == 0) { /* more comes while we take */
			c->ack(c);
			submit(w.session->index, 100, 1);
		}
	}
	for (k = 0; k < 8; k += 2)
		CHECK(order[k] != order[k + 1]);
	CHECK(!next().session); /* gen 100 waits for the next wait */
	CHECK_EQ(wait_ms(1000), 0);
	CHECK_EQ(next().sqe.gen, 100);
	c->close(c);
}

TEST(a_tail_too_far_ahead_breaks_that_session_alone)
{
	uint32_t lie[] = { 5, 1000, 0x80000000u, ~0u };
	uint32_t i;

	start(5, 0);
	for (i = 0; i < 5; i++)
		CHECK_EQ(next().kind, CARRIER_OPEN);
	CHECK(!next().session);
	for (i = 0; i < 4; i++) {
		end[i].client->sq_tail = lie[i];
		CHECK_EQ(send(end[i].conn, "b", 1, 0), 1);
	}
	submit(4, 9, 4); /* a full ring is no lie */
	CHECK_EQ(wait_ms(1000), 0);
	for (i = 0; i < 4; i++) {
		struct carrier_work w = next();

		while (w.kind == CARRIER_SQE && w.session->index == 4)
			w = next();
		CHECK_EQ(w.kind, CARRIER_BROKEN);
		CHECK(w.session->index < 4);
		CHECK_EQ(w.session->engine->broken, 1);
	}
	while (next().session)
		;
	/* it is not looked at again */
	end[0].client->sq_tail = 1;
	CHECK_EQ(send(end[0].conn, "b", 1, 0), 1);
	CHECK_EQ(wait_ms(1000), 0);
	CHECK(!next().session);
	c->ack(c);
	CHECK_EQ(head(0), 0);
	CHECK_EQ(head(4), 4);
	c->close(c);
}

TEST(a_session_whose_client_left_is_closed_and_told)
{
	struct handover_msg m;
	struct carrier_work w;

	start(2, 0);
	expect(CARRIER_OPEN, 0);
	w = next();
	submit(0, 1, 2);
	CHECK_EQ(wait_ms(1000), 0);
	c->wake(c, w.session);
	close(end[0].conn);
	usleep(200); /* with work left, a wait soon after another looks not */
	CHECK_EQ(wait_ms(1000), 0);
	expect(CARRIER_CLOSE, 0);
	CHECK_EQ(heard(HANDOVER_CLOSED, NULL), 0); /* still mapped */
	CHECK(!next().session);
	CHECK_EQ(heard(HANDOVER_CLOSED, &m), 1);
	CHECK_EQ(m.index, 0);
	CHECK_EQ(m.session, 1000);
	c->ack(c); /* nothing of it is left in any list */
	CHECK_EQ(c->flush(c), 1);
	c->close(c);
}

TEST(a_session_that_left_before_it_was_opened_is_never_named)
{
	start(2, 0);
	close(end[1].conn);
	expect(CARRIER_OPEN, 0); /* of two; then the wait sees the hang-up */
	c->close(c);
	start(2, 0);
	close(end[1].conn);
	CHECK_EQ(wait_ms(1000), 0);
	CHECK_EQ(heard(HANDOVER_CLOSED, NULL), 1);
	expect(CARRIER_OPEN, 0);
	CHECK(!next().session);
	c->close(c);
}

TEST(one_wake_a_session_a_flush_and_a_full_pipe_costs_nothing)
{
	struct carrier_work w;
	char buf[64];
	int i, size = 4608;

	start(1, 0);
	w = next();
	setsockopt(end[0].engine_conn, SOL_SOCKET, SO_SNDBUF, &size,
		   sizeof(size));
	c->wake(c, w.session);
	c->wake(c, w.session);
	CHECK_EQ(c->flush(c), 1);
	CHECK_EQ(c->flush(c), 0);
	CHECK_EQ(recv(end[0].conn, buf, sizeof(buf), MSG_DONTWAIT), 1);
	for (i = 0; i < 10000; i++) { /* the client never reads */
		c->wake(c, w.session);
		CHECK_EQ(c->flush(c), 1);
	}
	CHECK_EQ(w.session->engine->bell, 10001);
	CHECK(recv(end[0].conn, buf, sizeof(buf), MSG_DONTWAIT) >= 1);
	c->close(c);
}

TEST(a_new_session_comes_by_message_and_is_acknowledged)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * HANDOVER_FDS)];
		struct cmsghdr align;
	} control;
	struct handover_msg m;
	struct iovec io = { &m, sizeof(m) };
	struct msghdr h = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control.buf,
			    .msg_controllen = sizeof(control.buf) };
	struct carrier_work w;
	struct cmsghdr *cm;
	int fd[4], nr;

	start(0, 0);
	make(9, 64);
	submit(9, 1, 1);
	memset(&m, 0, sizeof(m));
	m.kind = HANDOVER_ADD;
	m.index = 9;
	m.session = 77;
	m.tenant = m.uid = 5;
	m.setup = end[9].areas.setup;
	for (nr = 4; nr >= 3; nr--) { /* 3: as if our table were full */
		memset(&control, 0, sizeof(control));
		h.msg_controllen = CMSG_SPACE(sizeof(int) * (unsigned)nr);
		cm = CMSG_FIRSTHDR(&h);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * (unsigned)nr);
		memcpy(fd, end[9].areas.fd, sizeof(int) * 3);
		fd[3] = end[9].engine_conn;
		memcpy(CMSG_DATA(cm), fd, sizeof(int) * (unsigned)nr);
		m.index = nr == 4 ? 9 : 10;
		CHECK_EQ(sendmsg(ctl, &h, 0), sizeof(m));
	}
	CHECK_EQ(wait_ms(1000), 0);
	CHECK_EQ(recv(ctl, &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
	CHECK_EQ(m.kind, HANDOVER_ADDED);
	CHECK_EQ(m.index, 9);
	CHECK_EQ(m.error, 0);
	CHECK_EQ(recv(ctl, &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
	CHECK_EQ(m.index, 10);
	CHECK_EQ(m.error, -EMFILE);
	w = next();
	CHECK(w.session && w.kind == CARRIER_OPEN);
	CHECK_EQ(w.session->id, 77);
	CHECK_EQ(w.session->uid, 5);
	CHECK_EQ(w.session->sq_entries, 64);
	w = next();
	CHECK(w.session && w.kind == CARRIER_SQE && w.sqe.gen == 1);
	/* sealed after the engine mapped it: nobody maps it for writing */
	CHECK_EQ(areas_seal(&end[9].areas, NULL), 0);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		   end[9].areas.fd[AREAS_ENGINE], 0) == MAP_FAILED);
	w.session->engine->bell = 3; /* and the engine still writes */
	CHECK_EQ(((struct llm_engine_ctl *)end[9].areas.engine)->bell, 3);
	c->close(c);
}

TEST(the_keeper_hears_of_ready_once_and_ends_a_wait_by_hanging_up)
{
	start(0, 0);
	CHECK_EQ(wait_ms(1), 0);
	CHECK_EQ(heard(HANDOVER_READY, NULL), 0);
	shm_publish(&board.ready, 1u);
	CHECK_EQ(wait_ms(1), 0);
	CHECK_EQ(wait_ms(1), 0);
	CHECK_EQ(heard(HANDOVER_READY, NULL), 1);
	shutdown(ctl, SHUT_RDWR);
	CHECK_EQ(c->wait(c, UINT64_MAX), -ESHUTDOWN);
	CHECK_EQ(c->wait(c, UINT64_MAX), -ESHUTDOWN);
	c->close(c);
}

static void *kicker(void *arg)
{
	usleep(20000);
	c->kick(c);
	return arg;
}

TEST(another_thread_ends_a_sleeping_wait)
{
	pthread_t t;

	start(0, 0);
	CHECK_EQ(pthread_create(&t, NULL, kicker, NULL), 0);
	CHECK_EQ(c->wait(c, UINT64_MAX), 0);
	pthread_join(t, NULL);
	c->close(c);
}

TEST(a_flood_of_bells_is_read_a_little_a_wait)
{
	char junk[4096];

	start(2, 0);
	expect(CARRIER_OPEN, 0);
	expect(CARRIER_OPEN, 1);
	CHECK(!next().session);
	memset(junk, 'b', sizeof(junk));
	CHECK_EQ(send(end[0].conn, junk, sizeof(junk), 0), sizeof(junk));
	submit(1, 1, 1);
	CHECK_EQ(wait_ms(1000), 0);
	expect(CARRIER_SQE, 1);
	CHECK(!next().session);
	CHECK_EQ(recv(end[0].engine_conn, junk, sizeof(junk),
		      MSG_DONTWAIT | MSG_PEEK),
		 sizeof(junk) - 256);
	c->close(c);
}

#define SEAM_ENTRIES 20000u

/* The client of the seam: entries as fast as the ring takes them. */
static void *seam_client(void *arg)
{
	const uint32_t *sq_head =
		&((struct llm_engine_ctl *)end[0].areas.engine)->sq_head;
	uint32_t tail, mask = end[0].areas.setup.sq_entries - 1;
	char buf[64];

	for (tail = 0; tail < SEAM_ENTRIES; tail++) {
		/* pairs with the engine's ack: the slot is free */
		while (tail - shm_acquire(sq_head) > mask)
			usleep(1);
		end[0].sqe[tail & mask] = (struct llm_sqe){ .gen = tail };
		shm_publish(&end[0].client->sq_tail, tail + 1);
		shm_fence();
		(void)!send(end[0].conn, "b", 1, MSG_DONTWAIT);
		while (recv(end[0].conn, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
	}
	return arg;
}

TEST(no_entry_is_lost_torn_or_doubled_between_two_threads)
{
	struct carrier_work w;
	struct session *s;
	pthread_t t;
	uint32_t seen = 0;
	int idle = 0;

	start(1, 0);
	s = next().session;
	/* one address for both, so that the sanitizer sees both */
	CHECK_EQ(mprotect((void *)end[0].areas.client,
			  end[0].areas.setup.area_size[LLM_AREA_CLIENT],
			  PROT_READ | PROT_WRITE),
		 0);
	end[0].client = (struct llm_client_ctl *)end[0].areas.client;
	end[0].sqe = (struct llm_sqe *)(end[0].areas.client +
					end[0].areas.setup.off_sq);
	CHECK_EQ(pthread_create(&t, NULL, seam_client, NULL), 0);
	while (seen < SEAM_ENTRIES && idle < 50) {
		uint32_t before = seen;

		while (c->take(c, &w)) {
			CHECK_EQ(w.kind, CARRIER_SQE);
			CHECK_EQ(w.sqe.gen, seen);
			seen++;
		}
		c->ack(c);
		c->wake(c, s);
		c->flush(c);
		/* a lost bell shows as a wait that runs out */
		CHECK_EQ(wait_ms(100), 0);
		idle = seen == before ? idle + 1 : 0;
	}
	pthread_join(t, NULL);
	CHECK_EQ(seen, SEAM_ENTRIES);
	CHECK_EQ(head(0), SEAM_ENTRIES);
	c->close(c);
}
