/* SPDX-License-Identifier: MIT */
#include "checkpoint/figures.h"
#include "base/err.h"
#include "checkpoint/checkpoint.h"
#include "tests/model/golden.h"
#include "tools/words.h"

static struct checkpoint c;

static void open_golden(size_t i)
{
	struct err err = { 0 };

	if (checkpoint_open(&c, golden_dir(i), &err))
		printf("# %s\n", err.text);
	CHECK(c.tensors.nr);
}

/* The formula against what lies in the files, family by family. */
TEST(parameters_are_the_numbers_in_the_tensors)
{
	for (size_t i = 0; i < NR_GOLDEN_TWINS; i++) {
		struct figures_type types[FIGURES_MAX_TYPES];
		uint64_t numbers = 0, bytes = 0;
		const struct tensor *t;
		uint32_t n;

		open_golden(i);
		n = figures_types(&c.tensors, types);
		CHECK(n > 0);
		for (uint32_t k = 0; k < n; k++) {
			numbers += types[k].numbers;
			bytes += types[k].bytes;
			CHECK(!k || types[k].bytes <= types[k - 1].bytes);
		}
		/* divisors of the rope are no parameters */
		t = tensors_find(&c.tensors, "rope_freqs.weight");
		CHECK_EQ(figures_parameters(&c.arch),
			 numbers - (t ? t->shape[0] : 0));
		CHECK_EQ(bytes, c.tensors.size);
		checkpoint_close(&c);
	}
}

TEST(kv_of_a_token_is_2_x_layers_x_kv_heads_x_head_size)
{
	struct arch a = { .nr_layers = 80, .nr_kv_heads = 64, .head_dim = 128 };

	CHECK_EQ(2 * figures_kv_numbers(&a), 2621440);		 /* 2.5 MiB */
	CHECK_EQ(4096 * 2 * figures_kv_numbers(&a), 10ll << 30); /* 10 GiB */
	a = (struct arch){ .nr_layers = 32, .nr_kv_heads = 8, .head_dim = 128 };
	CHECK_EQ(2 * figures_kv_numbers(&a), 128 << 10);
}

TEST(figures_are_written_as_people_read_them)
{
	static const struct {
		uint64_t bytes;
		const char *size;
	} rows[] = {
		{ 0, "0 bytes" },	    { 1023, "1023 bytes" },
		{ 1024, "1 KiB" },	    { 2621440, "2.5 MiB" },
		{ 10ull << 30, "10 GiB" },  { (1ull << 30) - 1, "1 GiB" },
		{ 1000 << 20, "1000 MiB" }, { UINT64_MAX, "16 EiB" },
	};
	char b[WORDS_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].size);
		CHECK_STR(words_size(b, rows[i].bytes), rows[i].size);
	}
	CHECK_STR(words_count(b, 0), "0");
	CHECK_STR(words_count(b, 999), "999");
	CHECK_STR(words_count(b, 4096), "4,096");
	CHECK_STR(words_count(b, UINT64_MAX), "18,446,744,073,709,551,615");
	CHECK_STR(words_amount(b, 65285660672), "65.3 billion");
	CHECK_STR(words_amount(b, 1970000), "1.97 million");
	CHECK_STR(words_amount(b, 9216), "9,216");
}
