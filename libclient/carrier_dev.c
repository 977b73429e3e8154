/* SPDX-License-Identifier: MIT */
/*
 * carrier_dev.c - the device carrier: a file of the kernel module, four areas
 * of its memory.
 *
 * Submitting is ENTER, which copies the entry into the kernel before it
 * returns: no entry of ours stays in the ring.  Its prompt stays in ARENA
 * until the engine has admitted it, which the commit word tells; HOST.sq_head
 * does not, it only says that the kernel has the entry.
 *
 * Sleeping, two pairs of stores and loads with a full fence between:
 *   drain  bell acq -> bell_seen -> F       pairs with: the engine's commits,
 *          (then the caller looks, arms,    F, wish, bell rel, WAKE
 *          F, looks)
 *   ENTER  the kernel queues us, F, reads   pairs with: WAKE's F, then its
 *          bell and bell_seen; sleeps       look who is queued
 *          while they are equal
 * bell is read before the wish is stored, so a bell that answers this wish
 * makes the two differ: no sleep.  A change of HOST's epoch ends a sleep as
 * well; nothing is to be done about it, as the module gives what a dead engine
 * had not admitted to the next one.
 *
 * A cancel needs no call: an engine that could run the stream looks at its
 * cancel word each step, and one that has not taken it yet looks when it does.
 */
#include "libclient/carrier_dev.h"
#include "include/llm_shm.h"
#include "libclient/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* How long a session waits for who serves it: one that loads; one that is
 * about to be started again. */
#define LOADING_MS 30000
#define NOBODY_MS  2000

static int kernel_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int kernel_ioctl(int fd, unsigned long op, void *arg)
{
	int ret = ioctl(fd, op, arg);

	return ret < 0 ? -errno : ret;
}

static void *kernel_mmap(int fd, uint64_t off, uint64_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)off);

	return p == MAP_FAILED ? NULL : p;
}

static void kernel_munmap(void *p, uint64_t size)
{
	munmap(p, size);
}

struct llmc_dev_calls llmc_dev_calls = { .open = kernel_open,
					 .ioctl = kernel_ioctl,
					 .mmap = kernel_mmap,
					 .munmap = kernel_munmap };

static int enter(struct llmc *s, uint32_t nr, uint32_t flags,
		 uint64_t timeout_ns)
{
	struct llm_enter e = { .size = sizeof(e),
			       .flags = flags,
			       .to_submit = nr,
			       .timeout_ns = timeout_ns };

	return llmc_dev_calls.ioctl(s->fd, LLM_IOC_ENTER, &e);
}

/* What the kernel's no to an entry means, in words. */
static int refused(struct llmc *s, int ret)
{
	switch (ret) {
	case -EBUSY:
		return llmc_fail(-EAGAIN, "the kernel's queue of this session "
					  "is full");
	case -EAGAIN:
		return llmc_fail(-EAGAIN, "more submissions this second than "
					  "your limit allows");
	case -EDQUOT:
		return llmc_fail(-EDQUOT, "your quota of requests in flight "
					  "is used up");
	case -EINVAL:
	case -EOPNOTSUPP:
		return llmc_fail(-EINVAL, "the kernel finds the entry invalid");
	case -ENOMEM:
	case -EINTR:
		return llmc_fail(ret, "submitting: %s", strerror(-ret));
	default:
		s->gone = true;
		return llmc_fail(-EPIPE,
				 "the device serves this session no "
				 "more: %s",
				 strerror(-ret));
	}
}

static int dev_submit(struct llmc *s)
{
	int ret;

	do {
		ret = enter(s, 1, 0, 0);
	} while (ret == -EINTR);
	if (ret == 1)
		return 0;
	return refused(s, ret < 0 ? ret : -EBUSY);
}

static void dev_cancel(struct llmc *s)
{
	(void)s;
}

static uint32_t dev_head(struct llmc *s)
{
	for (; s->head != s->tail; s->head++) {
		const struct llmc_entry *e =
			&s->entry[s->head % s->su.sq_entries];
		/* pairs with the admission store, after the last copy */
		uint64_t w = shm_acquire(&s->commit[e->slot]);

		if ((int32_t)(LLM_COMMIT_GEN(w) - e->gen) < 0)
			break;
	}
	return s->head;
}

static int dev_drain(struct llmc *s)
{
	/* pairs with the kernel's release, daemon state before it */
	uint32_t epoch = shm_acquire(&s->host->epoch);

	shm_store(&s->ctl->bell_seen, shm_acquire(&s->engine->bell));
	if (shm_load(&s->ctl->epoch_seen) != epoch)
		shm_store(&s->ctl->epoch_seen, epoch);
	/* taken, then looked: pairs with the engine's commit, F, bell */
	shm_fence();
	return s->gone ? -EPIPE : 0;
}

