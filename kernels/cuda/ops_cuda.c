/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/ops_cuda.h"

#include "kernels/cuda/choose.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/load.h"
#include "kernels/cuda/open.h"
#include "kernels/cuda/sizes.h"
#include "kernels/cuda/rows.h"
#include "kernels/library.h"

#include <assert.h>
#include <errno.h>
#include <math.h>

/* ---- a step ---- */

/* What ops.h says that the caller guarantees. */
static void check_sequence(const struct ops_ctx *ctx, const struct step *s,
			   uint32_t i)
{
	uint32_t first = s->query_start[i], end = s->query_start[i + 1];
	uint32_t context = s->context_len[i];
	uint32_t blocks = (context + OPS_BLOCK - 1) / OPS_BLOCK;

	assert(first <= end && end <= s->nr_rows);
	assert(context <= ctx->limits.max_context);
	assert(blocks <= s->table_stride);
	for (uint32_t b = 0; b < blocks; b++)
		assert(s->block_table[(size_t)i * s->table_stride + b] <
		       ctx->limits.nr_blocks);
	for (uint32_t r = first; r < end; r++) {
		assert(s->token[r] < OPS_LATE ||
		       s->token[r] - OPS_LATE < ctx->choose.nr_before);
		assert(s->position[r] < context);
		assert(r == first || s->position[r] > s->position[r - 1]);
		assert(s->slot[r] / OPS_BLOCK < ctx->limits.nr_blocks);
	}
}

static void check_step(const struct ops_ctx *ctx, const struct step *s)
{
	assert(s->nr_rows >= 1 && s->nr_rows <= ctx->limits.max_rows);
	assert(s->nr_seqs >= 1 && s->nr_seqs <= ctx->limits.max_seqs);
	assert(s->query_start[0] == 0);
	assert(s->query_start[s->nr_seqs] == s->nr_rows);
	for (uint32_t i = 0; i < s->nr_seqs; i++)
		check_sequence(ctx, s, i);
	for (uint32_t i = 0; i < s->nr_outs; i++)
		assert(s->out_row[i] < s->nr_rows);
}

/* A buffer as it is to be read, in the numbers that its reader wants. */
static enum cuda_number keep(struct ops_ctx *ctx, enum ops_buffer which,
			     const struct linear *reader)
{
	ctx->number[which] = reader->input;
	return reader->input;
}

/* embed_norm, but for the image. */
static int start_embed(struct ops_ctx *ctx)
{
	return device_started(
		&ctx->device,
		cuda_embed_norm(
			&(struct cuda_embed_args){
				.embed = ctx->ends.embed,
				.token = ctx->image.token,
				.late = choose_late(ctx),
				.w = ctx->layer[0].attn_norm,
				.x = ctx->buf.x,
				.y = ctx->buf.xn,
				.rows = (int)ctx->image.rows,
				.dim = (int)ctx->shape.dim,
				.vocab = (int)ctx->shape.vocab,
				.eps = ctx->shape.norm_eps,
				.embed_number = ctx->ends.number,
				.w_number = CUDA_F32,
				.y_number =
					keep(ctx, OPS_XN, &ctx->layer[0].qkv),
			},
			ctx->device.stream));
}

/* XN = norm(X) * w, for @reader */
static int norm(struct ops_ctx *ctx, const float *w,
		const struct linear *reader)
{
	return device_started(
		&ctx->device,
		cuda_residual_norm(
			&(struct cuda_norm_args){
				.x = ctx->buf.x,
				.w = w,
				.y = ctx->buf.xn,
				.rows = (int)ctx->image.rows,
				.dim = (int)ctx->shape.dim,
				.eps = ctx->shape.norm_eps,
				.w_number = CUDA_F32,
				.y_number = keep(ctx, OPS_XN, reader),
			},
			ctx->device.stream));
}

