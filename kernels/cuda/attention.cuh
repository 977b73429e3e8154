/* SPDX-License-Identifier: MIT */
/*
 * attention.cuh - attention over a paged KV cache, grouped queries, causal,
 * perhaps over a window: decode, verification of drafts and prefill are one
 * law.
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
 * and then V of a tile.  Heads of more than 128 dimensions are answered 128
 * columns a warp, as o of more has no room in registers; each such warp makes
 * all scores itself.  Blocks before a window are not read.  Bytes: K (times
 * SPLIT) and V once for each 16 rows.  No GPU has measured it yet.
 *
 * K and V of 8 bits (rule K1) are copied as they are and widened to bf16,
 * which is exact, when their turn comes; the scale of a key multiplies its
 * score, that of a value its probability before it is rounded.
 */
#ifndef KERNELS_CUDA_ATTENTION_CUH
#define KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/arith.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"

#define ATTENTION_BLOCKS                                                       \
	(CUDA_ATTENTION_TILE / KV_BLOCK) /* of a tile; the ring */

/* Bytes of shared memory: places of the ring, their codes, the queries. */
template <int DIM, bool Q8> struct attention_room {
	static constexpr int PLACE = KV_BLOCK * DIM * 2;
	static constexpr int CODES = Q8 ? layout_kv8_bytes(DIM) : 0;
	static constexpr int ALL = ATTENTION_BLOCKS * (PLACE + CODES) +
				   CUDA_ATTENTION_ROWS * DIM * 2;
};

static_assert(CUDA_ATTENTION_ROWS == KV_BLOCK,
	      "queries lie in shared memory as a block of keys does");

/*
 * Rows lane / 4 and lane / 4 + 8 (h = 0, 1): o[j][2 h + {0, 1}] are columns
 * 8 j + 2 (lane % 4) + {0, 1} of the COLS that are this warp's
 */
template <int COLS> struct attention_rows {
	float m[2], l[2], o[COLS / 8][4];
};

#define ATTENTION_NONE (-INFINITY)

/* Rows of a unit: whose they are, and what they see. */
struct attention_unit {
	int kv_head, group; /* group: query heads of a KV head */
	int query;	    /* the sequence's first query token */
	int first_row, nr_rows;
	int from, len;	/* keys that some row sees: from .. len - 1 */
	int begin, end; /* tiles with keys that some row sees */
	const int *table;

	/* of the block of keys that begins at @position */
	DEV_MEMBER bool wants(int position) const
	{
		return position < len && position + KV_BLOCK > from;
	}
};

/* What a lane's two rows see. */
struct attention_sight {
	int see[2]; /* last position, -1: no row */
	int window;

	DEV_MEMBER bool sees(int h, int position) const
	{
		/* in one comparison: what is below 0 becomes large */
		return (unsigned)(see[h] - position) < (unsigned)window;
	}
};

/* What a warp knows of its work. */
struct attention_task : attention_unit {
	attention_sight sight;
	int cols;	 /* first of the columns that it answers */
	int first, last; /* tiles that are this warp's: first .. last - 1 */
	char *ring, *queries, *codes; /* codes: of 8 bits, beside the ring */
};

/* a is folded with what stands right of it. */
template <int COLS>
DEV void attention_fold(attention_rows<COLS> &a, const attention_rows<COLS> &t)
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
		for (int j = 0; j < COLS / 8; j++)
#pragma unroll
			for (int c = 2 * h; c < 2 * h + 2; c++)
				a.o[j][c] = fmaf(a.o[j][c], x, t.o[j][c] * y);
	}
}

/* The position of query token @i of sequence @seq. */
DEV int attention_position(const struct cuda_attention_args &p, int seq, int i)
{
	int first = p.query_start[seq];

	if (p.position)
		return (int)p.position[first + i];
	return p.context_len[seq] - (p.query_start[seq + 1] - first) + i;
}

/* The last position that row @row of the unit sees; -1: it has no such row. */
DEV int attention_last(const struct cuda_attention_args &p,
		       const attention_unit &t, int seq, int row)
{
	if (row >= t.nr_rows)
		return -1;
	return attention_position(p, seq, (t.first_row + row) / t.group);
}

