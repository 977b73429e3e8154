/* SPDX-License-Identifier: MIT */
#include "base/gguf.h"
#include "base/err.h"
#include "base/gguf_get.h"
#include "tests/gguf_build.h"
#include "tests/test.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

static struct err err;
static struct build b;

static int parse(struct gguf *g)
{
	/* exactly as large as the file: the sanitizer sees the end */
	uint8_t *copy = malloc(b.size ? b.size : 1);
	int ret;

	memcpy(copy, b.data, b.size);
	memset(&err, 0, sizeof(err));
	ret = gguf_parse(g, "f", copy, b.size, &err);
	free(copy);
	return ret;
}

static void refused(const char *part)
{
	struct gguf g;

	CHECK_EQ(parse(&g), -EINVAL);
	CHECK_EQ(err.code, -EINVAL);
	if (!strstr(err.text, part))
		printf("# %s\n", err.text);
	CHECK(strstr(err.text, part));
	CHECK(!strchr(err.text, '\n'));
	CHECK(!g.values && !g.tensors && !g.where);
}

/* One of each kind of value, two tensors. */
static void put_all(uint32_t version)
{
	put_head(&b, version, 2, 16);
	put_key(&b, "u8", GGUF_U8);
	put(&b, 1, 200);
	put_key(&b, "i8", GGUF_I8);
	put(&b, 1, (uint64_t)-3);
	put_key(&b, "u16", GGUF_U16);
	put(&b, 2, 60000);
	put_key(&b, "i16", GGUF_I16);
	put(&b, 2, (uint64_t)-300);
	put_u32(&b, "u32", 4000000000u);
	put_key(&b, "i32", GGUF_I32);
	put(&b, 4, (uint64_t)-70000);
	put_f32(&b, "f32", 0.5f);
	put_key(&b, "yes", GGUF_BOOL);
	put(&b, 1, 1);
	put_key(&b, "maybe", GGUF_BOOL);
	put(&b, 1, 2);
	put_text(&b, "text", "caf\xc3\xa9");
	put_key(&b, "u64", GGUF_U64);
	put(&b, 8, 1ull << 40);
	put_key(&b, "huge", GGUF_U64);
	put(&b, 8, UINT64_MAX);
	put_key(&b, "f64", GGUF_F64);
	put(&b, 8, 0x7ff0000000000000); /* infinity */
	put_key(&b, "words", GGUF_ARRAY);
	put(&b, 4, GGUF_STRING);
	put(&b, 8, 3);
	put_str(&b, "one");
	put_str(&b, "");
	put_str(&b, "three");
	put_key(&b, "ids", GGUF_ARRAY);
	put(&b, 4, GGUF_I32);
	put(&b, 8, 2);
	put(&b, 4, (uint64_t)-1);
	put(&b, 4, 7);
	put_u32(&b, "general.alignment", 64);
	put_tensor(&b, "b", 32, 2, 2, 64); /* Q4_0 */
	put_tensor(&b, "a", 3, 0, 0, 0);   /* F32 */
	put_data(&b, 64, 64 + 36);
}

TEST(every_kind_of_value_is_read_in_both_versions)
{
	for (uint32_t version = 2; version <= 3; version++) {
		const struct gguf_value *v = NULL;
		const uint8_t *at = NULL;
		struct gguf_str s;
		struct gguf g;
		uint64_t n = 0;
		double d = 0;
		bool yes = false;
		char *text = NULL;

		put_all(version);
		CHECK_EQ(gguf_parse(&g, "f", b.data, b.size, &err), 0);
		CHECK_EQ(g.version, version);
		CHECK_EQ(gguf_get_u64(&g, "u8", 0, 255, &n, &err), 0);
		CHECK_EQ(n, 200);
		CHECK_EQ(gguf_get_u64(&g, "u64", 0, UINT64_MAX, &n, &err), 0);
		CHECK_EQ(n, 1ll << 40);
		CHECK_EQ(gguf_get_f64(&g, "f32", 0, 1, &d, &err), 0);
		CHECK(d == 0.5);
		CHECK_EQ(gguf_get_f64(&g, "i16", -1e9, 1, &d, &err), 0);
		CHECK(d == -300);
		CHECK_EQ(gguf_get_bool(&g, "yes", &yes, &err), 0);
		CHECK(yes);
		CHECK_EQ(gguf_get_str(&g, "text", &text, &err), 0);
		CHECK_STR(text, "caf\xc3\xa9");
		free(text);
		CHECK_EQ(gguf_get_array(&g, "words", GGUF_STRINGS, &v, &err),
			 0);
		CHECK_EQ(v->count, 3);
		s = gguf_next_str(v, &at);
		CHECK(s.size == 3 && !memcmp(s.data, "one", 3));
		CHECK_EQ(gguf_next_str(v, &at).size, 0);
		s = gguf_next_str(v, &at);
		CHECK(s.size == 5 && !memcmp(s.data, "three", 5));
		CHECK_EQ(gguf_get_array(&g, "ids", GGUF_INTEGERS, &v, &err), 0);
		CHECK_EQ(gguf_int(v, 0), -1);
		CHECK_EQ(gguf_int(v, 1), 7);
		CHECK(gguf_number(gguf_find(&g, "f64"), 0) == INFINITY);
		CHECK_EQ(gguf_int(gguf_find(&g, "i8"), 0), -3);
		n = 99; /* what is absent leaves the default */
		CHECK_EQ(gguf_get_u64(&g, "none", 0, 1, &n, &err), 0);
		CHECK_EQ(n, 99);
		CHECK(!gguf_find(&g, "none"));
		gguf_close(&g);
		gguf_close(&g);
	}
}

