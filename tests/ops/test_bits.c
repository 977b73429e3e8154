/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/*
 * The law (I4): a row's bits depend on that row alone.  Whole forward passes,
 * compared with memcmp: among op sets, alone and in a batch, whole and in
 * chunks, with one, two and three threads, with blocks elsewhere.
 */
#include "tests/ops/fixture.h"

#define CONTEXT 70

/* The plain shapes, then the packed ones. */
#define NR_ALL	(NR_SHAPES + NR_PACKED)
#define NR_INT8 2 /* the last of them */
#define NR_KV16 3 /* those before */
#define NR_OLD	(NR_ALL - NR_INT8 - NR_KV16)
static const struct fx_shape *any_shape(size_t i)
{
	return i < NR_SHAPES ? &fx_shapes[i] : &fx_packed[i - NR_SHAPES];
}

/* What a run leaves of each position of a sequence. */
struct trace {
	float *logits; /* [MAX_CONTEXT][vocab] */
	float *x;      /* [MAX_CONTEXT][dim] the residual stream at the end */
};

static struct trace trace(const struct fx_model *m)
{
	return (struct trace){
		fx_take((size_t)MAX_CONTEXT * m->shape.vocab * 4),
		fx_take((size_t)MAX_CONTEXT * m->shape.dim * 4),
	};
}

static void trace_free(struct trace *t)
{
	fx_free(t->logits);
	fx_free(t->x);
}

/* Rows [row, row + n) of the step just run are positions [first, ..). */
static void trace_read(const struct ops *ops, struct ops_ctx *ctx,
		       const struct fx_model *m, uint32_t row, uint32_t first,
		       uint32_t n, struct trace *t)
{
	ops->peek(ctx, OPS_LOGITS, row, n,
		  t->logits + (size_t)first * m->shape.vocab);
	ops->peek(ctx, OPS_X, row, n, t->x + (size_t)first * m->shape.dim);
}

static int same(const struct trace *a, const struct trace *b,
		const struct fx_model *m, uint32_t first, uint32_t n)
{
	size_t l = (size_t)first * m->shape.vocab;
	size_t x = (size_t)first * m->shape.dim;

	return !memcmp(a->logits + l, b->logits + l,
		       (size_t)n * m->shape.vocab * 4) &&
	       !memcmp(a->x + x, b->x + x, (size_t)n * m->shape.dim * 4);
}

/* @context tokens of @seq in chunks of @chunk; 0: of random sizes. */
static void run_chunks(const struct ops *ops, const struct fx_model *m,
		       const struct fx_seq *seq, uint32_t context,
		       uint32_t chunk, uint32_t threads, struct trace *t)
{
	struct ops_ctx *ctx = fx_open(ops, m, MAX_ROWS, threads);
	static struct fx_step f;

	for (uint32_t first = 0, n; first < context; first += n) {
		n = chunk ? chunk : 1 + fx_below(MAX_ROWS);
		if (n > context - first)
			n = context - first;
		fx_step_begin(&f);
		fx_step_add(&f, seq, first, n);
		fx_forward(ops, ctx, &f.step);
		trace_read(ops, ctx, m, 0, first, n, t);
	}
	ops->close(ctx);
}

TEST(every_op_set_gives_the_bits_of_ref)
{
	static struct fx_seq seq;

	for (size_t i = 0; i < NR_ALL; i++) {
		struct fx_model *m = fx_model(any_shape(i));
		struct trace want = trace(m), got = trace(m);

		ROW(any_shape(i)->name);
		fx_seq(&seq, m->shape.vocab, 1, 11);
		run_chunks(&ops_ref, m, &seq, CONTEXT, CONTEXT, 1, &want);
		for (size_t s = 1; s < NR_SETS; s++) {
			const struct ops *ops = ops_find(fx_sets[s]);

			if (!ops)
				continue;
			CHECK(ops->arith == ops_ref.arith);
			run_chunks(ops, m, &seq, CONTEXT, CONTEXT, 1, &got);
			CHECK(same(&want, &got, m, 0, CONTEXT));
		}
		trace_free(&want);
		trace_free(&got);
	}
}

