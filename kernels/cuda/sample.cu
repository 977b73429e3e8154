/* SPDX-License-Identifier: MIT */
/* sample.cu - what is done with logits: choose a token, judge one. */
#include "kernels/cuda/sample.cuh"
#include "kernels/cuda/score.cuh"

#include "kernels/cuda/launch.cuh"

int cuda_sample(const struct cuda_sample_args *args, void *stream)
{
	if (args->nr_samplers < 1 || args->vocab < 1)
		return -EINVAL;
	return launch(sample, args->nr_samplers, SELECT_THREADS,
		      sizeof(struct select_smem), *args, stream);
}

int cuda_score(const struct cuda_score_args *args, void *stream)
{
	if (args->rows < 1 || args->vocab < 1)
		return -EINVAL;
	return launch(score, args->rows, SELECT_THREADS,
		      sizeof(struct select_smem), *args, stream);
}
