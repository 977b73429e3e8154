/* SPDX-License-Identifier: MIT */
/* seam test: weights are improved on another thread */
/*
 * Products with packed weights, every type, kernel and layout: the bits of ref,
 * and ref against float64.
 */
#include "tests/ops/fixture.h"

#include "kernels/cpu/cpu.h"
#include "kernels/half.h"
#include "kernels/host.h"
#include "kernels/ref/ref.h"

#include <pthread.h>
#include <stdatomic.h>

#define TOKENS 19

static const struct packed_set *const sets[] = { &packed_avx2, &packed_avx512,
						 &packed_vnni };

static int usable(size_t set)
{
	return ops_find(set ? "avx512" : "avx2") &&
	       (set < 2 || __builtin_cpu_supports("avx512vnni"));
}

/* A matrix of @type, and @tokens rows to multiply it with. */
struct product {
	struct weight w;
	struct host_rows x, want;
	float *row;
	uint8_t *fast[2], *scratch; /* fast: groups of 8, of 16 */
	uint8_t *packed_x[NR_PACKED_FORMS];
};

static struct host_rows rows_of(uint32_t rows, uint32_t cols)
{
	size_t ld = cols + 16;

	return (struct host_rows){ fx_take(rows * ld * 4), rows, cols, ld };
}

static void interleave(struct product *p)
{
	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t r = 0, n = 8 << i; r < p->w.rows; r += n)
			packed_interleave_avx2(
				&p->w, r, n,
				p->fast[i] + packed_group_bytes(p->w.type,
								p->w.cols, r));
}

/* Columns of a block; of a type without any, some that nothing divides. */
static uint32_t block_of(enum weight_type type)
{
	return type == WEIGHT_INT8 ? 37 : weight_formats[type].block;
}

/* @wild: blocks of random bytes; else of packed numbers. */
static struct product product(enum weight_type type, uint32_t rows,
			      uint32_t blocks, int wild)
{
	uint32_t cols = blocks * block_of(type);
	struct product p = { .w = fx_weight(type, rows, cols) };
	uint8_t *bytes = (uint8_t *)(uintptr_t)p.w.data;

	for (size_t i = 0; wild && i < rows * p.w.row_stride; i++)
		bytes[i] = (uint8_t)fx_next();
	p.x = rows_of(TOKENS, cols);
	p.want = rows_of(TOKENS, rows);
	p.row = fx_take((cols + 16) * 4);
	for (uint32_t t = 0; t < TOKENS; t++)
		for (uint32_t k = 0; k < cols; k++)
			host_row(&p.x, t)[k] = fx_float(fx_below(97) ? 1 : 9);
	ref_matmul(&p.w, NULL, &p.x, TOKENS, p.row, &p.want);
	p.scratch = fx_take(packed_group_bytes(type, cols, PACKED_UNIT));
	for (int i = 0; i < NR_PACKED_FORMS; i++)
		p.packed_x[i] = fx_take(
			packed_input_bytes((enum packed_form)i, cols, TOKENS));
	for (int i = 0; i < 2; i++)
		p.fast[i] = fx_take(
			packed_group_bytes(type, cols, (rows / 16 + 1) * 16));
	interleave(&p);
	return p;
}

static void product_free(struct product *p)
{
	fx_free((char *)(uintptr_t)p->w.data - 1);
	fx_free(p->x.data);
	fx_free(p->want.data);
	fx_free(p->row);
	fx_free(p->scratch);
	for (int i = 0; i < NR_PACKED_FORMS; i++)
		fx_free(p->packed_x[i]);
	fx_free(p->fast[0]);
	fx_free(p->fast[1]);
}

/* NaN for NaN: its bits are not part of the arithmetic */
static int same_bits(const float *a, const float *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], 4) && !(isnan(a[i]) && isnan(b[i])))
			return 0;
	return 1;
}

/* The first @tokens rows by set @s, rows [first, end) of the matrix. */
static int same(const struct product *p, const struct packed_set *s, int fast,
		uint32_t first, uint32_t end, uint32_t tokens)
{
	static float y[TOKENS][64];
	enum packed_form form = packed_form(s, p->w.type);

	memset(y, 0xff, sizeof(y));
	for (uint32_t t = 0; t < tokens; t++)
		packed_quantize_avx2(host_row(&p->x, t), p->w.cols, form, t,
				     tokens, s->max_tokens, p->packed_x[form]);
	packed_rows(s, &p->w, fast ? p->fast[s->rows / 16] : NULL, first, end,
		    p->packed_x[form], tokens, y[0], 64, p->scratch);
	for (uint32_t t = 0; t < tokens; t++) {
		if (!same_bits(y[t] + first, host_row(&p->want, t) + first,
			       end - first))
			return 0;
		for (uint32_t r = 0; r < 64; r++) /* and nothing beside */
			if ((r < first || r >= end) && !isnan(y[t][r]))
				return 0;
	}
	return 1;
}

