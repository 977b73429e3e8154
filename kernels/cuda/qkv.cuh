/* SPDX-License-Identifier: MIT */
/*
 * qkv.cuh - between the product with q, k, v and attention: q and k norm,
 * rope (the pairs of rotate_half: dimension i turns with i + rotary_dim / 2;
 * rule F5 of ops.h), and the one rounding, to bf16 or to codes (rule K1); keys
 * and values to their slot in the image of their block.
 *
 * A warp has one head of one token, so a head's sum has one order: lane t takes
 * dimensions t, t + 32, .. by fma, lanes fold by halves.
 *
 * A kernel of its own and not the product's end: a norm needs a whole head,
 * which is several warps' rows there, and the pairs of rope would want rows of
 * the weights in another order.  It costs writing and reading F32 once, 8
 * bytes a number, that is 48 KiB a token of Llama-3-8B's and a launch a layer.
 * Bound by memory; no GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_QKV_CUH
#define KERNELS_CUDA_QKV_CUH

#include "kernels/cuda/arith.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"

#define QKV_WARPS 4

/* Where a head goes, and as what. */
enum qkv_form {
	QKV_ROW,   /* bf16, one after the other */
	QKV_BLOCK, /* bf16, a token of a block's image */
	QKV_TOP,   /* nowhere: the largest is looked for */
	QKV_CODES, /* 8 bits, a token of a block's image */
};

struct qkv_place {
	void *p;
	enum qkv_form form;
	int head_dim, token;
	float top, inverse; /* of codes: the largest, 127 over it */

	DEV_MEMBER int at(int d) const
	{
		return layout_kv(head_dim, token, d / 8) / 2 + d % 8;
	}

	DEV_MEMBER void store(int d, float v)
	{
		switch (form) {
		case QKV_ROW:
			store_one(p, d, v, CUDA_BF16);
			break;
		case QKV_BLOCK:
			store_one(p, at(d), v, CUDA_BF16);
			break;
		case QKV_TOP:
			v = fabsf(v) <= 3.402823466e38f ? fabsf(v) : INFINITY;
			top = fmaxf(top, v);
			break;
		case QKV_CODES:
			((int8_t *)p)[at(d)] =
				(int8_t)(inverse > 0 ? rintf(v * inverse) : 0);
			break;
		}
	}
};

/* One over the root mean square of a head, in all lanes. */
DEV float qkv_inverse_rms(const float *x, int n, float eps)
{
	float sum = 0;

	for (int d = threadIdx.x % 32; d < n; d += 32)
		sum = fmaf(x[d], x[d], sum);
	for (int s = 16; s; s >>= 1)
		sum += __shfl_xor_sync(WHOLE_WARP, sum, s);
	return 1.f / sqrtf(fmaf(sum, 1.f / (float)n, eps));
}

/* @turn: cos and sin of the position, NULL for values */
DEV void qkv_head(const struct cuda_qkv_args &p, const float *x,
		  const float *norm, const float *turn, struct qkv_place &to)
{
	int half = turn ? p.rotary_dim / 2 : 0, lane = threadIdx.x % 32;
	float r = norm ? qkv_inverse_rms(x, p.head_dim, p.eps) : 1;

	for (int i = lane; i < half; i += 32) {
		float a = x[i], b = x[i + half];
		float c = turn[2 * i], s = turn[2 * i + 1];

		if (norm) {
			a = a * r * norm[i];
			b = b * r * norm[i + half];
		}
		to.store(i, fmaf(a, c, -(b * s)));
		to.store(i + half, fmaf(b, c, a * s));
	}
	for (int d = 2 * half + lane; d < p.head_dim; d += 32)
		to.store(d, norm ? x[d] * r * norm[d] : x[d]);
}

/* Rule K1: the largest of a head, then its codes and the scale. */
DEV void qkv_codes(const struct cuda_qkv_args &p, const float *x,
		   const float *norm, const float *turn, struct qkv_place &to)
{
	float *scales = (float *)((char *)to.p + KV_BLOCK * to.head_dim);
	bool none;

	to.form = QKV_TOP;
	to.top = 0;
	qkv_head(p, x, norm, turn, to);
	for (int s = 16; s; s >>= 1)
		to.top = fmaxf(to.top, __shfl_xor_sync(WHOLE_WARP, to.top, s));
	none = to.top < 0x1p-100f || to.top == INFINITY;
	to.inverse = none ? 0 : 127.f / to.top;
	to.form = QKV_CODES;
	qkv_head(p, x, norm, turn, to);
	if (threadIdx.x % 32 == 0)
		scales[to.token] = to.top == INFINITY ? NAN
				   : none	      ? 0
						      : to.top / 127.f;
}

/* grid = tokens, heads of q, k and v / QKV_WARPS upward */
__global__ void __launch_bounds__(QKV_WARPS * 32)
	qkv(const struct cuda_qkv_args p)
{
	int heads = p.nr_heads + 2 * p.nr_kv_heads, dim = p.head_dim;
	int head = blockIdx.y * QKV_WARPS + threadIdx.x / 32;
	int kv_head = (head - p.nr_heads) % p.nr_kv_heads;
	size_t token = blockIdx.x;
	bool key = head < p.nr_heads + p.nr_kv_heads;
	struct qkv_place to = {
		p.q + (token * p.nr_heads + head) * dim, QKV_ROW, dim, 0, 0, 0
	};

	pdl_wait();
	pdl_go();
	if (head >= heads)
		return;
	const float *x = p.qkv + (token * heads + head) * dim;
	const float *turn = p.rope + (size_t)p.position[token] * p.rotary_dim;
	uint32_t slot = p.slot[token];

	if (head < p.nr_heads) {
		qkv_head(p, x, p.q_norm, turn, to);
		return;
	}
	if (slot / KV_BLOCK == 0)
		return;
	int bytes = p.kv == CUDA_KV_Q8 ? layout_kv8_bytes(dim)
				       : layout_kv_bytes(dim);
	const float *norm = key ? p.k_norm : NULL;

	to.p = (char *)((key ? p.k : p.v) + slot / KV_BLOCK * p.block_stride) +
	       (size_t)kv_head * bytes;
	to.form = QKV_BLOCK;
	to.token = (int)(slot % KV_BLOCK);
	if (p.kv == CUDA_KV_Q8)
		qkv_codes(p, x, norm, key ? turn : NULL, to);
	else
		qkv_head(p, x, norm, key ? turn : NULL, to);
}

#endif
