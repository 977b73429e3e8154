/* SPDX-License-Identifier: MIT */
/* norm.cu - which instance of norm.cuh has room for a row. */
#include "kernels/cuda/norm.cuh"

#include "kernels/cuda/launch.cuh"

/* Pairs that a thread of an instance holds. */
#define NORM_INSTANCES 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16

template <int PAIRS>
static int norm_of(const struct cuda_norm_args *args, void *stream)
{
	return launch(residual_norm<PAIRS>, args->rows, NORM_THREADS, NORM_SMEM,
		      *args, stream);
}

template <int PAIRS>
static int norm_of(const struct cuda_embed_args *args, void *stream)
{
	return launch(embed_norm<PAIRS>, args->rows, NORM_THREADS, NORM_SMEM,
		      *args, stream);
}

/* The first of the instances that is large enough. */
template <int PAIRS, int... MORE, class Args>
static int norm_for(const Args *args, void *stream)
{
	if (args->dim <= PAIRS * 2 * NORM_THREADS)
		return norm_of<PAIRS>(args, stream);
	if constexpr (sizeof...(MORE))
		return norm_for<MORE...>(args, stream);
	return -EINVAL;
}

static bool norm_takes(int rows, int dim)
{
	return rows >= 1 && dim >= 2 && dim % 2 == 0 && dim <= CUDA_MAX_DIM;
}

int cuda_residual_norm(const struct cuda_norm_args *args, void *stream)
{
	if (!norm_takes(args->rows, args->dim))
		return -EINVAL;
	return norm_for<NORM_INSTANCES>(args, stream);
}

int cuda_embed_norm(const struct cuda_embed_args *args, void *stream)
{
	if (!norm_takes(args->rows, args->dim) || args->vocab < 1)
		return -EINVAL;
	return norm_for<NORM_INSTANCES>(args, stream);
}
