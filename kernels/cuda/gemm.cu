/* SPDX-License-Identifier: MIT */
/*
 * gemm.cu - which instance of gemm.cuh runs: by the number of tokens and the
 * form of the weights.  The choice changes no bit (gemm.cuh).
 *
 * Few tokens want many CTAs with deep rings (the copies in flight are what
 * fills the memory's latency); many want wide CTAs, as each reads all tokens
 * from L2.  Depths keep a CTA within 100 KiB of shared memory.  Where the
 * caller says that it may, many tokens go to gemm_sm90.cuh.
 */
#include "kernels/cuda/gemm.cuh"

#include "kernels/cuda/codes.h"
#include "kernels/cuda/launch.cuh"

template <class W, int WARPS, int TILES, int STAGES>
static int gemm_run(const struct cuda_gemm_args *args, void *stream)
{
	dim3 grid(layout_rows(args->n) / (WARPS * LAYOUT_ROWS),
		  (args->tokens + 8 * TILES - 1) / (8 * TILES));

	return launch(gemm<W, WARPS, TILES, STAGES>, grid, WARPS * 32,
		      gemm_smem<W, WARPS, TILES>(STAGES), *args, stream);
}

template <class W>
static int gemm_form(const struct cuda_gemm_args *args, void *stream)
{
	if (args->many && args->tokens >= args->many)
		return cuda_gemm_sm90(args, 0, stream);
	if (args->tokens <= 8)
		return gemm_run<W, 2, 1, 8>(args, stream);
	if (args->tokens <= 32)
		return gemm_run<W, 4, 4, 4>(args, stream);
	if (args->tokens <= 64)
		return gemm_run<W, 8, 8, 4>(args, stream);
	return gemm_run<W, 8, CUDA_GEMM_TOKENS / 8, 3>(args, stream);
}

/* How the answer is to end fits its numbers and sizes. */
static bool gemm_ends(const struct cuda_gemm_args *args)
{
	switch (args->end) {
	case CUDA_STORE:
		return true;
	case CUDA_ADD:
		return args->out == CUDA_F32;
	case CUDA_SWIGLU:
		return args->n % 16 == 0;
	}
	return false;
}

int cuda_gemm(const struct cuda_gemm_args *args, void *stream)
{
	if (args->tokens < 1 || args->tokens > 65535 * CUDA_GEMM_TOKENS ||
	    args->n < 1 || args->k < 1 || args->k % 8 || !gemm_ends(args))
		return -EINVAL;
	switch (args->form) {
	case CUDA_W_BF16:
		return gemm_form<weight_bf16>(args, stream);
	case CUDA_W_F16:
		return gemm_form<weight_f16>(args, stream);
	case CUDA_W_INT8:
		return gemm_form<weight_int8>(args, stream);
	case CUDA_W_FP8:
		return gemm_form<weight_fp8>(args, stream);
	case CUDA_W_FP8_GROUPS:
		if (args->k % LAYOUT_GROUP)
			return -EINVAL;
		return gemm_form<weight_fp8_groups>(args, stream);
	case CUDA_W_INT4:
		return gemm_form<weight_int4>(args, stream);
	case CUDA_W_INT4_ZEROS:
		return gemm_form<weight_int4_zeros>(args, stream);
	default:
		return codes_gemm(args, stream);
	}
}
