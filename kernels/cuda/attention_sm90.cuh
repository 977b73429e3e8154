/* SPDX-License-Identifier: MIT */
/*
 * attention_sm90.cuh - attention for chunks of a prompt, by the warpgroups of
 * sm_90a: many query tokens of one sequence, keys and values of bf16.
 *
 * The arithmetic is attention.cuh's, to the bit: tiles of 128 positions, each
 * with its own (m, l, o), folded left to right; a score is one chain over the
 * head's dimensions, a column of o one over the tile's keys, 16 a step, from 0.
 * Whether a step of wgmma gives the bits of one of mma is the machine's affair:
 * agree.h asks it before this kernel is used.  Its fragments are those of mma,
 * warp by warp, so l is summed by the same lanes in the same order.
 *
 * The schedule: a CTA answers a unit of 128 query rows for one KV head: 64 a
 * warpgroup, of two that multiply.  One warp of a third brings K and V, a tile
 * a stage, K and V in turn: a block of 16 tokens lies in memory as it is to lie
 * here, so it comes in one bulk copy, and blocks that follow each other are one
 * operand of wgmma.  Blocks that are cut by the context's end come by cp.async,
 * zeros past it; those of the tile that nobody sees are zeros (a probability of
 * 0 times what lies there must be 0).  A stage has two barriers: full, at which
 * the one warp arrives and the bytes do, and empty, at which the others do.
 *
 * Q is the first operand of S = Q K^T, in shared memory; that of O = P V are the
 * probabilities, in registers, where the scores were.  The two warpgroups take
 * turns on the tensor core: while one has its O of a tile and its S of the next
 * there, the other weighs scores.  What a tile adds is folded while the next S
 * is under way.  Of registers that is S 64, O 64, the tile's o 64.
 *
 * Bound by the tensor core, where 2^x does not bind first: of a tile of 64 rows
 * 1024 cycles of products (128 dimensions), and of each of the four schedulers
 * some 1400 instructions, of two warpgroups: at best three quarters of the
 * machine's rate.  Bytes: K and V once for each 128 rows, from L2.  No GPU has
 * measured it yet.
 */
#ifndef KERNELS_CUDA_ATTENTION_SM90_CUH
#define KERNELS_CUDA_ATTENTION_SM90_CUH

#include "kernels/cuda/attention.cuh"

#define ATTENTION_SM90_WARPS   8 /* that multiply, of 16 rows each */
#define ATTENTION_SM90_THREADS (ATTENTION_SM90_WARPS * 32 + 128)
#define ATTENTION_SM90_HEAD    1024	   /* bytes before the ring: barriers */
#define ATTENTION_SM90_SMEM    (227 << 10) /* of a CTA, at most */

static_assert(ATTENTION_SM90_WARPS * 16 == CUDA_ATTENTION_SM90_ROWS,
	      "rows of a CTA");

/* Barriers, the queries, and the ring: a stage is a tile of K or of V. */
template <int DIM> struct attention_sm90_ring {
	static constexpr int BLOCK = KV_BLOCK * DIM * 2;
	static constexpr int STAGE = ATTENTION_BLOCKS * BLOCK;
	static constexpr int EIGHT = DIM * 16; /* from 8 rows to the next */
	static constexpr int QUERIES = CUDA_ATTENTION_SM90_ROWS * DIM * 2;
	static constexpr int MOST =
		(ATTENTION_SM90_SMEM - ATTENTION_SM90_HEAD - QUERIES) / STAGE;
	static constexpr int STAGES = MOST < 6 ? MOST : 6;
	static constexpr int SMEM =
		ATTENTION_SM90_HEAD + QUERIES + STAGES * STAGE;

	static_assert(DIM % 64 == 0, "rows of 128 bytes");
	static_assert(STAGES >= 4, "a warpgroup may be half a tile ahead");
	char *base;

	DEV_MEMBER uint64_t *full(int stage) const
	{
		return (uint64_t *)base + stage % STAGES;
	}

	DEV_MEMBER uint64_t *empty(int stage) const
	{
		return (uint64_t *)base + STAGES + stage % STAGES;
	}

	/* When warpgroup @i may multiply; when its queries are there. */
	DEV_MEMBER uint64_t *turn(int i) const
	{
		return (uint64_t *)base + 2 * STAGES + i;
	}

	DEV_MEMBER uint64_t *asked(int i) const
	{
		return (uint64_t *)base + 2 * STAGES + 2 + i;
	}

	/* Rows of queries of warpgroup @i, as keys lie. */
	DEV_MEMBER char *queries(int i) const
	{
		return base + ATTENTION_SM90_HEAD + i * (QUERIES / 2);
	}

	DEV_MEMBER char *tile(int stage) const
	{
		return base + ATTENTION_SM90_HEAD + QUERIES +
		       stage % STAGES * STAGE;
	}

	/* Of the barriers, when the ring goes round with @stage. */
	DEV_MEMBER int parity(int stage) const
	{
		return stage / STAGES % 2;
	}

	/* One thread; then a barrier of the CTA. */
	DEV_MEMBER void start() const
	{
		for (int s = 0; s < STAGES; s++) {
			mbarrier_start(full(s), 1);
			mbarrier_start(empty(s), ATTENTION_SM90_WARPS);
		}
		for (int i = 0; i < 2; i++) {
			mbarrier_start(turn(i), ATTENTION_SM90_WARPS / 2);
			mbarrier_start(asked(i), ATTENTION_SM90_WARPS / 2);
		}
		wgmma_sees();
	}
};

