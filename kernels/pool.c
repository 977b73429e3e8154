/* SPDX-License-Identifier: MIT */
/*
 * A region's life is one 64-bit word, `door`:
 *
 *	generation (32) | open (1) | threads inside (31)
 *
 * The caller fills the job, then stores (generation + 1, open, 0) with
 * release.  A worker enters by a compare-and-swap that adds one while the
 * door is open (acquire: it sees the job), takes items, leaves by subtracting
 * one (release: the caller, who waits for 0 after shutting the door, sees its
 * results).  The job is never changed while somebody is inside or may enter.
 *
 * Is it worth it?  On a machine with other work a thread that took an item may
 * be put aside for milliseconds, and the caller waits.  So the pool keeps
 * account: what the workers did, in the caller's time, against what the caller
 * spent on waking and waiting for them.  Where that ends in debt, the caller
 * computes alone for many times as long (account()).
 */
#include "kernels/pool.h"

#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OPEN   0x80000000ull
#define INSIDE 0x7fffffffull
/* the account: what may be saved up, owed, and how long a debt is remembered */
#define CREDIT_NS    5000000
#define DEBT_NS	     200000
#define ALONE_TIMES  50
#define ALONE_MAX_NS 1000000000ull

/* Items left of a thread's own share; a line each, they are hot. */
struct share {
	_Alignas(64) _Atomic uint32_t next;
	uint32_t end;
};

struct pool {
	_Alignas(64) _Atomic uint64_t door;
	/* futex words, each bumped by whoever has news for its sleepers */
	_Alignas(64) _Atomic uint32_t begun; /* workers sleep here */
	_Atomic uint32_t sleepers;
	_Alignas(64) _Atomic uint32_t left; /* the caller sleeps here */
	_Atomic uint32_t caller_sleeps;
	_Atomic int stopping;

	/* the job: written by the caller while the door is shut and empty */
	pool_fn *fn;
	void *arg;
	uint32_t grain;
	struct share *share;	    /* [nr_threads] */
	_Atomic uint64_t helped_ns; /* workers inside: their time */

	/* account(); the caller's own */
	int64_t balance_ns;
	uint64_t alone_until_ns; /* 0: not alone */

	uint32_t nr_threads, nr_workers; /* workers: those that were started */
	uint32_t spins;			 /* pauses in POOL_SPIN_US */
	struct worker *worker;
};

struct worker {
	struct pool *pool;
	uint32_t thread;
	pthread_t id;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* How many pauses fill POOL_SPIN_US: 3 to 140 cycles each, by model. */
static uint32_t calibrate(void)
{
	uint64_t best = UINT64_MAX;

	for (int round = 0; round < 5; round++) {
		uint64_t t = now_ns();

		for (int i = 0; i < 200; i++)
			pause_cpu();
		t = now_ns() - t;
		best = t < best ? t : best;
	}
	return (uint32_t)(POOL_SPIN_US * 200 * 1000 / (best + 1)) + 1;
}

/* The quota of the cgroup in CPUs, rounded up; 0 = none is set. */
static uint32_t quota_cpus(void)
{
	char line[256], path[320] = "/sys/fs/cgroup";
	long long quota, period;
	FILE *f = fopen("/proc/self/cgroup", "re");
	int n;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::", 3)) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(path, sizeof(path), "/sys/fs/cgroup%s",
				 line + 3);
		}
	if (f)
		fclose(f);
	strncat(path, "/cpu.max", sizeof(path) - strlen(path) - 1);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fscanf(f, "%lld %lld", &quota, &period); /* "max 100000": 0 read */
	fclose(f);
	if (n != 2 || quota <= 0 || period <= 0)
		return 0;
	return (uint32_t)((quota + period - 1) / period);
}

uint32_t pool_cpus(void)
{
	cpu_set_t set;
	uint32_t cpus = 1, quota = quota_cpus();

	if (!sched_getaffinity(0, sizeof(set), &set))
		cpus = (uint32_t)CPU_COUNT(&set);
	if (quota && quota < cpus)
		cpus = quota;
	if (cpus > POOL_MAX_THREADS)
		cpus = POOL_MAX_THREADS;
	return cpus ? cpus : 1;
}

/*
 * Take items until there are none: of one's own share, then of the others.
 * Returns how many.
 */
