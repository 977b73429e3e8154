/* SPDX-License-Identifier: MIT */
/*
 * copy.cuh - KV of whole blocks, for the first write into a shared one.  A
 * block is one run of bytes (2 MiB of Llama-3-8B's), cut into COPY_CHUNK for
 * each CTA, so that one pair already has 32 CTAs; a thread has four reads of
 * 16 bytes in flight.  Bytes: each twice.  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_COPY_CUH
#define KERNELS_CUDA_COPY_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ptx.cuh"

#define COPY_THREADS 256
#define COPY_FLIGHT  4		/* reads of a thread */
#define COPY_CHUNK   (64 << 10) /* bytes of a CTA */

/* grid = nr_pairs, block_bytes / COPY_CHUNK upward */
__global__ void __launch_bounds__(COPY_THREADS)
	copy_blocks(const struct cuda_copy_args p)
{
	constexpr size_t ROUND = COPY_THREADS * COPY_FLIGHT;
	size_t first = (size_t)blockIdx.y * COPY_CHUNK / 16 + threadIdx.x;
	size_t end = p.block_bytes / 16, last;

	pdl_wait();
	pdl_go();
	struct cuda_block_pair pair = p.pairs[blockIdx.x];
	const uint4 *src =
		(const uint4 *)((const char *)p.kv + pair.src * p.block_bytes);
	uint4 *dst = (uint4 *)((char *)p.kv + pair.dst * p.block_bytes);

	last = (size_t)(blockIdx.y + 1) * COPY_CHUNK / 16;
	end = end < last ? end : last;
	for (size_t i = first; i < end; i += ROUND) {
		uint4 v[COPY_FLIGHT];

#pragma unroll
		for (int j = 0; j < COPY_FLIGHT; j++)
			if (i + j * COPY_THREADS < end)
				v[j] = src[i + j * COPY_THREADS];
#pragma unroll
		for (int j = 0; j < COPY_FLIGHT; j++)
			if (i + j * COPY_THREADS < end)
				dst[i + j * COPY_THREADS] = v[j];
	}
}

#endif
