/* SPDX-License-Identifier: MIT */
/*
 * The CUDA runtime of the tests: what runtime.h says that it is stricter in is
 * what makes the other tests worth something.
 */
#include "tests/cuemu/runtime.h"
#include "kernels/cuda/cuda.h"
#include "tests/test.h"

#include <cuda_runtime.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 4096u

static cudaStream_t stream;
static uint8_t *host, *device;

static void set_up(void)
{
	fake_cuda_reset();
	CHECK_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), 0);
	CHECK_EQ(cudaHostAlloc((void **)&host, SIZE, cudaHostAllocDefault), 0);
	CHECK_EQ(cudaMalloc((void **)&device, SIZE), 0);
}

static void tear_down(void)
{
	fake_cuda_reset();
	CHECK_EQ(cudaStreamDestroy(stream), 0);
	CHECK_EQ(cudaFreeHost(host), 0);
	CHECK_EQ(cudaFree(device), 0);
	CHECK_EQ(fake_cuda.held, 0);
	CHECK_EQ(fake_cuda.taken, 0);
}

static cudaError_t in(size_t size)
{
	return cudaMemcpyAsync(device, host, size, cudaMemcpyHostToDevice,
			       stream);
}

static cudaError_t out(size_t size)
{
	return cudaMemcpyAsync(host, device, size, cudaMemcpyDeviceToHost,
			       stream);
}

TEST(a_copy_reads_its_source_when_it_is_waited_for)
{
	set_up();
	memset(host, 1, SIZE);
	CHECK_EQ(in(SIZE), 0);
	memset(host, 2, SIZE); /* the mistake that is to show */
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(out(SIZE), 0);
	CHECK_EQ(host[0], 0xff);
	CHECK_EQ(host[SIZE - 1], 0xff);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(host[0], 2);
	CHECK_EQ(host[SIZE - 1], 2);
	tear_down();
}

TEST(an_event_is_waited_for_up_to_where_it_was_recorded)
{
	cudaEvent_t event;

	set_up();
	CHECK_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), 0);
	CHECK_EQ(cudaMemsetAsync(device, 5, SIZE, stream), 0);
	CHECK_EQ(out(16), 0);
	CHECK_EQ(cudaEventRecord(event, stream), 0);
	CHECK_EQ(cudaMemcpyAsync(host + 16, device, 16, cudaMemcpyDeviceToHost,
				 stream),
		 0);
	CHECK_EQ(cudaEventSynchronize(event), 0);
	CHECK_EQ(host[0], 5);
	CHECK_EQ(host[16], 0xff);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(host[16], 5);
	CHECK_EQ(cudaEventDestroy(event), 0);
	tear_down();
}

TEST(a_stream_that_waits_for_another_has_what_it_did)
{
	cudaStream_t other;
	cudaEvent_t event;

	set_up();
	CHECK_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), 0);
	CHECK_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), 0);
	memset(host, 9, SIZE);
	CHECK_EQ(cudaMemcpyAsync(device, host, SIZE, cudaMemcpyHostToDevice,
				 other),
		 0);
	CHECK_EQ(cudaEventRecord(event, other), 0);
	CHECK_EQ(cudaStreamWaitEvent(stream, event, 0), 0);
	CHECK_EQ(cudaMemcpyAsync(device + 16, device, 16,
				 cudaMemcpyDeviceToDevice, stream),
		 0);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(out(32), 0);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(host[31], 9);
	CHECK_EQ(cudaEventDestroy(event), 0);
	CHECK_EQ(cudaStreamDestroy(other), 0);
	tear_down();
}

TEST(a_copy_of_memory_that_is_not_pinned_is_refused)
{
	uint8_t stack[16] = { 0 };

	set_up();
	CHECK_EQ(cudaMemcpyAsync(device, stack, 16, cudaMemcpyHostToDevice,
				 stream),
		 cudaErrorInvalidValue);
	CHECK_EQ(cudaMemcpyAsync(stack, device, 16, cudaMemcpyDeviceToHost,
				 stream),
		 cudaErrorInvalidValue);
	CHECK_EQ(cudaGetLastError(), cudaErrorInvalidValue);
	CHECK_EQ(cudaGetLastError(), 0);
	CHECK_EQ(in(16), 0);
	tear_down();
}

TEST(an_error_of_the_device_stays)
{
	void *p;

	set_up();
	fake_cuda.fail_at = 2;
	CHECK_EQ(in(16), 0);
	CHECK_EQ(in(16), 0);
	CHECK_EQ(cudaGetLastError(), 0); /* nobody has looked */
	CHECK_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	CHECK_EQ(in(16), cudaErrorIllegalAddress);
	CHECK_EQ(cudaMalloc(&p, 16), cudaErrorIllegalAddress);
	CHECK_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	CHECK_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
	CHECK_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
	tear_down();
}

