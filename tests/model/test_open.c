/* SPDX-License-Identifier: MIT */
/*
 * model_open() from the outside: what it says of a model, what it says of a
 * broken one (one line, and everything given back), and that a step takes no
 * memory.
 */
#include "tests/model/drive.h"
#include "tests/model/golden.h"
#include "tests/model/scratch.h"

#include <errno.h>

#define LLAMA3 "tests/data/models/llama3-gqa-bf16"

static struct err err;
static unsigned long nr_allocs;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTED 1
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size)
{
	__atomic_fetch_add(&nr_allocs, 1, __ATOMIC_RELAXED);
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	__atomic_fetch_add(&nr_allocs, 1, __ATOMIC_RELAXED);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	__atomic_fetch_add(&nr_allocs, 1, __ATOMIC_RELAXED);
	return __libc_realloc(p, size);
}
#else
#define COUNTED 0
#endif

static int open_with(const struct backend_options *opt)
{
	struct backend *be = NULL;
	int ret;

	memset(&err, 0, sizeof(err));
	ret = model_open(opt, &be, &err);
	if (!ret)
		be->close(be);
	CHECK(!ret || !be);
	return ret;
}

static struct {
	uint64_t calls, done, total;
} seen;

static void see(void *arg, uint64_t done, uint64_t total)
{
	CHECK(arg == &seen);
	CHECK(done >= seen.done && done <= total);
	CHECK(seen.calls ? total == seen.total : !done);
	seen.calls++;
	seen.done = done;
	seen.total = total;
}

TEST(progress_goes_from_nothing_to_all_bytes_of_the_matrices)
{
	struct backend_options opt = { .model = LLAMA3,
				       .threads = 1,
				       .progress = see,
				       .progress_arg = &seen };
	/* 3 layers of 64, 4 heads of 16 and 2 KV heads, 128 inside; BF16 */
	uint64_t layer = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 128;
	uint64_t least = 2 * 3 * layer;

	memset(&seen, 0, sizeof(seen));
	CHECK_EQ(open_with(&opt), 0);
	CHECK_EQ(seen.calls, 3 + 2);
	CHECK_EQ(seen.done, seen.total);
	/* and the embedding and the head, of a vocabulary of some hundreds */
	CHECK(seen.total > least + 2 * 64 * 100);
	CHECK(seen.total < 2 * least);
}

TEST(info_says_what_the_files_say)
{
	struct backend_options opt = { .model = LLAMA3 "/",
				       .max_context = 100 };
	struct backend *be;
	uint8_t first[32];

	CHECK_EQ(model_open(&opt, &be, &err), 0);
	CHECK_STR(be->info.name, "llama3-gqa-bf16");
	CHECK_EQ(be->info.vocab, 512);
	CHECK_EQ(be->info.context, 100);
	CHECK_EQ(be->info.nr_eos, 2);
	CHECK_EQ(be->info.eos[1], 510);
	/* 3 layers, K and V, 2 heads of 16, F32 */
	CHECK_EQ(be->info.kv_token_bytes, 3 * 2 * 2 * 16 * 4);
	CHECK_EQ(be->info.nr_blocks, 64 * 7 + 1);
	CHECK(be->info.parameters > 100000);
	CHECK(be->info.temperature == 0 && be->info.top_p == 1);
	memcpy(first, be->info.digest, 32);
	be->close(be);
	opt.max_context = 512; /* how it is served is not what it is */
	CHECK_EQ(model_open(&opt, &be, &err), 0);
	CHECK(!memcmp(first, be->info.digest, 32));
	be->close(be);
	opt.model = "tests/data/models/qwen3-f32";
	CHECK_EQ(model_open(&opt, &be, &err), 0);
	CHECK(memcmp(first, be->info.digest, 32));
	be->close(be);
}

