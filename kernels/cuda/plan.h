/* SPDX-License-Identifier: MIT */
/*
 * plan.h - which warps attend to what in a step: units of work for attention,
 * and how the tiles of long ones are divided among warps.  Pure; the plan
 * changes no bit (attention.cuh), only how well a GPU is filled.
 */
#ifndef KERNELS_CUDA_PLAN_H
#define KERNELS_CUDA_PLAN_H

#include <stdint.h>

struct cuda_attention_work;
struct step;

#define PLAN_WARPS 8192u /* of a device: no more are planned for */

/* What it is planned for; constant after open. */
struct plan_limits {
	uint32_t group;	   /* query heads of a KV head */
	uint32_t kv_heads; /* warps of a unit that is not divided: these */
	uint32_t split;	   /* times CUDA_ATTENTION_SPLIT */
	uint32_t warps;	   /* that fill the device; at most PLAN_WARPS */
	uint32_t slots; /* [unit][KV head][tile] that may wait to be folded */
};

struct plan {
	uint32_t nr_work;
	uint32_t nr_units, nr_divided;
	uint32_t divided_tiles;	 /* of the largest that is divided */
	uint32_t tiles_per_warp; /* of those that are divided */
};

/* Pieces of work that a step of @rows in @seqs sequences comes to at most. */
uint32_t plan_max_work(const struct plan_limits *limits, uint32_t rows,
		       uint32_t seqs);

/*
 * Fill @work, [plan_max_work()], for the rows of @step; what is divided comes
 * first.
 */
void plan_step(const struct plan_limits *limits, const struct step *step,
	       struct cuda_attention_work *work, struct plan *ret);

#endif
