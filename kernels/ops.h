/* SPDX-License-Identifier: MIT */
/*
 * ops.h - what a transformer is made of: about ten fused operations, as rows
 * of one struct of functions that an op set fills (kernels/ref: plain C, the
 * definition; kernels/cpu: AVX2, AVX-512; kernels/cuda: GPUs, in a library of
 * its own, library.h).  The model layer writes forward() once over this table
 * and never sees memory that an op set computes in.
 *
 * An op set holds, behind struct ops_ctx, everything a step touches: the KV
 * pool, the rope tables, its form of the weights, its threads or its device,
 * and these buffers, which the ops hand to each other:
 *
 *	X       residual stream       [max_rows][dim]
 *	XN      normed input of a     [max_rows][dim]
 *	        matrix product
 *	Q       queries               [max_rows][nr_heads][head_dim]
 *	A       attention's answer    [max_rows][nr_heads][head_dim]
 *	H       inside of the MLP     [max_rows][ffn]
 *	LOGITS                        [max_logits][vocab]
 *
 * All memory is taken at open and load; a step allocates nothing (but of a
 * device's driver, once for each of a few sizes of a step: whole_steps).  One
 * thread calls; an op returns when its results may be used by the next op (a
 * device may still be computing: score, peek and copy_blocks wait).
 *
 * The arithmetic
 * --------------
 * A row's result depends on that row (its token, position and the KV that its
 * block table names) alone: not on other rows, on how a prompt was cut into
 * steps, on threads, on where blocks lie.  Each op set states its arithmetic
 * and gives it an id: the same id, the same bits.  OPS_ARITH_F32 is the
 * arithmetic of ref, avx2 and avx512, whose results are equal bit for bit:
 *
 * F1  Activations and KV are F32; weights (F32, F16, BF16) widen to F32
 *     exactly, those of FP8 by one product, F32(code) * scale (formats.h).
 *     Each + * / sqrt and fma below rounds once, to nearest even; nothing else
 *     rounds, nothing is contracted or reordered.
 * F2  dot(w, x) over k: eight lanes from +0; lane j takes k = j, j+8, j+16, ..
 *     ascending by fma(w[k], x[k], lane); w and x are padded with +0 to a
 *     multiple of 8; sum8 of the lanes = ((0+4)+(2+6)) + ((1+5)+(3+7)).
 * F3  norm(x) * w: s = dot(x, x); r = 1 / sqrt(s / n + eps); (x[i]*r) * w[i].
 * F4  exp(x), x <= 0: one polynomial (kernels/expf.h, the same operations on
 *     every path); x < -87 gives exactly 0.
 * F5  rope: per pair (a, b) = (x[i], x[i + rotary_dim/2]), c and s from the
 *     table: a' = fma(a, c, -(b*s)), b' = fma(b, c, a*s); dimensions from
 *     rotary_dim on stay as they are.  Then q is multiplied by attn_scale.
 * F6  attention of one query head over keys lo..hi (absolute positions; hi =
 *     the row's own, lo = 0 or hi - window + 1, at least 0).  Keys come in
 *     blocks of 16 absolute positions, ascending; state m = -inf, l = 0,
 *     o = 0; per block, over its keys in lo..hi only:
 *       s[t] = q.k[t]: one chain from +0 by fma(q[d], k[d], s), d ascending
 *       m' = max(m, s[..]);  c = m == m' ? 1 : exp(m - m');
 *       p[t] = exp(s[t] - m'), 0 for keys outside;
 *       l = fma(l, c, sum8(p[j] + p[j + 8]));
 *       o[d] = o[d] * c, then t ascending: o[d] = fma(p[t], v[t][d], o[d]).
 *     The state starts afresh at each multiple of 512 positions; the finished
 *     parts are folded ascending, the first taken as it is:
 *       m' = max(ma, mb); ca = ma == m' ? 1 : exp(ma - m'); cb likewise;
 *       l = fma(la, ca, lb*cb); o = fma(oa, ca, ob*cb).
 *     Answer: o[d] * (1 / l).
 * F7  silu(g) * u: e = exp(-|g|), t = 1 + e; g >= 0 ? g/t : (g*e)/t; then * u.
 * F8  bias: dot + b; residual: x + (that).
 * F9  choosing and judging tokens: struct sampler, score.
 *
 * Where a matrix is packed (formats.h), P1 to P3 stand in place of F2 for its
 * products; everything else stays, and the embedding takes the number as it is
 * unpacked.  The id is then another: arith_of().
 *
 * P1  The input row, 32 numbers at a time: top = the largest |x|, L = 127 (32767
 *     where the type is wide: Q8_0, IQ4_NL);
 *       some x is not finite: scale s = NaN, codes 0
 *       top < 2^-100:         s = 0, codes 0
 *       else:                 s = top / L, codes = x * (L / top) to the nearest
 *                             integer, ties to even.
 * P2  acc = +0; the runs of the weight row ascending (16 or 32 numbers, with
 *     scale w and perhaps a minimum m; s: the scale of the input there), sums
 *     over the run's products of codes and over the input's codes, exact:
 *       acc = fma(w * s, F32(sum of products), acc)
 *       acc = fma(m, s * F32(sum of codes), acc)     where the type has_min
 *     w and m are products of an F16 and a small integer: exact; of INT4 w is
 *     its F32, m = -(w * zero), rounded once (and exact where w has 19 bits).
 * P3  INT8 (W8A8) has one scale w a row, and the input, found as in P1 over the
 *     whole row with L = 127, one scale s; the sum of products is exact in 32
 *     bits up to OPS_INT8_COLS columns:
 *       dot = (F32(sum of products) * s) * w
 *
 * K1  With KV_Q8 a head's key or value is head_dim codes of 8 bits and a
 *     scale, found as in P1 over the whole head with L = 127.  In F6 then,
 *     with the scales sk[t] and sv[t] of a block's keys and values:
 *       s[t] = (the chain over the codes as F32) * sk[t];
 *       o[d] takes (p[t] * sv[t]) for p[t], and the code as F32 for v[t][d].
 *     The id is another as well.
 * K2  With KV_F16 the numbers of keys and values are clamped to +-65504 and
 *     rounded to F16, to nearest even; F6 takes them widened.  Another id.
 *
 * Bits of NaN are not part of it.
 */