/* @w, of at most @rows rows. */
DEV attention_unit attention_unit_of(const struct cuda_attention_args &p,
				     const struct cuda_attention_work &w,
				     int rows, int kv_head)
{
	int seq = w.seq;
	int nr_tokens = p.query_start[seq + 1] - p.query_start[seq];
	attention_unit t;

	t.kv_head = kv_head;
	t.group = p.nr_heads / p.nr_kv_heads;
	t.query = p.query_start[seq];
	t.first_row = w.row;
	t.nr_rows = nr_tokens * t.group - t.first_row;
	t.nr_rows = t.nr_rows < rows ? t.nr_rows : rows;
	t.from = p.window ? attention_last(p, t, seq, 0) - p.window + 1 : 0;
	t.from = t.from > 0 ? t.from : 0;
	t.len = attention_last(p, t, seq, t.nr_rows - 1) + 1;
	t.begin = t.from / CUDA_ATTENTION_TILE;
	t.end = (t.len + CUDA_ATTENTION_TILE - 1) / CUDA_ATTENTION_TILE;
	t.table = p.block_table + (size_t)seq * p.plan->table_stride;
	return t;
}

/* Of rows @row and @row + 8 of the unit. */
DEV attention_sight attention_sight_of(const struct cuda_attention_args &p,
				       const attention_unit &t, int seq,
				       int row)
{
	return { { attention_last(p, t, seq, row),
		   attention_last(p, t, seq, row + 8) },
		 p.window ? p.window : 1 << 30 };
}

template <int DIM, bool Q8>
DEV attention_task attention_take(const struct cuda_attention_args &p)
{
	constexpr int SPLIT = CUDA_ATTENTION_SPLIT(DIM);
	const struct cuda_attention_work w = p.work[blockIdx.x];
	int per = p.plan->tiles_per_warp;
	attention_task t;

	(attention_unit &)t = attention_unit_of(p, w, CUDA_ATTENTION_ROWS,
						blockIdx.y / SPLIT);
	t.sight = attention_sight_of(p, t, w.seq, threadIdx.x / 4);
	t.cols = blockIdx.y % SPLIT * CUDA_ATTENTION_COLS;
	t.first = t.begin + (w.place < 0 ? 0 : w.part * per);
	t.last = t.first + per;
	t.last = w.place < 0 || t.last > t.end ? t.end : t.last;
	t.ring = smem_base();
	t.queries = t.ring + ATTENTION_BLOCKS * attention_room<DIM, Q8>::PLACE;
	t.codes = t.queries + CUDA_ATTENTION_ROWS * DIM * 2;
	return t;
}

/* Lane i: the number of the tile's i-th block, past it of the next tile's. */
DEV int attention_look_up(const attention_task &t, int tile)
{
	int i = tile * ATTENTION_BLOCKS + threadIdx.x;

	return i * KV_BLOCK < t.len ? t.table[i] : 0;
}

/*
 * Columns @first .. + COLS of a block of bf16 at @src to @dst, by a warp; past
 * its first @tokens zeros.
 */
template <int DIM, int COLS>
DEV void attention_copy(char *dst, const char *src, int first, int tokens)
{
	src += first * 16;
#pragma unroll
	for (int c = threadIdx.x % 32; c < COLS * 2; c += 32)
		copy_async(dst + c * 16, src + (c / COLS * DIM + c % COLS) * 16,
			   layout_kv_token(COLS, c) < tokens);
}

/* The same of codes; two chunks are 16 bytes, both of one token. */
template <int DIM, int COLS>
DEV void attention_copy_codes(const attention_task &t, char *dst,
			      const char *src, int first, int position)
{
	constexpr int HALF = COLS / 2;

#pragma unroll
	for (int c = threadIdx.x; c < COLS; c += 32)
		copy_async(dst + c * 16,
			   src + (c / HALF * (DIM / 2) + first / 2 + c % HALF) *
					   16,
			   position + layout_kv_token(COLS, 2 * c) < t.len);
	if (threadIdx.x < KV_BLOCK / 4)
		copy_async(dst + KV_BLOCK * COLS + threadIdx.x * 16,
			   src + KV_BLOCK * DIM + threadIdx.x * 16);
}

/*
 * Start to copy columns @first .. + COLS of K or V (@cache) of block @i of
 * @tile into place i of the ring, as one group, which is empty where the block
 * is not wanted.  There it lies as a block of COLS dimensions.
 */
template <int DIM, int COLS, bool Q8>
DEV void attention_load(const struct cuda_attention_args &p,
			const attention_task &t, const uint16_t *cache,
			int first, int tile, int i, int block)
{
	typedef attention_room<DIM, Q8> room;
	int position = tile * CUDA_ATTENTION_TILE + i * KV_BLOCK;

	if (tile < t.last && t.wants(position)) {
		const char *src =
			(const char *)(cache + block * p.block_stride) +
			(size_t)t.kv_head * (Q8 ? room::CODES : room::PLACE);

		if (Q8)
			attention_copy_codes<DIM, COLS>(
				t, t.codes + i * room::CODES, src, first,
				position);
		else
			attention_copy<DIM, COLS>(t.ring + i * room::PLACE, src,
						  first, t.len - position);
	}
	copy_commit();
}

