/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/pack.h"

#include "kernels/cuda/layout.h"
#include "kernels/formats.h"
#include "kernels/half.h"

#include <errno.h>

static int bits_of(enum cuda_form form)
{
	switch (form) {
	case CUDA_W_BF16:
		return 16;
	case CUDA_W_INT8:
	case CUDA_W_FP8:
		return 8;
	case CUDA_W_INT4:
		return 4;
	}
	return 0;
}

size_t pack_bytes(enum cuda_form form, int rows, int cols)
{
	int bits = bits_of(form);

	return (size_t)layout_rows(rows) * layout_cols(bits, cols) * bits / 8;
}

size_t pack_scales(enum cuda_form form, int rows, int cols)
{
	int groups = layout_cols(4, cols) / LAYOUT_GROUP;

	if (form == CUDA_W_BF16)
		return 0;
	return (size_t)layout_rows(rows) * (form == CUDA_W_INT4 ? groups : 1);
}

int pack_row(const struct pack_place *place, int row)
{
	int in_head, head;

	switch (place->order) {
	case PACK_GATE:
	case PACK_UP:
		return layout_gate_up(place->order == PACK_UP, row);
	case PACK_PAIRS:
		in_head = row % place->head_dim;
		head = row - in_head;
		if (in_head < place->rotary_dim)
			in_head = in_head / 2 +
				  in_head % 2 * (place->rotary_dim / 2);
		return place->first + head + in_head;
	case PACK_AS_IS:
		break;
	}
	return place->first + row;
}

/*
 * Row @row of 16 bits: in each 16 columns, columns t, t + 1 and t + 8, t + 9
 * are words of lane row % 8 * 4 + t / 2 (layout_weight, four columns at once).
 */
static void row_bf16(const struct pack *p, int row, const float *src)
{
	int cols = layout_cols(16, p->cols);
	uint16_t *dst = (uint16_t *)p->w +
			(size_t)(row / LAYOUT_ROWS) * LAYOUT_ROWS * cols +
			row % 8 * 32 + row / 8 % 2 * 2;

	for (int c = 0; c < p->cols; c++) {
		int lane = c % 8 / 2, reg = c / 8 % 2 * 2;

		dst[c / 16 * 256 + lane * 8 + reg * 2 + c % 2] =
			f32_to_bf16(src[c]);
	}
}

int pack_weight(const struct pack *p, const struct weight *w,
		const struct pack_place *place, int row, int count,
		float *scratch)
{
	if (p->form != CUDA_W_BF16 || w->cols != (uint32_t)p->cols)
		return -EINVAL;
	for (int r = row; r < row + count; r++) {
		weight_row(w, (uint32_t)r, scratch);
		row_bf16(p, pack_row(place, r), scratch);
	}
	return 0;
}

void pack_vector(const float *v, int n, const struct pack_place *place,
		 float *dst)
{
	for (int i = 0; i < n; i++)
		dst[pack_row(place, i)] = v[i];
}