#ifndef KERNELS_OPS_H
#define KERNELS_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/formats.h"

struct err;
struct ops_ctx; /* an op set's own; made by open(), ended by close() */

#define OPS_BLOCK	 16u	     /* tokens of a KV block */
#define OPS_PART	 512u	     /* keys of a part of attention (F6) */
#define OPS_MAX_ALT	 20u	     /* alternatives that score gives at most */
#define OPS_LATE	 0x80000000u /* in step.token */
#define OPS_ARITH_F32	 0x6c6c6d2d66333201ull /* "llm-f32", version 1 */
#define OPS_PACKED_LEAST 0x1p-100f	       /* P1 */
#define OPS_INT8_COLS	 131072u /* P3: 128 * 127 of each in 31 bits */

/* How keys and values are kept. */
enum kv_type {
	KV_F32,
	KV_Q8,	 /* 8 bits, a scale for each token and head (K1) */
	KV_F16,	 /* K2 */
	KV_BF16, /* where the op set computes on a device */
};

/* How the matrices of layers are multiplied. */
enum weight_use {
	WEIGHTS_AS_IS,
	/*
	 * On a device those in F32, F16 and BF16 are rounded when they are
	 * loaded:
	 */
	WEIGHTS_INT8, /* W8A8: a scale a row, and their input as it comes */
	WEIGHTS_FP8,  /* e4m3, a scale a row */
	WEIGHTS_INT4, /* a scale for a row and 128 columns, if they divide */
};

/* The model's sizes: one set for all layers (of this process). */
struct ops_shape {
	uint32_t dim;	      /* of the residual stream */
	uint32_t nr_heads;    /* query heads; a multiple of nr_kv_heads */
	uint32_t nr_kv_heads; /* = nr_heads: MHA; 1: MQA; between: GQA */
	uint32_t head_dim;
	uint32_t rotary_dim; /* even, <= head_dim: leading dimensions turned */
	uint32_t ffn;	     /* rows of gate and of up */
	uint32_t vocab;	     /* rows of the embedding and of the head */
	uint32_t nr_layers;
	float norm_eps;
	float attn_scale; /* scores are q.k times this */
	enum kv_type kv;
	enum weight_use weights;
};

/* What a context is sized for. */
struct ops_limits {
	uint32_t max_rows;    /* rows of a step */
	uint32_t max_seqs;    /* sequences of a step; 0 = max_rows */
	uint32_t max_logits;  /* rows of one head() call */
	uint32_t max_context; /* positions are below this */
	uint32_t nr_blocks;   /* KV blocks, block 0 (never written) included */
	uint32_t threads;     /* on the CPU: 0 = as many CPUs as we may use */
	uint32_t device;      /* number of the device, where there are such */
	/*
	 * 1: a step's ops are called one after the other, none is left out, and
	 * no buffer is looked at before the last layer's down_norm.  A device
	 * may then start all of them at once
	 */
	uint32_t whole_steps;
};

