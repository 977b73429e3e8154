/* SPDX-License-Identifier: MIT */
/*
 * quantized.h - a matrix that a checkpoint keeps as checkpoint/quant.h says:
 * its tensors, found and checked, repacked into rows that kernels know.
 */
#ifndef MODEL_QUANTIZED_H
#define MODEL_QUANTIZED_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct pool;
struct quant;
struct tensors;
struct weight;

/* Whether matrix @name ("X.weight") is kept so, by the tensors there are. */
bool quantized_is(const struct quant *q, const struct tensors *t,
		  const char *name);

/*
 * It, [rows, cols], into *ret; ret->data is the caller's to free().  @used:
 * [t->nr], set for its tensors; @pool: who repacks.  0, or a negative errno and
 * @err.
 */
int quantized_matrix(const struct quant *q, const struct tensors *t,
		     const char *name, uint32_t rows, uint32_t cols,
		     uint8_t *used, struct pool *pool, struct weight *ret,
		     struct err *err);

/*
 * Plain matrix *w, called @name, rounded into rows of INT8 (formats.h): then its
 * data is the caller's to free().  0; or -EINVAL for a number that is not
 * finite, or -ENOMEM, and @err, and *w is as it was.
 */
int quantized_round(const struct tensors *t, const char *name,
		    struct pool *pool, struct weight *w, struct err *err);

/* Whether a tensor is of those that say how to round inputs, keys or values. */
bool quantized_ignores(const char *name);

#endif
