/* SPDX-License-Identifier: MIT */
/*
 * slow test: the product of many tokens: its bits are those of the kernel for
 * few, for every form of weights, size and end; it is near float64; and agree.c
 * tells a machine where that is not so.  On a GPU of another kind skipped.
 */
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/forms.h"

extern "C" {
#include "base/err.h"
#include "kernels/cuda/agree.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/pack.h"
}

#if EMULATED
#include "tests/cuemu/runtime.h"
#endif

#include <cerrno>

/* Random weights and tokens of many sizes, so that cutting shows. */
struct fixture {
	const struct form &form;
	int n, k, tokens;
	array<char> w;
	array<float> scale, y, few;
	array<uint16_t> x;

	/* of groups of e4m3 whole ones: k is made up */
	fixture(const struct form &f, int rows, int cols, int nr_tokens)
		: form(f), n(rows),
		  k(f.form == CUDA_W_FP8_GROUPS ? layout_cols(4, cols) : cols),
		  tokens(nr_tokens), w(pack_bytes(f.form, n, k)),
		  scale((size_t)layout_rows(n) * layout_cols(4, k) /
			LAYOUT_GROUP * 2),
		  y((size_t)tokens * n), few((size_t)tokens * n),
		  x((size_t)tokens * k)
	{
		for (size_t i = 0; i < scale.host.size(); i++)
			scale[i] = 0.01f * (1.5f + noise(9, i));
		put_zeros();
		memset(w.host.data(), 0, w.host.size());
		for (int r = 0; r < n; r++)
			for (int c = 0; c < k; c++)
				put(r, c, code(r, c));
		for (size_t i = 0; i < x.host.size(); i++) {
			float v = sized(8, i);

			x[i] = form.form == CUDA_W_F16 ? f32_to_f16(v)
						       : to_bf16(v);
		}
		w.send();
		scale.send();
		x.send();
	}

	static float sized(uint64_t stream, size_t i)
	{
		return ldexpf(noise(stream, i), (int)(noise(6, i) * 6));
	}

	int code(int r, int c)
	{
		size_t i = (size_t)r * k + c;

		return encode(form.form,
			      form.bits == 16 ? sized(7, i) : noise(7, i));
	}

	void put(int r, int c, int v)
	{
		int shift, cols = layout_cols(form.bits, k);
		size_t at = layout_weight(form.bits, cols, r, c, &shift);

		w[at] = (char)(w[at] | v << shift);
		if (form.bits == 16)
			w[at + 1] = (char)(v >> 8);
	}

	/* behind the scales of all groups */
	void put_zeros()
	{
		int groups = layout_cols(4, k) / LAYOUT_GROUP;
		int rows = layout_rows(n);

		for (int i = 0; i < groups * rows; i++) {
			unsigned v = layout_zero((unsigned)zero_of(
				form.form, i % rows, i / rows));

			memcpy(&scale[(size_t)groups * rows + i], &v, 4);
		}
	}

	double weight(int r, int c)
	{
		int group = c / LAYOUT_GROUP, v = 0;
		int at = is_grouped(form.form) ? group * layout_rows(n) + r : r;

		if (form.bits == 4)
			v = zero_of(form.form, r, group);
		return (decode(form.form, code(r, c)) - v) *
		       (form.bits == 16 ? 1 : scale[at]);
	}

	double token(int t, int c)
	{
		uint16_t v = x[(size_t)t * k + c];

		return form.form == CUDA_W_F16 ? f16_to_f32(v) : mma_widen(v);
	}

	struct cuda_gemm_args args(void *out)
	{
		struct cuda_gemm_args a = {};

		a.w = w.device;
		a.scale = scale.device;
		a.x = x.device;
		a.y = out;
		a.n = n;
		a.k = k;
		a.tokens = tokens;
		a.form = form.form;
		a.out = CUDA_F32;
		return a;
	}

	bool run_few()
	{
		struct cuda_gemm_args a = args(few.device);
		bool ok = ran(cuda_gemm(&a, NULL));

		few.fetch();
		return ok;
	}

	bool run_many(int tile)
	{
		struct cuda_gemm_args a = args(y.device);
		bool ok = ran(cuda_gemm_sm90(&a, tile, NULL));

		y.fetch();
		return ok;
	}
};

/* From how many tokens on this machine may; -1: it has no such kernel. */
static int many_here()
{
	struct device d = {};
	struct err err = {};
	struct agreed agreed = {};
	int many = -1;

	if (device_open(&d, 0, &err))
		return -1;
	if (d.generation == 90 && !agree(&d, &agreed, &err))
		many = agreed.many;
	device_close(&d);
	if (err.code)
		printf("# %s\n", err.text);
	return many;
}

#define WANT_AGREEMENT                                                         \
	do {                                                                   \
		if (!EMULATED && many_here() <= 0)                             \
			SKIP("this GPU has no wgmma, or one of other bits");   \
	} while (0)

static const struct {
	const char *name;
	int n, k, tokens;
} sizes[] = {
	{ "one row, eight columns, 129 tokens", 1, 8, 129 },
	{ "130 rows, 200 columns, 300 tokens", 130, 200, 300 },
	{ "24 rows, 584 columns, 257 tokens", 24, 584, 257 },
	{ "300 rows, 128 columns, 3 tokens", 300, 128, 3 },
};