TEST(every_kernel_gives_the_bits_of_ref)
{
	/* rows and blocks that no tile divides; the last two for their size */
	static const uint32_t shape[][2] = { { 1, 1 },	{ 8, 3 },  { 13, 2 },
					     { 45, 1 }, { 63, 5 }, { 40, 2 } };

	for (int i = 0; i < 6 * NR_PACKED_TYPES; i++) {
		enum weight_type type =
			(enum weight_type)(NR_PLAIN_TYPES + i / 6);
		uint32_t rows = shape[i % 6][0];
		struct product p = product(type, rows, shape[i % 6][1], i % 2);

		ROW(weight_formats[type].name);
		for (size_t s = 0; s < 3; s++)
			for (uint32_t t = 1; usable(s) && t <= TOKENS; t++)
				for (int fast = 0; fast < 2; fast++) {
					CHECK(same(&p, sets[s], fast, 0, rows,
						   t));
					if (rows > 25)
						CHECK(same(&p, sets[s], fast,
							   16, rows - 9, t));
				}
		product_free(&p);
	}
}

/* The worst a sum can become: codes and input all at one end. */
TEST(no_sum_overflows)
{
	for (int i = 0; i < 4 * NR_PACKED_TYPES; i++) {
		enum weight_type type =
			(enum weight_type)(NR_PLAIN_TYPES + i / 4);
		struct product p = product(type, 16, 2, 0);
		uint8_t *bytes = (uint8_t *)(uintptr_t)p.w.data;

		ROW(weight_formats[type].name);
		memset(bytes, i & 1 ? 0xff : 0x80, 16 * p.w.row_stride);
		if (type != WEIGHT_MXFP4) /* scales that are numbers */
			for (size_t j = 0; j < 16 * p.w.row_stride; j += 2)
				bytes[j + 1] = i & 1 ? 0x7b : bytes[j + 1];
		for (uint32_t t = 0; t < TOKENS; t++)
			for (uint32_t k = 0; k < p.w.cols; k++)
				host_row(&p.x, t)[k] = i & 2 ? 3.0f : -3.0f;
		ref_matmul(&p.w, NULL, &p.x, TOKENS, p.row, &p.want);
		interleave(&p);
		for (size_t s = 0; s < 3; s++)
			CHECK(!usable(s) ||
			      same(&p, sets[s], 1, 0, 16, TOKENS));
		product_free(&p);
	}
}

TEST(input_that_is_nothing_or_not_finite_stays_so)
{
	static const float odd[] = { NAN,	INFINITY, -INFINITY, 0x1p-101f,
				     0x1p-100f, 1e-45f,	  -0.0f,     3e38f };

	for (int i = 0; i < 8 * NR_PACKED_TYPES; i++) {
		enum weight_type type =
			(enum weight_type)(NR_PLAIN_TYPES + i / 8);
		struct product p = product(type, 9, 2, 0);
		float *x = host_row(&p.x, 1);

		ROW(weight_formats[type].name);
		for (uint32_t k = 0; k < 32; k++) /* alone in its 32 numbers */
			x[k] = k == 7 ? odd[i % 8] : i & 1 ? 0.0f : -0.0f;
		ref_matmul(&p.w, NULL, &p.x, TOKENS, p.row, &p.want);
		if (i % 8 < 3)
			CHECK(isnan(host_row(&p.want, 1)[0]));
		else if (i % 8 != 7)
			CHECK(isfinite(host_row(&p.want, 1)[0]));
		CHECK(isfinite(host_row(&p.want, 0)[0]));
		for (size_t s = 0; s < 3; s++)
			CHECK(!usable(s) || same(&p, sets[s], 1, 0, 9, TOKENS));
		product_free(&p);
	}
}

/*
 * Against float64 over the numbers that the weights stand for, what is lost is
 * the input's rounding: half a step of top / 127 (top / 32767), some 0.004
 * (2e-5) of a product, independent from number to number.  Of a whole row the
 * top is 9, 12 times a number's size: 9 / 127 / sqrt(12) beside 0.78.
 */
