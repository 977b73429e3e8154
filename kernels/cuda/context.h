/* SPDX-License-Identifier: MIT */
/*
 * context.h - what the CUDA op set holds behind struct ops_ctx.  All pointers
 * to numbers are device memory, owned by the device, at multiples of 256 bytes.
 */
#ifndef KERNELS_CUDA_CONTEXT_H
#define KERNELS_CUDA_CONTEXT_H

#include "kernels/cuda/agree.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/graph.h"
#include "kernels/cuda/image.h"
#include "kernels/cuda/upload.h"
#include "kernels/ops.h"

struct pool;

#define CONTEXT_PAIRS 256u /* blocks that one launch copies */

/* Weights in one form, [n, k]. */
struct matrix {
	void *w;
	float *scale; /* NULL where the form has none */
	float *bias;  /* optional: [n] */
	int n, k;
	int first; /* its first column of the answer */
	int has_bias;
	enum cuda_form form;
};

#define LINEAR_PARTS 3

/* What is multiplied with one input: linear.h. */
struct linear {
	struct matrix m[LINEAR_PARTS];
	int nr, n; /* matrices; columns of the answer */
	enum cuda_number input;
	struct linear_place {
		int matrix, first; /* in it */
	} part[LINEAR_PARTS];
};

struct layer {
	struct linear qkv;	     /* q, k, v */
	struct linear o, down;	     /* their products are added to X */
	struct linear gate_up;	     /* rows as layout_gate_up() says */
	float *attn_norm, *mlp_norm; /* [dim] */
	float *q_norm, *k_norm;	     /* optional: [head_dim] */
	const float *rope;	     /* [max_context][rotary_dim / 2][2] */
	const float *rope_host;	     /* the table that it was made of */
	uint32_t window;
};

struct ends {
	void *embed; /* [vocab, dim] of @number */
	enum cuda_number number;
	float *norm; /* [dim] */
	struct linear head;
};

/* What ops hand to each other. */
struct buffers {
	float *x;      /* [max_rows, dim] */
	void *xn;      /* [max_rows, dim] of number[OPS_XN] */
	float *qkv;    /* [max_rows, (nr_heads + 2 nr_kv_heads) * head_dim] */
	uint16_t *q;   /* [max_rows, nr_heads * head_dim] bf16 */
	void *a;       /* [max_rows, nr_heads * head_dim] of number[OPS_A] */
	void *h;       /* [max_rows, ffn] of number[OPS_H] */
	char *codes;   /* of [max_rows] of any of these: cuda_quantize() */
	float *logits; /* [max_logits, vocab] */
	float *part, *state;	       /* of attention: [slots] of 16 rows */
	int *count;		       /* zero between launches */
	float *rope;		       /* the first table that a layer names */
	struct cuda_block_pair *pairs; /* [CONTEXT_PAIRS] */
};

/* What a step that is under way has of pinned memory: choose.c. */
struct flight {
	uint32_t *host;	  /* [max_words] questions */
	uint32_t *answer; /* [at_end] answers */
	void *done;	  /* an event: they are there */
	int image;	  /* which of the two brought it */
	int in_flight;
};

/* Samplers on their way there, and what was chosen: choose.c. */
struct choose {
	uint32_t *answer;   /* the device's answers */
	uint32_t *question; /* the device's questions, a sheet */
	float *l;	    /* [max_logits, vocab] */
	uint32_t *count;    /* [max_logits, vocab] 0 between launches */
	struct flight flight[OPS_STEPS]; /* in turn */
	int next, oldest;   /* of these: to be started; to be collected */
	size_t max_words;   /* of a flight's questions, */
	size_t words;	    /* so many of them written by this step */
	uint32_t nr_before; /* outputs of the step before this one, */
	uint32_t nr;	    /* of this one: that score() was called for, */
	uint32_t asked;	    /* that sample() has left to score() */
};

struct ops_ctx {
	struct ops_shape shape;
	struct ops_limits limits;
	struct device device;
	struct agreed agreed;
	struct pool *pool; /* owned: threads that pack weights */
	struct upload upload;
	struct image image;
	struct choose choose;
	struct buffers buf;
	/* what the buffers hold now, by who wrote them last */
	enum cuda_number number[NR_OPS_BUFFERS];
	struct ends ends;
	struct layer *layer;	/* owned: [nr_layers] */
	const float *rope_host; /* borrowed: what buf.rope was made of */
	uint16_t *kv;		/* [nr_blocks][block_bytes] (ops.h) */
	size_t block_bytes;
	struct cuda_block_pair *pairs_host; /* pinned: [CONTEXT_PAIRS] */
	float *rows_host; /* pinned: a row of any buffer; peek and poke */
	struct graphs graphs;
	int started; /* a graph has this step's layers under way */
};

#endif
