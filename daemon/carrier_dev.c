/* SPDX-License-Identifier: MIT */
/*
 * The order of loads and stores is the contract's (llm.h, its head):
 *   take   ring tail acq -> the item, plainly   pairs with: the kernel's tail
 *                                               rel after it filled the item
 *   ack    ring head rel                        pairs with: the kernel's acq
 *                                               before it fills the place anew
 *   flush  bell word rel -> WAKE                the kernel fences in WAKE and
 *                                               looks who sleeps; a sleeper
 *                                               queues, fences, reads the bell
 * The head is the acknowledgement: what it has not passed when this process
 * dies, the module gives to the next one.
 *
 * Ring words are the kernel's, and believed.  Session pages are not: nothing
 * here reads one.
 */
#include "daemon/carrier_dev.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/handover.h"
#include "daemon/idmap.h"
#include "daemon/view.h"
#include "llm_shm.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define OPEN_BATCH 64u /* sessions opened between two waits */
/* An engine that never sleeps looks this often whether the keeper hung up. */
#define LOOK_NS	   20000000u
#define DONT_SLEEP (~0ull) /* llmd_take.timeout_ns */

struct held {
	struct session s;
	struct view view; /* owned */
	bool waking;	  /* in `wake_id` */
};

enum { ON_DEVICE, ON_CTL, ON_KICK, NR_FDS };

struct dev {
	struct carrier c; /* first: carrier_dev is a carrier */
	const struct dev_calls *calls;
	struct board *board;
	struct pollfd fd[NR_FDS]; /* owned */
	bool told_ready, ended;
	uint64_t looked_ns;
	/* written by: the kernel.  Mapped read-only; owned */
	const struct llmd_ring_hdr *ring;
	const struct llmd_work *work; /* [entries] */
	/* written by: us; read by: the kernel, acquire.  Owned */
	struct llmd_ctl *ctl;
	size_t ring_size;
	uint32_t entries;
	uint32_t pos;  /* items handed out; ctl->head follows */
	uint32_t tail; /* as last seen */
	bool owed;     /* entries are handed out and not acknowledged */
	uint32_t open_budget;
	struct idmap ids;   /* owned */
	struct held **held; /* owned: [cap] owned; NULL: a free index */
	uint32_t cap, nr_free, *free_index; /* owned: [cap] */
	uint64_t *wake_id; /* owned: [cap], each session once at most */
	uint32_t nr_wake;
	int64_t retiring; /* CLOSE was given out; -1: none */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int call(struct dev *k, unsigned long op, void *arg)
{
	return k->calls->ioctl(k->fd[ON_DEVICE].fd, op, arg);
}

/* ---- sessions -------------------------------------------------------- */

/* Room for twice as many; what is there stays where it is. */
static int grow(struct dev *k)
{
	uint32_t cap = k->cap ? 2 * k->cap : 64, i;
	void *p;

	p = realloc(k->held, cap * sizeof(*k->held));
	if (!p)
		return -ENOMEM;
	k->held = p;
	p = realloc(k->free_index, cap * sizeof(*k->free_index));
	if (!p)
		return -ENOMEM;
	k->free_index = p;
	p = realloc(k->wake_id, cap * sizeof(*k->wake_id));
	if (!p)
		return -ENOMEM;
	k->wake_id = p;
	for (i = cap; i-- > k->cap;) {
		k->held[i] = NULL;
		k->free_index[k->nr_free++] = i;
	}
	k->cap = cap;
	return 0;
}

/* Map what @w tells of; NULL where it is gone again, or cannot be had. */
static struct session *session_open(struct dev *k, const struct llmd_work *w)
{
	struct err err = { 0 };
	struct held *h;
	uint32_t index;
	int ret;