TEST(a_copy_past_the_end_is_an_error_of_the_device)
{
	set_up();
	CHECK_EQ(cudaMemcpyAsync(device + 16, device, SIZE,
				 cudaMemcpyDeviceToDevice, stream),
		 cudaErrorIllegalAddress);
	CHECK_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	tear_down();
}

TEST(memory_that_is_not_there_is_refused_and_no_more)
{
	size_t left, total;
	void *p;

	set_up();
	fake_cuda.memory = 1 << 20;
	fake_cuda.others_use = 1000;
	CHECK_EQ(cudaMemGetInfo(&left, &total), 0);
	CHECK_EQ(total, 1 << 20);
	CHECK_EQ(left, (1 << 20) - 1000 - SIZE);
	CHECK_EQ(cudaMalloc(&p, left + 1), cudaErrorMemoryAllocation);
	CHECK(!p);
	CHECK_EQ(cudaMalloc(&p, left), 0);
	CHECK_EQ(cudaFree(p), 0);
	tear_down();
}

/* How a process ends that does @what: its signal. */
static int ends_by(void (*what)(void))
{
	int status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		what();
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void read_device(void)
{
	host[0] = *(volatile uint8_t *)device;
}

static void read_host(void)
{
	host[0] = *(volatile uint8_t *)(host + 1);
}

TEST(the_host_cannot_touch_memory_of_the_device)
{
	set_up();
	CHECK_EQ(ends_by(read_host), 0);
	CHECK_EQ(ends_by(read_device), SIGSEGV);
	CHECK_EQ(in(16), 0);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(ends_by(read_device), SIGSEGV);
	tear_down();
}

TEST(a_graph_does_again_what_was_captured)
{
	cudaGraph_t graph;
	cudaGraphExec_t exec;

	set_up();
	memset(host, 1, SIZE);
	CHECK_EQ(cudaStreamBeginCapture(stream,
					cudaStreamCaptureModeThreadLocal),
		 0);
	CHECK_EQ(in(SIZE), 0);
	CHECK_EQ(cudaStreamSynchronize(stream),
		 cudaErrorStreamCaptureUnsupported);
	CHECK_EQ(cudaStreamEndCapture(stream, &graph), 0);
	CHECK_EQ(cudaGraphInstantiate(&exec, graph, 0), 0);
	CHECK_EQ(cudaGraphDestroy(graph), 0);
	for (uint8_t i = 3; i < 5; i++) {
		memset(host, i, SIZE);
		CHECK_EQ(cudaGraphLaunch(exec, stream), 0);
		CHECK_EQ(cudaStreamSynchronize(stream), 0);
		CHECK_EQ(out(SIZE), 0);
		CHECK_EQ(cudaStreamSynchronize(stream), 0);
		CHECK_EQ(host[7], i);
	}
	CHECK_EQ(cudaGraphExecDestroy(exec), 0);
	tear_down();
}

static const struct cuda_norm_args *norm_args(void)
{
	static struct cuda_norm_args a;

	a = (struct cuda_norm_args){
		.x = (float *)device,
		.d = (const uint16_t *)(device + 2048),
		.w = (const uint16_t *)(device + 2048),
		.y = (uint16_t *)(device + 2048),
		.rows = 1,
		.dim = 512,
		.eps = 1e-5f,
	};
	return &a;
}

TEST(a_kernel_runs_in_its_turn)
{
	float x;

	set_up();
	CHECK_EQ(cudaMemsetAsync(device, 0, SIZE, stream), 0);
	CHECK_EQ(cuda_residual_norm(norm_args(), stream), 0);
	CHECK_EQ(fake_cuda.launches, 1);
	/* comes after it */
	CHECK_EQ(cudaMemsetAsync(device + 2048, 0x3f, 1024, stream), 0);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	CHECK_EQ(out(SIZE), 0);
	CHECK_EQ(cudaStreamSynchronize(stream), 0);
	memcpy(&x, host, sizeof(x));
	CHECK(x == 0);
	CHECK_EQ(host[2048], 0x3f);
	tear_down();
}

TEST(what_the_emulator_finds_wrong_is_an_error_of_the_device)
{
	struct cuda_norm_args a;

	set_up();
	a = *norm_args();
	a.rows = 3; /* the third begins where the memory ends */
	CHECK_EQ(cuda_residual_norm(&a, stream), 0);
	CHECK_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	CHECK_EQ(cuda_residual_norm(norm_args(), stream), -EIO);
	tear_down();
}
