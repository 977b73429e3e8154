/* SPDX-License-Identifier: MIT */
/*
 * speed.h - a question to a kernel, and what its answer cost: device memory
 * filled with noise, launches in a graph, floors, lines of JSON.  For speed.cu,
 * on a GPU only.
 */
#ifndef CUEMU_SPEED_H
#define CUEMU_SPEED_H

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#define LAUNCHES 20 /* of a graph */
#define REPLAYS	 5
#define COLD	 (256u << 20) /* bytes that go through L2 before a copy returns */

static struct {
	std::string gpu, stamp;
	int arch, driver, runtime, processors;
	double bytes_us, flop_us; /* a microsecond; 0: not known */
	time_t end;
	cudaStream_t stream;
} here;

static bool over(void)
{
	return time(NULL) >= here.end;
}

/* ---- numbers ---------------------------------------------------------- */

/* What bits a weight may have: none is NaN, and none all zero. */
enum bits { BITS_BF16, BITS_FP8, BITS_ANY, BITS_F32 };

static __global__ void fill(uint32_t *p, size_t n, uint32_t seed, enum bits how)
{
	size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

	for (; i < n; i += (size_t)gridDim.x * blockDim.x) {
		uint32_t x = (uint32_t)i * 2654435761u + seed;

		x = (x ^ x >> 16) * 0x85ebca6bu;
		x = (x ^ x >> 13) * 0xc2b2ae35u;
		x ^= x >> 16;
		if (how == BITS_BF16) /* 0.0039 .. 0.0625, either sign */
			x = (x & 0x81ff81ffu) | 0x3c003c00u;
		else if (how == BITS_FP8)
			x &= 0xb7b7b7b7u;
		else if (how == BITS_F32)
			x = (x & 0x803fffffu) | 0x3c000000u;
		p[i] = x;
	}
}

/* Device memory of @size bytes, filled; freed with it. */
struct memory {
	void *at = nullptr;
	size_t size;

	memory(size_t bytes, enum bits how, uint32_t seed) : size(bytes)
	{
		if (cudaMalloc(&at, bytes) != cudaSuccess) {
			cudaGetLastError(); /* it is told; no later call's */
			at = nullptr;
			return;
		}
		fill<<<here.processors * 8, 256, 0, here.stream>>>(
			(uint32_t *)at, bytes / 4, seed, how);
	}

	~memory()
	{
		cudaFree(at);
	}

	memory(const memory &) = delete;

	template <class T> T *as(size_t offset = 0) const
	{
		return (T *)((char *)at + offset);
	}
};

/* Copies of @bytes that exceed L2 together; what a launch reads anew. */
static int copies_of(size_t bytes)
{
	size_t n = COLD / bytes + 1;

	return (int)std::min<size_t>(n, LAUNCHES);
}

/* ---- time ------------------------------------------------------------- */

struct timing {
	float us, us_min, us_max;
	bool ok;
};

using launcher = std::function<int(int copy)>;

/* @run @copies of it in turn, LAUNCHES times, as a graph. */
static cudaGraphExec_t graph_of(const launcher &run, int copies)
{
	cudaGraph_t graph = NULL;
	cudaGraphExec_t exec = NULL;
	int ret = 0;

	if (cudaStreamBeginCapture(here.stream,
				   cudaStreamCaptureModeThreadLocal))
		return NULL;
	for (int i = 0; i < LAUNCHES && !ret; i++)
		ret = run(i % copies);
	if (cudaStreamEndCapture(here.stream, &graph) || ret ||
	    cudaGraphInstantiate(&exec, graph, 0))
		exec = NULL;
	if (graph)
		cudaGraphDestroy(graph);
	return exec;
}

static struct timing time_of(const launcher &run, int copies)
{
	struct timing t = {};
	cudaEvent_t begin, end;
	cudaGraphExec_t exec;
	float us[REPLAYS];

