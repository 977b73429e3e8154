/* SPDX-License-Identifier: MIT */
/*
 * slow test: the emulator itself.  Kernels that are wrong on purpose: it has
 * to say so.  (Not for a GPU, where they would be undefined.)
 */
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/cuemu/check.h"

/* Most kernels here follow none, and wait for none. */
__attribute__((constructor)) static void begin()
{
	emu::overlap = false;
}

struct wrong_args {
	float *out;	    /* [64] */
	const uint16_t *in; /* [512] bf16, none of them NaN */
};

/* A wrong kernel, how it is launched and words of the report. */
struct wrong {
	const char *name;
	void (*kernel)(const wrong_args);
	int threads, smem;
	const char *words;
};

static void lost_lane(const wrong_args p)
{
	if (threadIdx.x != 5)
		p.out[threadIdx.x] = __shfl_xor_sync(WHOLE_WARP, 1.f, 1);
}

static void not_in_its_mask(const wrong_args p)
{
	p.out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.f, 1);
}

static void two_shuffles(const wrong_args p)
{
	if (threadIdx.x < 16)
		p.out[threadIdx.x] = __shfl_xor_sync(WHOLE_WARP, 1.f, 1);
	else
		p.out[threadIdx.x] = __shfl_xor_sync(WHOLE_WARP, 2.f, 1);
}

static void two_barriers(const wrong_args)
{
	if (threadIdx.x < 32)
		__syncthreads();
	else
		__syncthreads();
}

static void barrier_for_some(const wrong_args)
{
	if (threadIdx.x < 32)
		__syncthreads();
}

static void past_shared(const wrong_args)
{
	((volatile char *)smem_base())[threadIdx.x * 16] = 1;
}

static void past_global(const wrong_args p)
{
	((volatile float *)p.out)[threadIdx.x] = 1;
}

static void crooked_row(const wrong_args p)
{
	uint32_t r[4];

	ldmatrix(r, smem_base() + threadIdx.x * 16 + 8);
	p.out[threadIdx.x] = as_float(r[0]);
}

static void never_waits(const wrong_args p)
{
	copy_async(smem_base() + threadIdx.x * 16, p.in + threadIdx.x * 8);
	copy_commit();
}

/* A product of a warpgroup with zeros, what is wrong said by name. */
struct group {
	float d[16][4] = {};
	uint32_t a[4] = {};

	group()
	{
		for (int i = 0; i < 128 * 128; i += 128 * 16)
			*(uint4 *)(smem_base() + i + threadIdx.x * 16) = {};
		__syncthreads();
	}

	void start(int at = 0)
	{
		wgmma(d, a, wgmma_tile(smem_base() + at));
	}

	void end(const wrong_args p)
	{
		wgmma_commit();
		wgmma_wait<0>();
		p.out[threadIdx.x % 64] = d[0][0];
	}
};

static void no_fence(const wrong_args p)
{
	group g;

	g.start();
	g.end(p);
}

static void another_warp_another_tile(const wrong_args p)
{
	group g;

	wgmma_fence();
	g.start(threadIdx.x < 96 ? 0 : 32);
	g.end(p);
}

static void crooked_tile(const wrong_args p)
{
	group g;

	wgmma_fence();
	g.start(128);
	g.end(p);
}

static void fragment_too_early(const wrong_args p)
{
	group g;

	wgmma_fence();
	g.start();
	g.a[0] = 1;
	g.end(p);
}

static void sum_too_early(const wrong_args p)
{
	group g;

	wgmma_fence();
	g.start();
	g.d[3][2] = 1;
	g.end(p);
}

static void tile_too_early(const wrong_args p)
{
	group g;

	wgmma_fence();
	g.start();
	wgmma_commit();
	*(uint32_t *)(smem_base() + threadIdx.x * 128) = 1;
	__syncthreads();
	g.end(p);
}

static void copy_unseen(const wrong_args p)
{
	group g;

	copy_async(smem_base() + threadIdx.x * 16, p.in + threadIdx.x % 64 * 8);
	copy_commit();
	copy_wait<0>();
	__syncthreads();
	wgmma_fence();
	g.start();
	g.end(p);
}

static void product_unwaited(const wrong_args)
{
	group g;

	wgmma_fence();
	g.start();
	wgmma_commit();
}

