/* SPDX-License-Identifier: MIT */
/*
 * graph.h - the layers of a step as one CUDA graph, so that the device has not
 * to wait for the host to start each kernel.
 *
 * There is a graph for each of a few numbers of rows; a step runs in the next
 * larger one.  It holds what the same calls would have started, recorded at the
 * first such step, and is then started again and again: all that changes from
 * step to step is in the image (image.h).  Rows past the step's are computed and
 * read by nobody; bits do not depend on it, for a row has its own.
 *
 * A graph is recorded when it is first wanted (some milliseconds, and memory of
 * the driver's for some 200 kernels) and not at open: a service meets a few of
 * these sizes.
 */
#ifndef KERNELS_CUDA_GRAPH_H
#define KERNELS_CUDA_GRAPH_H

#include <stdint.h>

struct device;

#define GRAPH_SIZES 13

struct graphs {
	void *exec[GRAPH_SIZES]; /* owned: cudaGraphExec_t */
	int off;		 /* no more are recorded: one failed */
};

/* Which graph has @rows; -1: none, they are too many. */
int graph_of(uint32_t rows);
/* The rows that graph @i computes. */
uint32_t graph_rows(int i);

/*
 * Start graph @i, recorded by record(@arg) if it was not yet.  1: it was
 * started; 0: there is none, which was told in the log once, and the step may go
 * on without; or -EIO.
 */
int graph_run(struct graphs *g, struct device *d, int i,
	      int (*record)(void *arg), void *arg);

void graphs_close(struct graphs *g); /* what is under way ends all the same */

#endif
