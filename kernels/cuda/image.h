/* SPDX-License-Identifier: MIT */
/*
 * image.h - a step as kernels read it: all its arrays in one run of pinned
 * memory, and that copied to the device at once.
 *
 * Where an array lies there follows from the room that the step is given (but
 * for out_row), where it has no more sequences than that: such steps are read
 * through the same arguments of the same kernels.  Rows past the step's are
 * token 0 at position 0, written to no block; attention has no work for them.
 */
#ifndef KERNELS_CUDA_IMAGE_H
#define KERNELS_CUDA_IMAGE_H

#include "kernels/cuda/plan.h"

#include <stddef.h>

struct cuda_attention_plan;
struct cuda_attention_work;
struct device;
struct err;
struct ops_limits;
struct step;

struct image {
	struct {
		uint32_t *data; /* pinned, the device's; [max_words] */
		void *copied;	/* an event, the device's */
		int in_flight;	/* perhaps */
	} host[2];		/* in turn */
	int next;
	uint32_t *dev; /* the device's; [max_words] */
	size_t max_words;
	uint32_t max_seqs;
	struct plan_limits limits;
	uint32_t rows; /* room of the step at hand */
	/*
	 * Pieces of @work: of a step that may be recorded as many as there is
	 * room for, the rest empty; of @many, which no such step has, and of
	 * what is then left as many as there are
	 */
	uint32_t nr_work, nr_many;
	/* where its arrays are on the device (struct step) */
	const struct cuda_attention_plan *plan;
	const struct cuda_attention_work *work, *many;
	const uint32_t *token, *position, *slot; /* [rows] */
	const uint32_t *query_start, *context_len;
	const uint32_t *block_table, *out_row;
};

/* 32-bit words that a step takes at most. */
size_t image_words(const struct plan_limits *plan,
		   const struct ops_limits *limits);

/* 0, or -ENOMEM or -EIO and @err. */
int image_open(struct image *m, struct device *d,
	       const struct plan_limits *plan, const struct ops_limits *limits,
	       struct err *err);

/*
 * Write @step down, with room for @rows (at least its own, at most max_rows) and
 * as many sequences, or its own, and start its copy.  0 or -EIO
 */
int image_send(struct image *m, struct device *d, const struct step *step,
	       uint32_t rows);

/* Which of the two was sent last. */
int image_last(const struct image *m);
/* Somebody has waited for something after the copy of that one. */
void image_landed(struct image *m, int which);

#endif