static void no_barrier_there(const wrong_args)
{
	mbarrier_arrive((uint64_t *)smem_base());
}

static void barrier_never_full(const wrong_args)
{
	uint64_t *bar = (uint64_t *)smem_base();

	if (threadIdx.x == 0)
		mbarrier_start(bar, 33);
	__syncthreads();
	mbarrier_arrive(bar);
	mbarrier_wait(bar, 0);
}

/* A barrier of @count behind 1024 bytes, there for all threads. */
static uint64_t *bulk_barrier(int count)
{
	uint64_t *bar = (uint64_t *)(smem_base() + 1024);

	if (threadIdx.x == 0) {
		mbarrier_start(bar, count);
		wgmma_sees();
	}
	__syncthreads();
	return bar;
}

static void barrier_too_full(const wrong_args)
{
	uint64_t *bar = bulk_barrier(1);

	if (threadIdx.x == 0) {
		mbarrier_expect(bar, 16); /* which never come */
		mbarrier_arrive(bar);
	}
}

static void bulk_unwaited(const wrong_args p)
{
	uint64_t *bar = bulk_barrier(1);

	if (threadIdx.x == 0)
		copy_bulk(smem_base(), p.in, 1024, bar);
}

static void bulk_crooked(const wrong_args p)
{
	uint64_t *bar = bulk_barrier(1);

	if (threadIdx.x == 0)
		copy_bulk(smem_base(), p.in + 4, 1000, bar);
}

static void bulk_to_a_new_barrier(const wrong_args p)
{
	uint64_t *bar = (uint64_t *)(smem_base() + 1024);

	if (threadIdx.x == 0)
		mbarrier_start(bar, 1);
	__syncthreads();
	if (threadIdx.x == 0)
		copy_bulk(smem_base(), p.in, 1024, bar);
	mbarrier_wait(bar, 0);
}

static void bulk_past_shared(const wrong_args p)
{
	uint64_t *bar = bulk_barrier(1);

	if (threadIdx.x == 0)
		copy_bulk(smem_base() + 16, p.in, 1 << 14, bar);
}

static void bulk_less_than_expected(const wrong_args p)
{
	uint64_t *bar = bulk_barrier(1);

	if (threadIdx.x == 0) {
		mbarrier_expect(bar, 1024);
		copy_bulk(smem_base(), p.in, 512, bar);
	}
	mbarrier_wait(bar, 0);
}

static const struct wrong wrongs[] = {
	{ "a lane is missing from a shuffle", lost_lane, 32, 16, "deadlock" },
	{ "a lane is not in its own mask", not_in_its_mask, 32, 16, "mask" },
	{ "two shuffles in one warp", two_shuffles, 32, 16, "warp 0 diverged" },
	{ "two barriers in one CTA", two_barriers, 64, 16,
	  "__syncthreads diverged" },
	{ "a barrier that some never reach", barrier_for_some, 64, 16,
	  "deadlock" },
	{ "past the end of shared memory", past_shared, 64, 1008,
	  "bad address" },
	{ "past the end of an allocation", past_global, 65, 16, "bad address" },
	{ "a row that is not aligned", crooked_row, 32, 1024, "lane 0 is not" },
	{ "a copy that is never waited for", never_waits, 32, 512,
	  "in flight" },
	{ "a product without a fence", no_fence, 128, 1 << 14, "a fence" },
	{ "warps of a warpgroup with two tiles", another_warp_another_tile, 128,
	  1 << 15, "warpgroup diverged" },
	{ "a warpgroup of two warps", no_fence, 64, 1 << 14, "four warps" },
	{ "a tile that is not aligned", crooked_tile, 128, 1 << 15,
	  "a multiple of 1024" },
	{ "a fragment written in flight", fragment_too_early, 128, 1 << 14,
	  "a fragment changed" },
	{ "a sum written in flight", sum_too_early, 128, 1 << 14,
	  "accumulators changed" },
	{ "a tile written in flight", tile_too_early, 128, 1 << 14,
	  "a tile changed" },
	{ "a copy that the tensor core does not see", copy_unseen, 128, 1 << 14,
	  "not made seen" },
	{ "a product that is never waited for", product_unwaited, 128, 1 << 14,
	  "products in flight" },
	{ "a barrier that was never started", no_barrier_there, 32, 16,
	  "never started" },
	{ "a barrier that is never full", barrier_never_full, 32, 16,
	  "deadlock" },
	{ "a barrier that is too full", barrier_too_full, 32, 2048,
	  "more arrive" },
	{ "a bulk copy that is never waited for", bulk_unwaited, 32, 2048,
	  "bulk copies in flight" },
	{ "a bulk copy that is not aligned", bulk_crooked, 32, 2048,
	  "not of 16 bytes" },
	{ "a bulk copy that does not see its barrier", bulk_to_a_new_barrier,
	  32, 2048, "does not see" },
	{ "a bulk copy past shared memory", bulk_past_shared, 32, 2048,
	  "bad address" },
	{ "fewer bytes than a barrier expects", bulk_less_than_expected, 32,
	  2048, "deadlock" },
};

