/* SPDX-License-Identifier: MIT */
/*
 * packed.c - rules P1 to P3: products with packed weights.  The sums of a
 * block are integers, so they are exact in any order: that is what lets a
 * fast kernel add as it likes and still give these bits.
 */
#include "kernels/ref/ref.h"

#include "kernels/host.h"
#include "kernels/split.h"

#include <math.h>
#include <string.h>

float ref_quantize(const float *x, uint32_t n, int limit, int16_t *code)
{
	float top = 0, inverse;

	for (uint32_t i = 0; i < n; i++) {
		if (!isfinite(x[i]))
			top = INFINITY;
		else if (fabsf(x[i]) > top)
			top = fabsf(x[i]);
	}
	if (top == INFINITY || top < OPS_PACKED_LEAST) {
		memset(code, 0, n * sizeof(*code));
		return top == INFINITY ? NAN : 0;
	}
	inverse = (float)limit / top;
	for (uint32_t i = 0; i < n; i++)
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

/* P3: of one row of the input, @code and @scale */
static void rows8(const struct weight *w, const float *bias,
		  const int16_t *code, float scale, float *y)
{
	const char *p = w->data;

	for (uint32_t r = 0; r < w->rows; r++, p += w->row_stride) {
		const int8_t *v =
			(const int8_t *)p + weight_formats[w->type].head;
		int32_t sum = 0;
		float own;

		memcpy(&own, p, sizeof(own));
		for (uint32_t k = 0; k < w->cols; k++)
			sum += v[k] * code[k];
		y[r] = (float)sum * scale * own;
		if (bias)
			y[r] += bias[r];
	}
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

		if (w->type == WEIGHT_INT8) {
			rows8(w, bias, code,
			      ref_quantize(host_row(x, t), w->cols, 127, code),
			      out);
			continue;
		}
		for (uint32_t k = 0; k < w->cols; k += 32)
			scale[k / 32] = ref_quantize(host_row(x, t) + k, 32,
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
