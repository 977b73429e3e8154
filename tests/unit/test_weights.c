/* SPDX-License-Identifier: MIT */
#include "daemon/model/weights.h"
#include "base/err.h"
#include "checkpoint/arch.h"
#include "checkpoint/quant.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensors.h"
#include "daemon/model/digest.h"
#include "daemon/model/kvsize.h"
#include "daemon/model/layers.h"
#include "kernels/formats.h"
#include "tests/model/scratch.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARDED "tests/data/models/qwen2-sharded-bf16"

static struct err err;
static uint8_t buf[1 << 20];
static struct tensors opened;
static const struct quant plain;

static int open_weights(struct weights *w, const char *path)
{
	int ret = tensors_open(&opened, path, &err);

	memset(w, 0, sizeof(*w));
	return ret ? ret : weights_init(w, &opened, &plain, &err);
}

static void close_weights(struct weights *w)
{
	weights_deinit(w);
	tensors_close(&opened);
}

/*
 * A file of one tensor of @n F32, each @value, called @tensor; its
 * size.  The bytes stay in buf.
 */
static size_t write_one(const char *file, const char *tensor, uint32_t n,
			float value)
{
	size_t size;

	static float data[100000];
	char json[256];

	for (uint32_t i = 0; i < n; i++)
		data[i] = value;
	snprintf(json, sizeof(json),
		 "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%u],"
		 "\"data_offsets\":[0,%u]}}",
		 tensor, n, 4 * n);
	size = scratch_tensors(buf, json, data, 4 * n);
	scratch_write(file, buf, size);
	return size;
}

static int open_index(struct weights *w, const char *json)
{
	memset(&err, 0, sizeof(err));
	scratch_write("model.safetensors.index.json", json, strlen(json));
	unlink(scratch_path("model.safetensors"));
	return open_weights(w, scratch_dir());
}

TEST(many_files_are_one_table_of_tensors)
{
	struct weights w;
	struct weight m;
	float v[64];
	uint32_t n;

	CHECK_EQ(open_weights(&w, SHARDED), 0);
	CHECK_EQ(opened.nr_files, 3);
	CHECK(tensors_find(&opened, "lm_head.weight"));
	CHECK(!tensors_find(&opened, "lm_head"));
	CHECK_EQ(weights_matrix(&w, "lm_head.weight", 464, 64, &m, &err), 0);
	CHECK_EQ(m.type, WEIGHT_BF16);
	CHECK_EQ(m.row_stride, 128);
	CHECK_EQ(weights_vector(&w, "model.norm.weight", 64, v, &err), 0);
	CHECK(v[0] != 0 && v[63] != 0);
	CHECK(weights_unused(&w, &n));
	CHECK_EQ(n, opened.nr - 2);
	close_weights(&w);
	close_weights(&w);
}

TEST(a_tensor_that_is_not_as_needed_is_one_line)
{
	struct weights w;
	struct weight m;
	float v[64];

	CHECK_EQ(open_weights(&w, SHARDED), 0);
	CHECK_EQ(weights_matrix(&w, "lm_head.bias", 464, 64, &m, &err),
		 -ENOENT);
	CHECK(strstr(err.text, "lm_head.bias is missing"));
	CHECK_EQ(weights_matrix(&w, "lm_head.weight", 465, 64, &m, &err),
		 -EINVAL);
	CHECK(strstr(err.text, "is [464, 64], config.json needs [465, 64]"));
	CHECK_EQ(weights_vector(&w, "lm_head.weight", 64, v, &err), -EINVAL);
	close_weights(&w);
}

TEST(a_type_that_no_kernel_reads_is_one_line)
{
	static const char json[] =
		"{\"x\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,"
		"8]}}";
	struct weights w;
	float v;

	scratch_write("model.safetensors", buf,
		      scratch_tensors(buf, json, "12345678", 8));
	CHECK_EQ(open_weights(&w, scratch_dir()), 0);
	CHECK_EQ(weights_vector(&w, "x", 1, &v, &err), -EINVAL);
	CHECK(strstr(err.text, "x is I64, allowed F32, F16, BF16"));
	close_weights(&w);
	unlink(scratch_path("model.safetensors"));
}

