/* SPDX-License-Identifier: MIT */
/*
 * twins_sm90.h - the host's side of kernels/cuda/ptx_sm90.cuh.
 *
 * A wgmma is a task of each warp, finished when that warp waits for it.  Until
 * then its accumulators are NaN; when it is finished they must still be, and
 * what it reads (fragments, and the tile in shared memory) must be what it was
 * at the start: on a GPU it is read at some time between.  What copies brought
 * must have been made seen, but for what came in bulk.  The four warps of a
 * warpgroup must start the same.
 */
#ifndef CUEMU_TWINS_SM90_H
#define CUEMU_TWINS_SM90_H

#include "tests/cuemu/emu.h"
#include "tests/cuemu/mma_model.h"

#include <list>
#include <memory>

#define HAVE_WGMMA 1

/* ---- barriers that count */

/* In the place of the barrier's 8 bytes. */
struct emu_mbarrier {
	uint8_t started, phase, count, left;
	int32_t bytes; /* expected, less those that came */
};

inline emu_mbarrier *emu_mbarrier_at(uint64_t *bar, emu::site at)
{
	emu_mbarrier *b = (emu_mbarrier *)bar;

	if (b->started != 0x5a)
		emu::fail("%s:%d: a barrier that was never started", at.file,
			  at.line);
	return b;
}

DEV void mbarrier_start(uint64_t *bar, int count, SITE)
{
	uint8_t n = (uint8_t)count;

	if (count < 1 || count > 255)
		emu::fail("%s:%d: a barrier of %d", file, line, count);
	*(emu_mbarrier *)bar = { 0x5a, 0, n, n, 0 };
	emu::unseen[emu::chunk_of(bar)] = true;
	emu::current->stored.push_back(bar);
}

inline void emu_mbarrier_move(emu_mbarrier *b)
{
	if (b->left || b->bytes)
		return;
	b->left = b->count;
	b->phase++;
}

DEV void mbarrier_expect(uint64_t *bar, uint32_t bytes, SITE)
{
	emu_mbarrier *b = emu_mbarrier_at(bar, { file, line });

	if (b->left == 0)
		emu::fail("%s:%d: more arrive than the barrier waits for", file,
			  line);
	b->bytes += (int32_t)bytes;
	b->left--;
	emu_mbarrier_move(b);
}

DEV void mbarrier_arrive(uint64_t *bar, SITE)
{
	mbarrier_expect(bar, 0, file, line);
}

DEV void mbarrier_wait(uint64_t *bar, int parity, SITE)
{
	emu_mbarrier *b = emu_mbarrier_at(bar, { file, line });

	emu::wait_for({ file, line }, [=] { return b->phase % 2 != parity; });
}

DEV void copy_bulk(void *dst, const void *src, uint32_t size, uint64_t *bar,
		   SITE)
{
	emu_mbarrier *b = emu_mbarrier_at(bar, { file, line });

	if ((uintptr_t)dst % 16 || (uintptr_t)src % 16 || size % 16 || !size)
		emu::fail("%s:%d: a bulk copy that is not of 16 bytes", file,
			  line);
	if (emu::unseen[emu::chunk_of(bar)])
		emu::fail("%s:%d: a bulk copy does not see its barrier", file,
			  line);
	emu::bulk_start({ (char *)dst, (const char *)src, size, [=] {
				 b->bytes -= (int32_t)size;
				 emu_mbarrier_move(b);
			 } });
}

template <int N> DEV void registers_give()
{
}

template <int N> DEV void registers_take()
{
}

/* ---- wgmma */

#define EMU_NOBODY 0xffffffffu /* accumulators in flight: NaN */

/* Accumulators of a warp in flight. */
struct emu_sum {
	uint32_t *at[32];	     /* [tiles][4] of each lane */
	std::vector<uint32_t> value; /* [32][tiles * 4] */
	int pending;
};

/* The tensor core, as a warp has it. */
struct emu_tensor {
	bool fenced;
	std::list<emu_sum> sums;
	std::vector<std::pair<uint64_t, int>> did; /* what, at which line */
};

inline emu_tensor &emu_tensor_of(unsigned warp)
{
	std::shared_ptr<void> &unit = emu::warps[warp].unit;

	if (!unit)
		unit = std::make_shared<emu_tensor>();
	return *(emu_tensor *)unit.get();
}

