/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/copy.cuh"

#include "kernels/cuda/launch.cuh"

int cuda_copy_blocks(const struct cuda_copy_args *args, void *stream)
{
	size_t chunks = (args->block_bytes + COPY_CHUNK - 1) / COPY_CHUNK;

	if (args->nr_pairs < 1 || args->block_bytes < 16 ||
	    args->block_bytes % 16 || chunks > 65535)
		return -EINVAL;
	return launch(copy_blocks, dim3(args->nr_pairs, (unsigned)chunks),
		      COPY_THREADS, 0, *args, stream);
}