static enum cuda_kv kv_of(const struct ops_ctx *ctx)
{
	return ctx->shape.kv == KV_Q8 ? CUDA_KV_Q8 : CUDA_KV_BF16;
}

/* K (0) or V (1) of @layer, head 0, block 0. */
static uint16_t *cache(const struct ops_ctx *ctx, uint32_t layer, uint32_t kv)
{
	size_t head = sizes_kv_head(&ctx->shape) / sizeof(*ctx->kv);

	return ctx->kv +
	       ((size_t)layer * 2 + kv) * ctx->shape.nr_kv_heads * head;
}

static int qkv_rope_kv(struct ops_ctx *ctx, const struct step *step,
		       uint32_t layer)
{
	const struct ops_shape *s = &ctx->shape;
	const struct layer *l = &ctx->layer[layer];
	int ret;

	if (ctx->started)
		return 0;
	ret = linear_run(ctx, &l->qkv,
			 &(struct linear_run){
				 .x = ctx->buf.xn,
				 .x_rows = ctx->image.rows,
				 .rows = ctx->image.rows,
				 .number = CUDA_F32,
				 .y = ctx->buf.qkv,
			 });
	if (ret)
		return ret;
	return device_started(
		&ctx->device,
		cuda_qkv(
			&(struct cuda_qkv_args){
				.qkv = ctx->buf.qkv,
				.q_norm = l->q_norm,
				.k_norm = l->k_norm,
				.rope = l->rope,
				.position = ctx->image.position,
				.slot = ctx->image.slot,
				.q = ctx->buf.q,
				.k = cache(ctx, layer, 0),
				.v = cache(ctx, layer, 1),
				.block_stride = ctx->block_bytes / 2,
				.tokens = (int)ctx->image.rows,
				.nr_heads = (int)s->nr_heads,
				.nr_kv_heads = (int)s->nr_kv_heads,
				.head_dim = (int)s->head_dim,
				.rotary_dim = (int)s->rotary_dim,
				.eps = s->norm_eps,
				.kv = kv_of(ctx),
			},
			ctx->device.stream));
}

static int attention(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer)
{
	const struct ops_shape *s = &ctx->shape;
	const struct image *m = &ctx->image;
	struct cuda_attention_args args;
	int ret = 0;

	if (ctx->started)
		return 0;
	args = (struct cuda_attention_args){
		.q = ctx->buf.q,
		.k = cache(ctx, layer, 0),
		.v = cache(ctx, layer, 1),
		.plan = m->plan,
		.work = m->many,
		.block_table = (const int *)m->block_table,
		.query_start = (const int *)m->query_start,
		.context_len = (const int *)m->context_len,
		.part = ctx->buf.part,
		.state = ctx->buf.state,
		.count = ctx->buf.count,
		.out = ctx->buf.a,
		.block_stride = ctx->block_bytes / 2,
		.nr_heads = (int)s->nr_heads,
		.nr_kv_heads = (int)s->nr_kv_heads,
		.nr_work = (int)m->nr_many,
		.scale = (float)(s->attn_scale * M_LOG2E),
		.number = keep(ctx, OPS_A, &ctx->layer[layer].o),
		.head_dim = (int)s->head_dim,
		.window = (int)ctx->layer[layer].window,
		.position = m->position,
		.kv = kv_of(ctx),
	};
	/* a graph is for any step of its size */
	assert(!m->nr_many || !ctx->device.recording);
	if (m->nr_many)
		ret = device_started(&ctx->device,
				     cuda_attention_sm90(&args,
							 ctx->device.stream));
	args.work = m->work;
	args.nr_work = (int)m->nr_work;
	if (m->nr_work && !ret)
		ret = device_started(&ctx->device,
				     cuda_attention(&args, ctx->device.stream));
	return ret;
}

/* X += l . x */
static int add_product(struct ops_ctx *ctx, const struct linear *l,
		       const void *x)
{
	return linear_run(ctx, l,
			  &(struct linear_run){
				  .x = x,
				  .x_rows = ctx->image.rows,
				  .rows = ctx->image.rows,
				  .end = CUDA_ADD,
				  .number = CUDA_F32,
				  .y = ctx->buf.x,
			  });
}

