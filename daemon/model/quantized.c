/* SPDX-License-Identifier: MIT */
#include "daemon/model/quantized.h"
#include "base/err.h"
#include "checkpoint/quant.h"
#include "checkpoint/tensors.h"
#include "daemon/model/repack.h"
#include "kernels/formats.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(QUANT_BLOCK == 128, "a block of FP8 and INT4");

#define MAX_NAME  192
#define HUGE_PAGE ((size_t)2 << 20)

/* What is carried along for one matrix. */
struct job {
	const struct quant *q;
	const struct tensors *t;
	int base_len; /* of "X" in name */
	const char *name;
	uint32_t rows, cols;
	uint8_t *used;
	struct pool *pool;
	struct err *err;
};

/* X with @suffix. */
static const char *full_name(const char *name, int base_len, const char *suffix,
			     char buf[MAX_NAME])
{
	snprintf(buf, MAX_NAME, "%.*s%s", base_len, name, suffix);
	return buf;
}

static int base_len(const char *name)
{
	return (int)(strlen(name) - strlen(".weight"));
}

static const struct tensor *look(const struct job *j, const char *suffix)
{
	char buf[MAX_NAME];
	const struct tensor *x = tensors_find(
		j->t, full_name(j->name, j->base_len, suffix, buf));

	if (x)
		j->used[x - j->t->v] = 1;
	return x;
}

/* X with @suffix, of @type and of @nr_dims lengths as in @shape. */
static int need(const struct job *j, const char *suffix, const char *type,
		uint32_t nr_dims, const uint64_t *shape,
		const struct tensor **ret)
{
	const struct tensor *x = look(j, suffix);
	struct tensor want = { .nr_dims = nr_dims };
	char buf[MAX_NAME], found[64], needed[64];

	full_name(j->name, j->base_len, suffix, buf);
	if (!x)
		return err_set(j->err, -ENOENT,
			       "%s: tensor %s is missing from the weights",
			       j->t->path, buf);
	memcpy(want.shape, shape, nr_dims * sizeof(*shape));
	if (strcmp(x->type, type) || x->nr_dims != nr_dims ||
	    memcmp(x->shape, shape, nr_dims * sizeof(*shape)))
		return err_set(j->err, -EINVAL,
			       "%s: tensor %s is %s %s, config.json needs %s "
			       "%s",
			       j->t->path, buf, x->type,
			       tensors_shape(x, found), type,
			       tensors_shape(&want, needed));
	*ret = x;
	return 0;
}

/* Its numbers as F32, all of them finite; the caller frees. */
static int widen(const struct job *j, const struct tensor *x, float **ret)
{
	uint64_t n = 1;
	float *v;
	int type;

	for (type = WEIGHT_F32; type <= WEIGHT_BF16; type++)
		if (!strcmp(x->type, weight_formats[type].name))
			break;
	if (type > WEIGHT_BF16)
		return err_set(j->err, -EINVAL,
			       "%s: tensor %s is %s, allowed F32, F16, BF16",
			       j->t->path, x->name, x->type);
	for (uint32_t i = 0; i < x->nr_dims; i++)
		n *= x->shape[i];
	v = malloc(n * sizeof(*v) + 1);
	if (!v)
		return err_set(j->err, -ENOMEM, "%s: no memory for %s",
			       j->t->path, x->name);
	weight_formats[type].unpack(x->data, v, n);
	for (uint64_t i = 0; i < n; i++)
		if (!isfinite(v[i]) || fabsf(v[i]) > 0x1p100f) {
			err_set(j->err, -EINVAL,
				"%s: tensor %s has %g, allowed are finite "
				"numbers to 2^100",
				j->t->path, x->name, (double)v[i]);
			free(v);
			return -EINVAL;
		}
	*ret = v;
	return 0;
}

