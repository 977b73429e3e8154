/* SPDX-License-Identifier: MIT */
/*
 * cuda.h - the kernels from outside: what each is given, and plain C calls
 * that start it.  All pointers are device memory unless said otherwise, bf16
 * is the upper half of an F32, @stream is a cudaStream_t.  A call checks the
 * sizes that it cannot run (-EINVAL), starts the kernel and returns; -EIO
 * where CUDA refuses the launch.
 *
 * The table of ops.h over these is ops_cuda.c.
 */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cuda_number {
	CUDA_BF16,
	CUDA_F32,
	CUDA_F16,
};

#define CUDA_MAX_DIM 8192 /* of the residual stream */

/* x += d, where there is a d; y = x / rms(x) * w */
struct cuda_norm_args {
	float *x;	   /* [rows, dim] */
	const uint16_t *d; /* optional: [rows, dim] bf16 */
	const void *w;	   /* [dim] of @w_number */
	void *y;	   /* [rows, dim] of @y_number */
	int rows, dim;	   /* dim: even, at most CUDA_MAX_DIM */
	float eps;
	enum cuda_number w_number, y_number;
};

int cuda_residual_norm(const struct cuda_norm_args *args, void *stream);

/* Of a token: it is the one at late[token - CUDA_LATE]. */
#define CUDA_LATE 0x80000000u

/* x = the embedding of the token; y = x / rms(x) * w */
struct cuda_embed_args {
	const void *embed;     /* [vocab, dim] of @embed_number */
	const uint32_t *token; /* [rows]; vocab and above are read as 0 */
	const uint32_t *late;  /* [..] tokens that were chosen on the device */
	const void *w;	       /* [dim] of @w_number */
	float *x;	       /* [rows, dim] */
	void *y;	       /* [rows, dim] of @y_number */
	int rows, dim, vocab;  /* dim as above */
	float eps;
	enum cuda_number embed_number, w_number, y_number;
};

int cuda_embed_norm(const struct cuda_embed_args *args, void *stream);

enum cuda_form {
	CUDA_W_BF16,
	CUDA_W_INT8, /* a scale a row */
	CUDA_W_FP8,  /* e4m3, a scale a row */
	CUDA_W_INT4, /* 0..15 less 8, a scale for a row and 128 columns */
	/*
	 * Codes, times codes of the input (cuda_quantize) of the kind that
	 * stands behind; sums are exact (codes.cuh).  RUNS: the CPU's bits.
	 */
	CUDA_W_ROWS8,	   /* W8A8: a scale a row; CUDA_ROWS */
	CUDA_W_RUNS8,	   /* a scale for 32 columns; CUDA_RUNS */
	CUDA_W_RUNS8_MIN,  /* and a minimum; CUDA_RUNS */
	CUDA_W_RUNS8_16,   /* a scale for 16 columns; CUDA_RUNS */
	CUDA_W_RUNS8_WIDE, /* a scale for 32 columns; CUDA_RUNS_WIDE */
	CUDA_W_RUNS4,	   /* -8..7, a scale for 32 columns; CUDA_RUNS */
	CUDA_W_RUNS4_MIN,  /* 0..15, and a minimum; CUDA_RUNS */
	CUDA_W_F16,	   /* the input is f16 as well */
	CUDA_W_FP8_GROUPS, /* e4m3, a scale for a row and 128 columns */
	CUDA_W_INT4_ZEROS, /* as INT4, with a zero point beside each scale */
};

/* Codes of an input: of a row, rule P1 over all of it; or P1, L 127 or 32767 */
enum cuda_codes {
	CUDA_ROWS,
	CUDA_RUNS,
	CUDA_RUNS_WIDE,
};

struct cuda_quantize_args {
	const void *x; /* [rows, k] of @number */
	void *codes;   /* [rows, k / 64 upward] of layout_input(wide) bytes */
	int rows, k;   /* k: of 8, CUDA_RUNS of 32 */
	enum cuda_codes kind;
	enum cuda_number number;
};

int cuda_quantize(const struct cuda_quantize_args *args, void *stream);

/* What becomes of the product. */
enum cuda_end {
	CUDA_STORE,
	CUDA_ADD,    /* y += it, F32 */
	CUDA_SWIGLU, /* y = silu(gate) * up, rows as layout_gate_up() says */
};

#define CUDA_GEMM_TOKENS 128 /* with one pass over the weights */

/*
 * From how many tokens on the kernel of sm_90a runs, where it may.  Below the
 * ridge (by the ceilings of research, 184 tokens of bf16; of 8 bits 92, of 4
 * bits 46) a product waits for its weights, which the other kernel reads once
 * up to CUDA_GEMM_TOKENS and with more CTAs; above it is the faster one by what
 * wgmma has over mma.  No GPU has measured where they cross.
 */
