/* SPDX-License-Identifier: MIT */
#include "base/table.h"
#include "tests/test.h"

#include <stdint.h>
#include <string.h>

TEST(a_table_is_zero_on_its_own_lines_and_can_be_filled)
{
	static const size_t nr[] = { 0, 1, 63, 1000, 131072, 1000000 };
	size_t i, k;

	for (i = 0; i < sizeof(nr) / sizeof(*nr); i++) {
		uint32_t *t = table_alloc(nr[i], sizeof(*t)), sum = 0;

		CHECK(t != NULL);
		CHECK_EQ((uintptr_t)t % 64, 0);
		for (k = 0; k < nr[i]; k++)
			sum |= t[k];
		CHECK_EQ(sum, 0);
		memset(t, 0xa5, nr[i] * sizeof(*t));
		table_free(t);
	}
	table_free(NULL);
}

TEST(a_table_that_cannot_be_is_NULL)
{
	CHECK(table_alloc(SIZE_MAX / 2, 4) == NULL);
	CHECK(table_alloc(SIZE_MAX, 1) == NULL);
	CHECK(table_alloc((size_t)1 << 60, 2) == NULL);
}
