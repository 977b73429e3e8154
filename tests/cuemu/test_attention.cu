/* SPDX-License-Identifier: MIT */
/*
 * slow test: paged attention against float64 and against itself: decode,
 * several query tokens and whole prompts, any split of a context over warps,
 * any grouping of query tokens, blocks wherever they lie, give the same bits.
 * Every size of a head, and windows; kernels/ref beside it.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/ref.h"

extern "C" {
#include "kernels/ref/ref.h"
}

#include <cerrno>

#define KV_HEADS  2
#define BLOCKS	  160 /* no factor of 67 and 63, which place them */
#define MAX_TILES 6
#define MAX_UNITS 64
#define MAX_WORK  (MAX_UNITS * MAX_TILES)
#define STRIDE	  48 /* blocks of a table */
#define LOG2_E	  1.4426950408889634

/* Contexts, and how many of their tokens are queries: 45 is a whole prompt. */
static const int context[] = { 1, 16, 130, 257, 700, 523, 45 };
static const int queries[] = { 1, 1, 2, 8, 1, 5, 45 };
#define SEQS  7
#define TOTAL (1 + 1 + 2 + 8 + 1 + 5 + 45)

struct fixture {
	int group, heads, dim, row_size; /* query heads: of a KV head, all */
	int kv_size, window = 0;	 /* kv_size: numbers of K of a head */
	int max_tiles = MAX_TILES, nr_work = 0;
	bool q8; /* K and V of 8 bits */
	array<int> table, start, len, count;
	array<cuda_attention_work> work;
	array<cuda_attention_plan> plan;
	array<uint16_t> q, kv;
	array<float> part, state, out;
	size_t block_stride; /* K and V of two layers, this is the second */

	explicit fixture(int places, int heads_of_group = 4, int head_dim = 128,
			 bool codes = false)
		: group(heads_of_group), heads(group * KV_HEADS), dim(head_dim),
		  row_size(heads * dim),
		  kv_size((codes ? layout_kv8_bytes(dim)
				 : layout_kv_bytes(dim)) /
			  2),
		  q8(codes), table(SEQS * STRIDE), start(SEQS + 1), len(SEQS),
		  count(MAX_UNITS * KV_HEADS * 2), work(MAX_WORK), plan(1),
		  q((size_t)TOTAL * row_size),
		  kv((size_t)BLOCKS * 4 * KV_HEADS * kv_size),
		  part((size_t)MAX_UNITS * KV_HEADS * MAX_TILES * 16 * dim),
		  state((size_t)MAX_UNITS * KV_HEADS * 2 * MAX_TILES * 16 * 2),
		  out((size_t)TOTAL * row_size),
		  block_stride((size_t)4 * KV_HEADS * kv_size)
	{
		int used = 0;

		for (int s = 0; s < SEQS; s++) {
			for (int i = 0; i * KV_BLOCK < context[s]; i++)
				table[s * STRIDE + i] =
					used++ * places % BLOCKS;
			for (int p = 0; p < context[s]; p++)
				fill_kv(s, p);
		}
		for (int &c : count.host)
			c = 0;
		table.send();
		count.send();
		kv.send();
	}

	uint16_t *keys()
	{
		return &kv[(size_t)2 * KV_HEADS * kv_size];
	}

	uint16_t *values()
	{
		return &kv[(size_t)3 * KV_HEADS * kv_size];
	}

	/* what dimension @e of K (4) or V (5) was before it was stored */
	static float number(int stream, int s, int p, int h, int e, int dim,
			    bool q8)
	{
		uint64_t i =
			(((uint64_t)s * 1024 + p) * KV_HEADS + h) * dim + e;
		float v = noise(stream, i);

		return q8 ? v : mma_widen(to_bf16(v));
	}

	float number(int stream, int s, int p, int h, int e)
	{
		return number(stream, s, p, h, e, dim, q8);
	}

	/* code and scale of 8 bits of a head of a token: rule K1 */
	float scale(int stream, int s, int p, int h)
	{
		float top = 0;

		for (int e = 0; e < dim; e++)
			top = fmaxf(top, fabsf(number(stream, s, p, h, e)));
		return top / 127.f;
	}