TEST(many_tokens_have_the_bits_of_few)
{
	WANT_AGREEMENT;
	for (const struct form &form : forms)
		for (const auto &s : sizes) {
			fixture f(form, s.n, s.k, s.tokens);

			ROW(s.name);
			EACH_MODEL
			{
				CHECK(f.run_few());
				for (int tile : { 128, 256 }) {
					use_schedule((unsigned)tile);
					CHECK(f.run_many(tile));
					CHECK(same_bits(f.y.host, f.few.host));
				}
				use_schedule(0);
			}
		}
}

TEST(no_schedule_changes_a_bit)
{
	WANT_AGREEMENT;
	for (const struct form &form : forms) {
		fixture f(form, 144, 1032, 140);

		ROW(form.name);
		CHECK(every_schedule(f.y.host, [&] { return f.run_many(0); }));
		print_digest(form.name, f.y.host);
	}
}

TEST(products_of_many_tokens_are_near_float64)
{
	WANT_AGREEMENT;
	for (const struct form &form : forms) {
		fixture f(form, 70, 264, 133);
		double worst = 0;

		ROW(form.name);
		EACH_MODEL
		{
			CHECK(f.run_many(0));
			for (int t = 0; t < f.tokens; t++)
				for (int r = 0; r < f.n; r++) {
					double sum = 0, size = 0;

					for (int c = 0; c < f.k; c++) {
						double v = f.weight(r, c) *
							   f.token(t, c);

						sum += v;
						size += fabs(v);
					}
					worse(&worst,
					      fabs(f.y[(size_t)t * f.n + r] -
						   sum) /
						      size);
				}
			printf("# %s: worst error %.2e of what is added\n",
			       form.name, worst);
			CHECK(worst < 2e-6);
		}
	}
}

/* An end, as few and as many tokens come to it. */
struct end_case {
	const char *name;
	enum cuda_end end;
	enum cuda_number out;
	bool bias, pick;
	int wider; /* numbers between rows of y */
};

static const struct end_case ends[] = {
	{ "F32, with a bias", CUDA_STORE, CUDA_F32, true, false, 0 },
	{ "bf16, of picked rows", CUDA_STORE, CUDA_BF16, false, true, 0 },
	{ "f16 into a wider row", CUDA_STORE, CUDA_F16, true, false, 24 },
	{ "added, with a bias", CUDA_ADD, CUDA_F32, true, false, 0 },
	{ "SwiGLU in bf16", CUDA_SWIGLU, CUDA_BF16, true, false, 0 },
	{ "SwiGLU of picked rows", CUDA_SWIGLU, CUDA_F32, false, true, 8 },
};

static std::vector<uint32_t> end_of(fixture &f, const struct end_case &e,
				    bool many)
{
	struct cuda_gemm_args a = f.args(NULL);
	array<uint32_t> y((size_t)f.tokens * (f.n + e.wider)), row(f.tokens);
	array<float> bias(f.n);

	for (int i = 0; i < f.n; i++)
		bias[i] = noise(11, i);
	for (int i = 0; i < f.tokens; i++)
		row[i] = (uint32_t)(i * 7 % f.tokens);
	for (size_t i = 0; e.end == CUDA_ADD && i < y.host.size(); i++) {
		float v = noise(12, i);

		memcpy(&y[i], &v, 4);
	}
	bias.send();
	row.send();
	y.send();
	a.y = y.device;
	a.end = e.end;
	a.out = e.out;
	a.bias = e.bias ? bias.device : NULL;
	a.x_row = e.pick ? row.device : NULL;
	if (e.wider)
		a.ldy = f.n / (e.end == CUDA_SWIGLU ? 2 : 1) + e.wider;
	a.many = many ? 1 : 0;
	if (!ran(cuda_gemm(&a, NULL)))
		return {};
	y.fetch();
	return y.host;
}

TEST(every_end_is_that_of_few_tokens)
{
	WANT_AGREEMENT;
	for (const struct form &form : forms) {
		fixture f(form, 144, 136, 131);

		for (const struct end_case &e : ends) {
			std::vector<uint32_t> few = end_of(f, e, false);

			ROW(e.name);
			CHECK(!few.empty());
			CHECK(few == end_of(f, e, true));
		}
	}
}

#if EMULATED
TEST(only_many_tokens_go_there)
{
	fixture f(forms[0], 16, 64, 20);
	struct cuda_gemm_args a = f.args(f.y.device);
	bool same[4];

	CHECK(f.run_few());
	wgmma_bits = 0; /* so that who multiplied is seen */
	for (int many = 19; many < 23; many++) {
		a.many = many == 22 ? 0 : many;
		CHECK(ran(cuda_gemm(&a, NULL)));
		f.y.fetch();
		same[many - 19] = same_bits(f.y.host, f.few.host);
	}
	wgmma_bits = WGMMA_AS_MMA;
	CHECK(!same[0] && !same[1]);
	CHECK(same[2] && same[3]);
}

TEST(a_machine_where_wgmma_adds_otherwise_is_told)
{
	CHECK_EQ(many_here(), CUDA_GEMM_MANY);
	fake_cuda.wgmma_differs = 1;
	CHECK_EQ(many_here(), 0);
	fake_cuda.wgmma_differs = 0;
	wgmma_bits = WGMMA_AS_MMA;
	CHECK_EQ(fake_cuda.held, 0);
}
#endif

TEST(codes_are_refused)
{
	fixture f(forms[1], 16, 64, 130);
	struct cuda_gemm_args a = f.args(f.y.device);

	a.form = CUDA_W_RUNS8;
	CHECK_EQ(cuda_gemm_sm90(&a, 0, NULL), -EINVAL);
}