/* ---- the warp that brings K and V */

/* Tile @tile of @cache; lane i of each eight knows the number of block i. */
template <int DIM>
DEV void attention_sm90_load(const attention_sm90_ring<DIM> &ring,
			     const struct cuda_attention_args &p,
			     const attention_unit &t, const uint16_t *cache,
			     int stage, int tile, int block)
{
	constexpr int BLOCK = attention_sm90_ring<DIM>::BLOCK;
	int lane = threadIdx.x % 32, before = tile * ATTENTION_BLOCKS;
	int first = t.from / KV_BLOCK - before, end = t.len / KV_BLOCK - before;
	const char *head = (const char *)cache + (size_t)t.kv_head * BLOCK;
	size_t step = p.block_stride * sizeof(*cache);
	char *to = ring.tile(stage);

	/* blocks first .. end - 1 as they are */
	first = first > 0 ? first : 0;
	end = end < ATTENTION_BLOCKS ? end : ATTENTION_BLOCKS;
	mbarrier_wait(ring.empty(stage), 1 - ring.parity(stage));
	if (lane >= first && lane < end)
		copy_bulk(to + lane * BLOCK, head + block * step, BLOCK,
			  ring.full(stage));
	for (int i = 0; i < ATTENTION_BLOCKS; i++) {
		int position = (before + i) * KV_BLOCK;
		int number = __shfl_sync(WHOLE_WARP, block, i);

		if (i < first || i >= end)
			attention_copy<DIM, DIM>(
				to + i * BLOCK, head + number * step, 0,
				t.wants(position) ? t.len - position : 0);
	}
	copy_commit();
	copy_wait<0>();
	wgmma_sees();
	__syncwarp();
	if (lane == 0)
		mbarrier_expect(ring.full(stage),
				end > first ? (end - first) * BLOCK : 0);
}

template <int DIM>
DEV void attention_sm90_bring(const attention_sm90_ring<DIM> &ring,
			      const struct cuda_attention_args &p,
			      const attention_unit &t)
{
	int stage = 0;

	for (int tile = t.begin; tile < t.end; tile++, stage += 2) {
		int i = tile * ATTENTION_BLOCKS + threadIdx.x % 8;
		int block = t.wants(i * KV_BLOCK) ? t.table[i] : 0;

		attention_sm90_load(ring, p, t, p.k, stage, tile, block);
		attention_sm90_load(ring, p, t, p.v, stage + 1, tile, block);
	}
}

/* ---- the warpgroups that multiply */

/* What a warp of these knows. */
struct attention_sm90_task {
	int group, row; /* which warpgroup; this lane's first row of the unit */
	attention_sight sight;
	int low, high; /* all of its rows see what lies in low .. high */
};

DEV attention_sm90_task attention_sm90_take(const struct cuda_attention_args &p,
					    const attention_unit &t, int seq)
{
	int row = threadIdx.x / 32 * 16, last;
	attention_sm90_task w;

	w.group = threadIdx.x / 128;
	w.row = row + threadIdx.x % 32 / 4;
	w.sight = attention_sight_of(p, t, seq, w.row);
	last = attention_last(p, t, seq, row + 15);
	w.low = last - w.sight.window + 1;
	w.high = last < 0 ? -1 : attention_last(p, t, seq, row);
	return w;
}

/* The warpgroup's 64 rows to shared memory, seen there by all of it. */
template <int DIM>
DEV void attention_sm90_queries(const attention_sm90_ring<DIM> &ring,
				const struct cuda_attention_args &p,
				const attention_unit &t, int group)
{
	constexpr int CHUNKS = DIM / 8;

	for (int c = threadIdx.x % 128; c < 64 * CHUNKS; c += 128) {
		int in_unit = group * 64 + c / CHUNKS;
		int row = t.first_row + in_unit;
		int head = t.kv_head * t.group + row % t.group;
		size_t token = t.query + row / t.group;
		const uint16_t *src = p.q + (token * p.nr_heads + head) * DIM +
				      c % CHUNKS * 8;
		bool take = in_unit < t.nr_rows;

		copy_async(ring.queries(group) +
				   layout_kv(DIM, c / CHUNKS, c % CHUNKS),
			   take ? src : p.q, take);
	}
	copy_commit();
	copy_wait<0>();
	wgmma_sees();
	mbarrier_arrive_warp(ring.asked(group));
	mbarrier_wait(ring.asked(group), 0);
}