/* Codes that have come, of COLS dimensions, to bf16 in the ring's place. */
template <int COLS> DEV void attention_widen(char *place, const char *codes)
{
#pragma unroll
	for (int c = threadIdx.x; c < COLS * 2; c += 32) {
		uint2 v = ((const uint2 *)codes)[c];
		uint32_t r[4];

#pragma unroll
		for (int j = 0; j < 4; j++) {
			uint32_t u = (j < 2 ? v.x : v.y) >> 16 * (j % 2);

			u = (u & 0xff) | (u & 0xff00) << 8;
			r[j] = widen_s8x2(u);
		}
		((uint4 *)place)[c] = uint4{ r[0], r[1], r[2], r[3] };
	}
	__syncwarp();
}

/* The scale of the key of e[c] (attention_tile) of a block of codes. */
template <int COLS> DEV float attention_scale(const char *codes, int c)
{
	const float *scales = (const float *)(codes + KV_BLOCK * COLS);

	return scales[c / 4 * 8 + threadIdx.x % 4 * 2 + c % 2];
}

template <int DIM>
DEV void attention_load_queries(const struct cuda_attention_args &p,
				const attention_task &t)
{
	constexpr int CHUNKS = DIM / 8;

	for (int c = threadIdx.x; c < CUDA_ATTENTION_ROWS * CHUNKS; c += 32) {
		int row = t.first_row + c / CHUNKS;
		int head = t.kv_head * t.group + row % t.group;
		size_t token = t.query + row / t.group;
		const uint16_t *src = p.q + (token * p.nr_heads + head) * DIM +
				      c % CHUNKS * 8;
		bool take = c / CHUNKS < t.nr_rows;

		copy_async(t.queries + layout_kv(DIM, c / CHUNKS, c % CHUNKS),
			   take ? src : p.q, take);
	}
}

/* s = q k^T for the 16 keys of one block; [two halves of the keys][4] */
template <int DIM>
DEV void attention_scores(float s[2][4], const attention_task &t,
			  const char *keys)
{
	int lane = threadIdx.x, key = lane % 8 + lane / 16 * 8;

#pragma unroll
	for (int k = 0; k < DIM / 16; k++) {
		uint32_t a[4], b[4];

		ldmatrix(a, t.queries + layout_kv_pair(DIM, lane % 16, k,
						       lane / 16));
		ldmatrix(b, keys + layout_kv_pair(DIM, key, k, lane / 8 % 2));
		mma(s[0], a, b[0], b[1]);
		mma(s[1], a, b[2], b[3]);
	}
}

/* o += p v for the 16 keys of one block; @a: p as an A fragment */
template <int COLS>
DEV void attention_values(float (&o)[COLS / 8][4], const uint32_t a[4],
			  const char *values)
{
	int lane = threadIdx.x;

#pragma unroll
	for (int j = 0; j < COLS / 16; j++) {
		uint32_t b[4];

		ldmatrix_transposed(b, values + layout_kv_pair(COLS, lane % 16,
							       j, lane / 16));
		mma(o[2 * j], a, b[0], b[1]);
		mma(o[2 * j + 1], a, b[2], b[3]);
	}
}

/* The four lanes that share a row agree. */
DEV void attention_row_max(float m[2])
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		m[h] = fmaxf(m[h], __shfl_xor_sync(WHOLE_WARP, m[h], 1));
		m[h] = fmaxf(m[h], __shfl_xor_sync(WHOLE_WARP, m[h], 2));
	}
}

DEV void attention_row_sum(float l[2])
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		l[h] += __shfl_xor_sync(WHOLE_WARP, l[h], 1);
		l[h] += __shfl_xor_sync(WHOLE_WARP, l[h], 2);
	}
}

/*
 * Scores of a block of keys from @position on, to powers of 2; what a row does
 * not see is nothing.  m: the largest so far of both rows.
 */
DEV void attention_mask(float e[8], float m[2], const attention_sight &t,
			int position, float scale)
{
#pragma unroll
	for (int c = 0; c < 8; c++) {
		int at = position + c / 4 * 8 + threadIdx.x % 4 * 2 + c % 2;
		int h = c / 2 % 2;

		e[c] = t.sees(h, at) ? e[c] * scale : ATTENTION_NONE;
		m[h] = fmaxf(m[h], e[c]);
	}
}

