/* SPDX-License-Identifier: MIT */
/*
 * quantize.h - F32 to each packed type.  @n is a multiple of the type's
 * block, every number is finite; @dst has any alignment.  Pure, no allocation.
 */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

#include <stddef.h>

void quantize_q8_0(const float *src, void *dst, size_t n);
void quantize_q4_0(const float *src, void *dst, size_t n);
void quantize_q4_1(const float *src, void *dst, size_t n);
void quantize_q5_0(const float *src, void *dst, size_t n);
void quantize_q5_1(const float *src, void *dst, size_t n);
void quantize_q2_k(const float *src, void *dst, size_t n);
void quantize_q3_k(const float *src, void *dst, size_t n);
void quantize_q4_k(const float *src, void *dst, size_t n);
void quantize_q5_k(const float *src, void *dst, size_t n);
void quantize_q6_k(const float *src, void *dst, size_t n);
void quantize_iq4_nl(const float *src, void *dst, size_t n);
void quantize_mxfp4(const float *src, void *dst, size_t n);

#endif
