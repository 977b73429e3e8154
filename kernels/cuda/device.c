/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/device.h"

#include "kernels/ops.h"
#include "base/err.h"
#include "base/log.h"

#include <cuda_runtime.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum mem_kind { MEM_DEVICE, MEM_PINNED, MEM_EVENT };

struct device_mem {
	struct device_mem *next;
	void *p;
	enum mem_kind kind;
};

int device_check(struct device *d, int error)
{
	if (error == cudaSuccess && !d->broken)
		return 0;
	if (!d->broken)
		log_error("GPU %u: %s", d->number,
			  cudaGetErrorString((cudaError_t)error));
	d->broken = 1;
	return -EIO;
}

static int no_device(uint32_t n, cudaError_t error, struct err *err)
{
	return err_set(err, -ENODEV, "GPU %u: %s", n,
		       cudaGetErrorString(error));
}

/* Make @n the process's device; its properties where @prop is set. */
static int choose(uint32_t n, struct cudaDeviceProp *prop, struct err *err)
{
	int count = 0;
	cudaError_t error = cudaGetDeviceCount(&count);

	if (error)
		return no_device(n, error, err);
	if (n >= (uint32_t)count)
		return err_set(err, -ENODEV,
			       "GPU %u: there are %d, counted from 0", n,
			       count);
	error = cudaSetDevice((int)n);
	if (!error)
		error = cudaGetDeviceProperties(prop, (int)n);
	if (error)
		return no_device(n, error, err);
	if (prop->major < 8)
		return err_set(err, -ENODEV,
			       "GPU %u: %s has compute capability %d.%d, at "
			       "least 8.0 is wanted",
			       n, prop->name, prop->major, prop->minor);
	return 0;
}

int device_info(uint32_t n, struct ops_device *ret, struct err *err)
{
	struct cudaDeviceProp prop;
	size_t left, total;
	cudaError_t error;
	int r = choose(n, &prop, err);

	if (r)
		return r;
	error = cudaMemGetInfo(&left, &total);
	if (error)
		return no_device(n, error, err);
	snprintf(ret->name, sizeof(ret->name), "%.63s", prop.name);
	ret->total = total;
	ret->available = left;
	return 0;
}

int device_open(struct device *d, uint32_t n, struct err *err)
{
	struct cudaDeviceProp prop;
	cudaStream_t stream;
	cudaError_t error;
	int ret = choose(n, &prop, err);

	if (ret)
		return ret;
	error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
	if (error)
		return err_set(err, -EIO, "GPU %u: %s", n,
			       cudaGetErrorString(error));
	*d = (struct device){
		.number = n,
		.processors = prop.multiProcessorCount,
		.generation = prop.major * 10 + prop.minor,
		.stream = stream,
	};
	return 0;
}

/* What fails here has failed before and was told then. */
static void give(void *p, enum mem_kind kind)
{
	switch (kind) {
	case MEM_DEVICE:
		(void)cudaFree(p);
		break;
	case MEM_PINNED:
		(void)cudaFreeHost(p);
		break;
	case MEM_EVENT:
		(void)cudaEventDestroy(p);
		break;
	}
}

void device_close(struct device *d)
{
	struct device_mem *m, *next;

	if (!d->stream)
		return;
	(void)cudaStreamSynchronize(d->stream); /* as in give() */
	for (m = d->mem; m; m = next) {
		next = m->next;
		give(m->p, m->kind);
		free(m);
	}
	(void)cudaStreamDestroy(d->stream);
	*d = (struct device){ 0 };
}

static void *keep(struct device *d, void *p, enum mem_kind kind,
		  struct err *err)
{
	struct device_mem *m = malloc(sizeof(*m));

	if (!m) {
		give(p, kind);
		err_set(err, -ENOMEM, "GPU %u: no memory", d->number);
		return NULL;
	}
	*m = (struct device_mem){ .next = d->mem, .p = p, .kind = kind };
	d->mem = m;
	return p;
}

static void *take(struct device *d, size_t size, enum mem_kind kind,
		  struct err *err)
{
	int pinned = kind == MEM_PINNED;
	void *p = NULL;
	cudaError_t error;

	size = size ? size : 1;
	error = pinned ? cudaHostAlloc(&p, size, cudaHostAllocDefault)
		       : cudaMalloc(&p, size);
	if (error) {
		(void)cudaGetLastError(); /* it is no error of the device */
		err_set(err, -ENOMEM, "GPU %u: %.1f MiB of %s memory: %s",
			d->number, (double)size / (1 << 20),
			pinned ? "pinned" : "device",
			cudaGetErrorString(error));
		return NULL;
	}
	return keep(d, p, kind, err);
}

void *device_take(struct device *d, size_t size, struct err *err)
{
	void *p = take(d, size, MEM_DEVICE, err);

	if (!p)
		return NULL;
	if (device_check(d, cudaMemsetAsync(p, 0, size, d->stream))) {
		err_set(err, -EIO, "GPU %u: it failed, see the log", d->number);
		return NULL; /* device_close() has it */
	}
	return p;
}

void *device_take_pinned(struct device *d, size_t size, struct err *err)
{
	return take(d, size, MEM_PINNED, err);
}

void *device_take_event(struct device *d, struct err *err)
{
	cudaEvent_t event;

	if (device_check(d, cudaEventCreateWithFlags(&event,
						     cudaEventDisableTiming))) {
		err_set(err, -EIO, "GPU %u: no event", d->number);
		return NULL;
	}
	return keep(d, event, MEM_EVENT, err);
}

int device_send(struct device *d, void *dst, const void *src, size_t size)
{
	return device_check(d,
			    cudaMemcpyAsync(dst, src, size,
					    cudaMemcpyHostToDevice, d->stream));
}

int device_fetch(struct device *d, void *dst, const void *src, size_t size)
{
	return device_check(d,
			    cudaMemcpyAsync(dst, src, size,
					    cudaMemcpyDeviceToHost, d->stream));
}

int device_wait(struct device *d)
{
	return device_check(d, cudaStreamSynchronize(d->stream));
}

int device_record(struct device *d, void *event)
{
	return device_check(d, cudaEventRecord(event, d->stream));
}

int device_wait_for(struct device *d, void *event)
{
	return device_check(d, cudaEventSynchronize(event));
}

int device_started(struct device *d, int ret)
{
	cudaError_t error;

	if (!ret)
		return 0;
	/* sizes were checked at open: a kernel refuses none of ours */
	assert(ret == -EIO);
	if (d->recording)
		return ret;
	error = cudaGetLastError();
	return device_check(d, error ? error : cudaErrorUnknown);
}