TEST(an_index_that_lies_is_one_line)
{
	static const struct {
		const char *row, *json, *part;
		int ret;
	} rows[] = {
		{ "no map", "{}", "weight_map is absent", -EINVAL },
		{ "a map that is a list", "{\"weight_map\":[]}",
		  "weight_map is absent", -EINVAL },
		{ "a file above", "{\"weight_map\":{\"x\":\"../one\"}}",
		  "beside the index", -EINVAL },
		{ "a hidden file", "{\"weight_map\":{\"x\":\".one\"}}",
		  "beside the index", -EINVAL },
		{ "an absolute file",
		  "{\"weight_map\":{\"x\":\"/etc/passwd\"}}",
		  "beside the index", -EINVAL },
		{ "a file that is a number", "{\"weight_map\":{\"x\":1}}",
		  "beside the index", -EINVAL },
		{ "a file with NUL", "{\"weight_map\":{\"x\":\"one\\u0000\"}}",
		  "beside the index", -EINVAL },
		{ "a file that is not there",
		  "{\"weight_map\":{\"x\":\"none\"}}", "/none: ", -ENOENT },
		{ "a tensor that is in no file",
		  "{\"weight_map\":{\"x\":\"one\",\"z\":\"one\"}}",
		  "z is not in one", -ENOENT },
		{ "a tensor in the other file",
		  "{\"weight_map\":{\"x\":\"two\",\"y\":\"one\"}}", "is not in",
		  -ENOENT },
		{ "a tensor in two files",
		  "{\"weight_map\":{\"x\":\"one\",\"y\":\"three\"}}",
		  "x is in more than one file", -EINVAL },
	};
	struct weights w;

	write_one("one", "x", 4, 1);
	write_one("two", "y", 4, 1);
	write_one("three", "x", 4, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		CHECK_EQ(open_index(&w, rows[i].json), rows[i].ret);
		CHECK_EQ(err.code, rows[i].ret);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!opened.safetensors && !opened.nr_files);
	}
	CHECK_EQ(open_index(&w, "{\"weight_map\":{\"x\":\"one\",\"y\":\"two\"}"
				"}"),
		 0);
	CHECK_EQ(opened.nr, 2);
	close_weights(&w);
}

TEST(a_directory_without_weights_says_what_it_looked_for)
{
	struct weights w;

	CHECK_EQ(open_weights(&w, "tests"), -ENOENT);
	CHECK(strstr(err.text, "neither model.safetensors nor"));
	CHECK_EQ(open_weights(&w, "tests/none"), -ENOENT);
}

TEST(binding_names_the_first_tensor_that_is_missing)
{
	struct weights w;
	struct layers p;
	struct arch a;

	CHECK_EQ(arch_read(&a, SHARDED "/config.json", &err), 0);
	CHECK_EQ(open_weights(&w, SHARDED), 0);
	a.nr_layers = 4; /* the file has 3 */
	CHECK_EQ(layers_bind(&p, &a, &w, &err), -ENOENT);
	CHECK(strstr(err.text, "model.layers.3.input_layernorm.weight"));
	CHECK(!p.layer);
	a.nr_layers = 3;
	CHECK_EQ(layers_bind(&p, &a, &w, &err), 0);
	/* 2*464*64 + 64; 2*64 + 2*64*64 + 64 + 2*(32*64 + 32) + 3*128*64 */
	CHECK_EQ(p.count, 59456 + 3 * 37120);
	CHECK(p.layer[2].q_bias && !p.layer[2].o_bias);
	layers_deinit(&p);
	layers_deinit(&p);
	close_weights(&w);
}

static void digest(uint8_t out[DIGEST_BYTES])
{
	struct weights w;

	CHECK_EQ(open_weights(&w, scratch_dir()), 0);
	CHECK_EQ(digest_model(&opened, out, &err), 0);
	close_weights(&w);
}

TEST(a_digest_changes_with_one_bit_of_weight_or_config)
{
	uint8_t first[DIGEST_BYTES], again[DIGEST_BYTES];
	size_t size;

	scratch_write("config.json", "{}", 2);
	write_one("model.safetensors", "x", 90000, 1);
	digest(first);
	size = write_one("model.safetensors", "x", 90000, 1);
	digest(again); /* another file, another time, the same content */
	CHECK(!memcmp(first, again, DIGEST_BYTES));
	buf[200000] ^= 1; /* what write_one() left there, changed */
	scratch_write("model.safetensors", buf, size);
	digest(again);
	CHECK(memcmp(first, again, DIGEST_BYTES));
	write_one("model.safetensors", "y", 90000, 1);
	digest(again);
	CHECK(memcmp(first, again, DIGEST_BYTES));
	write_one("model.safetensors", "x", 90000, 1);
	scratch_write("config.json", "{ }", 3);
	digest(again);
	CHECK(memcmp(first, again, DIGEST_BYTES));
}

/* Change byte @at of the file by hand; its time of change is @ns. */
static void poke_file(off_t at, long ns)
{
	struct timespec t[2] = { { 1000, 0 }, { 1000, ns } };
	const char *path = scratch_path("model.safetensors");
	FILE *f = fopen(path, "r+e");
	int c;

	CHECK(f && !fseeko(f, at, SEEK_SET));
	c = getc(f);
	CHECK(!fseeko(f, at, SEEK_SET) && putc(c ^ 1, f) != EOF && !fclose(f));
	CHECK_EQ(utimensat(AT_FDCWD, path, t, 0), 0);
}

