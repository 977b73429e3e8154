/* SPDX-License-Identifier: MIT */
/* runtime.cu - the CUDA runtime on the host (runtime.h says how it behaves). */
#include "tests/cuemu/runtime.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>

/* A piece of work; issue: at once when it is put on a stream. */
struct piece {
	std::function<void()> issue;
	std::function<cudaError_t()> run;
};

struct fake_stream {
	std::deque<piece> queue;
	long done;    /* pieces, since it was made */
	bool kernels; /* there was one among them */
	fake_graph *capture;
};

/* Of a stream's first @at pieces. */
struct fake_event {
	fake_stream *stream;
	long at;
};

struct fake_graph {
	std::vector<piece> pieces;
	bool invalid;
};

struct fake_graph_exec {
	std::vector<piece> pieces;
};

struct extent {
	char *map;
	size_t map_size, size;
	bool device;
	bool changes; /* a kernel writes it, or a copy after the first kernel */
};

static std::map<char *, extent> extents;
static cudaError_t sticky, last;
static int draining;
/* so that a page fault in the fake's own tests is no surprise */
static constexpr size_t PAGE = emu::PAGE_SIZE;

struct fake_cuda fake_cuda;

/* ---- errors ---- */

/* What a call returns, and cudaGetLastError() after it. */
static cudaError_t answer(cudaError_t e)
{
	if (sticky)
		return sticky;
	if (e)
		last = e;
	return e;
}

static cudaError_t stuck(const char *why)
{
	if (!sticky)
		printf("# fake CUDA: %s\n", why);
	sticky = cudaErrorIllegalAddress;
	return sticky;
}

static bool refused(const char *call)
{
	return fake_cuda.refuse && !strcmp(fake_cuda.refuse, call);
}

cudaError_t cudaGetLastError(void)
{
	cudaError_t e = sticky ? sticky : last;

	last = cudaSuccess;
	return e;
}

const char *cudaGetErrorString(cudaError_t error)
{
	switch (error) {
	case cudaSuccess:
		return "no error";
	case cudaErrorInvalidValue:
		return "invalid argument";
	case cudaErrorMemoryAllocation:
		return "out of memory";
	case cudaErrorInsufficientDriver:
		return "CUDA driver version is insufficient for CUDA runtime "
		       "version";
	case cudaErrorNoDevice:
		return "no CUDA-capable device is detected";
	case cudaErrorInvalidDevice:
		return "invalid device ordinal";
	case cudaErrorIllegalAddress:
		return "an illegal memory access was encountered";
	case cudaErrorStreamCaptureUnsupported:
		return "operation not permitted when stream is capturing";
	case cudaErrorStreamCaptureInvalidated:
		return "operation failed due to a previous error during capture";
	case cudaErrorUnknown:
		break;
	}
	return "unknown error";
}

/* ---- devices ---- */

static int later(void *stream, std::function<bool()> work);
static void hide(bool out);
static bool begins_to_change(void *p);

void fake_cuda_reset(void)
{
	size_t taken = fake_cuda.taken;
	long held = fake_cuda.held;

	fake_cuda = {};
	fake_cuda.devices = 1;
	fake_cuda.memory = (size_t)256 << 20;
	fake_cuda.taken = taken;
	fake_cuda.held = held;
	sticky = last = cudaSuccess;
}

__attribute__((constructor)) static void begin()
{
	const char *env = getenv("LLM_FAKE_CUDA");

	emu::later = later;
	emu::hide = hide;
	emu::first_write = begins_to_change;
	fake_cuda_reset();
	if (env)
		sscanf(env, "%d %zu %zu %ld", &fake_cuda.devices,
		       &fake_cuda.memory, &fake_cuda.others_use,
		       &fake_cuda.fail_at);
}

cudaError_t cudaGetDeviceCount(int *count)
{
	*count = 0;
	if (fake_cuda.devices < 0)
		return answer(cudaErrorInsufficientDriver);
	if (!fake_cuda.devices)
		return answer(cudaErrorNoDevice);
	*count = fake_cuda.devices;
	return answer(cudaSuccess);
}

static bool is_device(int device)
{
	return device >= 0 && device < fake_cuda.devices;
}