/* What an op set with memory of its own computes on. */
struct ops_device {
	char name[64];
	uint64_t total;	    /* bytes of its memory */
	uint64_t available; /* of these, free now */
};

#define OPS_LAYER_MATRICES 7u /* of struct ops_layer */

/*
 * Weights of a layer.  Matrices as in the file, [rows = outputs][cols =
 * inputs]; vectors are F32.  Optional ones may be NULL (vectors) as said.
 * An op set copies this struct; what it points to is borrowed until close(), by
 * one with device() until all is loaded.
 */
struct ops_layer {
	const float *attn_norm; /* [dim] */
	struct weight q;	/* [nr_heads * head_dim, dim] */
	struct weight k, v;	/* [nr_kv_heads * head_dim, dim] */
	const float *q_bias, *k_bias, *v_bias; /* optional: [rows of it] */
	const float *q_norm, *k_norm; /* optional: [head_dim], before rope */
	/*
	 * Rows of q, k and their biases are, in each head, in the order of
	 * rotary pairs: 0, D/2, 1, D/2 + 1, .. of D = rotary_dim, as GGUF files
	 * of Llama keep them.  The products are put in order before the norm,
	 * so the bits are those of the same model in the usual order.
	 */
	uint32_t qk_pairs;
	struct weight o;		  /* [dim, nr_heads * head_dim] */
	const float *o_bias;		  /* optional: [dim] */
	const float *mlp_norm;		  /* [dim] */
	struct weight gate, up;		  /* [ffn, dim] */
	const float *gate_bias, *up_bias; /* optional: [ffn] */
	struct weight down;		  /* [dim, ffn] */
	const float *down_bias;		  /* optional: [dim] */
	/*
	 * cos, sin of each position and pair: [max_context][rotary_dim/2][2];
	 * made in double by the model layer (with scaling, yarn's factor).
	 * Layers with the same rope point to the same table.
	 */
	const float *rope;
	uint32_t window; /* a token sees itself and window-1 before; 0 = all */
};

/* The weights before the first layer and after the last. */
struct ops_ends {
	struct weight embed; /* [vocab, dim] */
	const float *norm;   /* [dim]: of the input of the head */
	struct weight head;  /* [vocab, dim]; may be the same data as embed */
};

/*
 * A step: nr_rows token rows grouped by sequence.  All arrays are the
 * caller's, in host memory, and must stay until the step's last op.
 * The caller guarantees (asserted): the rows of a sequence have ascending
 * positions below its context_len; every block of its table that holds a
 * position below context_len is < nr_blocks; context_len <= max_context.
 * A token id >= vocab is read as id 0; OPS_LATE + i, where the op set has
 * collect(), as the token of outs[i] of the step before, which nobody need have
 * collected.
 */
struct step {
	uint32_t nr_rows; /* 1..max_rows */
	uint32_t nr_seqs;
	uint32_t nr_outs;	  /* rows whose logits are wanted */
	uint32_t table_stride;	  /* entries of block_table a sequence */
	const uint32_t *token;	  /* [nr_rows] */
	const uint32_t *position; /* [nr_rows] */
	/* [nr_rows] block * 16 + offset of its KV; in block 0: do not write */
	const uint32_t *slot;
	const uint32_t *query_start; /* [nr_seqs + 1] first row of each; end */
	const uint32_t *context_len; /* [nr_seqs] tokens of KV, this step's too */
	const uint32_t *block_table; /* [nr_seqs][table_stride] */
	const uint32_t *out_row;     /* [nr_outs] row of each wanted output */
};

/*
 * How a token is chosen from the logits l of its row.  The steps, in order
 * (vLLM's and OpenAI's meanings where they agree):
 *
 *  0  l = logits; NaN becomes -inf, +inf the largest float.
 *  1  allowed: ids whose bit is 0 get -inf.
 *  2  bias: l += b, b clamped to [-100, 100]; b <= -100 forbids (-inf).
 *  3  position < min_tokens: end_ids get -inf.
 *  4  repetition r: ids in history (prompt and output): l > 0 ? l/r : l*r.
 *  5  frequency f, presence p: ids among the outputs: l -= f*count + p.
 *  6  temperature T < 1e-5: the largest l, lowest id on ties; done.
 *     Else z = (l - max l) / T and e = exp(z) as F4.
 *  7  min_p: keep ids with e >= min_p.
 *  8  top_k: of these the k largest l, lowest ids first on ties.
 *  9  top_p: of these, by descending l (then ascending id), the shortest run
 *     whose mass reaches top_p of their sum; mass = e in units of 2^-40,
 *     rounded to nearest even, so sums are integers and have no order.
 * 10  of these the largest z + g, lowest id on ties, where z is widened to
 *     double and g = gumbel(seed, position, id) of kernels/noise.h: an exact
 *     draw from the renormalised distribution (the Gumbel-max trick).
 *
 * All forbidden: id 0.  Ids >= vocab, in any list, are passed over.
 */
