/* SPDX-License-Identifier: MIT */
/*
 * raw.h - the contract spoken by hand, without libllmclient: what a hostile
 * or a suspicious client does.  Used by the torture and the attacks.  A path
 * that names a character device is the kernel module's; all else is alike.
 *
 * Stream slot i owns RAW_ROOM bytes of ARENA at i * RAW_ROOM: parameters
 * first, the prompt behind.  One thread a struct raw.
 */
#ifndef RAW_H
#define RAW_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <linux/llm.h>
#include "include/llm_shm.h"

#define RAW_STREAMS	64u
#define RAW_MAX_STREAMS LLM_MAX_STREAMS /* where raw_open_for() says so */
#define RAW_ROOM	1024u
#define RAW_LOG		(128u << 10) /* logs and texts, bytes a stream */
#define RAW_MAX_PROMPT	200u

struct raw {
	int conn, fd[LLM_HELLO_FDS]; /* device: conn is its, fd are -1 */
	int device, refused; /* the kernel's errno for the entry rung last */
	struct llm_setup su;
	uint8_t *client, *arena;
	const uint8_t *host, *engine;
	uint32_t tail;
	uint32_t gen[RAW_MAX_STREAMS], arm[RAW_MAX_STREAMS];
	uint32_t pos[RAW_MAX_STREAMS]; /* ring position of the last submission + 1 */
};

static inline uint64_t raw_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline int raw_connect(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline void *raw_map(const struct raw *r, int area, int prot)
{
	return mmap(NULL, r->su.area_size[area], prot, MAP_SHARED, r->conn,
		    (off_t)LLM_MMAP_OFF(area));
}

static inline struct llm_setup raw_setup(uint32_t streams)
{
	return (struct llm_setup){ .size = sizeof(struct llm_setup),
				   .sq_entries = streams,
				   .nr_streams = streams,
				   .arena_size = streams * RAW_ROOM,
				   .log_size = (uint64_t)streams * RAW_LOG };
}

/* What is served is told a little later, as raw_open_device() is done. */
static inline int raw_open_device(struct raw *r, const char *path,
				  uint32_t streams)
{
	memset(r, 0, sizeof(*r));
	memset(r->fd, 0xff, sizeof(r->fd));
	r->device = 1;
	r->conn = open(path, O_RDWR | O_CLOEXEC);
	if (r->conn < 0)
		return -errno;
	r->su = raw_setup(streams);
	if (ioctl(r->conn, LLM_IOC_SETUP, &r->su))
		return -errno;
	r->client = raw_map(r, LLM_AREA_CLIENT, PROT_READ | PROT_WRITE);
	r->arena = raw_map(r, LLM_AREA_ARENA, PROT_READ | PROT_WRITE);
	r->host = raw_map(r, LLM_AREA_HOST, PROT_READ);
	r->engine = raw_map(r, LLM_AREA_ENGINE, PROT_READ);
	if (r->client == MAP_FAILED || r->arena == MAP_FAILED ||
	    (void *)r->host == MAP_FAILED || (void *)r->engine == MAP_FAILED)
		return -ENOMEM;
	return 0;
}

/* A session of @streams, a power of two.  0 or a negative errno. */
static inline int raw_open_for(struct raw *r, const char *path,
			       uint32_t streams)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_SESSION };
	struct llm_hello_reply rep;
	char cb[CMSG_SPACE(sizeof(int) * LLM_HELLO_FDS)];
	struct iovec io = { &rep, sizeof(rep) };
	struct msghdr m = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = cb,
			    .msg_controllen = sizeof(cb) };
	struct cmsghdr *c;
	struct stat st;
	ssize_t n;

	if (!stat(path, &st) && S_ISCHR(st.st_mode))
		return raw_open_device(r, path, streams);
	memset(r, 0, sizeof(*r));
	r->conn = raw_connect(path);
	if (r->conn < 0)
		return -ECONNREFUSED;
	h.setup = raw_setup(streams);
	if (send(r->conn, &h, sizeof(h), MSG_NOSIGNAL) != (ssize_t)sizeof(h))
		return -EPIPE;
	n = recvmsg(r->conn, &m, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	if (n != (ssize_t)sizeof(rep) || rep.magic != LLM_HELLO_MAGIC)
		return -EPROTO;
	if (rep.error)
		return rep.error;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_len != CMSG_LEN(sizeof(int) * LLM_HELLO_FDS))
		return -EPROTO;
	memcpy(r->fd, CMSG_DATA(c), sizeof(r->fd));
	r->su = rep.setup;
	r->client = mmap(NULL,
			 r->su.area_size[LLM_AREA_CLIENT] +
				 r->su.area_size[LLM_AREA_ARENA],
			 PROT_READ | PROT_WRITE, MAP_SHARED, r->fd[0], 0);
	r->host = mmap(NULL, r->su.area_size[LLM_AREA_HOST], PROT_READ,
		       MAP_SHARED, r->fd[1], 0);
	r->engine = mmap(NULL, r->su.area_size[LLM_AREA_ENGINE], PROT_READ,
			 MAP_SHARED, r->fd[2], 0);
	if (r->client == MAP_FAILED || (void *)r->host == MAP_FAILED ||
	    (void *)r->engine == MAP_FAILED)
		return -ENOMEM;
	r->arena = r->client + r->su.area_size[LLM_AREA_CLIENT];
	return 0;
}