/* The warp at hand does @what, and so must the others of its warpgroup. */
inline emu_tensor &emu_tensor_does(uint64_t what, emu::site at)
{
	unsigned warp = emu::current->id / 32, first = warp & ~3u;
	emu_tensor &mine = emu_tensor_of(warp);
	size_t n = mine.did.size();

	mine.did.push_back({ what, at.line });
	if (emu::warps.size() < first + 4)
		emu::fail("%s:%d: a warpgroup has four warps", at.file,
			  at.line);
	for (unsigned w = first; w < first + 4; w++) {
		const auto &other = emu_tensor_of(w).did;

		if (other.size() > n && other[n] != mine.did[n])
			emu::fail("%s:%d: a warpgroup diverged: warp %u is "
				  "here, warp %u was at line %d",
				  at.file, at.line, warp, w, other[n].second);
	}
	return mine;
}

enum emu_kind { EMU_BF16, EMU_F16, EMU_S8 };

/* What a wgmma is, but for its place. */
struct emu_wgmma_how {
	emu_kind kind;
	bool a_tile, b_transposed, from_zero;
};

/* A lane's operands, where they are. */
struct emu_wgmma_in {
	void *d;
	const uint32_t *a;
	uint64_t a_tile, b;
};

/* One wgmma of a warp. */
struct emu_wgmma {
	emu_sum *sum;
	const uint32_t *a_at[32];
	uint32_t a[32][4];
	uint64_t a_tile, b_at;
	std::vector<uint16_t> rows, b; /* of a_tile; [columns][16] */
	emu_wgmma_how how;
	emu::site at;
};

/* A tile's place and steps are in the operand, 24, 20 and 20 bits of them. */
inline uint64_t emu_tile_word(const void *tile, int step, int piece)
{
	return (uint64_t)((const char *)tile - emu::smem) |
	       (uint64_t)step << 24 | (uint64_t)piece << 44;
}

DEV uint64_t wgmma_tile(const void *tile, int step = 1024)
{
	return emu_tile_word(tile, step, 0);
}

DEV uint64_t wgmma_tile_transposed(const void *tile, int step, int piece)
{
	return emu_tile_word(tile, step, piece);
}

/* 16 bytes of a tile, of which swizzling has not been undone, at @p. */
inline const char *emu_tile_chunk(size_t p, emu::site at)
{
	p ^= (p >> 7 & 7) << 4;
	if (emu::smem + p + 16 > emu::smem_end)
		emu::fail("%s:%d: a tile ends past shared memory", at.file,
			  at.line);
	if (emu::unseen[p / 16])
		emu::fail("%s:%d: byte %zu of shared memory was copied and not "
			  "made seen",
			  at.file, at.line, p);
	return emu::smem + p;
}

/*
 * [@columns][16 of k], as the hardware finds them: the first 32 bytes of rows
 * @first .. of a tile, or 16 rows of one that is transposed.
 */
inline std::vector<uint16_t> emu_tile(uint64_t word, int first, int columns,
				      bool transposed, emu::site at)
{
	size_t begin = word & 0xffffff, step = word >> 24 & 0xfffff;
	size_t piece = word >> 44;
	std::vector<uint16_t> rows(columns * 16);

	if (begin % 1024 > (transposed ? 0 : 96) || begin % 32)
		emu::fail("%s:%d: a tile at %zu: not at a multiple of 1024",
			  at.file, at.line, begin);
	for (int i = 0; !transposed && i < columns * 2; i++) {
		int row = first + i / 2;

		memcpy(&rows[i * 8],
		       emu_tile_chunk(begin + row / 8 * step + row % 8 * 128 +
					      i % 2 * 16,
				      at),
		       16);
	}
	for (int i = 0; transposed && i < columns * 2; i++) {
		int k = i % 16, column = i / 16 * 8;
		uint16_t part[8];

		memcpy(part,
		       emu_tile_chunk(begin + column / 64 * piece +
					      k / 8 * step + k % 8 * 128 +
					      column % 64 * 2,
				      at),
		       16);
		for (int c = 0; c < 8; c++)
			rows[(column + c) * 16 + k] = part[c];
	}
	return rows;
}

