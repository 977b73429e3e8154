/* SPDX-License-Identifier: MIT */
/*
 * plan.h - which warps attend to what in a step: units of work for attention,
 * and how their tiles are divided among warps.  Pure; the plan changes no bit
 * (attention.cuh), only how well a GPU is filled.
 */
#ifndef KERNELS_CUDA_PLAN_H
#define KERNELS_CUDA_PLAN_H

#include <stdint.h>

struct step;

/* What it is planned for; constant after open. */
struct plan_limits {
	uint32_t group;	   /* query heads of a KV head */
	uint32_t kv_heads; /* warps of a unit that is not divided: these */
	uint32_t split;	   /* times CUDA_ATTENTION_SPLIT */
	uint32_t warps;	   /* that fill the device */
	uint32_t slots; /* [unit][KV head][tile] that may wait to be folded */
};

/* One launch: units first .. first + count - 1 of the work. */
struct plan_launch {
	uint32_t first, count; /* count is at most PLAN_UNITS */
	uint32_t max_tiles, tiles_per_warp;
};

#define PLAN_UNITS 65535u /* of a launch */

struct plan {
	uint32_t nr_units;
	uint32_t nr_divided; /* these come first, in one launch */
	uint32_t divided_tiles, whole_tiles; /* of their largest unit */
	uint32_t tiles_per_warp;	     /* of those that are divided */
};

/* Units that a step of @rows in @seqs sequences has at most. */
uint32_t plan_max_units(uint32_t group, uint32_t rows, uint32_t seqs);

/*
 * Fill @work, [plan_max_units()][2] pairs of a sequence and its first row of
 * those that attention.cuh counts, for the rows of @step.
 */
void plan_step(const struct plan_limits *limits, const struct step *step,
	       int32_t *work, struct plan *ret);

/* The @i-th launch into *ret; 0: there is none. */
int plan_launch(const struct plan *plan, uint32_t i, struct plan_launch *ret);

#endif
