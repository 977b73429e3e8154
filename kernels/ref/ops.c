/* SPDX-License-Identifier: MIT */
/* ops.c - the table of the plain C op set. */
#include "kernels/ref/ref.h"

#include "kernels/host.h"

static int usable(void)
{
	return 1;
}

static int ref_open(const struct ops_shape *shape,
		    const struct ops_limits *limits, struct ops_ctx **ret_ctx,
		    struct err *err)
{
	return host_open(shape, limits, 1, ret_ctx, err);
}

const struct ops ops_ref = {
	.name = "ref",
	.arith = OPS_ARITH_F32,
	.usable = usable,
	.kv_block_bytes = host_kv_block_bytes,
	.open = ref_open,
	.close = host_close,
	.load_ends = host_load_ends,
	.load_layer = host_load_layer,
	.arith_of = host_arith_of,
	.embed_norm = op_embed_norm_ref,
	.qkv_rope_kv = op_qkv_rope_kv_ref,
	.attention = op_attention_ref,
	.out_norm = op_out_norm_ref,
	.gate_up = op_gate_up_ref,
	.down_norm = op_down_norm_ref,
	.head = op_head_ref,
	.sample = op_sample_ref,
	.score = op_score_ref,
	.copy_blocks = op_copy_blocks_ref,
	.peek = host_peek,
	.poke = host_poke,
};
