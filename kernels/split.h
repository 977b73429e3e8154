/* SPDX-License-Identifier: MIT */
/*
 * split.h - a block of each packed type (formats.h) in plain numbers: the one
 * place in plain C that knows how the bits lie.
 */
#ifndef KERNELS_SPLIT_H
#define KERNELS_SPLIT_H

#include <stdint.h>

#define PACKED_BLOCK 256u /* numbers of the largest block */

/* number[i] = code[i] * scale[i / run] (+ min[i / run]) */
struct packed {
	float scale[PACKED_BLOCK / 16]; /* of each run */
	float min[PACKED_BLOCK / 16];	/* where the type has_min */
	int8_t code[PACKED_BLOCK];	/* what is subtracted is subtracted */
};

void split_q8_0(const void *block, struct packed *ret);
void split_q4_0(const void *block, struct packed *ret);
void split_q4_1(const void *block, struct packed *ret);
void split_q5_0(const void *block, struct packed *ret);
void split_q5_1(const void *block, struct packed *ret);
void split_q2_k(const void *block, struct packed *ret);
void split_q3_k(const void *block, struct packed *ret);
void split_q4_k(const void *block, struct packed *ret);
void split_q5_k(const void *block, struct packed *ret);
void split_q6_k(const void *block, struct packed *ret);
void split_iq4_nl(const void *block, struct packed *ret);
void split_mxfp4(const void *block, struct packed *ret);
void split_int4(const void *block, struct packed *ret); /* block128.c */

/* The sixteen codes of IQ4_NL and of MXFP4, by index. */
extern const int8_t iq4_nl_codes[16], mxfp4_codes[16];

/* MXFP4's scale of exponent byte @e. */
float mxfp4_scale(uint8_t e);

#endif
