/* SPDX-License-Identifier: MIT */
/*
 * fp8.h - products with weights in FP8 in the cpu op sets: GEMM_UNIT rows at a
 * time are made F32 (formats.h), and the tiles of F32 (gemm.h) pass over them
 * while they lie in the second cache.  So bits are those of F2.
 */
#ifndef CPU_FP8_H
#define CPU_FP8_H

#include <stddef.h>
#include <stdint.h>

struct gemm_tiles;
struct weight;

/* Bytes of the rows made F32, where no matrix is wider than @cols. */
size_t fp8_panel_bytes_avx2(uint32_t cols);

/* As gemm_rows(), over the @tiles of F32; @panel: fp8_panel_bytes_avx2(). */
void fp8_rows_avx2(const struct gemm_tiles *tiles, const struct weight *w,
		   uint32_t first, uint32_t end, const float *x, size_t ldx,
		   uint32_t tokens, float *y, size_t ldy, float *panel);

#endif
