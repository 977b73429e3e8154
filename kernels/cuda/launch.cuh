/* SPDX-License-Identifier: MIT */
/*
 * launch.cuh - start a kernel: 0, or -EIO where CUDA refuses, which is then
 * its last error.
 */
#ifndef KERNELS_CUDA_LAUNCH_CUH
#define KERNELS_CUDA_LAUNCH_CUH

#include "kernels/cuda/ptx.cuh"

#include <errno.h>

#ifdef __CUDACC__
/*
 * Whether the kernel may begin before the one before it in the stream has
 * ended: where its code has a pdl_wait().  That is asked of the code and not of
 * the device, for a GPU that is newer than all we compile for runs the code of
 * compute_80, which has none.
 */
static bool launch_overlaps(const void *kernel)
{
	struct cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess &&
	       attributes.ptxVersion >= 90;
}

template <class Args>
static int launch(void (*kernel)(const Args), dim3 grid, int threads, int smem,
		  const Args &args, void *stream)
{
	cudaLaunchAttribute overlap = {};
	cudaLaunchConfig_t config = {};

	if (smem > 48 << 10 &&
	    cudaFuncSetAttribute(kernel,
				 cudaFuncAttributeMaxDynamicSharedMemorySize,
				 smem) != cudaSuccess)
		return -EIO;
	overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
	overlap.val.programmaticStreamSerializationAllowed = 1;
	config.gridDim = grid;
	config.blockDim = dim3(threads);
	config.dynamicSmemBytes = smem;
	config.stream = (cudaStream_t)stream;
	config.attrs = &overlap;
	config.numAttrs = launch_overlaps((const void *)kernel);
	return cudaLaunchKernelEx(&config, kernel, args) == cudaSuccess ? 0
									: -EIO;
}
#endif

#endif
