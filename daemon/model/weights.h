/* SPDX-License-Identifier: MIT */
/*
 * weights.h - a model's tensors, handed to the kernels: what a model needs is
 * asked for by name with its shape, and a tensor that is missing or of another
 * shape or type is one line.  Matrices stay in the mapped files as they are;
 * those that the checkpoint keeps as quant.h says are repacked, and where INT8 is
 * wished for, plain ones of layers rounded (quantized.h).
 */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct pool;
struct quant;
struct tensors;
struct weight;

struct weights {
	const struct tensors *tensors; /* borrowed */
	const struct quant *quant;     /* borrowed */
	uint8_t *used;		       /* owned: [tensors->nr] asked for */
	void **made; /* owned: [nr_made] matrices that were repacked */
	uint32_t nr_made;
	/* owned: threads that repack, from the first such matrix on, or NULL */
	struct pool *pool;
	/* wishes, 0 at first: how many (0: the CPUs there are); that plain
	 * matrices of layers are rounded */
	uint32_t threads;
	bool int8;
};

/* 0, or -ENOMEM and @err.  @tensors and @quant must outlive @w. */
int weights_init(struct weights *w, const struct tensors *tensors,
		 const struct quant *quant, struct err *err);
/* Undo it; harmless on an empty one. */
void weights_deinit(struct weights *w);
/* All that is wanted was asked for: threads end. */
void weights_bound(struct weights *w);
/* Nobody reads matrices that were repacked any more: their memory goes. */
void weights_done(struct weights *w);

/*
 * The matrix @name, [rows, cols], of a type that kernels know, into *ret
 * (memory of the map, or of @w).  -ENOENT, -EINVAL or -ENOMEM and @err.  The
 * second is for those of layers, which may be rounded.
 */
int weights_matrix(struct weights *w, const char *name, uint32_t rows,
		   uint32_t cols, struct weight *ret, struct err *err);
int weights_layer_matrix(struct weights *w, const char *name, uint32_t rows,
			 uint32_t cols, struct weight *ret, struct err *err);

/* The vector @name, [len], widened to F32 into @ret (the caller's). */
int weights_vector(struct weights *w, const char *name, uint32_t len,
		   float *ret, struct err *err);

/*
 * A tensor nobody asked for (the first by name) and how many there are; NULL
 * and 0 if every one was used.  What everyone computes does not count:
 * rotary_emb.inv_freq of old checkpoints, rope_freqs of GGUF files (which
 * arch_read_gguf() read); nor what would round inputs, keys and values.
 */
const char *weights_unused(const struct weights *w, uint32_t *ret_count);

#endif
