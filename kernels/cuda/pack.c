/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/pack.h"

#include "kernels/block128.h"
#include "kernels/cuda/layout.h"
#include "kernels/formats.h"
#include "kernels/half.h"
#include "kernels/ops.h"
#include "kernels/split.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const struct form {
	int bits, run; /* run: columns of a scale among the codes */
	int min;
	int as_bf16; /* multiplied as that: lies as layout_weight() says */
	int groups;  /* numbers beside a row for each LAYOUT_GROUP columns */
} forms[] = {
	[CUDA_W_BF16] = { 16, 0, 0, 1, 0 },
	[CUDA_W_F16] = { 16, 0, 0, 1, 0 },
	[CUDA_W_INT8] = { 8, 0, 0, 1, 0 },
	[CUDA_W_FP8] = { 8, 0, 0, 1, 0 },
	[CUDA_W_FP8_GROUPS] = { 8, 0, 0, 1, 1 },
	[CUDA_W_INT4] = { 4, 0, 0, 1, 1 },
	[CUDA_W_INT4_ZEROS] = { 4, 0, 0, 1, 2 },
	[CUDA_W_ROWS8] = { 8, 0, 0, 0, 0 },
	[CUDA_W_RUNS8] = { 8, 32, 0, 0, 0 },
	[CUDA_W_RUNS8_MIN] = { 8, 32, 1, 0, 0 },
	[CUDA_W_RUNS8_16] = { 8, 16, 0, 0, 0 },
	[CUDA_W_RUNS8_WIDE] = { 8, 32, 0, 0, 0 },
	[CUDA_W_RUNS4] = { 4, 32, 0, 0, 0 },
	[CUDA_W_RUNS4_MIN] = { 4, 32, 1, 0, 0 },
};

/* Columns are made up to a stage; int4's to a group of two. */
static int whole_cols(enum cuda_form form, int cols)
{
	const struct form *f = &forms[form];

	return layout_cols(f->as_bf16 ? f->bits : 8, cols);
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
	int groups = whole_cols(form, cols) / LAYOUT_GROUP * forms[form].groups;

	if (forms[form].bits == 16 || forms[form].run)
		return 0;
	return (size_t)layout_rows(rows) * (groups ? groups : 1);
}

