/* SPDX-License-Identifier: MIT */
/* kv.c - keys and values of a token to their slot, as F32, by K1 or by K2. */
#include "kernels/ref/ref.h"

#include "kernels/half.h"
#include "kernels/host.h"

#include <math.h>

/* K1 on one head; code[i] goes to @to[i * stride]; returns the scale */
static float quantize_head(const float *x, uint32_t n, int8_t *to,
			   uint32_t stride)
{
	float top = 0, inverse;
	int finite = 1;

	for (uint32_t i = 0; i < n; i++) {
		float size = fabsf(x[i]);

		finite &= size <= 3.402823466e38f;
		top = size > top ? size : top;
	}
	inverse = finite && top >= OPS_PACKED_LEAST ? 127.0f / top : 0;
	for (uint32_t i = 0; i < n; i++) {
		float v = finite ? x[i] * inverse : 0;

		/* to nearest even, as rintf() does for |v| < 2^22 */
		to[i * stride] = (int8_t)((v + 12582912.0f) - 12582912.0f);
	}
	return !finite ? NAN : inverse > 0 ? top / 127.0f : 0;
}

static void write8(struct ops_ctx *ctx, uint32_t layer, uint32_t slot,
		   const float *k, const float *v)
{
	uint32_t hd = ctx->shape.head_dim, t = slot % OPS_BLOCK;

	for (uint32_t h = 0; h < ctx->shape.nr_kv_heads; h++) {
		int8_t *to_k = host_k(ctx, slot / OPS_BLOCK, layer, h);
		int8_t *to_v = host_v(ctx, slot / OPS_BLOCK, layer, h);

		host_kv_scales(to_k, hd)[t] =
			quantize_head(k + h * hd, hd, to_k + t, OPS_BLOCK);
		host_kv_scales(to_v, hd)[t] =
			quantize_head(v + h * hd, hd, to_v + t * hd, 1);
	}
}

/* K2 */
static uint16_t narrow(float x)
{
	x = x > 65504.0f ? 65504.0f : x;
	return f32_to_f16(x < -65504.0f ? -65504.0f : x);
}

static void write16(struct ops_ctx *ctx, uint32_t layer, uint32_t slot,
		    const float *k, const float *v)
{
	uint32_t hd = ctx->shape.head_dim, t = slot % OPS_BLOCK;

	for (uint32_t h = 0; h < ctx->shape.nr_kv_heads; h++) {
		uint16_t *to_k = host_k(ctx, slot / OPS_BLOCK, layer, h);
		uint16_t *to_v = host_v(ctx, slot / OPS_BLOCK, layer, h);

		for (uint32_t d = 0; d < hd; d++) {
			to_k[d * OPS_BLOCK + t] = narrow(k[h * hd + d]);
			to_v[t * hd + d] = narrow(v[h * hd + d]);
		}
	}
}

void ref_write_kv(struct ops_ctx *ctx, uint32_t layer, uint32_t slot,
		  const float *k, const float *v)
{
	uint32_t hd = ctx->shape.head_dim, t = slot % OPS_BLOCK;

	if (slot / OPS_BLOCK == 0)
		return;
	if (ctx->shape.kv == KV_Q8) {
		write8(ctx, layer, slot, k, v);
		return;
	}
	if (ctx->shape.kv == KV_F16) {
		write16(ctx, layer, slot, k, v);
		return;
	}
	for (uint32_t h = 0; h < ctx->shape.nr_kv_heads; h++) {
		float *to_k = host_k(ctx, slot / OPS_BLOCK, layer, h);
		float *to_v = host_v(ctx, slot / OPS_BLOCK, layer, h);

		for (uint32_t d = 0; d < hd; d++)
			to_k[d * OPS_BLOCK + t] = k[h * hd + d];
		for (uint32_t d = 0; d < hd; d++)
			to_v[t * hd + d] = v[h * hd + d];
	}
}
