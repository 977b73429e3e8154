/* SPDX-License-Identifier: MIT */
/*
 * fake_service.h - a keeper and an engine of a few hundred lines, for tests of
 * the client library alone.  Written from llm.h, not from daemon/.
 *
 * The keeper is a thread that answers hellos on a socket in a fresh folder.
 * The engine is a thread a session, begun by fake_serve(): it maps the
 * session's memory over the client's own addresses, so that ThreadSanitizer
 * sees both sides of every shared word.  Its orders of stores are llm.h's.
 *
 * Its model: token i of a stream is prompt[0] + i; its text "<i> ", where i is
 * odd with a three-byte character before the space.  SCORE answers -0.5 for
 * each.  A prompt that begins with FAKE_REFUSE is refused.
 */
#ifndef FAKE_SERVICE_H
#define FAKE_SERVICE_H

#include "include/llm_shm.h"
#include "libclient/internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FAKE_REFUSE    7777u
#define FAKE_STREAMS   64u
#define FAKE_DEFAULT   8u /* tokens where a request names none */
#define FAKE_LOG_LEN   4096u
#define FAKE_TEXT_SIZE (FAKE_LOG_LEN * 12u)
#define FAKE_PROMPT    65536u /* bytes of a prompt kept */
#define FAKE_EXTENT    (FAKE_PROMPT + FAKE_LOG_LEN * 16u + FAKE_TEXT_SIZE)

/* What the engine saw of the last GENERATE, for tests of packing. */
struct fake_seen {
	struct llm_sqe sqe;
	uint8_t params[32768];
	uint8_t prompt[FAKE_PROMPT];
};

struct fake {
	char dir[64], path[96];
	int listen_fd;
	pthread_t keeper;
	/* set before a client connects */
	void (*tamper)(struct llm_hello_reply *reply);
	int refuse; /* a negative errno */
	uint32_t reply_extra, elem_size;
	/* of the last session opened; under lock */
	pthread_mutex_t lock;
	pthread_cond_t opened;
	uint32_t nr_opened;
	int conn, fd[LLM_HELLO_FDS];
};

/* One session's engine. */
struct fake_engine {
	struct llmc *c; /* for addresses only */
	struct llm_setup su;
	int conn;
	pthread_t thread;
	struct llm_host_ctl *host;
	struct llm_engine_ctl *engine;
	uint8_t *base;
	uint64_t *commit;
	/* the test's knobs */
	uint32_t stop, hold; /* hold: take nothing, run nothing */
	uint32_t drop;	     /* drop entries without an answer */
	uint32_t step_us, per_step;
	void (*spoil)(struct llm_record *r); /* before admission */
	/* its own */
	uint32_t head, woken[FAKE_STREAMS], want[FAKE_STREAMS];
	uint32_t nr_wakes, nr_bells; /* read by the test */
	struct fake_seen *seen;
};

/* ---- keeper ----------------------------------------------------------- */

static inline uint64_t fake_up(uint64_t n)
{
	return (n + 4095) & ~4095ull;
}

static inline void fake_layout(struct llm_setup *u)
{
	u->size = sizeof(*u);
	u->sq_entries = u->sq_entries ? u->sq_entries : 16;
	u->nr_streams = u->nr_streams ? u->nr_streams : 16;
	u->arena_size = fake_up(u->arena_size ? u->arena_size : 65536);
	u->log_size = u->nr_streams * (uint64_t)FAKE_EXTENT;
	u->session = 1;
	u->off_wish = 4096;
	u->off_sq = u->off_wish + u->nr_streams * 64ull;
	u->area_size[LLM_AREA_CLIENT] =
		fake_up(u->off_sq + u->sq_entries * 64ull);
	u->area_size[LLM_AREA_ARENA] = u->arena_size;
	u->area_size[LLM_AREA_HOST] = 4096;
	u->off_info = 64;
	u->off_commit = 1024;
	u->off_record = fake_up(u->off_commit + u->nr_streams * 8ull);
	u->record_stride = 1024; /* longer than the struct: by the offset */
	u->off_extent = fake_up(u->off_record + u->nr_streams * 1024ull);
	u->area_size[LLM_AREA_ENGINE] = fake_up(u->off_extent + u->log_size);
}

static inline int fake_memfd(uint64_t size)
{
	int fd = memfd_create("fake", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size))
		abort();
	return fd;
}

