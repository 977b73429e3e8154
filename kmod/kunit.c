// SPDX-License-Identifier: GPL-2.0-only
/* kunit.c - what needs no device: layouts and entries.  Loading it runs it. */
#include <kunit/test.h>
#include <linux/module.h>

#include "check.h"

static void llm_entry_check_test(struct kunit *test)
{
	static const struct llm_sqe ok = { .op = LLM_OP_GENERATE, .stream = 3, .gen = 1,
					   .off = 4000, .len = 96 };
	static const struct {
		const char *name;
		struct llm_sqe e;
	} bad[] = {
		{ "an unknown op", { .op = LLM_OP_NR, .gen = 1 } },
		{ "an unknown flag", { .op = LLM_OP_PING, .gen = 1, .flags = 0x40 } },
		{ "an unknown class", { .op = LLM_OP_PING, .gen = 1, .class_ = LLM_CLASS_NR } },
		{ "a reserved word", { .op = LLM_OP_PING, .gen = 1, .resv = 1 } },
		{ "gen 0", { .op = LLM_OP_PING } },
		{ "a stream too far", { .op = LLM_OP_PING, .gen = 1, .stream = 4 } },
		{ "one byte too long", { .op = LLM_OP_PING, .gen = 1, .off = 4000, .len = 97 } },
		{ "off + len wraps", { .op = LLM_OP_PING, .gen = 1, .off = U32_MAX - 3, .len = 8 } },
		{ "4 GiB", { .op = LLM_OP_PING, .gen = 1, .len = U32_MAX } },
		{ "an odd place", { .op = LLM_OP_PING, .gen = 1, .off = 2, .len = 4 } },
		{ "parameters outside", { .op = LLM_OP_PING, .gen = 1, .params_off = 4096,
					  .params_len = 1 } },
		{ "parameters at 4", { .op = LLM_OP_PING, .gen = 1, .params_off = 4 } },
	};
	struct llm_sqe e = ok;
	size_t i;

	KUNIT_EXPECT_EQ(test, llm_entry_check(&ok, 4, 4096), 0);
	e.params_off = 4096;
	KUNIT_EXPECT_EQ(test, llm_entry_check(&e, 4, 4096), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, llm_entry_check(&bad[i].e, 4, 4096), -EINVAL, "%s",
				    bad[i].name);
}

static void llm_layout_test(struct kunit *test)
{
	struct llm_setup s = { .features = ~0u };

	KUNIT_EXPECT_EQ(test, llm_layout_fill(&s, LLM_FEAT_URING), 0);
	KUNIT_EXPECT_EQ(test, s.features, LLM_FEAT_URING);
	KUNIT_EXPECT_EQ(test, s.sq_entries, 64);
	KUNIT_EXPECT_EQ(test, s.area_size[LLM_AREA_ENGINE], s.off_extent + s.log_size);
	s = (struct llm_setup){ .sq_entries = 3 };
	KUNIT_EXPECT_EQ(test, llm_layout_fill(&s, 0), -EINVAL);
	s = (struct llm_setup){ .abi = LLM_ABI_VERSION + 1 };
	KUNIT_EXPECT_EQ(test, llm_layout_fill(&s, 0), -EPROTO);
	s = (struct llm_setup){ .log_size = LLM_MAX_LOG_BYTES, .arena_size = LLM_MAX_ARENA_BYTES,
				.nr_streams = LLM_MAX_STREAMS, .sq_entries = LLM_MAX_SQ_ENTRIES };
	KUNIT_EXPECT_EQ(test, llm_layout_fill(&s, 0), 0);
	s = (struct llm_setup){ .log_size = LLM_MAX_LOG_BYTES + 1 };
	KUNIT_EXPECT_EQ(test, llm_layout_fill(&s, 0), -EINVAL);
	s = (struct llm_setup){ .resv[6] = 1 };
	KUNIT_EXPECT_EQ(test, llm_layout_fill(&s, 0), -EINVAL);
}

static struct kunit_case llm_cases[] = {
	KUNIT_CASE(llm_entry_check_test),
	KUNIT_CASE(llm_layout_test),
	{}
};

static struct kunit_suite llm_suite = {
	.name = "llm",
	.test_cases = llm_cases,
};
kunit_test_suite(llm_suite);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("llm KUnit tests");
