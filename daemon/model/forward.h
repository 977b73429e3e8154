/* SPDX-License-Identifier: MIT */
/*
 * forward.h - the transformer, written once, over a table of operations.
 *
 * It knows the order of the operations and nothing of their arithmetic,
 * memory or machine: those are the op set's (kernels/ops.h).
 */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include <stdint.h>

struct ops;
struct ops_ctx;
struct step;
struct step_out;

struct forward {
	const struct ops *ops;
	struct ops_ctx *ctx; /* borrowed; all weights are loaded */
	uint32_t nr_layers;
	uint32_t max_logits; /* rows of a head() call, at least 1 */
};

/*
 * Compute one step: the KV of every row, and for outs[step->nr_outs], which
 * belong to step->out_row, the chosen or judged tokens.  Allocates nothing.
 * 0, or the op set's error.
 */
int forward_run(const struct forward *f, const struct step *step,
		struct step_out *outs);
/*
 * The same in two, where the op set computes beside its caller (ops.h,
 * collect): begin the step, which reads nothing of the caller's once this has
 * returned; wait for the oldest of those begun, whose outs[@nr] these are.
 */
int forward_begin(const struct forward *f, const struct step *step,
		  struct step_out *outs);
int forward_collect(const struct forward *f, struct step_out *outs,
		    uint32_t nr);

#endif
