/* SPDX-License-Identifier: MIT */
/*
 * attention.cuh - attention over a paged KV cache, grouped queries, causal:
 * decode, verification of drafts and prefill are one law.
 *
 * The arithmetic is fixed by absolute positions:
 *	tile	128 positions [128 i, 128 i + 128).  A row's scores over one
 *		tile give (m, l, o): the maximum, the sum of 2^(s - m), the sum
 *		of 2^(s - m) * v, each in one order.
 *	fold	tiles are merged left to right, one at a time.
 * The schedule is free: a warp either folds its tiles itself (one warp for the
 * whole context: large batches), or stores them for the last warp to finish,
 * which folds them in the same order (many warps: small batches).  Both give
 * the same bits, and so does any grouping of query rows.
 *
 * A CTA is one warp with 16 query rows: a token's heads of one KV head, then
 * the next token's.  It walks blocks of 16 tokens through a ring of eight, K
 * and then V of a tile.  Bytes: K and V once for each 16 rows.  No GPU has
 * measured it yet.
 */
#ifndef KERNELS_CUDA_ATTENTION_CUH
#define KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/arith.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"

#define ATTENTION_BLOCKS                                                       \
	(CUDA_ATTENTION_TILE / KV_BLOCK) /* of a tile; the ring */
#define ATTENTION_SMEM                                                         \
	(ATTENTION_BLOCKS * KV_BYTES + CUDA_ATTENTION_ROWS * KV_HEAD_DIM * 2)

/*
 * Rows lane / 4 and lane / 4 + 8 (h = 0, 1): o[4 j + 2 h + {0, 1}] are columns
 * 8 j + 2 (lane % 4) + {0, 1}
 */
struct attention_rows {
	float m[2], l[2], o[KV_HEAD_DIM / 2];
};

#define ATTENTION_NONE (-INFINITY)

/* What a warp knows of its work. */
struct attention_task {
	int kv_head, group; /* group: query heads of a KV head */
	int query;	    /* the sequence's first query token */
	int first_row, nr_rows;
	int len;	 /* keys that the last row sees */
	int see[2];	 /* last position of this lane's rows, -1: no row */
	int tiles;	 /* of len */
	int first, last; /* tiles that are this warp's: first .. last - 1 */
	const int *table;
	char *ring, *queries;
};

/* a is folded with what stands right of it. */
DEV void attention_fold(attention_rows &a, const attention_rows &t)
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		if (t.m[h] == ATTENTION_NONE)
			continue;
		float m = fmaxf(a.m[h], t.m[h]);
		float x = exp2_negative(a.m[h] - m);
		float y = exp2_negative(t.m[h] - m);

		a.m[h] = m;
		a.l[h] = fmaf(a.l[h], x, t.l[h] * y);
#pragma unroll
		for (int j = 2 * h; j < KV_HEAD_DIM / 2; j += 4) {
			a.o[j] = fmaf(a.o[j], x, t.o[j] * y);
			a.o[j + 1] = fmaf(a.o[j + 1], x, t.o[j + 1] * y);
		}
	}
}

DEV attention_task attention_take(const struct cuda_attention_args &p)
{
	int seq = p.work[2 * blockIdx.z], row = threadIdx.x / 4;
	int new_tokens = p.query_start[seq + 1] - p.query_start[seq];
	int position = p.context_len[seq] - new_tokens; /* of the first query */
	attention_task t;

	t.kv_head = blockIdx.y;
	t.group = p.nr_heads / p.nr_kv_heads;
	t.query = p.query_start[seq];
	t.first_row = p.work[2 * blockIdx.z + 1];
	t.nr_rows = new_tokens * t.group - t.first_row;
	t.nr_rows = t.nr_rows < CUDA_ATTENTION_ROWS ? t.nr_rows
						    : CUDA_ATTENTION_ROWS;
	t.len = position + (t.first_row + t.nr_rows - 1) / t.group + 1;
	for (int h = 0; h < 2; h++)
		t.see[h] = row + 8 * h < t.nr_rows
				   ? position + (t.first_row + row + 8 * h) /
							t.group
				   : -1;
	t.tiles = (t.len + CUDA_ATTENTION_TILE - 1) / CUDA_ATTENTION_TILE;
	t.first = blockIdx.x * p.tiles_per_warp;
	t.last = t.first + p.tiles_per_warp;
	t.last = t.last < t.tiles ? t.last : t.tiles;
	t.table = p.block_table + (size_t)seq * p.table_stride;
	t.ring = smem_base();
	t.queries = t.ring + ATTENTION_BLOCKS * KV_BYTES;
	return t;
}

