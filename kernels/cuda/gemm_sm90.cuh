/* SPDX-License-Identifier: MIT */
/*
 * gemm_sm90.cuh - y[token][n] = sum over k of x[token][k] * w[n][k], for many
 * tokens, by the warpgroups of sm_90a.
 *
 * The arithmetic is gemm.cuh's: one chain over k ascending, 16 a step, from 0;
 * grouped weights a chain a group, folded by its scale.  Whether a step of
 * wgmma gives the bits of one of mma is the machine's affair: agree.h asks it
 * before this kernel is used.
 *
 * W8A8 (rows of codes.cuh) goes the same way, 128 of k a stage: two stages of
 * its weights lie as one of bf16 does, its sums are exact.
 *
 * The schedule: a CTA answers 128 rows for TOKENS tokens.  Two warpgroups of 64
 * rows multiply: the A operand of wgmma is, warp by warp, the fragment of mma,
 * so weights lie packed as ever, each lane reads its own and unpacks them in
 * registers, and no second copy of them is kept.  Tokens are the B operand, in
 * shared memory, 64 of k a row.  A third warpgroup copies both into a ring of
 * STAGES.  A stage has two barriers: full, at which the warps that copy arrive,
 * and empty, at which those that multiply do.
 *
 * Two stages of a warpgroup are under way at a time: one on the tensor core,
 * one being unpacked; so a stage is given back when the next one was started,
 * and copies are STAGES - 2 ahead.
 *
 * CTAs that run together share what they read: GEMM_SM90_NEAR tiles of tokens
 * go through all rows before the next ones do.  Bytes: w once for each NEAR *
 * TOKENS tokens, x once for the CTAs of a wave, through L2; what goes from L2 to
 * a multiprocessor is 48 bytes a cycle of its tensor cores (bf16, 256 tokens).
 * Bound by these where tokens fill the tiles.  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_GEMM_SM90_CUH
#define KERNELS_CUDA_GEMM_SM90_CUH

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ends.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/weight.cuh"

#define GEMM_SM90_WARPS	  8   /* that multiply, of 16 rows each */
#define GEMM_SM90_COPIERS 128 /* threads behind those */
#define GEMM_SM90_THREADS (GEMM_SM90_WARPS * 32 + GEMM_SM90_COPIERS)
#define GEMM_SM90_NEAR	  8
#define GEMM_SM90_HEAD	  1024	      /* bytes before the ring: barriers */
#define GEMM_SM90_SMEM	  (208 << 10) /* of a CTA, at most */

static_assert(GEMM_SM90_WARPS * LAYOUT_ROWS == LAYOUT_CTA, "rows of a CTA");

/* Codes of rows: 4 fragments of 32 where bf16 has 4 of 16. */
struct weight_rows8 : weight_bf16 {
	typedef int sum;
	static constexpr bool CODES = true;
	template <int TILES>
	DEV void start(int (&d)[TILES][4], const uint32_t a[4], uint64_t b)
	{
		wgmma_s8(d, a, b);
	}
};

/* Bytes of a token. */
template <class W> DEV size_t gemm_sm90_token(const cuda_gemm_args &p)
{
	return W::CODES ? (size_t)layout_cols(8, p.k) / LAYOUT_STAGE *
				  layout_input(0)
			: (size_t)p.k * 2;
}

