/* SPDX-License-Identifier: MIT */
/* Wishes to offsets: what is granted, what is refused, and that it holds. */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/layout.h"

#include <errno.h>
#include <stdint.h>
#include <linux/llm.h>

static struct llm_setup wishes(void)
{
	struct llm_setup s;

	memset(&s, 0, sizeof(s));
	s.size = sizeof(s);
	s.abi = LLM_ABI_VERSION;
	return s;
}

TEST(a_client_without_wishes_gets_the_defaults)
{
	struct llm_setup s = wishes();
	struct err err = { 0 };

	CHECK_EQ(layout_fill(&s, &err), 0);
	CHECK_EQ(s.size, sizeof(s));
	CHECK_EQ(s.sq_entries, 64);
	CHECK_EQ(s.nr_streams, 64);
	CHECK_EQ(s.arena_size, 4 << 20);
	CHECK_EQ(s.log_size, 64 << 20);
	CHECK_EQ(s.session, 0);
	/* by hand: 128 + 64 wishes + 64 entries of 64 bytes, in whole pages */
	CHECK_EQ(s.off_wish, 128);
	CHECK_EQ(s.off_sq, 128 + 64 * 64);
	CHECK_EQ(s.area_size[LLM_AREA_CLIENT], 3 * 4096);
	CHECK_EQ(s.area_size[LLM_AREA_ARENA], 4 << 20);
	CHECK_EQ(s.area_size[LLM_AREA_HOST], 4096);
	/* 64 + 160 bytes, up to a line; 512 bytes of words, up to a page */
	CHECK_EQ(s.off_info, 64);
	CHECK_EQ(s.off_commit, 256);
	CHECK_EQ(s.off_record, 4096);
	CHECK_EQ(s.off_extent, 4096 + 64 * 512);
	CHECK_EQ(s.area_size[LLM_AREA_ENGINE], 4096 + 64 * 512 + (64 << 20));
	CHECK(layout_holds(&s));
}

TEST(a_wish_past_a_limit_is_refused_and_named)
{
	static const struct {
		const char *name;
		uint32_t abi, flags, sq, streams, resv;
		uint64_t arena, log;
		int want;
		const char *says;
	} row[] = {
		{ "another abi", 1, 0, 0, 0, 0, 0, 0, -EPROTO, "setup.abi" },
		{ "a flag", 0, 1, 0, 0, 0, 0, 0, -EINVAL, "setup.flags" },
		{ "reserved", 0, 0, 0, 0, 7, 0, 0, -EINVAL, "setup.resv" },
		{ "63 entries", 0, 0, 63, 0, 0, 0, 0, -EINVAL, "is 63" },
		{ "8192 entries", 0, 0, 8192, 0, 0, 0, 0, -EINVAL, "4096" },
		{ "2^31 entries", 0, 0, 1u << 31, 0, 0, 0, 0, -EINVAL, "4096" },
		{ "1025 streams", 0, 0, 0, 1025, 0, 0, 0, -EINVAL, "1024" },
		{ "2^32-1 streams", 0, 0, 0, ~0u, 0, 0, 0, -EINVAL, "1024" },
		{ "an arena too large", 0, 0, 0, 0, 0, (1ull << 30) + 1, 0,
		  -EINVAL, "setup.arena_size" },
		{ "an arena of all", 0, 0, 0, 0, 0, ~0ull, 0, -EINVAL,
		  "setup.arena_size" },
		{ "a log too large", 0, 0, 0, 0, 0, 0, (1ull << 34) + 1,
		  -EINVAL, "setup.log_size" },
		{ "a log of all", 0, 0, 0, 0, 0, 0, ~0ull, -EINVAL,
		  "setup.log_size" },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct llm_setup s = wishes(), was;
		struct err err = { 0 };

		ROW(row[i].name);
		s.abi = LLM_ABI_VERSION + row[i].abi;
		s.flags = row[i].flags;
		s.sq_entries = row[i].sq;
		s.nr_streams = row[i].streams;
		s.resv[6] = row[i].resv;
		s.arena_size = row[i].arena;
		s.log_size = row[i].log;
		was = s;
		CHECK_EQ(layout_fill(&s, &err), row[i].want);
		CHECK_EQ(err.code, row[i].want);
		CHECK(strstr(err.text, row[i].says));
		CHECK(!memcmp(&s, &was, sizeof(s)));
	}
}

TEST(every_layout_within_the_limits_holds)
{
	static const uint64_t size[] = { 1,    4095,	4096,
					 4097, 1 << 20, 1ull << 30 };
	uint32_t sq, streams;
	unsigned i;

	for (sq = 1; sq <= LLM_MAX_SQ_ENTRIES; sq *= 2)
		for (streams = 1; streams <= LLM_MAX_STREAMS; streams++)
			for (i = 0; i < 6; i++) {
				struct llm_setup s = wishes();

				s.sq_entries = sq;
				s.nr_streams = streams;
				s.arena_size = size[i];
				s.log_size = size[5 - i] * 16;
				CHECK_EQ(layout_fill(&s, NULL), 0);
				CHECK(layout_holds(&s));
				CHECK_EQ(s.sq_entries, sq);
				CHECK_EQ(s.nr_streams, streams);
				CHECK(s.arena_size >= size[i]);
				CHECK(s.arena_size < size[i] + 4096);
			}
}

TEST(wishes_in_out_fields_are_not_believed)
{
	struct llm_setup s = wishes(), plain = wishes();

	s.session = 77;
	s.features = ~0u;
	s.off_record = 12;
	s.record_stride = 1;
	s.area_size[LLM_AREA_ENGINE] = 1;
	CHECK_EQ(layout_fill(&s, NULL), 0);
	CHECK_EQ(layout_fill(&plain, NULL), 0);
	CHECK(!memcmp(&s, &plain, sizeof(s)));
}

/* Each breach alone must be seen: the assert at the other side can fail. */
TEST(a_layout_that_does_not_hold_is_seen)
{
	struct llm_setup good = wishes(), s;

	CHECK_EQ(layout_fill(&good, NULL), 0);
#define BREACH(change)                                                         \
	do {                                                                   \
		s = good;                                                      \
		ROW(#change);                                                  \
		change;                                                        \
		CHECK(!layout_holds(&s));                                      \
	} while (0)
	BREACH(s.area_size[LLM_AREA_CLIENT] = 0);
	BREACH(s.area_size[LLM_AREA_CLIENT] -= 4096);
	BREACH(s.area_size[LLM_AREA_ARENA] += 4096);
	BREACH(s.area_size[LLM_AREA_ENGINE] -= 4096);
	BREACH(s.area_size[LLM_AREA_HOST] = 100);
	BREACH(s.off_wish = 64);
	BREACH(s.off_sq -= 64);
	BREACH(s.off_sq += 1);
	BREACH(s.sq_entries = 48);
	BREACH(s.nr_streams = 0);
	BREACH(s.nr_streams = 1025);
	BREACH(s.off_info = 0);
	BREACH(s.off_commit = 64);
	BREACH(s.off_record = 256);
	BREACH(s.record_stride = 256);
	BREACH(s.off_extent = 4096);
	BREACH(s.log_size += 4096);
#undef BREACH
}