TEST(tensors_come_in_the_order_of_their_data)
{
	struct gguf g;

	put_all(3);
	CHECK_EQ(gguf_parse(&g, "f", b.data, b.size, &err), 0);
	CHECK_EQ(g.nr_tensors, 2);
	CHECK_EQ(g.alignment, 64);
	CHECK_EQ(g.meta_size % 64, 0);
	CHECK_STR(g.tensors[0].name, "a");
	CHECK(g.tensors[0].data == b.data + g.meta_size);
	CHECK_EQ(g.tensors[0].size, 12);
	CHECK_STR(g.tensors[1].name, "b");
	CHECK_STR(g.tensors[1].type->name, "Q4_0");
	CHECK_EQ(g.tensors[1].nr_dims, 2);
	CHECK_EQ(g.tensors[1].dims[0], 32);
	CHECK_EQ(g.tensors[1].dims[1], 2);
	CHECK_EQ(g.tensors[1].size, 36);
	CHECK(g.tensors[1].data == b.data + g.meta_size + 64);
	gguf_close(&g);
}

TEST(a_value_of_another_type_or_out_of_range_is_one_line)
{
	struct gguf g;
	uint64_t n = 5;
	double d = 5;
	bool yes = true;
	char *text = NULL;
	const struct gguf_value *v = NULL;

	put_all(3);
	CHECK_EQ(gguf_parse(&g, "f", b.data, b.size, &err), 0);
#define REFUSED(call, part)                                                    \
	do {                                                                   \
		CHECK_EQ(call, -EINVAL);                                       \
		CHECK(strstr(err.text, part));                                 \
	} while (0)
	REFUSED(gguf_get_u64(&g, "text", 0, 9, &n, &err),
		"f: text is string, not an integer");
	REFUSED(gguf_get_u64(&g, "ids", 0, 9, &n, &err), "an array of i32");
	REFUSED(gguf_get_u64(&g, "f32", 0, 9, &n, &err), "f32, not an integer");
	REFUSED(gguf_get_u64(&g, "i8", 0, 9, &n, &err),
		"is -3, allowed 0 to 9");
	REFUSED(gguf_get_u64(&g, "u8", 1, 9, &n, &err), "is 200, allowed 1");
	REFUSED(gguf_get_u64(&g, "huge", 0, UINT64_MAX, &n, &err), "is over ");
	REFUSED(gguf_get_f64(&g, "f64", 0, 9, &d, &err), "is inf, allowed 0");
	REFUSED(gguf_get_f64(&g, "yes", 0, 9, &d, &err), "bool, not a number");
	REFUSED(gguf_get_bool(&g, "u8", &yes, &err), "u8, not a bool");
	REFUSED(gguf_get_bool(&g, "maybe", &yes, &err),
		"is 2, allowed 0 and 1");
	REFUSED(gguf_get_str(&g, "words", &text, &err), "not a string");
	REFUSED(gguf_get_array(&g, "ids", GGUF_STRINGS, &v, &err),
		"an array of i32, not an array of strings");
	REFUSED(gguf_get_array(&g, "u8", GGUF_INTEGERS, &v, &err),
		"u8, not an array");
	CHECK(n == 5 && d == 5 && yes && !text && !v);
	gguf_close(&g);
}

