/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/place.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- forms ---- */

static enum cuda_form form_of(const struct weight *w, enum weight_use use)
{
	enum cuda_form form;

	if (w->type == WEIGHT_FP8 && w->simple)
		return CUDA_W_FP8;
	if (w->type == WEIGHT_INT4 && w->simple)
		return CUDA_W_INT4;
	if (w->type <= WEIGHT_BF16)
		switch (use) {
		case WEIGHTS_INT8:
			return CUDA_W_ROWS8;
		case WEIGHTS_FP8:
			return CUDA_W_FP8;
		case WEIGHTS_INT4:
			if (w->cols % LAYOUT_GROUP == 0)
				return CUDA_W_INT4;
			break;
		case WEIGHTS_AS_IS:
			break;
		}
	return pack_form(w->type, &form) ? CUDA_W_BF16 : form;
}

/* Whether the input is made into codes, and of which kind. */
static int codes_of(enum cuda_form form, enum cuda_codes *ret)
{
	switch (form) {
	case CUDA_W_ROWS8:
		*ret = CUDA_ROWS;
		return 1;
	case CUDA_W_RUNS8_WIDE:
		*ret = CUDA_RUNS_WIDE;
		return 1;
	case CUDA_W_RUNS8:
	case CUDA_W_RUNS8_MIN:
	case CUDA_W_RUNS8_16:
	case CUDA_W_RUNS4:
	case CUDA_W_RUNS4_MIN:
		*ret = CUDA_RUNS;
		return 1;
	case CUDA_W_BF16:
	case CUDA_W_INT8:
	case CUDA_W_FP8:
	case CUDA_W_FP8_GROUPS:
	case CUDA_W_INT4:
	case CUDA_W_INT4_ZEROS:
	case CUDA_W_F16:
		break;
	}
	return 0;
}

/* Halves that are interleaved are of one form, or both BF16. */
static enum cuda_form part_form(const struct linear_part *parts, int nr, int i,
				enum weight_use use)
{
	enum cuda_form form = form_of(parts[i].w, use);

	for (int k = 0; k < nr && parts[i].order == PACK_GATE; k++)
		if (form_of(parts[k].w, use) != form)
			return CUDA_W_BF16;
	for (int k = 0; k < nr && parts[i].order == PACK_UP; k++)
		if (form_of(parts[k].w, use) != form)
			return CUDA_W_BF16;
	return form;
}

static enum cuda_number input_of(const struct linear_part *parts, int nr,
				 enum weight_use use)
{
	enum cuda_number number = CUDA_F32;

	for (int i = 0; i < nr; i++) {
		enum cuda_form form = part_form(parts, nr, i, use);
		enum cuda_codes kind;

		if (form == CUDA_W_F16)
			number = CUDA_F16;
		else if (!codes_of(form, &kind))
			return CUDA_BF16;
	}
	return number;
}

void linear_plan(const struct linear_part *parts, int nr, enum weight_use use,
		 struct linear *ret)
{
	struct linear l = { .input = input_of(parts, nr, use) };

	assert(nr <= LINEAR_PARTS);
	for (int i = 0; i < nr; i++) {
		enum cuda_form form = part_form(parts, nr, i, use);
		struct matrix *m;

		/* one input: beside BF16 others of 16 bits are that too */
		if (form == CUDA_W_F16 && l.input == CUDA_BF16)
			form = CUDA_W_BF16;
		if (!l.nr || l.m[l.nr - 1].form != form)
			l.m[l.nr++] = (struct matrix){
				.form = form,
				.k = (int)parts[i].w->cols,
				.first = l.n,
			};
		m = &l.m[l.nr - 1];
		l.part[i] = (struct linear_place){ l.nr - 1, m->n };
		m->n += (int)parts[i].w->rows;
		m->has_bias |= !!parts[i].bias;
		l.n += (int)parts[i].w->rows;
	}
	*ret = l;
}

void linear_place(struct place *p, struct linear *l)
{
	for (int i = 0; i < l->nr; i++) {
		struct matrix *m = &l->m[i];
		size_t scales = pack_scales(m->form, m->n, m->k);

		m->w = place_take(p, pack_bytes(m->form, m->n, m->k));
		m->scale = scales ? place_take(p, scales * sizeof(*m->scale))
				  : NULL;
		m->bias =
			m->has_bias
				? place_take(p, (size_t)m->n * sizeof(*m->bias))
				: NULL;
	}
}

/* ---- to the device ---- */

