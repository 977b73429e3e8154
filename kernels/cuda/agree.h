/* SPDX-License-Identifier: MIT */
/*
 * agree.h - whether the kernel for many tokens (gemm_sm90.cuh) may be used: it
 * may where it gives the bits of the one for few, for a token's keys and values
 * are computed by the one or by the other as the schedule has it.  No manual
 * promises that a step of wgmma adds as one of mma does, so the device at hand
 * is asked, each time it is opened: both multiply the same numbers of very
 * different sizes, most of which cancel, so that every bit that is cut shows.
 */
#ifndef KERNELS_CUDA_AGREE_H
#define KERNELS_CUDA_AGREE_H

struct device;
struct err;

/*
 * From how many tokens on it may (struct cuda_gemm_args, many); 0: never, which
 * is told in the log where the device has such a kernel.  Its memory, less than
 * a MiB, is given back.  -EIO, -ENOMEM
 */
int agree_many(const struct device *d, int *ret_many, struct err *err);

#endif
