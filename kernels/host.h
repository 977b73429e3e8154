/* SPDX-License-Identifier: MIT */
/*
 * host.h - the context of the op sets that compute in host memory (ref and
 * cpu).  They share its layout, so a table may fall back to ref op by op.
 *
 * Owned: all memory (one list, freed by host_close()) and the pool.  Borrowed:
 * the weights.  Rows of the buffers are padded with zeros to a multiple of 8
 * (F2 reads the padding) and so that rows are not a power of two apart, which
 * would make them share cache sets.
 */
#ifndef KERNELS_HOST_H
#define KERNELS_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"

struct pool;
struct cpu_state;

#define HOST_MAX_HEAD_DIM 1024u

/* A buffer: row r begins at data + r * ld. */
struct host_rows {
	float *data;
	uint32_t rows, cols;
	size_t ld; /* floats; >= cols rounded up to 8 */
};

/* Where a thread works on LOGITS; sized by the vocabulary. */
struct host_scratch {
	float *l;	 /* [vocab rounded up to 16] logits as adjusted */
	float *e;	 /* [the same] their exponentials; zeros behind */
	uint64_t *key;	 /* [vocab] order-preserving key, then id */
	uint32_t *count; /* [vocab] all 0 between calls */
	float *row;	 /* [widest row of any weight] */
	void *arg;	 /* the cpu op set's own, see its attention */
};

struct host_mem {
	void *p;
	size_t size;
	struct host_mem *next;
};

struct ops_ctx {
	struct ops_shape shape;
	struct ops_limits limits;
	struct ops_ends ends;
	struct ops_layer *layer; /* [nr_layers]; .q.data NULL = not loaded */
	struct host_rows buf[NR_OPS_BUFFERS];
	struct host_rows k, v;	 /* [max_rows, nr_kv_heads * head_dim] */
	struct host_rows u;	 /* [max_rows, ffn] up . XN */
	struct host_rows picked; /* [max_logits, dim] rows of XN for the head */
	uint32_t *row_seq; /* [max_rows] sequence of each row, this step */
	char *kv;	   /* [nr_blocks][block_bytes] */
	size_t block_bytes;
	uint32_t nr_threads;
	struct host_scratch *scratch; /* [nr_threads] */
	struct pool *pool;	      /* NULL: the caller computes alone */
	struct cpu_state *cpu;	      /* what only the cpu op sets have */
	struct host_mem *mem;
};

/* Bytes of a block's keys, or values, of one head. */
static inline size_t host_kv_head_bytes(const struct ops_shape *s)
{
	switch (s->kv) {
	case KV_Q8:
		return (s->head_dim + sizeof(float)) * OPS_BLOCK;
	case KV_F16:
		return s->head_dim * sizeof(uint16_t) * OPS_BLOCK;
	default:
		return s->head_dim * sizeof(float) * OPS_BLOCK;
	}
}

/*
 * K of (block, layer, kv head): [head_dim][16]; V behind all K: [16][hd].  F32,
 * F16, or with KV_Q8 int8_t, and behind the codes a scale for each of the 16.
 */
static inline void *host_k(const struct ops_ctx *c, uint32_t block,
			   uint32_t layer, uint32_t head)
{
	return c->kv + block * c->block_bytes +
	       ((size_t)layer * 2 * c->shape.nr_kv_heads + head) *
		       host_kv_head_bytes(&c->shape);
}

static inline float *host_kv_scales(void *codes, uint32_t head_dim)
{
	return (float *)(void *)((char *)codes + head_dim * OPS_BLOCK);
}

static inline void *host_v(const struct ops_ctx *c, uint32_t block,
			   uint32_t layer, uint32_t head)
{
	return host_k(c, block, layer, head + c->shape.nr_kv_heads);
}

static inline float *host_row(const struct host_rows *b, uint32_t row)
{
	return b->data + row * b->ld;
}

/*
 * Outputs of a layer with qk_pairs, one head's, put half by half: x[2i] goes
 * to x[i], x[2i + 1] to x[rotary_dim/2 + i].
 */
void host_unpair(float *x, uint32_t rotary_dim);

/* First key that a row at @position sees. */
static inline uint32_t host_first_key(uint32_t position, uint32_t window)
{
	return window && position >= window ? position - window + 1 : 0;
}

/*
 * Zeroed memory of the context, aligned to 64 bytes, in huge pages where it
 * is large; NULL when there is none.  Only between open and the first step.
 */
void *host_take(struct ops_ctx *ctx, size_t bytes);

/* Columns of the widest matrix. */
uint32_t host_widest(const struct ops_shape *shape);

/* Rows of ops.h's table that are the same for all host op sets. */
size_t host_kv_block_bytes(const struct ops_shape *shape);
/* @nr_threads scratch areas are made; the pool is the caller's affair. */
int host_open(const struct ops_shape *shape, const struct ops_limits *limits,
	      uint32_t nr_threads, struct ops_ctx **ret_ctx, struct err *err);
void host_close(struct ops_ctx *ctx);
int host_load_ends(struct ops_ctx *ctx, const struct ops_ends *ends,
		   struct err *err);
int host_load_layer(struct ops_ctx *ctx, uint32_t layer,
		    const struct ops_layer *weights, struct err *err);
uint64_t host_arith_of(const struct ops_ctx *ctx);
int host_peek(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, float *data);
int host_poke(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, const float *data);

/*
 * Once a step, by embed_norm: assert what ops.h says the caller guarantees,
 * and note which sequence each row belongs to.
 */
void host_begin_step(struct ops_ctx *ctx, const struct step *step);

/* The norm after layer @layer's MLP: the next layer's, or the head's. */
const float *host_next_norm(const struct ops_ctx *ctx, uint32_t layer);

#endif
