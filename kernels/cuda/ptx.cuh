/* SPDX-License-Identifier: MIT */
/*
 * ptx.cuh - every instruction that C++ has no word for, as a named move.
 * Kernels write no assembly of their own.  Below is what the moves are on a
 * GPU; on a host the same names, with the same meaning, come from
 * tests/cuemu/twins.h, so one source of a kernel runs in both places.
 *
 * "block" is CUDA's word for a group of threads and ours for 16 tokens of KV:
 * here and in the kernels a group of threads is a CTA.
 */
#ifndef KERNELS_CUDA_PTX_CUH
#define KERNELS_CUDA_PTX_CUH

#include <stdint.h>

#define WHOLE_WARP 0xffffffffu

#ifdef __CUDACC__

#define DEV	   static __device__ __forceinline__
#define DEV_MEMBER __device__ __forceinline__

extern __shared__ __align__(1024) uint4 ptx_dynamic_smem[];

/*
 * Where the CTA's dynamic shared memory begins, at a multiple of 1024; there is
 * no other kind.
 */
DEV char *smem_base()
{
	return (char *)ptx_dynamic_smem;
}

DEV uint32_t smem_address(const void *p)
{
	return (uint32_t)__cvta_generic_to_shared(p);
}

DEV float as_float(uint32_t u)
{
	return __uint_as_float(u);
}

DEV uint32_t as_uint(float f)
{
	return __float_as_uint(f);
}

/* An f16 as a float, exactly. */
DEV float widen_f16(uint16_t h)
{
	float r;

	asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h));
	return r;
}

/* Two floats to bf16, to nearest even; @lo in the lower half. */
DEV uint32_t pack_bf16(float lo, float hi)
{
	uint32_t r;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
	return r;
}

/* Two floats to f16, to nearest even. */
DEV uint32_t pack_f16(float lo, float hi)
{
	uint32_t r;

	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
	return r;
}

/* a * b + c for two bf16 each, rounded once. */
DEV uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t r;

	asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
	return r;
}

/*
 * d += a b, 16 x 8 x 16, bf16 in and float out, by the whole warp.  With g =
 * lane / 4 and t = 2 * (lane % 4):
 *	a: [16 rows, 16 k]  a[0] (g, t..t+1)  a[1] (g+8, ..)  a[2], a[3] at k+8
 *	b: [16 k, 8 cols]   b0 (t..t+1, g)    b1 at k+8
 *	d: [16 rows, 8 cols] d[0], d[1] (g, t..t+1)  d[2], d[3] (g+8, ..)
 * _f16: the same of f16.
 */
DEV void mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
		     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0),
		       "r"(b1));
}

DEV void mma_f16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
		     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0),
		       "r"(b1));
}

/*
 * d += a b, 16 x 8 x 32, integers of 8 bits, exact in int32 (which may not
 * overflow).  With g = lane / 4 and t = 4 * (lane % 4), lowest byte first:
 *	a: [16 rows, 32 k]  a[0] (g, t..t+3)  a[1] (g+8, ..)  a[2], a[3] at k+16
 *	b: [32 k, 8 cols]   b0 (t..t+3, g)    b1 at k+16
 *	d: as of mma
 * _u8: b is unsigned.  _16: the first 16 of k alone.
 */
DEV void mma_s8(int d[4], const uint32_t *a, uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
		     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
		     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0),
		       "r"(b1));
}

DEV void mma_s8_u8(int d[4], const uint32_t *a, uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 "
		     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
		     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0),
		       "r"(b1));
}

DEV void mma_s8_16(int d[4], const uint32_t *a, uint32_t b)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 "
		     "{%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
		     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(b));
}

/*
 * Four 8 x 8 matrices of 16 bits from shared memory, by the whole warp: lane l
 * names row l % 8 (16 bytes) of matrix l / 8; of matrix i it gets elements
 * (l / 4, 2 * (l % 4) + {0, 1}) into r[i].  _transposed: rows and columns
 * change places.
 */
DEV void ldmatrix(uint32_t r[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
		     "{%0,%1,%2,%3},[%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(smem_address(row))
		     : "memory");
}

DEV void ldmatrix_transposed(uint32_t r[4], const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 "
		     "{%0,%1,%2,%3},[%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(smem_address(row))
		     : "memory");
}

/*
 * Start to copy 16 bytes to shared memory, or 16 zeros where !take (@src must
 * be an address all the same).  The target may not be read before this thread
 * has waited for the copy's group, nor by another thread before a barrier
 * after that.
 */
DEV void copy_async(void *dst, const void *src, bool take = true)
{
	asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(
			     smem_address(dst)),
		     "l"(src), "r"(take ? 16 : 0)
		     : "memory");
}

/* What this thread has started since the last call is one group. */
DEV void copy_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most the LEFT youngest groups of this thread are in flight. */
template <int LEFT> DEV void copy_wait()
{
	asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/*
 * Programmatic dependent launch: a kernel may begin while the one before it in
 * the stream still runs.  pdl_wait(): until that one has ended and all that it
 * wrote is seen; pdl_go(): the one after us may begin, once all our CTAs have
 * come here or ended.  Nothing where the launch did not ask for it (launch.cuh).
 *
 * Every thread of every CTA calls pdl_wait(), those that leave at once too: a
 * kernel that ends before it was waited for takes its predecessor's end from its
 * successor.  Before it nothing is read but what no kernel and no copy of a step
 * writes (weights), and nothing is written.  pdl_go() comes right after it, so
 * what stands before a wait runs beside one other kernel and no more.
 */
DEV void pdl_wait()
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DEV void pdl_go()
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#elif !defined(CUEMU_H)
#error "on a host: compile with -include tests/cuemu/cuemu.h, it has the twins"
#endif

#include "kernels/cuda/ptx_sm90.cuh"

#endif
