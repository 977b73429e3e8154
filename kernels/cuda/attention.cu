/* SPDX-License-Identifier: MIT */
/* attention.cu - attention.cuh for each size of a head. */
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/launch.cuh"

template <int DIM, bool Q8>
static int attention_run(const struct cuda_attention_args *args, void *stream)
{
	dim3 grid(args->nr_work, args->nr_kv_heads * CUDA_ATTENTION_SPLIT(DIM));

	return launch(attention<DIM, Q8>, grid, 32,
		      attention_room<DIM, Q8>::ALL, *args, stream);
}

template <int DIM>
static int attention_of(const struct cuda_attention_args *args, void *stream)
{
	return args->kv == CUDA_KV_Q8 ? attention_run<DIM, true>(args, stream)
				      : attention_run<DIM, false>(args, stream);
}

int cuda_attention(const struct cuda_attention_args *args, void *stream)
{
	if (args->nr_work < 1 || args->nr_kv_heads < 1 ||
	    args->nr_heads % args->nr_kv_heads || args->window < 0)
		return -EINVAL;
	switch (args->head_dim) {
	case 16:
		return attention_of<16>(args, stream);
	case 32:
		return attention_of<32>(args, stream);
	case 64:
		return attention_of<64>(args, stream);
	case 80:
		return attention_of<80>(args, stream);
	case 96:
		return attention_of<96>(args, stream);
	case 128:
		return attention_of<128>(args, stream);
	case 256:
		return attention_of<256>(args, stream);
	}
	return -EINVAL;
}
