/* SPDX-License-Identifier: MIT */
/*
 * runtime.h - a CUDA runtime for tests, from the tests' side: what its one kind
 * of device is like, which mistakes are planted, what was counted.
 *
 * What it is stricter in than CUDA, so that a test shows what a GPU might hide:
 *   - work on a stream (kernels, copies, memset) is done when somebody waits
 *     for it and not before; until then a copy's target in host memory is NaN,
 *     and its source is read only then;
 *   - the host's side of a copy must be pinned memory (cudaErrorInvalidValue);
 *   - device memory cannot be touched by the host (SIGSEGV), is NaN when it is
 *     taken, ends at a guard page and is gone when it is freed;
 *   - a kernel that has not waited for the one before it (pdl_wait() of
 *     kernels/cuda/ptx.cuh) cannot touch an allocation that any kernel has
 *     written, or a copy since the stream's first kernel;
 *   - a copy or a memset outside an allocation, and a kernel that the emulator
 *     has something to say of, is a sticky error: from then on each call gives
 *     it, as on a GPU, until the process ends.
 *
 * One host thread at a time.
 */
#ifndef CUEMU_RUNTIME_H
#define CUEMU_RUNTIME_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fake_cuda {
	/* what there is; may be changed at any time */
	int devices;	   /* 0: cudaErrorNoDevice; -1: no fitting driver */
	size_t memory;	   /* bytes of a device */
	size_t others_use; /* of these, taken by other processes */
	/*
	 * Piece of work on a stream, counted from here, that fails and leaves
	 * a sticky error; 0: none
	 */
	long fail_at;
	/*
	 * A call that is refused each time, by its name (of graphs alone, and
	 * "launch": of a kernel while a graph is captured); NULL: none
	 */
	const char *refuse;
	int wgmma_differs; /* it rounds inside a sum otherwise than mma */
	/* counted: set to 0 at will */
	long allocations; /* of device and pinned memory */
	long launches, copies_in, copies_out, graphs, graph_launches, waits;
	size_t bytes_in;
	/* what is held now */
	size_t taken; /* bytes of device memory */
	long held;    /* allocations, streams, events, graphs */
};

/*
 * The one there is.  At first 1 device of 256 MiB, or what the environment
 * says in $LLM_FAKE_CUDA: numbers of devices, memory, others_use, fail_at in
 * this order.
 */
extern struct fake_cuda fake_cuda;

/* A new process: no sticky error, nothing planted, nothing counted. */
void fake_cuda_reset(void);

#ifdef __cplusplus
}
#endif
#endif
