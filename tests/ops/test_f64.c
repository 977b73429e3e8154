/* SPDX-License-Identifier: MIT */
/* Every op of every op set against the same op in float64. */
#include "tests/ops/fixture.h"

#include <assert.h>

/*
 * Errors as fx_error() counts them.  A dot of n terms in eight chains is off
 * by about 2^-24 * sqrt(n / 8) of its terms' sum: some 1e-7 here; q and k
 * meet in attention, whose exponent magnifies by the size of the scores.
 */
#define TOLERANCE	    3e-6
#define ATTENTION_TOLERANCE 1e-5

struct bench { /* one op set with one model, and two rows' worth of names */
	const struct ops *ops;
	const struct fx_model *m;
	struct ops_ctx *ctx;
	struct fx_step f;
	uint32_t rows;
};

static int bench_open(struct bench *b, const char *set,
		      const struct fx_shape *shape, const struct fx_seq *seq,
		      uint32_t rows)
{
	b->ops = ops_find(set);
	if (!b->ops)
		return -1;
	b->m = fx_model(shape);
	b->ctx = fx_open(b->ops, b->m, rows, 2);
	b->rows = rows;
	fx_step_begin(&b->f);
	fx_step_add(&b->f, seq, 0, rows);
	return b->ctx ? 0 : -1;
}

static float *random_in(struct bench *b, enum ops_buffer which, uint32_t cols)
{
	float *x = fx_floats((size_t)b->rows * cols, 2, 0);

	b->ops->poke(b->ctx, which, 0, b->rows, x);
	return x;
}

static float *out(struct bench *b, enum ops_buffer which, uint32_t cols)
{
	float *x = fx_take((size_t)b->rows * cols * sizeof(*x));

	b->ops->peek(b->ctx, which, 0, b->rows, x);
	return x;
}

static double *wide(const float *x, size_t n)
{
	double *y = fx_take(n * sizeof(*y));

	f64_widen(x, y, n);
	return y;
}

static void check_embed_norm(struct bench *b)
{
	uint32_t dim = b->m->shape.dim;
	float *row = fx_take(dim * sizeof(*row)), *x, *xn;

	b->f.token[0] = UINT32_MAX; /* an id out of the vocabulary is id 0 */
	b->ops->embed_norm(b->ctx, &b->f.step);
	x = out(b, OPS_X, dim);
	xn = out(b, OPS_XN, dim);
	for (uint32_t t = 0; t < b->rows; t++) {
		double *want;

		weight_row(&b->m->ends.embed, t ? b->f.token[t] : 0, row);
		CHECK(!memcmp(row, x + (size_t)t * dim, dim * sizeof(*row)));
		want = wide(row, dim);
		f64_norm(want, b->m->layer[0].attn_norm, dim,
			 b->m->shape.norm_eps, want);
		CHECK(fx_error(xn + (size_t)t * dim, want, dim) < TOLERANCE);
	}
}

/* in -> X += w . in + bias, XN = its norm: out_norm and down_norm */
static void check_residual(struct bench *b, int down, uint32_t layer)
{
	const struct ops_shape *s = &b->m->shape;
	const struct ops_layer *w = &b->m->layer[layer];
	uint32_t cols = down ? s->ffn : s->nr_heads * s->head_dim;
	float *in = random_in(b, down ? OPS_H : OPS_A, cols);
	float *x = random_in(b, OPS_X, s->dim), *x2, *xn;
	double *y = fx_take(s->dim * sizeof(*y));

	if (down)
		b->ops->down_norm(b->ctx, &b->f.step, layer);
	else
		b->ops->out_norm(b->ctx, &b->f.step, layer);
	x2 = out(b, OPS_X, s->dim);
	xn = out(b, OPS_XN, s->dim);
	for (uint32_t t = 0; t < b->rows; t++) {
		size_t at = (size_t)t * s->dim;

		f64_matmul(down ? &w->down : &w->o,
			   down ? w->down_bias : w->o_bias,
			   wide(in + (size_t)t * cols, cols), y);
		for (uint32_t i = 0; i < s->dim; i++)
			y[i] += x[at + i];
		CHECK(fx_error(x2 + at, y, s->dim) < TOLERANCE);
		f64_norm(y,
			 !down ? w->mlp_norm
			 : layer + 1 < MAX_LAYERS
				 ? b->m->layer[layer + 1].attn_norm
				 : b->m->ends.norm,
			 s->dim, s->norm_eps, y);
		CHECK(fx_error(xn + at, y, s->dim) < TOLERANCE);
	}
}