	/* once outside: attributes are set, and what it says is heard */
	if (run(0) || cudaStreamSynchronize(here.stream))
		return t;
	exec = graph_of(run, copies);
	if (!exec)
		return t;
	cudaEventCreate(&begin);
	cudaEventCreate(&end);
	cudaGraphLaunch(exec, here.stream);
	for (float &u : us) {
		cudaEventRecord(begin, here.stream);
		cudaGraphLaunch(exec, here.stream);
		cudaEventRecord(end, here.stream);
		t.ok = cudaStreamSynchronize(here.stream) == cudaSuccess;
		cudaEventElapsedTime(&u, begin, end);
		u *= 1000.0f / LAUNCHES;
	}
	std::sort(us, us + REPLAYS);
	t.us = us[REPLAYS / 2];
	t.us_min = us[0];
	t.us_max = us[REPLAYS - 1];
	cudaEventDestroy(begin);
	cudaEventDestroy(end);
	cudaGraphExecDestroy(exec);
	return t;
}

/* ---- lines ------------------------------------------------------------ */

/* What is measured, and what it moves and computes. */
struct question {
	const char *kernel, *fmt;
	std::string shape; /* members of a JSON object */
	double bytes, flop;
	void *answer; /* device memory */
	size_t answer_size;
	void *sum; /* what it adds to, or NULL: 0 before an answer is judged */
	size_t sum_size;
	double peer_us; /* of cuBLASLt; 0: not asked */
};

static uint64_t digest_of(const void *device, size_t size)
{
	std::vector<unsigned char> host(size);
	uint64_t h = 1469598103934665603u;

	cudaMemcpy(host.data(), device, size, cudaMemcpyDeviceToHost);
	for (unsigned char c : host)
		h = (h ^ c) * 1099511628211u;
	return h;
}

/* The larger of the two floors, in microseconds. */
static double floor_of(const struct question &q)
{
	double memory = q.bytes / here.bytes_us;
	double compute = here.flop_us > 0 ? q.flop / here.flop_us : 0;

	return std::max(memory, compute);
}

static void tell(const struct question &q, const struct timing &t,
		 uint64_t digest)
{
	double least = floor_of(q);

	printf("{%s,\"kernel\":\"%s\",\"fmt\":\"%s\",\"shape\":{%s},"
	       "\"us\":%.2f,\"us_min\":%.2f,\"us_max\":%.2f,\"n\":%d,"
	       "\"bytes\":%.0f,\"flop\":%.0f,\"floor_us\":%.2f,\"pct\":%.1f,"
	       "\"digest\":\"%016llx\",\"ok\":%s,\"read_tbs\":%.3f,"
	       "\"bf16_tflops\":%.1f,\"cublaslt_us\":%.2f}\n",
	       here.stamp.c_str(), q.kernel, q.fmt, q.shape.c_str(), t.us,
	       t.us_min, t.us_max, REPLAYS, q.bytes, q.flop, least,
	       t.us > 0 ? 100 * least / t.us : 0, (unsigned long long)digest,
	       t.ok ? "true" : "false", here.bytes_us / 1e6, here.flop_us / 1e6,
	       q.peer_us);
	fflush(stdout);
}

static bool answer(const struct question &q, const launcher &run, uint64_t *ret)
{
	if (q.sum && cudaMemsetAsync(q.sum, 0, q.sum_size, here.stream))
		return false;
	if (run(0) || cudaStreamSynchronize(here.stream))
		return false;
	*ret = digest_of(q.answer, q.answer_size);
	return true;
}

/* Whether it ran, and before and after the timing to the same bits. */
static bool ask(const struct question &q, int copies, const launcher &run)
{
	uint64_t first = 0, again = 0;
	struct timing t = {};

	if (over())
		return true;
	if (answer(q, run, &first)) {
		t = time_of(run, copies);
		t.ok &= answer(q, run, &again) && first == again;
	}
	tell(q, t, first);
	return t.ok;
}

static std::string shape(std::initializer_list<std::pair<const char *, int>> s)
{
	std::string text;

	for (const auto &member : s)
		text += (text.empty() ? "\"" : ",\"") +
			std::string(member.first) +
			"\":" + std::to_string(member.second);
	return text;
}

#endif