/* The ring of a CTA; a stage is tiles of tokens, then warp by warp weights. */
template <class W, int TOKENS> struct gemm_sm90_ring {
	static constexpr int COLS = LAYOUT_STAGE * (1 + W::CODES);
	static constexpr int PIECES = W::BITS / 4; /* a lane's, of a stage */
	static constexpr int WARP = W::BITS * 128; /* bytes of weights */
	static constexpr int WEIGHTS = GEMM_SM90_WARPS * WARP;
	static constexpr int STAGE = TOKENS * 128 + WEIGHTS;
	static constexpr int MOST = (GEMM_SM90_SMEM - GEMM_SM90_HEAD) / STAGE;
	static constexpr int STAGES = MOST < 6 ? MOST : 6;
	static constexpr int SMEM = GEMM_SM90_HEAD + STAGES * STAGE;
	static constexpr int ROWS = TOKENS * 8 / GEMM_SM90_COPIERS;
	static constexpr uint32_t NONE = ~0u;

	static_assert(STAGES > 2 && STAGE % 1024 == 0, "one being copied");
	char *base;

	DEV_MEMBER uint64_t *full(int stage) const
	{
		return (uint64_t *)base + stage % STAGES;
	}

	DEV_MEMBER uint64_t *empty(int stage) const
	{
		return (uint64_t *)base + STAGES + stage % STAGES;
	}

	DEV_MEMBER char *tokens(int stage) const
	{
		return base + GEMM_SM90_HEAD + stage % STAGES * STAGE;
	}

	/* of the first warp */
	DEV_MEMBER char *weights(int stage) const
	{
		return tokens(stage) + TOKENS * 128;
	}

	/* Of the barriers, when the ring goes round with @stage. */
	DEV_MEMBER int parity(int stage) const
	{
		return stage / STAGES % 2;
	}

	/* When all products are there. */
	DEV_MEMBER uint64_t *done() const
	{
		return (uint64_t *)base + 2 * STAGES;
	}

	/* One thread; then a barrier of the CTA. */
	DEV_MEMBER void start() const
	{
		mbarrier_start(done(), GEMM_SM90_WARPS);
		for (int s = 0; s < STAGES; s++) {
			mbarrier_start(full(s), GEMM_SM90_COPIERS / 32);
			mbarrier_start(empty(s), GEMM_SM90_WARPS);
		}
	}

	/* @src: the CTA's rows in memory, @bytes of each warp */
	DEV_MEMBER void load_weights(const char *src, size_t bytes, int stage,
				     int thread) const
	{
		constexpr int CHUNKS = WARP / 16;

#pragma unroll
		for (int c = thread; c < WEIGHTS / 16; c += GEMM_SM90_COPIERS) {
			size_t at = (size_t)stage * WARP + c % CHUNKS * 16;
			bool take = !W::CODES || at < bytes; /* half a stage */

			copy_async(weights(stage) + c * 16,
				   src + c / CHUNKS * bytes + (take ? at : 0),
				   take);
		}
	}

	/*
	 * Where the tokens that @thread copies begin in x, 16 bytes a step (64
	 * GiB are enough for x); NONE past the last.
	 */
	DEV_MEMBER void name_tokens(uint32_t at[ROWS], const cuda_gemm_args &p,
				    int first, int thread) const
	{
		uint32_t step = (uint32_t)gemm_sm90_token<W>(p) / 16;

#pragma unroll
		for (int i = 0; i < ROWS; i++) {
			int token = first + thread / 8 +
				    i * (GEMM_SM90_COPIERS / 8);

			at[i] = token >= p.tokens ? NONE
				: p.x_row	  ? p.x_row[token] * step
						  : token * step;
		}
	}

	/* past the last token, and past k, are zeros */
	DEV_MEMBER void load_tokens(const uint32_t at[ROWS],
				    const cuda_gemm_args &p, int stage,
				    int thread) const
	{
		int chunk = thread % 8, col = stage * COLS + chunk * COLS / 8;
		const char *x = (const char *)p.x;
		const char *in =
			x + (W::CODES ? (size_t)col / LAYOUT_STAGE *
							layout_input(0) +
						col % LAYOUT_STAGE
				      : (size_t)col * 2);
		char *to = tokens(stage) + layout_tile(thread / 8, chunk);

#pragma unroll
		for (int i = 0; i < ROWS; i++) {
			bool take = at[i] != NONE && col < p.k;

			copy_async(to + i * (GEMM_SM90_COPIERS / 8) * 128,
				   take ? in + (size_t)at[i] * 16 : x, take);
		}
	}
};

/* The warpgroup that copies: all stages, one after the other. */
template <class Ring>
DEV void gemm_sm90_copy(const Ring &ring, const cuda_gemm_args &p,
			int first_row, int first_token, int cols, int thread)
{
	constexpr int AHEAD = Ring::STAGES - 2;
	int stages = (cols + Ring::COLS - 1) / Ring::COLS;
	uint32_t at[Ring::ROWS];
	size_t bytes = (size_t)cols * Ring::WARP / Ring::COLS;
	const char *src = (const char *)p.w + first_row / LAYOUT_ROWS * bytes;

	/* weights do not depend on the kernel before us */
	for (int s = 0; s < Ring::STAGES && s < stages; s++)
		ring.load_weights(src, bytes, s, thread);
	pdl_wait();
	pdl_go();
	ring.name_tokens(at, p, first_token, thread);
	/* the first group carries all weights so far as well */
	for (int s = 0; s < stages + AHEAD; s++) {
		if (s >= Ring::STAGES && s < stages) {
			mbarrier_wait(ring.empty(s), 1 - ring.parity(s));
			ring.load_weights(src, bytes, s, thread);
		}
		if (s < stages)
			ring.load_tokens(at, p, s, thread);
		copy_commit();
		if (s < AHEAD)
			continue;
		copy_wait<AHEAD>();
		wgmma_sees();
		mbarrier_arrive_warp(ring.full(s - AHEAD));
	}
}