	int code(int stream, int s, int p, int h, int e)
	{
		float inverse = 1 / scale(stream, s, p, h);

		return (int)rintf(number(stream, s, p, h, e) * inverse);
	}

	/* as it is stored */
	double stored(int stream, int s, int p, int h, int e)
	{
		if (!q8)
			return number(stream, s, p, h, e);
		return (double)code(stream, s, p, h, e) *
		       scale(stream, s, p, h);
	}

	/* all other slots stay NaN */
	void fill_kv(int s, int p)
	{
		for (int stream = 4; stream < 6; stream++)
			for (int h = 0; h < KV_HEADS; h++)
				fill_head(stream, s, p, h);
	}

	void fill_head(int stream, int s, int p, int h)
	{
		uint16_t *to = stream == 4 ? keys() : values();
		size_t block = table[s * STRIDE + p / KV_BLOCK];
		char *head = (char *)(to + block * block_stride +
				      (size_t)h * kv_size);
		float x = q8 ? scale(stream, s, p, h) : 0;

		for (int e = 0; e < dim; e++) {
			int at = layout_kv(dim, p % KV_BLOCK, e / 8);
			uint16_t bf16 = to_bf16(number(stream, s, p, h, e));

			if (q8)
				head[at / 2 + e % 8] =
					(char)code(stream, s, p, h, e);
			else
				memcpy(head + at + e % 8 * 2, &bf16, 2);
		}
		if (q8)
			memcpy(head + KV_BLOCK * dim + p % KV_BLOCK * 4, &x, 4);
	}

	/*
	 * Lay out query tokens first[s] .. first[s] + count[s] - 1 of each
	 * sequence (counted from its first query token), and run.
	 */
	bool run(const int *first, const int *nr, int tiles_per_warp)
	{
		int row = 0, units = 0, before = 0;

		nr_work = 0;
		for (int s = 0; s < SEQS; s++) {
			start[s] = row;
			len[s] = context[s] - queries[s] + first[s] + nr[s];
			for (int t = 0; t < nr[s]; t++, row++)
				for (int e = 0; e < row_size; e++)
					q[(size_t)row * row_size + e] =
						query(before + first[s] + t, e);
			for (int r = 0; r < nr[s] * group; r += 16)
				add_unit(s, r, units++, tiles_per_warp);
			before += queries[s];
		}
		start[SEQS] = row;
		q.send();
		start.send();
		len.send();
		/* some have nothing to do */
		for (int i = nr_work; i < MAX_WORK; i++)
			work[i] = { -(1 << 28), 0, 0, 0 };
		work.send();
		return launch_it(tiles_per_warp);
	}

	/* A unit, in as many parts as tiles want; all of it where one will do. */
	void add_unit(int seq, int row, int place, int per)
	{
		for (int i = 0; i * per < max_tiles; i++)
			work[nr_work++] = { seq, row,
					    per < max_tiles ? place : -1, i };
	}

	uint16_t query(int token, int e)
	{
		return to_bf16(noise(6, (size_t)token * row_size + e) * 2);
	}

	struct cuda_attention_args args(int tiles_per_warp)
	{
		struct cuda_attention_args a = {};

		plan[0] = { STRIDE, max_tiles, tiles_per_warp };
		plan.send();

		a.q = q.device;
		a.k = kv.device + (keys() - &kv[0]);
		a.v = kv.device + (values() - &kv[0]);
		a.block_table = table.device;
		a.query_start = start.device;
		a.context_len = len.device;
		a.plan = plan.device;
		a.work = work.device;
		a.part = part.device;
		a.state = state.device;
		a.count = count.device;
		a.out = out.device;
		a.block_stride = block_stride;
		a.nr_heads = heads;
		a.nr_kv_heads = KV_HEADS;
		a.nr_work = nr_work + 3 < MAX_WORK ? nr_work + 3 : MAX_WORK;
		a.scale = (float)(LOG2_E / sqrt(dim));
		a.number = CUDA_F32;
		a.head_dim = dim;
		a.window = window;
		a.kv = q8 ? CUDA_KV_Q8 : CUDA_KV_BF16;
		return a;
	}

