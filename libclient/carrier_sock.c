/* SPDX-License-Identifier: MIT */
/*
 * carrier_sock.c - the socket carrier: a Unix connection, three memfds.
 *
 * The connection carries one byte a bell and one byte a wake, never blocking
 * (MSG_DONTWAIT is per call: the other end's flags do not matter).  A full
 * buffer means unread bytes, so a dropped byte loses nothing: the reader
 * drains, fences, then looks.
 */
#include "libclient/internal.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int sock_submit(struct llmc *s)
{
	/*
	 * What was stored is out before the buffer is found full; pairs with
	 * the engine's fence between its recv() and its load of sq_tail.
	 */
	shm_fence();
	if (send(s->fd, "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    (errno == EPIPE || errno == ECONNRESET))
		s->gone = true;
	return 0; /* what is lost with the service is told by reading */
}

static void sock_cancel(struct llmc *s)
{
	sock_submit(s); /* the same bell */
}

static uint32_t sock_head(struct llmc *s)
{
	/* pairs with the engine's store-release after its last copy */
	return shm_acquire(&s->engine->sq_head);
}

static int sock_drain(struct llmc *s)
{
	char buf[64];
	ssize_t n;

	do {
		n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n == (ssize_t)sizeof(buf) || (n < 0 && errno == EINTR));
	if (n == 0 || (n < 0 && errno != EAGAIN))
		s->gone = true;
	/* drained, then looked: pairs with the engine's commit, fence, send */
	shm_fence();
	return s->gone ? -EPIPE : 0;
}

static int sock_sleep(struct llmc *s, int timeout_ms)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	int n = poll(&p, 1, timeout_ms);

	if (n < 0 && errno != EINTR)
		return -errno;
	if (n > 0 && sock_drain(s))
		return -EPIPE;
	return n > 0;
}

static void sock_close(struct llmc *s)
{
	if (s->ctl)
		munmap(s->ctl, s->client_size);
	if (s->host)
		munmap((void *)s->host, s->host_size);
	if (s->base)
		munmap((void *)s->base, s->engine_size);
	if (s->fd >= 0)
		close(s->fd);
}

static const struct carrier carrier_sock = {
	.submit = sock_submit,
	.cancel = sock_cancel,
	.head = sock_head,
	.sleep = sock_sleep,
	.drain = sock_drain,
	.close = sock_close,
};

/* A keeper that stands still must not hang who asks; loading may take long. */
#define ANSWER_S 30

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = ANSWER_S };
	int fd, ret;

	if (strlen(path) >= sizeof(a.sun_path))
		return llmc_fail(-ENAMETOOLONG,
				 "%s: longer than a socket's name may be (%zu)",
				 path, sizeof(a.sun_path) - 1);
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return llmc_fail(-errno, "socket: %s", strerror(errno));
	/* for connect() too: a full backlog waits as SO_SNDTIMEO says */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	do {
		ret = connect(fd, (struct sockaddr *)&a, sizeof(a));
	} while (ret && errno == EINTR);
	if (ret) {
		ret = -errno;
		close(fd);
		return llmc_fail(ret, "%s%s: %s",
				 ret == -ENOENT || ret == -ECONNREFUSED
					 ? "no llmd at "
					 : "",
				 path, strerror(-ret));
	}
	return fd;
}

/* Receive exactly @size bytes, and descriptors with the first of them. */
static int recv_all(int fd, void *buf, size_t size, int *fds, int *nr_fds)
{
	char cb[CMSG_SPACE(sizeof(int) * LLM_HELLO_FDS)];
	size_t done = 0;

	while (done < size) {
		struct iovec io = { (char *)buf + done, size - done };
		struct msghdr m = { .msg_iov = &io,
				    .msg_iovlen = 1,
				    .msg_control = fds ? cb : NULL,
				    .msg_controllen = fds ? sizeof(cb) : 0 };
		ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		c = fds ? CMSG_FIRSTHDR(&m) : NULL;
		if (c && c->cmsg_type == SCM_RIGHTS && !*nr_fds) {
			*nr_fds = (int)((c->cmsg_len - CMSG_LEN(0)) /
					sizeof(int));
			memcpy(fds, CMSG_DATA(c),
			       (size_t)*nr_fds * sizeof(int));
		}
		done += (size_t)n;
	}
	return 0;
}

