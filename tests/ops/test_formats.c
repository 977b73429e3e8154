/* SPDX-License-Identifier: MIT */
/*
 * formats.h against gguf-py's blocks and numbers (tests/data/quant); those of
 * FP8 and INT4 are ml_dtypes' and numpy's (tests/data/quantized).
 */
#include "tests/ops/fixture.h"

#define DATA "tests/data/quant/"

static void *read_all(const char *name, const char *end, size_t *ret_size)
{
	char path[128];
	FILE *f;
	char *p;

	snprintf(path, sizeof(path), DATA "%s%s", name, end);
	f = fopen(path, "rb");
	if (!f)
		return NULL;
	p = fx_take(1 << 18);
	*ret_size = fread(p + 1, 1, (1 << 18) - 1, f); /* odd on purpose */
	fclose(f);
	return p + 1;
}

TEST(every_type_unpacks_to_the_numbers_of_gguf_py)
{
	for (int t = WEIGHT_F16; t < NR_WEIGHT_TYPES; t++) {
		const struct weight_format *f = &weight_formats[t];
		size_t bytes, want_bytes, n;
		char *blocks = read_all(f->name, ".bin", &bytes);
		char *want = read_all(f->name, ".f32.bin", &want_bytes);
		float *got;

		ROW(f->name);
		CHECK(blocks && want);
		bytes -= f->head;
		CHECK_EQ(bytes % f->block_bytes, 0);
		n = bytes / f->block_bytes * f->block;
		CHECK(n >= 900);
		CHECK_EQ(want_bytes, n * 4);
		got = fx_take(n * 4);
		f->unpack(blocks, got, n);
		CHECK(!memcmp(got, want, want_bytes));
	}
}

TEST(numbers_pack_to_the_bytes_of_gguf_py)
{
	static const char *const types[] = { "Q8_0", "Q4_0", "Q4_1",
					     "Q5_0", "Q5_1", "MXFP4" };
	size_t bytes, want_bytes;
	char *p = read_all("numbers", ".f32.bin", &bytes), *want, *got;
	float *numbers = fx_take(bytes);

	CHECK(p && bytes == 2048 * 4);
	memcpy(numbers, p, bytes);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		enum weight_type t;

		ROW(types[i]);
		CHECK_EQ(weight_type_of_name(types[i], &t), 0);
		want = read_all(types[i], ".numbers.bin", &want_bytes);
		CHECK(want && want_bytes == weight_row_bytes(t, 2048));
		got = fx_take(want_bytes + 1);
		weight_formats[t].pack(numbers, got + 1, 2048);
		CHECK(!memcmp(got + 1, want, want_bytes));
	}
}

/*
 * Normal numbers: the step of b bits over a run is about its range / 2^b, and
 * the error of rounding a step / sqrt(12).  Ranges of 32 normal numbers are
 * about 4.1 deviations, of 16 3.5; a search does a little better.
 */
TEST(packing_loses_no_more_than_its_bits)
{
	static const struct {
		const char *name;
		double most; /* root of the mean squared error / deviation */
	} rows[] = {
		{ "F16", 3e-4 },    { "BF16", 3e-3 },  { "Q8_0", 0.006 },
		{ "Q4_0", 0.095 },  { "Q4_1", 0.085 }, { "Q5_0", 0.047 },
		{ "Q5_1", 0.041 },  { "Q2_K", 0.31 },  { "Q3_K", 0.17 },
		{ "Q4_K", 0.078 },  { "Q5_K", 0.040 }, { "Q6_K", 0.023 },
		{ "IQ4_NL", 0.08 }, { "MXFP4", 0.13 }, { "FP8", 0.03 },
		{ "INT4", 0.11 },   { "INT8", 0.011 },
	};
	float *x = fx_take(8192 * 4), *y = fx_take(8192 * 4);
	char *packed = fx_take(8192 * 4);

	fx_state = 5;
	for (int i = 0; i < 8192; i++)
		for (int j = 0; j < 12; j++)
			x[i] += fx_float(0.5f * 0.02f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int t = WEIGHT_F16;
		double e = 0, s = 0;

		ROW(rows[i].name);
		while (strcmp(weight_formats[t].name, rows[i].name))
			t++;
		weight_formats[t].pack(x, packed, 8192);
		weight_formats[t].unpack(packed, y, 8192);
		for (int j = 0; j < 8192; j++) {
			e += (x[j] - y[j]) * (x[j] - y[j]);
			s += x[j] * x[j];
		}
		if (sqrt(e / s) > rows[i].most || getenv("LLM_VERBOSE"))
			printf("# %s: %.4f\n", rows[i].name, sqrt(e / s));
		CHECK(sqrt(e / s) < rows[i].most);
	}
}