/* Start s = q k^T of the tile that is to come to @stage. */
template <int DIM>
DEV void attention_sm90_scores(float (&s)[16][4],
			       const attention_sm90_ring<DIM> &ring, int group,
			       int stage)
{
	const char *q = ring.queries(group), *k = ring.tile(stage);

	mbarrier_wait(ring.full(stage), ring.parity(stage));
	wgmma_fence();
	wgmma_tiles<true>(s, wgmma_tile(q, ring.EIGHT),
			  wgmma_tile(k, ring.EIGHT));
#pragma unroll
	for (int i = 1; i < DIM / 16; i++) {
		int at = i / 4 * 1024 + i % 4 * 32;

		wgmma_tiles<false>(s, wgmma_tile(q + at, ring.EIGHT),
				   wgmma_tile(k + at, ring.EIGHT));
	}
	wgmma_commit();
}

/* Start o = p v, the same of V; @a: p as fragments. */
template <int DIM>
DEV void attention_sm90_values(float (&o)[DIM / 8][4],
			       const attention_sm90_ring<DIM> &ring,
			       const uint32_t (&a)[ATTENTION_BLOCKS][4],
			       int stage)
{
	const char *v = ring.tile(stage);

	mbarrier_wait(ring.full(stage), ring.parity(stage));
	wgmma_fence();
	wgmma_transposed<true>(o, a[0],
			       wgmma_tile_transposed(v, ring.EIGHT, 1024));
#pragma unroll
	for (int i = 1; i < ATTENTION_BLOCKS; i++)
		wgmma_transposed<false>(
			o, a[i],
			wgmma_tile_transposed(v + i * ring.BLOCK, ring.EIGHT,
					      1024));
	wgmma_commit();
}

/* Scores to probabilities as fragments, of which @m and @l. */
DEV void attention_sm90_weigh(uint32_t (&a)[ATTENTION_BLOCKS][4],
			      float (&s)[16][4], float m[2], float l[2],
			      const attention_sm90_task &w, int position,
			      float scale)
{
	if (position >= w.low && position + CUDA_ATTENTION_TILE - 1 <= w.high) {
#pragma unroll
		for (int j = 0; j < 16; j++)
#pragma unroll
			for (int c = 0; c < 4; c++) {
				s[j][c] *= scale;
				m[c / 2] = fmaxf(m[c / 2], s[j][c]);
			}
	} else {
#pragma unroll
		for (int i = 0; i < ATTENTION_BLOCKS; i++)
			attention_mask(s[2 * i], m, w.sight,
				       position + i * KV_BLOCK, scale);
	}
	attention_row_max(m);
#pragma unroll
	for (int i = 0; i < ATTENTION_BLOCKS; i++) {
		attention_weigh(s[2 * i], l, m);
		attention_pack(a[i], s[2 * i]);
	}
}

/*
 * The @i-th tile, whose scores are under way in @s, folded to @all; but for the
 * LAST, those of the next are then.
 */
template <bool LAST, int DIM>
DEV void attention_sm90_tile(attention_rows<DIM> &all, float (&s)[16][4],
			     const attention_sm90_ring<DIM> &ring,
			     const attention_sm90_task &w, int i, int position,
			     float scale)
{
	attention_rows<DIM> r;
	uint32_t a[ATTENTION_BLOCKS][4];

	r.m[0] = r.m[1] = ATTENTION_NONE;
	r.l[0] = r.l[1] = 0;
	wgmma_wait<0>();
	mbarrier_arrive_warp(ring.empty(2 * i));
	attention_sm90_weigh(a, s, r.m, r.l, w, position, scale);
	mbarrier_wait(ring.turn(w.group), (i + w.group) % 2);
	attention_sm90_values<DIM>(r.o, ring, a, 2 * i + 1);
	attention_row_sum(r.l);
	wgmma_wait<0>();
	mbarrier_arrive_warp(ring.empty(2 * i + 1));
	if (!LAST)
		attention_sm90_scores(s, ring, w.group, 2 * i + 2);
	mbarrier_arrive_warp(ring.turn(1 - w.group));
	attention_fold(all, r);
}