TEST(ref_is_near_float64)
{
	for (int i = 0; i < NR_PACKED_TYPES; i++) {
		enum weight_type type = (enum weight_type)(NR_PLAIN_TYPES + i);
		double most = weight_formats[type].wide ? 5e-5
			      : type == WEIGHT_INT8	? 3e-2
							: 1.2e-2;
		uint32_t blocks = 1024 / block_of(type);
		struct product p = product(type, 48, blocks, 0);
		double *x = fx_take(1024 * sizeof(*x)), y[48], e = 0, sum = 0;

		ROW(weight_formats[type].name);
		for (uint32_t t = 0; t < TOKENS; t++) {
			f64_widen(host_row(&p.x, t), x, p.w.cols);
			f64_matmul(&p.w, NULL, x, y);
			for (uint32_t r = 0; r < 48; r++) {
				double d = host_row(&p.want, t)[r] - y[r];

				e += d * d;
				sum += y[r] * y[r];
			}
		}
		if (getenv("LLM_VERBOSE"))
			printf("# %s: %.2e\n", weight_formats[type].name,
			       sqrt(e / sum));
		CHECK(sqrt(e / sum) < most);
		product_free(&p);
	}
}

TEST(packed_weights_change_the_arithmetic_id)
{
	uint64_t id[NR_PACKED];

	for (size_t i = 0; i < NR_PACKED; i++) {
		struct fx_model *m = fx_model(&fx_packed[i]);

		ROW(fx_packed[i].name);
		for (size_t s = 0; s < NR_SETS; s++) {
			const struct ops *ops = ops_find(fx_sets[s]);
			struct ops_ctx *ctx;

			if (!ops)
				continue;
			ctx = fx_open(ops, m, 1, 1);
			CHECK(ctx);
			if (!s)
				id[i] = ops->arith_of(ctx);
			CHECK(ops->arith_of(ctx) == id[i]);
			ops->close(ctx);
		}
		CHECK(id[i] != OPS_ARITH_F32);
		for (size_t j = 0; j < i; j++)
			CHECK(id[j] != id[i]);
	}
}

/* A of the first layer for @rows positions, keys and values kept as @kv. */
static float *attend(const struct ops *ops, struct fx_model *m, enum kv_type kv,
		     const struct fx_seq *seq, uint32_t rows)
{
	float *a = fx_take((size_t)rows * m->layer[0].o.cols * 4);
	static struct fx_step f;
	struct ops_ctx *ctx;

	m->shape.kv = kv;
	ctx = fx_open(ops, m, rows, 1);
	fx_step_begin(&f);
	fx_step_add(&f, seq, 0, rows);
	ops->embed_norm(ctx, &f.step);
	ops->qkv_rope_kv(ctx, &f.step, 0);
	ops->attention(ctx, &f.step, 0);
	ops->peek(ctx, OPS_A, 0, rows, a);
	ops->close(ctx);
	return a;
}

/* A's squared distance from F32's, as part of its own; @kv: how they are kept */
static double kv_error(struct fx_model *m, enum kv_type kv, uint32_t rows)
{
	static struct fx_seq seq;
	size_t n = (size_t)rows * m->layer[0].o.cols;
	double e = 0, sum = 0;
	float *want, *got;

	fx_seq(&seq, m->shape.vocab, 1, 12);
	want = attend(&ops_ref, m, KV_F32, &seq, rows);
	got = attend(&ops_ref, m, kv, &seq, rows);
	for (size_t j = 0; j < n; j++) {
		e += (got[j] - want[j]) * (got[j] - want[j]);
		sum += want[j] * want[j];
	}
	return sqrt(e / sum);
}

/*
 * A step of a head's scale is 1/127 of its largest number, here some 2 to 3
 * deviations: its error, step / sqrt(12), is 0.7 % of a deviation, in values
 * and, through the scores, in the weights.
 */
TEST(eight_bit_kv_is_near_f32_in_a_quarter_of_the_memory)
{
	for (size_t i = 0; i < 5; i++) {
		struct fx_model *m = fx_model(&fx_shapes[i]);
		struct ops_shape s = m->shape;
		double e = kv_error(m, KV_Q8, 90);

		ROW(fx_shapes[i].name);
		if (getenv("LLM_VERBOSE"))
			printf("# %s: %.2e\n", fx_shapes[i].name, e);
		CHECK(e > 0 && e < 0.02);
		s.kv = KV_Q8;
		CHECK_EQ(ops_ref.kv_block_bytes(&s),
			 MAX_LAYERS * 2 * s.nr_kv_heads *
				 (s.head_dim * 16 + 64));
	}
}

/* An F16 of 11 bits is off by 2^-12 at most, 0.02 %. */
TEST(sixteen_bit_kv_is_nearer_in_half_of_the_memory)
{
	for (size_t i = 0; i < 5; i++) {
		struct fx_model *m = fx_model(&fx_shapes[i]);
		struct ops_shape s = m->shape;
		double e = kv_error(m, KV_F16, 90);

		ROW(fx_shapes[i].name);
		if (getenv("LLM_VERBOSE"))
			printf("# %s: %.2e\n", fx_shapes[i].name, e);
		CHECK(e > 0 && e < 0.001);
		s.kv = KV_F16;
		CHECK_EQ(ops_ref.kv_block_bytes(&s),
			 MAX_LAYERS * 2 * s.nr_kv_heads * s.head_dim * 32);
	}
}