#define CUDA_GEMM_MANY (CUDA_GEMM_TOKENS + 1)

/*
 * y[token][row] = sum over k of x[token][k] * w[row][k] (+ bias[row]), ended
 * as @end says; n rows, of which CUDA_SWIGLU makes half as many.
 */
struct cuda_gemm_args {
	const void *w; /* [n, k] packed and made up: layout.h */
	/*
	 * [n], of int4 and groups [k / 128, n], made up; then as many zero
	 * points as layout_zero() has them; not of bf16, f16 and RUNS
	 */
	const float *scale;
	const void *x; /* [.., k] bf16, f16 or codes, a row a token */
	void *y;       /* [tokens, ldy] of @out */
	/* n: any, CUDA_SWIGLU of 16; k: of 8, RUNS of 32, GROUPS of 128 */
	int n, k, tokens;
	enum cuda_form form;
	enum cuda_number out;
	enum cuda_end end;     /* CUDA_ADD: out is CUDA_F32 */
	const float *bias;     /* optional: [n] */
	const uint32_t *x_row; /* optional: [tokens] the row of x of each */
	int ldy;  /* numbers from a row of y to the next; 0: n, or n / 2 */
	int many; /* so many tokens are for cuda_gemm_sm90(); 0: never */
};

int cuda_gemm(const struct cuda_gemm_args *args, void *stream);

/*
 * The same by the kernel for many tokens of sm_90a (gemm_sm90.cuh), not of RUNS
 * (-EINVAL).  @tile: tokens of a CTA, 128, 256, or 0: as it sees fit.  Only
 * cuda_gemm() checks the sizes.
 */
int cuda_gemm_sm90(const struct cuda_gemm_args *args, int tile, void *stream);

/* How keys and values are kept. */
enum cuda_kv {
	CUDA_KV_BF16,
	CUDA_KV_Q8, /* rule K1 of ops.h: 8 bits, a scale a token and head */
};

/*
 * Products with q, k, v to where attention finds them: norm of each head of q
 * and k where there is one, rope, rounded once; q to @q, k and v to the slot of
 * their token.
 */
struct cuda_qkv_args {
	const float *qkv; /* [tokens, (nr_heads + 2 nr_kv_heads) * head_dim] */
	const float *q_norm, *k_norm; /* optional: [head_dim] */
	const float *rope; /* cos, sin: [.., rotary_dim / 2, 2], by position */
	const uint32_t *position; /* [tokens] */
	/* [tokens] block * 16 + offset; in block 0: not written */
	const uint32_t *slot;
	uint16_t *q;	     /* [tokens, nr_heads, head_dim] bf16 */
	uint16_t *k, *v;     /* as attention has them */
	size_t block_stride; /* from a block to the next, in uint16_t */
	int tokens, nr_heads, nr_kv_heads;
	int head_dim, rotary_dim; /* of 16; even, at most head_dim */
	float eps;
	enum cuda_kv kv;
};

int cuda_qkv(const struct cuda_qkv_args *args, void *stream);

/*
 * Attention of T query tokens of S sequences over their KV blocks.  Rows are
 * numbered token * heads of a group + head, CUDA_ATTENTION_ROWS to a unit; W
 * pieces of work are units, or parts of them.  Slots of a block past context_len
 * may hold anything.
 */
#define CUDA_ATTENTION_ROWS 16
#define CUDA_ATTENTION_TILE 128 /* positions */
#define CUDA_ATTENTION_COLS 128 /* of a head, that one warp answers */

/* Warps, each with columns of its own, that answer a head: SPLIT. */
#define CUDA_ATTENTION_SPLIT(head_dim)                                         \
	(((head_dim) + CUDA_ATTENTION_COLS - 1) / CUDA_ATTENTION_COLS)

/* What one warp of each KV head (SPLIT of them) does. */
struct cuda_attention_work {
	int seq, row; /* the unit: its sequence (< 0: nothing), its first row */
	int place;    /* among the units that are divided; -1: it is not */
	int part; /* of these: tiles part * tiles_per_warp .. of what it sees */
};

/*
 * What changes from step to step, in device memory: so all arguments of a launch
 * may stay as they are.
 */
struct cuda_attention_plan {
	int table_stride;
	int max_tiles;	    /* of the longest context that is divided */
	int tiles_per_warp; /* of what is divided; free: it changes no bit */
};

