/* SPDX-License-Identifier: MIT */
/*
 * ptx_sm90.cuh - the moves that only sm_90a has: products of a warpgroup (four
 * warps in a row, the first a multiple of four), barriers in shared memory that
 * count, registers that go from one warpgroup to another.  Part of ptx.cuh; the
 * twins are tests/cuemu/twins_sm90.h.
 */
#ifndef KERNELS_CUDA_PTX_SM90_CUH
#define KERNELS_CUDA_PTX_SM90_CUH

#ifdef __CUDACC__

/* Whether the code at hand is for a machine that has them. */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAVE_WGMMA 1
#else
#define HAVE_WGMMA 0
#endif

/*
 * A tile in shared memory as wgmma's second operand: rows of 128 bytes, a row a
 * column of the product, k along it, chunks where layout_tile() says.  @tile:
 * at a multiple of 1024, or 32 * i bytes behind one: from the i-th 32 bytes of
 * the rows on.  @step: bytes from eight rows to the next eight, of 1024.
 */
DEV uint64_t wgmma_tile(const void *tile, int step = 1024)
{
	return (smem_address(tile) & 0x3ffff) >> 4 |
	       (uint64_t)(step >> 4) << 32 | (uint64_t)1 << 62;
}

/*
 * The same, its rows k and 64 columns of the product along each, for
 * wgmma_transposed(); the next 64 are @piece bytes on, of 1024.
 */
DEV uint64_t wgmma_tile_transposed(const void *tile, int step, int piece)
{
	return wgmma_tile(tile, step) | (uint64_t)(piece >> 4) << 16;
}

// clang-format off
#define WGMMA_TILE(c, d, j) c(d[j][0]), c(d[j][1]), c(d[j][2]), c(d[j][3])
#define WGMMA_FOUR(c, d, j)                                                    \
	WGMMA_TILE(c, d, j), WGMMA_TILE(c, d, j + 1),                          \
		WGMMA_TILE(c, d, j + 2), WGMMA_TILE(c, d, j + 3)
#define WGMMA_HALF(c, d, j)                                                    \
	WGMMA_FOUR(c, d, j), WGMMA_FOUR(c, d, j + 4),                          \
		WGMMA_FOUR(c, d, j + 8), WGMMA_FOUR(c, d, j + 12)
#define WGMMA_64 \
	"%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
	"%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29," \
	"%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43," \
	"%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57," \
	"%58,%59,%60,%61,%62,%63"
#define WGMMA_128 \
	WGMMA_64 "," \
	"%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77," \
	"%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91," \
	"%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103," \
	"%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114," \
	"%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125," \
	"%126,%127"
/* k: what stands behind n in the instruction's name; c: of a register of d */
#define WGMMA_N128(k, c, d, a, b, more)                                        \
	asm volatile("wgmma.mma_async.sync.aligned.m64n128" k                  \
		     " {" WGMMA_64 "},{%64,%65,%66,%67},%68,1" more ";"        \
		     : WGMMA_HALF(c, d, 0)                                     \
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define WGMMA_N256(k, c, d, a, b, more)                                        \
	asm volatile("wgmma.mma_async.sync.aligned.m64n256" k                  \
		     " {" WGMMA_128 "},{%128,%129,%130,%131},%132,1" more ";"  \
		     : WGMMA_HALF(c, d, 0), WGMMA_HALF(c, d, 16)               \
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define WGMMA_32                                                               \
	"%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"               \
	"%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"             \
	"%30,%31"
/* add: "1", or "0": from zero; both operands in shared memory */
#define WGMMA_TILES_N128(c, d, a, b, add)                                      \
	asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16"   \
		     " {" WGMMA_64 "},%64,%65," add ",1,1,0,0;"                \
		     : WGMMA_HALF(c, d, 0)                                     \
		     : "l"(a), "l"(b))
/* the last 1: the second one is transposed */
#define WGMMA_TRANSPOSED_N128(c, d, a, b, add)                                 \
	asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16"   \
		     " {" WGMMA_64 "},{%64,%65,%66,%67},%68," add ",1,1,1;"    \
		     : WGMMA_HALF(c, d, 0)                                     \
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define WGMMA_TRANSPOSED_N64(c, d, a, b, add)                                  \
	asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16"    \
		     " {" WGMMA_32 "},{%32,%33,%34,%35},%36," add ",1,1,1;"    \
		     : WGMMA_FOUR(c, d, 0), WGMMA_FOUR(c, d, 4)                \
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
// clang-format on

/*
 * Start d += a b, 64 x (128 or 256) x 16, bf16 in and float out, by the whole
 * warpgroup: a warp has 16 of the rows, in order, and holds a and d as mma has
 * them, eight columns of d a tile.  @b: wgmma_tile() of a row for each column,
 * 32 bytes of which are read.  Until a wait for its group a and the tile stay
 * as they are and d is nobody's; another wgmma may go on with the same d.
 * _f16: the same of f16.
 */
DEV void wgmma(float (&d)[16][4], const uint32_t a[4], uint64_t b)
{
	WGMMA_N128("k16.f32.bf16.bf16", "+f", d, a, b, ",1,1,0");
}

DEV void wgmma(float (&d)[32][4], const uint32_t a[4], uint64_t b)
{
	WGMMA_N256("k16.f32.bf16.bf16", "+f", d, a, b, ",1,1,0");
}

DEV void wgmma_f16(float (&d)[16][4], const uint32_t a[4], uint64_t b)
{
	WGMMA_N128("k16.f32.f16.f16", "+f", d, a, b, ",1,1,0");
}

DEV void wgmma_f16(float (&d)[32][4], const uint32_t a[4], uint64_t b)
{
	WGMMA_N256("k16.f32.f16.f16", "+f", d, a, b, ",1,1,0");
}

/*
 * The same of 32 integers of 8 bits, exact in int32: a and d as mma_s8 has them,
 * 32 bytes of a row of the tile are its 32.
 */
DEV void wgmma_s8(int (&d)[16][4], const uint32_t a[4], uint64_t b)
{
	WGMMA_N128("k32.s32.s8.s8", "+r", d, a, b, "");
}

DEV void wgmma_s8(int (&d)[32][4], const uint32_t a[4], uint64_t b)
{
	WGMMA_N256("k32.s32.s8.s8", "+r", d, a, b, "");
}

/*
 * Start d += a b, 64 x 128 x 16, as wgmma, but @a is in shared memory too:
 * wgmma_tile() of the warpgroup's 64 rows.  FROM_ZERO: d = a b.
 */
template <bool FROM_ZERO>
DEV void wgmma_tiles(float (&d)[16][4], uint64_t a, uint64_t b)
{
	if constexpr (FROM_ZERO)
		WGMMA_TILES_N128("=f", d, a, b, "0");
	else
		WGMMA_TILES_N128("+f", d, a, b, "1");
}

/*
 * Start d += a b, 64 x (128 or 64) x 16, as wgmma, but of a tile whose rows are
 * k: wgmma_tile_transposed().  FROM_ZERO: d = a b.
 */
template <bool FROM_ZERO>
DEV void wgmma_transposed(float (&d)[16][4], const uint32_t a[4], uint64_t b)
{
	if constexpr (FROM_ZERO)
		WGMMA_TRANSPOSED_N128("=f", d, a, b, "0");
	else
		WGMMA_TRANSPOSED_N128("+f", d, a, b, "1");
}

template <bool FROM_ZERO>
DEV void wgmma_transposed(float (&d)[8][4], const uint32_t a[4], uint64_t b)
{
	if constexpr (FROM_ZERO)
		WGMMA_TRANSPOSED_N64("=f", d, a, b, "0");
	else
		WGMMA_TRANSPOSED_N64("+f", d, a, b, "1");
}

/*
 * Before a warp's first wgmma, and before one whose registers were written
 * since: what was written there is seen.
 */
DEV void wgmma_fence()
{
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* What this warp has started since the last call is one group. */
DEV void wgmma_commit()
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until at most the LEFT youngest groups of this warp are in flight. */
template <int LEFT> DEV void wgmma_wait()
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT)
		     : "memory");
}

