/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the threads of the CPU op sets: one caller and nr_threads - 1
 * workers that share out the items of a region.
 *
 * The service shares its machine with its clients, so nobody waits for a
 * thread that the system has not scheduled: the caller takes items itself,
 * each thread has its own contiguous share (its rows stay in its cache and on
 * its node) and takes from the others' when it is done, and a region is over
 * when the items are, not when every worker has shown up.  A worker that
 * comes late finds the door shut.  Nobody spins for longer than POOL_SPIN_US;
 * then it sleeps in the kernel, so an idle pool uses no CPU.  Where the other
 * CPUs turn out to be too busy to help, the caller computes alone for a while.
 *
 * Results must not depend on who computes an item; that is the caller's
 * affair.  One thread calls pool_run(); the function may not call it again.
 */
#ifndef KERNELS_POOL_H
#define KERNELS_POOL_H

#include <stdint.h>

struct pool;
struct err;

#define POOL_SPIN_US	 20 /* about what a sleep and a wake-up cost */
#define POOL_MAX_THREADS 256u

/*
 * Items [first, end) of a region, on thread @thread (0 = the caller; below
 * pool_threads()), which only indexes scratch memory.
 */
typedef void pool_fn(void *arg, uint32_t thread, uint32_t first, uint32_t end);

/*
 * CPUs this process may use: of its affinity mask, but no more than the quota
 * of its cgroup (v2) pays for, rounded up.  At least 1.
 */
uint32_t pool_cpus(void);

/* @threads: caller included, 0 = pool_cpus().  0, -ENOMEM or -EAGAIN */
int pool_open(uint32_t threads, struct pool **ret_pool, struct err *err);
void pool_close(struct pool *pool); /* NULL is fine */
uint32_t pool_threads(const struct pool *pool);

/*
 * Call @fn until items 0..nr_items-1 are done, @grain (>= 1) at a time; all
 * that they wrote is visible on return.  A region of one grain runs on the
 * caller alone: choose @grain so that it is worth handing over (3 us).
 */
void pool_run(struct pool *pool, pool_fn *fn, void *arg, uint32_t nr_items,
	      uint32_t grain);

#endif
