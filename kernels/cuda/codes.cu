/* SPDX-License-Identifier: MIT */
/*
 * codes.cu - which instance of codes.cuh runs: by the form and the number of
 * tokens, as in gemm.cu.  Of runs none of many tokens goes to gemm_sm90.cuh:
 * folding each 32 products by its scales takes the time, not the products.
 */
#include "kernels/cuda/codes.cuh"

#include "kernels/cuda/codes.h"
#include "kernels/cuda/launch.cuh"

template <class F, int WARPS, int TILES, int STAGES>
static int codes_run(const struct cuda_gemm_args *args, void *stream)
{
	dim3 grid(layout_rows(args->n) / (WARPS * LAYOUT_ROWS),
		  (args->tokens + 8 * TILES - 1) / (8 * TILES));

	return launch(gemm_codes<F, WARPS, TILES, STAGES>, grid, WARPS * 32,
		      codes_smem<F, WARPS, TILES>(STAGES), *args, stream);
}

/* @F: the template arguments of codes_form */
template <int BITS, int RUN, bool MIN, bool WIDE>
static int codes_of(const struct cuda_gemm_args *args, void *stream)
{
	typedef codes_form<BITS, RUN, MIN, WIDE> form;

	if (RUN && args->k % 32)
		return -EINVAL;
	if (args->tokens <= 8)
		return codes_run<form, 2, 1, 8>(args, stream);
	if (args->tokens <= 32)
		return codes_run<form, 4, 4, 4>(args, stream);
	return codes_run<form, 8, 8, 4>(args, stream);
}

int codes_gemm(const struct cuda_gemm_args *args, void *stream)
{
	switch (args->form) {
	case CUDA_W_ROWS8:
		if (args->many && args->tokens >= args->many)
			return cuda_gemm_sm90(args, 0, stream);
		return codes_of<8, 0, false, false>(args, stream);
	case CUDA_W_RUNS8:
		return codes_of<8, 32, false, false>(args, stream);
	case CUDA_W_RUNS8_MIN:
		return codes_of<8, 32, true, false>(args, stream);
	case CUDA_W_RUNS8_16:
		return codes_of<8, 16, false, false>(args, stream);
	case CUDA_W_RUNS8_WIDE:
		return codes_of<8, 32, false, true>(args, stream);
	case CUDA_W_RUNS4:
		return codes_of<4, 32, false, false>(args, stream);
	case CUDA_W_RUNS4_MIN:
		return codes_of<4, 32, true, false>(args, stream);
	default:
		return -EINVAL;
	}
}