TEST(a_wrong_kernel_is_reported)
{
	array<float> out(64);
	array<uint16_t> in(512);

	fill_bf16(in, 1, 1);
	for (const struct wrong &w : wrongs) {
		int ret = launch(w.kernel, 1, w.threads, w.smem,
				 wrong_args{ out.device, in.device }, NULL);

		ROW(w.name);
		printf("# %s: %s\n", w.name, emu::report);
		CHECK(ret && strstr(emu::report, w.words));
	}
}

static void no_barrier(const wrong_args p)
{
	float *s = (float *)smem_base();

	s[threadIdx.x] = 1;
	p.out[threadIdx.x] = s[(threadIdx.x + 32) % 64];
}

TEST(a_missing_barrier_shows_as_NaN)
{
	array<float> out(64);

	for (unsigned i = 0; i < 4; i++) {
		bool caught = false;

		use_schedule(i);
		CHECK(ran(launch(no_barrier, 1, 64, 256,
				 wrong_args{ out.device, NULL }, NULL)));
		out.fetch();
		for (float f : out.host)
			caught |= f != f;
		CHECK(caught);
	}
	use_schedule(0);
}

/* LEFT groups may be in flight when it reads: 1 is one too many */
template <int LEFT> static void copy_and_read(const wrong_args p)
{
	char *mine = smem_base() + threadIdx.x * 16;

	copy_async(mine, p.in + threadIdx.x * 8);
	copy_commit();
	copy_wait<LEFT>();
	p.out[threadIdx.x] = as_float((uint32_t) * (uint16_t *)mine << 16);
	copy_wait<0>();
}

TEST(a_copy_lands_when_it_is_waited_for_and_not_before)
{
	array<float> out(64);
	array<uint16_t> in(512);
	wrong_args args = { out.device, in.device };

	fill_bf16(in, 1, 1);
	CHECK(ran(launch(copy_and_read<1>, 1, 64, 1024, args, NULL)));
	out.fetch();
	for (float f : out.host)
		CHECK(f != f);
	CHECK(ran(launch(copy_and_read<0>, 1, 64, 1024, args, NULL)));
	out.fetch();
	for (int i = 0; i < 64; i++)
		CHECK(out[i] == mma_widen(in[i * 8]));
}

static void read_too_early(const wrong_args p)
{
	group g;

	wgmma_fence();
	g.start();
	wgmma_commit();
	p.out[threadIdx.x % 64] = g.d[1][1];
	wgmma_wait<0>();
}

TEST(a_product_is_NaN_until_it_is_waited_for)
{
	array<float> out(64);

	CHECK(ran(launch(read_too_early, 1, 128, 1 << 14,
			 wrong_args{ out.device, NULL }, NULL)));
	out.fetch();
	for (float f : out.host)
		CHECK(f != f);
}

/* Eight bf16 a thread, through shared memory; EARLY: read too early. */
template <bool EARLY> static void bulk_and_read(const wrong_args p)
{
	uint64_t *bar = bulk_barrier(1);

	if (threadIdx.x == 0) {
		for (int half = 0; half < 2; half++)
			copy_bulk(smem_base() + half * 512, p.in + half * 256,
				  512, bar);
		mbarrier_expect(bar, 1024); /* it may say so afterwards */
	}
	if (!EARLY)
		mbarrier_wait(bar, 0);
	p.out[threadIdx.x] =
		mma_widen(*(const uint16_t *)(smem_base() + threadIdx.x * 16));
	mbarrier_wait(bar, 0);
}

