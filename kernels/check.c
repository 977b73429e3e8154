/* SPDX-License-Identifier: MIT */
#include "kernels/check.h"

#include "base/err.h"

#include <errno.h>

/* @use: what becomes of it. */
static int check_weight(const struct weight *w, enum weight_use use,
			const char *name, uint32_t rows, uint32_t cols,
			struct err *err)
{
	if (!w->data)
		return err_set(err, -EINVAL, "%s: missing", name);
	if ((unsigned int)w->type >= NR_WEIGHT_TYPES)
		return err_set(err, -EINVAL, "%s: weight type %d is unknown",
			       name, (int)w->type);
	if (w->rows != rows || w->cols != cols)
		return err_set(err, -EINVAL,
			       "%s: [%u, %u], the model's sizes say [%u, %u]",
			       name, w->rows, w->cols, rows, cols);
	if (cols % weight_formats[w->type].block)
		return err_set(
			err, -EINVAL,
			"%s: %s packs %u numbers, %u columns do not divide",
			name, weight_formats[w->type].name,
			weight_formats[w->type].block, cols);
	if ((w->type == WEIGHT_INT8 ||
	     (use == WEIGHTS_INT8 && w->type <= WEIGHT_BF16)) &&
	    cols > OPS_INT8_COLS)
		return err_set(err, -EINVAL,
			       "%s: INT8 adds up %u columns at most, found %u",
			       name, OPS_INT8_COLS, cols);
	if (w->row_stride < weight_row_bytes(w->type, cols))
		return err_set(err, -EINVAL, "%s: rows of %zu bytes are short",
			       name, w->row_stride);
	return 0;
}

int check_ends(const struct ops_shape *s, const struct ops_ends *ends,
	       struct err *err)
{
	int ret = check_weight(&ends->embed, WEIGHTS_AS_IS, "embed", s->vocab,
			       s->dim, err);

	if (!ret)
		ret = check_weight(&ends->head, WEIGHTS_AS_IS, "head", s->vocab,
				   s->dim, err);
	if (!ret && !ends->norm)
		ret = err_set(err, -EINVAL, "norm: missing");
	return ret;
}

int check_layer(const struct ops_shape *s, uint32_t layer,
		const struct ops_layer *w, struct err *err)
{
	uint32_t wide = s->nr_heads * s->head_dim;
	uint32_t narrow = s->nr_kv_heads * s->head_dim;
	const struct {
		const struct weight *w;
		const char *name;
		uint32_t rows, cols;
	} matrix[] = {
		{ &w->q, "q", wide, s->dim },
		{ &w->k, "k", narrow, s->dim },
		{ &w->v, "v", narrow, s->dim },
		{ &w->o, "o", s->dim, wide },
		{ &w->gate, "gate", s->ffn, s->dim },
		{ &w->up, "up", s->ffn, s->dim },
		{ &w->down, "down", s->dim, s->ffn },
	};
	int ret;

	if (layer >= s->nr_layers)
		return err_set(err, -EINVAL, "layer %u of %u", layer,
			       s->nr_layers);
	for (size_t i = 0; i < sizeof(matrix) / sizeof(matrix[0]); i++) {
		ret = check_weight(matrix[i].w, s->weights, matrix[i].name,
				   matrix[i].rows, matrix[i].cols, err);
		if (ret)
			return ret;
	}
	if (!w->attn_norm || !w->mlp_norm || (s->rotary_dim && !w->rope))
		return err_set(err, -EINVAL,
			       "layer %u: a norm or the rope table is missing",
			       layer);
	return 0;
}
