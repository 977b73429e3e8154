/* SPDX-License-Identifier: MIT */
/*
 * slow test: weights in FP8 and INT4, from rows of formats.h, and rounded from
 * plain ones, into the forms of the device: read back number for number as
 * layout.h says they lie, then multiplied, against float64.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"

extern "C" {
#include "kernels/block128.h"
#include "kernels/cuda/pack.h"
}

#include <cerrno>

static const struct one {
	const char *name;
	enum weight_type type;
	enum cuda_form form;
	int n, k, tokens; /* no multiples of a tile */
	bool simple;	  /* a scale a row; zero points of 8 */
} cases[] = {
	{ "fp8, a scale a row", WEIGHT_FP8, CUDA_W_FP8, 37, 384, 7, true },
	{ "fp8", WEIGHT_FP8, CUDA_W_FP8_GROUPS, 130, 256, 9, false },
	{ "fp8, one block", WEIGHT_FP8, CUDA_W_FP8_GROUPS, 20, 128, 70, false },
	{ "int4, no zeros", WEIGHT_INT4, CUDA_W_INT4, 37, 384, 7, true },
	{ "int4", WEIGHT_INT4, CUDA_W_INT4_ZEROS, 37, 384, 7, false },
	{ "int4, many rows", WEIGHT_INT4, CUDA_W_INT4_ZEROS, 140, 128, 33,
	  false },
	{ "int4, many tokens", WEIGHT_INT4, CUDA_W_INT4_ZEROS, 20, 256, 70,
	  false },
	{ "f32 to fp8", WEIGHT_F32, CUDA_W_FP8, 37, 80, 7, false },
	{ "bf16 to fp8", WEIGHT_BF16, CUDA_W_FP8, 130, 192, 9, false },
	{ "f16 to int4", WEIGHT_F16, CUDA_W_INT4, 37, 256, 9, false },
};

/* The value of an e4m3 code, by its definition. */
static double e4m3(int code)
{
	int exponent = code >> 3 & 15, fraction = code & 7;

	return (code & 128 ? -1 : 1) * ldexp(exponent ? fraction + 8 : fraction,
					     (exponent ? exponent : 1) - 10);
}

/* A matrix of a case, as it is and packed. */
struct matrix {
	const struct one &c;
	std::vector<char> data;
	struct weight w = {};
	array<char> packed;
	array<float> scale;
	int refused;

	explicit matrix(const struct one &one)
		: c(one), packed(pack_bytes(c.form, c.n, c.k)),
		  scale(pack_scales(c.form, c.n, c.k))
	{
		std::vector<float> scratch(c.k);
		struct pack pack = {
			c.form, c.n, c.k, packed.host.data(), scale.host.data(),
			0
		};
		struct pack_place place = { PACK_AS_IS, 0, 0, 0 };
		size_t row = weight_row_bytes(c.type, (uint32_t)c.k);

		data.resize(row * c.n);
		for (int r = 0; r < c.n; r++)
			fill(r, &data[row * r]);
		w.type = c.type;
		w.rows = (uint32_t)c.n;
		w.cols = (uint32_t)c.k;
		w.row_stride = row;
		w.data = data.data();
		w.simple = c.simple;
		memset(packed.host.data(), 0, packed.host.size());
		for (float &s : scale.host)
			s = 0;
		refused =
			pack_weight(&pack, &w, &place, 0, c.n, scratch.data());
		packed.send();
		scale.send();
	}

	void fill(int r, char *to)
	{
		std::vector<float> v(c.k);
		uint64_t at = (uint64_t)r * c.k;
		uint8_t code[BLOCK128];
		uint32_t word[BLOCK128 / 8];

		for (int i = 0; i < c.k; i++)
			v[i] = noise(3, at + i) * 0.2f * (float)(1 + r % 5);
		if (c.type <= WEIGHT_BF16) {
			weight_formats[c.type].pack(v.data(), to, c.k);
			return;
		}
		for (int b = 0; b < c.k / 128; b++) {
			float s = 0.01f *
				  (1.5f + noise(4, c.simple ? r : at + b));
			int zero;

			if (c.type == WEIGHT_INT4) /* as files have them */
				s = f16_to_f32(f32_to_f16(s));
			zero = c.simple ? 8 : (r * 7 + b * 5) % 17;
			for (int i = 0; i < 128; i++) {
				float f = noise(5, at + 128 * b + i);

				code[i] = (uint8_t)(int)floorf(f * 128);
				if ((code[i] & 127) == 127)
					code[i] = 0;
				if (i % 8 == 0)
					word[i / 8] = 0;
				word[i / 8] |= (uint32_t)(f * 8 + 8)
					       << 4 * (i % 8);
			}
			if (c.type == WEIGHT_FP8)
				block128_put_fp8(to + 132 * b, s, code);
			else
				block128_put_int4(to + 72 * b, s, (uint8_t)zero,
						  word);
		}
	}

	int code(int r, int col)
	{
		int bits = c.type == WEIGHT_INT4 || c.form == CUDA_W_INT4 ? 4
									  : 8;
		int shift;
		size_t at = layout_weight(bits, layout_cols(bits, c.k), r, col,
					  &shift);

		return (uint8_t)packed[at] >> shift & ((1 << bits) - 1);
	}