/*
 * What this thread's copies (those it has waited for) and stores put into
 * shared memory is seen by wgmma, and by bulk copies (the barrier where they
 * count), once a barrier after it was passed.
 */
DEV void wgmma_sees()
{
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/*
 * A barrier of 8 bytes in shared memory: a phase of it is over when @count
 * threads have arrived, and the next begins.  What a thread did before it
 * arrived is seen by who has waited.  After the start a barrier of the CTA, and
 * wgmma_sees() before that where bulk copies count there.
 */
DEV void mbarrier_start(uint64_t *bar, int count)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0],%1;" ::"r"(
			     smem_address(bar)),
		     "r"(count)
		     : "memory");
}

DEV void mbarrier_arrive(uint64_t *bar)
{
	asm volatile("{.reg .b64 state;"
		     "mbarrier.arrive.shared::cta.b64 state,[%0];}" ::"r"(
			     smem_address(bar))
		     : "memory");
}

/* Arrive; nor is the phase over before @bytes more were copied in bulk. */
DEV void mbarrier_expect(uint64_t *bar, uint32_t bytes)
{
	asm volatile("{.reg .b64 state;"
		     "mbarrier.arrive.expect_tx.shared::cta.b64 "
		     "state,[%0],%1;}" ::"r"(smem_address(bar)),
		     "r"(bytes)
		     : "memory");
}

/*
 * Start to copy @size bytes, of 16 as @dst and @src are, to shared memory; there
 * they count at @bar, where they may come before they are expected.  Who has
 * waited there sees them, and so do its wgmma.
 */
DEV void copy_bulk(void *dst, const void *src, uint32_t size, uint64_t *bar)
{
	asm volatile("cp.async.bulk.shared::cluster.global"
		     ".mbarrier::complete_tx::bytes [%0],[%1],%2,[%3];" ::"r"(
			     smem_address(dst)),
		     "l"(src), "r"(size), "r"(smem_address(bar))
		     : "memory");
}

/* Until phase 0, 2, .. (@parity 0), or 1, 3, .. (1), is over. */
DEV void mbarrier_wait(uint64_t *bar, int parity)
{
	asm volatile("{.reg .pred done;"
		     "again: mbarrier.try_wait.parity.shared::cta.b64 "
		     "done,[%0],%1;"
		     "@!done bra again;}" ::"r"(smem_address(bar)),
		     "r"(parity)
		     : "memory");
}

/*
 * From here on a thread of this warpgroup has N registers, fewer or more than
 * before; who takes waits until others have given.  N: of 8.
 */
template <int N> DEV void registers_give()
{
	asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> DEV void registers_take()
{
	asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

#endif

/* One of a warp arrives, for all of it. */
DEV void mbarrier_arrive_warp(uint64_t *bar)
{
	__syncwarp();
	if (threadIdx.x % 32 == 0)
		mbarrier_arrive(bar);
}

#endif