	bool launch_it(int tiles_per_warp)
	{
		struct cuda_attention_args a = args(tiles_per_warp);
		bool ok = ran(cuda_attention(&a, NULL));

		out.fetch();
		return ok;
	}

	bool run_all(int tiles_per_warp)
	{
		static const int none[SEQS] = {};

		return run(none, queries, tiles_per_warp);
	}

	/* The error of token @t (of sequence @s) and @head, row @row of out. */
	void judge(int s, int t, int row, int head, double *worst)
	{
		int n = context[s] - queries[s] + t + 1;
		int lo = window && n > window ? n - window : 0;
		std::vector<double> weight(n), o(dim, 0.);
		double top = -1e30, sum = 0;
		const uint16_t *qh = &q[((size_t)row * heads + head) * dim];

		for (int p = lo; p < n; p++) {
			weight[p] = 0;
			for (int e = 0; e < dim; e++)
				weight[p] += (double)mma_widen(qh[e]) *
					     stored(4, s, p, head / group, e);
			weight[p] /= sqrt(dim);
			top = fmax(top, weight[p]);
		}
		for (int p = lo; p < n; p++) {
			weight[p] = exp(weight[p] - top);
			sum += weight[p];
			for (int e = 0; e < dim; e++)
				o[e] += weight[p] *
					stored(5, s, p, head / group, e);
		}
		for (int e = 0; e < dim; e++)
			worse(worst,
			      fabs(out[((size_t)row * heads + head) * dim + e] -
				   o[e] / sum));
	}
};

/* The worst error after run_all(). */
static double worst_error(fixture &f)
{
	double worst = 0;
	int row = 0;

	for (int s = 0; s < SEQS; s++)
		for (int t = 0; t < queries[s]; t++, row++)
			for (int h = 0; h < f.heads; h++)
				f.judge(s, t, row, h, &worst);
	printf("# worst error %.5f of values in [-1, 1]\n", worst);
	return worst;
}

TEST(attention_is_near_float64_under_every_schedule)
{
	fixture f(67);

	EACH_MODEL
	{
		CHECK(every_schedule(f.out.host, [&] { return f.run_all(1); }));
		CHECK(worst_error(f) < 0.002);
		print_digest("attention", f.out.host);
	}
}

TEST(any_number_of_heads_may_share_a_KV_head)
{
	for (int group : { 1, 3, 7 }) {
		fixture f(67, group);
		std::vector<float> first;

		CHECK(f.run_all(2));
		CHECK(worst_error(f) < 0.002);
		first = f.out.host;
		CHECK(f.run_all(6));
		CHECK(same_bits(f.out.host, first));
	}
}

TEST(keys_and_values_of_8_bits_are_near_float64)
{
	for (int dim : { 16, 80, 128, 256 }) {
		fixture f(67, 2, dim, true);
		std::vector<float> first;

		printf("# %d of 8 bits:\n", dim);
		CHECK(every_schedule(f.out.host, [&] { return f.run_all(1); }));
		/* a lone key's probability times scale is rounded to bf16 */
		CHECK(worst_error(f) < 0.0041);
		first = f.out.host;
		CHECK(f.run_all(6));
		CHECK(same_bits(f.out.host, first));
		print_digest("attention of 8 bits", first);
	}
}

static const int dims[] = { 16, 32, 64, 80, 96, 256 };

TEST(every_size_of_a_head_has_a_kernel)
{
	for (int dim : dims) {
		fixture f(67, 3, dim);
		std::vector<float> first;

		printf("# %d:\n", dim);
		CHECK(every_schedule(f.out.host, [&] { return f.run_all(1); }));
		CHECK(worst_error(f) < 0.003);
		first = f.out.host;
		CHECK(f.run_all(6));
		CHECK(same_bits(f.out.host, first));
		print_digest("attention", first);
	}
}

/* Nothing that lies before the windows may be read: it is someone else's. */
static void forget_before_windows(fixture &f)
{
	for (int s = 0; s < SEQS; s++) {
		int first = context[s] - queries[s] - f.window + 1;

		for (int i = 0; (i + 1) * KV_BLOCK <= first; i++)
			f.table[s * STRIDE + i] = 1 << 28;
	}
	f.table.send();
}

