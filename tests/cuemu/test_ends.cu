/* SPDX-License-Identifier: MIT */
/*
 * slow test: products as the model uses them: packed by pack.c, of any size,
 * with a bias, added to the residual stream, through SwiGLU, of picked rows;
 * against float64 and against kernels/ref.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/ref.h"

extern "C" {
#include "kernels/cuda/pack.h"
}

#include <cerrno>

/* A matrix of bf16 numbers, kept as F32. */
static struct weight matrix(std::vector<float> &v, int rows, int cols,
			    uint64_t stream)
{
	struct weight w = {};

	v.resize((size_t)rows * cols);
	for (size_t i = 0; i < v.size(); i++)
		v[i] = mma_widen(to_bf16(noise(stream, i)));
	w.type = WEIGHT_F32;
	w.rows = (uint32_t)rows;
	w.cols = (uint32_t)cols;
	w.row_stride = cols * sizeof(float);
	w.data = v.data();
	return w;
}

static std::vector<float> numbers(size_t n, uint64_t stream)
{
	std::vector<float> v(n);

	for (size_t i = 0; i < n; i++)
		v[i] = noise(stream, i);
	return v;
}

/* A packed matrix on the device. */
struct packed {
	struct pack pack;
	array<char> w;

	packed(int rows, int cols)
		: pack{ CUDA_W_BF16, rows, cols, nullptr, nullptr },
		  w(pack_bytes(CUDA_W_BF16, rows, cols))
	{
		memset(w.host.data(), 0, w.host.size());
		pack.w = w.host.data();
	}

	bool put(const struct weight &m, enum pack_order order, int first = 0,
		 int head_dim = 0, int rotary_dim = 0)
	{
		struct pack_place place = { order, first, head_dim,
					    rotary_dim };
		std::vector<float> row(m.cols);
		int half = (int)m.rows / 2;

		/* in two goes, as threads would */
		return !pack_weight(&pack, &m, &place, half, (int)m.rows - half,
				    row.data()) &&
		       !pack_weight(&pack, &m, &place, 0, half, row.data());
	}
};

/* Any x; bf16 on the device. */
struct inputs {
	int k;
	array<uint16_t> x;
	std::vector<float> f32;

	inputs(int tokens, int cols, uint64_t stream)
		: k(cols), x((size_t)tokens * cols)
	{
		fill_bf16(x, stream, 1);
		for (uint16_t h : x.host)
			f32.push_back(mma_widen(h));
	}
};

static struct cuda_gemm_args product(packed &w, inputs &x, int tokens, void *y)
{
	struct cuda_gemm_args args = {};

	w.w.send();
	args.w = w.w.device;
	args.x = x.x.device;
	args.y = y;
	args.n = w.pack.rows;
	args.k = w.pack.cols;
	args.tokens = tokens;
	args.form = CUDA_W_BF16;
	args.out = CUDA_F32;
	return args;
}

static double dot(const float *w, const float *x, int k)
{
	double sum = 0;

	for (int i = 0; i < k; i++)
		sum += (double)w[i] * x[i];
	return sum;
}

static const struct {
	const char *name;
	int n, k, tokens;
} sizes[] = {
	{ "one row, eight columns", 1, 8, 1 },
	{ "a vocabulary of 301, 80 columns", 301, 80, 7 },
	{ "130 rows, 192 columns, 30 tokens", 130, 192, 30 },
	{ "24 rows, 112 columns, 60 tokens", 24, 112, 60 },
	{ "40 rows, 96 columns, 300 tokens", 40, 96, 300 },
};

TEST(products_of_any_size_are_near_float64)
{
	for (const auto &s : sizes) {
		std::vector<float> v;
		struct weight m = matrix(v, s.n, s.k, 1);
		packed w(s.n, s.k);
		inputs x(s.tokens, s.k, 2);
		array<float> y((size_t)s.tokens * s.n), bias(s.n);
		struct cuda_gemm_args args;
		double worst = 0;

		ROW(s.name);
		CHECK(w.put(m, PACK_AS_IS));
		bias.host = numbers(s.n, 3);
		bias.send();
		args = product(w, x, s.tokens, y.device);
		args.bias = bias.device;
		CHECK(every_schedule(y.host, [&] {
			bool ok = ran(cuda_gemm(&args, NULL));

			y.fetch();
			return ok;
		}));
		for (int t = 0; t < s.tokens; t++)
			for (int r = 0; r < s.n; r++)
				worse(&worst,
				      fabs(y[(size_t)t * s.n + r] - bias[r] -
					   dot(&v[(size_t)r * s.k],
					       &x.f32[(size_t)t * s.k], s.k)));
		printf("# %s: worst error %.2e\n", s.name, worst);
		CHECK(worst < 1e-5);
	}
}