TEST(a_header_that_lies_is_one_line_and_leaves_nothing)
{
	static const struct {
		const char *row;
		uint32_t version;
		uint64_t nr_tensors, nr_values;
		const char *part;
	} rows[] = {
		{ "version 1", 1, 0, 0, "version is 1, supported are 2" },
		{ "version 4", 4, 0, 0, "version is 4" },
		{ "big-endian", 0x03000000, 0, 0, "big-endian" },
		{ "a tensor that is not there", 3, 1, 0, "number of tensors" },
		{ "2^64-1 tensors", 3, UINT64_MAX, 0, "number of tensors" },
		{ "2^32 tensors", 3, 1ull << 32, 0, "number of tensors" },
		{ "a key that is not there", 3, 0, 1, "number of keys" },
		{ "2^63 keys", 3, 0, 1ull << 63, "number of keys" },
	};
	struct gguf g;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		put_head(&b, rows[i].version, rows[i].nr_tensors,
			 rows[i].nr_values);
		refused(rows[i].part);
	}
	ROW("empty");
	b.size = 0;
	refused("are left");
	ROW("another magic");
	put_head(&b, 3, 0, 0);
	b.data[0] = 'F';
	refused("not a GGUF file");
	ROW("nothing in it");
	put_head(&b, 3, 0, 0);
	CHECK_EQ(parse(&g), 0);
	gguf_close(&g);
}