/* The accumulators at @in's, now in flight. */
inline emu_sum *emu_sum_of(emu_tensor &t, const emu_wgmma_in *const *in,
			   int tiles)
{
	for (emu_sum &s : t.sums)
		if (s.at[0] == (uint32_t *)in[0]->d)
			return &s;
	t.sums.push_back({});

	emu_sum &s = t.sums.back();

	s.value.resize(32 * tiles * 4);
	for (int l = 0; l < 32; l++) {
		s.at[l] = (uint32_t *)in[l]->d;
		memcpy(&s.value[l * tiles * 4], s.at[l], tiles * 16);
		memset(s.at[l], 0xff, tiles * 16);
	}
	return &s;
}

/* The rows of a tile that are the warp's. */
inline std::vector<uint16_t> emu_wgmma_rows(const emu_wgmma &w)
{
	if (!w.how.a_tile)
		return {};
	return emu_tile(w.a_tile, (int)(emu::current->id / 32 % 4 * 16), 16,
			false, w.at);
}

/* What it reads is what it was, and nobody has touched what it writes. */
inline void emu_wgmma_check(const emu_wgmma &w, int tiles)
{
	for (int l = 0; l < 32; l++) {
		if (!w.how.a_tile && memcmp(w.a[l], w.a_at[l], sizeof w.a[l]))
			emu::fail("%s:%d: a fragment changed while wgmma was "
				  "in flight",
				  w.at.file, w.at.line);
		for (int i = 0; i < tiles * 4; i++)
			if (w.sum->at[l][i] != EMU_NOBODY)
				emu::fail("%s:%d: accumulators changed while "
					  "wgmma was in flight",
					  w.at.file, w.at.line);
	}
	if (emu_tile(w.b_at, 0, tiles * 8, w.how.b_transposed, w.at) != w.b ||
	    emu_wgmma_rows(w) != w.rows)
		emu::fail("%s:%d: a tile changed while wgmma was in flight",
			  w.at.file, w.at.line);
}

/* Element (row, column) of a warp's product added to @v, its bits. */
inline uint32_t emu_float_element(uint32_t v, const uint16_t *a,
				  const uint16_t *b, bool f16)
{
	int bits = wgmma_bits == WGMMA_AS_MMA ? mma_bits : wgmma_bits;
	float x[16], y[16];

	for (int k = 0; k < 16; k++) {
		x[k] = f16 ? f16_to_f32(a[k]) : mma_widen(a[k]);
		y[k] = f16 ? f16_to_f32(b[k]) : mma_widen(b[k]);
	}
	return as_uint(mma_element(as_float(v), x, y, bits));
}

inline uint32_t emu_byte_element(uint32_t v, const int8_t *a, const int8_t *b)
{
	int64_t sum = (int32_t)v;

	for (int k = 0; k < 32; k++)
		sum += a[k] * b[k];
	if (sum != (int32_t)sum)
		emu::fail("wgmma of integers: a sum overflows");
	return (uint32_t)sum;
}

inline void emu_wgmma_add(const emu_wgmma &w, int tiles)
{
	uint32_t a[16][8]; /* 32 bytes of each row */

	if (w.how.a_tile)
		memcpy(a, w.rows.data(), sizeof a);
	for (int l = 0; !w.how.a_tile && l < 32; l++)
		for (int r = 0; r < 4; r++)
			a[l / 4 + r % 2 * 8][l % 4 + r / 2 * 4] = w.a[l][r];
	if (w.how.from_zero)
		std::fill(w.sum->value.begin(), w.sum->value.end(), 0);
	for (int l = 0; l < 32; l++)
		for (int i = 0; i < tiles * 4; i++) {
			int column = i / 4 * 8 + l % 4 * 2 + i % 2;
			uint32_t *v = &w.sum->value[l * tiles * 4 + i];
			const void *x = a[l / 4 + i % 4 / 2 * 8];
			const uint16_t *y = &w.b[column * 16];

			*v = w.how.kind == EMU_S8
				     ? emu_byte_element(*v, (const int8_t *)x,
							(const int8_t *)y)
				     : emu_float_element(*v,
							 (const uint16_t *)x, y,
							 w.how.kind == EMU_F16);
		}
	emu::counts.mma += tiles;
}