TEST(packing_puts_each_number_where_the_layout_says)
{
	std::vector<float> v;
	struct weight m = matrix(v, 48, 136, 4);
	packed w(48, 136);
	int cols = layout_cols(16, 136), shift;

	CHECK(w.put(m, PACK_AS_IS));
	for (int r = 0; r < 48; r++)
		for (int c = 0; c < 136; c++) {
			uint16_t got;

			memcpy(&got,
			       &w.w[layout_weight(16, cols, r, c, &shift)], 2);
			CHECK_EQ(got, to_bf16(v[(size_t)r * 136 + c]));
		}
}

TEST(rows_in_rotary_pairs_are_put_half_by_half)
{
	struct pack_place place = { PACK_PAIRS, 100, 20, 12 };
	/* the second head: 12 dimensions turn, 8 do not */
	static const int want[20] = { 0, 6,  1,	 7,  2,	 8,  3,	 9,  4,	 10,
				      5, 11, 12, 13, 14, 15, 16, 17, 18, 19 };

	for (int i = 0; i < 20; i++)
		CHECK_EQ(pack_row(&place, 20 + i), 120 + want[i]);
}

TEST(rows_of_x_may_be_picked)
{
	std::vector<float> v;
	struct weight m = matrix(v, 24, 80, 5);
	packed w(24, 80);
	inputs x(40, 80, 6);
	array<float> all(40 * 24), y(12 * 24);
	array<uint32_t> rows(12);
	struct cuda_gemm_args args;

	CHECK(w.put(m, PACK_AS_IS));
	args = product(w, x, 40, all.device);
	CHECK(ran(cuda_gemm(&args, NULL)));
	all.fetch();
	for (uint32_t i = 0; i < 12; i++)
		rows[i] = i * 7 % 40;
	rows.send();
	args.x_row = rows.device;
	args.y = y.device;
	args.tokens = 12;
	CHECK(ran(cuda_gemm(&args, NULL)));
	y.fetch();
	for (uint32_t i = 0; i < 12; i++)
		CHECK(!memcmp(&y[i * 24], &all[rows[i] * 24], 24 * 4));
}

TEST(products_may_share_the_rows_of_an_output)
{
	std::vector<float> v[2];
	struct weight a = matrix(v[0], 24, 80, 1), b = matrix(v[1], 16, 80, 2);
	packed both(40, 80), one(24, 80), other(16, 80);
	inputs x(9, 80, 3);
	array<float> want(9 * 40), y(9 * 40);
	struct cuda_gemm_args args;

	CHECK(both.put(a, PACK_AS_IS) && both.put(b, PACK_AS_IS, 24));
	CHECK(one.put(a, PACK_AS_IS) && other.put(b, PACK_AS_IS));
	args = product(both, x, 9, want.device);
	CHECK(ran(cuda_gemm(&args, NULL)));
	args = product(one, x, 9, y.device);
	args.ldy = 40;
	CHECK(ran(cuda_gemm(&args, NULL)));
	args = product(other, x, 9, y.device + 24);
	args.ldy = 40;
	CHECK(ran(cuda_gemm(&args, NULL)));
	want.fetch();
	y.fetch();
	CHECK(same_bits(want.host, y.host));
}

#define ROWS 21

/* What ref makes of @op with the answer of attention, or with XN. */
static bool run_ref(ref_model &m, enum ops_buffer in, const inputs &x,
		    const std::vector<float> &residual, bool swiglu)
{
	ref_step step(std::vector<uint32_t>(ROWS, 0), 0, { 1, 2 });

	return m.open() && !ops_ref.embed_norm(m.ctx, &step.step) &&
	       !ops_ref.poke(m.ctx, OPS_X, 0, ROWS, residual.data()) &&
	       !ops_ref.poke(m.ctx, in, 0, ROWS, x.f32.data()) &&
	       !(swiglu ? ops_ref.gate_up(m.ctx, &step.step, 0)
			: ops_ref.out_norm(m.ctx, &step.step, 0));
}

