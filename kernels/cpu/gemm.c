/* SPDX-License-Identifier: MIT */
/*
 * gemm.c - which tile goes where.  A panel of GEMM_UNIT rows (196 KB at k =
 * 4096 in F16) stays in the second cache while tiles of tokens pass over it;
 * tokens are cut into tiles of nearly equal size.
 */
#include "kernels/cpu/gemm.h"

#define FEW_TOKENS 16 /* up to here the weights' way from memory decides */

/* One panel, rows [first, end): all tokens. */
static void panel(const struct gemm_tiles *tiles, const struct weight *w,
		  uint32_t first, uint32_t end, const float *x, size_t ldx,
		  uint32_t tokens, float *y, size_t ldy, const char *stop)
{
	uint32_t nr_tiles =
		(tokens + tiles->max_tokens - 1) / tiles->max_tokens;
	const char *data = w->data;
	size_t stride = w->row_stride;

	for (uint32_t i = 0; i < nr_tiles; i++) {
		uint32_t t0 = (uint32_t)((uint64_t)tokens * i / nr_tiles);
		uint32_t t1 = (uint32_t)((uint64_t)tokens * (i + 1) / nr_tiles);
		uint32_t rows = tiles->by[t1 - t0].rows, r = first;
		const float *xs = x + t0 * ldx;
		float *ys = y + t0 * ldy;

		for (; r + rows <= end; r += rows) {
			const char *p = data + r * stride;
			/* the tile one panel on, in the order it will be read */
			const char *next = p + (end - first) * stride;
			size_t left = next < stop ? (size_t)(stop - next) : 0;
			size_t lines = rows * stride / 64;

			if (lines > left / 64)
				lines = left / 64;
			if (i || tokens > FEW_TOKENS)
				lines = 0;
			tiles->by[t1 - t0].many(p, stride, xs, ldx, w->cols,
						ys + r, ldy, next,
						(uint32_t)lines);
		}
		for (; r < end; r++)
			tiles->by[t1 - t0].one(data + r * stride, stride, xs,
					       ldx, w->cols, ys + r, ldy, data,
					       0);
	}
}

void gemm_rows(const struct gemm_tiles *tiles, const struct weight *w,
	       uint32_t first, uint32_t end, const float *x, size_t ldx,
	       uint32_t tokens, float *y, size_t ldy)
{
	const char *stop = (const char *)w->data + end * w->row_stride;

	for (uint32_t r = first; r < end; r += GEMM_UNIT)
		panel(tiles, w, r, end - r < GEMM_UNIT ? end : r + GEMM_UNIT, x,
		      ldx, tokens, y, ldy, stop);
}