static inline int raw_open(struct raw *r, const char *path)
{
	return raw_open_for(r, path, RAW_STREAMS);
}

static inline void raw_close(struct raw *r)
{
	int i;

	munmap(r->client,
	       r->su.area_size[LLM_AREA_CLIENT] +
		       (r->device ? 0 : r->su.area_size[LLM_AREA_ARENA]));
	if (r->device)
		munmap(r->arena, r->su.area_size[LLM_AREA_ARENA]);
	munmap((void *)r->host, r->su.area_size[LLM_AREA_HOST]);
	munmap((void *)r->engine, r->su.area_size[LLM_AREA_ENGINE]);
	for (i = 0; i < LLM_HELLO_FDS; i++)
		if (r->fd[i] >= 0)
			close(r->fd[i]);
	close(r->conn);
}

static inline struct llm_client_ctl *raw_ctl(struct raw *r)
{
	return (struct llm_client_ctl *)r->client;
}
static inline const struct llm_engine_ctl *raw_eng(const struct raw *r)
{
	return (const struct llm_engine_ctl *)r->engine;
}
static inline const struct llm_record *raw_record(const struct raw *r,
						  uint32_t slot)
{
	return (const struct llm_record *)(r->engine + r->su.off_record +
					   (size_t)slot * r->su.record_stride);
}
static inline const struct llm_tok *raw_log(const struct raw *r, uint32_t slot)
{
	return (const struct llm_tok *)(r->engine +
					raw_record(r, slot)->log_off);
}
static inline const uint8_t *raw_text(const struct raw *r, uint32_t slot)
{
	return r->engine + raw_record(r, slot)->text_off;
}
static inline struct llm_wish *raw_wish(struct raw *r, uint32_t slot)
{
	return (struct llm_wish *)(r->client + r->su.off_wish) + slot;
}

/* Pairs with the engine's store-release of the word. */
static inline uint64_t raw_peek(const struct raw *r, uint32_t slot)
{
	return shm_acquire((const uint64_t *)(r->engine + r->su.off_commit) +
			   slot);
}

static inline const struct llm_host_ctl *raw_host(const struct raw *r)
{
	return (const struct llm_host_ctl *)r->host;
}

/* Entries whose place in the ring is free again; pairs with their release. */
static inline uint32_t raw_head(const struct raw *r)
{
	return r->device ? shm_acquire(&raw_host(r)->sq_head)
			 : shm_acquire(&raw_eng(r)->sq_head);
}

/*
 * Until the kernel has all, or has refused one: what it has not is taken back.
 * A full queue empties.
 */
static inline void raw_enter(struct raw *r)
{
	struct llm_enter e = { .size = sizeof(e) };
	uint32_t tries = 0;

	r->refused = 0;
	while ((e.to_submit = r->tail - raw_head(r)) && !r->refused) {
		if (ioctl(r->conn, LLM_IOC_ENTER, &e) >= 0 || errno == EINTR)
			continue;
		if (errno != EBUSY || ++tries > 20000)
			r->refused = errno;
		else
			usleep(500);
	}
	if (r->refused)
		shm_publish(&raw_ctl(r)->sq_tail, r->tail = raw_head(r));
}

