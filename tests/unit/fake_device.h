/* SPDX-License-Identifier: MIT */
/*
 * fake_device.h - the kernel module in a few hundred lines of user memory, for
 * tests of both carriers' device side without a kernel.  Written from llm.h,
 * not from kmod/.
 *
 * One device a program.  Sessions are anonymous pages that client and engine
 * share at the same addresses, so that ThreadSanitizer sees both sides of
 * every shared word, and that go when both have unmapped them, so that a late
 * touch is a fault.  A lock stands in for the module's; the ring's tail and
 * head, bells and heads are ordered as the contract says.
 */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include "include/llm_shm.h"

#include <errno.h>
#include <linux/llm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FDEV_SESSIONS 1024u
#define FDEV_QUEUE    64u /* places; a redelivery needs some of them */

struct fdev_session {
	uint64_t id;	  /* 0: a free place */
	int fd;		  /* the client's; readable while bell != bell_seen */
	bool open, close; /* notes still to be pushed */
	bool client;	  /* it is still there */
	struct llm_setup su;
	uint8_t *area[LLM_AREA_NR];
	uint32_t maps; /* mappings of its areas */
	struct llm_sqe q[FDEV_QUEUE];
	uint32_t qhead, qtail, qmax;
};

static struct fdev {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* a bell, an epoch */
	int fd;		      /* the daemon's; readable: something was pushed */
	bool attached;
	uint32_t epoch, entries, tail;
	uint8_t *ring; /* [LLMD_RING_HDR + entries] */
	struct llmd_ctl *ctl;
	uint32_t owner[4096]; /* [entries] whose item it is */
	struct fdev_session s[FDEV_SESSIONS];
	uint32_t nr, turn;
	uint64_t next_id;
	int maps; /* of ring and ctl */
	/* the test's knobs: negative errnos, 0 = none */
	int refuse_setup, refuse_enter, refuse_getfd, refuse_attach;
	/* what was seen */
	uint32_t nr_enter, nr_wait, nr_wake, nr_woken, nr_take, nr_kick;
} fdev;

static inline uint64_t fdev_up(uint64_t n)
{
	return (n + 4095) & ~4095ull;
}