inline void emu_wgmma_finish(const emu_wgmma &w, emu_tensor &t, int tiles)
{
	emu_wgmma_check(w, tiles);
	emu_wgmma_add(w, tiles);
	if (--w.sum->pending)
		return;
	for (int l = 0; l < 32; l++)
		memcpy(w.sum->at[l], &w.sum->value[l * tiles * 4], tiles * 16);
	t.sums.remove_if([&](const emu_sum &s) { return &s == w.sum; });
}

inline void emu_wgmma_warp(const emu_wgmma_in *const *in, int tiles,
			   emu_wgmma_how how, emu::site at)
{
	emu_tensor &t = emu_tensor_does(in[0]->b ^ in[0]->a_tile << 32, at);
	emu::warp &warp = emu::warps[emu::current->id / 32];
	emu_wgmma w = { NULL, {}, {}, in[0]->a_tile, in[0]->b, {}, {}, how, at };

	if (!t.fenced)
		emu::fail("%s:%d: wgmma without a fence since the last group",
			  at.file, at.line);
	for (int l = 0; l < 32; l++) {
		if (in[l]->b != in[0]->b || in[l]->a_tile != in[0]->a_tile)
			emu::fail("%s:%d: lane %d names another tile", at.file,
				  at.line, l);
		w.a_at[l] = in[l]->a;
		if (!how.a_tile)
			memcpy(w.a[l], in[l]->a, sizeof w.a[l]);
	}
	w.rows = emu_wgmma_rows(w);
	w.b = emu_tile(w.b_at, 0, tiles * 8, how.b_transposed, at);
	w.sum = emu_sum_of(t, in, tiles);
	w.sum->pending++;
	warp.tasks.push_back(
		{ [=, &t] { emu_wgmma_finish(w, t, tiles); }, warp.nr_groups });
}

inline void emu_wgmma_start(const emu_wgmma_in &lane, int tiles,
			    emu_wgmma_how how, emu::site at)
{
	typedef emu_wgmma_in in_type;

	emu::collective<in_type, int>(
		~0u, at, lane, [=](const in_type *const *in, auto, uint32_t) {
			emu_wgmma_warp(in, tiles, how, at);
		});
}

template <int TILES>
void wgmma(float (&d)[TILES][4], const uint32_t a[4], uint64_t b, SITE)
{
	emu_wgmma_start({ d, a, 0, b }, TILES, { EMU_BF16 }, { file, line });
}

template <int TILES>
void wgmma_f16(float (&d)[TILES][4], const uint32_t a[4], uint64_t b, SITE)
{
	emu_wgmma_start({ d, a, 0, b }, TILES, { EMU_F16 }, { file, line });
}

template <int TILES>
void wgmma_s8(int (&d)[TILES][4], const uint32_t a[4], uint64_t b, SITE)
{
	emu_wgmma_start({ d, a, 0, b }, TILES, { EMU_S8 }, { file, line });
}

template <bool FROM_ZERO>
void wgmma_tiles(float (&d)[16][4], uint64_t a, uint64_t b, SITE)
{
	emu_wgmma_start({ d, NULL, a, b }, 16,
			{ EMU_BF16, true, false, FROM_ZERO }, { file, line });
}

template <bool FROM_ZERO, int TILES>
void wgmma_transposed(float (&d)[TILES][4], const uint32_t a[4], uint64_t b,
		      SITE)
{
	emu_wgmma_start({ d, a, 0, b }, TILES,
			{ EMU_BF16, false, true, FROM_ZERO }, { file, line });
}

/* @work once for the warp at hand, when all lanes are here */
template <class Work> void emu_tensor_once(emu::site at, Work work)
{
	emu::collective<int, int>(~0u, at, 0, [=](auto, auto, uint32_t) {
		work(emu_tensor_does(~0ull, at));
	});
}

DEV void wgmma_fence(SITE)
{
	emu_tensor_once({ file, line }, [](emu_tensor &t) { t.fenced = true; });
}

DEV void wgmma_commit(SITE)
{
	emu_tensor_once({ file, line }, [](emu_tensor &t) {
		t.fenced = false;
		emu::warps[emu::current->id / 32].nr_groups++;
	});
}

template <int LEFT> void wgmma_wait(SITE)
{
	emu_tensor_once({ file, line },
			[](emu_tensor &) { emu::finish_tasks(LEFT); });
}

DEV void wgmma_sees()
{
	emu::see();
}

#endif