/* 1..70 rows in one step, each count: every way that tiles are cut */
TEST(any_number_of_rows_gives_the_same_bits)
{
	static struct fx_seq seq;
	static struct fx_step f;

	for (size_t i = 0; i < 6 * NR_SETS; i++) {
		const struct ops *ops = ops_find(fx_sets[i % NR_SETS]);
		struct fx_model *m = fx_model(any_shape(i / NR_SETS * 5 / 2));
		struct trace want = trace(m), got = trace(m);

		ROW(any_shape(i / NR_SETS * 5 / 2)->name);
		if (!ops || ops == &ops_ref)
			continue;
		fx_seq(&seq, m->shape.vocab, 1, 11);
		run_chunks(ops, m, &seq, CONTEXT, 1, 1, &want);
		for (uint32_t n = 2; n <= CONTEXT; n++) {
			struct ops_ctx *ctx = fx_open(ops, m, n, 1);

			fx_step_begin(&f);
			fx_step_add(&f, &seq, 0, n);
			fx_forward(ops, ctx, &f.step);
			trace_read(ops, ctx, m, 0, 0, n, &got);
			CHECK(same(&want, &got, m, 0, n));
			ops->close(ctx);
		}
		trace_free(&want);
		trace_free(&got);
	}
}

TEST(chunks_and_threads_do_not_show)
{
	static struct fx_seq seq;

	for (size_t i = 0; i < NR_ALL; i++) {
		/* over two ends of a part where the model is small */
		uint32_t context = any_shape(i)->dim <= 52 ? 1090 : 130;
		const struct ops *ops = ops_find(NULL);
		struct fx_model *m = fx_model(any_shape(i));
		struct trace want = trace(m), got = trace(m);

		ROW(any_shape(i)->name);
		fx_seq(&seq, m->shape.vocab, 1, 12);
		run_chunks(ops, m, &seq, context, 1, 1, &want);
		run_chunks(ops, m, &seq, context, MAX_ROWS, 2, &got);
		CHECK(same(&want, &got, m, 0, context));
		run_chunks(ops, m, &seq, context, 16, 3, &got);
		CHECK(same(&want, &got, m, 0, context));
		run_chunks(ops, m, &seq, context, 0, 2, &got);
		CHECK(same(&want, &got, m, 0, context));
		trace_free(&want);
		trace_free(&got);
	}
}

TEST(a_row_alone_is_the_row_among_others)
{
	enum { OTHERS = 9 };
	static struct fx_seq seq[OTHERS];
	static struct fx_step f;

	for (size_t i = 0; i < 7 * NR_SETS; i++) {
		/* five plain shapes, two packed ones */
		const struct fx_shape *shape = any_shape(
			i / NR_SETS < 5 ? i / NR_SETS
					: NR_SHAPES + i / NR_SETS * 4 - 19);
		const struct ops *ops = ops_find(fx_sets[i % NR_SETS]);
		struct fx_model *m = fx_model(shape);
		struct trace want = trace(m), got = trace(m);
		uint32_t done[OTHERS] = { 0 };
		struct ops_ctx *ctx;

		ROW(shape->name);
		if (!ops || (ops == &ops_ref && shape >= fx_packed &&
			     shape < fx_packed + NR_PACKED))
			continue; /* slow, and every other set is its bits */
		for (uint32_t s = 0; s < OTHERS; s++)
			fx_seq(&seq[s], m->shape.vocab, 1, s + 3);
		/* theirs: blocks 101.. and far between, ours: 1..100 */
		for (uint32_t s = 1; s < OTHERS; s++)
			for (uint32_t b = 0; b < 10; b++)
				seq[s].block[b] = 101 + s * 10 + b - 10;
		run_chunks(ops, m, &seq[0], CONTEXT, CONTEXT, 1, &want);
		ctx = fx_open(ops, m, MAX_ROWS, 2);
		fx_state = i;
		while (done[0] < CONTEXT) { /* ours now first, now last */
			uint32_t at = fx_below(OTHERS), row = 0, n = 0;

			fx_step_begin(&f);
			for (uint32_t j = 0; j < OTHERS; j++) {
				uint32_t s = (j + at) % OTHERS;
				uint32_t k = 1 + fx_below(12);

				if (k > CONTEXT - done[s])
					k = CONTEXT - done[s];
				if (!k)
					continue;
				if (!s) {
					row = f.step.nr_rows;
					n = k;
				}
				fx_step_add(&f, &seq[s], done[s], k);
				done[s] += k;
			}
			fx_forward(ops, ctx, &f.step);
			trace_read(ops, ctx, m, row, done[0] - n, n, &got);
		}
		ops->close(ctx);
		CHECK(same(&want, &got, m, 0, CONTEXT));
		trace_free(&want);
		trace_free(&got);
	}
}

