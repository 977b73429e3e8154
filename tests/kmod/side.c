// SPDX-License-Identifier: MIT
/* side.c - see side.h. */
#include "side.h"
#include "host.h"
#include "kt.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define RING_BYTES (LLMD_RING_HDR + 256 * sizeof(struct llmd_work))

void *side_map(int fd, unsigned area, size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)LLM_MMAP_OFF(area));
}

static void unmap(const void *p, size_t len)
{
	if (p && p != MAP_FAILED)
		munmap((void *)p, len);
}

/* ---- the client's end */

void client_close(struct client *c)
{
	unmap(c->ctl, c->lay.area_size[LLM_AREA_CLIENT]);
	unmap(c->arena, c->lay.area_size[LLM_AREA_ARENA]);
	unmap(c->host, c->lay.area_size[LLM_AREA_HOST]);
	unmap(c->engine, c->lay.area_size[LLM_AREA_ENGINE]);
	if (c->fd >= 0)
		close(c->fd);
}

int client_setup(struct client *c, const struct llm_setup *wishes)
{
	int err;

	memset(c, 0, sizeof(*c));
	c->fd = open("/dev/llm", O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return -1;
	c->lay = *wishes;
	c->lay.size = sizeof(c->lay);
	c->lay.abi = LLM_ABI_VERSION;
	if (ioctl(c->fd, LLM_IOC_SETUP, &c->lay))
		goto fail;
	c->ctl = side_map(c->fd, LLM_AREA_CLIENT, c->lay.area_size[0],
			  PROT_READ | PROT_WRITE);
	c->arena = side_map(c->fd, LLM_AREA_ARENA, c->lay.area_size[1],
			    PROT_READ | PROT_WRITE);
	c->host =
		side_map(c->fd, LLM_AREA_HOST, c->lay.area_size[2], PROT_READ);
	c->engine = side_map(c->fd, LLM_AREA_ENGINE, c->lay.area_size[3],
			     PROT_READ);
	if (c->ctl == MAP_FAILED || c->arena == MAP_FAILED ||
	    c->host == MAP_FAILED || c->engine == MAP_FAILED)
		goto fail;
	c->sq = (void *)((char *)c->ctl + c->lay.off_sq);
	c->wish = (void *)((char *)c->ctl + c->lay.off_wish);
	c->ctl->epoch_seen = c->host->epoch;
	return 0;
fail:
	err = errno;
	client_close(c);
	errno = err;
	return -1;
}

int client_open(struct client *c)
{
	return client_setup(c, &(struct llm_setup){
				       .sq_entries = SIDE_ENTRIES,
				       .nr_streams = SIDE_STREAMS,
				       .arena_size = SIDE_ARENA,
				       .log_size = SIDE_LOG,
				       .features = ~0u,
			       });
}

void client_put(struct client *c, const struct llm_sqe *e)
{
	uint32_t t = c->ctl->sq_tail;

	c->sq[t & (c->lay.sq_entries - 1)] = *e;
	__atomic_store_n(&c->ctl->sq_tail, t + 1, __ATOMIC_RELEASE);
}

int client_enter(struct client *c, uint32_t n, uint32_t flags, uint64_t ns)
{
	struct llm_enter e = { .size = sizeof(e),
			       .flags = flags,
			       .to_submit = n,
			       .timeout_ns = ns };

	return ioctl(c->fd, LLM_IOC_ENTER, &e);
}

uint64_t client_word(const struct client *c, unsigned stream)
{
	const uint64_t *w =
		(const void *)((const char *)c->engine + c->lay.off_commit);

	return __atomic_load_n(w + stream, __ATOMIC_ACQUIRE);
}

struct llm_sqe side_entry(unsigned op, unsigned stream, uint32_t gen)
{
	return (struct llm_sqe){ .op = (__u8)op,
				 .stream = (__u16)stream,
				 .gen = gen };
}

bool client_ping_ns(struct client *c, unsigned stream, uint32_t gen,
		    uint64_t ns)
{
	struct llm_sqe e = side_entry(LLM_OP_PING, stream, gen);
	uint32_t n = 1;

	client_put(c, &e);
	for (;;) {
		uint32_t bell =
			__atomic_load_n(&c->engine->bell, __ATOMIC_ACQUIRE);

		__atomic_store_n(&c->ctl->bell_seen, bell, __ATOMIC_SEQ_CST);
		if (LLM_COMMIT_GEN(client_word(c, stream)) == gen)
			return true;
		if (client_enter(c, n, LLM_ENTER_WAIT, ns) < 0 &&
		    errno != EINTR) {
			printf("# ping: %s%s\n", strerror(errno),
			       LLM_COMMIT_GEN(client_word(c, stream)) == gen
				       ? ", answered: a lost wake-up"
				       : "");
			return false;
		}
		n = 0;
		c->ctl->epoch_seen = c->host->epoch;
	}
}

bool client_ping(struct client *c, unsigned stream, uint32_t gen)
{
	return client_ping_ns(c, stream, gen, 5000000000ull);
}

/* ---- the daemon's end */

void daemon_close(struct daemon *d)
{
	unmap(d->hdr, RING_BYTES);
	unmap(d->ctl, 4096);
	if (d->fd >= 0)
		close(d->fd);
}

int daemon_open(struct daemon *d)
{
	int err, tries;

	memset(d, 0, sizeof(*d));
	/* a ring that ended lets its file go from a worker, a little later */
	for (tries = 0; tries < 200; tries++) {
		d->fd = open("/dev/llmd", O_RDWR | O_CLOEXEC);
		if (d->fd >= 0 || errno != EBUSY)
			break;
		poll(NULL, 0, 10);
	}
	if (d->fd < 0)
		return -1;
	d->hdr = side_map(d->fd, LLMD_AREA_RING, RING_BYTES, PROT_READ);
	d->ctl = side_map(d->fd, LLMD_AREA_CTL, 4096, PROT_READ | PROT_WRITE);
	if (d->hdr == MAP_FAILED || d->ctl == MAP_FAILED) {
		err = errno;
		daemon_close(d);
		errno = err;
		return -1;
	}
	d->work = (const void *)((const char *)d->hdr + LLMD_RING_HDR);
	return 0;
}

int daemon_attach(struct daemon *d)
{
	struct llmd_attach a = { .size = sizeof(a), .abi = LLM_ABI_VERSION };

	return ioctl(d->fd, LLMD_IOC_ATTACH, &a);
}

const struct llmd_work *daemon_peek(struct daemon *d)
{
	uint32_t h = d->ctl->head;

	if (h == __atomic_load_n(&d->hdr->tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &d->work[h & (d->hdr->entries - 1)];
}

void daemon_ack(struct daemon *d)
{
	__atomic_store_n(&d->ctl->head, d->ctl->head + 1, __ATOMIC_RELEASE);
}

int daemon_take(struct daemon *d, uint64_t ns)
{
	struct llmd_take t = { .size = sizeof(t), .timeout_ns = ns };

	return ioctl(d->fd, LLMD_IOC_TAKE, &t);
}

int daemon_wake(struct daemon *d, uint64_t id)
{
	struct llmd_wake w = { .size = sizeof(w),
			       .nr = 1,
			       .ids = (uintptr_t)&id };

	return ioctl(d->fd, LLMD_IOC_WAKE, &w);
}

unsigned daemon_drain(struct daemon *d)
{
	unsigned n = 0;

	do {
		for (; daemon_peek(d); n++)
			daemon_ack(d);
	} while (daemon_take(d, ~0ull) > 0);
	return n;
}

int view_open(struct daemon *d, uint64_t id, struct view *v)
{
	struct llmd_getfd g = { .size = sizeof(g), .session = id };

	memset(v, 0, sizeof(*v));
	v->id = id;
	v->fd = ioctl(d->fd, LLMD_IOC_GETFD, &g);
	if (v->fd < 0)
		return -1;
	v->lay = g.info;
	v->engine = side_map(v->fd, LLM_AREA_ENGINE, v->lay.area_size[3],
			     PROT_READ | PROT_WRITE);
	v->client = side_map(v->fd, LLM_AREA_CLIENT, v->lay.area_size[0],
			     PROT_READ);
	v->arena =
		side_map(v->fd, LLM_AREA_ARENA, v->lay.area_size[1], PROT_READ);
	if (v->engine == MAP_FAILED || v->client == MAP_FAILED ||
	    v->arena == MAP_FAILED) {
		view_close(v);
		return -1;
	}
	return 0;
}

void view_close(struct view *v)
{
	unmap(v->engine, v->lay.area_size[LLM_AREA_ENGINE]);
	unmap(v->client, v->lay.area_size[LLM_AREA_CLIENT]);
	unmap(v->arena, v->lay.area_size[LLM_AREA_ARENA]);
	close(v->fd);
}

void view_commit(struct view *v, unsigned stream, uint64_t word)
{
	uint64_t *w = (void *)((char *)v->engine + v->lay.off_commit);

	__atomic_store_n(w + stream, word, __ATOMIC_RELEASE);
}

struct llm_record *view_record(struct view *v, unsigned stream)
{
	return (void *)((char *)v->engine + v->lay.off_record +
			(size_t)stream * v->lay.record_stride);
}

/* ---- a daemon that echoes */

static void echo_answer(struct echo *e, struct view *v, const struct llm_sqe *q)
{
	if (q->op == LLM_OP_NOP || q->op == LLM_OP_CANCEL)
		return;
	view_commit(v, q->stream,
		    LLM_COMMIT(q->gen, LLM_ST_END, LLM_END_STOP, 0));
	__atomic_fetch_add(&v->engine->bell, 1, __ATOMIC_SEQ_CST);
	atomic_fetch_add(&e->served, 1);
	daemon_wake(&e->d, v->id);
}

static void echo_one(struct echo *e, const struct llmd_work *w)
{
	struct view *v = NULL;
	int i;

	for (i = 0; i < e->nr; i++)
		if (e->v[i].id == w->session)
			v = &e->v[i];
	switch (w->kind) {
	case LLMD_WORK_OPEN:
		if (e->nr < 64 &&
		    view_open(&e->d, w->session, &e->v[e->nr]) == 0)
			e->nr++;
		break;
	case LLMD_WORK_CLOSE:
		if (v) {
			view_close(v);
			*v = e->v[--e->nr];
		}
		break;
	default:
		if (v)
			echo_answer(e, v, &w->sqe);
	}
}

static void echo_take_uring(struct echo *e, struct io_uring *ring)
{
	struct io_uring_sqe *q = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;

	io_uring_prep_rw(IORING_OP_URING_CMD, q, e->d.fd, NULL, 0, 0);
	q->cmd_op = LLMD_URING_TAKE;
	io_uring_submit_and_wait(ring, 1);
	if (io_uring_peek_cqe(ring, &cqe) == 0) {
		if (cqe->res < 0 && cqe->res != -EINTR)
			printf("# TAKE by io_uring: %s\n", strerror(-cqe->res));
		io_uring_cqe_seen(ring, cqe);
	}
}

void *echo_main(void *arg)
{
	struct echo *e = arg;
	struct io_uring ring;

	if (e->how == BY_URING)
		CHECK(io_uring_queue_init(8, &ring,
					  IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_COOP_TASKRUN) ==
		      0);
	while (!atomic_load(&e->stop)) {
		const struct llmd_work *w = daemon_peek(&e->d);

		if (w) {
			echo_one(e, w);
			daemon_ack(&e->d);
		} else if (e->how == BY_URING) {
			echo_take_uring(e, &ring);
		} else if (e->how == BY_IOCTL) {
			daemon_take(&e->d, 0);
		}
	}
	if (e->how == BY_URING)
		io_uring_queue_exit(&ring);
	return NULL;
}

void echo_start(struct echo *e, enum how how)
{
	memset(e, 0, sizeof(*e));
	e->how = how;
	CHECK(daemon_open(&e->d) == 0);
	CHECK(daemon_attach(&e->d) == 0);
	CHECK(pthread_create(&e->thread, NULL, echo_main, e) == 0);
}

void echo_stop(struct echo *e)
{
	struct timespec t = { .tv_nsec = 1000000 };

	atomic_store(&e->stop, true);
	/* a kick may come before the TAKE that it should end */
	do {
		ioctl(e->d.fd, LLMD_IOC_KICK, 0);
		nanosleep(&t, NULL);
	} while (pthread_tryjoin_np(e->thread, NULL));
	while (e->nr)
		view_close(&e->v[--e->nr]);
	daemon_close(&e->d);
}

void side_as_uid(unsigned uid)
{
	if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		_exit(99);
}

void side_as_root_of_a_namespace(unsigned uid)
{
	char map[32];

	side_as_uid(uid);
	prctl(PR_SET_DUMPABLE, 1); /* our files in /proc are ours again */
	if (unshare(CLONE_NEWUSER))
		_exit(98);
	snprintf(map, sizeof(map), "0 %u 1\n", uid);
	if (!host_put("/proc/self/uid_map", map))
		_exit(97);
}

int side_wait(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}
