/* SPDX-License-Identifier: MIT */
/*
 * slow test: products of codes.  With packed weights they are, bit for bit,
 * those of kernels/ref; rows of 8 bits (W8A8) are those of the few lines of C
 * here, and near float64.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"

extern "C" {
#include "kernels/cuda/pack.h"
#include "kernels/host.h"
#include "kernels/ref/ref.h"
}

#include <cerrno>

static enum cuda_codes kind_of(enum cuda_form form)
{
	return form == CUDA_W_ROWS8	   ? CUDA_ROWS
	       : form == CUDA_W_RUNS8_WIDE ? CUDA_RUNS_WIDE
					   : CUDA_RUNS;
}

/* Rows of an input, and their codes. */
struct inputs {
	int rows, k, record, stages;
	enum cuda_codes kind;
	array<uint16_t> x;
	std::vector<float> f32;
	array<char> codes;

	inputs(int nr_rows, int cols, enum cuda_codes what)
		: rows(nr_rows), k(cols),
		  record(layout_input(what == CUDA_RUNS_WIDE)),
		  stages(layout_cols(8, k) / LAYOUT_STAGE), kind(what),
		  x((size_t)rows * k), codes((size_t)rows * stages * record)
	{
		fill_bf16(x, 2, 3);
		for (int i = 0; i < k; i++) {
			if (rows > 2)
				x[(size_t)2 * k + i] = 0; /* a row of zeros */
			if (rows > 3)			  /* and a tiny one */
				x[(size_t)3 * k + i] = (uint16_t)(i % 3);
		}
		widen();
	}

	void widen()
	{
		x.send();
		f32.clear();
		for (uint16_t h : x.host)
			f32.push_back(mma_widen(h));
	}

	bool run()
	{
		struct cuda_quantize_args args = { x.device, codes.device,
						   rows,     k,
						   kind,     CUDA_BF16 };
		bool ok = ran(cuda_quantize(&args, NULL));

		codes.fetch();
		return ok;
	}

	char *at(int row, int stage)
	{
		return &codes[((size_t)row * stages + stage) * record];
	}

	int code(int row, int col)
	{
		const char *p =
			at(row, col / LAYOUT_STAGE) + col % LAYOUT_STAGE;

		return kind == CUDA_RUNS_WIDE
			       ? p[0] * 256 + (uint8_t)p[LAYOUT_STAGE]
			       : p[0];
	}

	/* which: 0: scale, 2: scale times the sum of codes */
	float tail(int row, int col, int which)
	{
		float v[4];

		memcpy(v, at(row, col / LAYOUT_STAGE) + record - 16, 16);
		return v[which + col / 32 % 2];
	}
};

static bool same_float(float a, float b)
{
	return (a != a && b != b) || !memcmp(&a, &b, 4);
}

/* Whether codes and scales are P1's, by ref. */
static bool as_ref(inputs &in)
{
	for (int r = 0; r < in.rows; r++)
		for (int c = 0; c < in.k; c += 32) {
			int16_t code[32];
			int limit = in.kind == CUDA_RUNS_WIDE ? 32767 : 127;
			float s = ref_quantize(&in.f32[(size_t)r * in.k + c],
					       32, limit, code);
			int sum = 0;

			for (int i = 0; i < 32; i++) {
				sum += code[i];
				if (in.code(r, c + i) != code[i])
					return false;
			}
			if (!same_float(in.tail(r, c, 0), s) ||
			    !same_float(in.tail(r, c, 2), s * (float)sum))
				return false;
		}
	return true;
}

TEST(codes_of_runs_are_those_of_ref_to_the_bit)
{
	for (enum cuda_codes kind : { CUDA_RUNS, CUDA_RUNS_WIDE }) {
		inputs in(5, 608, kind);

		in.x[(size_t)4 * 608 + 40] = 0x7f80;  /* infinity */
		in.x[(size_t)4 * 608 + 70] = 0xffc0;  /* NaN */
		in.x[(size_t)4 * 608 + 100] = 0x7f7f; /* the largest */
		in.widen();
		CHECK(every_schedule(in.codes.host, [&] { return in.run(); }));
		CHECK(as_ref(in));
	}
}