struct sampler {
	uint64_t seed;
	float temperature;	   /* >= 0 */
	float top_p;		   /* (0, 1]; 1 = off */
	float min_p;		   /* [0, 1]; 0 = off */
	float repetition;	   /* > 0; 1 = off */
	float frequency, presence; /* 0 = off */
	uint32_t top_k;		   /* 0 = off; above vocab = off */
	uint32_t min_tokens;
	uint32_t nr_bias, nr_end_ids;
	const uint32_t *bias_ids; /* [nr_bias] */
	const float *bias;	  /* [nr_bias] */
	const uint32_t *end_ids;  /* [nr_end_ids] */
	const uint32_t *allowed;  /* optional: [vocab/32 rounded up] bits */
};

/* One wanted output.  Row i of LOGITS belongs to the i-th of a call. */
struct step_out {
	const struct sampler *sampler; /* NULL: `token` is given, judge it */
	const uint32_t *history; /* [prompt_len + position] tokens before it */
	uint32_t prompt_len;
	uint32_t position; /* index in the OUTPUT stream: keys the noise */
	uint32_t nr_alt;   /* alternatives wanted, 0..OPS_MAX_ALT */
	uint32_t token;	   /* written by sample where sampler is set */
	/* written by score: */
	float logprob;
	uint32_t alt_token[OPS_MAX_ALT];
	float alt_logprob[OPS_MAX_ALT];
};

struct block_copy {
	uint32_t src, dst; /* block ids, all layers; 0 < dst < nr_blocks */
};

enum ops_buffer {
	OPS_X,
	OPS_XN,
	OPS_Q,
	OPS_A,
	OPS_H,
	OPS_LOGITS,
	NR_OPS_BUFFERS
};

/*
 * An op set.  Calls return 0 or a negative errno; in a step that is -EIO of a
 * device, after which the context is good for close() only.
 */
struct ops {
	const char *name;
	uint64_t arith; /* of plain weights; arith_of() has the last word */
	/* Whether this machine can run it; no side effect. */
	int (*usable)(void);
	/*
	 * Optional, all or none (NULL: the set computes in host memory).
	 * device(): what device @n is, before open(); -ENODEV and a line that
	 * says what is missing where there is none.  buffer_bytes(): what
	 * open() takes of its memory besides KV, at most; loaded_bytes(): what
	 * these weights will take there, [nr_layers] of @layers.
	 */
	int (*device)(uint32_t n, struct ops_device *ret, struct err *err);
	uint64_t (*buffer_bytes)(const struct ops_shape *shape,
				 const struct ops_limits *limits);
	uint64_t (*loaded_bytes)(const struct ops_shape *shape,
				 const struct ops_ends *ends,
				 const struct ops_layer *layers);
	/*
	 * Bytes of a KV block, all layers and heads: one contiguous extent,
	 * [layer][K, V][kv head][16 tokens of head_dim in the set's order],
	 * with KV_Q8 followed by the 16 scales.
	 */
	size_t (*kv_block_bytes)(const struct ops_shape *shape);
	/* Check the shape, take all memory, start threads.  -EINVAL, -ENOMEM */
	int (*open)(const struct ops_shape *shape,
		    const struct ops_limits *limits, struct ops_ctx **ret_ctx,
		    struct err *err);
	void (*close)(struct ops_ctx *ctx); /* NULL is fine */
	/*
	 * Hand over weights; sizes and types are checked (-EINVAL).  Types may
	 * differ from matrix to matrix.
	 */
	int (*load_ends)(struct ops_ctx *ctx, const struct ops_ends *ends,
			 struct err *err);
	int (*load_layer)(struct ops_ctx *ctx, uint32_t layer,
			  const struct ops_layer *weights, struct err *err);

	/* After all loads: the id of the arithmetic with these weights */
	uint64_t (*arith_of)(const struct ops_ctx *ctx);