cudaError_t cudaSetDevice(int device)
{
	return answer(is_device(device) ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
	if (!is_device(device))
		return answer(cudaErrorInvalidDevice);
	*prop = {};
	snprintf(prop->name, sizeof prop->name, "Emulated GPU");
	prop->major = 9;
	prop->multiProcessorCount = 4;
	return answer(cudaSuccess);
}

static size_t free_memory()
{
	size_t used = fake_cuda.taken + fake_cuda.others_use;

	return used < fake_cuda.memory ? fake_cuda.memory - used : 0;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
	*free = free_memory();
	*total = fake_cuda.memory;
	return answer(cudaSuccess);
}

/* ---- memory ---- */

static void allow(const extent &e, int how)
{
	mprotect(e.map, e.map_size - PAGE, how);
}

/*
 * The host may touch device memory only while it does a stream's work; what does
 * not change then cannot be written.
 */
static void protect(bool open)
{
	for (auto &e : extents)
		if (e.second.device)
			allow(e.second, !open ? PROT_NONE
					: e.second.changes
						? PROT_READ | PROT_WRITE
						: PROT_READ);
}

/* What changes, while a kernel has not waited for the one before. */
static void hide(bool out)
{
	for (auto &e : extents)
		if (e.second.device && e.second.changes)
			allow(e.second,
			      out ? PROT_NONE : PROT_READ | PROT_WRITE);
}

/* The extent that has @p, or NULL. */
static extent *extent_of(const void *p)
{
	for (auto &e : extents)
		if ((char *)p >= e.second.map &&
		    (char *)p < e.second.map + e.second.map_size - PAGE)
			return &e.second;
	return NULL;
}

/* emu::first_write */
static bool begins_to_change(void *p)
{
	extent *e = extent_of(p);

	if (!e || !e->device || e->changes)
		return false;
	e->changes = true;
	allow(*e, PROT_READ | PROT_WRITE);
	return true;
}

/* The host writes for a stream. */
static void fill(const fake_stream *s, void *p, std::function<void()> how)
{
	extent *e = extent_of(p);

	if (!e || !e->device)
		return how();
	allow(*e, PROT_READ | PROT_WRITE);
	how();
	e->changes |= s->kernels;
	if (!e->changes)
		allow(*e, PROT_READ);
}

static cudaError_t take(void **p, size_t size, bool device)
{
	size_t len = (size + PAGE - 1) / PAGE * PAGE;
	char *map;

	*p = NULL;
	if (sticky)
		return sticky;
	if (!size)
		return answer(cudaErrorInvalidValue);
	if (device && size > free_memory())
		return answer(cudaErrorMemoryAllocation);
	map = (char *)mmap(NULL, len + PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return answer(cudaErrorMemoryAllocation);
	memset(map, 0xff, len);
	mprotect(map + len, PAGE, PROT_NONE);
	*p = map + len - (size + 15) / 16 * 16;
	extents[(char *)*p] = { map, len + PAGE, size, device, false };
	if (device) {
		fake_cuda.taken += size;
		protect(false);
	}
	fake_cuda.allocations++;
	fake_cuda.held++;
	return cudaSuccess;
}

static cudaError_t give(void *p, bool device)
{
	auto e = extents.find((char *)p);

	if (!p)
		return answer(cudaSuccess);
	if (e == extents.end() || e->second.device != device)
		return answer(cudaErrorInvalidValue);
	if (device)
		fake_cuda.taken -= e->second.size;
	munmap(e->second.map, e->second.map_size);
	extents.erase(e);
	fake_cuda.held--;
	return answer(cudaSuccess);
}

cudaError_t cudaMalloc(void **p, size_t size)
{
	return take(p, size, true);
}

cudaError_t cudaFree(void *p)
{
	return give(p, true);
}

cudaError_t cudaHostAlloc(void **p, size_t size, unsigned int)
{
	return take(p, size, false);
}

cudaError_t cudaFreeHost(void *p)
{
	return give(p, false);
}

/* Whether @size bytes at @p are one allocation's. */
static bool inside(const void *p, size_t size, bool device)
{
	char *at = (char *)p;
	auto e = extents.upper_bound(at);

	if (e == extents.begin())
		return false;
	--e;
	return e->second.device == device &&
	       (size_t)(at - e->first) <= e->second.size &&
	       size <= e->second.size - (size_t)(at - e->first);
}

/* ---- streams ---- */

static void put(fake_stream *s, const piece &p)
{
	if (s->capture) {
		s->capture->pieces.push_back(p);
		return;
	}
	if (p.issue)
		p.issue();
	s->queue.push_back(p);
}

/* Do what is on @s until @until pieces were done. */
static void drain(fake_stream *s, long until)
{
	if (!draining++)
		protect(true);
	while (s->done < until && !sticky) {
		piece p = s->queue.front();

		s->queue.pop_front();
		s->done++;
		if (fake_cuda.fail_at && !--fake_cuda.fail_at)
			stuck("the planted error");
		else
			p.run();
	}
	if (!--draining)
		protect(false);
}

static long issued(const fake_stream *s)
{
	return s->done + (long)s->queue.size();
}

/* A kernel, from launch() of twins.h. */
static int later(void *stream, std::function<bool()> work)
{
	fake_stream *s = (fake_stream *)stream;

	if (sticky)
		return -EIO;
	if (s->capture && refused("launch")) {
		s->capture->invalid = true;
		answer(cudaErrorInvalidValue);
		return -EIO;
	}
	fake_cuda.launches++;
	put(s, { nullptr, [=] {
			s->kernels = true;
			wgmma_bits = fake_cuda.wgmma_differs ? 1 : WGMMA_AS_MMA;
			return work() ? cudaSuccess : stuck(emu::report);
		} });
	return 0;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int)
{
	if (sticky)
		return sticky;
	*stream = new fake_stream();
	fake_cuda.held++;
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	drain(stream, issued(stream));
	delete stream;
	fake_cuda.held--;
	return answer(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	if (stream->capture)
		return answer(cudaErrorStreamCaptureUnsupported);
	fake_cuda.waits++;
	drain(stream, issued(stream));
	return answer(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int)
{
	if (sticky)
		return sticky;
	*event = new fake_event();
	fake_cuda.held++;
	return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	delete event;
	fake_cuda.held--;
	return answer(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
	*event = { stream, issued(stream) };
	return answer(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
	fake_cuda.waits++;
	if (event->stream)
		drain(event->stream, event->at);
	return answer(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event,
				unsigned int)
{
	fake_event at = *event; /* as it was recorded by now */

	put(stream, { nullptr, [=] {
			     if (at.stream)
				     drain(at.stream, at.at);
			     return cudaSuccess;
		     } });
	return answer(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t size,
			    enum cudaMemcpyKind kind, cudaStream_t stream)
{
	bool in = kind == cudaMemcpyHostToDevice;
	bool out = kind == cudaMemcpyDeviceToHost;

	if (sticky)
		return sticky;
	if ((in && !inside(src, size, false)) ||
	    (out && !inside(dst, size, false)))
		return answer(cudaErrorInvalidValue);
	if ((!in && !inside(src, size, true)) ||
	    (!out && !inside(dst, size, true)))
		return stuck("a copy outside an allocation");
	fake_cuda.copies_in += in;
	fake_cuda.copies_out += out;
	fake_cuda.bytes_in += in ? size : 0;
	put(stream, { [=] {
			     if (out)
				     memset(dst, 0xff, size);
		     },
		      [=] {
			      fill(stream, dst,
				   [=] { memcpy(dst, src, size); });
			      return cudaSuccess;
		      } });
	return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t size,
			    cudaStream_t stream)
{
	if (sticky)
		return sticky;
	if (!inside(p, size, true))
		return stuck("a memset outside an allocation");
	put(stream, { nullptr, [=] {
			     fill(stream, p, [=] { memset(p, value, size); });
			     return cudaSuccess;
		     } });
	return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream,
				   enum cudaStreamCaptureMode)
{
	if (sticky)
		return sticky;
	if (stream->capture || refused("cudaStreamBeginCapture"))
		return answer(cudaErrorStreamCaptureUnsupported);
	stream->capture = new fake_graph();
	fake_cuda.held++;
	return answer(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
	fake_graph *g = stream->capture;

	if (!g)
		return answer(cudaErrorInvalidValue);
	stream->capture = NULL;
	*graph = NULL;
	if (g->invalid || refused("cudaStreamEndCapture")) {
		cudaGraphDestroy(g);
		return answer(cudaErrorStreamCaptureInvalidated);
	}
	*graph = g;
	return answer(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
				 unsigned long long)
{
	if (sticky)
		return sticky;
	if (refused("cudaGraphInstantiate"))
		return answer(cudaErrorMemoryAllocation);
	*exec = new fake_graph_exec{ graph->pieces };
	fake_cuda.held++;
	fake_cuda.graphs++;
	return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
	if (sticky)
		return sticky;
	if (refused("cudaGraphLaunch"))
		return answer(cudaErrorUnknown);
	fake_cuda.graph_launches++;
	for (const piece &p : exec->pieces)
		put(stream, p);
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	fake_cuda.held--;
	return answer(cudaSuccess);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	delete exec;
	fake_cuda.held--;
	return answer(cudaSuccess);
}
