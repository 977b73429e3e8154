/* SPDX-License-Identifier: MIT */
/*
 * device.h - a GPU as the op set uses it: one stream, on which everything
 * happens in the order it was asked for, and memory that lives until close.
 * The one place (with graph.c) that calls the CUDA runtime.
 *
 * One thread.  A call that fails after open leaves one line in the log, is
 * -EIO from then on (CUDA keeps such an error until the process ends) and the
 * device is good for device_close() only.
 */
#ifndef KERNELS_CUDA_DEVICE_H
#define KERNELS_CUDA_DEVICE_H

#include <stddef.h>
#include <stdint.h>

struct device_mem;
struct err;
struct ops_device;

struct device {
	uint32_t number;
	int processors;		/* streaming multiprocessors */
	int generation;		/* compute capability, times 10 */
	void *stream;		/* cudaStream_t */
	struct device_mem *mem; /* owned: all that was taken */
	int broken;		/* the error was logged */
	int recording;		/* kernels go into a graph: graph.c */
};

/* What device @n is; -ENODEV and what is missing: a driver, a device, memory */
int device_info(uint32_t n, struct ops_device *ret, struct err *err);

/* Begin to use device @n, in this process for good.  -ENODEV, -EIO */
int device_open(struct device *d, uint32_t n, struct err *err);
/* Wait for the stream and give all back; harmless on an empty one. */
void device_close(struct device *d);

/*
 * @size bytes of the device, zero once the stream has come so far, or of
 * pinned host memory that copies may use; at a multiple of 256.  NULL and
 * -ENOMEM in @err where there is none.  Only before the first step.
 */
void *device_take(struct device *d, size_t size, struct err *err);
void *device_take_pinned(struct device *d, size_t size, struct err *err);

/* An event, which lives until close as well.  NULL and -EIO in @err */
void *device_take_event(struct device *d, struct err *err);

/*
 * On the stream; the host's side is pinned and stays as it is until a wait.
 * 0 or -EIO.
 */
int device_send(struct device *d, void *dst, const void *src, size_t size);
int device_fetch(struct device *d, void *dst, const void *src, size_t size);

/* Until all that was asked for is done. */
int device_wait(struct device *d);

/* The event is what was asked for until now; until that is done. */
int device_record(struct device *d, void *event);
int device_wait_for(struct device *d, void *event);

/*
 * What a kernel's start returned: 0, or -EIO, told in the log (not while a graph
 * is recorded, which may fail and leaves the device as good as it was).
 */
int device_started(struct device *d, int ret);

/* @error of the runtime, a cudaError_t: 0, or -EIO, told in the log. */
int device_check(struct device *d, int error);

#endif
