/* SPDX-License-Identifier: MIT */
/*
 * plan.h - which warps attend to what in a step: units of work for attention,
 * by warpgroups or by warps, and how the tiles of long ones are divided among
 * warps.  Pure; the plan
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
	/*
	 * Rows of a step from which on chunks of prompts are for
	 * cuda_attention_sm90(), where there are units for it at least; 0: never
	 */
	uint32_t many, many_units;
};

struct plan {
	uint32_t nr_many, nr_work;
	uint32_t nr_units, nr_divided;
	uint32_t divided_tiles;	 /* of the largest that is divided */
	uint32_t tiles_per_warp; /* of those that are divided */
};

/* Pieces of work that a step of @rows in @seqs sequences comes to at most. */
uint32_t plan_max_work(const struct plan_limits *limits, uint32_t rows,
		       uint32_t seqs);

/* The same of units of cuda_attention_sm90(). */
uint32_t plan_max_many(const struct plan_limits *limits, uint32_t rows);

/*
 * For the rows of @step fill @many, [plan_max_many()], with units of a chunk
 * each, the last of a chunk first: it has the longest context; and @work,
 * [plan_max_work()], with what is left, what is divided first.
 */
void plan_step(const struct plan_limits *limits, const struct step *step,
	       struct cuda_attention_work *many,
	       struct cuda_attention_work *work, struct plan *ret);

#endif
