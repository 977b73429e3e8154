/* SPDX-License-Identifier: MIT */
/*
 * gpusize.h - what of a GPU's memory is left for KV: pure arithmetic over what
 * it has, what was asked for and what the model takes.
 */
#ifndef MODEL_GPUSIZE_H
#define MODEL_GPUSIZE_H

#include <stdint.h>

struct err;

/* Of the whole memory where nothing was asked for; the rest is the driver's. */
#define GPUSIZE_SHARE 900u

struct gpusize_ask {
	const char *where;  /* borrowed: the model, for messages */
	const char *device; /* borrowed: its name */
	uint32_t number;
	uint64_t total, available; /* bytes: it has; free now */
	uint64_t bytes;	  /* asked for, of which all must be free; 0 = not */
	uint32_t share;	  /* asked for as thousandths of the total; 0 = not */
	uint64_t weights; /* bytes that the model takes there */
	uint64_t buffers; /* and what a step needs */
};

/*
 * Bytes for KV: what was asked for (GPUSIZE_SHARE where nothing was, but no
 * more than is free), less weights and buffers.  -ENOMEM and all figures in a
 * line where less is free than was asked for, or nothing is left.
 */
int gpusize_plan(const struct gpusize_ask *ask, uint64_t *ret_kv,
		 struct err *err);

#endif