/* Lane i: the number of the tile's i-th block, past it of the next tile's. */
DEV int attention_look_up(const attention_task &t, int tile)
{
	int i = tile * ATTENTION_BLOCKS + threadIdx.x;

	return i * KV_BLOCK < t.len ? t.table[i] : 0;
}

/*
 * Start to copy K or V (@cache) of block @i of @tile into place i of the ring,
 * as one group, which is empty where the block is not wanted.
 */
DEV void attention_load(const struct cuda_attention_args &p,
			const attention_task &t, const uint16_t *cache,
			int tile, int i, int block)
{
	int position = tile * CUDA_ATTENTION_TILE + i * KV_BLOCK;

	if (tile < t.last && position < t.len) {
		const uint16_t *src = cache + block * p.block_stride +
				      (size_t)t.kv_head * (KV_BYTES / 2);

#pragma unroll
		for (int c = threadIdx.x; c < KV_BYTES / 16; c += 32) {
			int token = c / 128 * 8 + c / 8 % 8; /* layout_kv */

			copy_async(t.ring + i * KV_BYTES + c * 16, src + c * 8,
				   position + token < t.len);
		}
	}
	copy_commit();
}

DEV void attention_load_queries(const struct cuda_attention_args &p,
				const attention_task &t)
{
	constexpr int CHUNKS = KV_HEAD_DIM / 8;

	for (int c = threadIdx.x; c < CUDA_ATTENTION_ROWS * CHUNKS; c += 32) {
		int row = t.first_row + c / CHUNKS;
		int head = t.kv_head * t.group + row % t.group;
		size_t token = t.query + row / t.group;
		const uint16_t *src =
			p.q + (token * p.nr_heads + head) * KV_HEAD_DIM +
			c % CHUNKS * 8;
		bool take = c / CHUNKS < t.nr_rows;

		copy_async(t.queries + layout_kv(c / CHUNKS, c % CHUNKS),
			   take ? src : p.q, take);
	}
}

/* s = q k^T for the 16 keys of one block; [two halves of the keys][4] */
DEV void attention_scores(float s[2][4], const attention_task &t,
			  const char *keys)
{
	int lane = threadIdx.x;

#pragma unroll
	for (int k = 0; k < KV_HEAD_DIM / 16; k++) {
		uint32_t a[4], b[4];

		ldmatrix(a,
			 t.queries + layout_kv(lane % 16, 2 * k + lane / 16));
		ldmatrix(b, keys + layout_kv(lane % 8 + lane / 16 * 8,
					     2 * k + lane / 8 % 2));
		mma(s[0], a, b[0], b[1]);
		mma(s[1], a, b[2], b[3]);
	}
}

/* o += p v for the 16 keys of one block; @a: p as an A fragment */
DEV void attention_values(float *o, const uint32_t a[4], const char *values)
{
	int lane = threadIdx.x;

#pragma unroll
	for (int j = 0; j < KV_HEAD_DIM / 16; j++) {
		uint32_t b[4];

		ldmatrix_transposed(b, values + layout_kv(lane % 16,
							  2 * j + lane / 16));
		mma(o + 8 * j, a, b[0], b[1]);
		mma(o + 8 * j + 4, a, b[2], b[3]);
	}
}

/* The four lanes that share a row agree. */
DEV void attention_row_max(float m[2])
{
	for (int h = 0; h < 2; h++) {
		m[h] = fmaxf(m[h], __shfl_xor_sync(WHOLE_WARP, m[h], 1));
		m[h] = fmaxf(m[h], __shfl_xor_sync(WHOLE_WARP, m[h], 2));
	}
}

