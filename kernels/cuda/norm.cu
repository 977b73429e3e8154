/* SPDX-License-Identifier: MIT */
/* norm.cu - an instance of norm.cuh for each model size. */
#include "kernels/cuda/norm.cuh"

#include "kernels/cuda/launch.cuh"

template <int PAIRS>
static int norm_of(const struct cuda_norm_args *args, void *stream)
{
	return launch(residual_norm<PAIRS>, args->rows, NORM_THREADS, NORM_SMEM,
		      *args, stream);
}

int cuda_residual_norm(const struct cuda_norm_args *args, void *stream)
{
	if (args->rows < 1 || args->dim % (2 * NORM_THREADS))
		return -EINVAL;
	switch (args->dim / (2 * NORM_THREADS)) {
	case 1:
		return norm_of<1>(args, stream);
	case 2:
		return norm_of<2>(args, stream);
	case 3:
		return norm_of<3>(args, stream);
	case 4:
		return norm_of<4>(args, stream);
	case 5:
		return norm_of<5>(args, stream);
	case 6:
		return norm_of<6>(args, stream);
	case 7:
		return norm_of<7>(args, stream);
	case 8:
		return norm_of<8>(args, stream);
	case 10:
		return norm_of<10>(args, stream);
	case 12:
		return norm_of<12>(args, stream);
	case 16:
		return norm_of<16>(args, stream);
	}
	return -EINVAL;
}