	/* the number at a place, from what the device is given */
	double number(int r, int col)
	{
		int rows = layout_rows(c.n), groups = (c.k + 127) / 128;
		int group = c.form == CUDA_W_FP8 ? 0 : col / 128;
		float s = scale[(size_t)group * rows + r], zero;
		uint16_t half[2];

		if (c.form == CUDA_W_FP8 || c.form == CUDA_W_FP8_GROUPS)
			return e4m3(code(r, col)) * s;
		if (c.form == CUDA_W_INT4)
			return (double)(code(r, col) - 8) * s;
		zero = scale[(size_t)(groups + group) * rows + r];
		memcpy(half, &zero, 4);
		return half[0] == half[1] ? (128 + code(r, col) +
					     (double)mma_widen(half[0])) *
						    s
					  : NAN;
	}

	/* its own number */
	std::vector<float> row(int r)
	{
		std::vector<float> v(c.k);

		weight_row(&w, (uint32_t)r, v.data());
		return v;
	}
};

TEST(blocks_are_packed_number_for_number)
{
	for (const struct one &c : cases) {
		matrix m(c);

		ROW(c.name);
		CHECK_EQ(m.refused, 0);
		for (int r = 0; r < c.n && c.type > WEIGHT_BF16; r++) {
			std::vector<float> v = m.row(r);

			for (int i = 0; i < c.k; i++)
				CHECK((float)m.number(r, i) == v[i]);
		}
	}
}

/* No code is nearer than the one that was taken; an even one where two are. */
TEST(plain_rows_are_rounded_to_the_nearest_of_fp8)
{
	for (const struct one &c : cases) {
		if (c.type > WEIGHT_BF16 || c.form != CUDA_W_FP8)
			continue;
		matrix m(c);

		ROW(c.name);
		for (int r = 0; r < c.n; r++) {
			std::vector<float> v = m.row(r);
			float top = 0;

			for (float f : v)
				top = fmaxf(top, fabsf(f));
			CHECK(m.scale[r] == top / 448);
			for (int i = 0; i < c.k; i++) {
				/* in the F32 that pack.c takes it in */
				double x = (float)(v[i] * (448 / top));
				int got = m.code(r, i);
				double e = fabs(e4m3(got) - x);

				for (int k = 0; k < 256; k++) {
					double d = fabs(e4m3(k) - x);

					if ((k & 127) == 127)
						continue;
					CHECK(e <= d);
					CHECK(e < d || e4m3(k) == e4m3(got) ||
					      got % 2 == 0);
				}
			}
		}
	}
}

/* Half a step of an eighth of the group's largest, or of what is cut off. */
TEST(plain_rows_are_rounded_to_int4_of_128_columns)
{
	matrix m(cases[9]);

	CHECK_EQ(m.refused, 0);
	for (int r = 0; r < m.c.n; r++) {
		std::vector<float> v = m.row(r);

		for (int g = 0; g < m.c.k; g += 128) {
			float top = 0;

			for (int i = g; i < g + 128; i++)
				top = fmaxf(top, fabsf(v[i]));
			for (int i = g; i < g + 128; i++)
				CHECK(fabs(m.number(r, i) - v[i]) <=
				      top / 8 * 1.0001);
		}
	}
}

TEST(products_with_blocks_are_near_float64)
{
	for (const struct one &c : cases) {
		matrix m(c);
		array<uint16_t> x((size_t)c.tokens * c.k);
		array<float> y((size_t)c.tokens * c.n);
		struct cuda_gemm_args a = {};
		double worst = 0, largest = 0;

		ROW(c.name);
		fill_bf16(x, 6, 1);
		a.w = m.packed.device;
		a.scale = m.scale.device;
		a.x = x.device;
		a.y = y.device;
		a.n = c.n;
		a.k = c.k;
		a.tokens = c.tokens;
		a.form = c.form;
		a.out = CUDA_F32;
		EACH_MODEL
		{
			CHECK(every_schedule(y.host, [&] {
				bool ok = ran(cuda_gemm(&a, NULL));

				y.fetch();
				return ok;
			}));
			for (int t = 0; t < c.tokens; t++)
				for (int r = 0; r < c.n; r++) {
					double sum = 0;

					for (int i = 0; i < c.k; i++)
						sum += m.number(r, i) *
						       mma_widen(x[(size_t)t *
									   c.k +
								   i]);
					worse(&worst,
					      fabs(y[(size_t)t * c.n + r] -
						   sum));
					largest = fmax(largest, fabs(sum));
				}
			CHECK(worst < largest * 1e-5);
		}
	}
}

TEST(forms_are_made_of_what_they_can_be_made_of)
{
	static const struct one wrong[] = {
		{ "fp8 of many scales", WEIGHT_FP8, CUDA_W_FP8, 16, 128, 1,
		  false },
		{ "int4 with zeros", WEIGHT_INT4, CUDA_W_INT4, 16, 128, 1,
		  false },
		{ "int4 of half a group", WEIGHT_F32, CUDA_W_INT4, 16, 192, 1,
		  false },
		{ "groups of plain ones", WEIGHT_F32, CUDA_W_FP8_GROUPS, 16,
		  128, 1, false },
		{ "fp8 of int4", WEIGHT_INT4, CUDA_W_FP8, 16, 128, 1, true },
	};
	struct cuda_gemm_args args = {};

	for (const struct one &c : wrong) {
		matrix m(c);

		ROW(c.name);
		CHECK_EQ(m.refused, -EINVAL);
	}
	args.n = args.tokens = 1;
	args.k = 192; /* no whole groups */
	args.form = CUDA_W_FP8_GROUPS;
	CHECK_EQ(cuda_gemm(&args, NULL), -EINVAL);
}
