/* SPDX-License-Identifier: MIT */
/*
 * image.h - a step as kernels read it: all its arrays in one run of pinned
 * memory, and that copied to the device at once.
 */
#ifndef KERNELS_CUDA_IMAGE_H
#define KERNELS_CUDA_IMAGE_H

#include "kernels/cuda/plan.h"

#include <stddef.h>

struct device;
struct err;
struct ops_limits;
struct step;

struct image {
	uint32_t *host, *dev; /* the device's; [max_words] */
	size_t max_words;
	struct plan_limits limits;
	struct plan plan;
	/* where this step's arrays are on the device (struct step) */
	const uint32_t *token, *position, *slot, *out_row;
	const uint32_t *query_start,
		*context_len;	     /* [nr_seqs + 1], [nr_seqs] */
	const uint32_t *block_table; /* [nr_seqs][table_stride] */
	const uint32_t *work;	     /* [plan.nr_units][2] */
	uint32_t table_stride;	     /* blocks of this step's longest context */
};

/* 32-bit words that a step takes at most. */
size_t image_words(const struct plan_limits *plan,
		   const struct ops_limits *limits);

/* 0, or -ENOMEM and @err. */
int image_open(struct image *m, struct device *d,
	       const struct plan_limits *plan, const struct ops_limits *limits,
	       struct err *err);

/*
 * Write @step down and start its copy; the one before must have landed.  0 or
 * -EIO
 */
int image_send(struct image *m, struct device *d, const struct step *step);

#endif