static inline void fake_send(int conn, const void *buf, size_t size,
			     const int *fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * LLM_HELLO_FDS)];
		struct cmsghdr align;
	} cb = { { 0 } };
	struct iovec io = { (void *)buf, size };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };

	if (fds) {
		struct cmsghdr *c = (struct cmsghdr *)cb.buf;

		m.msg_control = cb.buf;
		m.msg_controllen = sizeof(cb.buf);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * LLM_HELLO_FDS);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * LLM_HELLO_FDS);
	}
	(void)!sendmsg(conn, &m, MSG_NOSIGNAL);
}

/* @nr elements of f->elem_size bytes; byte k of element i is i + 1. */
static inline void fake_answer_list(struct fake *f, int conn,
				    struct llm_hello_reply *r, uint32_t nr)
{
	uint8_t *elem = malloc(f->elem_size);
	uint32_t i;

	r->nr = nr;
	r->elem_size = f->elem_size;
	fake_send(conn, r, sizeof(*r), NULL);
	for (i = 0; i < nr; i++) {
		memset(elem, (int)i + 1, f->elem_size);
		fake_send(conn, elem, f->elem_size, NULL);
	}
	free(elem);
	close(conn);
}

static inline void fake_answer(struct fake *f, int conn)
{
	uint8_t reply[sizeof(struct llm_hello_reply) + 256] = { 0 };
	struct llm_hello_reply *r = (struct llm_hello_reply *)reply;
	struct llm_hello h;
	struct llm_setup full;
	int fd[LLM_HELLO_FDS], i;

	if (recv(conn, &h, sizeof(h), MSG_WAITALL) != (ssize_t)sizeof(h)) {
		close(conn);
		return;
	}
	r->size = (uint32_t)sizeof(*r) + f->reply_extra;
	r->magic = LLM_HELLO_MAGIC;
	r->error = f->refuse;
	if (f->refuse)
		strcpy((char *)r->why, "the fake is out of sorts");
	if (f->refuse || h.op != LLM_HELLO_SESSION) {
		fake_answer_list(f, conn, r, f->refuse ? 0 : h.op);
		return;
	}
	r->setup = h.setup;
	fake_layout(&r->setup);
	full = r->setup;
	if (f->tamper)
		f->tamper(r);
	fd[0] = fake_memfd(full.area_size[0] + full.area_size[1]);
	fd[1] = fake_memfd(full.area_size[2]);
	fd[2] = fake_memfd(full.area_size[3]);
	fake_send(conn, r, r->size, fd);
	pthread_mutex_lock(&f->lock);
	for (i = 0; i < LLM_HELLO_FDS; i++)
		f->fd[i] = fd[i];
	f->conn = conn;
	f->nr_opened++;
	pthread_cond_signal(&f->opened);
	pthread_mutex_unlock(&f->lock);
}