TEST(where_blocks_lie_does_not_show)
{
	static struct fx_seq a, b;
	struct fx_model *m = fx_model(&fx_shapes[0]);
	struct trace want = trace(m), got = trace(m);
	const struct ops *ops = ops_find(NULL);

	fx_seq(&a, m->shape.vocab, 1, 12);
	b = a;
	for (uint32_t i = 0; i < MAX_CONTEXT / OPS_BLOCK; i++)
		b.block[i] = 2 * MAX_CONTEXT / OPS_BLOCK - i;
	run_chunks(ops, m, &a, CONTEXT, 32, 1, &want);
	run_chunks(ops, m, &b, CONTEXT, 32, 1, &got);
	CHECK(same(&want, &got, m, 0, CONTEXT));
}

/* What stands in keys that a row must not see, here NaN, changes nothing. */
TEST(a_row_touches_exactly_its_keys)
{
	static struct fx_seq seq;
	static struct fx_step f;

	for (size_t i = 0; i < (NR_SHAPES + 2) * NR_SETS; i++) {
		/* the plain ones, and those with 8-bit KV */
		size_t at_shape = i / NR_SETS;
		const struct fx_shape *shape = any_shape(
			at_shape < NR_SHAPES ? at_shape
					     : at_shape + NR_PACKED - 2);
		const struct ops *ops = ops_find(fx_sets[i % NR_SETS]);
		struct fx_model *m = fx_model(shape);
		uint32_t window = shape->window;
		uint32_t dim = m->shape.dim, at = 52;
		struct trace want = trace(m), got = trace(m);
		float *nan = fx_take(MAX_ROWS * dim * 4);
		struct ops_ctx *ctx;

		ROW(shape->name);
		if (!ops)
			continue;
		for (uint32_t j = 0; j < MAX_ROWS * dim; j++)
			nan[j] = NAN;
		fx_seq(&seq, m->shape.vocab, 1, 12);
		run_chunks(ops, m, &seq, at + 1, MAX_ROWS, 1, &want);
		ctx = fx_open(ops, m, MAX_ROWS, 1);
		/* NaN keys and values after our row, and before its window */
		fx_step_begin(&f);
		fx_step_add(&f, &seq, 0, 64);
		for (uint32_t r = 0; r < at + 1; r++)
			f.slot[r] = 0;
		for (uint32_t l = 0; l < MAX_LAYERS; l++) {
			ops->embed_norm(ctx, &f.step);
			ops->poke(ctx, OPS_XN, 0, 64, nan);
			ops->qkv_rope_kv(ctx, &f.step, l);
		}
		fx_step_begin(&f);
		fx_step_add(&f, &seq, 0, at + 1);
		fx_forward(ops, ctx, &f.step);
		if (window && window < at) {
			uint32_t gone = at + 1 - window;

			fx_step_begin(&f);
			fx_step_add(&f, &seq, 0, gone);
			for (uint32_t l = 0; l < MAX_LAYERS; l++) {
				ops->embed_norm(ctx, &f.step);
				ops->poke(ctx, OPS_XN, 0, gone, nan);
				ops->qkv_rope_kv(ctx, &f.step, l);
			}
			fx_step_begin(&f);
			fx_step_add(&f, &seq, at, 1);
			fx_forward(ops, ctx, &f.step);
			trace_read(ops, ctx, m, 0, at, 1, &got);
		} else {
			trace_read(ops, ctx, m, at, at, 1, &got);
		}
		CHECK(same(&want, &got, m, at, 1));
		ops->close(ctx);
		trace_free(&want);
		trace_free(&got);
		fx_free(nan);
	}
}