TEST(what_cannot_be_opened_is_one_line)
{
	static const struct {
		const char *row;
		struct backend_options opt;
		int ret;
		const char *part;
	} rows[] = {
		{ "no path", { .model = NULL }, -EINVAL, "no model" },
		{ "a path that is not there",
		  { .model = "tests/none" },
		  -ENOENT,
		  "tests/none: " },
		{ "a text file",
		  { .model = "tests/test.h" },
		  -ENOTDIR,
		  "Hugging Face directory" },
		{ "a directory without config.json",
		  { .model = "tests" },
		  -ENOENT,
		  "tests/config.json" },
		{ "a context past the model's",
		  { .model = LLAMA3, .max_context = 513 },
		  -EINVAL,
		  "allows 1 to 512" },
		{ "KV of a byte",
		  { .model = LLAMA3, .kv_bytes = 1 },
		  -ENOMEM,
		  "a sequence of max-context 512 needs" },
		{ "KV past the machine",
		  { .model = LLAMA3, .kv_bytes = 1ull << 60 },
		  -ENOMEM,
		  "are available" },
		{ "an op set of another planet",
		  { .model = LLAMA3, .ops = "abacus" },
		  -EINVAL,
		  "abacus" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].row);
		CHECK_EQ(open_with(&rows[i].opt), rows[i].ret);
		CHECK_EQ(err.code, rows[i].ret);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!strchr(err.text, '\n'));
	}
}

TEST(a_model_cut_or_changed_is_one_line)
{
	static const struct {
		const char *row, *edit, *part;
	} rows[] = {
		{ "weights cut at 7", "truncate -s 7 model.safetensors",
		  "not a safetensors file" },
		{ "weights cut in the header",
		  "truncate -s 100 model.safetensors", "header length is" },
		{ "weights cut in the data",
		  "truncate -s 9000 model.safetensors", "cut or lies" },
		{ "no weights", "rm model.safetensors", "neither" },
		{ "7 heads", "sed -i 's/heads\": 4/heads\": 7/' config.json",
		  "divisors of hidden_size" },
		{ "a layer more",
		  "sed -i 's/layers\": 3/layers\": 4/' config.json",
		  "model.layers.3.input_layernorm.weight is missing" },
		{ "another vocabulary",
		  "sed -i 's/vocab_size\": 512/vocab_size\": 513/' config.json",
		  "is [512, 64], config.json needs [513, 64]" },
		{ "an untied head",
		  "sed -i 's/embeddings\": true/embeddings\": false/' "
		  "config.json",
		  "lm_head.weight is missing" },
		{ "a wrong end",
		  "echo '{\"eos_token_id\": 512}' > generation_config.json",
		  "eos_token_id is 512, allowed 0 to 511" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct backend_options opt = { .model = scratch_path("m") };
		char cmd[512];

		ROW(rows[i].row);
		snprintf(cmd, sizeof(cmd), "rm -rf %s; cp -r %s %s; cd %s; %s",
			 opt.model, LLAMA3, opt.model, opt.model, rows[i].edit);
		CHECK_EQ(system(cmd), 0);
		CHECK(open_with(&opt) < 0);
		CHECK(strstr(err.text, rows[i].part));
	}
}

TEST(a_step_takes_no_memory)
{
	struct sampling how = { .temperature = 1,
				.top_p = 0.9f,
				.top_k = 40,
				.repetition_penalty = 1.2f };
	uint32_t ids[300] = { 3 };
	unsigned long before;
	struct drive d;
	struct seq s;

	if (!COUNTED)
		SKIP("the sanitizer has its own allocator");
	drive_open(&d, LLAMA3, NULL, 2);
	before = nr_allocs;
	CHECK(before > 0);
	seq_init(&s, ids, 300);
	for (int i = 0; i < 20; i++) {
		drive_begin(&d);
		drive_span(&d, &s, s.known - s.computed, OUT_LAST, &how, true)
			->nr_alt = MAX_ALT;
		drive_run(&d);
		s.ids[s.known++] = d.batch.out[0].token;
	}
	CHECK_EQ(nr_allocs, before);
	drive_close(&d);
}