/* P1 over a whole row, as codes.cuh means it for W8A8. */
static float row_codes(const float *x, int n, std::vector<int> *code)
{
	float top = 0, inverse;

	for (int i = 0; i < n; i++)
		top = fmaxf(top, fabsf(x[i]));
	code->assign(n, 0);
	if (top < 0x1p-100f)
		return 0;
	inverse = 127.f / top;
	for (int i = 0; i < n; i++)
		(*code)[i] = (int)nearbyintf(x[i] * inverse);
	return top / 127.f;
}

TEST(codes_of_rows_have_one_scale)
{
	inputs in(5, 616, CUDA_ROWS);
	std::vector<int> code;

	CHECK(every_schedule(in.codes.host, [&] { return in.run(); }));
	for (int r = 0; r < 5; r++) {
		float s = row_codes(&in.f32[(size_t)r * 616], 616, &code);

		for (int c = 0; c < 616; c++) {
			CHECK_EQ(in.code(r, c), code[c]);
			CHECK(same_float(in.tail(r, c, 0), s));
		}
	}
}

/* A matrix of @type, and packed. */
struct matrix {
	int n, k;
	std::vector<float> f32; /* what is packed */
	std::vector<char> data;
	struct weight w = {};
	enum cuda_form form;
	array<char> packed;
	array<float> scale;

	matrix(enum weight_type type, enum cuda_form f, int rows, int cols)
		: n(rows), k(cols), form(f), packed(pack_bytes(f, n, k)),
		  scale(pack_scales(f, n, k) + 1)
	{
		size_t row = weight_row_bytes(type, (uint32_t)k);
		std::vector<float> scratch(k);
		struct pack pack = { form, n, k, packed.host.data(),
				     scale.host.data() };
		struct pack_place place = { PACK_AS_IS, 0, 0, 0 };

		data.resize(row * n);
		for (int r = 0; r < n; r++) {
			std::vector<float> v(k);

			for (int c = 0; c < k; c++)
				v[c] = noise(3, (uint64_t)r * k + c) * 0.2f *
				       (float)(1 + r % 5);
			weight_formats[type].pack(v.data(), &data[row * r], k);
			/* not what rounding would make of the numbers again */
			for (int c = 0; type == WEIGHT_INT8 && c < k; c++)
				data[row * r + 4 + c] /= 1 + r % 3;
			f32.insert(f32.end(), v.begin(), v.end());
		}
		w.type = type;
		w.rows = (uint32_t)n;
		w.cols = (uint32_t)k;
		w.row_stride = row;
		w.data = data.data();
		memset(packed.host.data(), 0, packed.host.size());
		for (float &s : scale.host)
			s = 0;
		if (pack_weight(&pack, &w, &place, 0, n, scratch.data()))
			form = CUDA_W_INT4; /* no test takes it */
		packed.send();
		scale.send();
	}
};

/* @tile: of the kernel for many tokens; 0: that for few */
static bool multiply(matrix &m, inputs &in, array<float> &y, int tokens,
		     int tile = 0)
{
	struct cuda_gemm_args args = {};
	bool ok;

	args.w = m.packed.device;
	args.scale = m.scale.device;
	args.x = in.codes.device;
	args.y = y.device;
	args.n = m.n;
	args.k = m.k;
	args.tokens = tokens;
	args.form = m.form;
	args.out = CUDA_F32;
	ok = ran(tile ? cuda_gemm_sm90(&args, tile, NULL)
		      : cuda_gemm(&args, NULL));
	y.fetch();
	return ok;
}

static const struct {
	enum weight_type type;
	int n, k, tokens;
} packed_cases[] = {
	{ WEIGHT_Q8_0, 37, 96, 7 },    { WEIGHT_Q8_0, 130, 64, 30 },
	{ WEIGHT_Q4_0, 37, 160, 9 },   { WEIGHT_Q4_1, 20, 96, 70 },
	{ WEIGHT_Q5_0, 37, 96, 7 },    { WEIGHT_Q5_1, 16, 32, 7 },
	{ WEIGHT_Q3_K, 40, 256, 7 },   { WEIGHT_Q4_K, 140, 512, 7 },
	{ WEIGHT_Q5_K, 24, 256, 33 },  { WEIGHT_Q6_K, 40, 512, 40 },
	{ WEIGHT_IQ4_NL, 37, 96, 12 }, { WEIGHT_MXFP4, 37, 96, 12 },
	{ WEIGHT_INT8, 37, 80, 9 },    { WEIGHT_INT8, 20, 616, 70 },
};

