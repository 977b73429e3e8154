/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/open.h"

#include "kernels/cuda/agree.h"
#include "kernels/cuda/choose.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/load.h"
#include "kernels/cuda/place.h"
#include "kernels/cuda/sizes.h"
#include "kernels/cuda/rows.h"
#include "kernels/pool.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

static struct ops_limits whole(const struct ops_limits *limits)
{
	struct ops_limits l = *limits;

	l.max_seqs = l.max_seqs ? l.max_seqs : l.max_rows;
	return l;
}

/* All that a step works in, but the image: one run of memory. */
static void place(struct place *p, const struct ops_shape *shape,
		  const struct ops_limits *limits,
		  const struct plan_limits *plan, struct buffers *ret_buf,
		  struct choose *ret_choose)
{
	sizes_buffers(p, shape, limits, plan, ret_buf);
	choose_place(p, shape, limits, ret_choose);
}

uint64_t open_buffer_bytes(const struct ops_shape *shape,
			   const struct ops_limits *limits)
{
	struct ops_limits l = whole(limits);
	struct place count = { 0 };
	struct plan_limits plan;
	struct buffers buf;
	struct choose choose;

	sizes_plan(shape, &l, 1, 0, &plan);
	place(&count, shape, &l, &plan, &buf, &choose);
	place_take(&count, image_words(&plan, &l) * sizeof(uint32_t));
	return count.used;
}

static int take_buffers(struct ops_ctx *ctx, const struct plan_limits *plan,
			struct err *err)
{
	struct device *d = &ctx->device;
	struct place p = { 0 };

	place(&p, &ctx->shape, &ctx->limits, plan, &ctx->buf, &ctx->choose);
	p = (struct place){ .base = device_take(d, p.used, err) };
	if (!p.base)
		return -ENOMEM;
	place(&p, &ctx->shape, &ctx->limits, plan, &ctx->buf, &ctx->choose);
	ctx->rows_host = device_take_pinned(
		d, rows_widest(&ctx->shape) * sizeof(*ctx->rows_host), err);
	ctx->pairs_host = device_take_pinned(
		d, CONTEXT_PAIRS * sizeof(*ctx->pairs_host), err);
	if (!ctx->rows_host || !ctx->pairs_host)
		return -ENOMEM;
	return choose_open(&ctx->choose, d, &ctx->shape, &ctx->limits, err);
}

static int take_all(struct ops_ctx *ctx, struct err *err)
{
	struct device *d = &ctx->device;
	struct plan_limits plan;
	int ret;

	sizes_plan(&ctx->shape, &ctx->limits, d->processors,
		   ctx->agreed.attention, &plan);
	ret = take_buffers(ctx, &plan, err);
	if (!ret)
		ret = image_open(&ctx->image, d, &plan, &ctx->limits, err);
	if (ret)
		return ret;
	ctx->kv = device_take(d, ctx->limits.nr_blocks * ctx->block_bytes, err);
	ctx->layer = calloc(ctx->shape.nr_layers, sizeof(*ctx->layer));
	if (!ctx->kv)
		return -ENOMEM;
	if (!ctx->layer)
		return err_set(err, -ENOMEM, "no memory for an op context");
	ret = pool_open(ctx->limits.threads, &ctx->pool, err);
	if (ret)
		return ret;
	return upload_open(&ctx->upload, d, ctx->pool,
			   (int)rows_widest(&ctx->shape), err);
}

int open_cuda(const struct ops_shape *shape, const struct ops_limits *limits,
	      struct ops_ctx **ret_ctx, struct err *err)
{
	struct ops_limits l = whole(limits);
	struct ops_ctx *ctx;
	int ret = load_check(shape, &l, err);

	if (ret)
		return ret;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return err_set(err, -ENOMEM, "no memory for an op context");
	ctx->shape = *shape;
	ctx->limits = l;
	ctx->block_bytes = sizes_block_bytes(shape);
	ret = device_open(&ctx->device, l.device, err);
	if (!ret)
		ret = agree(&ctx->device, &ctx->agreed, err);
	if (!ret)
		ret = take_all(ctx, err);
	if (ret) {
		close_cuda(ctx);
		return ret;
	}
	*ret_ctx = ctx;
	return 0;
}

void close_cuda(struct ops_ctx *ctx)
{
	if (!ctx)
		return;
	upload_close(&ctx->upload);
	pool_close(ctx->pool);
	graphs_close(&ctx->graphs);
	device_close(&ctx->device);
	free(ctx->layer);
	free(ctx);
}