TEST(a_slot_in_block_0_is_not_written)
{
	static struct fx_seq seq;
	static struct fx_step f;

	for (size_t i = 0; i < NR_SETS; i++) {
		const struct ops *ops = ops_find(fx_sets[i]);
		struct fx_model *m = fx_model(&fx_shapes[0]);
		struct trace want = trace(m), got = trace(m);
		struct ops_ctx *ctx;

		if (!ops)
			continue;
		fx_seq(&seq, m->shape.vocab, 1, 12);
		ctx = fx_open(ops, m, MAX_ROWS, 1);
		fx_step_begin(&f);
		fx_step_add(&f, &seq, 0, 48);
		fx_forward(ops, ctx, &f.step);
		trace_read(ops, ctx, m, 0, 0, 48, &want);
		/*
		 * The last token again, as another one: what it would write
		 * is wrong, so the third step shows whether it was written.
		 */
		fx_step_begin(&f);
		fx_step_add(&f, &seq, 40, 8);
		for (uint32_t r = 0; r < 8; r++) {
			f.slot[r] = r;
			f.token[r] = (f.token[r] + 1) % m->shape.vocab;
		}
		fx_forward(ops, ctx, &f.step);
		fx_step_begin(&f);
		fx_step_add(&f, &seq, 47, 1);
		f.slot[0] = 15;
		fx_forward(ops, ctx, &f.step);
		trace_read(ops, ctx, m, 0, 47, 1, &got);
		CHECK(same(&want, &got, m, 47, 1));
		ops->close(ctx);
	}
}

TEST(copied_blocks_are_the_blocks)
{
	static struct fx_seq seq, moved;
	static struct fx_step f;

	for (size_t i = 0; i < NR_SETS; i++) {
		const struct ops *ops = ops_find(fx_sets[i]);
		struct fx_model *m = fx_model(&fx_shapes[1]);
		struct trace want = trace(m), got = trace(m);
		struct block_copy pairs[3];
		struct ops_ctx *ctx;

		if (!ops)
			continue;
		fx_seq(&seq, m->shape.vocab, 1, 12);
		run_chunks(ops, m, &seq, 48, 48, 1, &want);
		moved = seq;
		for (uint32_t b = 0; b < 3; b++) {
			moved.block[b] = 150 + b * 3;
			pairs[b] = (struct block_copy){ seq.block[b],
							moved.block[b] };
		}
		ctx = fx_open(ops, m, MAX_ROWS, 1);
		fx_step_begin(&f);
		fx_step_add(&f, &seq, 0, 47);
		fx_forward(ops, ctx, &f.step);
		CHECK_EQ(ops->copy_blocks(ctx, pairs, 3), 0);
		fx_step_begin(&f);
		fx_step_add(&f, &moved, 47, 1);
		fx_forward(ops, ctx, &f.step);
		trace_read(ops, ctx, m, 0, 47, 1, &got);
		CHECK(same(&want, &got, m, 47, 1));
		ops->close(ctx);
	}
}

/* FNV-1a */
static uint64_t digest(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 1099511628211ull;
	return h;
}

/*
 * Recovery trusts the id: streams of another life, perhaps another build or
 * another machine, go on under it.  Who changes the bits changes the id, then
 * this number.  (The rope table here is rational, so libm has no part in it.)
 */
static void check_digest(size_t from, size_t to, uint32_t rows, uint64_t want)
{
	static struct fx_seq seq;
	static struct fx_step f;

	for (size_t s = 0; s < NR_SETS; s++) {
		const struct ops *ops = ops_find(fx_sets[s]);
		uint64_t h = 14695981039346656037ull;

		for (size_t i = from; ops && i < to; i++) {
			struct fx_model *m = fx_model(any_shape(i));
			uint32_t rotary = m->shape.rotary_dim;
			float *rope = fx_take((size_t)MAX_CONTEXT * rotary * 4);
			struct trace t = trace(m);
			struct ops_ctx *ctx;

			for (uint32_t j = 0; j < MAX_CONTEXT * rotary; j += 2) {
				double a = j % 1009 / 1009.0 - 0.5;

				rope[j] = (float)((1 - a * a) / (1 + a * a));
				rope[j + 1] = (float)(2 * a / (1 + a * a));
			}
			for (uint32_t l = 0; l < MAX_LAYERS; l++)
				m->layer[l].rope = rope;
			fx_seq(&seq, m->shape.vocab, 1, 5);
			ctx = fx_open(ops, m, MAX_ROWS, 2);
			for (uint32_t at = 0; at < rows; at += 90) {
				fx_step_begin(&f);
				fx_step_add(&f, &seq, at, 90);
				fx_forward(ops, ctx, &f.step);
				trace_read(ops, ctx, m, 0, at, 90, &t);
			}
			ops->close(ctx);
			h = digest(h, t.logits,
				   (size_t)rows * m->shape.vocab * 4);
			trace_free(&t);
			fx_free(rope);
		}
		if (ops && h != want)
			printf("# %s: %016llx\n", ops->name,
			       (unsigned long long)h);
		CHECK(!ops || h == want);
	}
}

