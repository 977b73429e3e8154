/* SPDX-License-Identifier: MIT */
/*
 * codes.h - cuda_gemm() of weights that are codes: codes.cu, apart because a
 * GPU's compiler takes its time over so many instances.
 */
#ifndef KERNELS_CUDA_CODES_H
#define KERNELS_CUDA_CODES_H

struct cuda_gemm_args;

/* -EINVAL where the form is none of codes, or k is no multiple of its run */
int codes_gemm(const struct cuda_gemm_args *args, void *stream);

#endif