static int dev_sleep(struct llmc *s, int timeout_ms)
{
	int ret;

	if (!timeout_ms)
		ret = shm_load(&s->engine->bell) == shm_load(&s->ctl->bell_seen)
			      ? -ETIME
			      : 0;
	else
		ret = enter(s, 0, LLM_ENTER_WAIT,
			    timeout_ms < 0 ? 0 : timeout_ms * 1000000ull);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN)
		s->gone = true;
	if (dev_drain(s))
		return -EPIPE;
	return ret >= 0;
}

static void dev_close(struct llmc *s)
{
	if (s->ctl)
		llmc_dev_calls.munmap(s->ctl, s->client_size);
	if (s->arena)
		llmc_dev_calls.munmap(s->arena, s->arena_size);
	if (s->host)
		llmc_dev_calls.munmap((void *)s->host, s->host_size);
	if (s->base)
		llmc_dev_calls.munmap((void *)s->base, s->engine_size);
	if (s->fd >= 0)
		close(s->fd);
}

static const struct carrier carrier_dev = {
	.submit = dev_submit,
	.cancel = dev_cancel,
	.head = dev_head,
	.sleep = dev_sleep,
	.drain = dev_drain,
	.close = dev_close,
};

/* ---- open ------------------------------------------------------------ */

static int set_up(struct llmc *s, const char *path)
{
	int ret = llmc_dev_calls.ioctl(s->fd, LLM_IOC_SETUP, &s->su);

	switch (ret) {
	case -ENOTTY:
	case -EPROTO:
		return llmc_fail(-EPROTO,
				 "%s is no llm.ko that this library "
				 "knows",
				 path);
	case -EDQUOT:
		return llmc_fail(ret, "your quota of sessions, or of their "
				      "memory, is used up");
	}
	if (ret < 0)
		return llmc_fail(ret, "%s: a session: %s", path,
				 strerror(-ret));
	if (!llmc_layout_sane(&s->su))
		return llmc_fail(-EPROTO, "%s: a session without its memory",
				 path);
	return 0;
}

static void *map(const struct llmc *s, int area, size_t *ret_size)
{
	uint64_t size = s->su.area_size[area];
	bool ours = area == LLM_AREA_CLIENT || area == LLM_AREA_ARENA;

	*ret_size = size;
	return llmc_dev_calls.mmap(s->fd, LLM_MMAP_OFF(area), size,
				   ours ? PROT_READ | PROT_WRITE : PROT_READ);
}

static int map_session(struct llmc *s)
{
	uint8_t *client = map(s, LLM_AREA_CLIENT, &s->client_size);

	s->ctl = (struct llm_client_ctl *)client;
	if (s->ctl)
		s->arena = map(s, LLM_AREA_ARENA, &s->arena_size);
	if (s->arena)
		s->host = map(s, LLM_AREA_HOST, &s->host_size);
	if (s->host)
		s->base = map(s, LLM_AREA_ENGINE, &s->engine_size);
	if (!s->base)
		return llmc_fail(-errno, "cannot map the session: %s",
				 strerror(errno));
	s->sqe = (struct llm_sqe *)(client + s->su.off_sq);
	s->wish = (struct llm_wish *)(client + s->su.off_wish);
	s->engine = (const struct llm_engine_ctl *)s->base;
	s->commit = (const uint64_t *)(s->base + s->su.off_commit);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/*
 * The engine tells what it serves when it takes the session over.  A wish
 * that any word meets asks to be woken then.
 */
static int await_model(struct llmc *s, const char *path)
{
	const struct llm_model *m = (const void *)(s->base + s->su.off_info);
	uint64_t begin = now_ms(), ms, patience;
	bool nobody;

	for (;;) {
		dev_drain(s);
		shm_publish(&s->wish[0].arm_want, 1ull << 32);
		shm_fence(); /* pairs with the engine's, model before, wish
			      * after it */
		if (shm_acquire(&m->vocab)) /* pairs with its last store */
			return 0;
		nobody = shm_load(&s->host->daemon) == LLM_DAEMON_NONE;
		patience = nobody ? NOBODY_MS : LOADING_MS;
		ms = now_ms() - begin;
		if (ms >= patience)
			break;
		if (dev_sleep(s, (int)(patience - ms)) < 0)
			return llmc_fail(-EPIPE,
					 "%s: the device serves this "
					 "session no more",
					 path);
	}
	if (nobody)
		return llmc_fail(-ECONNREFUSED, "no llmd serves %s", path);
	return llmc_fail(-ETIMEDOUT, "llmd has not answered in %d s",
			 LOADING_MS / 1000);
}

int llmc_dev_open(struct llmc *s, const char *path,
		  const struct llm_setup *want)
{
	int ret;

	s->carrier = &carrier_dev;
	s->fd = llmc_dev_calls.open(path);
	if (s->fd < 0) {
		ret = s->fd;
		s->fd = -1;
		return llmc_fail(ret, "%s: %s", path, strerror(-ret));
	}
	s->su = *want;
	ret = set_up(s, path);
	if (!ret)
		ret = map_session(s);
	if (!ret)
		ret = await_model(s, path);
	if (ret)
		dev_close(s);
	return ret;
}