static void check_gate_up(struct bench *b)
{
	const struct ops_shape *s = &b->m->shape;
	const struct ops_layer *w = &b->m->layer[1];
	float *in = random_in(b, OPS_XN, s->dim), *h;
	double *g = fx_take(s->ffn * sizeof(*g));
	double *u = fx_take(s->ffn * sizeof(*u));

	in[0] = 300; /* silu far out, both ways */
	in[s->dim] = -300;
	b->ops->poke(b->ctx, OPS_XN, 0, b->rows, in);
	b->ops->gate_up(b->ctx, &b->f.step, 1);
	h = out(b, OPS_H, s->ffn);
	for (uint32_t t = 0; t < b->rows; t++) {
		double *x = wide(in + (size_t)t * s->dim, s->dim);

		f64_matmul(&w->gate, w->gate_bias, x, g);
		f64_matmul(&w->up, w->up_bias, x, u);
		for (uint32_t i = 0; i < s->ffn; i++)
			g[i] = g[i] / (1 + exp(-g[i])) * u[i];
		CHECK(fx_error(h + (size_t)t * s->ffn, g, s->ffn) < TOLERANCE);
	}
}

static void check_head(struct bench *b)
{
	const struct ops_shape *s = &b->m->shape;
	float *in = random_in(b, OPS_XN, s->dim), *l;
	double *want = fx_take(s->vocab * sizeof(*want));
	uint32_t last = b->rows - 1;

	/* outputs 1..last, of rows in some order */
	for (uint32_t i = 0; i < b->rows; i++)
		b->f.out_row[i] = last - i;
	b->ops->head(b->ctx, &b->f.step, 1, last);
	l = out(b, OPS_LOGITS, s->vocab);
	for (uint32_t i = 0; i < last; i++) {
		f64_matmul(&b->m->ends.head, NULL,
			   wide(in + (size_t)(last - 1 - i) * s->dim, s->dim),
			   want);
		CHECK(fx_error(l + (size_t)i * s->vocab, want, s->vocab) <
		      TOLERANCE);
	}
}

TEST(embedding_products_norms_and_swiglu_equal_float64)
{
	static struct fx_seq seq;

	for (size_t i = 0; i < NR_SHAPES * NR_SETS; i++) {
		static const uint32_t rows[] = {
			2, 7, 3, 33, 13, 70, 5, 8, 9, 4
		};
		struct bench b;

		static_assert(sizeof(rows) / sizeof(*rows) == NR_SHAPES,
			      "rows for each shape");
		ROW(fx_shapes[i / NR_SETS].name);
		fx_seq(&seq, fx_shapes[i / NR_SETS].vocab, 1, 7);
		if (bench_open(&b, fx_sets[i % NR_SETS],
			       &fx_shapes[i / NR_SETS], &seq,
			       rows[i / NR_SETS]))
			continue;
		check_embed_norm(&b);
		check_residual(&b, 0, 0);
		check_residual(&b, 1, 0);
		check_residual(&b, 1, MAX_LAYERS - 1);
		check_gate_up(&b);
		check_head(&b);
		b.ops->close(b.ctx);
	}
}

/* ---- q, k, v, the cache and attention, for one sequence ---- */

struct cache {
	double *q, *k, *v; /* [MAX_CONTEXT][heads * head_dim] */
};

static void f64_heads(const struct ops_shape *s, double *x, uint32_t heads,
		      const float *norm, uint32_t position, double scale)
{
	for (uint32_t h = 0; h < heads; h++, x += s->head_dim) {
		if (norm)
			f64_norm(x, norm, s->head_dim, s->norm_eps, x);
		f64_rope(x, position, s->rotary_dim);
		for (uint32_t d = 0; d < s->head_dim; d++)
			x[d] *= scale;
	}
}

