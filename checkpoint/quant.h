/* SPDX-License-Identifier: MIT */
/*
 * quant.h - quantization_config of a config.json: in which form a checkpoint
 * keeps the matrices that are not plain.
 *
 * Which matrices those are, the tensors' names tell; so lists of modules that
 * stayed plain are not read.  Nor is what is said of inputs: before INT8 they
 * are rounded by P3 of kernels/ops.h, a scale a token, before all others not.
 * With X for a matrix of N rows (outputs) and K columns, a group being `group`
 * columns, G of them:
 *
 *	fp8		X.weight F8_E4M3 [N, K] and X.weight_scale or
 *	fbgemm_fp8	X.weight_scale_inv (a factor all the same): one, [N] or
 *			[N, 1], or with blocks [N / 128, K / 128], upward
 *	gptq		X.qweight I32 [K/8, N], X.qzeros I32 [G, N/8], X.scales
 *			[G, N], X.g_idx I32 [K] perhaps: k / group, no other
 *			order; a zero point is stored less 1, of gptq_v2 as it is
 *	awq		X.qweight I32 [K, N/8], X.qzeros I32 [G, N/8], X.scales
 *			[G, N]; nibbles of a word are columns 0 2 4 6 1 3 5 7
 *	compressed-tensors
 *			float-quantized: as fp8; int-quantized (W8A8): X.weight
 *			I8 [N, K] and X.weight_scale, one, [N] or [N, 1];
 *			pack-quantized:
 *			X.weight_packed I32 [N, K/8], X.weight_scale [N, G], where
 *			it is not symmetric X.weight_zero_point I32 [N/8, G], and
 *			X.weight_shape
 *
 * Numbers of 4 bits are (code - zero) * scale, eight codes a word from the lowest
 * bits on.
 */
#ifndef CHECKPOINT_QUANT_H
#define CHECKPOINT_QUANT_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

struct err;

#define QUANT_BLOCK 128u /* columns: what a group is a multiple of */

enum quant_form {
	QUANT_NONE,
	QUANT_FP8,
	QUANT_GPTQ,
	QUANT_AWQ,
	QUANT_ROWS, /* pack-quantized */
	QUANT_INT8,
};

struct quant {
	enum quant_form form;
	const char *method; /* static: "gptq"; NULL: none */
	bool blocks;	    /* FP8: a scale may be of 128 rows and columns */
	uint32_t group;	    /* of 4 bits: columns; 0: all of a row */
	bool zeros;	    /* zero points are there; else they are 8 */
	bool less_one;	    /* and stored less 1 */
};

/*
 * Read quantization_config of @cfg, where there is one.  0, or -EINVAL and a
 * line for what is not supported.
 */
int quant_read(struct quant *q, const char *where, const json_t *cfg,
	       struct err *err);

/* "gptq, 4 bits in groups of 128", for people; at most 64 bytes. */
const char *quant_text(const struct quant *q, char buf[64]);

#endif