/*
 * Start sum += the four steps of a stage; @a: of this stage alone, @zero: of a
 * form with them.
 */
template <class W, class Ring, int TILES>
DEV void gemm_sm90_start(typename W::sum (&sum)[TILES][4], uint32_t (&a)[4][4],
			 const Ring &ring, int stage, const uint32_t *zero)
{
	constexpr int PER = 4 / Ring::PIECES; /* fragments a piece */
	const char *mine = ring.weights(stage) + threadIdx.x / 32 * Ring::WARP +
			   threadIdx.x % 32 * 16;

	mbarrier_wait(ring.full(stage), ring.parity(stage));
#pragma unroll
	for (int i = 0; i < 4; i++)
		W::unpack(a[i], mine + i / PER * 512, i % PER, zero);
	wgmma_fence();
#pragma unroll
	for (int i = 0; i < 4; i++)
		W::start(sum, a[i], wgmma_tile(ring.tokens(stage) + 32 * i));
	wgmma_commit();
}

/* acc += the products of a warpgroup's rows */
template <class W, class Ring, int TILES>
DEV void gemm_sm90_multiply(typename W::sum (&acc)[TILES][4], const Ring &ring,
			    int stages)
{
	uint32_t a[2][4][4];
	int s = 0;

	for (; s + 1 < stages; s += 2) {
		gemm_sm90_start<W>(acc, a[0], ring, s, NULL);
		wgmma_wait<1>();
		if (s)
			mbarrier_arrive_warp(ring.empty(s - 1));
		gemm_sm90_start<W>(acc, a[1], ring, s + 1, NULL);
		wgmma_wait<1>();
		mbarrier_arrive_warp(ring.empty(s));
	}
	if (s < stages)
		gemm_sm90_start<W>(acc, a[0], ring, s, NULL);
	wgmma_wait<0>();
}

/* The same of groups, which have two stages; @scale: of row g. */
template <class W, class Ring, int TILES>
DEV void gemm_sm90_groups(float (&acc)[TILES][4], const Ring &ring, int stages,
			  const float *scale, int rows)
{
	float part[TILES][4] = {};
	const float *less = scale + (size_t)stages / 2 * rows;
	uint32_t a[2][4][4], zero[2] = {};

	static_assert(LAYOUT_GROUP == 2 * LAYOUT_STAGE, "two stages");
	for (int s = 0; s < stages; s += 2) {
		if (W::ZEROS)
			zero[0] = as_uint(less[0]), zero[1] = as_uint(less[8]);
		gemm_sm90_start<W>(part, a[0], ring, s, zero);
		gemm_sm90_start<W>(part, a[1], ring, s + 1, zero);
		wgmma_wait<0>();
		mbarrier_arrive_warp(ring.empty(s));
		mbarrier_arrive_warp(ring.empty(s + 1));
		weight_fold<TILES>(acc, part, scale[0], scale[8]);
		scale += rows;
		less += rows;
	}
}

/* The scale of a token's codes, which all of its records have. */
template <class W> DEV float gemm_sm90_scale(const cuda_gemm_args &p, int token)
{
	size_t row = p.x_row ? p.x_row[token] : token;
	const char *x = (const char *)p.x + row * gemm_sm90_token<W>(p);

	return *(const float *)(x + LAYOUT_STAGE);
}

/*
 * What becomes of the products.  They go through
 * shared memory, where the ring was: registers cannot be counted through by a
 * loop, and without one the code would be 700 KB, run through once.  Then a
 * lane has rows g = lane % 8 and g + 8 of a token, and asks for what it adds to
 * of BATCH tokens at once.
 */
