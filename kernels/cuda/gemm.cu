/* SPDX-License-Identifier: MIT */
/*
 * gemm.cu - which instance of gemm.cuh runs: by the number of tokens and the
 * form of the weights.  The choice changes no bit (gemm.cuh).
 *
 * Few tokens want many CTAs with deep rings (the copies in flight are what
 * fills the memory's latency); many want wide CTAs, as each reads all tokens
 * from L2.  Depths keep a CTA within 100 KiB of shared memory.
 */
#include "kernels/cuda/gemm.cuh"

#include "kernels/cuda/launch.cuh"

template <class W, class Out, int WARPS, int TILES, int STAGES>
static int gemm_run(const struct cuda_gemm_args *args, void *stream)
{
	return launch(gemm<W, Out, WARPS, TILES, STAGES>,
		      args->n / (WARPS * LAYOUT_ROWS), WARPS * 32,
		      gemm_smem<W, WARPS, TILES>(STAGES), *args, stream);
}

template <class W, class Out>
static int gemm_of(const struct cuda_gemm_args *args, void *stream)
{
	if (args->tokens <= 8)
		return gemm_run<W, Out, 2, 1, 8>(args, stream);
	if (args->tokens <= 32)
		return gemm_run<W, Out, 4, 4, 4>(args, stream);
	if (args->tokens <= 64)
		return gemm_run<W, Out, 8, 8, 4>(args, stream);
	return gemm_run<W, Out, 8, 16, 3>(args, stream);
}

template <class W>
static int gemm_form(const struct cuda_gemm_args *args, void *stream)
{
	if (args->out == CUDA_F32)
		return gemm_of<W, float>(args, stream);
	return gemm_of<W, uint16_t>(args, stream);
}

int cuda_gemm(const struct cuda_gemm_args *args, void *stream)
{
	int columns = args->form == CUDA_W_INT4 ? LAYOUT_GROUP : LAYOUT_STAGE;

	if (args->tokens < 1 || args->tokens > CUDA_GEMM_TOKENS ||
	    args->n < 1 || args->n % 128 || args->k < 1 || args->k % columns)
		return -EINVAL;
	switch (args->form) {
	case CUDA_W_BF16:
		return gemm_form<weight_bf16>(args, stream);
	case CUDA_W_INT8:
		return gemm_form<weight_int8>(args, stream);
	case CUDA_W_FP8:
		return gemm_form<weight_fp8>(args, stream);
	case CUDA_W_INT4:
		return gemm_form<weight_int4>(args, stream);
	}
	return -EINVAL;
}
