/* SPDX-License-Identifier: MIT */
/*
 * slow test: attention for chunks of a prompt: its bits are those of the kernel
 * for all else, for heads that share a KV head or do not, chunks wherever they
 * begin, contexts of any length, windows, several sequences; near float64; and
 * agree.c tells a machine where that is not so.  On another GPU skipped.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"

extern "C" {
#include "base/err.h"
#include "kernels/cuda/agree.h"
#include "kernels/cuda/device.h"
}

#if EMULATED
#include "tests/cuemu/runtime.h"
#endif

#include <cerrno>

#define LOG2_E 1.4426950408889634

/* Its last @queries tokens are asked. */
struct span {
	int context, queries;
};

struct shape {
	const char *name;
	int group, kv_heads, dim, window;
	std::vector<span> spans;
};

static const std::vector<shape> shapes = {
	{ "a prompt of 128 rows", 1, 2, 64, 0, { { 128, 128 } } },
	{ "a prompt that ends in a block", 4, 2, 128, 0, { { 45, 45 } } },
	{ "one token", 8, 1, 128, 0, { { 1, 1 } } },
	{ "a chunk at an odd place", 2, 2, 64, 0, { { 301, 77 } } },
	{ "more tiles than the ring has", 4, 1, 128, 0, { { 1000, 37 } } },
	{ "as many, of 64 dimensions", 8, 1, 64, 0, { { 900, 20 } } },
	{ "several of all lengths",
	  4,
	  2,
	  64,
	  0,
	  { { 130, 130 }, { 257, 40 }, { 1, 1 }, { 700, 9 }, { 16, 3 } } },
	{ "an end at a block's", 1, 1, 128, 0, { { 144, 100 }, { 256, 70 } } },
	{ "a window of one", 2, 1, 64, 1, { { 270, 150 } } },
	{ "a window inside a tile", 4, 1, 64, 24, { { 500, 90 } } },
	{ "a window of a tile", 1, 1, 128, 128, { { 600, 140 } } },
	{ "a window of a tile and one", 2, 1, 64, 129, { { 515, 70 } } },
	{ "a long window", 4, 1, 64, 300, { { 701, 60 }, { 100, 100 } } },
	{ "a window longer than all", 1, 1, 64, 5000, { { 200, 130 } } },
};

struct fixture {
	const shape &s;
	int tokens = 0, stride = 0, heads, row_size, kv_size, blocks = 1;
	array<int> table, start, len;
	array<cuda_attention_work> work;
	array<cuda_attention_plan> plan;
	array<uint16_t> q, kv;
	array<float> out;
	int nr_work = 0;

	/* number of block tables, then of blocks */
	static int sum(const shape &s, int span::*what, int per)
	{
		int n = 0;

		for (const span &x : s.spans)
			n += (x.*what + per - 1) / per;
		return n;
	}

	static int longest(const shape &s)
	{
		int n = 0;

		for (const span &x : s.spans)
			n = std::max(n, x.context);
		return n;
	}

	explicit fixture(const shape &of)
		: s(of), tokens(sum(of, &span::queries, 1)),
		  stride(longest(of) / KV_BLOCK + 2),
		  heads(of.group * of.kv_heads), row_size(heads * of.dim),
		  kv_size(layout_kv_bytes(of.dim) / 2),
		  blocks(sum(of, &span::context, KV_BLOCK) + 3),
		  table(of.spans.size() * stride), start(of.spans.size() + 1),
		  len(of.spans.size()),
		  work(tokens * of.group / 16 + of.spans.size()), plan(1),
		  q((size_t)tokens * row_size),
		  kv((size_t)blocks * 2 * of.kv_heads * kv_size),
		  out((size_t)tokens * row_size)
	{
		int used = 0, row = 0;

		for (int &t : table.host)
			t = 1 << 28; /* nobody's */
		for (size_t i = 0; i < s.spans.size(); i++) {
			const span &x = s.spans[i];
			int seen = x.context - x.queries - s.window + 1;

			start[i] = row;
			len[i] = x.context;
			row += x.queries;
			for (int b = 0; b * KV_BLOCK < x.context; b++, used++)
				/* what lies before windows is not ours */
				if (!s.window || (b + 1) * KV_BLOCK > seen)
					put_block((int)i, b, block(used));
		}
		start[s.spans.size()] = row;
		plan[0] = { stride, 0, 1 << 20 };
		for (size_t i = 0; i < q.host.size(); i++)
			q[i] = to_bf16(noise(6, i) * 3);
		table.send();
		start.send();
		len.send();
		plan.send();
		q.send();
		kv.send();
	}

	/* the @i-th that is taken: they go round, backward */
	int block(int i) const
	{
		return blocks - 1 - i;
	}

	static float number(int stream, int seq, int p, int h, int e)
	{
		uint64_t i = (((uint64_t)seq * 4096 + p) * 16 + h) * 128 + e;

		return mma_widen(to_bf16(
			ldexpf(noise(stream, i), (int)(noise(7, i) * 3))));
	}