TEST(products_with_packed_weights_are_those_of_ref_to_the_bit)
{
	for (const auto &c : packed_cases) {
		enum cuda_form form;

		ROW(weight_formats[c.type].name);
		CHECK_EQ(pack_form(c.type, &form), 0);
		matrix m(c.type, form, c.n, c.k);
		inputs in(c.tokens, c.k, kind_of(form));
		array<float> y((size_t)c.tokens * c.n);
		std::vector<float> want(y.host.size()), row(c.k);
		struct host_rows x = { in.f32.data(), (uint32_t)c.tokens,
				       (uint32_t)c.k, (size_t)c.k };
		struct host_rows out = { want.data(), (uint32_t)c.tokens,
					 (uint32_t)c.n, (size_t)c.n };

		CHECK_EQ(m.form, form);
		CHECK(in.run());
		ref_packed_matmul(&m.w, NULL, &x, c.tokens, row.data(), &out);
		CHECK(every_schedule(y.host, [&] {
			return multiply(m, in, y, c.tokens);
		}));
		CHECK(same_bits(y.host, want));
	}
}

/* W8A8 in plain C. */
static std::vector<float> rows8(const matrix &m, const inputs &in)
{
	std::vector<float> y((size_t)in.rows * m.n);
	std::vector<int> w, x;

	for (int r = 0; r < m.n; r++) {
		float ws = row_codes(&m.f32[(size_t)r * m.k], m.k, &w);

		for (int t = 0; t < in.rows; t++) {
			float xs = row_codes(&in.f32[(size_t)t * m.k], m.k, &x);
			int32_t sum = 0;

			for (int c = 0; c < m.k; c++)
				sum += w[c] * x[c];
			y[(size_t)t * m.n + r] = (float)sum * xs * ws;
		}
	}
	return y;
}

TEST(rows_of_8_bits_are_exact)
{
	static const struct {
		int n, k, tokens;
	} cases[] = { { 37, 80, 7 }, { 130, 192, 30 }, { 20, 616, 70 } };

	for (const auto &c : cases) {
		matrix m(WEIGHT_F32, CUDA_W_ROWS8, c.n, c.k);
		inputs in(c.tokens, c.k, CUDA_ROWS);
		array<float> y((size_t)c.tokens * c.n);
		double worst = 0;

		CHECK_EQ(m.form, CUDA_W_ROWS8);
		CHECK(in.run());
		CHECK(every_schedule(y.host, [&] {
			return multiply(m, in, y, c.tokens);
		}));
		CHECK(same_bits(y.host, rows8(m, in)));
		for (int t = 0; t < c.tokens; t++)
			for (int r = 0; r < c.n; r++) {
				double sum = 0, size = 0;

				for (int i = 0; i < c.k; i++) {
					double w = m.f32[(size_t)r * c.k + i];
					double x = in.f32[(size_t)t * c.k + i];

					sum += w * x;
					size += w * w * x * x;
				}
				worse(&worst,
				      fabs(y[(size_t)t * c.n + r] - sum) /
					      (sqrt(size) + 1e-30));
			}
		printf("# worst error %.4f of what the products are\n", worst);
		CHECK(worst < 0.05);
		print_digest("rows8", y.host);
	}
}

static bool has_wgmma()
{
	int major = 9;

#if !EMULATED
	cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
#endif
	return major == 9;
}

TEST(rows_of_8_bits_and_many_tokens_are_exact)
{
	static const struct {
		int n, k, tokens;
	} cases[] = { { 37, 80, 7 }, { 130, 192, 300 }, { 20, 1032, 140 } };

	if (!has_wgmma())
		SKIP("wgmma is of sm_90a only");
	for (const auto &c : cases) {
		matrix m(WEIGHT_F32, CUDA_W_ROWS8, c.n, c.k);
		inputs in(c.tokens, c.k, CUDA_ROWS);
		array<float> y((size_t)c.tokens * c.n);

		CHECK(in.run());
		for (int tile : { 128, 256 }) {
			CHECK(every_schedule(y.host, [&] {
				return multiply(m, in, y, c.tokens, tile);
			}));
			CHECK(same_bits(y.host, rows8(m, in)));
		}
	}
}