/*
 * Say the hello of @size bytes, hear @rep.  The reply's error becomes ours,
 * with its words.
 */
static int say_hello(int fd, const void *hello, size_t size,
		     struct llm_hello_reply *rep, int *fds, int *nr_fds)
{
	uint8_t more[4096];
	int ret;

	if (send(fd, hello, size, MSG_NOSIGNAL) != (ssize_t)size)
		return llmc_fail(-EPIPE, "llmd hung up");
	/* the size first: what answers may not be an llmd, and say little */
	ret = recv_all(fd, rep, sizeof(rep->size), fds, nr_fds);
	if (!ret && rep->size < sizeof(*rep))
		return llmc_fail(-EPROTO, "what answers there is no llmd");
	if (!ret)
		ret = recv_all(fd, &rep->magic,
			       sizeof(*rep) - sizeof(rep->size), NULL, NULL);
	if (ret == -EAGAIN)
		return llmc_fail(-ETIMEDOUT, "llmd has not answered in %d s",
				 ANSWER_S);
	if (ret)
		return llmc_fail(ret, "llmd hung up before it answered");
	if (rep->magic != LLM_HELLO_MAGIC ||
	    rep->size > sizeof(*rep) + sizeof(more) || rep->error > 0)
		return llmc_fail(-EPROTO, "what answers there is no llmd");
	rep->why[sizeof(rep->why) - 1] = 0;
	if (rep->error)
		return llmc_fail(rep->error, "%s",
				 *rep->why ? (char *)rep->why
					   : strerror(-rep->error));
	/* what a later llmd adds at the end is not ours to understand */
	ret = recv_all(fd, more, rep->size - sizeof(*rep), NULL, NULL);
	return ret ? llmc_fail(ret, "llmd hung up in its answer") : 0;
}

/* The reply's layout is llmd's word; a slip in it must not crash a client. */
bool llmc_layout_sane(const struct llm_setup *u)
{
	uint64_t client = u->area_size[LLM_AREA_CLIENT];
	uint64_t engine = u->area_size[LLM_AREA_ENGINE];

	return u->sq_entries && !(u->sq_entries & (u->sq_entries - 1)) &&
	       u->nr_streams && u->arena_size && u->arena_size % 8 == 0 &&
	       (u->off_sq | u->off_wish | u->off_commit | u->off_record |
		u->off_info | u->record_stride) %
			       8 ==
		       0 &&
	       u->nr_streams <= LLM_MAX_STREAMS &&
	       u->sq_entries <= LLM_MAX_SQ_ENTRIES &&
	       u->arena_size <= LLM_MAX_ARENA_BYTES &&
	       u->area_size[LLM_AREA_ARENA] >= u->arena_size &&
	       u->area_size[LLM_AREA_HOST] >= sizeof(struct llm_host_ctl) &&
	       u->record_stride >= sizeof(struct llm_record) &&
	       u->off_sq < client && u->off_wish < client &&
	       u->off_sq + u->sq_entries * sizeof(struct llm_sqe) <= client &&
	       u->off_wish + u->nr_streams * sizeof(struct llm_wish) <=
		       client &&
	       u->off_commit < engine && u->off_record < engine &&
	       u->off_info < engine &&
	       u->off_commit + u->nr_streams * 8ull <= engine &&
	       u->off_info + sizeof(struct llm_model) <= engine &&
	       u->off_record + (uint64_t)u->nr_streams * u->record_stride <=
		       engine;
}

