/* SPDX-License-Identifier: MIT */
/* What llmd is told: options, the file, and what is refused in a line. */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct config c;
static struct err err;

/* Read a command line of at most 8 words, NULL-terminated. */
static int line(const char *const *word)
{
	char *argv[10] = { (char *)"llmd" };
	int argc = 1;

	while (word[argc - 1]) {
		argv[argc] = (char *)word[argc - 1];
		argc++;
	}
	memset(&err, 0, sizeof(err));
	return config_read(&c, argc, argv, &err);
}

TEST(options_take_their_value_behind_a_space_or_an_equals_sign)
{
	static const char *const a[] = { "--model",   "/m", "--socket=/s",
					 "--threads", "3",  "--kv-memory=2G",
					 NULL };

	CHECK_EQ(line(a), 0);
	CHECK_STR(c.model, "/m");
	CHECK_STR(c.socket, "/s");
	CHECK_EQ(c.threads, 3);
	CHECK_EQ(c.kv_memory, 2ull << 30);
	CHECK_EQ(c.backend, CONFIG_CPU);
	CHECK_EQ(c.max_context, 0); /* not told: a default that fits */
}

TEST(help_and_version_win_over_what_is_missing)
{
	static const char *const h[] = { "--help", NULL };
	static const char *const h1[] = { "-h", NULL };
	static const char *const v[] = { "--version", NULL };

	CHECK_EQ(line(h), 0);
	CHECK(c.help);
	CHECK_EQ(line(h1), 0);
	CHECK(c.help);
	CHECK_EQ(line(v), 0);
	CHECK(c.version && !c.help);
}

TEST(a_device_by_number_is_a_gpu_and_by_path_a_node)
{
	static const char *const a[] = { "--device",  "/dev/x", "--device", "3",
					 "--backend", "cuda",	NULL };
	static const char *const b[] = { "--device", "0", NULL };
	static const char *const d[] = { "--device", "256", NULL };
	static const char *const e[] = { "--device", NULL };

	CHECK_EQ(line(a), 0);
	CHECK_STR(c.device, "/dev/x");
	CHECK_EQ(c.gpu, 3);
	CHECK(c.gpu_named);
	CHECK_EQ(c.backend, CONFIG_CUDA);
	CHECK_EQ(line(b), 0);
	CHECK_STR(c.device, "");
	CHECK_EQ(c.gpu, 0);
	CHECK(c.gpu_named);
	CHECK_EQ(line(d), 0); /* no GPU has that number */
	CHECK_STR(c.device, "256");
	CHECK(!c.gpu_named);
	CHECK_EQ(line(e), 0);
	CHECK_STR(c.device, CONFIG_DEVICE);
}

