/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "base/err.h"
#include "base/json.h"
#include "base/map.h"

#include <errno.h>

TEST(an_error_is_one_line_whatever_it_quotes)
{
	struct err e = { 0 };

	CHECK_EQ(err_set(&e, -EINVAL, "%s: bad", "a\nb\x1b[2J"), -EINVAL);
	CHECK_STR(e.text, "a?b?[2J: bad");
	CHECK_EQ(e.code, -EINVAL);
	CHECK_EQ(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

TEST(a_missing_file_is_named)
{
	struct err e = { 0 };
	struct map m;

	CHECK_EQ(map_open(&m, "/nonexistent/x", &e), -ENOENT);
	CHECK(strstr(e.text, "/nonexistent/x"));
	CHECK_EQ(map_open(&m, "/", &e), -EINVAL);
	map_close(&m);
}

TEST(json_numbers_are_checked_by_type_and_range)
{
	static const char text[] =
		"{\"n\": 7, \"neg\": -1, \"r\": 1.5, \"s\": \"x\", \"z\": null,"
		" \"b\": true, \"nul\": \"a\\u0000b\"}";
	struct err e = { 0 };
	json_t *j = json_parse("t", text, sizeof(text) - 1, &e);
	uint32_t n = 42;
	double d = 0;
	bool b = false;
	const char *s = NULL;

	CHECK(j);
	CHECK_EQ(json_get_u32("t", j, "absent", 0, 9, &n, &e), 0);
	CHECK_EQ(n, 42);
	CHECK_EQ(json_get_u32("t", j, "z", 0, 9, &n, &e), 0);
	CHECK_EQ(n, 42);
	CHECK_EQ(json_get_u32("t", j, "n", 0, 9, &n, &e), 0);
	CHECK_EQ(n, 7);
	CHECK_EQ(json_get_u32("t", j, "n", 8, 9, &n, &e), -EINVAL);
	CHECK_STR(e.text, "t: n is 7, allowed 8 to 9");
	CHECK_EQ(json_get_u32("t", j, "neg", 0, 9, &n, &e), -EINVAL);
	CHECK_EQ(json_get_u32("t", j, "r", 0, 9, &n, &e), -EINVAL);
	CHECK_EQ(json_get_u32("t", j, "s", 0, 9, &n, &e), -EINVAL);
	CHECK_EQ(json_get_f64("t", j, "r", 0, 9, &d, &e), 0);
	CHECK(d == 1.5);
	CHECK_EQ(json_get_f64("t", j, "n", 0, 9, &d, &e), 0);
	CHECK_EQ(json_get_bool("t", j, "b", &b, &e), 0);
	CHECK(b);
	CHECK_EQ(json_get_str("t", j, "s", &s, &e), 0);
	CHECK_STR(s, "x");
	CHECK_EQ(json_get_str("t", j, "nul", &s, &e), -EINVAL);
	json_decref(j);
	CHECK(!json_parse("t", "{", 1, &e));
	CHECK(!json_parse("t", "{\"a\":1,\"a\":2}", 13, &e));
}