template <class W, class Ring, int TILES>
DEV void gemm_sm90_end(const cuda_gemm_args &p,
		       const typename W::sum (&acc)[TILES][4], const Ring &ring,
		       int first_row, int first_token)
{
	constexpr int STEP = 20, BATCH = 8, NEXT = 4 * BATCH; /* a token's */
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	int row = first_row + warp * LAYOUT_ROWS + lane % 8;
	float *mine = (float *)ring.tokens(0) + warp * TILES * 8 * STEP;
	float low = 1, high = 1, bias[2] = {};

	static_assert(GEMM_SM90_WARPS * TILES * 8 * STEP * 4 <=
			      Ring::STAGES * Ring::STAGE,
		      "the ring is large enough");
	mbarrier_arrive_warp(ring.done());
	mbarrier_wait(ring.done(), 0);
#pragma unroll
	for (int j = 0; j < TILES; j++)
#pragma unroll
		for (int c = 0; c < 4; c++)
			mine[(j * 8 + lane % 4 * 2 + c % 2) * STEP + lane / 4 +
			     c / 2 * 8] = (float)acc[j][c];
	__syncwarp();
	if (row >= p.n)
		return;
	if (W::SCALED || W::CODES)
		low = p.scale[row], high = p.scale[row + 8];
	if (p.bias) {
		bias[0] = p.bias[row];
		bias[1] = row + 8 < p.n ? p.bias[row + 8] : 0;
	}
#pragma unroll 1
	for (int t = lane / 8; t < TILES * 8; t += NEXT) {
		float old[BATCH][2], s[BATCH];

#pragma unroll
		for (int i = 0; i < BATCH; i++) {
			int token = first_token + t + i * 4;
			bool there = token < p.tokens;
			size_t at = ends_at(p, token, row);

			s[i] = W::CODES && there ? gemm_sm90_scale<W>(p, token)
						 : 1;
			old[i][0] = ends_old(p, at, there);
			old[i][1] = ends_old(p, at + 8, there && row + 8 < p.n);
		}
#pragma unroll
		for (int i = 0; i < BATCH; i++) {
			int token = first_token + t + i * 4;
			const float *v = mine + (t + i * 4) * STEP + lane % 8;
			float a = v[0] * s[i] * low, b = v[8] * s[i] * high;

			if (p.bias) {
				a += bias[0];
				b += bias[1];
			}
			if (token < p.tokens)
				ends_put_both(p, ends_at(p, token, row), row, a,
					      b, old[i]);
		}
	}
}

/* Which tile of rows and of tokens is this CTA's. */
DEV void gemm_sm90_place(int *ret_row, int *ret_token)
{
	int rows = gridDim.x, near = GEMM_SM90_NEAR;
	int id = blockIdx.y * rows + blockIdx.x;
	int first = id / (rows * near) * near, in = id % (rows * near);
	int left = (int)gridDim.y - first, width = left < near ? left : near;

	*ret_row = in / width * LAYOUT_CTA;
	*ret_token = first + in % width;
}

/*
 * grid = rows (made up) / LAYOUT_CTA, tokens / TOKENS upward; k a multiple of
 * 8.  TOKENS: 256 or 128; of groups 128, for they have two sums.
 */
template <class W, int TOKENS>
__global__ void __launch_bounds__(GEMM_SM90_THREADS, 1)
	gemm_sm90(const struct cuda_gemm_args p)
{
#if HAVE_WGMMA
	gemm_sm90_ring<W, TOKENS> ring = { smem_base() };
	int cols = layout_cols(W::CODES ? 8 : W::BITS, p.k);
	int warp = threadIdx.x / 32, first_row, token_tile;

	gemm_sm90_place(&first_row, &token_tile);
	if (threadIdx.x == 0)
		ring.start();
	__syncthreads();
	if (warp >= GEMM_SM90_WARPS) {
		registers_give<72>();
		gemm_sm90_copy(ring, p, first_row, token_tile * TOKENS, cols,
			       threadIdx.x - GEMM_SM90_WARPS * 32);
		return;
	}
	registers_take<216>();
	int row = first_row + warp * LAYOUT_ROWS + threadIdx.x % 32 / 4;
	int stages = (cols + ring.COLS - 1) / ring.COLS;
	typename W::sum acc[TOKENS / 8][4] = {};

	pdl_wait(); /* what y holds may be the last kernel's */
	pdl_go();
	if constexpr (W::GROUPED)
		gemm_sm90_groups<W>(acc, ring, stages, p.scale + row,
				    layout_rows(p.n));
	else
		gemm_sm90_multiply<W>(acc, ring, stages);
	gemm_sm90_end<W>(p, acc, ring, first_row, token_tile * TOKENS);
#endif
}

#endif