/* A file shorter than the mapping would be SIGBUS later: refused now. */
static void *map_area(int fd, size_t size, int prot)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || (uint64_t)st.st_size < size) {
		errno = EPROTO;
		return NULL;
	}
	p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int map_session(struct llmc *s, const int *fds)
{
	const struct llm_setup *u = &s->su;
	uint8_t *client;

	s->client_size =
		u->area_size[LLM_AREA_CLIENT] + u->area_size[LLM_AREA_ARENA];
	s->host_size = u->area_size[LLM_AREA_HOST];
	s->engine_size = u->area_size[LLM_AREA_ENGINE];
	client = map_area(fds[0], s->client_size, PROT_READ | PROT_WRITE);
	s->ctl = (struct llm_client_ctl *)client;
	s->host = map_area(fds[1], s->host_size, PROT_READ);
	s->base = map_area(fds[2], s->engine_size, PROT_READ);
	if (!s->ctl || !s->host || !s->base)
		return llmc_fail(-errno, "cannot map the session: %s",
				 strerror(errno));
	s->arena = client + u->area_size[LLM_AREA_CLIENT];
	s->sqe = (struct llm_sqe *)(client + u->off_sq);
	s->wish = (struct llm_wish *)(client + u->off_wish);
	s->engine = (const struct llm_engine_ctl *)s->base;
	s->commit = (const uint64_t *)(s->base + u->off_commit);
	return 0;
}

int llmc_sock_open(struct llmc *s, const char *path,
		   const struct llm_setup *want)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_SESSION,
			       .setup = *want };
	struct llm_hello_reply rep;
	int fds[LLM_HELLO_FDS], nr_fds = 0, i, ret;

	s->carrier = &carrier_sock;
	s->fd = connect_to(path);
	if (s->fd < 0)
		return s->fd;
	ret = say_hello(s->fd, &h, sizeof(h), &rep, fds, &nr_fds);
	if (!ret && (nr_fds != LLM_HELLO_FDS || !llmc_layout_sane(&rep.setup)))
		ret = llmc_fail(-EPROTO, "%s: a session without its memory",
				path);
	s->su = rep.setup;
	if (!ret)
		ret = map_session(s, fds);
	for (i = 0; i < nr_fds; i++)
		close(fds[i]);
	if (ret)
		sock_close(s);
	return ret;
}

int llmc_sock_hello(const char *path, const void *hello, size_t size,
		    struct llm_hello_reply *ret)
{
	const char *at = path ? path : llmc_default_socket();
	int fd, rc;

	if (llmc_is_device(at))
		return llmc_fail(-EOPNOTSUPP,
				 "%s: the device is looked at and administered "
				 "by llmctl",
				 at);
	fd = connect_to(at);
	if (fd < 0)
		return fd;
	rc = say_hello(fd, hello, size, ret, NULL, NULL);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int llmc_sock_recv(int fd, void *buf, size_t size)
{
	return recv_all(fd, buf, size, NULL, NULL);
}

int llmc_sock_ask(const char *path, const void *hello, size_t size,
		  size_t elem_size, void **ret_list, uint32_t *ret_nr)
{
	struct llm_hello_reply rep;
	uint8_t *list = NULL, *elem = NULL;
	uint32_t i;
	int fd, ret;

	fd = llmc_sock_hello(path, hello, size, &rep);
	if (fd < 0)
		return fd;
	ret = llmc_fail(-EPROTO, "an answer of no known form");
	if (rep.elem_size > 65536 || rep.nr > (1u << 20))
		goto out;
	ret = llmc_fail(-ENOMEM, "out of memory");
	list = calloc((size_t)rep.nr + 1, elem_size);
	elem = calloc(1, (size_t)rep.elem_size + elem_size);
	if (!list || !elem)
		goto out;
	for (i = 0; i < rep.nr; i++) {
		ret = recv_all(fd, elem, rep.elem_size, NULL, NULL);
		if (ret) {
			llmc_fail(ret, "llmd hung up in its answer");
			goto out;
		}
		/* longer: cut; shorter: the rest is zero */
		memcpy(list + i * elem_size, elem, elem_size);
	}
	*ret_list = list;
	*ret_nr = rep.nr;
	list = NULL;
	ret = 0;
out:
	free(elem);
	free(list);
	close(fd);
	return ret;
}