/* Where part @i goes in its matrix. */
static struct pack_place place_of(const struct ops_ctx *ctx,
				  const struct linear *l,
				  const struct linear_part *part, int i)
{
	int interleaved = part->order == PACK_GATE || part->order == PACK_UP;

	return (struct pack_place){
		.order = part->order,
		.first = interleaved ? 0 : l->part[i].first,
		.head_dim = (int)ctx->shape.head_dim,
		.rotary_dim = (int)ctx->shape.rotary_dim,
	};
}

static int send_bias(struct ops_ctx *ctx, const struct linear *l, int at,
		     const struct linear_part *parts, int nr)
{
	const struct matrix *m = &l->m[at];
	float *all;
	int ret;

	if (!m->bias)
		return 0;
	all = calloc((size_t)m->n, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (int i = 0; i < nr; i++) {
		struct pack_place place = place_of(ctx, l, &parts[i], i);

		if (l->part[i].matrix == at && parts[i].bias)
			pack_vector(parts[i].bias, (int)parts[i].w->rows,
				    &place, all);
	}
	ret = upload_bytes(&ctx->upload, m->bias, all,
			   (size_t)m->n * sizeof(*all));
	free(all);
	return ret;
}

static int send_matrix(struct ops_ctx *ctx, const struct linear *l, int at,
		       const struct linear_part *parts, int nr)
{
	const struct matrix *m = &l->m[at];
	struct upload_part mine[LINEAR_PARTS];
	struct pack shape = { .form = m->form, .rows = m->n, .cols = m->k };
	int nr_mine = 0, ret;
	size_t scales = pack_scales(m->form, m->n, m->k);

	for (int i = 0; i < nr; i++)
		if (l->part[i].matrix == at)
			mine[nr_mine++] = (struct upload_part){
				parts[i].w, place_of(ctx, l, &parts[i], i)
			};
	if (scales) {
		shape.scale = calloc(scales, sizeof(*shape.scale));
		if (!shape.scale)
			return -ENOMEM;
	}
	ret = upload_packed(&ctx->upload, &shape, mine, nr_mine, m->w);
	if (!ret && scales)
		ret = upload_bytes(&ctx->upload, m->scale, shape.scale,
				   scales * sizeof(*shape.scale));
	free(shape.scale);
	return ret;
}

int linear_send(struct ops_ctx *ctx, const struct linear *l,
		const struct linear_part *parts, int nr)
{
	int ret = 0;

	for (int i = 0; i < l->nr && !ret; i++) {
		ret = send_matrix(ctx, l, i, parts, nr);
		if (!ret)
			ret = send_bias(ctx, l, i, parts, nr);
	}
	return ret;
}

/* ---- a product ---- */

static int quantize(struct ops_ctx *ctx, const struct linear *l,
		    const struct linear_run *run, enum cuda_codes kind)
{
	return device_started(&ctx->device,
			      cuda_quantize(
				      &(struct cuda_quantize_args){
					      .x = run->x,
					      .codes = ctx->buf.codes,
					      .rows = (int)run->x_rows,
					      .k = l->m[0].k,
					      .kind = kind,
					      .number = l->input,
				      },
				      ctx->device.stream));
}

static int multiply(struct ops_ctx *ctx, const struct linear *l,
		    const struct matrix *m, const struct linear_run *run,
		    const void *x)
{
	size_t size = run->number == CUDA_F32 ? 4 : 2;
	int n = run->end == CUDA_SWIGLU ? l->n / 2 : l->n;

	return device_started(
		&ctx->device,
		cuda_gemm(
			&(struct cuda_gemm_args){
				.w = m->w,
				.scale = m->scale,
				.x = x,
				.y = (char *)run->y + (size_t)m->first * size,
				.n = m->n,
				.k = m->k,
				.tokens = (int)run->rows,
				.form = m->form,
				.out = run->number,
				.end = run->end,
				.bias = m->bias,
				.x_row = run->x_row,
				.ldy = n,
				.many = ctx->agreed.many,
			},
			ctx->device.stream));
}

int linear_run(struct ops_ctx *ctx, const struct linear *l,
	       const struct linear_run *run)
{
	int last = -1, ret;

	for (int i = 0; i < l->nr; i++) {
		enum cuda_codes kind;
		int coded = codes_of(l->m[i].form, &kind);

		/* the codes of the matrix before may do */
		if (coded && (int)kind != last) {
			ret = quantize(ctx, l, run, kind);
			if (ret)
				return ret;
			last = (int)kind;
		}
		ret = multiply(ctx, l, &l->m[i], run,
			       coded ? ctx->buf.codes : run->x);
		if (ret)
			return ret;
	}
	return 0;
}
