/* SPDX-License-Identifier: MIT */
/* launch.cuh - start a kernel: 0, or -EIO where CUDA refuses. */
#ifndef KERNELS_CUDA_LAUNCH_CUH
#define KERNELS_CUDA_LAUNCH_CUH

#include "kernels/cuda/ptx.cuh"

#include <errno.h>

#ifdef __CUDACC__
template <class Args>
static int launch(void (*kernel)(const Args), dim3 grid, int threads, int smem,
		  const Args &args, void *stream)
{
	if (smem > 48 << 10 &&
	    cudaFuncSetAttribute(kernel,
				 cudaFuncAttributeMaxDynamicSharedMemorySize,
				 smem) != cudaSuccess)
		return -EIO;
	kernel<<<grid, threads, smem, (cudaStream_t)stream>>>(args);
	return cudaGetLastError() == cudaSuccess ? 0 : -EIO;
}
#endif

#endif