TEST(a_value_that_lies_is_one_line)
{
	static const struct {
		const char *row, *key;
		uint32_t kind, item;
		uint64_t count;
		const char *part;
	} rows[] = {
		{ "a kind unknown", "k", 13, 0, 0, "value type is 13" },
		{ "no key", "", GGUF_U8, 0, 0, "a key at byte 32 is empty" },
		{ "arrays of arrays", "k", GGUF_ARRAY, GGUF_ARRAY, 0,
		  "item type is 9" },
		{ "items unknown", "k", GGUF_ARRAY, 77, 0, "item type is 77" },
		{ "2^64-1 bytes", "k", GGUF_ARRAY, GGUF_U8, UINT64_MAX,
		  "k is 18446744073709551615, allowed 0 to" },
		{ "2^61 words: 2^64 bytes", "k", GGUF_ARRAY, GGUF_U64,
		  1ull << 61, "allowed 0 to" },
		{ "more strings than fit", "k", GGUF_ARRAY, GGUF_STRING, 99,
		  "allowed 0 to" },
		{ "a string past the end", "k", GGUF_STRING, 0xffffffff,
		  0xffffffff, "k is 18446744073709551615" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		put_head(&b, 3, 0, 1);
		put_key(&b, rows[i].key, rows[i].kind);
		put(&b, 4, rows[i].item);
		put(&b, 8, rows[i].count);
		put(&b, 8, 0);
		refused(rows[i].part);
	}
	ROW("a key twice");
	put_head(&b, 3, 0, 3);
	put_u32(&b, "k", 1);
	put_u32(&b, "j", 1);
	put_u32(&b, "k", 1);
	refused("key k is there twice");
	ROW("a NUL in a key");
	put_head(&b, 3, 0, 1);
	put(&b, 8, 2);
	put(&b, 2, 'k');
	put(&b, 5, GGUF_U8);
	put(&b, 8, 0);
	refused("holds a NUL");
	ROW("alignment");
	for (uint32_t n = 0; n < 4; n++) {
		static const uint32_t bad[] = { 0, 3, 48, 1u << 31 };

		put_head(&b, 3, 0, 1);
		put_u32(&b, "general.alignment", bad[n]);
		refused("powers of two");
	}
}

TEST(a_tensor_that_lies_is_one_line)
{
	static const struct {
		const char *row;
		uint64_t cols, rows;
		uint32_t type;
		uint64_t offset;
		const char *part;
	} rows[] = {
		{ "past the end", 64, 3, 0, 0, "768 bytes at 0 of 512" },
		{ "an offset past the end", 4, 0, 0, 1024, "at 1024 of 512" },
		{ "an offset of -32", 4, 0, 0, (uint64_t)-32, "cut or lies" },
		{ "an odd offset", 4, 0, 0, 4, "multiples of 32" },
		{ "a type unknown", 4, 0, 5, 0, "tensor type is 5" },
		{ "half a block", 48, 1, 2, 0, "Q4_0 packs multiples of 32" },
		{ "no length", 0, 1, 0, 0, "dimension 0 is 0" },
		{ "2^64 numbers", 1ull << 32, 1ull << 32, 0, 0, "dimension 1" },
		{ "2^62 numbers", 1ull << 31, 1ull << 31, 8, 0, "dimension 1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		put_head(&b, 3, 1, 0);
		put_tensor(&b, "t", rows[i].cols, rows[i].rows, rows[i].type,
			   rows[i].offset);
		put_data(&b, 32, 512);
		refused(rows[i].part);
	}
	ROW("twice the same name");
	put_head(&b, 3, 2, 0);
	put_tensor(&b, "t", 4, 0, 0, 0);
	put_tensor(&b, "t", 4, 0, 0, 32);
	put_data(&b, 32, 64);
	refused("tensor t is there twice");
	ROW("one over the other");
	put_head(&b, 3, 2, 0);
	put_tensor(&b, "t", 9, 0, 0, 0);
	put_tensor(&b, "u", 4, 0, 0, 32);
	put_data(&b, 32, 64);
	refused("u begins inside t");
	ROW("five dimensions");
	put_head(&b, 3, 1, 0);
	put_str(&b, "t");
	put(&b, 4, 5);
	put_data(&b, 32, 64);
	refused("5 dimensions, allowed 1 to 4");
}

TEST(a_file_cut_at_any_byte_is_one_line)
{
	size_t whole;

	put_all(3);
	whole = b.size;
	for (size_t n = 0; n < whole; n++) {
		put_all(3);
		b.size = n;
		refused("f: ");
	}
}

TEST(the_types_are_those_of_the_format)
{
	CHECK_STR(gguf_type(14)->name, "Q6_K");
	CHECK_EQ(gguf_type_named("q4_k")->id, 12);
	CHECK(!gguf_type(4) && !gguf_type_named("Q4_X"));
	CHECK(!gguf_type(UINT32_MAX));
}

TEST(parts_of_a_split_model_are_found_by_their_name)
{
	char *s = gguf_split_path("d/m-00001-of-00003.gguf", 2, 3);

	CHECK(s);
	CHECK_STR(s, "d/m-00003-of-00003.gguf");
	free(s);
	CHECK(!gguf_split_path("m.gguf", 0, 3));
	CHECK(!gguf_split_path("m-00001-of-0000x.gguf", 0, 3));
	CHECK(!gguf_split_path("-00001-of-00003.gguf", 0, 3));
	CHECK(!gguf_split_path("m-00001-of-00003.gguf", 3, 3));
}

/* What gguf-py 0.19 says of the files in tests/data/gguf. */
TEST(real_files_hold_what_the_reference_reader_finds)
{
	static const struct {
		const char *name;
		uint32_t nr_values, nr_tensors;
		uint64_t meta_size;
		const char *arch;
	} rows[] = {
		{ "llama-kmix", 17, 21, 1952, "llama" },
		{ "llama-mha-f16.f16", 27, 21, 13024, "llama" },
		{ "llama3-gqa-bf16.q4_0", 25, 30, 13920, "llama" },
		{ "qwen2-bf16.mixed", 24, 39, 12640, "qwen2" },
		{ "qwen3-f32.f32", 17, 24, 2112, "qwen3" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char path[128], *arch = NULL;
		struct gguf g;

		ROW(rows[i].name);
		snprintf(path, sizeof(path), "tests/data/gguf/%s.gguf",
			 rows[i].name);
		CHECK(gguf_is(path));
		CHECK_EQ(gguf_open(&g, path, &err), 0);
		CHECK_EQ(g.version, 3);
		CHECK_EQ(g.nr_values, rows[i].nr_values);
		CHECK_EQ(g.nr_tensors, rows[i].nr_tensors);
		CHECK_EQ(g.meta_size, rows[i].meta_size);
		CHECK(g.mtime_ns);
		CHECK_EQ(gguf_get_str(&g, "general.architecture", &arch, &err),
			 0);
		CHECK_STR(arch, rows[i].arch);
		free(arch);
		gguf_close(&g);
	}
	CHECK(!gguf_is("tests/test.h"));
	CHECK(!gguf_is("tests"));
}
