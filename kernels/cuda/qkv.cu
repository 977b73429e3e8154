/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/qkv.cuh"

#include "kernels/cuda/launch.cuh"

int cuda_qkv(const struct cuda_qkv_args *args, void *stream)
{
	int heads = args->nr_heads + 2 * args->nr_kv_heads;

	if (args->tokens < 1 || args->nr_heads < 1 || args->nr_kv_heads < 1 ||
	    args->head_dim < 16 || args->head_dim % 16 ||
	    args->rotary_dim < 0 || args->rotary_dim % 2 ||
	    args->rotary_dim > args->head_dim)
		return -EINVAL;
	return launch(qkv,
		      dim3(args->tokens, (heads + QKV_WARPS - 1) / QKV_WARPS),
		      QKV_WARPS * 32, 0, *args, stream);
}