/* The numbers of group @group beside row @row: a scale, then (1) a zero. */
static float *group_at(const struct pack *p, int which, int group, int row)
{
	int groups = whole_cols(p->form, p->cols) / LAYOUT_GROUP;

	return p->scale +
	       (size_t)(which * groups + group) * layout_rows(p->rows) + row;
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
	case WEIGHT_FP8:
		*ret = CUDA_W_FP8_GROUPS;
		return 0;
	case WEIGHT_INT4:
		*ret = CUDA_W_INT4_ZEROS;
		return 0;
	case WEIGHT_INT8:
		*ret = CUDA_W_ROWS8;
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
	int cols = whole_cols(p->form, p->cols);
	uint8_t *at = (uint8_t *)p->w;

	if (forms[p->form].as_bf16)
		at += layout_weight(bits, cols, row, col, &shift);
	else
		at += layout_code(bits, stage_bytes(p->form), cols, row, col,
				  &shift);

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

/* Row @row of CUDA_W_ROWS8, rounded as INT8 is. */
static void row_codes(const struct pack *p, int row, const float *src)
{
	float inverse;

	p->scale[row] = int8_scale(src, (size_t)p->cols, &inverse);
	for (int c = 0; c < p->cols; c++)
		put_code(p, row, c, int8_code(src[c], inverse));
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

/* Row @row of e4m3, with a scale: the largest number is 448. */
static void row_fp8(const struct pack *p, int row, const float *src)
{
	float top = 0, inverse;

	for (int c = 0; c < p->cols; c++)
		top = fabsf(src[c]) > top ? fabsf(src[c]) : top;
	inverse = top < OPS_PACKED_LEAST ? 0 : 448 / top;
	p->scale[row] = inverse > 0 ? top / 448 : 0;
	for (int c = 0; c < p->cols; c++)
		put_code(p, row, c, f32_to_e4m3(src[c] * inverse));
}

/* Row @row of FP8 or its GROUPS from blocks of FP8. */
static void row_fp8_blocks(const struct pack *p, int row, const char *src)
{
	uint32_t bytes = weight_formats[WEIGHT_FP8].block_bytes;

	for (int c = 0; c < p->cols; c += BLOCK128, src += bytes) {
		const uint8_t *code;
		float scale;

		code = block128_fp8(src, &scale);
		for (int i = 0; i < (int)BLOCK128; i++)
			put_code(p, row, c + i, code[i]);
		if (p->form == CUDA_W_FP8)
			p->scale[row] = scale;
		else
			*group_at(p, 0, c / LAYOUT_GROUP, row) = scale;
	}
}

/* A block of INT4 from column @col on. */
static void put_int4(const struct pack *p, int row, int col, const void *block)
{
	struct packed b;

	split_int4(block, &b);
	for (int i = 0; i < (int)BLOCK128; i++)
		put_code(p, row, col + i, b.code[i]);
	*group_at(p, 0, col / LAYOUT_GROUP, row) = b.scale[0];
	if (p->form == CUDA_W_INT4_ZEROS)
		*group_at(p, 1, col / LAYOUT_GROUP, row) =
			half_from_bits(layout_zero(block128_zero(block)));
}

/* Row @row of INT4 or its ZEROS: of plain numbers, and of blocks of INT4. */
static void row_int4(const struct pack *p, int row, const float *src)
{
	char block[BLOCK128];

	for (int c = 0; c < p->cols; c += BLOCK128) {
		weight_formats[WEIGHT_INT4].pack(src + c, block, BLOCK128);
		put_int4(p, row, c, block);
	}
}

static void row_int4_blocks(const struct pack *p, int row, const char *src)
{
	uint32_t bytes = weight_formats[WEIGHT_INT4].block_bytes;

	for (int c = 0; c < p->cols; c += BLOCK128, src += bytes)
		put_int4(p, row, c, src);
}

/* Row @row of CUDA_W_ROWS8 from one of INT8. */
static void row_int8(const struct pack *p, int row, const char *src)
{
	const int8_t *code = (const int8_t *)src + INT8_HEAD;

	memcpy(&p->scale[row], src, INT8_HEAD);
	for (int c = 0; c < p->cols; c++)
		put_code(p, row, c, code[c]);
}

/* Whether the form is made from weights of the type. */
static int is_made_from(enum cuda_form form, const struct weight *w)
{
	enum cuda_form own;

	if (forms[form].bits == 16 || form == CUDA_W_ROWS8)
		return 1;
	if (!pack_form(w->type, &own) && own == form)
		return forms[form].run || forms[form].groups;
	switch (form) {
	case CUDA_W_FP8:
		return w->type <= WEIGHT_BF16 ||
		       (w->type == WEIGHT_FP8 && w->simple);
	case CUDA_W_INT4:
		if (w->cols % LAYOUT_GROUP)
			return 0;
		return w->type <= WEIGHT_BF16 ||
		       (w->type == WEIGHT_INT4 && w->simple);
	default:
		return 0;
	}
}

/* Row @row of the form from codes of @w's type, which are in it as they are. */
static void row_as_it_is(const struct pack *p, int row, const struct weight *w,
			 const char *src)
{
	if (w->type == WEIGHT_FP8)
		row_fp8_blocks(p, row, src);
	else if (w->type == WEIGHT_INT4)
		row_int4_blocks(p, row, src);
	else if (w->type == WEIGHT_INT8)
		row_int8(p, row, src);
	else
		row_blocks(p, row, &weight_formats[w->type], src);
}

/* The same from numbers, rounded. */
static void row_rounded(const struct pack *p, int row, const float *src)
{
	if (forms[p->form].bits == 16)
		row_16(p, row, src);
	else if (p->form == CUDA_W_FP8)
		row_fp8(p, row, src);
	else if (p->form == CUDA_W_INT4)
		row_int4(p, row, src);
	else
		row_codes(p, row, src);
}

int pack_weight(const struct pack *p, const struct weight *w,
		const struct pack_place *place, int row, int count,
		float *scratch)
{
	int rounded = w->type <= WEIGHT_BF16 || forms[p->form].bits == 16 ||
		      (p->form == CUDA_W_ROWS8 && w->type != WEIGHT_INT8);

	if (!is_made_from(p->form, w) || w->cols != (uint32_t)p->cols)
		return -EINVAL;
	for (int r = row; r < row + count; r++) {
		int to = pack_row(place, r) - p->first_row;

		if (!rounded) {
			row_as_it_is(p, to, w,
				     (const char *)w->data +
					     (size_t)r * w->row_stride);
			continue;
		}
		weight_row(w, (uint32_t)r, scratch);
		row_rounded(p, to, scratch);
	}
	return 0;
}

void pack_vector(const float *v, int n, const struct pack_place *place,
		 float *dst)
{
	for (int i = 0; i < n; i++)
		dst[pack_row(place, i)] = v[i];
}
