/* SPDX-License-Identifier: MIT */
/* llmctl's words: sizes, users, ages, read and written. */
#include "tests/test.h"
#include "tools/ctl.h"

#include <errno.h>

TEST(sizes_are_read_exactly_or_refused)
{
	static const struct {
		const char *word;
		uint64_t want; /* 0 and bad: refused */
		int bad;
	} row[] = {
		{ "0", 0, 0 },
		{ "4096", 4096, 0 },
		{ "64K", 64 << 10, 0 },
		{ "64k", 64 << 10, 0 },
		{ "1536M", 1536ull << 20, 0 },
		{ "3G", 3ull << 30, 0 },
		{ "2T", 2ull << 40, 0 },
		{ "16383P", 16383ull << 50, 0 },
		{ "none", UINT64_MAX, 0 },
		{ "16384P", 0, -EINVAL }, /* 2^64 */
		{ "18446744073709551615", UINT64_MAX, 0 },
		{ "18446744073709551616", 0, -EINVAL },
		{ "", 0, -EINVAL },
		{ "M", 0, -EINVAL },
		{ "1.5G", 0, -EINVAL },
		{ "-1", 0, -EINVAL },
		{ " 1", 0, -EINVAL },
		{ "1 ", 0, -EINVAL },
		{ "1MB", 0, -EINVAL },
		{ "99999999999999999999999999999999999M", 0, -EINVAL },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		uint64_t n = 0;

		ROW(row[i].word);
		CHECK_EQ(ctl_size(row[i].word, UINT64_MAX, &n), row[i].bad);
		CHECK(n == row[i].want);
	}
}

TEST(sizes_are_written_short_and_never_rounded_up)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} row[] = {
		{ 0, "0" },
		{ 1023, "1023" },
		{ 1024, "1K" },
		{ 1535, "1.4K" },
		{ 1536, "1.5K" },
		{ 64 << 20, "64M" },
		{ (64 << 20) + (100 << 10), "64M" },
		{ 1536ull << 20, "1.5G" },
		{ (1ull << 30) - 1, "1023M" },
		{ 512ull << 30, "512G" },
		{ 1ull << 60, "1E" },
		{ UINT64_MAX - 1, "15.9E" },
		{ UINT64_MAX, "none" },
	};
	char b[24];
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		ROW(row[i].want);
		CHECK_STR(ctl_size_text(row[i].bytes, b), row[i].want);
	}
}

TEST(users_have_names_or_numbers)
{
	struct ctl c = { 0 };
	uint64_t n;
	char b[40];

	CHECK_EQ(ctl_who("root", &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(ctl_who("18446744073709551615", &n), 0);
	CHECK(n == UINT64_MAX);
	CHECK_EQ(ctl_who("no such user", &n), -EINVAL);
	CHECK_EQ(ctl_who("", &n), -EINVAL);
	CHECK_STR(ctl_who_text(&c, 0, b), "root");
	CHECK_STR(ctl_who_text(&c, 1ull << 32, b), "4294967296");
	c.numeric = true;
	CHECK_STR(ctl_who_text(&c, 0, b), "0");
}

TEST(ages_are_two_units_at_most)
{
	const uint64_t s = 1000000000ull;
	char b[24];

	CHECK_STR(ctl_age_text(7 * s + s / 2, b), "7s");
	CHECK_STR(ctl_age_text(192 * s, b), "3m12s");
	CHECK_STR(ctl_age_text(7500 * s, b), "2h05m");
	CHECK_STR(ctl_age_text(4 * 86400 * s + 6 * 3600 * s, b), "4d06h");
}
