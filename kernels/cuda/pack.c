/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/pack.h"

#include "kernels/cuda/layout.h"
#include "kernels/formats.h"
#include "kernels/half.h"
#include "kernels/ops.h"
#include "kernels/split.h"

#include <errno.h>
#include <math.h>

static const struct form {
	int bits, run; /* run: columns of a scale among the codes */
	int min;
} forms[] = {
	[CUDA_W_BF16] = { 16, 0, 0 },	    [CUDA_W_INT8] = { 8, 0, 0 },
	[CUDA_W_FP8] = { 8, 0, 0 },	    [CUDA_W_INT4] = { 4, 0, 0 },
	[CUDA_W_ROWS8] = { 8, 0, 0 },	    [CUDA_W_RUNS8] = { 8, 32, 0 },
	[CUDA_W_RUNS8_MIN] = { 8, 32, 1 },  [CUDA_W_RUNS8_16] = { 8, 16, 0 },
	[CUDA_W_RUNS8_WIDE] = { 8, 32, 0 }, [CUDA_W_RUNS4] = { 4, 32, 0 },
	[CUDA_W_RUNS4_MIN] = { 4, 32, 1 },  [CUDA_W_F16] = { 16, 0, 0 },
};

/* Columns are made up to a stage; int4's to a group of two. */
static int whole_cols(enum cuda_form form, int cols)
{
	return layout_cols(form == CUDA_W_INT4 ? 4 : 8, cols);
}

/* Bytes of 16 rows and 64 columns. */
static int stage_bytes(enum cuda_form form)
{
	const struct form *f = &forms[form];

	return layout_codes_stage(f->bits, f->run, f->min);
}

size_t pack_bytes(enum cuda_form form, int rows, int cols)
{
	return (size_t)(layout_rows(rows) / LAYOUT_ROWS) *
	       (whole_cols(form, cols) / LAYOUT_STAGE) * stage_bytes(form);
}

size_t pack_scales(enum cuda_form form, int rows, int cols)
{
	int groups = whole_cols(form, cols) / LAYOUT_GROUP;

	if (forms[form].bits == 16 || forms[form].run)
		return 0;
	return (size_t)layout_rows(rows) * (form == CUDA_W_INT4 ? groups : 1);
}

int pack_form(enum weight_type type, enum cuda_form *ret)
{
	switch (type) {
	case WEIGHT_F16:
		*ret = CUDA_W_F16;
		return 0;
	case WEIGHT_F32:
	case WEIGHT_BF16:
		*ret = CUDA_W_BF16;
		return 0;
	case WEIGHT_Q8_0:
	case WEIGHT_IQ4_NL:
		*ret = CUDA_W_RUNS8_WIDE;
		return 0;
	case WEIGHT_Q4_0:
		*ret = CUDA_W_RUNS4;
		return 0;
	case WEIGHT_Q4_1:
	case WEIGHT_Q4_K:
		*ret = CUDA_W_RUNS4_MIN;
		return 0;
	case WEIGHT_Q5_1:
	case WEIGHT_Q5_K:
		*ret = CUDA_W_RUNS8_MIN;
		return 0;
	case WEIGHT_Q5_0:
	case WEIGHT_MXFP4:
		*ret = CUDA_W_RUNS8;
		return 0;
	case WEIGHT_Q3_K:
	case WEIGHT_Q6_K:
		*ret = CUDA_W_RUNS8_16;
		return 0;
	default:
		return -ENOTSUP;
	}
}

int pack_row(const struct pack_place *place, int row)
{
	int in_head, head;

	switch (place->order) {
	case PACK_GATE:
	case PACK_UP:
		return layout_gate_up(place->order == PACK_UP, row);
	case PACK_PAIRS:
		in_head = row % place->head_dim;
		head = row - in_head;
		if (in_head < place->rotary_dim)
			in_head = in_head / 2 +
				  in_head % 2 * (place->rotary_dim / 2);
		return place->first + head + in_head;
	case PACK_AS_IS:
		break;
	}
	return place->first + row;
}

/*
 * Row @row of 16 bits: in each 16 columns, columns t, t + 1 and t + 8, t + 9
 * are words of lane row % 8 * 4 + t / 2 (layout_weight, four columns at once).
 */
