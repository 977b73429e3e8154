/* SPDX-License-Identifier: MIT */
/*
 * gemm_sm90.cu - which instance of gemm_sm90.cuh runs.  Tiles of 256 tokens
 * read the least; of 128 they are twice as many, for where there would be too
 * few to give each multiprocessor one.  The choice changes no bit.
 */
#include "kernels/cuda/gemm_sm90.cuh"

#include "kernels/cuda/launch.cuh"

#define PROCESSORS 132 /* of an H100 */

template <class W, int TOKENS>
static int sm90_run(const struct cuda_gemm_args *args, void *stream)
{
	dim3 grid(layout_rows(args->n) / LAYOUT_CTA,
		  (args->tokens + TOKENS - 1) / TOKENS);

	return launch(gemm_sm90<W, TOKENS>, grid, GEMM_SM90_THREADS,
		      gemm_sm90_ring<W, TOKENS>::SMEM, *args, stream);
}

template <class W>
static int sm90_tile(const struct cuda_gemm_args *args, int tile, void *stream)
{
	if constexpr (!W::GROUPED)
		if (tile == 256)
			return sm90_run<W, 256>(args, stream);
	return sm90_run<W, 128>(args, stream);
}

static int tile_for(const struct cuda_gemm_args *args)
{
	int rows = layout_rows(args->n) / LAYOUT_CTA;

	return rows * ((args->tokens + 255) / 256) >= PROCESSORS ? 256 : 128;
}

int cuda_gemm_sm90(const struct cuda_gemm_args *args, int tile, void *stream)
{
	tile = tile ? tile : tile_for(args);
	switch (args->form) {
	case CUDA_W_BF16:
		return sm90_tile<weight_bf16>(args, tile, stream);
	case CUDA_W_F16:
		return sm90_tile<weight_f16>(args, tile, stream);
	case CUDA_W_INT8:
		return sm90_tile<weight_int8>(args, tile, stream);
	case CUDA_W_FP8:
		return sm90_tile<weight_fp8>(args, tile, stream);
	case CUDA_W_INT4:
		return sm90_tile<weight_int4>(args, tile, stream);
	case CUDA_W_FP8_GROUPS:
		return sm90_tile<weight_fp8_groups>(args, tile, stream);
	case CUDA_W_INT4_ZEROS:
		return sm90_tile<weight_int4_zeros>(args, tile, stream);
	case CUDA_W_ROWS8:
		return sm90_tile<weight_rows8>(args, tile, stream);
	default:
		return -EINVAL;
	}
}
