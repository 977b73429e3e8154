/* SPDX-License-Identifier: MIT */
/* ops.c - the cpu op sets: one set of ops, a table of kernels for each ISA. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fp8.h"

#include "kernels/host.h"
#include "kernels/pool.h"
#include "kernels/ref/ref.h"
#include "base/err.h"

#include <cpuid.h>
#include <errno.h>

static int usable_avx2(void)
{
	unsigned int a, b, c, d;

	/* clang 14 has no name for F16C */
	return __builtin_cpu_supports("avx2") &&
	       __builtin_cpu_supports("fma") &&
	       __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int usable_avx512(void)
{
	return usable_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl");
}

/* q, o and the states of a thread's tiles. */
static int take_attn(struct ops_ctx *ctx, struct cpu_attn *at)
{
	size_t ld = ((size_t)ctx->shape.head_dim + 15) / 16 * 16;
	size_t n = ATTN_QUERIES;
	/* q, o twice, m and l twice */
	float *p = host_take(ctx, (3 * n * ld + 4 * n) * sizeof(float));

	if (!p)
		return -ENOMEM;
	at->part = (struct attn_tile){
		.head_dim = ctx->shape.head_dim,
		.kv = ctx->shape.kv,
		.ld = ld,
		.q = p,
		.o = p + n * ld,
		.m = p + 3 * n * ld,
		.l = p + 3 * n * ld + n,
	};
	at->all = at->part;
	at->all.o = p + 2 * n * ld;
	at->all.m = p + 3 * n * ld + 2 * n;
	at->all.l = p + 3 * n * ld + 3 * n;
	return 0;
}

/* The input of a product, and a panel of rows a thread. */
static int take_packed(struct ops_ctx *ctx, struct cpu_state *s)
{
	const struct ops_limits *l = &ctx->limits;
	uint32_t tokens = l->max_rows > l->max_logits ? l->max_rows
						      : l->max_logits;
	/* rows of any type, 256 numbers at a time; the widest has 8 bits */
	uint32_t cols = (host_widest(&ctx->shape) + 255) / 256 * 256;
	size_t panel = packed_group_bytes(WEIGHT_Q8_0, cols, PACKED_UNIT);
	size_t widened = fp8_panel_bytes_avx2(cols);

	for (int form = 0; form < NR_PACKED_FORMS; form++) {
		s->packed_x[form] = host_take(
			ctx, packed_input_bytes((enum packed_form)form, cols,
						tokens));
		if (!s->packed_x[form])
			return -ENOMEM;
	}
	s->panel = host_take(ctx, ctx->nr_threads * sizeof(*s->panel));
	if (!s->panel)
		return -ENOMEM;
	s->fast.nr = ctx->shape.nr_layers * OPS_LAYER_MATRICES + 1;
	s->fast.made = host_take(ctx, s->fast.nr * sizeof(*s->fast.made));
	if (!s->fast.made)
		return -ENOMEM;
	for (uint32_t i = 0; i < ctx->nr_threads; i++) {
		s->panel[i] = host_take(ctx, panel > widened ? panel : widened);
		if (!s->panel[i])
			return -ENOMEM;
	}
	return 0;
}

static int take_state(struct ops_ctx *ctx, const struct cpu_kernels *kernels)
{
	struct cpu_state *s = host_take(ctx, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->kernels = *kernels;
	s->tile = host_take(ctx, ctx->limits.max_rows * sizeof(*s->tile));
	s->attn = host_take(ctx, ctx->nr_threads * sizeof(*s->attn));
	if (!s->tile || !s->attn || take_packed(ctx, s))
		return -ENOMEM;
	ctx->cpu = s;
	for (uint32_t i = 0; i < ctx->nr_threads; i++)
		if (take_attn(ctx, &s->attn[i]))
			return -ENOMEM;
	return 0;
}

static int cpu_open(const struct cpu_kernels *kernels,
		    const struct ops_shape *shape,
		    const struct ops_limits *limits, struct ops_ctx **ret_ctx,
		    struct err *err)
{
	struct ops_ctx *ctx;
	struct pool *pool;
	int ret = pool_open(limits->threads, &pool, err);

	if (ret)
		return ret;
	ret = host_open(shape, limits, pool_threads(pool), &ctx, err);
	if (ret)
		goto out_pool;
	ret = take_state(ctx, kernels);
	if (ret) {
		err_set(err, ret, "no memory for attention");
		goto out_ctx;
	}
	ctx->pool = pool;
	*ret_ctx = ctx;
	return 0;
out_ctx:
	host_close(ctx);
out_pool:
	pool_close(pool);
	return ret;
}

static void cpu_close(struct ops_ctx *ctx)
{
	if (!ctx)
		return;
	pool_close(ctx->pool);
	host_close(ctx);
}

static int open_avx2(const struct ops_shape *shape,
		     const struct ops_limits *limits, struct ops_ctx **ret_ctx,
		     struct err *err)
{
	return cpu_open(&cpu_kernels_avx2, shape, limits, ret_ctx, err);
}

/* AVX-512 where it is worth it: the products and attention's inner loops. */
static int open_avx512(const struct ops_shape *shape,
		       const struct ops_limits *limits,
		       struct ops_ctx **ret_ctx, struct err *err)
{
	struct cpu_kernels kernels = cpu_kernels_avx2;

	kernels.gemm = gemm_tiles_avx512;
	kernels.packed = __builtin_cpu_supports("avx512vnni") ? &packed_vnni
							      : &packed_avx512;
	kernels.attn_block = attn_block_avx512;
	return cpu_open(&kernels, shape, limits, ret_ctx, err);
}

#define CPU_OPS                                                                \
	.arith = OPS_ARITH_F32, .kv_block_bytes = host_kv_block_bytes,         \
	.close = cpu_close, .load_ends = host_load_ends,                       \
	.load_layer = host_load_layer, .arith_of = host_arith_of,              \
	.improved_bytes = cpu_improved_bytes, .improve = cpu_improve,          \
	.adopt = cpu_adopt, .embed_norm = op_embed_norm_cpu,                   \
	.qkv_rope_kv = op_qkv_rope_kv_cpu, .attention = op_attention_cpu,      \
	.out_norm = op_out_norm_cpu, .gate_up = op_gate_up_cpu,                \
	.down_norm = op_down_norm_cpu, .head = op_head_cpu,                    \
	.sample = op_sample_cpu, .score = op_score_cpu,                        \
	.copy_blocks = op_copy_blocks_ref, .peek = host_peek,                  \
	.poke = host_poke

const struct ops ops_avx2 = {
	.name = "avx2",
	.usable = usable_avx2,
	.open = open_avx2,
	CPU_OPS,
};

const struct ops ops_avx512 = {
	.name = "avx512",
	.usable = usable_avx512,
	.open = open_avx512,
	CPU_OPS,
};
