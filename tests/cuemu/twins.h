/* SPDX-License-Identifier: MIT */
/*
 * twins.h - the host's side of each name that a kernel uses: what CUDA declares
 * by itself, the moves of kernels/cuda/ptx.cuh, and launch() of launch.cuh.
 */
#ifndef CUEMU_TWINS_H
#define CUEMU_TWINS_H

#include "kernels/half.h"
#include "tests/cuemu/emu.h"
#include "tests/cuemu/mma_model.h"

#include <cerrno>

#define DEV	   static inline
#define DEV_MEMBER inline
/* where a warp operation stands, by default arguments */
#define SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* ---- what CUDA declares by itself */

#define threadIdx (emu::current->index)
#define blockIdx  emu::cta
#define blockDim  emu::block
#define gridDim	  emu::grid

inline void __syncthreads(SITE)
{
	emu::barrier({ file, line });
}

inline void __syncwarp(unsigned mask = ~0u, SITE)
{
	emu::collective<int, int>(mask, { file, line }, 0,
				  [](auto, auto, uint32_t) {});
}

template <class T> T __shfl_xor_sync(unsigned mask, T v, int x, SITE)
{
	return emu::collective<T, T>(
		mask, { file, line }, v,
		[=](const T *const *in, T *const *out, uint32_t m) {
			for (int l = 0; l < 32; l++)
				if ((m >> l & 1) && (m >> (l ^ x) & 1))
					*out[l] = *in[l ^ x];
		});
}

template <class T> struct emu_shuffle {
	T v;
	int from;
};

template <class T> T __shfl_sync(unsigned mask, T v, int from, SITE)
{
	typedef emu_shuffle<T> in_type;

	return emu::collective<in_type, T>(
		mask, { file, line }, in_type{ v, from & 31 },
		[](const in_type *const *in, T *const *out, uint32_t m) {
			for (int l = 0; l < 32; l++)
				if ((m >> l & 1) && (m >> in[l]->from & 1))
					*out[l] = in[in[l]->from]->v;
		});
}

inline void __threadfence()
{
}

template <class T> T atomicAdd(T *p, T v)
{
	T old = *p;

	*p += v;
	return old;
}

template <class T> T atomicOr(T *p, T v)
{
	T old = *p;

	*p |= v;
	return old;
}

template <class T> T atomicExch(T *p, T v)
{
	T old = *p;

	*p = v;
	return old;
}

/* ---- the moves of ptx.cuh */

DEV char *smem_base()
{
	return emu::smem;
}

DEV float as_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

DEV uint32_t as_uint(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

DEV float widen_f16(uint16_t h)
{
	return f16_to_f32(h);
}

DEV uint32_t pack_f16(float lo, float hi)
{
	return f32_to_f16(lo) | (uint32_t)f32_to_f16(hi) << 16;
}

DEV uint32_t emu_bf16(float f)
{
	uint32_t u = as_uint(f);

	return f != f ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

DEV uint32_t pack_bf16(float lo, float hi)
{
	return emu_bf16(lo) | emu_bf16(hi) << 16;
}

/* rounds twice where F32 cannot hold the sum; ours it can */
DEV uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c)
{
	return pack_bf16(
		fmaf(as_float(a << 16), as_float(b << 16), as_float(c << 16)),
		fmaf(as_float(a & 0xffff0000), as_float(b & 0xffff0000),
		     as_float(c & 0xffff0000)));
}

struct emu_mma_in {
	uint32_t a[4], b[2];
	float c[4];
	bool f16;
};

struct emu_mma_out {
	float d[4];
};

/* ptx.cuh says which lane holds what */
inline void emu_mma_warp(const emu_mma_in *const *in, emu_mma_out *const *out)
{
	float a[16][16], b[8][16];
	auto widen = [=](uint32_t h) {
		return in[0]->f16 ? f16_to_f32((uint16_t)h) : mma_widen(h);
	};

	for (int l = 0; l < 32; l++)
		for (int half = 0; half < 2; half++) {
			int g = l / 4, t = l % 4 * 2 + half, shift = 16 * half;

			for (int r = 0; r < 4; r++)
				a[g + r % 2 * 8][t + r / 2 * 8] =
					widen(in[l]->a[r] >> shift & 0xffff);
			for (int r = 0; r < 2; r++)
				b[g][t + r * 8] =
					widen(in[l]->b[r] >> shift & 0xffff);
		}
	for (int l = 0; l < 32; l++)
		for (int i = 0; i < 4; i++)
			out[l]->d[i] = mma_element(in[l]->c[i],
						   a[l / 4 + i / 2 * 8],
						   b[l % 4 * 2 + i % 2]);
	emu::counts.mma++;
}

inline void emu_mma(float d[4], const emu_mma_in &in, emu::site at)
{
	emu_mma_out out = emu::collective<emu_mma_in, emu_mma_out>(
		~0u, at, in,
		[](const emu_mma_in *const *from, emu_mma_out *const *to,
		   uint32_t) { emu_mma_warp(from, to); });

	memcpy(d, out.d, sizeof out.d);
}

DEV void mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1, SITE)
{
	emu_mma(d,
		{ { a[0], a[1], a[2], a[3] },
		  { b0, b1 },
		  { d[0], d[1], d[2], d[3] },
		  false },
		{ file, line });
}

DEV void mma_f16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1,
		 SITE)
{
	emu_mma(d,
		{ { a[0], a[1], a[2], a[3] },
		  { b0, b1 },
		  { d[0], d[1], d[2], d[3] },
		  true },
		{ file, line });
}

/* ---- integers of 8 bits, exact */

struct emu_imma_in {
	uint32_t a[4], b[2];
	int d[4];
	bool is_unsigned; /* b */
};

