/* SPDX-License-Identifier: MIT */
/* attention_sm90.cu - attention_sm90.cuh for the sizes of a head that it has. */
#include "kernels/cuda/attention_sm90.cuh"

#include "kernels/cuda/launch.cuh"

template <int DIM>
static int attention_sm90_run(const struct cuda_attention_args *args,
			      void *stream)
{
	return launch(attention_sm90<DIM>,
		      dim3(args->nr_work, args->nr_kv_heads),
		      ATTENTION_SM90_THREADS, attention_sm90_ring<DIM>::SMEM,
		      *args, stream);
}

int cuda_attention_sm90(const struct cuda_attention_args *args, void *stream)
{
	if (args->nr_work < 1 || args->nr_kv_heads < 1 ||
	    args->nr_heads % args->nr_kv_heads || args->window < 0 ||
	    args->kv != CUDA_KV_BF16)
		return -EINVAL;
	switch (args->head_dim) {
	case 64:
		return attention_sm90_run<64>(args, stream);
	case 128:
		return attention_sm90_run<128>(args, stream);
	}
	return -EINVAL;
}