TEST(a_window_hides_what_was_before_it)
{
	for (int window : { 1, 24, 128, 129, 300, 2000 }) {
		fixture f(67, 3, 32);
		std::vector<float> first;

		f.window = window;
		CHECK(f.run_all(6));
		CHECK(worst_error(f) < 0.003);
		first = f.out.host;
		forget_before_windows(f);
		/* six tokens of three heads are a unit: what it sees */
		f.max_tiles = (window + 6 + 126) / 128 + 1;
		f.max_tiles = f.max_tiles < MAX_TILES ? f.max_tiles : MAX_TILES;
		CHECK(every_schedule(f.out.host, [&] { return f.run_all(1); }));
		CHECK(same_bits(f.out.host, first));
	}
}

/* Query tokens of sequence @s through ref, whose KV pool gets the same KV. */
static bool ref_attention(fixture &f, ref_model &m, int s, int row,
			  std::vector<float> *ret)
{
	std::vector<float> k(KV_HEADS * f.dim), v(k.size());
	std::vector<float> q((size_t)queries[s] * f.row_size);
	std::vector<uint32_t> table;
	float scale = (float)(1 / sqrt(f.dim));

	for (uint32_t i = 0; i * KV_BLOCK < (uint32_t)context[s]; i++)
		table.push_back(i + 1);
	for (int p = 0; p < context[s]; p++) {
		for (int h = 0; h < KV_HEADS; h++)
			for (int e = 0; e < f.dim; e++) {
				k[h * f.dim + e] = f.number(4, s, p, h, e);
				v[h * f.dim + e] = f.number(5, s, p, h, e);
			}
		ref_write_kv(m.ctx, 0, (uint32_t)p + KV_BLOCK, k.data(),
			     v.data());
	}
	for (size_t i = 0; i < q.size(); i++)
		q[i] = mma_widen(f.q[(size_t)row * f.row_size + i]) * scale;
	ref_step step(std::vector<uint32_t>(queries[s], 0),
		      context[s] - queries[s], table);
	if (ops_ref.embed_norm(m.ctx, &step.step) ||
	    ops_ref.poke(m.ctx, OPS_Q, 0, queries[s], q.data()) ||
	    ops_ref.attention(m.ctx, &step.step, 0))
		return false;
	*ret = m.peek(OPS_A, queries[s], f.row_size);
	return true;
}

TEST(attention_is_near_that_of_ref)
{
	static const struct {
		int dim, window;
		bool q8;
	} cases[] = {
		{ 128, 0, false },  { 64, 0, false }, { 16, 24, false },
		{ 80, 600, false }, { 64, 0, true },  { 80, 24, true },
	};

	for (const auto &c : cases) {
		fixture f(67, 2, c.dim, c.q8);
		struct ops_shape shape = { 16,
					   (uint32_t)f.heads,
					   KV_HEADS,
					   (uint32_t)c.dim,
					   16,
					   16,
					   16,
					   1,
					   1e-5f,
					   1,
					   c.q8 ? KV_Q8 : KV_F32 };
		ref_model m(shape);
		std::vector<float> want;
		double worst = 0;
		int row = 0;

		f.window = c.window;
		m.layer.window = (uint32_t)c.window;
		CHECK(m.open());
		CHECK(f.run_all(2));
		for (int s = 0; s < SEQS; row += queries[s++]) {
			CHECK(ref_attention(f, m, s, row, &want));
			for (size_t i = 0; i < want.size(); i++)
				worse(&worst,
				      fabs(f.out[(size_t)row * f.row_size + i] -
					   want[i]));
		}
		printf("# head of %d, window %d: worst difference %.5f\n",
		       c.dim, c.window, worst);
		CHECK(worst < (c.q8 ? 0.0041 : 0.003));
	}
}