	if (idmap_find(&k->ids, w->session, &index))
		return NULL; /* told twice */
	ret = k->nr_free ? 0 : grow(k);
	if (!ret)
		ret = idmap_reserve(&k->ids);
	h = ret ? NULL : calloc(1, sizeof(*h));
	if (!h)
		ret = err_set(&err, -ENOMEM, "no memory");
	else
		ret = view_open(&h->view, k->calls, k->fd[ON_DEVICE].fd,
				w->session, &err);
	if (ret) {
		free(h);
		if (ret != -ENOENT) /* else its CLOSE is on the way */
			log_error("session %llu is not served: %s",
				  (unsigned long long)w->session, err.text);
		return NULL;
	}
	index = k->free_index[--k->nr_free];
	view_session(&h->view, &h->s);
	h->s.id = w->session;
	h->s.tenant = w->tenant;
	h->s.uid = w->uid;
	h->s.index = index;
	k->held[index] = h;
	idmap_add(&k->ids, w->session, index);
	return &h->s;
}

static struct session *session_find(struct dev *k, uint64_t id)
{
	uint32_t index;

	return idmap_find(&k->ids, id, &index) ? &k->held[index]->s : NULL;
}

/* The caller has done with the session whose CLOSE it got. */
static void retire(struct dev *k)
{
	struct held *h;
	uint32_t i;

	if (k->retiring < 0)
		return;
	h = k->held[k->retiring];
	for (i = 0; h->waking && i < k->nr_wake; i++)
		if (k->wake_id[i] == h->s.id)
			k->wake_id[i--] = k->wake_id[--k->nr_wake];
	idmap_remove(&k->ids, h->s.id);
	k->held[k->retiring] = NULL;
	k->free_index[k->nr_free++] = (uint32_t)k->retiring;
	k->retiring = -1;
	view_close(&h->view, k->calls);
	free(h);
}

/* ---- the keeper ------------------------------------------------------ */

static void tell_ready(struct dev *k)
{
	struct handover_msg m = { .kind = HANDOVER_READY };

	/* pairs with the engine's publish */
	if (k->told_ready || !shm_acquire(&k->board->ready))
		return;
	k->told_ready = true;
	/* a keeper that is gone takes us along (PDEATHSIG) */
	(void)!send(k->fd[ON_CTL].fd, &m, sizeof(m), MSG_NOSIGNAL);
}

/* That a message woke us is all of it; the end of them is ours. */
static void hear_keeper(struct dev *k)
{
	struct handover_msg m;
	ssize_t n;

	do {
		n = recv(k->fd[ON_CTL].fd, &m, sizeof(m), MSG_DONTWAIT);
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n == 0 || errno != EAGAIN)
		k->ended = true;
}

/* ---- take, ack ------------------------------------------------------- */

static void stamp(struct carrier_work *w, const struct llmd_work *item)
{
	w->weight = item->weight;
	w->token_rate = item->token_rate;
}

/* What the next item is: 1 to hand it out, 0 where it says nothing to us. */
static int take_item(struct dev *k, const struct llmd_work *item,
		     struct carrier_work *w)
{
	switch (item->kind) {
	case LLMD_WORK_OPEN:
		w->kind = CARRIER_OPEN;
		w->session = session_open(k, item);
		stamp(w, item);
		k->open_budget--;
		return w->session != NULL;
	case LLMD_WORK_CLOSE:
		w->kind = CARRIER_CLOSE;
		w->session = session_find(k, item->session);
		if (w->session)
			k->retiring = w->session->index;
		return w->session != NULL;
	case LLMD_WORK_SQE:
		w->kind = CARRIER_SQE;
		w->session = session_find(k, item->session);
		if (!w->session) /* not served: told when it opened */
			return 0;
		/* the kernel's copy, still until our head passes it */
		w->sqe = item->sqe;
		stamp(w, item);
		k->owed = true;
		shm_add(&k->board->info.bells, 1);
		return 1;
	default: /* a later module's; it may not matter to us */
		return 0;
	}
}

static bool ring_empty(struct dev *k)
{
	if (k->pos == k->tail)
		/* pairs with the kernel's release; the items are there */
		k->tail = shm_acquire(&k->ring->tail);
	return k->pos == k->tail;
}

static int dev_take(struct carrier *c, struct carrier_work *w)
{
	struct dev *k = (struct dev *)c;
	const struct llmd_work *item;

	retire(k);
	tell_ready(k);
	while (!shm_load(&k->board->draining) && !ring_empty(k)) {
		item = &k->work[k->pos & (k->entries - 1)];
		if (item->kind == LLMD_WORK_OPEN && !k->open_budget)
			return 0;
		k->pos++;
		if (take_item(k, item, w))
			return 1;
	}
	return 0;
}

static void dev_ack(struct carrier *c)
{
	struct dev *k = (struct dev *)c;

	k->owed = false;
	/* pairs with the kernel's acquire: admitted is what it has passed */
	shm_publish(&k->ctl->head, k->pos);
}

/* ---- wake ------------------------------------------------------------ */

static void dev_wake(struct carrier *c, struct session *s)
{
	struct dev *k = (struct dev *)c;
	struct held *h = k->held[s->index];

	if (h->waking)
		return;
	h->waking = true;
	k->wake_id[k->nr_wake++] = s->id;
}

static uint32_t dev_flush(struct carrier *c)
{
	struct dev *k = (struct dev *)c;
	uint32_t nr = k->nr_wake, i, n;
	struct session *s;

	for (i = 0; i < nr; i++) {
		s = session_find(k, k->wake_id[i]);
		k->held[s->index]->waking = false;
		shm_publish(&s->engine->bell, shm_load(&s->engine->bell) + 1);
	}
	for (i = 0; i < nr; i += n) {
		struct llmd_wake u = { .size = sizeof(u) };

		n = nr - i < LLM_MAX_WAKE ? nr - i : LLM_MAX_WAKE;
		u.nr = n;
		u.ids = (uintptr_t)&k->wake_id[i];
		/* those that are gone meanwhile need none */
		call(k, LLMD_IOC_WAKE, &u);
	}
	k->nr_wake = 0;
	return nr;
}

/* ---- wait ------------------------------------------------------------ */

/* Sleep in poll(); what woke us is looked at. */
static void nap(struct dev *k, uint64_t deadline_ns, uint64_t now)
{
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	struct timespec t = { (time_t)(left / 1000000000u),
			      (long)(left % 1000000000u) };
	uint64_t count;
	int n;

	/* draining: what waits in the ring is not ours to take */
	k->fd[ON_DEVICE].events = shm_load(&k->board->draining) ? 0
								: (short)POLLIN;
	n = ppoll(k->fd, NR_FDS, deadline_ns == UINT64_MAX ? NULL : &t, NULL);
	if (n <= 0)
		return;
	if (k->fd[ON_CTL].revents)
		hear_keeper(k);
	if (k->fd[ON_KICK].revents)
		(void)!read(k->fd[ON_KICK].fd, &count, sizeof(count));
	if (k->fd[ON_DEVICE].revents & (POLLERR | POLLHUP | POLLNVAL)) {
		log_error("the module takes us for broken");
		k->ended = true;
	}
}

static int dev_wait(struct carrier *c, uint64_t deadline_ns)
{
	struct llmd_take pump = { .size = sizeof(pump),
				  .timeout_ns = DONT_SLEEP };
	struct dev *k = (struct dev *)c;
	bool draining = shm_load(&k->board->draining);
	uint64_t now;

	retire(k);
	tell_ready(k);
	k->open_budget = OPEN_BATCH;
	if (!k->owed && k->ctl->head != k->pos) /* OPEN, CLOSE, and void ones */
		dev_ack(c);
	/* there was no room for all; now there is */
	if (!draining && shm_load(&k->ring->flags) & LLMD_RING_F_OVERFLOW)
		call(k, LLMD_IOC_TAKE, &pump);
	if (k->ended || (!draining && !ring_empty(k)))
		deadline_ns = 0;
	now = now_ns();
	if (deadline_ns > now || now - k->looked_ns >= LOOK_NS) {
		k->looked_ns = now;
		nap(k, deadline_ns, now);
	}
	return k->ended ? -ESHUTDOWN : 0;
}

static void dev_kick(struct carrier *c)
{
	struct dev *k = (struct dev *)c;
	uint64_t one = 1;

	/* EAGAIN: it is rung already */
	(void)!write(k->fd[ON_KICK].fd, &one, sizeof(one));
}

/* ---- open, close ----------------------------------------------------- */

static void dev_close(struct carrier *c)
{
	struct dev *k = (struct dev *)c;
	uint32_t i;

	for (i = 0; i < k->cap; i++)
		if (k->held[i]) {
			view_close(&k->held[i]->view, k->calls);
			free(k->held[i]);
		}
	free(k->held);
	free(k->free_index);
	free(k->wake_id);
	idmap_deinit(&k->ids);
	if (k->ring)
		k->calls->munmap((void *)k->ring, k->ring_size);
	if (k->ctl)
		k->calls->munmap(k->ctl, sizeof(*k->ctl));
	for (i = 0; i < NR_FDS; i++)
		if (k->fd[i].fd >= 0)
			close(k->fd[i].fd);
	free(k);
}

static int attach(struct dev *k, struct err *err)
{
	struct llmd_attach a = { .size = sizeof(a), .abi = LLM_ABI_VERSION };
	int ret = call(k, LLMD_IOC_ATTACH, &a);

	if (ret < 0)
		return err_set(err, ret, "attaching to the device: %s%s",
			       strerror(-ret),
			       ret == -EINVAL || ret == -EPROTO
				       ? " (llm.ko of another version?)"
				       : "");
	if (!a.ring_entries || a.ring_entries & (a.ring_entries - 1))
		return err_set(err, -EPROTO,
			       "the module's ring has %u entries, not a power "
			       "of two",
			       a.ring_entries);
	shm_store(&k->board->epoch, a.epoch);
	k->entries = a.ring_entries;
	k->ring_size =
		LLMD_RING_HDR + (size_t)k->entries * sizeof(struct llmd_work);
	k->ring_size = (k->ring_size + 4095) & ~(size_t)4095;
	k->ring = k->calls->mmap(k->fd[ON_DEVICE].fd,
				 LLM_MMAP_OFF(LLMD_AREA_RING), k->ring_size,
				 PROT_READ);
	if (k->ring)
		k->ctl = k->calls->mmap(k->fd[ON_DEVICE].fd,
					LLM_MMAP_OFF(LLMD_AREA_CTL),
					sizeof(*k->ctl),
					PROT_READ | PROT_WRITE);
	if (!k->ctl)
		return err_set(err, -errno, "mapping the device: %s",
			       strerror(errno));
	k->work = (const struct llmd_work *)((const uint8_t *)k->ring +
					     LLMD_RING_HDR);
	k->pos = k->tail = k->ctl->head;
	return 0;
}

int carrier_dev_start(const struct handover *in, const struct dev_calls *calls,
		      struct carrier **ret, struct err *err)
{
	struct dev *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_set(err, -ENOMEM, "carrier: out of memory");
	k->c = (struct carrier){ .take = dev_take,
				 .ack = dev_ack,
				 .wake = dev_wake,
				 .flush = dev_flush,
				 .wait = dev_wait,
				 .kick = dev_kick,
				 .close = dev_close };
	k->calls = calls ? calls : &dev_calls_kernel;
	k->board = in->board;
	k->retiring = -1;
	k->open_budget = OPEN_BATCH;
	k->fd[ON_DEVICE].fd = in->device;
	k->fd[ON_CTL] = (struct pollfd){ in->ctl, POLLIN, 0 };
	k->fd[ON_KICK].events = POLLIN;
	k->fd[ON_KICK].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->fd[ON_KICK].fd < 0)
		r = err_set(err, -errno, "eventfd: %s", strerror(errno));
	else
		r = attach(k, err);
	if (r) {
		dev_close(&k->c);
		return r;
	}
	*ret = &k->c;
	return 0;
}