struct cuda_attention_args {
	const uint16_t *q;     /* [T, nr_heads, head_dim] bf16 */
	const uint16_t *k, *v; /* [block at block_stride][nr_kv_heads] of
				* layout_kv_bytes(head_dim), or kv8 */
	const struct cuda_attention_plan *plan;
	const struct cuda_attention_work *work; /* [W] */
	const int *block_table;			/* [S, table_stride] */
	const int *query_start;			/* [S + 1] */
	const int *context_len; /* [S], the query tokens included */
	/* of D units that are divided: o of tiles; their m and l */
	float *part;  /* [D, nr_kv_heads, max_tiles, 16, head_dim] */
	float *state; /* [D, nr_kv_heads, SPLIT, max_tiles, 16, 2] */
	int *count;   /* [D, nr_kv_heads, SPLIT] warps that are done; 0 before
		       * and after */
	void *out;    /* [T, nr_heads, head_dim] of @number */
	size_t block_stride; /* from a block to the next, in uint16_t */
	int nr_heads, nr_kv_heads;
	int nr_work; /* W: CTAs for each head */
	float scale; /* of the model, times log2(e) */
	enum cuda_number number;
	int head_dim; /* 16, 32, 64, 80, 96, 128, 256 */
	int window;   /* a token sees itself and window - 1 before; 0: all */
	/* optional: [T] ascending in a sequence; else they end context_len */
	const uint32_t *position;
	enum cuda_kv kv;
};

int cuda_attention(const struct cuda_attention_args *args, void *stream);

/*
 * The same bits by the kernel for chunks of a prompt of sm_90a
 * (attention_sm90.cuh), of heads of 64 and 128 dimensions and KV in bf16
 * (-EINVAL).  Of @work each piece is a whole unit, of CUDA_ATTENTION_SM90_ROWS
 * rows; plan->table_stride alone is read, and part, state and count are not.
 */
#define CUDA_ATTENTION_SM90_ROWS 128

int cuda_attention_sm90(const struct cuda_attention_args *args, void *stream);

/*
 * When it runs, where it may.  In steps of CUDA_ATTENTION_MANY rows and more: no
 * graph has so many, so a graph needs one kernel and one list of work.  And with
 * a CTA at least for each CUDA_ATTENTION_PROCESSORS multiprocessors: the other
 * kernel divides a context, this one does not and would leave the device idle.
 * On a multiprocessor it does twice as much by estimate: its target is 55 % of
 * the rate of wgmma; of warps there are eight, whose mma has 60 % of that rate
 * at most, with ldmatrix and 2^x between: 25 to 30 %.  No GPU has measured
 * where they cross.
 */
#define CUDA_ATTENTION_MANY	  257
#define CUDA_ATTENTION_PROCESSORS 2

/* KV of whole blocks, all layers and heads; no dst is another's src or dst. */
struct cuda_block_pair {
	uint32_t src, dst;
};

struct cuda_copy_args {
	void *kv;			     /* [.., block_bytes] */
	const struct cuda_block_pair *pairs; /* [nr_pairs] */
	size_t block_bytes;		     /* of 16 */
	int nr_pairs;
};

int cuda_copy_blocks(const struct cuda_copy_args *args, void *stream);

/* How a token is chosen: struct sampler of ops.h, in device memory. */
struct cuda_sampler {
	uint64_t seed;
	float temperature, top_p, min_p, repetition, frequency, presence;
	uint32_t top_k, min_tokens;
	uint32_t row; /* of the logits, and of the answer */
	uint32_t position, prompt_len;
	uint32_t nr_bias, nr_end_ids;
	const uint32_t *bias_ids; /* [nr_bias] */
	const float *bias;	  /* [nr_bias] */
	const uint32_t *end_ids;  /* [nr_end_ids] */
	const uint32_t *allowed;  /* optional: [vocab/32 rounded up] bits */
	const uint32_t *history;  /* [prompt_len + position] */
};

/* token[sampler[i].row] = the choice of sampler i; exactly the CPU's */
struct cuda_sample_args {
	const float *logits;		    /* [.., vocab] */
	const struct cuda_sampler *sampler; /* [nr_samplers] */
	float *l;	 /* [nr_samplers, vocab] room for adjusted logits */
	uint32_t *count; /* [nr_samplers, vocab] 0 before and after */
	uint32_t *token; /* [..] */
	int nr_samplers, vocab;
};

int cuda_sample(const struct cuda_sample_args *args, void *stream);

#define CUDA_MAX_ALT 20

/* Log probabilities of the token of each row and of the likeliest (ops.h). */
struct cuda_score_args {
	const float *logits;	/* [rows, vocab] */
	const uint32_t *token;	/* [rows] */
	const uint32_t *nr_alt; /* [rows] at most CUDA_MAX_ALT */
	float *logprob;		/* [rows] */
	uint32_t *alt_token;	/* [rows, CUDA_MAX_ALT] */
	float *alt_logprob;	/* [rows, CUDA_MAX_ALT] */
	int rows, vocab;
};

int cuda_score(const struct cuda_score_args *args, void *stream);

#ifdef __cplusplus
}
#endif
#endif