	/* all slots past the context stay NaN */
	void put_block(int seq, int b, int place)
	{
		table[seq * stride + b] = place;
		for (int stream = 0; stream < 2; stream++)
			for (int h = 0; h < s.kv_heads; h++)
				for (int t = 0; t < KV_BLOCK; t++)
					for (int e = 0; e < s.dim; e++)
						put(stream, seq, b, h, t, e,
						    place);
	}

	void put(int stream, int seq, int b, int h, int t, int e, int place)
	{
		int p = b * KV_BLOCK + t;
		size_t at = ((size_t)place * 2 + stream) * s.kv_heads + h;

		at = at * kv_size + layout_kv(s.dim, t, e / 8) / 2 + e % 8;
		if (p < s.spans[seq].context)
			kv[at] = to_bf16(number(stream + 4, seq, p, h, e));
	}

	/* All rows of sequences that @who has a bit of, in units of @rows. */
	void units(unsigned who, int rows)
	{
		nr_work = 0;
		for (size_t i = 0; i < s.spans.size(); i++)
			for (int r = 0;
			     who >> i & 1 && r < s.spans[i].queries * s.group;
			     r += rows)
				work[nr_work++] = { (int)i, r, -1, 0 };
		work.send();
	}

	struct cuda_attention_args args()
	{
		struct cuda_attention_args a = {};

		a.q = q.device;
		a.k = kv.device;
		a.v = kv.device + (size_t)s.kv_heads * kv_size;
		a.block_table = table.device;
		a.query_start = start.device;
		a.context_len = len.device;
		a.plan = plan.device;
		a.work = work.device;
		a.out = out.device;
		a.block_stride = (size_t)2 * s.kv_heads * kv_size;
		a.nr_heads = heads;
		a.nr_kv_heads = s.kv_heads;
		a.nr_work = nr_work;
		a.scale = (float)(LOG2_E / sqrt(s.dim));
		a.number = CUDA_F32;
		a.head_dim = s.dim;
		a.window = s.window;
		return a;
	}

	/* What nobody answers stays NaN. */
	void forget()
	{
		memset(out.host.data(), 0xff, out.host.size() * 4);
		out.send();
	}

	bool run_few(unsigned who = ~0u)
	{
		struct cuda_attention_args a;
		bool ok;

		units(who, CUDA_ATTENTION_ROWS);
		a = args();
		ok = ran(cuda_attention(&a, NULL));
		out.fetch();
		return ok;
	}

	bool run_many(unsigned who = ~0u)
	{
		struct cuda_attention_args a;
		bool ok;

		units(who, CUDA_ATTENTION_SM90_ROWS);
		a = args();
		ok = ran(cuda_attention_sm90(&a, NULL));
		out.fetch();
		return ok;
	}

	/* The error of row @row, which is token @t of sequence @seq. */
	void judge(int seq, int t, int row, int head, double *worst)
	{
		int h = head / s.group,
		    n = s.spans[seq].context - s.spans[seq].queries + t + 1;
		int lo = s.window && n > s.window ? n - s.window : 0;
		std::vector<double> weight(n), o(s.dim, 0.);
		double top = -1e30, sum = 0, size = 0;
		size_t at = ((size_t)row * heads + head) * s.dim;

		for (int p = lo; p < n; p++) {
			weight[p] = 0;
			for (int e = 0; e < s.dim; e++)
				weight[p] += (double)mma_widen(q[at + e]) *
					     number(4, seq, p, h, e);
			weight[p] /= sqrt(s.dim);
			top = fmax(top, weight[p]);
		}
		for (int p = lo; p < n; p++) {
			weight[p] = exp(weight[p] - top);
			sum += weight[p];
			for (int e = 0; e < s.dim; e++) {
				double v = number(5, seq, p, h, e);

				o[e] += weight[p] * v;
				size = fmax(size, fabs(v));
			}
		}
		for (int e = 0; e < s.dim; e++)
			worse(worst, fabs(out[at + e] - o[e] / sum) / size);
	}
};

/* Whether this machine may; -1: it has no such kernel. */
static int may_here()
{
	struct device d = {};
	struct err err = {};
	struct agreed agreed = {};
	int may = -1;

	if (device_open(&d, 0, &err))
		return -1;
	if (d.generation == 90 && !agree(&d, &agreed, &err))
		may = agreed.attention;
	device_close(&d);
	if (err.code)
		printf("# %s\n", err.text);
	return may;
}

#define WANT_AGREEMENT                                                         \
	do {                                                                   \
		if (!EMULATED && may_here() <= 0)                              \
			SKIP("this GPU has no wgmma, or one of other bits");   \
	} while (0)

TEST(a_chunk_of_a_prompt_has_the_bits_of_its_tokens_a_few_at_a_time)
{
	WANT_AGREEMENT;
	for (const shape &s : shapes) {
		fixture f(s);
		std::vector<float> few;

		ROW(s.name);
		EACH_MODEL
		{
			f.forget();
			CHECK(f.run_few());
			few = f.out.host;
			f.forget();
			CHECK(f.run_many());
			CHECK(same_bits(f.out.host, few));
		}
	}
}