/* What F16 cannot hold: clamped, rounded to even, kept NaN; ref's and AVX2's. */
TEST(keys_and_values_beyond_f16_are_clamped)
{
	static const struct {
		float x;
		uint16_t want;
	} row[] = {
		{ 65504, 0x7bff },	  { 65519, 0x7bff },
		{ 65520, 0x7bff },	  { -1e30f, 0xfbff },
		{ INFINITY, 0x7bff },	  { 1e-9f, 0 },
		{ -1e-9f, 0x8000 },	  { 0x1p-24f, 1 },
		{ 0x3p-25f, 2 },	  { 1 + 0x1p-11f, 0x3c00 },
		{ 1 + 0x3p-11f, 0x3c02 },
	};
	struct fx_model *m = fx_model(&fx_shapes[1]);
	const uint32_t n = sizeof(row) / sizeof(row[0]);
	struct ops_ctx *ctx;
	uint16_t got[16];
	float x[16] = { 0 };

	for (uint32_t i = 0; i < n; i++)
		x[i] = row[i].x;
	x[n] = NAN;
	if (usable(0)) {
		cpu_kernels_avx2.halves(x, n + 1, got);
		for (uint32_t i = 0; i < n; i++)
			CHECK_EQ(got[i], row[i].want);
		CHECK(isnan(f16_to_f32(got[n])));
	}
	m->shape.kv = KV_F16;
	ctx = fx_open(&ops_ref, m, 1, 1);
	ref_write_kv(ctx, 0, OPS_BLOCK, x, x);
	memcpy(got, host_v(ctx, 1, 0, 0), sizeof(got));
	for (uint32_t i = 0; i < n; i++)
		CHECK_EQ(got[i], row[i].want);
	CHECK(isnan(f16_to_f32(got[n])));
	ops_ref.close(ctx);
}

struct improver {
	const struct ops *ops;
	struct ops_ctx *ctx;
	uint32_t nr;
	_Atomic int ready;
};

static void *improve(void *arg)
{
	struct improver *i = arg;
	struct weight done;

	while (i->ops->improve(i->ctx, &done) == 1) {
		i->nr++;
		atomic_store(&i->ready, 1);
	}
	atomic_store(&i->ready, 1);
	return NULL;
}

/* A sequence token by token, three layouts: as in the file, some of it
 * interleaved (in whatever order the threads run), all of it. */
TEST(weights_improved_behind_the_steps_give_the_same_bits)
{
	enum { CONTEXT = 40 };
	static struct fx_seq seq;
	static struct fx_step f;

	for (size_t s = 0; s < NR_PACKED * NR_SETS; s++) {
		const struct ops *ops = ops_find(fx_sets[s % NR_SETS]);
		const struct fx_shape *shape = &fx_packed[s / NR_SETS];
		struct fx_model *m = fx_model(shape);
		size_t vocab = m->shape.vocab;
		float *want = fx_take(CONTEXT * vocab * 4);
		float *got = fx_take(CONTEXT * vocab * 4);

		ROW(shape->name);
		if (!ops || ops == &ops_ref)
			continue;
		CHECK(ops->improved_bytes && ops->improve && ops->adopt);
		fx_seq(&seq, m->shape.vocab, 1, 12);
		for (int how = 0; how < 2; how++) {
			struct improver i = { ops, fx_open(ops, m, 1, 2) };
			pthread_t thread;

			for (uint32_t at = 0; at < CONTEXT; at++) {
				if (how && at == 5)
					pthread_create(&thread, NULL, improve,
						       &i);
				if (how && at == 6)
					while (!atomic_load(&i.ready))
						;
				if (how && at == 30)
					pthread_join(thread, NULL);
				fx_step_begin(&f);
				fx_step_add(&f, &seq, at, 1);
				ops->adopt(i.ctx);
				fx_forward(ops, i.ctx, &f.step);
				ops->peek(i.ctx, OPS_LOGITS, 0, 1,
					  (how ? got : want) + at * vocab);
			}
			if (how)
				CHECK_EQ(i.nr,
					 shape->type == WEIGHT_F32 ? 0
					 : shape->other && !weight_is_packed(
								   shape->other)
						 ? 5 * MAX_LAYERS
						 : 7 * MAX_LAYERS + 1);
			ops->close(i.ctx);
		}
		CHECK(!memcmp(got, want, CONTEXT * vocab * 4));
		fx_free(want);
		fx_free(got);
	}
}