TEST(a_row_has_the_same_bits_among_any_number_of_tokens)
{
	for (enum weight_type type : { WEIGHT_Q4_K, WEIGHT_Q8_0, WEIGHT_F32 }) {
		enum cuda_form form = CUDA_W_ROWS8;

		if (type != WEIGHT_F32)
			CHECK_EQ(pack_form(type, &form), 0);
		matrix m(type, form, 40, 256);
		inputs in(140, 256, kind_of(form));
		array<float> y((size_t)140 * 40);
		std::vector<float> all;

		CHECK(in.run());
		CHECK(multiply(m, in, y, 140));
		all = y.host;
		for (int tokens : { 1, 8, 9, 33, 65 }) {
			memset((void *)y.host.data(), 0xff, y.host.size() * 4);
			y.send();
			CHECK(multiply(m, in, y, tokens));
			CHECK(!memcmp(y.host.data(), all.data(),
				      (size_t)tokens * 40 * 4));
			CHECK(y[(size_t)tokens * 40] != y[(size_t)tokens * 40]);
		}
	}
}

TEST(codes_take_each_bit_once)
{
	for (int bits : { 8, 4 }) {
		int stage = layout_codes_stage(bits, 0, 0);
		std::vector<char> used((size_t)32 * 128 * bits, 0);

		for (int r = 0; r < 32; r++)
			for (int c = 0; c < 128; c++) {
				int shift;
				size_t at = layout_code(bits, stage, 128, r, c,
							&shift);

				for (int b = 0; b < bits; b++) {
					CHECK(!used[at * 8 + shift + b]);
					used[at * 8 + shift + b] = 1;
				}
			}
	}
}

TEST(codes_of_f16_and_F32_are_those_of_bf16)
{
	inputs in(5, 96, CUDA_RUNS);
	std::vector<char> want;
	array<float> f32((size_t)5 * 96);
	array<uint16_t> f16(f32.host.size());
	struct cuda_quantize_args args = {
		f32.device, in.codes.device, 5, 96, CUDA_RUNS, CUDA_F32
	};

	for (size_t i = 0; i < f32.host.size(); i++) {
		f16[i] = f32_to_f16(in.f32[i]);
		in.x[i] = to_bf16(f16_to_f32(f16[i]));
		f32[i] = mma_widen(in.x[i]); /* exact in all three */
		f16[i] = f32_to_f16(f32[i]);
		if (f16_to_f32(f16[i]) != f32[i])
			in.x[i] = f16[i] = 0, f32[i] = 0;
	}
	in.widen();
	f32.send();
	f16.send();
	CHECK(in.run());
	want = in.codes.host;
	CHECK(ran(cuda_quantize(&args, NULL)));
	in.codes.fetch();
	CHECK(same_bits(in.codes.host, want));
	args.x = f16.device;
	args.number = CUDA_F16;
	CHECK(ran(cuda_quantize(&args, NULL)));
	in.codes.fetch();
	CHECK(same_bits(in.codes.host, want));
}

TEST(what_has_no_form_is_refused)
{
	enum cuda_form form;
	struct cuda_gemm_args args = {};
	struct cuda_quantize_args quantize = {};
	matrix wrong(WEIGHT_Q4_0, CUDA_W_RUNS8, 16, 32);

	CHECK_EQ(wrong.form, CUDA_W_INT4); /* Q4_0 is of RUNS4 */
	CHECK_EQ(pack_form(WEIGHT_Q2_K, &form), -ENOTSUP);
	args.n = args.tokens = 1;
	args.k = 40; /* no whole runs */
	args.form = CUDA_W_RUNS8;
	CHECK_EQ(cuda_gemm(&args, NULL), -EINVAL);
	quantize.rows = 1;
	quantize.k = 40;
	quantize.kind = CUDA_RUNS;
	CHECK_EQ(cuda_quantize(&quantize, NULL), -EINVAL);
}
