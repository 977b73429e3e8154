/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/fp8.h"

#include "kernels/cpu/gemm.h"

/* Rows are not a power of two apart: that would make them share cache sets. */
static size_t distance(uint32_t cols)
{
	return (size_t)cols + 16;
}

size_t fp8_panel_bytes(uint32_t cols)
{
	return GEMM_UNIT * distance(cols) * sizeof(float);
}

void fp8_rows(const struct gemm_tiles *tiles, const struct weight *w,
	      uint32_t first, uint32_t end, const float *x, size_t ldx,
	      uint32_t tokens, float *y, size_t ldy, float *panel)
{
	size_t ld = distance(w->cols);
	struct weight f32 = {
		.type = WEIGHT_F32,
		.cols = w->cols,
		.row_stride = ld * sizeof(float),
		.data = panel,
	};

	for (uint32_t r = first; r < end; r += f32.rows) {
		f32.rows = end - r < GEMM_UNIT ? end - r : GEMM_UNIT;
		for (uint32_t i = 0; i < f32.rows; i++)
			fp8_widen_avx2(w, r + i, panel + i * ld);
		gemm_rows(tiles, &f32, 0, f32.rows, x, ldx, tokens, y + r, ldy);
	}
}
