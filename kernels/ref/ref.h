/* SPDX-License-Identifier: MIT */
/*
 * ref.h - the ops in plain C: the definition that every other op set is
 * compared with.  One file an op; no threads; the sums of ops.h as they are
 * written there.  The op sets of kernels/cpu take from here what they lack.
 */
#ifndef KERNELS_REF_H
#define KERNELS_REF_H

#include <stdint.h>

struct host_rows;
struct ops_ctx;
struct step;
struct step_out;
struct block_copy;
struct weight;

int op_embed_norm_ref(struct ops_ctx *ctx, const struct step *step);
int op_qkv_rope_kv_ref(struct ops_ctx *ctx, const struct step *step,
		       uint32_t layer);
int op_attention_ref(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer);
int op_out_norm_ref(struct ops_ctx *ctx, const struct step *step,
		    uint32_t layer);
int op_gate_up_ref(struct ops_ctx *ctx, const struct step *step,
		   uint32_t layer);
int op_down_norm_ref(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer);
int op_head_ref(struct ops_ctx *ctx, const struct step *step, uint32_t first,
		uint32_t count);
int op_sample_ref(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);
int op_score_ref(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);
int op_copy_blocks_ref(struct ops_ctx *ctx, const struct block_copy *pairs,
		       uint32_t count);

/* ---- parts of several ops ---- */

/* F2's tree over eight lanes. */
float ref_sum8(const float lane[8]);
/* F2: dot of two rows of n. */
float ref_dot(const float *w, const float *x, uint32_t n);
/* F3: out = norm(x) * w; out may be x. */
void ref_norm(const float *x, const float *w, uint32_t n, float eps,
	      float *out);
/* Keys and values of a token, [nr_kv_heads][head_dim], to their slot (K1). */
void ref_write_kv(struct ops_ctx *ctx, uint32_t layer, uint32_t slot,
		  const float *k, const float *v);
/* P1 over @n numbers: their codes, at most @limit (127, 32767); their scale. */
float ref_quantize(const float *x, uint32_t n, int limit, int16_t *code);
/*
 * y[t][r] = dot(w[r], x[t]) + bias[r] for t < rows; bias may be NULL.
 * @row is scratch of w->cols floats.  The second is for packed weights (P2, P3),
 * the first takes any.
 */
void ref_matmul(const struct weight *w, const float *bias,
		const struct host_rows *x, uint32_t rows, float *row,
		struct host_rows *y);
void ref_packed_matmul(const struct weight *w, const float *bias,
		       const struct host_rows *x, uint32_t rows, float *row,
		       struct host_rows *y);

#endif
