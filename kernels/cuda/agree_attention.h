/* SPDX-License-Identifier: MIT */
/* agree_attention.h - what agree.h asks of attention. */
#ifndef KERNELS_CUDA_AGREE_ATTENTION_H
#define KERNELS_CUDA_AGREE_ATTENTION_H

struct device;
struct err;

/*
 * Whether both kernels answer the same, for each size of a head.  Takes memory
 * of @d, which stays its; waits for it.  -EIO, -ENOMEM and @err
 */
int agree_attention(struct device *d, int *ret_same, struct err *err);

#endif
