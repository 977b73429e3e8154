/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/quantize.cuh"

#include "kernels/cuda/launch.cuh"

int cuda_quantize(const struct cuda_quantize_args *args, void *stream)
{
	int whole = args->kind == CUDA_ROWS ? 8 : 32;

	if (args->rows < 1 || args->k < 1 || args->k % whole ||
	    args->kind > CUDA_RUNS_WIDE)
		return -EINVAL;
	return launch(quantize, args->rows, QUANTIZE_THREADS, QUANTIZE_SMEM,
		      *args, stream);
}
