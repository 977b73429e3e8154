/* SPDX-License-Identifier: MIT */
/*
 * pack.h - weights as the kernels want them, made on the host at load: several
 * matrices that share an input become one, rows in the order that an epilogue
 * needs, in the lane order of layout.h.  Plain C, no CUDA; rows of one matrix
 * may be packed by several threads.
 */
#ifndef KERNELS_CUDA_PACK_H
#define KERNELS_CUDA_PACK_H

#include "kernels/cuda/cuda.h"
#include "kernels/formats.h"

/* A packed matrix in the making; all memory is the caller's. */
struct pack {
	enum cuda_form form;
	int rows, cols; /* rows of all that goes into it */
	void *w;	/* [pack_bytes()], zeros at first */
	/* [pack_scales()] and zero points, zeros at first; RUNS: none */
	float *scale;
	int first_row; /* with which both begin: 0, or of LAYOUT_ROWS */
};

size_t pack_bytes(enum cuda_form form, int rows, int cols);
size_t pack_scales(enum cuda_form form, int rows, int cols); /* floats */

/* Where the rows of a matrix go. */
enum pack_order {
	PACK_AS_IS, /* to first + row */
	PACK_GATE,  /* as layout_gate_up() says; first is 0 */
	PACK_UP,
	PACK_PAIRS, /* as is, but rows in rotary pairs (qk_pairs of ops.h)
		     * are put half by half in each head */
};

struct pack_place {
	enum pack_order order;
	int first;
	int head_dim, rotary_dim; /* of PACK_PAIRS */
};

int pack_row(const struct pack_place *place, int row);

/*
 * The form in which the device has the numbers of @type: packed ones and FP8
 * code for code and scale for scale, F16 as it is, F32 as bf16.  -ENOTSUP:
 * none (Q2_K).
 */
int pack_form(enum weight_type type, enum cuda_form *ret);

/*
 * Rows [row, row + count) of @w, each as it goes.  CUDA_W_BF16 and CUDA_W_F16:
 * of any type, to nearest even; CUDA_W_ROWS8: INT8 as it is, any other type by
 * rule P1 of ops.h over a whole row; CUDA_W_FP8, CUDA_W_INT4: of blocks of these
 * that are simple (formats.h), or rounded from F32, F16 and BF16: with a scale a
 * row, its largest number at 448, and by weight_formats[WEIGHT_INT4]; all
 * others: of the types for which pack_form() says so.
 * @scratch: [w->cols].  -EINVAL where the form is not made from such weights.
 */
int pack_weight(const struct pack *p, const struct weight *w,
		const struct pack_place *place, int row, int count,
		float *scratch);

/* A bias beside such rows: @v [n] into the vector of the whole matrix. */
void pack_vector(const float *v, int n, const struct pack_place *place,
		 float *dst);

#endif