/* Scores to probabilities, which l sums up; of nothing, where all is nothing. */
DEV void attention_weigh(float e[8], float l[2], const float m[2])
{
#pragma unroll
	for (int c = 0; c < 8; c++) {
		int h = c / 2 % 2;
		float top = m[h] == ATTENTION_NONE ? 0.f : m[h];

		e[c] = exp2_negative(e[c] - top);
		l[h] += e[c];
	}
}

/* Probabilities times the scales of their values. */
template <int COLS>
DEV void attention_scale_values(float e[8], const char *codes)
{
	/* a scale past the context may be anything */
#pragma unroll
	for (int c = 0; c < 8; c++)
		e[c] = e[c] > 0 ? e[c] * attention_scale<COLS>(codes, c) : 0;
}

/* As an A fragment. */
DEV void attention_pack(uint32_t a[4], const float e[8])
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		a[i] = pack_bf16(e[2 * i], e[2 * i + 1]);
}

/*
 * (m, l, o) of one tile.  The ring holds its K; each place is filled with the
 * block's V as soon as its K is used, then with K of the next tile.
 */
template <int DIM, int COLS, bool Q8>
DEV void attention_tile(attention_rows<COLS> &r,
			const struct cuda_attention_args &p,
			const attention_task &t, int tile)
{
	typedef attention_room<DIM, Q8> room;
	int blocks = attention_look_up(t, tile);
	float s[ATTENTION_BLOCKS][2][4] = {};

#pragma unroll
	for (int i = 0; i < ATTENTION_BLOCKS; i++) {
		int position = tile * CUDA_ATTENTION_TILE + i * KV_BLOCK;
		int block = __shfl_sync(WHOLE_WARP, blocks, i);
		char *place = t.ring + i * room::PLACE;
		const char *codes = t.codes + i * room::CODES;

		copy_wait<ATTENTION_BLOCKS - 1>();
		__syncwarp();
		if (t.wants(position)) {
			if (Q8)
				attention_widen<DIM>(place, codes);
			attention_scores<DIM>(s[i], t, place);
			for (int c = 0; Q8 && c < 8; c++)
				s[i][c / 4][c % 4] *=
					attention_scale<DIM>(codes, c);
		}
		__syncwarp();
		attention_load<DIM, COLS, Q8>(p, t, p.v, t.cols, tile, i,
					      block);
		attention_mask(&s[i][0][0], r.m, t.sight, position, p.scale);
	}
	attention_row_max(r.m);
#pragma unroll
	for (int i = 0; i < ATTENTION_BLOCKS; i++) {
		int position = tile * CUDA_ATTENTION_TILE + i * KV_BLOCK;
		int next =
			__shfl_sync(WHOLE_WARP, blocks, ATTENTION_BLOCKS + i);
		float *e = &s[i][0][0];
		uint32_t a[4];
		char *place = t.ring + i * room::PLACE;
		const char *codes = t.codes + i * room::CODES;

		attention_weigh(e, r.l, r.m);
		if (!Q8)
			attention_pack(a, e);
		copy_wait<ATTENTION_BLOCKS - 1>();
		__syncwarp();
		if (t.wants(position)) {
			if (Q8) {
				attention_widen<COLS>(place, codes);
				attention_scale_values<COLS>(e, codes);
				attention_pack(a, e);
			}
			attention_values<COLS>(r.o, a, place);
		}
		__syncwarp();
		attention_load<DIM, DIM, Q8>(p, t, p.k, 0, tile + 1, i, next);
	}
	attention_row_sum(r.l);
}

/*
 * Which of the divided units, and of its heads and columns, this is.  Read
 * again where it is wanted: registers are short.
 */
DEV size_t attention_place(const struct cuda_attention_args &p)
{
	return (size_t)p.work[blockIdx.x].place * gridDim.y + blockIdx.y;
}

/* Where row h of this lane has its part of a tile; +8 * j columns on. */
DEV size_t attention_slot(const struct cuda_attention_args &p,
			  const attention_task &t, int tile, int h)
{
	return (attention_place(p) * p.plan->max_tiles + tile - t.begin) *
		       CUDA_ATTENTION_ROWS +
	       threadIdx.x / 4 + 8 * h;
}

