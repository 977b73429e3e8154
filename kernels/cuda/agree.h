/* SPDX-License-Identifier: MIT */
/*
 * agree.h - whether the kernels of warpgroups (gemm_sm90.cuh, attention_sm90.cuh)
 * may be used: they may where they give the bits of those of warps, for a token's
 * keys and values are computed by the one or by the other as the schedule has it.
 * No manual promises that a step of wgmma adds as one of mma does, so the device
 * at hand is asked, each time it is opened: both compute the same of numbers of
 * very different sizes, most of which cancel, so that every bit that is cut
 * shows.
 */
#ifndef KERNELS_CUDA_AGREE_H
#define KERNELS_CUDA_AGREE_H

struct device;
struct err;

struct agreed {
	int many;      /* of cuda_gemm_args; 0: never */
	int attention; /* whether cuda_attention_sm90() may */
};

/*
 * What they may; what they may not is told in the log where the device has such
 * kernels.  Its memory, some MiB, is given back.  -EIO, -ENOMEM
 */
int agree(const struct device *d, struct agreed *ret, struct err *err);

#endif