static inline void raw_bell(struct raw *r)
{
	if (r->device) {
		raw_enter(r);
		return;
	}
	shm_fence(); /* the tail is out before the buffer is found full */
	(void)!send(r->conn, "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* An entry into the ring as it stands; false: the ring is full. */
static inline int raw_push(struct raw *r, const struct llm_sqe *e)
{
	struct llm_sqe *ring = (struct llm_sqe *)(r->client + r->su.off_sq);

	if (r->tail - raw_head(r) >= r->su.sq_entries)
		return 0;
	ring[r->tail % r->su.sq_entries] = *e;
	shm_publish(&raw_ctl(r)->sq_tail, ++r->tail);
	return 1;
}

/* What a test asks of a stream. */
struct raw_ask {
	uint64_t seed;
	uint32_t prompt_len, max_tokens, flags, params_flags;
	uint32_t temperature_bits;
	uint32_t prompt[RAW_MAX_PROMPT];
};

/* Submit to a slot under its next gen, which it returns; 0: ring full. */
static inline uint32_t raw_submit(struct raw *r, uint32_t slot,
				  const struct raw_ask *a)
{
	struct llm_params p = { .size = sizeof(p),
				.set = LLM_SET_SEED | LLM_SET_TEMPERATURE,
				.flags = a->params_flags,
				.seed = a->seed,
				.temperature_bits = a->temperature_bits };
	uint32_t at = slot * RAW_ROOM;
	struct llm_sqe e = { .op = LLM_OP_GENERATE,
			     .stream = (uint16_t)slot,
			     .gen = r->gen[slot] + 1,
			     .user_data = a->seed,
			     .flags = a->flags,
			     .max_tokens = a->max_tokens,
			     .off = at + 128,
			     .len = a->prompt_len * 4,
			     .params_off = at,
			     .params_len = sizeof(p) };

	memcpy(r->arena + at, &p, sizeof(p));
	memcpy(r->arena + at + 128, a->prompt, a->prompt_len * 4u);
	if (!raw_push(r, &e))
		return 0;
	r->pos[slot] = r->tail;
	return ++r->gen[slot];
}

/*
 * What became of the last submission to @slot: -EAGAIN not looked at yet, 0
 * admitted, EINVAL dropped (on the device that is never seen), else the errno
 * of its refusal.
 */
static inline int raw_result(const struct raw *r, uint32_t slot)
{
	/* head first: what it has passed shows in the word */
	uint32_t head = shm_acquire(&raw_eng(r)->sq_head);
	uint64_t w = raw_peek(r, slot);

	if (LLM_COMMIT_GEN(w) == r->gen[slot])
		return LLM_COMMIT_END(w) == LLM_END_REFUSED
			       ? (int)raw_record(r, slot)->error
			       : 0;
	return !r->device && (int32_t)(head - r->pos[slot]) >= 0 ? EINVAL
								 : -EAGAIN;
}

static inline void raw_cancel(struct raw *r, uint32_t slot)
{
	shm_store(&raw_wish(r, slot)->cancel_gen, (uint64_t)r->gen[slot]);
	raw_bell(r);
}

static inline int raw_done(const struct raw *r, uint32_t slot, uint64_t w,
			   uint32_t want)
{
	return LLM_COMMIT_GEN(w) == r->gen[slot] &&
	       (LLM_COMMIT_TAIL(w) >= want ||
		LLM_COMMIT_STATE(w) == LLM_ST_END);
}

/* Half of arming: a fence must follow, then another look. */
static inline void raw_store_wish(struct raw *r, uint32_t slot, uint32_t want)
{
	struct llm_wish *h = raw_wish(r, slot);

	if (!++r->arm[slot])
		r->arm[slot] = 1;
	shm_store(&h->delay_us, 0u);
	shm_publish(&h->arm_want, (uint64_t)r->arm[slot] << 32 | want);
}

/* True: no need to sleep. */
static inline int raw_arm(struct raw *r, uint32_t slot, uint32_t want)
{
	raw_store_wish(r, slot, want);
	shm_fence(); /* the wish is out before the word is read again */
	return raw_done(r, slot, raw_peek(r, slot), want);
}

/* Take what woke us off the descriptor, before looking.  0, or -1: gone. */
static inline int raw_ack(struct raw *r)
{
	char b[64];
	ssize_t n = 1;

	if (r->device) /* pairs with the engine's release of the bell */
		shm_store(&raw_ctl(r)->bell_seen,
			  shm_acquire(&raw_eng(r)->bell));
	else
		while ((n = recv(r->conn, b, sizeof(b), MSG_DONTWAIT)) ==
		       (ssize_t)sizeof(b))
			;
	if (n == 0)
		return -1;
	shm_fence(); /* drained, then looked */
	return 0;
}

/* 1 woken, 0 time-out, -1 the service is gone. */
static inline int raw_sleep(struct raw *r, int timeout_ms)
{
	struct pollfd p = { r->conn, POLLIN, 0 };

	if (poll(&p, 1, timeout_ms) <= 0) {
		shm_fence(); /* as after draining */
		return 0;
	}
	if (r->device && p.revents & (POLLERR | POLLHUP))
		return -1;
	return raw_ack(r) ? -1 : 1;
}

#endif