TEST(a_bulk_copy_lands_when_nobody_can_do_more_without)
{
	array<float> out(64);
	array<uint16_t> in(512);
	wrong_args args = { out.device, in.device };

	fill_bf16(in, 1, 1);
	CHECK(every_schedule(out.host, [&] {
		bool ok = ran(
			launch(bulk_and_read<false>, 1, 64, 2048, args, NULL));

		out.fetch();
		return ok;
	}));
	for (int i = 0; i < 64; i++)
		CHECK(out[i] == mma_widen(in[i * 8]));
	CHECK(ran(launch(bulk_and_read<true>, 1, 64, 2048, args, NULL)));
	out.fetch();
	for (float f : out.host)
		CHECK(f != f);
}

/*
 * d = a b of two tiles in shared memory, and twice that of fragments and a tile
 * that is transposed, from what is NaN.
 */
static void both_ways(const wrong_args p)
{
	char *a = smem_base(), *b = a + (8 << 10), *t = b + (16 << 10);
	uint16_t *in = (uint16_t *)p.in;
	float d[16][4], e[16][4];
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	uint32_t f[4];

	/* a[row][k], b[column][k] and t[k][column], k < 16 of 64 */
	for (int i = threadIdx.x; i < 128 * 16; i += 128) {
		int row = i / 16, k = i % 16, chunk = k / 8 ^ row % 8;

		if (row < 64)
			*(uint16_t *)(a + row * 128 + chunk * 16 + k % 8 * 2) =
				in[row * 16 % 256 + k];
		*(uint16_t *)(b + row * 128 + chunk * 16 + k % 8 * 2) =
			in[256 + (row * 5 + k) % 256];
		chunk = row % 64 / 8 ^ k % 8;
		*(uint16_t *)(t + row / 64 * 1024 + k / 8 * 2048 + k % 8 * 128 +
			      chunk * 16 + row % 8 * 2) =
			in[256 + (row * 5 + k) % 256];
	}
	__syncthreads();
	for (int r = 0; r < 4; r++) {
		int row = warp * 16 + lane / 4 + r % 2 * 8;
		int k = lane % 4 * 2 + r / 2 * 8;

		memcpy(&f[r], &in[row * 16 % 256 + k], 4);
	}
	wgmma_fence();
	wgmma_tiles<true>(d, wgmma_tile(a), wgmma_tile(b));
	wgmma_transposed<true>(e, f, wgmma_tile_transposed(t, 2048, 1024));
	wgmma_transposed<false>(e, f, wgmma_tile_transposed(t, 2048, 1024));
	wgmma_commit();
	wgmma_wait<0>();
	for (int j = 0; j < 16; j++)
		for (int c = 0; c < 4; c++) {
			int row = warp * 16 + lane / 4 + c / 2 * 8;
			int column = j * 8 + lane % 4 * 2 + c % 2;

			p.out[row * 128 + column] = d[j][c];
			if (e[j][c] != 2 * d[j][c])
				p.out[row * 128 + column] = NAN;
		}
}

TEST(tiles_are_read_as_they_lie_whichever_way)
{
	array<float> out(64 * 128);
	array<uint16_t> in(512);

	for (size_t i = 0; i < 512; i++) /* whole numbers: sums are exact */
		in[i] = to_bf16((float)((int)(i * 7 % 33) - 16));
	in.send();
	CHECK(ran(launch(both_ways, 1, 128, 40 << 10,
			 wrong_args{ out.device, in.device }, NULL)));
	out.fetch();
	for (int row = 0; row < 64; row++)
		for (int column = 0; column < 128; column++) {
			float sum = 0;

			for (int k = 0; k < 16; k++)
				sum += mma_widen(in[row * 16 % 256 + k]) *
				       mma_widen(
					       in[256 + (column * 5 + k) % 256]);
			CHECK(out[row * 128 + column] == sum);
		}
}

/* rows STEP * 16 bytes apart: 8 fall into one group of banks, or into eight */
template <int STEP> static void read_rows(const wrong_args p)
{
	uint32_t r[4];

	ldmatrix(r, smem_base() + threadIdx.x % 8 * STEP * 16);
	p.out[threadIdx.x] = as_float(r[0]);
}