TEST(memory_of_a_gpu_is_a_size_or_a_part)
{
	static const struct {
		const char *value;
		uint64_t bytes;
		uint32_t share;
	} row[] = {
		{ "20G", 20ull << 30, 0 }, { "65536", 65536, 0 },
		{ "0.5", 0, 500 },	   { ".25", 0, 250 },
		{ "0.999", 0, 999 },	   { "0.001", 0, 1 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const char *const a[] = { "--gpu-memory",
					  "0.7",
					  "--gpu-memory",
					  "1G",
					  "--gpu-memory",
					  row[i].value,
					  NULL };

		ROW(row[i].value);
		CHECK_EQ(line(a), 0);
		CHECK_EQ(c.gpu_memory, row[i].bytes);
		CHECK_EQ(c.gpu_share, row[i].share);
	}
}

TEST(what_is_wrong_is_named_with_what_is_allowed)
{
	static const struct {
		const char *arg, *value, *says;
	} row[] = {
		{ "--modle", "x", "unknown option --modle" },
		{ "--mode", "x", "unknown option" },
		{ "-m", "x", "'-m' is not an option" },
		{ "model", "x", "'model' is not an option" },
		{ "--threads", NULL, "--threads wants a value" },
		{ "--threads", "", "threads: '' is not a number from 1" },
		{ "--threads", "0", "number from 1 to 1024" },
		{ "--threads", "1025", "number from 1 to 1024" },
		{ "--threads", "-1", "number from 1 to 1024" },
		{ "--threads", "+1", "number from 1 to 1024" },
		{ "--threads", " 1", "number from 1 to 1024" },
		{ "--threads", "1x", "number from 1 to 1024" },
		{ "--threads", "0x10", "number from 1 to 1024" },
		{ "--threads", "18446744073709551617", "number from 1" },
		{ "--threads", "4294967297", "number from 1" },
		{ "--kv-memory", "12", "kv-memory: '12' is not a size" },
		{ "--kv-memory", "1KB", "is not a size" },
		{ "--kv-memory", "M", "is not a size" },
		{ "--kv-memory", "17592186044416T", "is not a size" },
		{ "--socket-mode", "888", "octal" },
		{ "--socket-mode", "1777", "octal, 1 to 777" },
		{ "--backend", "gpu", "'gpu' is none of cpu|null|cuda" },
		{ "--backend", "cpu|null", "is none of cpu|null|cuda" },
		{ "--kv-type", "q", "'q' is none of auto|f32|f16|q8" },
		{ "--weights", "slow",
		  "'slow' is none of fast|file|int8|fp8|int4" },
		{ "--gpu-memory", "0", "or a part of it all from 0.001" },
		{ "--gpu-memory", "1", "gpu-memory: '1' is not a size as" },
		{ "--gpu-memory", "1.0", "is not a size as" },
		{ "--gpu-memory", "0.", "is not a size as" },
		{ "--gpu-memory", "0.0", "is not a size as" },
		{ "--gpu-memory", "0.1234", "is not a size as" },
		{ "--gpu-memory", "0.5G", "is not a size as" },
		{ "--gpu-memory", "-0.5", "is not a size as" },
		{ "--model", "", "model: a path of 0 bytes" },
		{ "--config", "/nonexistent/f", "/nonexistent/f: No such" },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const char *a[] = { row[i].arg, row[i].value, NULL };

		ROW(row[i].arg);
		CHECK(line(a) < 0);
		CHECK(err.code < 0);
		if (!strstr(err.text, row[i].says))
			printf("# says: %s\n", err.text);
		CHECK(strstr(err.text, row[i].says));
	}
}

TEST(sizes_count_in_powers_of_1024)
{
	static const struct {
		const char *value;
		uint64_t want;
	} row[] = {
		{ "65536", 65536 },	 { "64K", 65536 },
		{ "64k", 65536 },	 { "3M", 3 << 20 },
		{ "5g", 5ull << 30 },	 { "1T", 1ull << 40 },
		{ "1024T", 1ull << 50 },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		ROW(row[i].value);
		CHECK_EQ(config_set(&c, "kv-memory", row[i].value, &err), 0);
		CHECK_EQ(c.kv_memory, row[i].want);
	}
}

TEST(a_file_says_the_same_and_names_its_lines)
{
	memset(&c, 0, sizeof(c));
	CHECK_EQ(config_text(&c, "f",
			     "# a comment\n\n  model = /a b/c  \r\n"
			     "threads=2\n\tmax-context\t= 99",
			     &err),
		 0);
	CHECK_STR(c.model, "/a b/c");
	CHECK_EQ(c.threads, 2);
	CHECK_EQ(c.max_context, 99);
	CHECK_EQ(config_text(&c, "f", "threads = 2\nthreads = many\n", &err),
		 -EINVAL);
	CHECK(strstr(err.text, "f:2: threads: 'many'"));
	CHECK_EQ(config_text(&c, "f", "\nthreads 2\n", &err), -EINVAL);
	CHECK(strstr(err.text, "f:2: 'threads 2' is not key = value"));
	CHECK_EQ(config_text(&c, "f", "help = 1\n", &err), -EINVAL);
	CHECK(strstr(err.text, "f:1: unknown option help"));
}

TEST(the_command_line_wins_over_the_file)
{
	char path[] = "/tmp/llm-test-XXXXXX";
	int fd = mkstemp(path);
	const char *const a[] = { "--threads", "7", "--config", path, NULL };
	int ret;

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "threads = 2\nmax-context = 50\n", 29), 29);
	close(fd);
	ret = line(a);
	unlink(path);
	CHECK_EQ(ret, 0);
	CHECK_EQ(c.threads, 7);
	CHECK_EQ(c.max_context, 50);
}

TEST(a_file_that_is_no_text_is_refused)
{
	char path[] = "/tmp/llm-test-XXXXXX";
	int fd = mkstemp(path), ret;
	const char *const a[] = { "--config", path, NULL };

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "threads = 2\n\0\n", 14), 14);
	close(fd);
	ret = line(a);
	unlink(path);
	CHECK_EQ(ret, -EINVAL);
	CHECK(strstr(err.text, "not a text"));
}