static uint32_t work(struct pool *p, uint32_t thread)
{
	uint32_t taken = 0;

	for (uint32_t i = 0; i < p->nr_threads; i++) {
		struct share *s = &p->share[(thread + i) % p->nr_threads];

		/* looked at first: `next` stays within end + threads * grain */
		while (atomic_load_explicit(&s->next, memory_order_relaxed) <
		       s->end) {
			uint32_t end, first = atomic_fetch_add_explicit(
					      &s->next, p->grain,
					      memory_order_relaxed);

			if (first >= s->end)
				break;
			end = first + p->grain;
			if (s->end - first < p->grain)
				end = s->end;
			p->fn(p->arg, thread, first, end);
			taken += end - first;
		}
	}
	return taken;
}

/* Enter if the door is open and not of @done; 1 if entered. */
static int enter(struct pool *p, uint32_t *done)
{
	uint64_t d = atomic_load_explicit(&p->door, memory_order_acquire);

	while (d & OPEN && (uint32_t)(d >> 32) != *done)
		if (atomic_compare_exchange_weak_explicit(
			    &p->door, &d, d + 1, memory_order_acquire,
			    memory_order_acquire)) {
			*done = (uint32_t)(d >> 32);
			return 1;
		}
	return 0;
}

/* A worker's part of a region, between enter() and the door. */
static void help(struct pool *p, uint32_t thread)
{
	uint64_t t = now_ns(), d;

	work(p, thread);
	atomic_fetch_add_explicit(&p->helped_ns, now_ns() - t,
				  memory_order_relaxed);
	d = atomic_fetch_sub(&p->door, 1); /* pairs with shut() */

	if ((d & INSIDE) == 1 && !(d & OPEN)) {
		atomic_fetch_add(&p->left, 1);
		if (atomic_load(&p->caller_sleeps))
			futex_wake(&p->left, 1);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	uint32_t done = 0;

	while (!atomic_load_explicit(&p->stopping, memory_order_relaxed)) {
		uint32_t spin, begun;

		for (spin = 0; spin < p->spins; spin++) {
			if (enter(p, &done)) {
				help(p, w->thread);
				spin = 0;
			}
			pause_cpu();
		}
		/*
		 * Sleep.  pool_run() opens the door, bumps `begun`, then looks
		 * at `sleepers`; we do it the other way round, so one sees the
		 * other (all of it sequentially consistent).
		 */
		atomic_fetch_add(&p->sleepers, 1);
		begun = atomic_load(&p->begun);
		if (enter(p, &done)) {
			atomic_fetch_sub(&p->sleepers, 1);
			help(p, w->thread);
			continue;
		}
		if (!atomic_load(&p->stopping))
			futex_wait(&p->begun, begun);
		atomic_fetch_sub(&p->sleepers, 1);
	}
	return NULL;
}

/* Shut the door and wait until nobody is inside. */
static void shut(struct pool *p)
{
	uint64_t d = atomic_fetch_and(&p->door, ~OPEN);

	for (uint32_t spin = 0; d & INSIDE && spin < p->spins; spin++) {
		pause_cpu();
		d = atomic_load_explicit(&p->door, memory_order_acquire);
	}
	if (!(d & INSIDE))
		return;
	atomic_store(&p->caller_sleeps, 1);
	for (;;) {
		uint32_t left = atomic_load(&p->left);

		if (!(atomic_load(&p->door) & INSIDE))
			break;
		futex_wait(&p->left, left);
	}
	atomic_store(&p->caller_sleeps, 0);
}

/*
 * A region took the caller @busy_ns for @taken of @nr_items, and @lost_ns for
 * waking and waiting.  What the workers did would have cost the caller about
 * their own time, or its own price an item, whichever is less: either of the
 * two may have been put aside meanwhile, hardly both.  A worker that was put
 * aside costs milliseconds at once, gains come by microseconds: so a debt is
 * paid by staying alone ALONE_TIMES as long, and costs 2 % at most.
 */
static void account(struct pool *p, uint32_t taken, uint32_t nr_items,
		    uint64_t busy_ns, uint64_t lost_ns)
{
	uint64_t helped =
		atomic_load_explicit(&p->helped_ns, memory_order_relaxed);
	double price = taken ? (double)busy_ns / taken : 1e18;
	double saved = price * (nr_items - taken);
	uint64_t alone_ns;

	saved = saved < (double)helped ? saved : (double)helped;
	p->balance_ns += (int64_t)saved - (int64_t)lost_ns;
	if (p->balance_ns > CREDIT_NS)
		p->balance_ns = CREDIT_NS;
	if (p->balance_ns > -DEBT_NS)
		return;
	alone_ns = (uint64_t)-p->balance_ns * ALONE_TIMES;
	p->alone_until_ns =
		now_ns() + (alone_ns < ALONE_MAX_NS ? alone_ns : ALONE_MAX_NS);
	p->balance_ns = 0;
}

static int alone(struct pool *p)
{
	if (!p->alone_until_ns)
		return 0;
	if (now_ns() < p->alone_until_ns)
		return 1;
	p->alone_until_ns = 0;
	return 0;
}

/* Each thread's own items, in whole grains. */
static void deal(struct pool *p, uint32_t nr_items, uint32_t grains)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < p->nr_threads; i++) {
		uint64_t end =
			(uint64_t)grains * (i + 1) / p->nr_threads * p->grain;

		end = end < nr_items ? end : nr_items;
		atomic_store_explicit(&p->share[i].next, first,
				      memory_order_relaxed);
		p->share[i].end = (uint32_t)end;
		first = (uint32_t)end;
	}
}