DEV void attention_row_sum(float l[2])
{
	for (int h = 0; h < 2; h++) {
		l[h] += __shfl_xor_sync(WHOLE_WARP, l[h], 1);
		l[h] += __shfl_xor_sync(WHOLE_WARP, l[h], 2);
	}
}

/*
 * (m, l, o) of one tile.  The ring holds its K; each place is filled with the
 * block's V as soon as its K is used, then with K of the next tile.
 */
DEV void attention_tile(attention_rows &r, const struct cuda_attention_args &p,
			const attention_task &t, int tile)
{
	int blocks = attention_look_up(t, tile);
	float s[ATTENTION_BLOCKS][2][4] = {};

#pragma unroll
	for (int i = 0; i < ATTENTION_BLOCKS; i++) {
		int position = tile * CUDA_ATTENTION_TILE + i * KV_BLOCK;
		int block = __shfl_sync(WHOLE_WARP, blocks, i);

		copy_wait<ATTENTION_BLOCKS - 1>();
		__syncwarp();
		if (position < t.len)
			attention_scores(s[i], t, t.ring + i * KV_BYTES);
		__syncwarp();
		attention_load(p, t, p.v, tile, i, block);
#pragma unroll
		for (int c = 0; c < 8; c++) {
			int at = position + c / 4 * 8 + threadIdx.x % 4 * 2 +
				 c % 2;
			int h = c / 2 % 2;
			float &x = s[i][c / 4][c % 4];

			x = at <= t.see[h] ? x * p.scale : ATTENTION_NONE;
			r.m[h] = fmaxf(r.m[h], x);
		}
	}
	attention_row_max(r.m);
#pragma unroll
	for (int i = 0; i < ATTENTION_BLOCKS; i++) {
		int position = tile * CUDA_ATTENTION_TILE + i * KV_BLOCK;
		int next =
			__shfl_sync(WHOLE_WARP, blocks, ATTENTION_BLOCKS + i);
		float *e = &s[i][0][0];

#pragma unroll
		for (int c = 0; c < 8; c++) {
			int h = c / 2 % 2;

			e[c] = r.m[h] == ATTENTION_NONE
				       ? 0.f
				       : exp2_negative(e[c] - r.m[h]);
			r.l[h] += e[c];
		}
		uint32_t a[4] = { pack_bf16(e[0], e[1]), pack_bf16(e[2], e[3]),
				  pack_bf16(e[4], e[5]),
				  pack_bf16(e[6], e[7]) };
		copy_wait<ATTENTION_BLOCKS - 1>();
		__syncwarp();
		if (position < t.len)
			attention_values(r.o, a, t.ring + i * KV_BYTES);
		__syncwarp();
		attention_load(p, t, p.k, tile + 1, i, next);
	}
	attention_row_sum(r.l);
}

/* Where row h of this lane has its part of a tile; +8 * j columns on. */
DEV size_t attention_slot(const struct cuda_attention_args &p, int tile, int h)
{
	size_t work = (size_t)blockIdx.z * p.nr_kv_heads + blockIdx.y;

	return (work * p.max_tiles + tile) * CUDA_ATTENTION_ROWS +
	       threadIdx.x / 4 + 8 * h;
}

DEV void attention_store_part(const struct cuda_attention_args &p,
			      const attention_task &t, int tile,
			      const attention_rows &r)
{
	int t4 = threadIdx.x % 4;

	for (int h = 0; h < 2; h++) {
		size_t slot = attention_slot(p, tile, h);
		float *dst = p.part + slot * KV_HEAD_DIM + 2 * t4;

		if (t.see[h] < 0)
			continue;
#pragma unroll
		for (int j = 0; j < KV_HEAD_DIM / 8; j++)
			store_pair(dst + 8 * j, r.o[4 * j + 2 * h],
				   r.o[4 * j + 2 * h + 1]);
		if (t4 == 0)
			store_pair(p.state + slot * 2, r.m[h], r.l[h]);
	}
}

