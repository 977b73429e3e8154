/* SPDX-License-Identifier: MIT */
/*
 * weights.h - a model's tensors by name, over one safetensors file or many.
 *
 * A directory holds model.safetensors, or model.safetensors.index.json whose
 * weight_map says which of its files (beside it: no path is followed) holds
 * which tensor.  Files are mapped and never copied; WILLNEED asks the kernel
 * to read ahead.  What a model needs is asked for by name with its shape, and
 * a tensor that is missing or of another shape or type is one line.
 */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include <stdint.h>

#include "checkpoint/safetensors.h"

struct err;
struct weight;

#define WEIGHTS_MAX_FILES 1024u

struct weights {
	char *dir; /* owned: for messages */
	uint32_t nr_files;
	struct safetensors *files; /* owned, by name */
	uint32_t nr_tensors;
	struct safetensor *tensors; /* owned array, by name; data in files */
	uint8_t *used;		    /* owned: [nr_tensors] asked for */
	uint64_t size;		    /* bytes of data in all files */
};

/* Open the weights in directory @dir.  0, or a negative errno and @err. */
int weights_open(struct weights *w, const char *dir, struct err *err);
/* Undo it; harmless on an empty one.  Nothing handed out outlives this. */
void weights_close(struct weights *w);

/* The tensor @name, or NULL.  Does not count as used. */
const struct safetensor *weights_find(const struct weights *w,
				      const char *name);

/*
 * The matrix @name, [rows, cols], F32, F16 or BF16, into *ret (borrowed
 * memory of the map).  -ENOENT or -EINVAL and @err.
 */
int weights_matrix(struct weights *w, const char *name, uint32_t rows,
		   uint32_t cols, struct weight *ret, struct err *err);

/* The vector @name, [len], widened to F32 into @ret (the caller's). */
int weights_vector(struct weights *w, const char *name, uint32_t len,
		   float *ret, struct err *err);

/*
 * A tensor nobody asked for (the first by name) and how many there are; NULL
 * and 0 if every one was used.  rotary_emb.inv_freq, which old checkpoints
 * carry and everyone computes, does not count.
 */
const char *weights_unused(const struct weights *w, uint32_t *ret_count);

#endif