struct emu_imma_out {
	int d[4];
};

/* Byte @i of a lane's register; ptx.cuh says which lane holds what. */
inline int emu_byte(uint32_t r, int i, bool is_unsigned)
{
	uint8_t u = (uint8_t)(r >> 8 * i);

	return is_unsigned ? u : (int8_t)u;
}

inline void emu_imma_warp(const emu_imma_in *const *in,
			  emu_imma_out *const *out)
{
	int a[16][32], b[8][32];

	for (int l = 0; l < 32; l++)
		for (int i = 0; i < 4; i++) {
			int g = l / 4, k = l % 4 * 4 + i;

			for (int r = 0; r < 4; r++)
				a[g + r % 2 * 8][k + r / 2 * 16] =
					emu_byte(in[l]->a[r], i, false);
			for (int r = 0; r < 2; r++)
				b[g][k + r * 16] = emu_byte(in[l]->b[r], i,
							    in[l]->is_unsigned);
		}
	for (int l = 0; l < 32; l++)
		for (int i = 0; i < 4; i++) {
			int64_t sum = in[l]->d[i];

			for (int k = 0; k < 32; k++)
				sum += a[l / 4 + i / 2 * 8][k] *
				       b[l % 4 * 2 + i % 2][k];
			if (sum != (int)sum)
				emu::fail("mma of integers: a sum overflows");
			out[l]->d[i] = (int)sum;
		}
	emu::counts.mma++;
}

inline void emu_imma(int d[4], emu_imma_in in, emu::site at)
{
	memcpy(in.d, d, sizeof in.d);
	emu_imma_out out = emu::collective<emu_imma_in, emu_imma_out>(
		~0u, at, in,
		[](const emu_imma_in *const *from, emu_imma_out *const *to,
		   uint32_t) { emu_imma_warp(from, to); });

	memcpy(d, out.d, sizeof out.d);
}

DEV void mma_s8(int d[4], const uint32_t *a, uint32_t b0, uint32_t b1, SITE)
{
	emu_imma(d, { { a[0], a[1], a[2], a[3] }, { b0, b1 }, {}, false },
		 { file, line });
}

DEV void mma_s8_u8(int d[4], const uint32_t *a, uint32_t b0, uint32_t b1, SITE)
{
	emu_imma(d, { { a[0], a[1], a[2], a[3] }, { b0, b1 }, {}, true },
		 { file, line });
}

DEV void mma_s8_16(int d[4], const uint32_t *a, uint32_t b, SITE)
{
	emu_imma(d, { { a[0], a[1], 0, 0 }, { b, 0 }, {}, false },
		 { file, line });
}

struct emu_matrices {
	uint32_t r[4];
};

inline void emu_ldmatrix_warp(const char *const row[32], bool transposed,
			      emu_matrices *const *out, emu::site at)
{
	for (int m = 0; m < 4; m++) {
		uint16_t e[8][8];
		unsigned banks = 0;

		for (int i = 0; i < 8; i++) {
			const char *p = row[m * 8 + i];

			if ((uintptr_t)p % 16)
				emu::fail("%s:%d: ldmatrix: the row of lane %d "
					  "is not at a multiple of 16",
					  at.file, at.line, m * 8 + i);
			memcpy(e[i], p, 16);
			banks |= 1u << (p - emu::smem) / 16 % 8;
		}
		emu::counts.conflicts += 8 - __builtin_popcount(banks);
		for (int l = 0; l < 32; l++) {
			int r = l / 4, c = l % 4 * 2;

			out[l]->r[m] = transposed ? e[c][r] | e[c + 1][r] << 16
						  : e[r][c] | e[r][c + 1] << 16;
		}
	}
}

inline void emu_ldmatrix(uint32_t r[4], const void *row, bool transposed,
			 emu::site at)
{
	typedef const char *row_type;
	emu_matrices out = emu::collective<row_type, emu_matrices>(
		~0u, at, (const char *)row,
		[=](const row_type *const *in, emu_matrices *const *to,
		    uint32_t) {
			const char *rows[32];

			for (int l = 0; l < 32; l++)
				rows[l] = *in[l];
			emu_ldmatrix_warp(rows, transposed, to, at);
		});

	memcpy(r, out.r, sizeof out.r);
}

DEV void ldmatrix(uint32_t r[4], const void *row, SITE)
{
	emu_ldmatrix(r, row, false, { file, line });
}

DEV void ldmatrix_transposed(uint32_t r[4], const void *row, SITE)
{
	emu_ldmatrix(r, row, true, { file, line });
}

DEV void copy_async(void *dst, const void *src, bool take = true)
{
	emu::copy_start(dst, take ? src : NULL);
}

DEV void copy_commit()
{
	emu::current->nr_groups++;
}

template <int LEFT> DEV void copy_wait()
{
	emu::copy_land(LEFT);
}

DEV void pdl_wait(SITE)
{
	emu::pdl_wait({ file, line });
}

DEV void pdl_go()
{
}

#include "tests/cuemu/twins_sm90.h"

/* ---- the host's calls */

template <class Args> struct emu_launch {
	void (*kernel)(Args);
	const Args *args;

	static void call(const void *self)
	{
		const emu_launch *l = (const emu_launch *)self;

		l->kernel(*l->args);
	}
};

template <class Args>
int launch(void (*kernel)(Args), dim3 grid, int threads, int smem,
	   const Args &args, void *stream)
{
	auto run = [=] {
		emu_launch<Args> self = { kernel, &args };

		return emu::run(grid, dim3((unsigned)threads), (size_t)smem,
				self.call, &self);
	};

	if (stream && emu::later)
		return emu::later(stream, run);
	return run() ? 0 : -EIO;
}

#endif