template <int COLS>
DEV void attention_store_part(const struct cuda_attention_args &p,
			      const attention_task &t, int tile,
			      const attention_rows<COLS> &r)
{
	int t4 = threadIdx.x % 4;

	for (int h = 0; h < 2; h++) {
		size_t slot = attention_slot(p, t, tile, h);
		float *dst = p.part + slot * COLS + 2 * t4;

		if (t.sight.see[h] < 0)
			continue;
#pragma unroll
		for (int j = 0; j < COLS / 8; j++)
			store_pair(dst, 8 * j, r.o[j][2 * h], r.o[j][2 * h + 1],
				   CUDA_F32);
		if (t4 == 0)
			store_pair(p.state, slot * 2, r.m[h], r.l[h], CUDA_F32);
	}
}

template <int COLS>
DEV void attention_load_part(const struct cuda_attention_args &p,
			     const attention_task &t, int tile,
			     attention_rows<COLS> &r)
{
	for (int h = 0; h < 2; h++) {
		size_t slot = attention_slot(p, t, tile, h);
		const float *src = p.part + slot * COLS + threadIdx.x % 4 * 2;
		float2 state;

		if (t.sight.see[h] < 0)
			continue;
#pragma unroll
		for (int j = 0; j < COLS / 8; j++) {
			float2 o = *(const float2 *)(src + 8 * j);

			r.o[j][2 * h] = o.x;
			r.o[j][2 * h + 1] = o.y;
		}
		state = *(const float2 *)(p.state + slot * 2);
		r.m[h] = state.x;
		r.l[h] = state.y;
	}
}

/*
 * Whether this warp is the last of its unit, KV head and columns to come here.
 * The first fence: our parts before our count; the second: the count before
 * the others' parts, which they stored before counting.
 */
DEV bool attention_is_last(const struct cuda_attention_args &p,
			   const attention_task &t)
{
	int per = p.plan->tiles_per_warp;
	int *count = p.count + attention_place(p);
	int warps = (t.end - t.begin + per - 1) / per;
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

template <int DIM, int COLS>
DEV void attention_store(const struct cuda_attention_args &p,
			 const attention_task &t, const attention_rows<COLS> &r)
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		int row = t.first_row + threadIdx.x / 4 + 8 * h;
		int head = t.kv_head * t.group + row % t.group;
		size_t token = t.query + row / t.group;
		size_t at = (token * p.nr_heads + head) * DIM + t.cols +
			    threadIdx.x % 4 * 2;
		float inverse = 1.f / r.l[h];

		if (t.sight.see[h] < 0)
			continue;
#pragma unroll
		for (int j = 0; j < COLS / 8; j++)
			store_pair(p.out, at + 8 * j, r.o[j][2 * h] * inverse,
				   r.o[j][2 * h + 1] * inverse, p.number);
	}
}

/*
 * grid = nr_work, nr_kv_heads * SPLIT.  Of small heads 12 CTAs a multiprocessor
 * are said to be enough, for ptxas spills registers to fit in 16; 0: unsaid.
 */
template <int DIM, bool Q8>
__global__ void __launch_bounds__(32, DIM > 32 ? 0 : 12)
	attention(const struct cuda_attention_args p)
{
	constexpr int COLS = DIM < CUDA_ATTENTION_COLS ? DIM
						       : CUDA_ATTENTION_COLS;
	const attention_rows<COLS> none = { { ATTENTION_NONE, ATTENTION_NONE },
					    { 0, 0 },
					    {} };
	attention_task t;
	attention_rows<COLS> all = none;

	pdl_wait();
	pdl_go();
	if (p.work[blockIdx.x].seq < 0)
		return;
	t = attention_take<DIM, Q8>(p);
	if (t.first >= t.end)
		return;
	bool alone = t.first == t.begin && t.last == t.end;
	int blocks = attention_look_up(t, t.first);

	/* in the first block's group */
	attention_load_queries<DIM>(p, t);
	for (int i = 0; i < ATTENTION_BLOCKS; i++)
		attention_load<DIM, DIM, Q8>(p, t, p.k, 0, t.first, i,
					     __shfl_sync(WHOLE_WARP, blocks,
							 i));
	for (int tile = t.first; tile < t.last; tile++) {
		attention_rows<COLS> r = none;

		attention_tile<DIM, COLS, Q8>(r, p, t, tile);
		if (alone)
			attention_fold(all, r);
		else
			attention_store_part(p, t, tile, r);
	}
	copy_wait<0>();
	if (!alone) {
		if (!attention_is_last(p, t))
			return;
		for (int tile = t.begin; tile < t.end; tile++) {
			attention_rows<COLS> r = none;

			attention_load_part(p, t, tile, r);
			attention_fold(all, r);
		}
	}
	/* anew: what only the end wants had no register until here */
	t = attention_take<DIM, Q8>(p);
	attention_store<DIM>(p, t, all);
}

#endif