TEST(the_arithmetic_id_stands_for_these_bits)
{
	for (size_t s = 0; s < NR_SETS; s++) {
		const struct ops *ops = ops_find(fx_sets[s]);

		CHECK(!ops || ops->arith == OPS_ARITH_F32);
	}
	check_digest(0, NR_SHAPES, 540, 0xc05a66d2df44ee36);
}

/*
 * The same for P1 and P2: who changes this counts host.c's versions up.  (The
 * weights are packed here: a better search in quantize.c changes it as well.)
 */
TEST(the_packed_types_versions_stand_for_these_bits)
{
	check_digest(NR_SHAPES, NR_OLD, 90, 0x43ee976191fab19f);
}

/* The same for K2. */
TEST(the_id_of_16_bit_kv_stands_for_these_bits)
{
	check_digest(NR_OLD, NR_OLD + NR_KV16, 540, 0xa69e6bee783a9f79);
}

/* The same for P3. */
TEST(the_version_of_INT8_stands_for_these_bits)
{
	check_digest(NR_ALL - NR_INT8, NR_ALL, 90, 0xfd7dd8ed6778fc56);
}

TEST(bad_sizes_and_weights_are_refused_in_words)
{
	struct fx_model *m = fx_model(&fx_shapes[0]);
	struct ops_limits limits = { 8, 8, 64, 8, 1 };
	struct ops_layer layer = m->layer[0];
	struct ops_shape shape = m->shape;
	struct ops_ctx *ctx = NULL;
	struct err err = { 0 };

	shape.nr_kv_heads = 3;
	CHECK_EQ(ops_ref.open(&shape, &limits, &ctx, &err), -22);
	CHECK_STR(err.text, "4 heads do not share 3 kv heads evenly");
	shape = m->shape;
	shape.vocab = 1u << 31;
	CHECK_EQ(ops_ref.open(&shape, &limits, &ctx, &err), -22);
	CHECK_STR(err.text, "vocab 2147483648, allowed 1..8388608");
	CHECK_EQ(ops_ref.open(&m->shape, &limits, &ctx, &err), 0);
	layer.up.rows--;
	CHECK_EQ(ops_ref.load_layer(ctx, 0, &layer, &err), -22);
	CHECK_STR(err.text, "up: [175, 64], the model's sizes say [176, 64]");
	CHECK_EQ(ops_ref.load_layer(ctx, MAX_LAYERS, &m->layer[0], &err), -22);
	ops_ref.close(ctx);
	/* the sums of P3 are exact so far */
	shape = m->shape;
	shape.ffn = OPS_INT8_COLS + 1;
	layer = m->layer[0];
	layer.gate.rows = layer.up.rows = layer.down.cols = shape.ffn;
	layer.down.type = WEIGHT_INT8;
	layer.down.row_stride = weight_row_bytes(WEIGHT_INT8, shape.ffn);
	CHECK_EQ(ops_ref.open(&shape, &limits, &ctx, &err), 0);
	CHECK_EQ(ops_ref.load_layer(ctx, 0, &layer, &err), -22);
	CHECK_STR(err.text,
		  "down: INT8 adds up 131072 columns at most, found 131073");
	ops_ref.close(ctx);
	CHECK(!ops_find("no such set"));
	CHECK(ops_find("ref") == &ops_ref);
}