static int out_norm(struct ops_ctx *ctx, const struct step *step,
		    uint32_t layer)
{
	const struct layer *l = &ctx->layer[layer];
	int ret;

	if (ctx->started)
		return 0;
	ret = add_product(ctx, &l->o, ctx->buf.a);
	return ret ? ret : norm(ctx, l->mlp_norm, &l->gate_up);
}

static int gate_up(struct ops_ctx *ctx, const struct step *step, uint32_t layer)
{
	const struct layer *l = &ctx->layer[layer];

	if (ctx->started)
		return 0;
	return linear_run(ctx, &l->gate_up,
			  &(struct linear_run){
				  .x = ctx->buf.xn,
				  .x_rows = ctx->image.rows,
				  .rows = ctx->image.rows,
				  .end = CUDA_SWIGLU,
				  .number = keep(ctx, OPS_H, &l->down),
				  .y = ctx->buf.h,
			  });
}

static int down_norm(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer)
{
	int last = layer + 1 == ctx->shape.nr_layers, ret;
	const struct layer *next = last ? NULL : &ctx->layer[layer + 1];

	if (ctx->started) {
		ctx->started = !last;
		return 0;
	}
	ret = add_product(ctx, &ctx->layer[layer].down, ctx->buf.h);
	if (ret)
		return ret;
	return norm(ctx, last ? ctx->ends.norm : next->attn_norm,
		    last ? &ctx->ends.head : &next->qkv);
}

/* ---- its beginning: here, as all ops of the layers are above ---- */

static int start_layer(struct ops_ctx *ctx, uint32_t layer)
{
	int ret;

	if ((ret = qkv_rope_kv(ctx, NULL, layer)) ||
	    (ret = attention(ctx, NULL, layer)) ||
	    (ret = out_norm(ctx, NULL, layer)) ||
	    (ret = gate_up(ctx, NULL, layer)))
		return ret;
	return down_norm(ctx, NULL, layer);
}

/* What the ops of a step's layers start, one after the other. */
static int start_layers(void *arg)
{
	struct ops_ctx *ctx = arg;
	int ret = start_embed(ctx);

	for (uint32_t l = 0; l < ctx->shape.nr_layers && !ret; l++)
		ret = start_layer(ctx, l);
	return ret;
}

/* The graph that is to compute @s, -1: none. */
static int choose_graph(const struct ops_ctx *ctx, const struct step *s)
{
	int i = ctx->limits.whole_steps ? graph_of(s->nr_rows) : -1;

	/* an image of that room has no place for more */
	if (i >= 0 && (graph_rows(i) > ctx->limits.max_rows ||
		       graph_rows(i) < s->nr_seqs))
		return -1;
	return i;
}

static int embed_norm(struct ops_ctx *ctx, const struct step *step)
{
	int graph, ret;

	check_step(ctx, step);
	graph = choose_graph(ctx, step);
	ret = image_send(&ctx->image, &ctx->device, step,
			 graph < 0 ? step->nr_rows : graph_rows(graph));
	if (ret)
		return ret;
	if (graph >= 0)
		ret = graph_run(&ctx->graphs, &ctx->device, graph, start_layers,
				ctx);
	if (ret < 0)
		return ret;
	ctx->started = ret;
	return ctx->started ? 0 : start_embed(ctx);
}

static int head(struct ops_ctx *ctx, const struct step *step, uint32_t first,
		uint32_t count)
{
	assert(count <= ctx->limits.max_logits &&
	       first + count <= step->nr_outs);
	return linear_run(ctx, &ctx->ends.head,
			  &(struct linear_run){
				  .x = ctx->buf.xn,
				  .x_row = ctx->image.out_row + first,
				  .x_rows = step->nr_rows,
				  .rows = count,
				  .number = CUDA_F32,
				  .y = ctx->buf.logits,
			  });
}