void pool_run(struct pool *p, pool_fn *fn, void *arg, uint32_t nr_items,
	      uint32_t grain)
{
	uint32_t grains = nr_items / grain + (nr_items % grain != 0), taken;
	uint64_t door, begin, awake, done;

	if (!nr_items)
		return;
	if (!p || !p->nr_workers || grains <= 1 || alone(p)) {
		fn(arg, 0, 0, nr_items);
		return;
	}
	begin = now_ns();
	p->fn = fn;
	p->arg = arg;
	p->grain = grain;
	atomic_store_explicit(&p->helped_ns, 0, memory_order_relaxed);
	deal(p, nr_items, grains);
	door = atomic_load_explicit(&p->door, memory_order_relaxed);
	atomic_store(&p->door, ((door >> 32) + 1) << 32 | OPEN);
	atomic_fetch_add(&p->begun, 1);
	if (atomic_load(&p->sleepers))
		futex_wake(&p->begun, grains - 1 < p->nr_workers
					      ? (int)grains - 1
					      : INT_MAX);
	awake = now_ns();
	taken = work(p, 0);
	done = now_ns();
	shut(p);
	account(p, taken, nr_items, done - awake,
		(awake - begin) + (now_ns() - done));
}

int pool_open(uint32_t threads, struct pool **ret_pool, struct err *err)
{
	struct pool *p;

	if (!threads)
		threads = pool_cpus();
	if (threads > POOL_MAX_THREADS)
		return err_set(err, -EINVAL, "%u threads, allowed 1..%u",
			       threads, POOL_MAX_THREADS);
	p = aligned_alloc(64, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "no memory for threads");
	memset(p, 0, sizeof(*p));
	p->nr_threads = threads;
	p->spins = calibrate();
	p->share = aligned_alloc(64, threads * sizeof(*p->share));
	p->worker = calloc(threads, sizeof(*p->worker));
	if (!p->share || !p->worker) {
		pool_close(p);
		return err_set(err, -ENOMEM, "no memory for threads");
	}
	for (uint32_t i = 1; i < threads; i++) {
		struct worker *w = &p->worker[i];
		int ret;

		w->pool = p;
		w->thread = i;
		ret = pthread_create(&w->id, NULL, worker_main, w);
		if (ret) {
			pool_close(p);
			return err_set(err, -ret, "thread %u of %u: %s", i,
				       threads, strerror(ret));
		}
		p->nr_workers++;
	}
	*ret_pool = p;
	return 0;
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	atomic_store(&p->stopping, 1);
	atomic_fetch_add(&p->begun, 1);
	futex_wake(&p->begun, INT_MAX);
	for (uint32_t i = 1; i <= p->nr_workers; i++)
		pthread_join(p->worker[i].id, NULL);
	free(p->worker);
	free(p->share);
	free(p);
}

uint32_t pool_threads(const struct pool *p)
{
	return p ? p->nr_threads : 1;
}
