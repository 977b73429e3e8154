/* SPDX-License-Identifier: MIT */
/* figures.h - how large a model is, by arithmetic over what it says. */
#ifndef CHECKPOINT_FIGURES_H
#define CHECKPOINT_FIGURES_H

#include <stdint.h>

struct arch;
struct tensors;

/* Numbers in all tensors that a model of that configuration has. */
uint64_t figures_parameters(const struct arch *a);

/*
 * Numbers of KV a token: 2 x layers x KV heads x head size (a key and a value
 * in each head of each layer).  Times the bytes of a number: bytes a token.
 */
uint64_t figures_kv_numbers(const struct arch *a);

/*
 * Bytes of all matrices as they are served: of quantized ones (quant.h) in the
 * rows that they are repacked into, of all others as in the files.
 */
uint64_t figures_served(const struct arch *a, const struct tensors *t);

#define FIGURES_MAX_TYPES 48u

struct figures_type {
	const char *type; /* static: "F16" */
	uint32_t tensors;
	uint64_t numbers, bytes;
};

/* What types @t's tensors have, the largest share first; how many there are. */
uint32_t figures_types(const struct tensors *t,
		       struct figures_type ret[FIGURES_MAX_TYPES]);

#endif
