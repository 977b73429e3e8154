/* SPDX-License-Identifier: MIT */
/*
 * layout.h - where numbers lie on the device: the one description of packed
 * weights and of a KV block, for the kernels, for the code that packs, and for
 * tests.  Plain C.
 */
#ifndef KERNELS_CUDA_LAYOUT_H
#define KERNELS_CUDA_LAYOUT_H

#include "kernels/device.h"

#include <stddef.h>

#define LAYOUT_ROWS  16	 /* rows of a weight that a warp owns */
#define LAYOUT_STAGE 64	 /* columns (k) that are copied at once: 4 mma steps */
#define LAYOUT_GROUP 128 /* columns that share a scale in int4 */
#define LAYOUT_CTA   128 /* rows that the largest CTA owns */

#define KV_HEAD_DIM  128
#define KV_BLOCK     16				  /* tokens */
#define KV_BYTES     (KV_BLOCK * KV_HEAD_DIM * 2) /* K or V of a head: 4 KiB */

/*
 * Packed weights have no end in the middle of a tile: rows are made up to
 * LAYOUT_CTA, columns to a stage (int4: to a group), by zeros, and so are the
 * scales of rows.
 */
DEVICE_TOO int layout_rows(int rows)
{
	return (rows + LAYOUT_CTA - 1) / LAYOUT_CTA * LAYOUT_CTA;
}

DEVICE_TOO int layout_cols(int bits, int cols)
{
	int whole = bits == 4 ? LAYOUT_GROUP : LAYOUT_STAGE;

	return (cols + whole - 1) / whole * whole;
}

/* Where row @row of gate, or of up (1), lies in the one matrix of both. */
DEVICE_TOO int layout_gate_up(int up, int row)
{
	return row / 8 * 16 + up * 8 + row % 8;
}

/*
 * Packed weights of @bits (16, 8, 4), @cols made up as above, are
 *	[rows / 16][k / 64][piece][lane][16 bytes]
 * where a lane's pieces of a stage (4, 2, 1 for 16, 8, 4 bits) hold the A
 * fragments of four mma steps in order (ptx.cuh, mma), so a lane copies and
 * reads nothing but its own.  Inside a fragment of
 *	16 bits: register 0..3, low half first
 *	8 bits:  registers (0, 1) and (2, 3) share a word: bytes r0 lo, r1 lo,
 *		 r0 hi, r1 hi
 *	4 bits:  nibble = register + 4 * half
 * Where (row, col) lies: *ret_shift says from which bit of that byte on.
 */
DEVICE_TOO size_t layout_weight(int bits, int cols, int row, int col,
				int *ret_shift)
{
	int lane = row % 8 * 4 + col % 8 / 2, half = col % 2;
	int reg = row / 8 % 2 + col / 8 % 2 * 2, step = col / 16 % 4;
	int nibble = reg + half * 4, byte;
	size_t stage = (size_t)(row / LAYOUT_ROWS) * (cols / LAYOUT_STAGE) +
		       col / LAYOUT_STAGE;

	if (bits == 16)
		byte = step * 16 + reg * 4 + half * 2;
	else if (bits == 8)
		byte = step * 8 + reg / 2 * 4 + reg % 2 + half * 2;
	else
		byte = step * 4 + nibble / 2;
	*ret_shift = bits == 4 ? nibble % 2 * 4 : 0;
	return stage * 32 * 4 * bits + byte / 16 * 512 + lane * 16 + byte % 16;
}

/*
 * K or V of one head in a block is 4096 bytes that lie in memory as they are
 * to lie in shared memory: eight tokens, first their lower 64 dimensions, then
 * their upper, each half a square of 8 x 128 bytes whose 16-byte chunks are
 * swizzled by the token.  So a block is copied as one run of bytes (one bulk
 * copy on sm_90), ldmatrix meets no bank conflict, and consecutive blocks make
 * one operand of wgmma: swizzle of 128 bytes, 2048 from eight tokens to the
 * next.  The byte where dimensions 8 * chunk .. + 7 of a token begin:
 */
DEVICE_TOO int layout_kv(int token, int chunk)
{
	return token / 8 * 2048 + chunk / 8 * 1024 + token % 8 * 128 +
	       ((chunk % 8 ^ token % 8) << 4);
}

/*
 * A tile in shared memory of rows of 128 bytes, swizzled so that eight rows of
 * one column lie in eight different groups of banks.
 */
DEVICE_TOO int layout_tile(int row, int chunk)
{
	return row * 128 + ((chunk ^ (row & 7)) << 4);
}

#endif
