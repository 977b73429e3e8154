/* SPDX-License-Identifier: MIT */
#include "daemon/model/improver.h"
#include "base/log.h"
#include "daemon/model/forward.h"
#include "kernels/ops.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NICE	10	/* a tenth of a CPU that steps want too */
#define POLL_NS 1000000 /* while a step is awaited, at begin and end only */
#define HEAD_MS 200	/* start for whom a request waits */

/*
 * The file's pages under a matrix that is read from elsewhere now: ours no
 * more, the page cache's alone.  (Rows of an embedding that is the head too
 * are found again there.)
 */
static void leave_pages(const struct weight *w)
{
	uintptr_t from = ((uintptr_t)w->data + 4095) & ~(uintptr_t)4095;
	uintptr_t to = ((uintptr_t)w->data + w->rows * w->row_stride) &
		       ~(uintptr_t)4095;

	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

static bool stopped(const struct improver *im)
{
	return atomic_load_explicit(&im->stop, memory_order_relaxed);
}

static void doze(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = POLL_NS }, NULL);
}

/* A request that waited for the service has the machine to itself. */
static void await_first_step(const struct improver *im)
{
	for (int ms = 0; ms < HEAD_MS && atomic_load(&im->steps) < 2; ms++) {
		if (stopped(im))
			return;
		doze();
	}
	while (atomic_load(&im->steps) == 1 && !stopped(im))
		doze();
}

/*
 * Until the step in flight, if one is, is over.  The next one reads nothing but
 * what was improved (fence: what is not yet counted as begun will see that);
 * on it hang the pages of `own` memory.
 */
static void await_step(const struct improver *im)
{
	unsigned int at;

	atomic_thread_fence(memory_order_seq_cst);
	at = atomic_load(&im->steps);
	while (at % 2 && atomic_load(&im->steps) == at && !stopped(im))
		doze();
}

static void *improve(void *arg)
{
	struct improver *im = arg;
	const struct forward *f = im->forward;
	uint32_t n = 0;
	int ret = 0;

	await_first_step(im);
	/* what steps do comes first (0: this thread alone) */
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICE);
	while (!stopped(im) &&
	       (ret = f->ops->improve(f->ctx, &im->done[n])) == 1) {
		if (!im->done[n].own) /* else a step may read them still */
			leave_pages(&im->done[n]);
		n++;
	}
	if (ret < 0)
		log_warn("no memory for a faster form of the weights");
	/* a step that had begun before may have mapped them again */
	await_step(im);
	while (n && !stopped(im))
		leave_pages(&im->done[--n]);
	return NULL;
}

void improver_start(struct improver *im, const struct forward *forward,
		    uint32_t nr_matrices)
{
	sigset_t all, old;

	im->forward = forward;
	im->done = calloc(nr_matrices + 1, sizeof(*im->done));
	if (!im->done)
		return;
	sigfillset(&all); /* signals are the engine's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	im->running = !pthread_create(&im->thread, NULL, improve, im);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void improver_stop(struct improver *im)
{
	if (im->running) {
		atomic_store_explicit(&im->stop, true, memory_order_relaxed);
		pthread_join(im->thread, NULL);
	}
	free(im->done);
	memset(im, 0, sizeof(*im));
}

void improver_step_begins(struct improver *im)
{
	atomic_fetch_add(&im->steps, 1);
}

void improver_step_ends(struct improver *im)
{
	atomic_fetch_add(&im->steps, 1);
}