	/*
	 * Optional (NULL): faster forms of the weights, made while steps run.
	 * improve(), after all loads, makes that of one more matrix: 1, with
	 * the matrix in *ret_done (its data is read no more once it is
	 * adopted, but for rows of the embedding), or 0 when there is none
	 * left, or -ENOMEM.  Any one thread may call it beside the one that
	 * steps, and must have returned before close().  adopt(), by the
	 * thread that steps and between steps, has them use what was made so
	 * far.  Bits stay.  improved_bytes(): what the form of @w takes, 0
	 * where it has none; any thread, any time.
	 */
	size_t (*improved_bytes)(const struct weight *w);
	int (*improve)(struct ops_ctx *ctx, struct weight *ret_done);
	void (*adopt)(struct ops_ctx *ctx);

	/* ---- a step, in this order; after all loads ---- */

	/* X = embed[token]; XN = norm(X) * attn_norm of layer 0 */
	int (*embed_norm)(struct ops_ctx *ctx, const struct step *step);
	/*
	 * q, k, v = matrices . XN + bias; q, k norm per head; rope; Q = q *
	 * attn_scale; k and v to their slot
	 */
	int (*qkv_rope_kv)(struct ops_ctx *ctx, const struct step *step,
			   uint32_t layer);
	/* A = attention of Q over the blocks of each row's sequence */
	int (*attention)(struct ops_ctx *ctx, const struct step *step,
			 uint32_t layer);
	/* X += o . A + bias; XN = norm(X) * mlp_norm */
	int (*out_norm)(struct ops_ctx *ctx, const struct step *step,
			uint32_t layer);
	/* H = silu(gate . XN + bias) * (up . XN + bias) */
	int (*gate_up)(struct ops_ctx *ctx, const struct step *step,
		       uint32_t layer);
	/*
	 * X += down . H + bias; XN = norm(X) * attn_norm of the next layer,
	 * after the last one the norm of the head
	 */
	int (*down_norm)(struct ops_ctx *ctx, const struct step *step,
			 uint32_t layer);
	/* LOGITS[i] = head . XN[out_row[first + i]], i < count <= max_logits */
	int (*head)(struct ops_ctx *ctx, const struct step *step,
		    uint32_t first, uint32_t count);

	/* ---- on LOGITS; leave it unchanged ---- */

	/*
	 * outs[i].token from LOGITS[i] where outs[i].sampler is set.  With
	 * collect() that has the answer, and score() has to follow with the
	 * same outs
	 */
	int (*sample)(struct ops_ctx *ctx, struct step_out *outs,
		      uint32_t count);
	/*
	 * logprob of outs[i].token and the nr_alt largest (ties: lowest id),
	 * raw, before anything a sampler does.  In double: (l - max l) -
	 * log(sum of masses * 2^-40), mass of exp(l - max l) as in step 9, log
	 * as in noise.h; rounded to F32 once.  l is cleaned as in step 0.
	 * A token >= vocab has -inf.  Where vocab < nr_alt the rest is id 0,
	 * -inf.
	 */
	int (*score)(struct ops_ctx *ctx, struct step_out *outs,
		     uint32_t count);

	/*
	 * Optional, both or none (NULL: all of a step is done when its last
	 * call returns): the set computes beside its caller.  The calls above
	 * only start work and keep nothing of the caller's.  end_step() is then
	 * a step's last one, with all of its outs.  collect() waits for the
	 * oldest step that was ended and not yet collected, and for no work
	 * after it, and fills in what sample() and score() say of @outs, which
	 * ask for the same.  So many steps may be under way at a time:
	 */
#define OPS_STEPS 2u
	int (*end_step)(struct ops_ctx *ctx, const struct step_out *outs,
			uint32_t count);
	int (*collect)(struct ops_ctx *ctx, struct step_out *outs,
		       uint32_t count);

	/* ---- between steps ---- */

	/* KV of whole blocks; no dst may be another's src or dst */
	int (*copy_blocks)(struct ops_ctx *ctx, const struct block_copy *pairs,
			   uint32_t count);
	/*
	 * Copy rows [row, row + count) of a buffer out of and into the op set
	 * (tests; later the rows that cross pipeline stages).
	 */
	int (*peek)(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
		    uint32_t count, float *data);
	int (*poke)(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
		    uint32_t count, const float *data);
};

extern const struct ops ops_ref, ops_avx2, ops_avx512;

/*
 * The op set called @name ("ref", "avx2", "avx512"), or for NULL the fastest
 * that this machine can run.  NULL where there is none, or it is not usable.
 */
const struct ops *ops_find(const char *name);

#endif
