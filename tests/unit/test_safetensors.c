/* SPDX-License-Identifier: MIT */
#include "checkpoint/safetensors.h"
#include "base/err.h"
#include "tests/model/scratch.h"
#include "tests/test.h"

#include <errno.h>

static struct err err;
static uint8_t buf[8192];

static int parse(struct safetensors *st, const char *json, size_t data_size)
{
	static const uint8_t zero[1024];

	memset(&err, 0, sizeof(err));
	return safetensors_parse(st, "f", buf,
				 scratch_tensors(buf, json, zero, data_size),
				 &err);
}

TEST(a_well_formed_file_gives_its_tensors_in_order_of_data)
{
	static const uint8_t data[14] = { 1, 2, 3, 4, 5, 6, 7,
					  8, 9, 1, 2, 3, 4, 5 };
	static const char json[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[8,"
		"14]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,"
		"8]},"
		"\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],"
		"\"data_offsets\":[8,8]}}  ";
	size_t size = scratch_tensors(buf, json, data, sizeof(data));
	struct safetensors st;

	CHECK_EQ(safetensors_parse(&st, "f", buf, size, &err), 0);
	CHECK_EQ(st.nr_tensors, 3);
	CHECK_STR(st.tensors[0].name, "a");
	CHECK_STR(st.tensors[0].dtype, "F32");
	CHECK_EQ(st.tensors[0].nr_dims, 2);
	CHECK_EQ(st.tensors[0].shape[1], 2);
	CHECK_EQ(st.tensors[0].size, 8);
	CHECK(!memcmp(st.tensors[0].data, data, 8));
	CHECK_STR(st.tensors[1].name, "none");
	CHECK_STR(st.tensors[2].name, "b");
	CHECK(!memcmp(st.tensors[2].data, data + 8, 6));
	CHECK_EQ(st.header_size, 8 + sizeof(json) - 1);
	safetensors_close(&st);
	safetensors_close(&st);
}

TEST(a_header_that_lies_is_one_line_and_leaves_nothing)
{
#define T(dtype, shape, offsets)                                               \
	"{\"x\":{\"dtype\":" dtype ",\"shape\":" shape                         \
	",\"data_offsets\":" offsets "}}"
	static const struct {
		const char *row, *json;
		size_t size;
		const char *part; /* of the message */
	} rows[] = {
		{ "not JSON", "{", 0, "not JSON" },
		{ "an array", "[]", 0, "not a JSON object" },
		{ "a tensor that is no object", "{\"x\":3}", 0,
		  "x is not an object" },
		{ "no dtype", T("null", "[1]", "[0,4]"), 4, "dtype is absent" },
		{ "a foreign dtype", T("\"F99\"", "[1]", "[0,4]"), 4, "F99" },
		{ "dtype is a number", T("4", "[1]", "[0,4]"), 4, "dtype" },
		{ "no shape", T("\"F32\"", "null", "[0,4]"), 4, "shape" },
		{ "nine dimensions",
		  T("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "shape" },
		{ "a negative length", T("\"F32\"", "[-1]", "[0,4]"), 4,
		  "shape[0]" },
		{ "a length that is a real", T("\"F32\"", "[1.5]", "[0,4]"), 4,
		  "shape[0]" },
		{ "a product over 2^64",
		  T("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0,
		  "shape[1]" },
		{ "a product that wraps to 4",
		  T("\"F32\"", "[4611686018427387905]", "[0,4]"), 4,
		  "shape[0]" },
		{ "three offsets", T("\"F32\"", "[1]", "[0,4,8]"), 4,
		  "data_offsets" },
		{ "an end before the begin", T("\"F32\"", "[1]", "[4,0]"), 4,
		  "data_offsets" },
		{ "a negative begin", T("\"F32\"", "[1]", "[-4,0]"), 4,
		  "data_offsets" },
		{ "an end past the file", T("\"F32\"", "[2]", "[0,8]"), 4,
		  "cut or lies" },
		{ "an end past everything",
		  T("\"U8\"", "[9223372036854775807]",
		    "[0,9223372036854775807]"),
		  4, "cut or lies" },
		{ "fewer bytes than the shape", T("\"F32\"", "[2]", "[0,4]"), 4,
		  "need 8" },
		{ "a hole before", T("\"F32\"", "[1]", "[4,8]"), 8,
		  "begins at byte 4" },
		{ "bytes left over", T("\"F32\"", "[1]", "[0,4]"), 6,
		  "the tensors take 4" },
		{ "two over one another",
		  "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,"
		  "4]},\"y\":{\"dtype\":\"U8\",\"shape\":[4],"
		  "\"data_offsets\":[2,6]}}",
		  6, "begins at byte 2" },
		{ "the same name twice", "{\"x\":{},\"x\":{}}", 0, "not JSON" },
		{ "a name with NUL", "{\"x\\u0000y\":{}}", 0, "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct safetensors st;

		ROW(rows[i].row);
		CHECK_EQ(parse(&st, rows[i].json, rows[i].size), -EINVAL);
		CHECK_EQ(err.code, -EINVAL);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!strchr(err.text, '\n'));
		CHECK(!st.tensors && !st.nr_tensors);
	}
#undef T
}

TEST(a_header_length_past_the_file_is_refused)
{
	static const uint64_t lengths[] = {
		1,	    9,		1u << 31,      100000001,
		1ull << 63, UINT64_MAX, UINT64_MAX - 7
	};
	struct safetensors st;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		memset(buf, ' ', sizeof(buf));
		memcpy(buf, &lengths[i], 8);
		CHECK_EQ(safetensors_parse(&st, "f", buf, 8, &err), -EINVAL);
	}
	for (size_t size = 0; size < 8; size++)
		CHECK_EQ(safetensors_parse(&st, "f", buf, size, &err), -EINVAL);
}

TEST(a_file_cut_anywhere_is_refused)
{
	static const uint8_t data[8];
	static const char json[] =
		"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,"
		"8]}}";
	size_t size = scratch_tensors(buf, json, data, sizeof(data));
	struct safetensors st;

	for (size_t cut = 0; cut < size; cut++) {
		const char *path = scratch_write("cut", buf, cut);

		CHECK_EQ(safetensors_open(&st, path, &err), -EINVAL);
		CHECK(strstr(err.text, "/cut: "));
		CHECK(!st.map.data);
	}
	CHECK_EQ(safetensors_open(&st, scratch_write("cut", buf, size), &err),
		 0);
	CHECK(st.mtime_ns > 0);
	safetensors_close(&st);
}

TEST(a_file_that_is_not_there_says_so)
{
	struct safetensors st;

	CHECK_EQ(safetensors_open(&st, scratch_path("none"), &err), -ENOENT);
	CHECK_EQ(safetensors_open(&st, scratch_dir(), &err), -EINVAL);
}