TEST(no_schedule_changes_a_bit)
{
	static const shape some[] = {
		{ "128 dimensions", 2, 2, 128, 0, { { 650, 70 }, { 90, 90 } } },
		{ "64, a window", 4, 1, 64, 200, { { 900, 40 }, { 65, 65 } } },
	};

	WANT_AGREEMENT;
	for (const shape &s : some) {
		fixture f(s);

		ROW(s.name);
		CHECK(every_schedule(f.out.host, [&] {
			f.forget();
			return f.run_many();
		}));
		print_digest(s.name, f.out.host);
	}
}

TEST(a_chunk_of_a_prompt_is_near_float64)
{
	static const shape some[] = {
		{ "128 dimensions", 2, 1, 128, 0, { { 333, 65 }, { 30, 30 } } },
		{ "64, a window", 4, 1, 64, 150, { { 400, 40 } } },
	};

	WANT_AGREEMENT;
	for (const shape &s : some) {
		fixture f(s);
		double worst = 0;
		int row = 0;

		ROW(s.name);
		CHECK(f.run_many());
		for (size_t i = 0; i < s.spans.size(); i++)
			for (int t = 0; t < s.spans[i].queries; t++, row++)
				for (int h = 0; h < f.heads; h++)
					f.judge((int)i, t, row, h, &worst);
		printf("# %s: worst error %.5f of the largest value\n", s.name,
		       worst);
		CHECK(worst < 0.002);
	}
}

TEST(both_kernels_share_a_step)
{
	fixture f(shapes[6]);
	std::vector<float> few;

	WANT_AGREEMENT;
	CHECK(f.run_few());
	few = f.out.host;
	f.forget();
	CHECK(f.run_many(3));
	CHECK(!same_bits(f.out.host, few));
	CHECK(f.run_few(~3u));
	CHECK(same_bits(f.out.host, few));
}

TEST(positions_of_a_chunk_may_be_said)
{
	fixture f(shapes[6]);
	array<uint32_t> position(f.tokens);
	struct cuda_attention_args a;
	std::vector<float> want;
	int row = 0;

	WANT_AGREEMENT;
	CHECK(f.run_many());
	want = f.out.host;
	for (size_t i = 0; i < f.s.spans.size(); i++) {
		const span &x = f.s.spans[i];

		for (int t = 0; t < x.queries; t++)
			position[row++] = (uint32_t)(x.context - x.queries + t);
		/* more KV than the query tokens see */
		f.len[i] += (int)i % 2;
	}
	position.send();
	f.len.send();
	f.forget();
	a = f.args();
	a.position = position.device;
	CHECK(ran(cuda_attention_sm90(&a, NULL)));
	f.out.fetch();
	CHECK(same_bits(f.out.host, want));
}

TEST(an_answer_in_16_bits_is_the_one_in_F32_rounded)
{
	for (int i : { 1, 3 }) {
		fixture f(shapes[i]);
		array<uint16_t> out(f.out.host.size());
		struct cuda_attention_args a;

		WANT_AGREEMENT;
		CHECK(f.run_many());
		a = f.args();
		a.out = out.device;
		a.number = CUDA_BF16;
		CHECK(ran(cuda_attention_sm90(&a, NULL)));
		out.fetch();
		for (size_t k = 0; k < out.host.size(); k++)
			CHECK_EQ(out[k], to_bf16(f.out[k]));
		a.number = CUDA_F16;
		CHECK(ran(cuda_attention_sm90(&a, NULL)));
		out.fetch();
		for (size_t k = 0; k < out.host.size(); k++)
			CHECK_EQ(out[k], f32_to_f16(f.out[k]));
	}
}

#if EMULATED
TEST(a_machine_whose_wgmma_attends_otherwise_is_told)
{
	fixture f(shapes[3]);
	std::vector<float> few;

	CHECK_EQ(may_here(), 1);
	fake_cuda.wgmma_differs = 1;
	CHECK_EQ(may_here(), 0);
	fake_cuda.wgmma_differs = 0;
	CHECK_EQ(fake_cuda.held, 0);
	/* and the comparison above can fail */
	wgmma_bits = WGMMA_AS_MMA;
	CHECK(f.run_few());
	few = f.out.host;
	wgmma_bits = 1;
	CHECK(f.run_many());
	wgmma_bits = WGMMA_AS_MMA;
	CHECK(!same_bits(f.out.host, few));
}
#endif

TEST(what_it_cannot_run_is_refused)
{
	fixture f(shapes[0]);
	struct cuda_attention_args a;

	f.units(1, CUDA_ATTENTION_SM90_ROWS);
	for (int i = 0; i < 5; i++) {
		a = f.args();
		if (i == 0)
			a.nr_heads = 3; /* of 2 KV heads */
		else if (i == 1)
			a.nr_work = 0;
		else if (i == 2)
			a.head_dim = 80;
		else if (i == 3)
			a.kv = CUDA_KV_Q8;
		else
			a.window = -1;
		CHECK_EQ(cuda_attention_sm90(&a, NULL), -EINVAL);
	}
}