TEST(zeros_and_wild_numbers_pack_to_finite_ones)
{
	static const float wild[] = { 0,     -0.0f,  1e-45f, 1e-38f, -1e-30f,
				      1e30f, -3e38f, 65504,  1e-7f,  1 };
	float x[512], y[512];
	char packed[2048];

	for (int t = WEIGHT_Q8_0; t < NR_WEIGHT_TYPES; t++) {
		const struct weight_format *f = &weight_formats[t];

		ROW(f->name);
		for (int i = 0; i < 512; i++)
			x[i] = 0;
		f->pack(x, packed, 512);
		f->unpack(packed, y, 512);
		for (int i = 0; i < 512; i++)
			CHECK(y[i] == 0);
		for (uint32_t w = 0; w < 100; w++) {
			for (int i = 0; i < 512; i++)
				x[i] = w < 10 ? wild[w] * fx_float(1)
					      : wild[fx_below(10)];
			f->pack(x, packed, 512);
			f->unpack(packed, y, 512);
			for (int i = 0; i < 512; i++)
				CHECK(isfinite(y[i]) || fabsf(x[i]) > 65504);
		}
	}
}

TEST(what_is_no_number_becomes_0_in_INT8)
{
	const struct weight_format *f = &weight_formats[WEIGHT_INT8];
	float x[5] = { 2, NAN, -1, 0.5f, -NAN }, y[5];
	char row[9];

	f->pack(x, row, 5);
	f->unpack(row, y, 5);
	CHECK(y[0] == 2 && y[1] == 0 && y[4] == 0);
	CHECK(y[2] < 0 && y[3] > 0);
	x[3] = INFINITY; /* no scale has it */
	f->pack(x, row, 5);
	f->unpack(row, y, 5);
	for (int i = 0; i < 5; i++)
		CHECK(y[i] == 0);
}

TEST(types_are_found_by_number_and_name)
{
	enum weight_type t = WEIGHT_F32;

	CHECK_EQ(weight_type_of_gguf(12, &t), 0);
	CHECK_EQ(t, WEIGHT_Q4_K);
	CHECK_EQ(weight_type_of_gguf(30, &t), 0);
	CHECK_EQ(t, WEIGHT_BF16);
	CHECK_EQ(weight_type_of_name("q5_0", &t), 0);
	CHECK_EQ(t, WEIGHT_Q5_0);
	CHECK_EQ(weight_type_of_gguf(15, &t), -2); /* Q8_K: only inside ggml */
	CHECK_EQ(weight_type_of_name("Q9", &t), -2);
	CHECK_EQ(t, WEIGHT_Q5_0);
	CHECK_EQ(weight_row_bytes(WEIGHT_Q6_K, 512), 420);
	/* ours: no file has them, by number or by name */
	CHECK_EQ(weight_type_of_name("FP8", &t), -2);
	CHECK_EQ(weight_type_of_name("INT4", &t), -2);
	CHECK_EQ(weight_type_of_gguf(weight_formats[WEIGHT_FP8].gguf, &t), -2);
	CHECK_EQ(weight_type_of_name("INT8", &t), -2);
	CHECK_EQ(weight_type_of_gguf(weight_formats[WEIGHT_INT4].gguf, &t), -2);
	CHECK_EQ(weight_type_of_gguf(weight_formats[WEIGHT_INT8].gguf, &t), -2);
}
