/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/rows.h"

#include "kernels/cuda/context.h"
#include "kernels/half.h"

#include <assert.h>
#include <string.h>

struct rows {
	void *data; /* [nr, cols] of @number */
	uint32_t nr, cols;
	enum cuda_number number;
};

static struct rows rows_of(const struct ops_ctx *ctx, enum ops_buffer which)
{
	const struct ops_shape *s = &ctx->shape;
	const struct buffers *b = &ctx->buf;
	uint32_t rows = ctx->limits.max_rows;
	uint32_t wide = s->nr_heads * s->head_dim;
	const struct rows all[NR_OPS_BUFFERS] = {
		[OPS_X] = { b->x, rows, s->dim, CUDA_F32 },
		[OPS_XN] = { b->xn, rows, s->dim, ctx->number[OPS_XN] },
		[OPS_Q] = { b->q, rows, wide, CUDA_BF16 },
		[OPS_A] = { b->a, rows, wide, ctx->number[OPS_A] },
		[OPS_H] = { b->h, rows, s->ffn, ctx->number[OPS_H] },
		[OPS_LOGITS] = { b->logits, ctx->limits.max_logits, s->vocab,
				 CUDA_F32 },
	};

	assert((unsigned int)which < NR_OPS_BUFFERS);
	return all[which];
}

static size_t row_bytes(const struct rows *b)
{
	return (size_t)b->cols * (b->number == CUDA_F32 ? 4 : 2);
}

/* A row as it is there, from and to F32; exact, and to nearest even. */
static void widen(const struct rows *b, const void *row, float *to)
{
	const uint16_t *half = row;

	if (b->number == CUDA_F32)
		memcpy(to, row, row_bytes(b));
	for (uint32_t c = 0; b->number != CUDA_F32 && c < b->cols; c++)
		to[c] = b->number == CUDA_BF16 ? bf16_to_f32(half[c])
					       : f16_to_f32(half[c]);
}

static void narrow(const struct rows *b, const float *from, void *row)
{
	uint16_t *half = row;

	if (b->number == CUDA_F32)
		memcpy(row, from, row_bytes(b));
	for (uint32_t c = 0; b->number != CUDA_F32 && c < b->cols; c++)
		half[c] = b->number == CUDA_BF16 ? f32_to_bf16(from[c])
						 : f32_to_f16(from[c]);
}

size_t rows_widest(const struct ops_shape *s)
{
	size_t widest = s->vocab, wide = (size_t)s->nr_heads * s->head_dim;

	widest = widest > s->dim ? widest : s->dim;
	widest = widest > s->ffn ? widest : s->ffn;
	return widest > wide ? widest : wide;
}

int rows_peek(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, float *data)
{
	struct rows b = rows_of(ctx, which);
	size_t size = row_bytes(&b);

	assert(row <= b.nr && count <= b.nr - row);
	for (uint32_t i = 0; i < count; i++, data += b.cols) {
		int ret = device_fetch(&ctx->device, ctx->rows_host,
				       (char *)b.data + (row + i) * size, size);

		if (ret || (ret = device_wait(&ctx->device)))
			return ret;
		widen(&b, ctx->rows_host, data);
	}
	return 0;
}

int rows_poke(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, const float *data)
{
	struct rows b = rows_of(ctx, which);
	size_t size = row_bytes(&b);

	assert(row <= b.nr && count <= b.nr - row);
	for (uint32_t i = 0; i < count; i++, data += b.cols) {
		int ret;

		narrow(&b, data, ctx->rows_host);
		ret = device_send(&ctx->device,
				  (char *)b.data + (row + i) * size,
				  ctx->rows_host, size);
		if (ret || (ret = device_wait(&ctx->device)))
			return ret;
	}
	return 0;
}