DEV void attention_load_part(const struct cuda_attention_args &p,
			     const attention_task &t, int tile,
			     attention_rows &r)
{
	for (int h = 0; h < 2; h++) {
		size_t slot = attention_slot(p, tile, h);
		const float *src =
			p.part + slot * KV_HEAD_DIM + threadIdx.x % 4 * 2;
		float2 state;

		if (t.see[h] < 0)
			continue;
#pragma unroll
		for (int j = 0; j < KV_HEAD_DIM / 8; j++) {
			float2 o = *(const float2 *)(src + 8 * j);

			r.o[4 * j + 2 * h] = o.x;
			r.o[4 * j + 2 * h + 1] = o.y;
		}
		state = *(const float2 *)(p.state + slot * 2);
		r.m[h] = state.x;
		r.l[h] = state.y;
	}
}

/*
 * Whether this warp is the last of its unit and KV head to come here.  The
 * first fence: our parts before our count; the second: the count before the
 * others' parts, which they stored before counting.
 */
DEV bool attention_is_last(const struct cuda_attention_args &p,
			   const attention_task &t)
{
	int *count = p.count + (size_t)blockIdx.z * p.nr_kv_heads + t.kv_head;
	int warps = (t.tiles + p.tiles_per_warp - 1) / p.tiles_per_warp;
	int before = 0;

	__threadfence();
	__syncwarp();
	if (threadIdx.x == 0)
		before = atomicAdd(count, 1);
	before = __shfl_sync(WHOLE_WARP, before, 0);
	if (before != warps - 1)
		return false;
	__threadfence();
	if (threadIdx.x == 0)
		*count = 0;
	return true;
}

template <class Out>
DEV void attention_store(const struct cuda_attention_args &p,
			 const attention_task &t, const attention_rows &r)
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		int row = t.first_row + threadIdx.x / 4 + 8 * h;
		int head = t.kv_head * t.group + row % t.group;
		size_t token = t.query + row / t.group;
		Out *dst = (Out *)p.out +
			   (token * p.nr_heads + head) * KV_HEAD_DIM +
			   threadIdx.x % 4 * 2;
		float inverse = 1.f / r.l[h];

		if (t.see[h] < 0)
			continue;
#pragma unroll
		for (int j = 0; j < KV_HEAD_DIM / 8; j++)
			store_pair(dst + 8 * j, r.o[4 * j + 2 * h] * inverse,
				   r.o[4 * j + 2 * h + 1] * inverse);
	}
}

/* grid = (max_tiles / tiles_per_warp upward, nr_kv_heads, W) */
template <class Out>
__global__ void __launch_bounds__(32)
	attention(const struct cuda_attention_args p)
{
	const attention_rows none = { { ATTENTION_NONE, ATTENTION_NONE },
				      { 0, 0 },
				      {} };
	attention_task t;
	attention_rows all = none;

	pdl_wait();
	t = attention_take(p);
	if (t.first >= t.tiles)
		return;
	bool alone = p.tiles_per_warp >= t.tiles;
	int blocks = attention_look_up(t, t.first);

	attention_load_queries(p, t); /* in the first block's group */
	for (int i = 0; i < ATTENTION_BLOCKS; i++)
		attention_load(p, t, p.k, t.first, i,
			       __shfl_sync(WHOLE_WARP, blocks, i));
	for (int tile = t.first; tile < t.last; tile++) {
		attention_rows r = none;

		attention_tile(r, p, t, tile);
		if (alone)
			attention_fold(all, r);
		else
			attention_store_part(p, t, tile, r);
	}
	copy_wait<0>();
	if (!alone) {
		if (!attention_is_last(p, t))
			return;
		for (int tile = 0; tile < t.tiles; tile++) {
			attention_rows r = none;

			attention_load_part(p, t, tile, r);
			attention_fold(all, r);
		}
	}
	pdl_go();
	attention_store<Out>(p, t, all);
}

#endif
