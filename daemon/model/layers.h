/* SPDX-License-Identifier: MIT */
/*
 * layers.h - which tensor stands where: Hugging Face's names of the families
 * in arch.c, bound to the places of kernels/ops.h.
 *
 * Matrices stay in the mapped files.  Norm weights and biases, a few rows'
 * worth, are widened to F32 into one arena, for that is what ops.h asks for.
 */
#ifndef MODEL_LAYERS_H
#define MODEL_LAYERS_H

#include <stdint.h>

#include "kernels/ops.h"

struct arch;
struct err;
struct weights;

struct layers {
	struct ops_ends ends;
	struct ops_layer *layer; /* owned: [nr_layers] */
	float *vectors;		 /* owned: what the pointers inside point to */
	uint64_t count;		 /* parameters: numbers in all tensors bound */
};

/*
 * Bind @arch's tensors out of @w, each with the shape that arch demands, or
 * report the first that is not so.  layer[i].rope is left NULL.  What is
 * bound lives as long as @w and @p.
 */
int layers_bind(struct layers *p, const struct arch *arch, struct weights *w,
		struct err *err);
/* Undo it; harmless on an empty one. */
void layers_deinit(struct layers *p);

#endif