static void row_16(const struct pack *p, int row, const float *src)
{
	int cols = layout_cols(16, p->cols);
	uint16_t *dst = (uint16_t *)p->w +
			(size_t)(row / LAYOUT_ROWS) * LAYOUT_ROWS * cols +
			row % 8 * 32 + row / 8 % 2 * 2;

	for (int c = 0; c < p->cols; c++) {
		int lane = c % 8 / 2, reg = c / 8 % 2 * 2;

		dst[c / 16 * 256 + lane * 8 + reg * 2 + c % 2] =
			p->form == CUDA_W_F16 ? f32_to_f16(src[c])
					      : f32_to_bf16(src[c]);
	}
}

/* One code of a form of codes. */
static void put_code(const struct pack *p, int row, int col, int code)
{
	int bits = forms[p->form].bits, shift;
	uint8_t *at =
		(uint8_t *)p->w + layout_code(bits, stage_bytes(p->form),
					      whole_cols(p->form, p->cols), row,
					      col, &shift);

	if (bits == 8)
		*at = (uint8_t)code;
	else
		*at = (uint8_t)((*at & ~(15 << shift)) | (code & 15) << shift);
}

/* Scale, or (@min) minimum, of the run that begins at @col. */
static void put_scale(const struct pack *p, int row, int col, int min, float v)
{
	const struct form *f = &forms[p->form];
	int runs = LAYOUT_STAGE / f->run;
	size_t stage = (size_t)(row / LAYOUT_ROWS) *
			       (whole_cols(p->form, p->cols) / LAYOUT_STAGE) +
		       (size_t)(col / LAYOUT_STAGE);
	float *at = (float *)((char *)p->w + stage * stage_bytes(p->form) +
			      f->bits * 128);

	at[(min * runs + col % LAYOUT_STAGE / f->run) * LAYOUT_ROWS +
	   row % LAYOUT_ROWS] = v;
}

/* Row @row of CUDA_W_ROWS8: as P1, with one scale. */
static void row_codes(const struct pack *p, int row, const float *src)
{
	float top = 0, inverse;

	for (int c = 0; c < p->cols; c++)
		top = fabsf(src[c]) > top ? fabsf(src[c]) : top;
	inverse = top < OPS_PACKED_LEAST ? 0 : 127.0f / top;
	p->scale[row] = inverse > 0 ? top / 127.0f : 0;
	for (int c = 0; c < p->cols; c++)
		put_code(p, row, c, (int)rintf(src[c] * inverse));
}

/* Row @row of RUNS from the blocks at @src. */
static void row_blocks(const struct pack *p, int row,
		       const struct weight_format *f, const char *src)
{
	struct packed b;

	for (uint32_t c = 0; c < (uint32_t)p->cols;
	     c += f->block, src += f->block_bytes) {
		f->split(src, &b);
		for (uint32_t i = 0; i < f->block; i++)
			put_code(p, row, (int)(c + i), b.code[i]);
		for (uint32_t i = 0; i < f->block; i += f->run) {
			int at = (int)(c + i);

			put_scale(p, row, at, 0, b.scale[i / f->run]);
			if (f->has_min)
				put_scale(p, row, at, 1, b.min[i / f->run]);
		}
	}
}

/* Whether the form is made from weights of the type. */
static int is_made_from(enum cuda_form form, enum weight_type type)
{
	enum cuda_form own;

	if (forms[form].bits == 16 || form == CUDA_W_ROWS8)
		return 1;
	return forms[form].run && !pack_form(type, &own) && own == form;
}

int pack_weight(const struct pack *p, const struct weight *w,
		const struct pack_place *place, int row, int count,
		float *scratch)
{
	if (!is_made_from(p->form, w->type) || w->cols != (uint32_t)p->cols)
		return -EINVAL;
	for (int r = row; r < row + count; r++) {
		int to = pack_row(place, r) - p->first_row;

		if (forms[p->form].run) {
			row_blocks(p, to, &weight_formats[w->type],
				   (const char *)w->data +
					   (size_t)r * w->row_stride);
			continue;
		}
		weight_row(w, (uint32_t)r, scratch);
		if (forms[p->form].bits == 16)
			row_16(p, to, scratch);
		else
			row_codes(p, to, scratch);
	}
	return 0;
}

void pack_vector(const float *v, int n, const struct pack_place *place,
		 float *dst)
{
	for (int i = 0; i < n; i++)
		dst[pack_row(place, i)] = v[i];
}
