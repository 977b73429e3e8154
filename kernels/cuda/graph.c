/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/graph.h"

#include "kernels/cuda/device.h"
#include "base/log.h"

#include <cuda_runtime.h>

#include <errno.h>

static const uint32_t sizes[GRAPH_SIZES] = { 1,	 2,  4,	 8,   16,  24, 32,
					     48, 64, 96, 128, 192, 256 };

int graph_of(uint32_t rows)
{
	for (int i = 0; i < GRAPH_SIZES; i++)
		if (rows <= sizes[i])
			return i;
	return -1;
}

uint32_t graph_rows(int i)
{
	return sizes[i];
}

/* What record(@arg) starts, as a graph; NULL and *ret_error. */
static cudaGraphExec_t make(struct device *d, int (*record)(void *arg),
			    void *arg, cudaError_t *ret_error)
{
	cudaError_t error, started = cudaSuccess;
	cudaGraphExec_t exec = NULL;
	cudaGraph_t graph = NULL;

	/* relaxed: a kernel's first start may load its code */
	error = cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeRelaxed);
	if (!error) {
		d->recording = 1;
		if (record(arg))
			started = cudaGetLastError();
		d->recording = 0;
		error = cudaStreamEndCapture(d->stream, &graph);
	}
	if (started)
		error = started;
	if (!error)
		error = cudaGraphInstantiate(&exec, graph, 0);
	if (graph)
		(void)cudaGraphDestroy(graph);
	*ret_error = error;
	return error ? NULL : exec;
}

int graph_run(struct graphs *g, struct device *d, int i,
	      int (*record)(void *arg), void *arg)
{
	cudaError_t error;

	if (!g->exec[i] && !g->off) {
		g->exec[i] = make(d, record, arg, &error);
		if (!g->exec[i]) {
			/* if the device is lost, the next call says so */
			(void)cudaGetLastError();
			g->off = 1;
			log_warn("GPU %u: no graph of %u rows: %s; kernels are "
				 "started one by one",
				 d->number, sizes[i],
				 cudaGetErrorString(error));
		}
	}
	if (!g->exec[i])
		return 0;
	if (device_check(d, cudaGraphLaunch(g->exec[i], d->stream)))
		return -EIO;
	return 1;
}

void graphs_close(struct graphs *g)
{
	for (int i = 0; i < GRAPH_SIZES; i++)
		if (g->exec[i])
			(void)cudaGraphExecDestroy(g->exec[i]);
	*g = (struct graphs){ 0 };
}
