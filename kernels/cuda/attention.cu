/* SPDX-License-Identifier: MIT */
/* attention.cu - attention.cuh for each form of the answer. */
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/launch.cuh"

int cuda_attention(const struct cuda_attention_args *args, void *stream)
{
	dim3 grid;

	if (args->nr_work < 1 || args->nr_work > 65535 ||
	    args->nr_kv_heads < 1 || args->nr_heads % args->nr_kv_heads ||
	    args->max_tiles < 1 || args->tiles_per_warp < 1)
		return -EINVAL;
	grid = dim3((args->max_tiles + args->tiles_per_warp - 1) /
			    args->tiles_per_warp,
		    args->nr_kv_heads, args->nr_work);
	if (args->number == CUDA_F32)
		return launch(attention<float>, grid, 32, ATTENTION_SMEM, *args,
			      stream);
	return launch(attention<uint16_t>, grid, 32, ATTENTION_SMEM, *args,
		      stream);
}
