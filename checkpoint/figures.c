/* SPDX-License-Identifier: MIT */
#include "checkpoint/figures.h"
#include "checkpoint/arch.h"
#include "checkpoint/tensors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

uint64_t figures_parameters(const struct arch *a)
{
	uint64_t dim = a->dim, ffn = a->ffn;
	uint64_t q = (uint64_t)a->nr_heads * a->head_dim;
	uint64_t kv = (uint64_t)a->nr_kv_heads * a->head_dim;
	uint64_t layer = 2 * dim + (2 * q + 2 * kv) * dim + 3 * ffn * dim;

	if (a->qkv_bias)
		layer += q + 2 * kv;
	if (a->out_bias)
		layer += dim;
	if (a->mlp_bias)
		layer += 2 * ffn + dim;
	if (a->qk_norm)
		layer += 2ull * a->head_dim;
	return a->nr_layers * layer + dim + (a->tied ? 1 : 2) * a->vocab * dim;
}

uint64_t figures_kv_numbers(const struct arch *a)
{
	return 2ull * a->nr_layers * a->nr_kv_heads * a->head_dim;
}

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && !strcmp(name + n - m, end);
}

uint64_t figures_served(const struct arch *a, const struct tensors *t)
{
	uint64_t sum = 0;

	if (a->quant.form == QUANT_NONE)
		return t->size;
	/*
	 * blocks of 128 numbers: FP8 of 132 bytes, INT4 of 72; rows of INT8: a
	 * scale and a byte a number (formats.h)
	 */
	for (uint32_t i = 0; i < t->nr; i++) {
		const struct tensor *x = &t->v[i];

		if (!strcmp(x->type, "F8_E4M3"))
			sum += x->size / 128 * 132;
		else if (!strcmp(x->type, "I8") && x->nr_dims == 2)
			sum += x->size + 4 * x->shape[0];
		else if (ends_with(x->name, ".qweight") ||
			 ends_with(x->name, ".weight_packed"))
			sum += x->size / 64 * 72;
		else if (ends_with(x->name, ".weight") ||
			 ends_with(x->name, ".bias"))
			sum += x->size;
	}
	return sum;
}

static int by_bytes(const void *a, const void *b)
{
	const struct figures_type *s = a, *t = b;

	if (s->bytes != t->bytes)
		return s->bytes > t->bytes ? -1 : 1;
	return strcmp(s->type, t->type);
}

uint32_t figures_types(const struct tensors *t,
		       struct figures_type ret[FIGURES_MAX_TYPES])
{
	uint32_t n = 0, k;

	for (uint32_t i = 0; i < t->nr; i++) {
		const struct tensor *x = &t->v[i];
		uint64_t numbers = 1;

		for (k = 0; k < x->nr_dims; k++)
			numbers *= x->shape[k];
		for (k = 0; k < n && strcmp(ret[k].type, x->type); k++)
			;
		if (k == n && n < FIGURES_MAX_TYPES)
			ret[n++] = (struct figures_type){ .type = x->type };
		if (k == n)
			continue;
		ret[k].tensors++;
		ret[k].numbers += numbers;
		ret[k].bytes += x->size;
	}
	qsort(ret, n, sizeof(*ret), by_bytes);
	return n;
}
