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

#define KV_BLOCK     16 /* tokens */

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
 * What codes of int4 are too large by, in a word: the bf16 -(128 + zero), twice
 * (weight.cuh).  Zero points are 0..16.
 */
DEVICE_TOO unsigned layout_zero(unsigned zero)
{
	return (0xc300 | zero) * 0x10001u;
}

/*
 * Weights as codes of @bits (8, 4) are
 *	[rows / 16][k / 64][piece][lane][16 bytes], scales
 * of a stage: bytes of the A fragments (ptx.cuh, mma_s8) of its first half and
 * of its second, in a piece each, or in the lower and the upper nibbles of one.
 * Then [64 / run][16 rows] F32 scales and as many minima; none where @run is 0.
 */
DEVICE_TOO_CONST int layout_codes_stage(int bits, int run, int min)
{
	return bits * 128 +
	       (run ? LAYOUT_STAGE / run * LAYOUT_ROWS * 4 * (1 + min) : 0);
}

/* Where a code lies, @cols made up; *ret_shift says from which bit on. */
DEVICE_TOO size_t layout_code(int bits, int stage_bytes, int cols, int row,
			      int col, int *ret_shift)
{
	int lane = row % 8 * 4 + col % 16 / 4, half = col / 32 % 2;
	int byte = (row / 8 % 2 + col / 16 % 2 * 2) * 4 + col % 4;
	size_t stage = (size_t)(row / LAYOUT_ROWS) * (cols / LAYOUT_STAGE) +
		       col / LAYOUT_STAGE;

	*ret_shift = bits == 4 ? half * 4 : 0;
	return stage * stage_bytes + (bits == 8 ? half * 512 : 0) + lane * 16 +
	       byte;
}

/*
 * Inputs as codes: a record for each token and stage of k,
 *	code i8[64]; of wide ones the upper byte here, then the lower u8[64]
 *	scale F32[2], scale * sum of codes F32[2] of each 32
 * 80 or 144 bytes, odd times 16, so eight rows are in eight groups of banks.
 */
DEVICE_TOO_CONST int layout_input(int wide)
{
	return LAYOUT_STAGE * (1 + wide) + 16;
}

/*
 * K or V of one head in a block lies in memory as it is to lie in shared
 * memory.  Eight tokens first, then the other eight; of eight tokens first 64
 * dimensions, then the next 64, .. (where fewer are left 32, then 16), each
 * such piece a rectangle of 8 rows whose chunks of 16 bytes are swizzled so
 * that the chunks of one column lie in eight different groups of banks.  So a
 * block is copied as one run of bytes (one bulk copy on sm_90), ldmatrix meets
 * no bank conflict, and consecutive blocks make one operand of wgmma: swizzle
 * of 128 bytes (64, 32), 16 * head_dim from eight tokens to the next.
 *
 * head_dim: a multiple of 16.  The byte where dimensions 16 * pair + 8 * half
 * .. + 7 of a token begin:
 */
DEVICE_TOO int layout_kv_pair(int head_dim, int token, int pair, int half)
{
	int left = head_dim / 16 - pair / 4 * 4; /* pairs, with this piece */
	int pairs = left >= 4 ? 4 : left >= 2 && pair % 4 < 2 ? 2 : 1;
	int first = pair / pairs * pairs, row = token % 8;
	int chunk = (pair - first) * 2 + half;

	return token / 8 * head_dim * 16 + first * 256 + row * pairs * 32 +
	       ((chunk ^ row * pairs / 4) << 4);
}

/* Where dimensions 8 * chunk .. + 7 of a token begin. */
DEVICE_TOO int layout_kv(int head_dim, int token, int chunk)
{
	return layout_kv_pair(head_dim, token, chunk / 2, chunk % 2);
}

/* The other way: the token that the @i-th 16 bytes are of. */
DEVICE_TOO int layout_kv_token(int head_dim, int i)
{
	int in_eight = i % head_dim, pair = in_eight / 16;
	int left = head_dim / 16 - pair / 4 * 4;
	int pairs = left >= 4 ? 4 : left >= 2 && pair % 4 < 2 ? 2 : 1;
	int first = pair / pairs * pairs;

	return i / head_dim * 8 + (in_eight - first * 16) / (2 * pairs);
}

/*
 * Of 8 bits (rule K1 of ops.h) the same image holds codes, half as far from its
 * start, and behind them an F32 scale for each token.
 */
DEVICE_TOO_CONST int layout_kv8_bytes(int head_dim)
{
	return KV_BLOCK * (head_dim + 4);
}

/* Bytes of K or V of one head in a block. */
DEVICE_TOO int layout_kv_bytes(int head_dim)
{
	return KV_BLOCK * head_dim * 2;
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