static inline uint8_t *fdev_pages(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static inline void fdev_begin(uint32_t entries)
{
	if (fdev.ring)
		munmap(fdev.ring,
		       LLMD_RING_HDR + 4096 * sizeof(struct llmd_work));
	memset(&fdev, 0, sizeof(fdev));
	pthread_mutex_init(&fdev.lock, NULL);
	pthread_cond_init(&fdev.moved, NULL);
	fdev.fd = -1;
	fdev.entries = entries;
	fdev.next_id = 1ull << 33 | 7; /* no small number */
	fdev.ring = fdev_pages(LLMD_RING_HDR + 4096 * sizeof(struct llmd_work));
}

static inline struct llmd_ring_hdr *fdev_hdr(void)
{
	return (struct llmd_ring_hdr *)fdev.ring;
}

static inline struct llm_host_ctl *fdev_host(struct fdev_session *s)
{
	return (struct llm_host_ctl *)s->area[LLM_AREA_HOST];
}
static inline struct llm_engine_ctl *fdev_engine(struct fdev_session *s)
{
	return (struct llm_engine_ctl *)s->area[LLM_AREA_ENGINE];
}
static inline struct llm_client_ctl *fdev_client(struct fdev_session *s)
{
	return (struct llm_client_ctl *)s->area[LLM_AREA_CLIENT];
}

/* ---- the ring; all with the lock held --------------------------------- */

static inline bool fdev_next(struct fdev_session *s, struct llmd_work *w)
{
	*w = (struct llmd_work){
		.session = s->id, .uid = 1000, .tenant = 77, .epoch = fdev.epoch
	};
	if (s->open) {
		s->open = false;
		w->kind = LLMD_WORK_OPEN;
	} else if (s->qhead != s->qtail) {
		w->kind = LLMD_WORK_SQE;
		w->sqe = s->q[s->qhead++ % FDEV_QUEUE];
	} else if (s->close) {
		s->close = false;
		w->kind = LLMD_WORK_CLOSE;
	}
	return w->kind != 0;
}

static inline bool fdev_waits(void)
{
	uint32_t i;

	for (i = 0; i < fdev.nr; i++)
		if (fdev.s[i].open || fdev.s[i].close ||
		    fdev.s[i].qhead != fdev.s[i].qtail)
			return true;
	return false;
}

/* Sessions in turn, while the ring has room; what does not fit overflows. */
static inline void fdev_pump(void)
{
	uint64_t one = 1;
	struct llmd_work w;
	uint32_t i, idle = 0, pushed = 0;

	while (fdev.attached && idle < fdev.nr &&
	       fdev.tail - shm_acquire(&fdev.ctl->head) < fdev.entries) {
		i = fdev.turn++ % fdev.nr;
		idle++;
		if (!fdev_next(&fdev.s[i], &w))
			continue;
		idle = 0;
		memcpy(fdev.ring + LLMD_RING_HDR +
			       fdev.tail % fdev.entries * sizeof(w),
		       &w, sizeof(w));
		fdev.owner[fdev.tail % fdev.entries] = i;
		shm_publish(&fdev_hdr()->tail, ++fdev.tail);
		pushed++;
	}
	shm_store(&fdev_hdr()->flags, fdev_waits() ? LLMD_RING_F_OVERFLOW : 0u);
	if (pushed)
		(void)!write(fdev.fd, &one, sizeof(one));
}

static inline void fdev_tell(uint32_t daemon)
{
	uint32_t i;

	fdev.epoch++;
	for (i = 0; i < fdev.nr; i++)
		if (fdev.s[i].area[LLM_AREA_HOST]) {
			shm_store(&fdev_host(&fdev.s[i])->daemon, daemon);
			shm_publish(&fdev_host(&fdev.s[i])->epoch, fdev.epoch);
		}
	pthread_cond_broadcast(&fdev.moved);
}

/* ---- /dev/llm --------------------------------------------------------- */

static inline struct fdev_session *fdev_by_fd(int fd)
{
	uint32_t i;

	for (i = 0; i < fdev.nr; i++)
		if (fdev.s[i].client && fdev.s[i].fd == fd)
			return &fdev.s[i];
	return NULL;
}

static inline int fdev_open(const char *path)
{
	struct fdev_session *s;

	(void)path;
	pthread_mutex_lock(&fdev.lock);
	if (fdev.nr == FDEV_SESSIONS)
		abort();
	s = &fdev.s[fdev.nr++];
	memset(s, 0, sizeof(*s));
	s->id = fdev.next_id++;
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->client = true;
	pthread_mutex_unlock(&fdev.lock);
	return s->fd;
}

static inline int fdev_setup(struct fdev_session *s, struct llm_setup *u)
{
	int i;

	if (u->size != sizeof(*u) || u->abi != LLM_ABI_VERSION)
		return -EPROTO;
	if (fdev.refuse_setup)
		return fdev.refuse_setup;
	u->sq_entries = u->sq_entries ? u->sq_entries : 16;
	u->nr_streams = u->nr_streams ? u->nr_streams : 16;
	u->arena_size = fdev_up(u->arena_size ? u->arena_size : 65536);
	u->log_size = fdev_up(u->log_size ? u->log_size : 1u << 20);
	u->session = s->id;
	u->off_wish = 128;
	u->off_sq = u->off_wish + u->nr_streams * 64ull;
	u->area_size[LLM_AREA_CLIENT] =
		fdev_up(u->off_sq + u->sq_entries * 64ull);
	u->area_size[LLM_AREA_ARENA] = u->arena_size;
	u->area_size[LLM_AREA_HOST] = 4096;
	u->off_info = 64;
	u->off_commit = 256;
	u->off_record = fdev_up(u->off_commit + u->nr_streams * 8ull);
	u->record_stride = sizeof(struct llm_record);
	u->off_extent =
		fdev_up(u->off_record + u->nr_streams * u->record_stride);
	u->area_size[LLM_AREA_ENGINE] = u->off_extent + u->log_size;
	s->su = *u;
	for (i = 0; i < LLM_AREA_NR; i++)
		s->area[i] = fdev_pages(u->area_size[i]);
	s->qmax = u->sq_entries < FDEV_QUEUE / 2 ? u->sq_entries
						 : FDEV_QUEUE / 2;
	fdev_host(s)->session = s->id;
	fdev_host(s)->epoch = fdev.epoch;
	fdev_host(s)->daemon = fdev.attached ? LLM_DAEMON_READY
					     : LLM_DAEMON_NONE;
	s->open = fdev.attached;
	fdev_pump();
	return 0;
}

static inline bool fdev_rung(struct fdev_session *s)
{
	return shm_load(&fdev_engine(s)->bell) !=
		       shm_load(&fdev_client(s)->bell_seen) ||
	       fdev.epoch != shm_load(&fdev_client(s)->epoch_seen);
}

static inline int fdev_submit(struct fdev_session *s, uint32_t nr)
{
	uint32_t head = fdev_host(s)->sq_head, i;
	struct llm_sqe *ring =
		(struct llm_sqe *)(s->area[LLM_AREA_CLIENT] + s->su.off_sq);
	uint32_t tail = shm_acquire(&fdev_client(s)->sq_tail);

	if (fdev.refuse_enter)
		return fdev.refuse_enter;
	for (i = 0; i < nr && head + i != tail; i++) {
		if (s->qtail - s->qhead == s->qmax)
			break;
		s->q[s->qtail++ % FDEV_QUEUE] =
			ring[(head + i) % s->su.sq_entries];
	}
	if (nr && !i)
		return -EBUSY;
	shm_publish(&fdev_host(s)->sq_head, head + i);
	fdev_pump();
	return (int)i;
}

static inline int fdev_enter(struct fdev_session *s, const struct llm_enter *e)
{
	struct timespec t;
	int n = 0, ret = 0;

	if (e->size != sizeof(*e) || e->flags & ~LLM_ENTER_WAIT || e->resv)
		return -EINVAL;
	fdev.nr_enter++;
	if (e->to_submit)
		n = fdev_submit(s, e->to_submit);
	if (n < 0 || !(e->flags & LLM_ENTER_WAIT))
		return n;
	fdev.nr_wait++;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += (time_t)(e->timeout_ns / 1000000000u);
	t.tv_nsec += (long)(e->timeout_ns % 1000000000u);
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	while (!fdev_rung(s) && !ret)
		ret = e->timeout_ns
			      ? pthread_cond_timedwait(&fdev.moved, &fdev.lock,
						       &t)
			      : pthread_cond_wait(&fdev.moved, &fdev.lock);
	return ret ? -ETIME : n;
}

static inline int fdev_client_ioctl(int fd, unsigned long op, void *arg)
{
	struct fdev_session *s;
	int ret = -ENOTTY;

	pthread_mutex_lock(&fdev.lock);
	s = fdev_by_fd(fd);
	if (s && op == LLM_IOC_SETUP)
		ret = fdev_setup(s, arg);
	else if (s && op == LLM_IOC_ENTER)
		ret = fdev_enter(s, arg);
	pthread_mutex_unlock(&fdev.lock);
	return ret;
}

static inline void *fdev_area(struct fdev_session *s, uint64_t off,
			      uint64_t size, int prot, bool engine)
{
	uint64_t a = off >> 32;
	bool writes = engine ? a == LLM_AREA_ENGINE
			     : a == LLM_AREA_CLIENT || a == LLM_AREA_ARENA;

	if (!s || a >= LLM_AREA_NR || off << 32 || size != s->su.area_size[a] ||
	    (prot & PROT_WRITE && !writes)) {
		errno = EACCES;
		return NULL;
	}
	s->maps++;
	return s->area[a];
}

static inline void *fdev_client_mmap(int fd, uint64_t off, uint64_t size,
				     int prot)
{
	void *p;

	pthread_mutex_lock(&fdev.lock);
	p = fdev_area(fdev_by_fd(fd), off, size, prot, false);
	pthread_mutex_unlock(&fdev.lock);
	return p;
}

/*
 * The daemon's file is released, with its mapping of ctl: what head has not
 * passed goes back.  Lock held.
 */
static inline void fdev_release(void)
{
	struct fdev_session *s;
	struct llmd_work *w;
	uint32_t pos, head = shm_load(&fdev.ctl->head);

	for (pos = fdev.tail; pos-- != head;) {
		s = &fdev.s[fdev.owner[pos % fdev.entries]];
		w = (struct llmd_work *)(fdev.ring + LLMD_RING_HDR) +
		    pos % fdev.entries;
		if (w->kind == LLMD_WORK_SQE && s->client)
			s->q[--s->qhead % FDEV_QUEUE] = w->sqe;
	}
	fdev.attached = false;
	munmap(fdev.ctl, 4096);
	fdev.ctl = NULL;
	fdev_tell(LLM_DAEMON_NONE);
}

/* The pages go with the last mapping of any of them. */
static inline void fdev_unmap(struct fdev_session *s)
{
	int i;

	if (--s->maps)
		return;
	for (i = 0; i < LLM_AREA_NR; i++) {
		munmap(s->area[i], s->su.area_size[i]);
		s->area[i] = NULL;
	}
	s->id = 0;
}

static inline void fdev_munmap(void *p, uint64_t size)
{
	uint32_t i;
	int a;

	(void)size;
	pthread_mutex_lock(&fdev.lock);
	if (p == fdev.ring || p == fdev.ctl)
		fdev.maps--;
	if (p == fdev.ctl)
		fdev_release();
	for (i = 0; i < fdev.nr; i++)
		for (a = 0; a < LLM_AREA_NR; a++)
			if (fdev.s[i].area[a] == p) {
				fdev_unmap(&fdev.s[i]);
				goto out;
			}
out:
	pthread_mutex_unlock(&fdev.lock);
}

/* The client's file is closed (the library closed the number). */
static inline void fdev_hangup(struct fdev_session *s)
{
	pthread_mutex_lock(&fdev.lock);
	s->client = false;
	s->qhead = s->qtail; /* nobody waits for it */
	s->close = !s->open;
	s->open = false;
	fdev_pump();
	pthread_mutex_unlock(&fdev.lock);
}

/* ---- /dev/llmd -------------------------------------------------------- */

/* An engine's copy of the keeper's opening of the node. */
static inline int fdev_open_daemon(void)
{
	memset(fdev.ring, 0, LLMD_RING_HDR);
	fdev.tail = 0;
	fdev.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return fdev.fd;
}

static inline int fdev_attach(struct llmd_attach *u)
{
	uint32_t i;

	if (u->size != sizeof(*u) || u->abi != LLM_ABI_VERSION || u->flags)
		return -EINVAL;
	if (fdev.refuse_attach)
		return fdev.refuse_attach;
	fdev.ctl = (struct llmd_ctl *)fdev_pages(4096);
	fdev.attached = true;
	for (i = 0; i < fdev.nr; i++)
		fdev.s[i].open = fdev.s[i].client && fdev.s[i].id;
	fdev_tell(LLM_DAEMON_READY);
	u->epoch = fdev.epoch;
	u->ring_entries = fdev.entries;
	fdev_pump();
	return 0;
}

static inline struct fdev_session *fdev_by_id(uint64_t id)
{
	uint32_t i;

	for (i = 0; id && i < fdev.nr; i++)
		if (fdev.s[i].id == id)
			return &fdev.s[i];
	return NULL;
}

static inline int fdev_getfd(struct llmd_getfd *u)
{
	struct fdev_session *s = fdev_by_id(u->session);

	if (u->size != sizeof(*u) || u->flags)
		return -EINVAL;
	if (fdev.refuse_getfd || !s || !s->area[0])
		return fdev.refuse_getfd ? fdev.refuse_getfd : -ENOENT;
	u->info = s->su;
	/* its number is all we need of it */
	return dup(s->fd);
}

static inline int fdev_wake(const struct llmd_wake *u)
{
	const uint64_t *id = (const uint64_t *)(uintptr_t)u->ids, one = 1;
	struct fdev_session *s;
	uint32_t i, n = 0;

	if (u->size != sizeof(*u) || u->nr > LLM_MAX_WAKE)
		return -EINVAL;
	fdev.nr_wake++;
	for (i = 0; i < u->nr; i++) {
		s = fdev_by_id(id[i]);
		if (!s || !s->client)
			continue;
		(void)!write(s->fd, &one, sizeof(one));
		n++;
	}
	fdev.nr_woken += n;
	pthread_cond_broadcast(&fdev.moved);
	return (int)n;
}

static inline int fdev_daemon_ioctl(int fd, unsigned long op, void *arg)
{
	const struct llmd_take *t = arg;
	int ret = -ENOTTY;

	if (fd != fdev.fd)
		return -ENOTTY;
	pthread_mutex_lock(&fdev.lock);
	switch (op) {
	case LLMD_IOC_ATTACH:
		ret = fdev_attach(arg);
		break;
	case LLMD_IOC_GETFD:
		ret = fdev_getfd(arg);
		break;
	case LLMD_IOC_WAKE:
		ret = fdev_wake(arg);
		break;
	case LLMD_IOC_TAKE: /* only to pump: nobody sleeps in it here */
		if (t->size != sizeof(*t) || t->timeout_ns != ~0ull)
			abort();
		fdev.nr_take++;
		fdev_pump();
		ret = (int)(fdev.tail - shm_load(&fdev.ctl->head));
		break;
	}
	pthread_mutex_unlock(&fdev.lock);
	return ret;
}

/* A view's descriptor is told from others by the session asked for last. */
static struct fdev_session *fdev_viewed;

static inline int fdev_daemon_ioctl_view(int fd, unsigned long op, void *arg)
{
	int ret = fdev_daemon_ioctl(fd, op, arg);

	if (op == LLMD_IOC_GETFD && ret >= 0)
		fdev_viewed = fdev_by_id(((struct llmd_getfd *)arg)->session);
	return ret;
}

static inline void *fdev_daemon_mmap(int fd, uint64_t off, uint64_t size,
				     int prot)
{
	void *p = NULL;

	pthread_mutex_lock(&fdev.lock);
	if (fd != fdev.fd) {
		p = fdev_area(fdev_viewed, off, size, prot, true);
	} else if (off == LLM_MMAP_OFF(LLMD_AREA_RING) && prot == PROT_READ) {
		p = fdev.ring;
		fdev.maps++;
	} else if (off == LLM_MMAP_OFF(LLMD_AREA_CTL)) {
		p = fdev.ctl;
		fdev.maps++;
	} else {
		errno = EACCES;
	}
	pthread_mutex_unlock(&fdev.lock);
	return p;
}

/* Readable no longer than there is something: what poll() would find. */
static inline void fdev_settle(void)
{
	uint64_t n;
	uint32_t i;

	pthread_mutex_lock(&fdev.lock);
	if (fdev.ctl && fdev.tail == shm_load(&fdev.ctl->head))
		(void)!read(fdev.fd, &n, sizeof(n));
	for (i = 0; i < fdev.nr; i++)
		if (fdev.s[i].area[0] && fdev.s[i].client &&
		    !fdev_rung(&fdev.s[i]))
			(void)!read(fdev.s[i].fd, &n, sizeof(n));
	pthread_mutex_unlock(&fdev.lock);
}

#endif
