/* SPDX-License-Identifier: MIT */
/*
 * packed.c - rules P1 and P2: products with packed weights.  The sums of a
 * block are integers, so they are exact in any order: that is what lets a
 * fast kernel add as it likes and still give these bits.
 */
#include "kernels/ref/ref.h"

#include "kernels/host.h"
#include "kernels/split.h"

#include <math.h>
#include <string.h>

/* P1 on 32 numbers; returns their scale */
float ref_quantize32(const float *x, int limit, int16_t code[32])
{
	float top = 0, inverse;

	for (int i = 0; i < 32; i++) {
		if (!isfinite(x[i]))
			top = INFINITY;
		else if (fabsf(x[i]) > top)
			top = fabsf(x[i]);
	}
	if (top == INFINITY || top < OPS_PACKED_LEAST) {
		memset(code, 0, 32 * sizeof(*code));
		return top == INFINITY ? NAN : 0;
	}
	inverse = (float)limit / top;
	for (int i = 0; i < 32; i++)
		code[i] = (int16_t)rintf(x[i] * inverse);
	return top / (float)limit;
}

/* P2 on one block; @code, @scale: of the row's numbers from this block on */
static float add_block(const struct weight_format *f, const struct packed *b,
		       const int16_t *code, const float *scale, float acc)
{
	for (uint32_t r = 0; r < f->block / f->run; r++) {
		float s = scale[r * f->run / 32];
		int32_t sum = 0, codes = 0;

		for (uint32_t i = r * f->run; i < (r + 1) * f->run; i++) {
			sum += b->code[i] * code[i];
			codes += code[i];
		}
		acc = fmaf(b->scale[r] * s, (float)sum, acc);
		if (f->has_min)
			acc = fmaf(b->min[r], s * (float)codes, acc);
	}
	return acc;
}

void ref_packed_matmul(const struct weight *w, const float *bias,
		       const struct host_rows *x, uint32_t rows, float *row,
		       struct host_rows *y)
{
	const struct weight_format *f = &weight_formats[w->type];
	float *scale = row + w->cols / 2;
	int16_t *code = (int16_t *)(void *)row;
	struct packed b;

	for (uint32_t t = 0; t < rows; t++) {
		float *out = host_row(y, t);

		for (uint32_t k = 0; k < w->cols; k += 32)
			scale[k / 32] = ref_quantize32(host_row(x, t) + k,
						       f->wide ? 32767 : 127,
						       code + k);
		for (uint32_t r = 0; r < w->rows; r++) {
			const char *p = w->data;
			float acc = 0;

			p += r * w->row_stride;
			for (uint32_t k = 0; k < w->cols; k += f->block) {
				f->split(p, &b);
				acc = add_block(f, &b, code + k, scale + k / 32,
						acc);
				p += f->block_bytes;
			}
			out[r] = bias ? acc + bias[r] : acc;
		}
	}
}
