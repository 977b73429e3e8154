/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - the cpu op sets: the ops of ref, threaded, over a table of inner
 * kernels that an instruction set fills.  Arithmetic and bits are ref's.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/packed.h"
#include "kernels/ops.h"

struct host_rows;
struct ops_ctx;
struct step;
struct step_out;

/* Queries of one kv head that walk over the same blocks together. */
struct attn_tile {
	uint32_t head_dim;
	enum kv_type kv;
	size_t ld;    /* floats from one query to the next in q and o */
	float *q;     /* [nr][ld], scaled */
	float *m, *l; /* [nr] softmax of this part so far (F6) */
	float *o;     /* [nr][ld] */
};

/*
 * A block of keys and values of which [t0, t1) are seen; or two, one after the
 * other, that are seen whole.  k: [hd][16], v: [16][hd], as host_k() says.
 */
struct attn_keys {
	uint32_t nr, t0, t1;
	const void *k[2], *v[2];
	const void *next_k[2], *next_v[2]; /* to be fetched meanwhile */
};

#define ATTN_QUERIES 32u /* at most, of a tile */

/* What an instruction set brings. */
struct cpu_kernels {
	const struct gemm_tiles *gemm; /* [NR_GEMM_TYPES] */
	const struct packed_set *packed;
	/* F3: out = norm(x) * w, n floats; out may be x */
	void (*norm)(const float *x, const float *w, uint32_t n, float eps,
		     float *out);
	/* F5 in place; table: [rotary_dim/2][2] */
	void (*rope)(float *x, const float *table, uint32_t rotary_dim);
	/* K2: n floats from @x; writes, and reads, up to a multiple of 8 */
	void (*halves)(const float *x, uint32_t n, uint16_t *out);
	/* F7: g = silu(g) * u, n floats */
	void (*silu_mul)(float *g, const float *u, uint32_t n);
	/*
	 * F6: keys for queries [first, first + nr) of the tile, which all see
	 * exactly these.  May read 64 bytes past values.
	 */
	void (*attn_block)(const struct attn_tile *tile, uint32_t first,
			   uint32_t nr, const struct attn_keys *keys);
	/* F6: fold query i of @part into that of @all */
	void (*attn_fold)(const struct attn_tile *all,
			  const struct attn_tile *part, uint32_t i);
	/* dst = cleaned src (step 0), n floats; the largest of them */
	float (*clean)(const float *src, float *dst, uint32_t n);
	/* the largest of n clean floats, and the first place of it */
	uint32_t (*argmax)(const float *l, uint32_t n, float *ret_max);
	/* e[i] = exp((l[i] - max) / temperature) */
	void (*exp_all)(const float *l, uint32_t n, float max,
			float temperature, float *e);
	/* sum of the masses of exp(l[i] - max) */
	uint64_t (*mass_sum)(const float *l, uint32_t n, float max);
	/*
	 * Ids first..end-1 (first even) whose noise may lift them over the
	 * best: those where the chance 1 - u of their noise (noise.h) is not
	 * surely above e[id] * @ceiling.  Stops at one and returns it, else
	 * end.
	 */
	uint32_t (*next_lucky)(uint64_t seed, uint32_t position, const float *e,
			       uint32_t first, uint32_t end, float ceiling);
};

extern const struct cpu_kernels cpu_kernels_avx2;
extern const struct gemm_tiles gemm_tiles_avx2[NR_GEMM_TYPES];
extern const struct gemm_tiles gemm_tiles_avx512[NR_GEMM_TYPES];
void attn_block_avx2(const struct attn_tile *tile, uint32_t first, uint32_t nr,
		     const struct attn_keys *keys);
void attn_fold_avx2(const struct attn_tile *all, const struct attn_tile *part,
		    uint32_t i);
void attn_block_avx512(const struct attn_tile *tile, uint32_t first,
		       uint32_t nr, const struct attn_keys *keys);

int op_embed_norm_cpu(struct ops_ctx *ctx, const struct step *step);
int op_qkv_rope_kv_cpu(struct ops_ctx *ctx, const struct step *step,
		       uint32_t layer);
int op_attention_cpu(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer);
int op_out_norm_cpu(struct ops_ctx *ctx, const struct step *step,
		    uint32_t layer);
int op_gate_up_cpu(struct ops_ctx *ctx, const struct step *step,
		   uint32_t layer);
int op_down_norm_cpu(struct ops_ctx *ctx, const struct step *step,
		     uint32_t layer);
int op_head_cpu(struct ops_ctx *ctx, const struct step *step, uint32_t first,
		uint32_t count);
int op_sample_cpu(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);
int op_score_cpu(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);

/* Rows of ops.h's table. */
size_t cpu_improved_bytes(const struct weight *w);
int cpu_improve(struct ops_ctx *ctx, struct weight *ret_done);
void cpu_adopt(struct ops_ctx *ctx);

/* Rows of one sequence that walk over its blocks together. */
struct cpu_rows {
	uint32_t seq, first, end;
};

/* A thread's place for attention. */
struct cpu_attn {
	struct attn_tile part, all; /* they share q */
};

/* Packed weights with their rows interleaved, see improve.c. */
struct cpu_fast {
	uint32_t nr; /* matrices there are, plain ones too */
	/* written by: who improves; read by: who steps, acquire of nr_made */
	uint8_t **made; /* [nr] NULL where plain */
	_Atomic uint32_t nr_made;
	/* who improves only */
	uint8_t *extent;
	size_t used;
	/* who steps only */
	uint32_t nr_adopted;
};

struct cpu_state {
	struct cpu_kernels kernels; /* of the instruction set in use */
	struct cpu_rows *tile;	    /* [max_rows] of this step */
	struct cpu_attn *attn;	    /* [nr_threads] */
	/* P1: the input of the product at hand, in each form that is wanted */
	uint8_t *packed_x[NR_PACKED_FORMS];
	/* [nr_threads] a panel: packed rows interleaved, or of FP8 as F32 */
	uint8_t **panel;
	struct cpu_fast fast;
};

/* A matrix product; several of one region share their input. */
struct cpu_product {
	const struct weight *w;
	const float *bias; /* or NULL */
	struct host_rows *y;
	const struct weight *beside; /* or NULL: `after` multiplies with it */
};

/*
 * Called on the thread that computed rows [first, end) of the @which-th
 * product, for all tokens, when they are there (bias included).
 */
typedef void cpu_after_fn(void *arg, uint32_t thread, uint32_t which,
			  uint32_t first, uint32_t end);

/*
 * y = w . x + bias for @tokens rows, for each of @nr products (same width),
 * split over the threads by rows of w.
 */
void cpu_products(struct ops_ctx *ctx, const struct cpu_product *products,
		  uint32_t nr, const struct host_rows *x, uint32_t tokens,
		  cpu_after_fn *after, void *arg);

/*
 * Inside such a region: y = w . x for rows [first, end) of @w, @x the region's
 * own; @first a multiple of 8.
 */
void cpu_some_product(struct ops_ctx *ctx, uint32_t thread,
		      const struct weight *w, uint32_t first, uint32_t end,
		      const struct host_rows *x, uint32_t tokens,
		      struct host_rows *y);

/* Items that are worth a grain of pool_run(), at @ns each. */
uint32_t cpu_grain(double ns);

#endif