TEST(the_residual_stream_is_that_of_ref)
{
	struct ops_shape s = { 80, 5, 1, 16, 16, 48, 20, 1, 1e-5f, 1, KV_F32 };
	ref_model m(s);
	std::vector<float> v, want, residual = numbers(ROWS * 80, 9);
	struct weight o = matrix(v, 80, 80, 7);
	packed w(80, 80);
	inputs a(ROWS, 80, 8);
	array<float> x((size_t)ROWS * 80), bias(80);
	struct cuda_gemm_args args;
	double worst = 0;

	m.layer.o = o;
	bias.host = numbers(80, 10);
	bias.send();
	m.layer.o_bias = bias.host.data();
	CHECK(run_ref(m, OPS_A, a, residual, false));
	want = m.peek(OPS_X, ROWS, 80);
	CHECK(w.put(o, PACK_AS_IS));
	args = product(w, a, ROWS, x.device);
	args.bias = bias.device;
	args.end = CUDA_ADD;
	CHECK(every_schedule(x.host, [&] {
		x.host = residual;
		x.send();
		bool ok = ran(cuda_gemm(&args, NULL));

		x.fetch();
		return ok;
	}));
	for (size_t i = 0; i < want.size(); i++)
		worse(&worst, fabs(x[i] - want[i]));
	printf("# worst difference %.2e\n", worst);
	CHECK(worst < 1e-5);
	print_digest("add", x.host);
}

TEST(gate_and_up_give_the_inside_of_the_mlp_of_ref)
{
	struct ops_shape s = { 80, 5, 1, 16, 16, 136, 20, 1, 1e-5f, 1, KV_F32 };
	ref_model m(s);
	std::vector<float> g, u, want, gate_bias = numbers(136, 4),
				       up_bias = numbers(136, 5);
	struct weight gate = matrix(g, 136, 80, 1), up = matrix(u, 136, 80, 2);
	struct pack_place at_gate = { PACK_GATE, 0, 0, 0 };
	struct pack_place at_up = { PACK_UP, 0, 0, 0 };
	packed w(272, 80);
	inputs x(ROWS, 80, 3);
	array<float> h((size_t)ROWS * 136), bias(272);
	array<uint16_t> rounded(h.host.size());
	struct cuda_gemm_args args;
	double worst = 0;

	m.layer.gate = gate;
	m.layer.up = up;
	m.layer.gate_bias = gate_bias.data();
	m.layer.up_bias = up_bias.data();
	CHECK(run_ref(m, OPS_XN, x, numbers(ROWS * 80, 6), true));
	want = m.peek(OPS_H, ROWS, 136);
	CHECK(w.put(gate, PACK_GATE) && w.put(up, PACK_UP));
	pack_vector(gate_bias.data(), 136, &at_gate, bias.host.data());
	pack_vector(up_bias.data(), 136, &at_up, bias.host.data());
	bias.send();
	args = product(w, x, ROWS, h.device);
	args.bias = bias.device;
	args.end = CUDA_SWIGLU;
	CHECK(every_schedule(h.host, [&] {
		bool ok = ran(cuda_gemm(&args, NULL));

		h.fetch();
		return ok;
	}));
	for (size_t i = 0; i < want.size(); i++)
		worse(&worst, fabs(h[i] - want[i]) / (1 + fabs(want[i])));
	printf("# worst difference %.2e\n", worst);
	CHECK(worst < 1e-5);
	args.y = rounded.device;
	args.out = CUDA_BF16;
	CHECK(ran(cuda_gemm(&args, NULL)));
	rounded.fetch();
	for (size_t i = 0; i < want.size(); i++)
		CHECK_EQ(rounded[i], to_bf16(h[i]));
	print_digest("swiglu", h.host);
}

TEST(an_end_that_does_not_fit_is_refused)
{
	packed w(24, 80);
	inputs x(1, 80, 1);
	array<float> y(24);
	struct cuda_gemm_args args = product(w, x, 1, y.device);

	args.end = CUDA_ADD;
	args.out = CUDA_BF16;
	CHECK_EQ(cuda_gemm(&args, NULL), -EINVAL);
	args.end = CUDA_SWIGLU; /* 24 rows are no pairs of eights */
	CHECK_EQ(cuda_gemm(&args, NULL), -EINVAL);
}