/* All tiles of the unit, folded. */
template <int DIM>
DEV void attention_sm90_attend(attention_rows<DIM> &all,
			       const attention_sm90_ring<DIM> &ring,
			       const attention_sm90_task &w, int begin, int end,
			       float scale)
{
	float s[16][4];
	int i = 0;

	/* the first warpgroup has the first turn: of a phase before all */
	mbarrier_wait(ring.turn(w.group), 1 - w.group);
	attention_sm90_scores(s, ring, w.group, 0);
	mbarrier_arrive_warp(ring.turn(1 - w.group));
	for (; begin + i + 1 < end; i++)
		attention_sm90_tile<false>(all, s, ring, w, i,
					   (begin + i) * CUDA_ATTENTION_TILE,
					   scale);
	attention_sm90_tile<true>(all, s, ring, w, i,
				  (begin + i) * CUDA_ATTENTION_TILE, scale);
}

/*
 * Four words each of the four lanes of a row: lane i gets the i-th of each, in
 * the lanes' order.
 */
DEV void attention_sm90_turn(uint32_t (&r)[4])
{
	bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;

#pragma unroll
	for (int i = 0; i < 4; i += 2) {
		uint32_t got =
			__shfl_xor_sync(WHOLE_WARP, odd ? r[i] : r[i + 1], 1);

		r[i] = odd ? got : r[i];
		r[i + 1] = odd ? r[i + 1] : got;
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		uint32_t got =
			__shfl_xor_sync(WHOLE_WARP, upper ? r[i] : r[i + 2], 2);

		r[i] = upper ? got : r[i];
		r[i + 2] = upper ? r[i + 2] : got;
	}
}

/*
 * Columns 32 * @part .. + 31 of row h: a lane has pairs of all, and stores eight
 * that follow each other.
 */
template <int DIM>
DEV void attention_sm90_store(const struct cuda_attention_args &p,
			      const attention_rows<DIM> &r, int h, int part,
			      float inverse, size_t at, bool there)
{
	uint32_t low[4], high[4];
	size_t column = at + part * 32 + threadIdx.x % 4 * 8;

#pragma unroll
	for (int j = 0; j < 4; j++) {
		float x = r.o[part * 4 + j][2 * h] * inverse;
		float y = r.o[part * 4 + j][2 * h + 1] * inverse;

		if (p.number == CUDA_F32)
			low[j] = as_uint(x), high[j] = as_uint(y);
		else
			low[j] = p.number == CUDA_F16 ? pack_f16(x, y)
						      : pack_bf16(x, y);
	}
	attention_sm90_turn(low);
	if (p.number == CUDA_F32) {
		uint4 *to = (uint4 *)((float *)p.out + column);

		attention_sm90_turn(high);
		if (!there)
			return;
		to[0] = uint4{ low[0], high[0], low[1], high[1] };
		to[1] = uint4{ low[2], high[2], low[3], high[3] };
	} else if (there) {
		*(uint4 *)((uint16_t *)p.out + column) =
			uint4{ low[0], low[1], low[2], low[3] };
	}
}

/* grid = nr_work, nr_kv_heads */
template <int DIM>
__global__ void __launch_bounds__(ATTENTION_SM90_THREADS, 1)
	attention_sm90(const struct cuda_attention_args p)
{
#if HAVE_WGMMA
	attention_sm90_ring<DIM> ring = { smem_base() };

	if (threadIdx.x == 0)
		ring.start();
	__syncthreads();
	pdl_wait();
	pdl_go();

	const struct cuda_attention_work work = p.work[blockIdx.x];
	attention_unit t = attention_unit_of(p, work, CUDA_ATTENTION_SM90_ROWS,
					     blockIdx.y);

	if (threadIdx.x >= ATTENTION_SM90_WARPS * 32) {
		registers_give<40>();
		if (threadIdx.x < ATTENTION_SM90_WARPS * 32 + 32)
			attention_sm90_bring(ring, p, t);
		return;
	}
	registers_take<232>();
	attention_sm90_task w = attention_sm90_take(p, t, work.seq);

	attention_sm90_queries(ring, p, t, w.group);
	attention_rows<DIM> all = { { ATTENTION_NONE, ATTENTION_NONE },
				    { 0, 0 },
				    {} };

	attention_sm90_attend(all, ring, w, t.begin, t.end, p.scale);

	/* anew: what only the end wants had no register until here */
	t = attention_unit_of(p, p.work[blockIdx.x], CUDA_ATTENTION_SM90_ROWS,
			      blockIdx.y);
#pragma unroll
	for (int h = 0; h < 2; h++) {
		int in_unit = w.row + 8 * h, row = t.first_row + in_unit;
		int head = t.kv_head * t.group + row % t.group;
		size_t token = t.query + row / t.group;
		float inverse = 1.f / all.l[h];

#pragma unroll
		for (int part = 0; part < DIM / 32; part++)
			attention_sm90_store(p, all, h, part, inverse,
					     (token * p.nr_heads + head) * DIM,
					     in_unit < t.nr_rows);
	}
#endif
}

#endif