TEST(positions_may_be_said)
{
	fixture f(67, 3, 64);
	array<uint32_t> position(TOTAL);
	struct cuda_attention_args args;
	std::vector<float> want;
	int row = 0;

	f.window = 100;
	CHECK(f.run_all(2));
	want = f.out.host;
	for (int s = 0; s < SEQS; s++) {
		for (int t = 0; t < queries[s]; t++)
			position[row++] = context[s] - queries[s] + t;
		/* more KV than the query tokens see */
		f.len[s] += s % 2;
	}
	position.send();
	f.len.send();
	args = f.args(2);
	args.position = position.device;
	CHECK(ran(cuda_attention(&args, NULL)));
	f.out.fetch();
	CHECK(same_bits(f.out.host, want));
}

TEST(a_block_takes_each_byte_once)
{
	for (int dim : { 16, 32, 48, 64, 80, 96, 112, 128, 256 }) {
		std::vector<char> used(layout_kv_bytes(dim), 0);

		for (int t = 0; t < KV_BLOCK; t++)
			for (int c = 0; c < dim / 8; c++) {
				int at = layout_kv(dim, t, c);

				CHECK(at % 16 == 0 && !used[at]);
				used[at] = 1;
				CHECK_EQ(layout_kv_token(dim, at / 16), t);
			}
	}
}

TEST(no_split_over_warps_changes_a_bit)
{
	fixture f(67);
	std::vector<float> first;

	EACH_MODEL
	{
		CHECK(f.run_all(1));
		first = f.out.host;
		for (int tiles : { 2, 3, 6, 100 }) {
			CHECK(f.run_all(tiles));
			CHECK(same_bits(f.out.host, first));
		}
	}
}

static void one_by_one(fixture &f)
{
	std::vector<float> all;

	mma_bits = 2;
	CHECK(f.run_all(6));
	all = f.out.host;
	for (int t = 0; t < 45; t++) {
		int first[SEQS], nr[SEQS], row = 0, before = 0;

		for (int s = 0; s < SEQS; s++) {
			first[s] = t;
			nr[s] = t < queries[s];
		}
		CHECK(f.run(first, nr, t % 2 ? 1 : 6));
		for (int s = 0; s < SEQS; before += queries[s++])
			if (nr[s])
				CHECK(!memcmp(
					&f.out[(size_t)row++ * f.row_size],
					&all[(size_t)(before + t) * f.row_size],
					f.row_size * sizeof(float)));
	}
}

TEST(tokens_one_by_one_have_the_bits_of_tokens_together)
{
	fixture f(67), windowed(67, 3, 64);

	one_by_one(f);
	windowed.window = 40;
	one_by_one(windowed);
	fixture codes(67, 3, 64, true);
	one_by_one(codes);
}

TEST(it_does_not_matter_where_blocks_lie)
{
	fixture f(67), g(63);

	CHECK(f.run_all(2));
	CHECK(g.run_all(2));
	CHECK(f.table.host != g.table.host);
	CHECK(same_bits(f.out.host, g.out.host));
}

TEST(an_answer_in_16_bits_is_the_one_in_F32_rounded)
{
	fixture f(67);
	array<uint16_t> out(f.out.host.size());
	struct cuda_attention_args args;

	CHECK(f.run_all(3));
	args = f.args(3);
	args.out = out.device;
	args.number = CUDA_BF16;
	CHECK(ran(cuda_attention(&args, NULL)));
	out.fetch();
	for (size_t i = 0; i < out.host.size(); i++)
		CHECK_EQ(out[i], to_bf16(f.out[i]));
	args.number = CUDA_F16;
	CHECK(ran(cuda_attention(&args, NULL)));
	out.fetch();
	for (size_t i = 0; i < out.host.size(); i++)
		CHECK_EQ(out[i], f32_to_f16(f.out[i]));
}

TEST(attention_refuses_what_it_cannot_run)
{
	fixture f(67);
	struct cuda_attention_args args = f.args(1);

	args.nr_heads = 7; /* of 2 KV heads */
	CHECK_EQ(cuda_attention(&args, NULL), -EINVAL);
	args = f.args(1);
	args.nr_work = 0;
	CHECK_EQ(cuda_attention(&args, NULL), -EINVAL);
	args = f.args(1);
	args.head_dim = 48;
	CHECK_EQ(cuda_attention(&args, NULL), -EINVAL);
}
