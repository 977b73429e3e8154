/* SPDX-License-Identifier: MIT */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

#include <math.h>

float ref_sum8(const float l[8])
{
	return ((l[0] + l[4]) + (l[2] + l[6])) +
	       ((l[1] + l[5]) + (l[3] + l[7]));
}

float ref_dot(const float *w, const float *x, uint32_t n)
{
	float lane[8] = { 0 };

	for (uint32_t k = 0; k < (n + 7) / 8 * 8; k++)
		lane[k % 8] = fmaf(k < n ? w[k] : 0.0f, k < n ? x[k] : 0.0f,
				   lane[k % 8]);
	return ref_sum8(lane);
}

void ref_norm(const float *x, const float *w, uint32_t n, float eps, float *out)
{
	float r = 1.0f / sqrtf(ref_dot(x, x, n) / (float)n + eps);

	for (uint32_t i = 0; i < n; i++)
		out[i] = x[i] * r * w[i];
}

void ref_matmul(const struct weight *w, const float *bias,
		const struct host_rows *x, uint32_t rows, float *row,
		struct host_rows *y)
{
	if (weight_is_packed(w->type)) {
		ref_packed_matmul(w, bias, x, rows, row, y);
		return;
	}
	for (uint32_t r = 0; r < w->rows; r++) {
		weight_row(w, r, row);
		for (uint32_t t = 0; t < rows; t++) {
			float d = ref_dot(row, host_row(x, t), w->cols);

			host_row(y, t)[r] = bias ? d + bias[r] : d;
		}
	}
}