/* Rows [first, first + rows) of the sequence through qkv, both ways. */
static void run_qkv(struct bench *b, const struct cache *c, uint32_t first)
{
	const struct ops_shape *s = &b->m->shape;
	const struct ops_layer *w = &b->m->layer[1];
	size_t nq = s->nr_heads * s->head_dim,
	       nk = s->nr_kv_heads * s->head_dim;
	float *in = random_in(b, OPS_XN, s->dim), *q;

	b->ops->qkv_rope_kv(b->ctx, &b->f.step, 1);
	q = out(b, OPS_Q, (uint32_t)nq);
	for (uint32_t t = 0; t < b->f.step.nr_rows; t++) {
		double *x = wide(in + (size_t)t * s->dim, s->dim);
		uint32_t at = first + t;

		f64_matmul(&w->q, w->q_bias, x, c->q + at * nq);
		f64_matmul(&w->k, w->k_bias, x, c->k + at * nk);
		f64_matmul(&w->v, w->v_bias, x, c->v + at * nk);
		f64_heads(s, c->q + at * nq, s->nr_heads, w->q_norm, at,
			  s->attn_scale);
		f64_heads(s, c->k + at * nk, s->nr_kv_heads, w->k_norm, at, 1);
		CHECK(fx_error(q + t * nq, c->q + at * nq, nq) < TOLERANCE);
		fx_free(x);
	}
}

/* One row at position @at, softmax over a list of scores, as in a textbook */
static void f64_attention(const struct ops_shape *s, const struct cache *c,
			  uint32_t at, uint32_t window, double *y)
{
	size_t nq = s->nr_heads * s->head_dim,
	       nk = s->nr_kv_heads * s->head_dim;
	uint32_t hd = s->head_dim, share = s->nr_heads / s->nr_kv_heads;
	double p[MAX_CONTEXT];

	for (uint32_t h = 0; h < s->nr_heads; h++) {
		double max = -INFINITY, sum = 0;

		for (uint32_t j = 0; j <= at; j++) {
			p[j] = 0;
			for (uint32_t d = 0; d < hd; d++)
				p[j] += c->q[at * nq + h * hd + d] *
					c->k[j * nk + h / share * hd + d];
			if (window && at - j >= window)
				p[j] = -INFINITY;
			max = fmax(max, p[j]);
		}
		for (uint32_t j = 0; j <= at; j++)
			sum += p[j] = exp(p[j] - max);
		for (uint32_t d = 0; d < hd; d++) {
			y[h * hd + d] = 0;
			for (uint32_t j = 0; j <= at; j++)
				y[h * hd + d] +=
					p[j] / sum *
					c->v[j * nk + h / share * hd + d];
		}
	}
}

static void check_attention(struct bench *b, const struct fx_seq *seq,
			    uint32_t context)
{
	const struct ops_shape *s = &b->m->shape;
	uint32_t nq = s->nr_heads * s->head_dim;
	double *want = fx_take(nq * sizeof(*want));
	struct cache c = { fx_take((size_t)MAX_CONTEXT * nq * 8),
			   fx_take((size_t)MAX_CONTEXT * nq * 8),
			   fx_take((size_t)MAX_CONTEXT * nq * 8) };

	for (uint32_t first = 0; first < context;) {
		uint32_t n = context - first < b->rows ? context - first
						       : b->rows;
		float *a;

		fx_step_begin(&b->f);
		fx_step_add(&b->f, seq, first, n);
		run_qkv(b, &c, first);
		b->ops->attention(b->ctx, &b->f.step, 1);
		a = out(b, OPS_A, nq);
		/* all rows of short contexts, the first and last of others */
		for (uint32_t t = 0; t < n; t++) {
			if (context > 100 && t && t + 1 < n)
				continue;
			f64_attention(s, &c, first + t, b->m->layer[1].window,
				      want);
			CHECK(fx_error(a + (size_t)t * nq, want, nq) <
			      ATTENTION_TOLERANCE);
		}
		fx_free(a);
		first += n;
	}
	fx_free(c.q);
	fx_free(c.k);
	fx_free(c.v);
}

TEST(attention_through_scattered_blocks_equals_float64)
{
	static const uint32_t context[] = { 70,	  49, 33,   90, 41,
					    1300, 61, 1090, 77, 530 };
	static struct fx_seq seq;

	for (size_t i = 0; i < NR_SHAPES * NR_SETS; i++) {
		struct bench b;

		static_assert(sizeof(context) / sizeof(*context) == NR_SHAPES,
			      "a context for each shape");
		ROW(fx_shapes[i / NR_SETS].name);
		fx_seq(&seq, fx_shapes[i / NR_SETS].vocab, 1, 7);
		if (bench_open(&b, fx_sets[i % NR_SETS],
			       &fx_shapes[i / NR_SETS], &seq, 50))
			continue;
		check_attention(&b, &seq, context[i / NR_SETS]);
		b.ops->close(b.ctx);
	}
}