TEST(bank_conflicts_are_counted)
{
	array<float> out(64);
	wrong_args args = { out.device, NULL };

	use_schedule(0);
	CHECK(ran(launch(read_rows<1>, 1, 32, 1024, args, NULL)));
	CHECK_EQ(conflicts(), 0);
	CHECK(ran(launch(read_rows<8>, 1, 32, 1024, args, NULL)));
	CHECK_EQ(conflicts(), 4 * 7);
}

/* ---- what a kernel does before the one before it has ended */

static void reads_early(const wrong_args p)
{
	float f = p.out[threadIdx.x];

	pdl_wait();
	p.out[threadIdx.x] = f;
}

static void writes_early(const wrong_args p)
{
	p.out[threadIdx.x] = 1;
	pdl_wait();
}

static void copies_early(const wrong_args p)
{
	copy_async(smem_base() + threadIdx.x * 16, p.out);
	pdl_wait();
	copy_commit();
	copy_wait<0>();
}

static void thread_leaves(const wrong_args)
{
	if (threadIdx.x == 5)
		return;
	pdl_wait();
}

static void cta_leaves(const wrong_args)
{
	if (blockIdx.x == 2)
		return;
	pdl_wait();
}

static void reads_in_time(const wrong_args p)
{
	float *s = (float *)smem_base();

	s[threadIdx.x] = as_float((uint32_t)p.in[threadIdx.x] << 16);
	if (threadIdx.x < 32) /* a wait is no barrier */
		pdl_wait();
	__syncthreads();
	if (threadIdx.x >= 32)
		pdl_wait();
	p.out[threadIdx.x] = s[63 - threadIdx.x];
}

static const struct wrong early[] = {
	{ "a read before the wait", reads_early, 64, 16, "before pdl_wait" },
	{ "a write before the wait", writes_early, 64, 16, "before pdl_wait" },
	{ "a copy before the wait", copies_early, 64, 1024, "before pdl_wait" },
	{ "a thread that does not wait", thread_leaves, 64, 16,
	  "thread 5 ended without pdl_wait" },
	{ "a CTA that does not wait", cta_leaves, 64, 16,
	  "CTA (2,0,0) thread 0 ended without pdl_wait" },
	{ "all in time", reads_in_time, 64, 256, "" },
};

static void *secret; /* of a page; wrong_args.out */

static void hide_secret(bool out)
{
	uintptr_t page = (uintptr_t)secret / emu::PAGE_SIZE * emu::PAGE_SIZE;

	mprotect((void *)page, emu::PAGE_SIZE,
		 out ? PROT_NONE : PROT_READ | PROT_WRITE);
}

TEST(what_comes_before_the_wait_for_the_kernel_before_is_watched)
{
	array<float> out(64);
	array<uint16_t> in(512);
	void (*hide)(bool) = emu::hide;

	fill_bf16(in, 1, 1);
	secret = out.device;
	emu::hide = hide_secret;
	emu::overlap = true;
	for (const struct wrong &w : early) {
		int ret = launch(w.kernel, 4, w.threads, w.smem,
				 wrong_args{ out.device, in.device }, NULL);

		ROW(w.name);
		printf("# %s: %s\n", w.name, emu::report);
		CHECK_EQ(!ret, !*w.words);
		CHECK(strstr(emu::report, w.words));
	}
	emu::overlap = false;
	emu::hide = hide;
	out.fetch();
	CHECK(out[0] == mma_widen(in[63]));
}

static void right(const wrong_args p)
{
	float *s = (float *)smem_base();

	s[threadIdx.x] = (float)threadIdx.x;
	__syncthreads();
	p.out[threadIdx.x] = s[63 - threadIdx.x];
}

TEST(a_right_kernel_runs_after_all_that)
{
	array<float> out(64);

	CHECK(every_schedule(out.host, [&] {
		bool ok = ran(launch(right, 1, 64, 256,
				     wrong_args{ out.device, NULL }, NULL));

		out.fetch();
		return ok;
	}));
	for (int i = 0; i < 64; i++)
		CHECK(out[i] == (float)(63 - i));
}