/* Above DIGEST_WHOLE the content is a sample, and the time counts. */
TEST(a_large_file_s_digest_sees_its_pages_its_ends_and_its_time)
{
	static const char json[] =
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[70000000],"
		"\"data_offsets\":[0,70000000]}}";
	static const off_t seen[] = { 0, 5 * DIGEST_STRIDE, 69999999 };
	uint8_t first[DIGEST_BYTES], again[DIGEST_BYTES];
	size_t head = scratch_tensors(buf, json, NULL, 0);
	const char *path = scratch_write("model.safetensors", buf, head);

	CHECK_EQ(truncate(path, (off_t)head + 70000000), 0);
	for (int i = 0; i < 3; i++) {
		off_t at = (off_t)head + seen[i];

		poke_file(at, 1);
		digest(first);
		poke_file(at, 1);
		digest(again);
		CHECK(memcmp(first, again, DIGEST_BYTES));
		poke_file(at, 1);
		digest(again);
		CHECK(!memcmp(first, again, DIGEST_BYTES));
	}
	poke_file((off_t)head + 5000, 2); /* between two pages */
	digest(again);
	CHECK(memcmp(first, again, DIGEST_BYTES));
	unlink(path);
}

TEST(kv_memory_is_given_as_asked_or_refused_with_figures)
{
	static const struct {
		const char *row;
		struct kvsize_ask ask;
		int ret;
		uint32_t context, nr_blocks;
		const char *part;
	} rows[] = {
		{ "all left open: max_seqs of the model's context",
		  { "m", 0, 0, 1000, 4, 1 << 20, 1ull << 40 },
		  0,
		  1000,
		  4 * 63 + 1,
		  "" },
		{ "as much of what is there as is allowed, here half",
		  { "m", 0, 0, 1000, 4, 1 << 20, 200 << 20 },
		  0,
		  1000,
		  101,
		  "" },
		{ "a context that shrinks, for nobody asked for it",
		  { "m", 0, 0, 1000, 4, 1 << 20, 100 << 20 },
		  0,
		  800,
		  51,
		  "" },
		{ "context asked for",
		  { "m", 0, 160, 1000, 4, 1 << 20, 100 << 20 },
		  0,
		  160,
		  41,
		  "" },
		{ "more context than the model has",
		  { "m", 0, 1001, 1000, 4, 1 << 20, 100 << 20 },
		  -EINVAL,
		  0,
		  0,
		  "max-context is 1001, the model allows 1 to 1000" },
		{ "context asked for that no memory holds",
		  { "m", 0, 1000, 1000, 4, 1 << 20, 100 << 20 },
		  -ENOMEM,
		  0,
		  0,
		  "needs 63.0 MiB" },
		{ "KV asked for",
		  { "m", 70 << 20, 0, 1000, 4, 1 << 20, 100 << 20 },
		  0,
		  1000,
		  71,
		  "" },
		{ "KV asked for below one sequence",
		  { "m", 10 << 20, 0, 1000, 4, 1 << 20, 100 << 20 },
		  -ENOMEM,
		  0,
		  0,
		  "holds 160 tokens" },
		{ "KV asked for that is not there",
		  { "m", 101 << 20, 0, 1000, 4, 1 << 20, 100 << 20 },
		  -ENOMEM,
		  0,
		  0,
		  "100.0 MiB of memory are available" },
		{ "KV of one byte",
		  { "m", 1, 0, 1000, 4, 1 << 20, 100 << 20 },
		  -ENOMEM,
		  0,
		  0,
		  "holds 0 tokens" },
		{ "no memory at all",
		  { "m", 0, 0, 1000, 4, 1 << 20, 0 },
		  -ENOMEM,
		  0,
		  0,
		  "holds 0 tokens" },
		{ "more blocks than a slot can name",
		  { "m", 1ull << 60, 0, 1000, 4, 16, UINT64_MAX },
		  0,
		  1000,
		  1u << 27,
		  "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct kvsize_ask ask = rows[i].ask;
		struct kvsize s = { 0 };

		ROW(rows[i].row);
		memset(&err, 0, sizeof(err));
		ask.most = ask.available / 2;
		CHECK_EQ(kvsize_plan(&ask, &s, &err), rows[i].ret);
		CHECK_EQ(s.context, rows[i].context);
		CHECK_EQ(s.nr_blocks, rows[i].nr_blocks);
		CHECK(strstr(err.text, rows[i].part));
	}
	CHECK(kvsize_available() > 1 << 20);
}

TEST(faster_weights_leave_a_quarter_of_memory_and_the_kv_asked_for)
{
	static const struct {
		const char *row;
		uint64_t available, copy, kv;
		bool room;
	} rows[] = {
		{ "little of much", 1000, 100, 0, true },
		{ "three quarters", 1000, 750, 0, true },
		{ "more", 1000, 751, 0, false },
		{ "just beside the KV", 1000, 600, 400, true },
		{ "not beside it", 1000, 600, 401, false },
		{ "more than there is", 1000, UINT64_MAX, 0, false },
		{ "KV more than there is", 1000, 1, UINT64_MAX, false },
		{ "no memory", 0, 1, 0, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		CHECK_EQ(kvsize_has_room(rows[i].available, rows[i].copy,
					 rows[i].kv),
			 rows[i].room);
	}
}