/* ---- between steps ---- */

/* A portion that the pinned list holds. */
static int copy_some(struct ops_ctx *ctx, const struct block_copy *pairs,
		     uint32_t count)
{
	struct device *d = &ctx->device;
	int ret;

	for (uint32_t i = 0; i < count; i++) {
		assert(pairs[i].src < ctx->limits.nr_blocks);
		assert(pairs[i].dst && pairs[i].dst < ctx->limits.nr_blocks);
		assert(pairs[i].src != pairs[i].dst);
		ctx->pairs_host[i] =
			(struct cuda_block_pair){ pairs[i].src, pairs[i].dst };
	}
	if ((ret = device_send(d, ctx->buf.pairs, ctx->pairs_host,
			       count * sizeof(*ctx->pairs_host))) ||
	    (ret = device_started(
		     d, cuda_copy_blocks(
				&(struct cuda_copy_args){
					.kv = ctx->kv,
					.pairs = ctx->buf.pairs,
					.block_bytes = ctx->block_bytes,
					.nr_pairs = (int)count,
				},
				d->stream))))
		return ret;
	return device_wait(d);
}

static int copy_blocks(struct ops_ctx *ctx, const struct block_copy *pairs,
		       uint32_t count)
{
	int ret = 0;

	for (uint32_t at = 0; at < count && !ret; at += CONTEXT_PAIRS)
		ret = copy_some(ctx, pairs + at,
				count - at < CONTEXT_PAIRS ? count - at
							   : CONTEXT_PAIRS);
	return ret;
}

static uint64_t arith_of(const struct ops_ctx *ctx)
{
	/* FNV-1a: of the device's generation, of 8-bit KV, of roundings */
	uint64_t id = (OPS_ARITH_CUDA ^ (uint64_t)ctx->device.generation) *
		      0x100000001b3ull;

	if (ctx->shape.kv == KV_Q8)
		id = (id ^ 0x6b763801) * 0x100000001b3ull;
	if (ctx->shape.weights == WEIGHTS_INT8)
		id = (id ^ 0x77386101) * 0x100000001b3ull;
	if (ctx->shape.weights == WEIGHTS_FP8)
		id = (id ^ 0x77667001) * 0x100000001b3ull;
	if (ctx->shape.weights == WEIGHTS_INT4)
		id = (id ^ 0x77693401) * 0x100000001b3ull;
	return id;
}

static int usable(void)
{
	struct ops_device d;

	return !device_info(0, &d, NULL);
}

const struct ops ops_cuda = {
	.name = "cuda",
	.arith = OPS_ARITH_CUDA,
	.usable = usable,
	.device = device_info,
	.buffer_bytes = open_buffer_bytes,
	.loaded_bytes = sizes_loaded_bytes,
	.kv_block_bytes = sizes_block_bytes,
	.open = open_cuda,
	.close = close_cuda,
	.load_ends = load_ends,
	.load_layer = load_layer,
	.arith_of = arith_of,
	.embed_norm = embed_norm,
	.qkv_rope_kv = qkv_rope_kv,
	.attention = attention,
	.out_norm = out_norm,
	.gate_up = gate_up,
	.down_norm = down_norm,
	.head = head,
	.sample = op_sample_cuda,
	.score = op_score_cuda,
	.end_step = op_end_step_cuda,
	.collect = op_collect_cuda,
	.copy_blocks = copy_blocks,
	.peek = rows_peek,
	.poke = rows_poke,
};

/* What ops_load() finds. */
__attribute__((
	visibility("default"))) extern const struct ops_library llm_ops_library;
const struct ops_library llm_ops_library = {
	.size = sizeof(llm_ops_library),
	.sizes = OPS_LIBRARY_SIZES,
	.version = LLM_VERSION,
	.ops = &ops_cuda,
};
