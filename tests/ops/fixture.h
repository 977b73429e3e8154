/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - what the tests of the ops share: random models in the shapes
 * that matter, sequences whose blocks lie scattered, steps built from spans
 * of them, and the same ops in float64, written without looking at ref.
 */
#ifndef OPS_FIXTURE_H
#define OPS_FIXTURE_H

#include "kernels/half.h"
#include "kernels/ops.h"
#include "base/err.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

#define MAX_LAYERS 2

/* ---- luck: splitmix64, fixed seeds ---- */
static uint64_t fx_state = 1;

static inline uint64_t fx_next(void)
{
	uint64_t z = fx_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline float fx_float(float scale) /* -scale..scale */
{
	return scale * ((float)(fx_next() >> 40) / 8388608.0f - 1.0f);
}

static inline uint32_t fx_below(uint32_t n)
{
	return (uint32_t)(fx_next() % n);
}

/* ---- memory: listed, so that it is never lost, only kept too long ---- */
struct fx_mem {
	_Alignas(64) struct fx_mem *next;
	struct fx_mem *prev;
};
static struct fx_mem fx_all = { &fx_all, &fx_all };

static inline void *fx_take(size_t n)
{
	struct fx_mem *m;

	n = (sizeof(*m) + n + 63) & ~(size_t)63;
	m = aligned_alloc(64, n);
	if (!m)
		abort();
	memset(m, 0, n);
	m->next = fx_all.next;
	m->prev = &fx_all;
	m->next->prev = fx_all.next = m;
	return m + 1;
}

static inline void fx_free(void *p)
{
	struct fx_mem *m = (struct fx_mem *)p - 1;

	m->prev->next = m->next;
	m->next->prev = m->prev;
	free(m);
}

static inline float *fx_floats(size_t n, float scale, float middle)
{
	float *p = fx_take(n * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = middle + fx_float(scale);
	return p;
}

/* ---- models ---- */
struct fx_shape {
	const char *name;
	enum weight_type type;
	uint32_t dim, heads, kv_heads, head_dim, rotary, ffn, vocab, window;
	int bias, qk_norm;
	enum weight_type other; /* of v, down and the head; F32: as the rest */
	enum kv_type kv;
};

/* clang-format off */
static const struct fx_shape fx_shapes[] = {
	{ "gqa 4:2 f16", WEIGHT_F16, 64, 4, 2, 16, 16, 176, 301, 0, 0, 0 },
	{ "odd 5:1 f16 with biases", WEIGHT_F16, 80, 5, 1, 16, 16, 200, 301, 0, 1, 0 },
	{ "mha hd 32 f32 with q/k norm", WEIGHT_F32, 64, 4, 4, 32, 32, 96, 129, 0, 0, 1 },
	{ "gqa 8:2 hd 64 bf16 window 24", WEIGHT_BF16, 128, 8, 2, 64, 64, 256, 333, 24, 0, 0 },
	{ "gqa 6:2 hd 128 bf16 partial rope", WEIGHT_BF16, 96, 6, 2, 128, 32, 72, 64, 0, 1, 1 },
	{ "window 600 f32", WEIGHT_F32, 32, 2, 1, 16, 16, 48, 50, 600, 0, 0 },
	{ "nothing divides by 8", WEIGHT_F16, 52, 3, 1, 20, 12, 77, 67, 7, 1, 1 },
	{ "nothing divides by 8, f32", WEIGHT_F32, 41, 6, 3, 10, 10, 33, 31, 0, 0, 0 },
	{ "fp8", WEIGHT_FP8, 128, 4, 2, 32, 32, 256, 77, 0, 1, 0 },
	{ "bf16, one head", WEIGHT_BF16, 24, 1, 1, 24, 24, 24, 17, 0, 0, 0 },
};
/* packed types: columns are whole blocks, rows are not */
static const struct fx_shape fx_packed[] = {
	{ "q8_0", WEIGHT_Q8_0, 64, 5, 1, 32, 16, 96, 83, 0, 1, 0, 0 },
	{ "q4_0, head q8_0", WEIGHT_Q4_0, 96, 8, 1, 20, 20, 160, 67, 0, 0, 1, WEIGHT_Q8_0 },
	{ "q4_1, head f16", WEIGHT_Q4_1, 32, 3, 1, 32, 32, 64, 35, 24, 1, 0, WEIGHT_F16 },
	{ "q5_0 and q5_1", WEIGHT_Q5_0, 160, 8, 1, 12, 12, 128, 41, 0, 0, 0, WEIGHT_Q5_1 },
	{ "q2_k and q3_k", WEIGHT_Q2_K, 256, 8, 1, 32, 32, 256, 29, 0, 0, 0, WEIGHT_Q3_K },
	{ "q4_k and q6_k", WEIGHT_Q4_K, 256, 12, 3, 64, 64, 256, 100, 7, 1, 0, WEIGHT_Q6_K },
	{ "q6_k and q5_k", WEIGHT_Q6_K, 256, 32, 1, 8, 8, 512, 77, 0, 0, 0, WEIGHT_Q5_K },
	{ "iq4_nl and mxfp4", WEIGHT_IQ4_NL, 64, 4, 1, 24, 24, 96, 50, 0, 0, 0, WEIGHT_MXFP4 },
	{ "int4 and fp8", WEIGHT_INT4, 128, 8, 2, 16, 16, 384, 53, 0, 1, 0, WEIGHT_FP8 },
	{ "f32, 8-bit kv", WEIGHT_F32, 41, 9, 1, 10, 10, 33, 31, 0, 0, 0, 0, KV_Q8 },
	{ "q8_0, 8-bit kv, window 24", WEIGHT_Q8_0, 64, 6, 2, 64, 32, 96, 31, 24, 1, 1, 0, KV_Q8 },
	{ "f32, 16-bit kv", WEIGHT_F32, 41, 9, 1, 10, 10, 33, 31, 0, 0, 0, 0, KV_F16 },
	{ "q4_0, 16-bit kv, heads of 80", WEIGHT_Q4_0, 64, 6, 2, 80, 32, 96, 31, 24, 1, 1, 0, KV_F16 },
	{ "q8_0, 16-bit kv, window 600", WEIGHT_Q8_0, 64, 8, 1, 64, 64, 64, 35, 600, 0, 0, 0, KV_F16 },
	{ "int8 and f16", WEIGHT_INT8, 72, 5, 1, 20, 12, 100, 43, 0, 1, 1, WEIGHT_F16 },
	{ "int8, head q8_0", WEIGHT_INT8, 96, 6, 2, 32, 32, 160, 37, 24, 0, 0, WEIGHT_Q8_0 },
};
/* clang-format on */
#define NR_SHAPES   (sizeof(fx_shapes) / sizeof(fx_shapes[0]))
#define NR_PACKED   (sizeof(fx_packed) / sizeof(fx_packed[0]))
#define MAX_CONTEXT 1600

struct fx_model {
	struct ops_shape shape;
	struct ops_ends ends;
	struct ops_layer layer[MAX_LAYERS];
};

static inline struct weight fx_weight(enum weight_type type, uint32_t rows,
				      uint32_t cols)
{
	struct weight w = { .type = type, .rows = rows, .cols = cols };
	size_t n = weight_row_bytes(type, cols);
	/* any alignment, and not a byte more than the rows */
	char *p = (char *)fx_take(n * rows + 1) + 1;

	w.row_stride = n;
	w.data = p;
	if (type > WEIGHT_BF16) {
		float *row = fx_take(cols * sizeof(*row));

		for (uint32_t r = 0; r < rows; r++) {
			for (uint32_t i = 0; i < cols; i++)
				row[i] = fx_float(1.7f / sqrtf((float)cols));
			weight_formats[type].pack(row, p + r * n, cols);
		}
		fx_free(row);
		return w;
	}
	for (size_t i = 0; i < (size_t)rows * cols; i++) {
		float f = fx_float(1.7f / sqrtf((float)cols));
		uint16_t h = type == WEIGHT_F16 ? f32_to_f16(f)
						: f32_to_bf16(f);

		if (type == WEIGHT_F32)
			memcpy(p + 4 * i, &f, 4);
		else
			memcpy(p + 2 * i, &h, 2);
	}
	return w;
}

static inline float *fx_rope(uint32_t rotary)
{
	static float *made[129]; /* by rotary dimension */
	float *t = made[rotary];

	if (t)
		return t;
	t = made[rotary] = fx_take((size_t)MAX_CONTEXT * rotary * 4);

	for (uint32_t p = 0; p < MAX_CONTEXT; p++)
		for (uint32_t i = 0; i < rotary / 2; i++) {
			double a = p * pow(10000, -2.0 * i / rotary);
			float *cs = t + (size_t)p * rotary + (size_t)2 * i;

			cs[0] = (float)cos(a);
			cs[1] = (float)sin(a);
		}
	return t;
}

static inline struct fx_model *fx_model(const struct fx_shape *f)
{
	struct fx_model *m = fx_take(sizeof(*m));
	uint32_t wide = f->heads * f->head_dim;
	uint32_t narrow = f->kv_heads * f->head_dim;
	float *rope = fx_rope(f->rotary);
	enum weight_type other = f->other ? f->other : f->type;

	fx_state = 42;
	m->shape = (struct ops_shape){
		.dim = f->dim,
		.nr_heads = f->heads,
		.nr_kv_heads = f->kv_heads,
		.head_dim = f->head_dim,
		.rotary_dim = f->rotary,
		.ffn = f->ffn,
		.vocab = f->vocab,
		.nr_layers = MAX_LAYERS,
		.norm_eps = 1e-5f,
		.attn_scale = 1.0f / sqrtf((float)f->head_dim),
		.kv = f->kv,
	};
	for (int l = 0; l < MAX_LAYERS; l++) {
		struct ops_layer *w = &m->layer[l];

		w->attn_norm = fx_floats(f->dim, 0.3f, 1);
		w->mlp_norm = fx_floats(f->dim, 0.3f, 1);
		w->q = fx_weight(f->type, wide, f->dim);
		w->k = fx_weight(f->type, narrow, f->dim);
		w->v = fx_weight(other, narrow, f->dim);
		w->o = fx_weight(f->type, f->dim, wide);
		w->gate = fx_weight(f->type, f->ffn, f->dim);
		w->up = fx_weight(f->type, f->ffn, f->dim);
		w->down = fx_weight(other, f->dim, f->ffn);
		if (f->bias) {
			w->q_bias = fx_floats(wide, 0.2f, 0);
			w->k_bias = fx_floats(narrow, 0.2f, 0);
			w->v_bias = fx_floats(narrow, 0.2f, 0);
			w->o_bias = fx_floats(f->dim, 0.2f, 0);
			w->gate_bias = fx_floats(f->ffn, 0.2f, 0);
			w->up_bias = fx_floats(f->ffn, 0.2f, 0);
			w->down_bias = fx_floats(f->dim, 0.2f, 0);
		}
		if (f->qk_norm) {
			w->q_norm = fx_floats(f->head_dim, 0.3f, 1);
			w->k_norm = fx_floats(f->head_dim, 0.3f, 1);
		}
		w->rope = rope;
		w->window = f->window;
	}
	m->ends.embed = fx_weight(f->type, f->vocab, f->dim);
	m->ends.head = fx_weight(other, f->vocab, f->dim);
	m->ends.norm = fx_floats(f->dim, 0.3f, 1);
	return m;
}

static inline struct ops_ctx *fx_open(const struct ops *ops,
				      const struct fx_model *m,
				      uint32_t max_rows, uint32_t threads)
{
	struct ops_limits limits = {
		.max_rows = max_rows,
		.max_logits = max_rows,
		.max_context = MAX_CONTEXT,
		.nr_blocks = 2 * MAX_CONTEXT / OPS_BLOCK + 2,
		.threads = threads,
	};
	struct ops_ctx *ctx = NULL;
	struct err err = { 0 };

	if (ops->open(&m->shape, &limits, &ctx, &err) ||
	    ops->load_ends(ctx, &m->ends, &err)) {
		printf("# %s\n", err.text);
		return NULL;
	}
	for (uint32_t l = 0; l < MAX_LAYERS; l++)
		if (ops->load_layer(ctx, l, &m->layer[l], &err))
			return NULL;
	return ctx;
}

/* ---- sequences and steps ---- */
struct fx_seq {
	uint32_t token[MAX_CONTEXT];
	uint32_t block[MAX_CONTEXT / OPS_BLOCK];
};

/* Blocks first, first + 1, ... in a random order of their own. */
static inline void fx_seq(struct fx_seq *s, uint32_t vocab,
			  uint32_t first_block, uint64_t seed)
{
	uint32_t n = MAX_CONTEXT / OPS_BLOCK;

	fx_state = seed;
	for (uint32_t i = 0; i < MAX_CONTEXT; i++)
		s->token[i] = fx_below(vocab);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t j = fx_below(i + 1);

		s->block[i] = s->block[j];
		s->block[j] = first_block + i;
	}
}

#define MAX_ROWS 128
#define MAX_SEQS 16

struct fx_step {
	struct step step;
	uint32_t token[MAX_ROWS], position[MAX_ROWS], slot[MAX_ROWS];
	uint32_t out_row[MAX_ROWS];
	uint32_t query_start[MAX_SEQS + 1], context_len[MAX_SEQS];
	uint32_t table[MAX_SEQS][MAX_CONTEXT / OPS_BLOCK];
};

static inline void fx_step_begin(struct fx_step *f)
{
	memset(f, 0, sizeof(*f));
	f->step = (struct step){
		.table_stride = MAX_CONTEXT / OPS_BLOCK,
		.token = f->token,
		.position = f->position,
		.slot = f->slot,
		.query_start = f->query_start,
		.context_len = f->context_len,
		.block_table = f->table[0],
		.out_row = f->out_row,
	};
}

/* Tokens [first, first + count) of @s; an output is wanted of each. */
static inline void fx_step_add(struct fx_step *f, const struct fx_seq *s,
			       uint32_t first, uint32_t count)
{
	struct step *st = &f->step;

	memcpy(f->table[st->nr_seqs], s->block, sizeof(s->block));
	f->context_len[st->nr_seqs] = first + count;
	for (uint32_t p = first; p < first + count; p++) {
		uint32_t r = st->nr_rows++;

		f->token[r] = s->token[p];
		f->position[r] = p;
		f->slot[r] =
			s->block[p / OPS_BLOCK] * OPS_BLOCK + p % OPS_BLOCK;
		f->out_row[st->nr_outs++] = r;
	}
	f->query_start[++st->nr_seqs] = st->nr_rows;
}

static inline void fx_forward(const struct ops *ops, struct ops_ctx *ctx,
			      const struct step *step)
{
	ops->embed_norm(ctx, step);
	for (uint32_t l = 0; l < MAX_LAYERS; l++) {
		ops->qkv_rope_kv(ctx, step, l);
		ops->attention(ctx, step, l);
		ops->out_norm(ctx, step, l);
		ops->gate_up(ctx, step, l);
		ops->down_norm(ctx, step, l);
	}
	ops->head(ctx, step, 0, step->nr_outs);
}

/* ---- float64 ---- */
static inline void f64_matmul(const struct weight *w, const float *bias,
			      const double *x, double *y)
{
	float *row = fx_take(w->cols * sizeof(*row));

	for (uint32_t r = 0; r < w->rows; r++) {
		double sum = 0;

		weight_row(w, r, row);
		for (uint32_t k = 0; k < w->cols; k++)
			sum += row[k] * x[k];
		y[r] = sum + (bias ? bias[r] : 0);
	}
	fx_free(row);
}

static inline void f64_norm(const double *x, const float *w, uint32_t n,
			    double eps, double *y)
{
	double sum = 0, r;

	for (uint32_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	r = 1 / sqrt(sum / n + eps);
	for (uint32_t i = 0; i < n; i++)
		y[i] = x[i] * r * w[i];
}

static inline void f64_rope(double *x, uint32_t position, uint32_t rotary)
{
	for (uint32_t i = 0; i < rotary / 2; i++) {
		double angle = position * pow(10000, -2.0 * i / rotary);
		double a = x[i], b = x[i + rotary / 2];

		x[i] = a * cos(angle) - b * sin(angle);
		x[i + rotary / 2] = b * cos(angle) + a * sin(angle);
	}
}

static inline void f64_widen(const float *x, double *y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = x[i];
}

/* The largest |got - want| / (1 + |want|). */
static inline double fx_error(const float *got, const double *want, size_t n)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++) {
		double e = fabs(got[i] - want[i]) / (1 + fabs(want[i]));

		if (!(e <= worst)) /* NaN counts */
			worst = e;
	}
	return worst;
}

/* Every op set that this machine can run, ref first. */
static const char *const fx_sets[] = { "ref", "avx2", "avx512" };
#define NR_SETS (sizeof(fx_sets) / sizeof(fx_sets[0]))

#endif
