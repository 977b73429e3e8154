/* SPDX-License-Identifier: MIT */
/* An op set's library that is not there, or is something else: one line. */
#include "tests/test.h"
#include "base/err.h"
#include "kernels/library.h"

#include <errno.h>

TEST(a_library_that_cannot_be_had_is_told_in_a_line)
{
	static const struct {
		const char *path;
		int ret;
		const char *part;
	} rows[] = {
		{ "libllm-none.so", -ENOENT, "libllm-none.so: " },
		{ "/nowhere/libllm-cuda.so", -ENOENT,
		  "/nowhere/libllm-cuda.so: " },
		{ "tests/unit/test_library.c", -ENOENT, "invalid ELF header" },
		{ "libm.so.6", -EINVAL, "libm.so.6: has no llm_ops_library" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct ops *ops = NULL;
		struct err err = { 0 };

		ROW(rows[i].path);
		CHECK_EQ(ops_load(rows[i].path, &ops, &err), rows[i].ret);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!ops);
	}
}