static inline void *fake_keeper(void *arg)
{
	struct fake *f = arg;
	int conn;

	while ((conn = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		fake_answer(f, conn);
	return NULL;
}

static inline struct fake *fake_start(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct fake *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	snprintf(f->dir, sizeof(f->dir), "/tmp/llm-fake-XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	f->elem_size = sizeof(struct llm_info);
	f->conn = -1;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->opened, NULL);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(a.sun_path, f->path);
	if (bind(f->listen_fd, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(f->listen_fd, 64) ||
	    pthread_create(&f->keeper, NULL, fake_keeper, f))
		abort();
	return f;
}

/* Take the descriptors of the session opened last. */
static inline void fake_claim(struct fake *f, int *ret_conn, int *ret_fd)
{
	int i;

	pthread_mutex_lock(&f->lock);
	while (!f->nr_opened)
		pthread_cond_wait(&f->opened, &f->lock);
	f->nr_opened--;
	*ret_conn = f->conn;
	for (i = 0; i < LLM_HELLO_FDS; i++)
		ret_fd[i] = f->fd[i];
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_end(struct fake *f)
{
	int conn, fd[LLM_HELLO_FDS], i;

	shutdown(f->listen_fd, SHUT_RDWR);
	pthread_join(f->keeper, NULL);
	close(f->listen_fd);
	while (f->nr_opened) { /* sessions that nobody served */
		fake_claim(f, &conn, fd);
		close(conn);
		for (i = 0; i < LLM_HELLO_FDS; i++)
			close(fd[i]);
	}
	unlink(f->path);
	rmdir(f->dir);
	free(f);
}

/* ---- engine ------------------------------------------------------------ */

static inline struct llm_record *fake_record(struct fake_engine *e, uint32_t i)
{
	return (struct llm_record *)(e->base + e->su.off_record +
				     (size_t)i * e->su.record_stride);
}

/* The text of token @i; its bytes. */
static inline int fake_text(uint32_t i, char out[16])
{
	return sprintf(out, i % 2 ? "%u\u20ac " : "%u ", i);
}

static inline void fake_end_stream(struct fake_engine *e, uint32_t i,
				   uint32_t end, int error, const char *why)
{
	struct llm_record *r = fake_record(e, i);
	uint64_t w = e->commit[i];

	r->error = (uint32_t)error;
	snprintf((char *)r->why, sizeof(r->why), "%s", why);
	shm_publish(&e->commit[i],
		    LLM_COMMIT(r->gen, LLM_ST_END, end, LLM_COMMIT_TAIL(w)));
}

static inline void fake_keep(struct fake_engine *e, const struct llm_sqe *q)
{
	if (!e->seen || q->op != LLM_OP_GENERATE)
		return;
	e->seen->sqe = *q;
	memcpy(e->seen->params, e->c->arena + q->params_off, q->params_len);
	memcpy(e->seen->prompt, e->c->arena + q->off, q->len);
}

static inline void fake_admit(struct fake_engine *e, const struct llm_sqe *q)
{
	uint32_t i = q->stream, k;
	struct llm_record *r = fake_record(e, i);
	uint64_t off = e->su.off_extent + (uint64_t)i * FAKE_EXTENT;
	uint32_t *ids = (uint32_t *)(e->base + off);
	bool text = q->flags & LLM_SQE_F_TEXT;

	if (e->drop || (int32_t)(q->gen - LLM_COMMIT_GEN(e->commit[i])) <= 0) {
		shm_add(&e->engine->sq_dropped, 1);
		return;
	}
	fake_keep(e, q);
	memset(r, 0, sizeof(*r));
	r->op = q->op;
	r->user_data = q->user_data;
	r->seed = 42;
	r->prompt_len = text ? q->len : q->len / 4;
	for (k = 0; k < r->prompt_len && k < FAKE_PROMPT / 4; k++)
		ids[k] = text ? e->c->arena[q->off + k]
			      : ((uint32_t *)(e->c->arena + q->off))[k];
	r->prompt_off = off;
	r->log_off = off + FAKE_PROMPT;
	r->log_len = FAKE_LOG_LEN;
	r->text_off = r->log_off + FAKE_LOG_LEN * 16u;
	r->text_size = FAKE_TEXT_SIZE;
	r->gen = q->gen;
	e->want[i] = q->op == LLM_OP_SCORE  ? r->prompt_len - 1
		     : q->op == LLM_OP_PING ? 0
		     : q->max_tokens	    ? q->max_tokens
					    : FAKE_DEFAULT;
	if (e->spoil)
		e->spoil(r);
	if (r->prompt_len && ids[0] == FAKE_REFUSE) {
		r->error = EINVAL;
		strcpy((char *)r->why, "7777 is not liked here");
		shm_publish(&e->commit[i],
			    LLM_COMMIT(q->gen, LLM_ST_END, LLM_END_REFUSED, 0));
		return;
	}
	shm_publish(&e->commit[i], LLM_COMMIT(q->gen, LLM_ST_QUEUED, 0, 0));
}

static inline void fake_take(struct fake_engine *e)
{
	char buf[256];
	uint32_t tail;
	ssize_t n;

	while ((n = recv(e->conn, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		shm_add(&e->nr_bells, (uint32_t)n);
	shm_fence(); /* pairs with the client's, between tail and bell */
	tail = shm_acquire(&e->c->ctl->sq_tail);
	for (; e->head != tail; e->head++) {
		struct llm_sqe q = e->c->sqe[e->head & (e->su.sq_entries - 1)];

		fake_admit(e, &q);
	}
	shm_publish(&e->engine->sq_head, e->head);
}

/* A step of one stream: some tokens, then the word. */
static inline void fake_step(struct fake_engine *e, uint32_t i)
{
	uint64_t w = e->commit[i];
	struct llm_record *r = fake_record(e, i);
	struct llm_tok *log = (struct llm_tok *)(e->base + r->log_off);
	uint32_t t = LLM_COMMIT_TAIL(w), k, at;
	bool score = r->op == LLM_OP_SCORE;
	float lp = -0.5f;
	char text[16];
	int n;

	if (LLM_COMMIT_STATE(w) != LLM_ST_QUEUED &&
	    LLM_COMMIT_STATE(w) != LLM_ST_RUNNING)
		return;
	if (shm_load(&e->c->wish[i].cancel_gen) == r->gen) {
		fake_end_stream(e, i, LLM_END_CANCELLED, 0, "");
		return;
	}
	for (k = 0; k < e->per_step && t < e->want[i]; k++, t++) {
		at = t ? log[t - 1].text_end : 0;
		n = score ? 0 : fake_text(t, text);
		memcpy(e->base + r->text_off + at, text, (size_t)n);
		log[t] = (struct llm_tok){
			.token = *(uint32_t *)(e->base + r->prompt_off) + t,
			.text_end = at + (uint32_t)n,
			.flags = LLM_TOK_F_UTF8,
			.logprob_bits = 0x7fc00000,
		};
		if (score)
			memcpy(&log[t].logprob_bits, &lp, 4);
	}
	r->cached_tokens = 1;
	if (t == e->want[i])
		r->detail = LLM_DETAIL_MAX_TOKENS;
	shm_publish(&e->commit[i],
		    LLM_COMMIT(r->gen,
			       t == e->want[i] ? LLM_ST_END : LLM_ST_RUNNING,
			       t == e->want[i] ? r->op == LLM_OP_PING
							 ? LLM_END_STOP
							 : LLM_END_LENGTH
					       : 0,
			       t));
}

/* After the commits and the fence: is a wish met?  At most one wake. */
static inline void fake_wake(struct fake_engine *e)
{
	bool wake = false;
	uint32_t i;

	for (i = 0; i < e->su.nr_streams; i++) {
		uint64_t h = shm_load(&e->c->wish[i].arm_want);
		uint32_t arm = (uint32_t)(h >> 32);
		uint64_t w = e->commit[i];

		if (arm == e->woken[i])
			continue;
		if (LLM_COMMIT_TAIL(w) < (uint32_t)h &&
		    LLM_COMMIT_STATE(w) != LLM_ST_END)
			continue;
		e->woken[i] = arm;
		wake = true;
	}
	if (!wake)
		return;
	shm_add(&e->nr_wakes, 1);
	(void)!send(e->conn, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static inline void *fake_engine_main(void *arg)
{
	struct fake_engine *e = arg;
	uint32_t i;

	while (!shm_load(&e->stop)) {
		struct pollfd p = { e->conn, POLLIN, 0 };

		/* not by the bell alone: a lost bell must show as a delay of
		 * the client's, not hide; 1 ms is the pace of steps */
		poll(&p, 1, 1);
		if (shm_load(&e->hold))
			continue;
		fake_take(e);
		for (i = 0; i < e->su.nr_streams; i++)
			fake_step(e, i);
		shm_fence(); /* pairs with llmc_arm()'s */
		fake_wake(e);
		if (e->step_us)
			usleep(e->step_us);
	}
	return NULL;
}

/* Serve the session @c, the one opened last: @e's knobs may be set before. */
static inline void fake_serve(struct fake *f, struct llmc *c,
			      struct fake_engine *e)
{
	int fd[LLM_HELLO_FDS], i;
	struct llm_model *m;

	fake_claim(f, &e->conn, fd);
	e->c = c;
	e->su = c->su;
	e->per_step = e->per_step ? e->per_step : 1;
	if (mmap((void *)c->host, c->host_size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd[1], 0) == MAP_FAILED ||
	    mmap((void *)c->base, c->engine_size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd[2], 0) == MAP_FAILED)
		abort();
	for (i = 0; i < LLM_HELLO_FDS; i++)
		close(fd[i]);
	e->host = (struct llm_host_ctl *)c->host;
	e->base = (uint8_t *)c->base;
	e->engine = (struct llm_engine_ctl *)e->base;
	e->commit = (uint64_t *)c->commit;
	m = (struct llm_model *)(e->base + e->su.off_info);
	strcpy((char *)m->name, "fake");
	m->vocab = 10000;
	m->context = FAKE_LOG_LEN;
	e->host->daemon = LLM_DAEMON_READY;
	e->host->epoch = 1;
	if (pthread_create(&e->thread, NULL, fake_engine_main, e))
		abort();
}

/* The engine's end; the connection is hung up. */
static inline void fake_quit(struct fake_engine *e)
{
	shm_store(&e->stop, 1u);
	pthread_join(e->thread, NULL);
	close(e->conn);
}

#endif