/* Memory of the matrix in @type, in huge pages where it is large. */
static int make(const struct job *j, enum weight_type type, struct weight *ret)
{
	size_t row = weight_row_bytes(type, j->cols);
	size_t size = (row * j->rows + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	void *p = row * j->rows < HUGE_PAGE ? malloc(row * j->rows)
					    : aligned_alloc(HUGE_PAGE, size);

	if (!p)
		return err_set(j->err, -ENOMEM, "%s: no memory for %s",
			       j->t->path, j->name);
	if (row * j->rows >= HUGE_PAGE)
		madvise(p, size, MADV_HUGEPAGE);
	*ret = (struct weight){
		.type = type,
		.rows = j->rows,
		.cols = j->cols,
		.row_stride = row,
		.data = p,
	};
	return 0;
}

/* ---- FP8 */

/* How the scales @x lie over the matrix: one for so many rows, so many a row. */
static int read_scales(const struct job *j, const struct tensor *x,
		       uint32_t *per_rows, uint32_t *nr)
{
	uint64_t n = 1, bands = (j->rows + QUANT_BLOCK - 1) / QUANT_BLOCK;
	uint64_t blocks = j->cols / QUANT_BLOCK;
	char found[64];

	for (uint32_t i = 0; i < x->nr_dims; i++)
		n *= x->shape[i];
	*nr = 1;
	if (n == 1) {
		*per_rows = j->rows;
	} else if (n == j->rows && x->nr_dims <= 2 && x->shape[0] == n) {
		*per_rows = 1;
	} else if (j->q->blocks && x->nr_dims == 2 && x->shape[0] == bands &&
		   x->shape[1] == blocks) {
		*per_rows = QUANT_BLOCK;
		*nr = (uint32_t)blocks;
	} else {
		return err_set(j->err, -EINVAL,
			       "%s: tensor %s is %s, for [%u, %u] allowed are "
			       "one, [%u, 1]%s",
			       j->t->path, x->name, tensors_shape(x, found),
			       j->rows, j->cols, j->rows,
			       j->q->blocks ? " and one for 128 x 128" : "");
	}
	return 0;
}

static int fp8(const struct job *j, struct weight *ret)
{
	struct repack_fp8 r = { .rows = j->rows, .cols = j->cols };
	const struct tensor *x, *s = look(j, ".weight_scale_inv");
	float *scale = NULL;
	int e = need(j, ".weight", "F8_E4M3", 2,
		     (uint64_t[]){ j->rows, j->cols }, &x);

	if (e)
		return e;
	if (!s)
		s = look(j, ".weight_scale");
	if (!s)
		return err_set(j->err, -ENOENT,
			       "%s: %s has neither weight_scale nor "
			       "weight_scale_inv",
			       j->t->path, j->name);
	if ((e = read_scales(j, s, &r.per_rows, &r.nr_scales)) ||
	    (e = widen(j, s, &scale)) || (e = make(j, WEIGHT_FP8, ret)))
		goto out;
	r.code = x->data;
	r.scale = scale;
	e = repack_fp8(&r, j->pool, (void *)(uintptr_t)ret->data);
	ret->simple = r.nr_scales == 1;
	ret->own = 1;
	tensors_done(x);
	if (e) {
		free((void *)(uintptr_t)ret->data);
		err_set(j->err, -EINVAL, "%s: tensor %s has NaN", j->t->path,
			x->name);
		e = -EINVAL;
	}
out:
	free(scale);
	return e;
}

/* ---- INT8 */

static int int8(const struct job *j, struct weight *ret)
{
	struct repack_int8 r = { .rows = j->rows, .cols = j->cols };
	const struct tensor *x, *s;
	uint32_t nr; /* 1: blocks are FP8's */
	float *scale;
	int e = need(j, ".weight", "I8", 2, (uint64_t[]){ j->rows, j->cols },
		     &x);

	if (e)
		return e;
	s = look(j, ".weight_scale");
	if (!s)
		return err_set(j->err, -ENOENT, "%s: %s has no weight_scale",
			       j->t->path, j->name);
	if ((e = read_scales(j, s, &r.per_rows, &nr)) ||
	    (e = widen(j, s, &scale)))
		return e;
	e = make(j, WEIGHT_INT8, ret);
	if (!e) {
		r.code = x->data;
		r.scale = scale;
		repack_int8(&r, j->pool, (void *)(uintptr_t)ret->data);
		ret->own = 1;
		tensors_done(x);
	}
	free(scale);
	return e;
}

int quantized_round(const struct tensors *t, const char *name,
		    struct pool *pool, struct weight *w, struct err *err)
{
	const struct job j = {
		.t = t,
		.name = name,
		.rows = w->rows,
		.cols = w->cols,
		.err = err,
	};
	struct weight made;
	uint32_t row = 0;
	void *p;
	int e = make(&j, WEIGHT_INT8, &made);

	if (e)
		return e;
	p = (void *)(uintptr_t)made.data;
	e = repack_rounded(w, pool, p, &row);
	if (e) {
		free(p);
		return e == -ENOMEM
			       ? err_set(err, e, "%s: no memory for %s",
					 t->path, name)
			       : err_set(err, -EINVAL,
					 "%s: tensor %s has a number in row %u "
					 "that is not finite, so it is not "
					 "rounded",
					 t->path, name, row);
	}
	made.own = 1;
	*w = made;
	return 0;
}

/* ---- 4 bits */

/* Columns in the order of the groups, where somebody says their order. */
static int check_order(const struct job *j, const char *suffix, uint32_t group)
{
	const struct tensor *x;
	uint64_t cols = j->cols;
	int e;

	if (!look(j, suffix))
		return 0;
	e = need(j, suffix, "I32", 1, &cols, &x);
	for (uint32_t k = 0; k < j->cols && !e; k++) {
		uint32_t g;

		memcpy(&g, x->data + 4 * (uint64_t)k, 4);
		if (g != k / group)
			e = err_set(j->err, -EINVAL,
				    "%s: tensor %s has column %u in group %u: "
				    "columns by importance (desc_act, "
				    "act-order) are not supported",
				    j->t->path, x->name, k, g);
	}
	return e;
}

/* Scales [groups, rows], or (@by_row) [rows, groups], as the latter. */
static int int4_scales(const struct job *j, const struct tensor *x,
		       uint32_t groups, bool by_row, float **ret)
{
	float *v, *turned;
	int e = widen(j, x, &v);

	if (e || by_row) {
		*ret = v;
		return e;
	}
	turned = malloc((uint64_t)j->rows * groups * sizeof(*v));
	for (uint32_t n = 0; n < j->rows && turned; n++)
		for (uint32_t g = 0; g < groups; g++)
			turned[(uint64_t)n * groups + g] =
				v[(uint64_t)g * j->rows + n];
	free(v);
	*ret = turned;
	return turned ? 0
		      : err_set(j->err, -ENOMEM, "%s: no memory for %s",
				j->t->path, x->name);
}

/* The three tensors of a form. */
static const struct int4_form {
	enum repack_order order;
	const char *codes, *scales, *zeros, *order_of;
} int4_forms[] = {
	[QUANT_GPTQ] = { REPACK_GPTQ, ".qweight", ".scales", ".qzeros",
			 ".g_idx" },
	[QUANT_AWQ] = { REPACK_AWQ, ".qweight", ".scales", ".qzeros",
			".g_idx" },
	[QUANT_ROWS] = { REPACK_ROWS, ".weight_packed", ".weight_scale",
			 ".weight_zero_point", ".weight_g_idx" },
};

/* Find them, and check sizes. */
static int find_int4(const struct job *j, const struct int4_form *f,
		     uint32_t groups, const struct tensor **codes,
		     const struct tensor **scales, const struct tensor **zeros)
{
	uint64_t rows = j->rows, cols = j->cols,
		 by_row = f->order == REPACK_ROWS;
	uint64_t shape[3][2] = { { cols / 8, rows },
				 { groups, rows },
				 { groups, rows / 8 } };
	int e;

	if (f->order == REPACK_AWQ) {
		shape[0][0] = cols;
		shape[0][1] = rows / 8;
	} else if (by_row) {
		shape[0][0] = shape[1][0] = rows;
		shape[0][1] = cols / 8;
		shape[1][1] = shape[2][1] = groups;
		shape[2][0] = rows / 8;
	}
	*scales = look(j, f->scales);
	if ((e = need(j, f->codes, "I32", 2, shape[0], codes)) ||
	    (e = need(j, f->scales, *scales ? (*scales)->type : "F16", 2,
		      shape[1], scales)))
		return e;
	return j->q->zeros ? need(j, f->zeros, "I32", 2, shape[2], zeros) : 0;
}

static int int4(const struct job *j, struct weight *ret)
{
	const struct int4_form *f = &int4_forms[j->q->form];
	struct repack_int4 r = {
		.order = f->order,
		.rows = j->rows,
		.cols = j->cols,
		.group = j->q->group ? j->q->group : j->cols,
	};
	const struct tensor *codes, *scales, *zeros = NULL;
	uint32_t groups = j->cols / r.group;
	uint8_t *zero = NULL;
	float *scale = NULL;
	int e, all_8 = 1;

	if (j->cols % r.group || j->rows % 8)
		return err_set(j->err, -EINVAL,
			       "%s: %s is [%u, %u]: groups of %u columns, or "
			       "words of 8 rows, do not divide it",
			       j->t->path, j->name, j->rows, j->cols, r.group);
	if ((e = find_int4(j, f, groups, &codes, &scales, &zeros)) ||
	    (e = check_order(j, f->order_of, r.group)) ||
	    (e = int4_scales(j, scales, groups, f->order == REPACK_ROWS,
			     &scale)))
		return e;
	look(j, ".weight_shape");
	zero = malloc((uint64_t)j->rows * groups);
	e = zero ? make(j, WEIGHT_INT4, ret)
		 : err_set(j->err, -ENOMEM, "%s: no memory for %s", j->t->path,
			   j->name);
	if (!e) {
		memset(zero, 8, (uint64_t)j->rows * groups);
		if (zeros)
			all_8 = repack_zeros(f->order, zeros->data, j->rows,
					     groups, j->q->less_one, zero);
		r.word = codes->data;
		r.scale = scale;
		r.zero = zero;
		repack_int4(&r, j->pool, (void *)(uintptr_t)ret->data);
		ret->simple = all_8;
		ret->own = 1;
		tensors_done(codes);
	}
	free(zero);
	free(scale);
	return e;
}

/* ---- all */

bool quantized_is(const struct quant *q, const struct tensors *t,
		  const char *name)
{
	const struct tensor *x = tensors_find(t, name);
	char buf[MAX_NAME];

	switch (q->form) {
	case QUANT_NONE:
		return false;
	case QUANT_FP8:
		return x && !strcmp(x->type, "F8_E4M3");
	case QUANT_INT8:
		return x && !strcmp(x->type, "I8");
	default:
		return !x &&
		       tensors_find(t,
				    full_name(name, base_len(name),
					      int4_forms[q->form].codes, buf));
	}
}

int quantized_matrix(const struct quant *q, const struct tensors *t,
		     const char *name, uint32_t rows, uint32_t cols,
		     uint8_t *used, struct pool *pool, struct weight *ret,
		     struct err *err)
{
	const struct job j = {
		.q = q,
		.t = t,
		.base_len = base_len(name),
		.name = name,
		.rows = rows,
		.cols = cols,
		.used = used,
		.pool = pool,
		.err = err,
	};

	if (q->form == QUANT_INT8)
		return int8(&j, ret);
	if (cols % QUANT_BLOCK)
		return err_set(err, -EINVAL,
			       "%s: %s has %u columns, supported where they "
			       "are quantized are multiples of 128",
			       t->path, name, cols);
	return q->form == QUANT_FP8 ? fp8(&j, ret) : int4(&j, ret);
}

bool quantized_ignores(const char *name)
{
	static const char *const ends[] = {
		".input_scale",	     ".input_scale_ub", ".input_zero_point",
		".activation_scale", ".k_scale",	".v_scale"
	};
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		size_t m = strlen(ends[i]);

		if (n > m && !strcmp(name + n - m, ends[i]))
			return true;
	}
	return false;
}
