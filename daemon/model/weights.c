/* SPDX-License-Identifier: MIT */
#include "daemon/model/weights.h"
#include "base/err.h"
#include "checkpoint/names.h"
#include "checkpoint/quant.h"
#include "checkpoint/tensors.h"
#include "daemon/model/quantized.h"
#include "kernels/formats.h"
#include "kernels/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int weights_init(struct weights *w, const struct tensors *tensors,
		 const struct quant *quant, struct err *err)
{
	w->tensors = tensors;
	w->quant = quant;
	w->nr_made = 0;
	w->pool = NULL;
	w->threads = 0;
	w->int8 = false;
	w->used = calloc(tensors->nr + 1, 1);
	w->made = calloc(tensors->nr + 1, sizeof(*w->made));
	if (!w->used || !w->made) {
		weights_deinit(w);
		return err_set(err, -ENOMEM, "%s: no memory", tensors->path);
	}
	return 0;
}

void weights_bound(struct weights *w)
{
	pool_close(w->pool);
	w->pool = NULL;
}

void weights_done(struct weights *w)
{
	for (uint32_t i = 0; i < w->nr_made; i++)
		free(w->made[i]);
	w->nr_made = 0;
}

void weights_deinit(struct weights *w)
{
	weights_bound(w);
	weights_done(w);
	free(w->made);
	free(w->used);
	memset(w, 0, sizeof(*w));
}

/* "F32, F16, BF16": every type that a file has, for messages. */
static const char *types_text(char *buf, size_t size)
{
	size_t n = 0;

	for (int i = 0; i < NR_WEIGHT_TYPES && n < size; i++)
		if (weight_in_gguf((enum weight_type)i))
			n += (size_t)snprintf(buf + n, size - n, "%s%s",
					      i ? ", " : "",
					      weight_formats[i].name);
	return buf;
}

/* @name as the file calls it, for messages. */
static const char *file_name(const struct weights *w, const char *name,
			     char buf[NAMES_MAX])
{
	if (!w->tensors->gguf)
		return name;
	names_to_gguf(name, buf);
	return buf;
}

/*
 * The tensor @name, of one of the types kernels know, with @nr_dims lengths
 * as in @shape.
 */
static int take(struct weights *w, const char *name, uint32_t nr_dims,
		const uint64_t *shape, enum weight_type *ret_type,
		const struct tensor **ret, struct err *err)
{
	const char *where = w->tensors->path;
	const struct tensor *t = tensors_find(w->tensors, name);
	struct tensor want = { .nr_dims = nr_dims };
	char found[64], needed[64], types[160], buf[NAMES_MAX];
	int type;

	if (!t)
		return err_set(err, -ENOENT,
			       "%s: tensor %s is missing from the weights",
			       where, file_name(w, name, buf));
	for (type = 0; type < NR_WEIGHT_TYPES; type++)
		if (weight_in_gguf((enum weight_type)type) &&
		    !strcmp(t->type, weight_formats[type].name))
			break;
	if (type == NR_WEIGHT_TYPES)
		return err_set(err, -EINVAL, "%s: tensor %s is %s, allowed %s",
			       where, file_name(w, name, buf), t->type,
			       types_text(types, sizeof(types)));
	memcpy(want.shape, shape, nr_dims * sizeof(*shape));
	if (t->nr_dims != nr_dims ||
	    memcmp(t->shape, shape, nr_dims * sizeof(*shape)))
		return err_set(
			err, -EINVAL, "%s: tensor %s is %s, %s needs %s", where,
			file_name(w, name, buf), tensors_shape(t, found),
			w->tensors->gguf ? "the metadata" : "config.json",
			tensors_shape(&want, needed));
	w->used[t - w->tensors->v] = 1;
	*ret_type = (enum weight_type)type;
	*ret = t;
	return 0;
}

static int open_pool(struct weights *w, struct err *err)
{
	return w->pool ? 0 : pool_open(w->threads, &w->pool, err);
}

int weights_matrix(struct weights *w, const char *name, uint32_t rows,
		   uint32_t cols, struct weight *ret, struct err *err)
{
	const struct tensor *t;
	enum weight_type type;
	int r;

	if (quantized_is(w->quant, w->tensors, name)) {
		r = open_pool(w, err);
		if (!r)
			r = quantized_matrix(w->quant, w->tensors, name, rows,
					     cols, w->used, w->pool, ret, err);
		if (!r)
			w->made[w->nr_made++] = (void *)(uintptr_t)ret->data;
		return r;
	}
	r = take(w, name, 2, (uint64_t[]){ rows, cols }, &type, &t, err);
	if (r)
		return r;
	*ret = (struct weight){
		.type = type,
		.rows = rows,
		.cols = cols,
		.row_stride = weight_row_bytes(type, cols),
		.data = t->data,
	};
	return 0;
}

int weights_layer_matrix(struct weights *w, const char *name, uint32_t rows,
			 uint32_t cols, struct weight *ret, struct err *err)
{
	int r = weights_matrix(w, name, rows, cols, ret, err);

	if (r || !w->int8 || ret->type > WEIGHT_BF16)
		return r;
	if ((r = open_pool(w, err)) ||
	    (r = quantized_round(w->tensors, name, w->pool, ret, err)))
		return r;
	w->made[w->nr_made++] = (void *)(uintptr_t)ret->data;
	tensors_done(tensors_find(w->tensors, name));
	return 0;
}

int weights_vector(struct weights *w, const char *name, uint32_t len,
		   float *ret, struct err *err)
{
	const struct tensor *t;
	enum weight_type type;
	int r = take(w, name, 1, (uint64_t[]){ len }, &type, &t, err);

	if (!r)
		weight_formats[type].unpack(t->data, ret, len);
	return r;
}

const char *weights_unused(const struct weights *w, uint32_t *ret_count)
{
	const char *first = NULL;

	*ret_count = 0;
	for (uint32_t i = 0; i < w->tensors->nr; i++) {
		const char *name = w->tensors->v[i].name;

		if (w->used[i] || strstr(name, "rotary_emb.inv_freq") ||
		    !strcmp(name, "rope_freqs.weight") ||
		    quantized_ignores(name))
			continue;
		if (!first)
			first = name;
		++*ret_count;
	}
	return first;
}
