/* SPDX-License-Identifier: MIT */
/*
 * bench_model.c - prefill and decode against this machine's roofline.
 *
 * The model is random: the shape of a 100 M Llama (768 x 12, 12 heads, 4 KV
 * heads, ffn 2048, vocabulary 32,000, tied), F16, written to a folder under
 * TMPDIR and removed again.  The roofline is measured in the same program,
 * around the model's runs: bytes read a second from memory, and multiply-adds
 * a second in registers.  A step's floor is the larger of weight bytes /
 * bandwidth and multiply-adds / peak; "share" is floor / time.  Read the
 * shares; the absolute numbers are this machine's, today.
 */
#include "base/err.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DIM	  768u
#define LAYERS	  12u
#define HEADS	  12u
#define KV_HEADS  4u
#define HEAD	  64u
#define FFN	  2048u
#define VOCAB	  32000u
#define PREFILL	  512u
#define CONTEXT	  128u /* tokens before the decode steps measured */
#define MAX_BATCH 32u
#define BLOCKS	  64u /* of a sequence */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the roofline ----------------------------------------------------- */

#define READ_BYTES (256u << 20)
static float *read_buf;
static volatile float sink;

__attribute__((target("avx2,fma"))) static void *read_all(void *arg)
{
	const float *p = read_buf + (size_t)arg * (READ_BYTES / 8);
	size_t n = READ_BYTES / 8, i; /* a half of it, in floats */
	__m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;

	for (i = 0; i < n; i += 32) {
		a = _mm256_add_ps(a, _mm256_loadu_ps(p + i));
		b = _mm256_add_ps(b, _mm256_loadu_ps(p + i + 8));
		c = _mm256_add_ps(c, _mm256_loadu_ps(p + i + 16));
		d = _mm256_add_ps(d, _mm256_loadu_ps(p + i + 24));
	}
	a = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
	sink = _mm256_cvtss_f32(a);
	return NULL;
}

#define FMA_ROUNDS 20000000u
__attribute__((target("avx2,fma"))) static void *fma_all(void *arg)
{
	__m256 a[10], x = _mm256_set1_ps(1.0001f), y = _mm256_set1_ps(1e-9f);
	uint32_t i, j;

	(void)arg;
	for (j = 0; j < 10; j++)
		a[j] = _mm256_set1_ps((float)j);
	for (i = 0; i < FMA_ROUNDS; i++)
#pragma GCC unroll 10
		for (j = 0; j < 10; j++)
			a[j] = _mm256_fmadd_ps(a[j], x, y);
	for (j = 1; j < 10; j++)
		a[0] = _mm256_add_ps(a[0], a[j]);
	sink = _mm256_cvtss_f32(a[0]);
	return NULL;
}

__attribute__((target("avx512f"))) static void *fma_all_512(void *arg)
{
	__m512 a[10], x = _mm512_set1_ps(1.0001f), y = _mm512_set1_ps(1e-9f);
	uint32_t i, j;

	(void)arg;
	for (j = 0; j < 10; j++)
		a[j] = _mm512_set1_ps((float)j);
	for (i = 0; i < FMA_ROUNDS; i++)
#pragma GCC unroll 10
		for (j = 0; j < 10; j++)
			a[j] = _mm512_fmadd_ps(a[j], x, y);
	for (j = 1; j < 10; j++)
		a[0] = _mm512_add_ps(a[0], a[j]);
	sink = _mm512_cvtss_f32(a[0]);
	return NULL;
}

static double on_threads(void *(*work)(void *), unsigned threads)
{
	pthread_t other;
	double t = now();

	if (threads > 1)
		pthread_create(&other, NULL, work, (void *)1);
	work(NULL);
	if (threads > 1)
		pthread_join(other, NULL);
	return now() - t;
}

struct roof {
	double bytes, macs; /* a second, best of a few */
};

static void measure_roof(struct roof *r, unsigned threads)
{
	double t, b, m;
	int i;

	for (i = 0; i < 3; i++) {
		t = on_threads(read_all, threads);
		b = threads * (READ_BYTES / 2.0) / t;
		if (__builtin_cpu_supports("avx512f")) {
			t = on_threads(fma_all_512, threads);
			m = threads * 160.0 * FMA_ROUNDS / t;
		} else {
			t = on_threads(fma_all, threads);
			m = threads * 80.0 * FMA_ROUNDS / t;
		}
		r->bytes = b > r->bytes ? b : r->bytes;
		r->macs = m > r->macs ? m : r->macs;
	}
}

/* ---- a random model --------------------------------------------------- */

static uint64_t rng = 1;

/* F16 values of about +-0.02: no denormals, no large ones. */
static void random_halves(uint16_t *h, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		rng = rng * 6364136223846793005ull + 1442695040888963407ull;
		h[i] = (uint16_t)((rng >> 63) << 15 | 0x2000 |
				  (rng >> 40 & 0x7ff));
	}
}

struct tensor {
	char name[64];
	uint32_t rows, cols; /* cols 0: a vector */
};

static uint32_t tensors(struct tensor *t)
{
	static const struct {
		const char *name;
		uint32_t rows, cols;
	} layer[] = {
		{ "input_layernorm", DIM, 0 },
		{ "post_attention_layernorm", DIM, 0 },
		{ "self_attn.q_proj", HEADS * HEAD, DIM },
		{ "self_attn.k_proj", KV_HEADS * HEAD, DIM },
		{ "self_attn.v_proj", KV_HEADS * HEAD, DIM },
		{ "self_attn.o_proj", DIM, HEADS * HEAD },
		{ "mlp.gate_proj", FFN, DIM },
		{ "mlp.up_proj", FFN, DIM },
		{ "mlp.down_proj", DIM, FFN },
	};
	uint32_t n = 0, l, i;

	t[n++] = (struct tensor){ "model.embed_tokens.weight", VOCAB, DIM };
	t[n++] = (struct tensor){ "model.norm.weight", DIM, 0 };
	for (l = 0; l < LAYERS; l++)
		for (i = 0; i < sizeof(layer) / sizeof(*layer); i++, n++) {
			snprintf(t[n].name, sizeof(t[n].name),
				 "model.layers.%u.%s.weight", l, layer[i].name);
			t[n].rows = layer[i].rows;
			t[n].cols = layer[i].cols;
		}
	return n;
}

static int write_model(const char *dir)
{
	static struct tensor t[2 + LAYERS * 9];
	static char head[65536];
	uint32_t n = tensors(t), i;
	uint64_t at = 0, len;
	size_t h = 0, max = (size_t)VOCAB * DIM;
	uint16_t *w = malloc(max * 2);
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/config.json", dir);
	f = fopen(path, "we");
	if (!f || !w)
		return -1;
	fprintf(f,
		"{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":"
		"\"llama\",\"vocab_size\":%u,\"hidden_size\":%u,"
		"\"intermediate_size\":%u,\"num_hidden_layers\":%u,"
		"\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
		"\"head_dim\":%u,\"hidden_act\":\"silu\","
		"\"max_position_embeddings\":1024,\"rms_norm_eps\":1e-5,"
		"\"rope_theta\":10000.0,\"tie_word_embeddings\":true,"
		"\"torch_dtype\":\"float16\",\"bos_token_id\":0,"
		"\"eos_token_id\":1}",
		VOCAB, DIM, FFN, LAYERS, HEADS, KV_HEADS, HEAD);
	fclose(f);
	h += (size_t)snprintf(head, sizeof(head), "{");
	for (i = 0; i < n; i++) {
		uint64_t size = 2ull * t[i].rows * (t[i].cols ? t[i].cols : 1);
		char shape[32];

		snprintf(shape, sizeof(shape), t[i].cols ? "%u,%u" : "%u",
			 t[i].rows, t[i].cols);
		h += (size_t)snprintf(
			head + h, sizeof(head) - h,
			"%s\"%s\":{\"dtype\":\"F16\",\"shape\":[%s],"
			"\"data_offsets\":[%llu,%llu]}",
			i ? "," : "", t[i].name, shape, (unsigned long long)at,
			(unsigned long long)(at + size));
		at += size;
	}
	h += (size_t)snprintf(head + h, sizeof(head) - h, "}");
	while (h % 8)
		head[h++] = ' ';
	len = h;
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	f = fopen(path, "we");
	if (!f)
		return -1;
	fwrite(&len, 8, 1, f);
	fwrite(head, 1, h, f);
	for (i = 0; i < n; i++) {
		size_t k = (size_t)t[i].rows * (t[i].cols ? t[i].cols : 1);

		random_halves(w, k);
		fwrite(w, 2, k, f);
	}
	free(w);
	return fclose(f);
}

/* Multiply-adds and weight bytes of a step of @rows rows, @outs outputs. */
static double step_floor(const struct roof *r, uint32_t rows, uint32_t outs)
{
	double layer =
		2.0 * DIM * DIM + 2.0 * DIM * KV_HEADS * HEAD + 3.0 * DIM * FFN;
	double macs = rows * LAYERS * layer + outs * (double)VOCAB * DIM;
	double bytes = 2 * (LAYERS * layer + (double)VOCAB * DIM);
	double a = macs / r->macs, b = bytes / r->bytes;

	return a > b ? a : b;
}

/* ---- runs ------------------------------------------------------------- */

static struct batch batch;
static uint32_t *ids; /* history, the same for all */

/* Rows [from, from + n) of sequence @seq; blocks are its own. */
static void add_span(uint32_t seq, uint32_t from, uint32_t n, bool out)
{
	static const struct sampling greedy = { .top_p = 1,
						.repetition_penalty = 1 };
	struct batch *b = &batch;
	uint32_t i, k = b->nr_seqs;

	for (i = 0; i < BLOCKS; i++)
		b->block_table[k * b->max_blocks + i] = 1 + seq * BLOCKS + i;
	for (i = from; i < from + n; i++) {
		uint32_t at = b->nr_tokens++;

		b->token[at] = ids[i];
		b->position[at] = i;
		b->slot[at] = (1 + seq * BLOCKS + i / KV_BLOCK) * KV_BLOCK +
			      i % KV_BLOCK;
	}
	if (out)
		b->out[b->nr_outs++] = (struct batch_out){
			.row = b->nr_tokens - 1,
			.seq = k,
			.want = BATCH_SAMPLE,
			.sampling = &greedy,
			.history = ids,
			.prompt_len = from + n,
		};
	b->context_len[k] = from + n;
	b->tag[k] = seq;
	b->nr_seqs++;
	b->query_start[b->nr_seqs] = b->nr_tokens;
}

static void run(struct backend *be)
{
	if (be->run(be, &batch)) {
		printf("a step failed\n");
		exit(1);
	}
}

static void row(const char *what, uint32_t rows, double t, double floor)
{
	printf("  %-22s %9.1f tokens/s   share of the roofline %.2f\n", what,
	       rows / t, floor / t);
}

static void bench_threads(const char *dir, uint32_t threads)
{
	struct backend_options opt = { .model = dir,
				       .max_tokens_per_step = PREFILL,
				       .max_seqs = MAX_BATCH,
				       .threads = threads };
	static const uint32_t sizes[] = { 1, 8, 32 };
	struct roof r = { 0 };
	struct err err = { 0 };
	struct backend *be;
	uint32_t i, s, k;
	char what[64];
	double t;

	opt.kv_bytes = (uint64_t)(MAX_BATCH * BLOCKS + 2) * KV_BLOCK * 2 *
		       LAYERS * KV_HEADS * HEAD * 4;
	measure_roof(&r, threads);
	if (model_open(&opt, &be, &err)) {
		printf("%s\n", err.text);
		exit(1);
	}
	for (i = 0; i < 2; i++) {
		t = now();
		batch_reset(&batch);
		add_span(0, 0, PREFILL, true);
		run(be);
		t = now() - t;
	}
	measure_roof(&r, threads);
	printf("%u thread%s: %.1f GB/s, %.1f GMAC/s\n", threads,
	       threads > 1 ? "s" : "", r.bytes / 1e9, r.macs / 1e9);
	row("prefill 512", PREFILL, t, step_floor(&r, PREFILL, 1));
	for (s = 0; s < 3; s++) {
		for (k = 0; k < sizes[s]; k++) {
			batch_reset(&batch);
			add_span(k, 0, CONTEXT, false);
			run(be);
		}
		t = now();
		for (i = 0; i < 16; i++) {
			batch_reset(&batch);
			for (k = 0; k < sizes[s]; k++)
				add_span(k, CONTEXT + i, 1, true);
			run(be);
		}
		t = (now() - t) / 16;
		snprintf(what, sizeof(what), "decode, batch %u", sizes[s]);
		row(what, sizes[s], t, step_floor(&r, sizes[s], sizes[s]));
	}
	be->close(be);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	char dir[128], path[256];
	uint32_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!__builtin_cpu_supports("avx2")) {
		printf("bench_model: needs AVX2\n");
		return 0;
	}
	read_buf = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ids = calloc(2048, sizeof(*ids));
	if (read_buf == MAP_FAILED || !ids ||
	    batch_init(&batch, PREFILL, MAX_BATCH, BLOCKS))
		return 1;
	madvise(read_buf, READ_BYTES, MADV_HUGEPAGE);
	memset(read_buf, 1, READ_BYTES);
	for (i = 0; i < 2048; i++)
		ids[i] = i * 7919 % VOCAB;
	snprintf(dir, sizeof(dir), "%s/llm-bench-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir) || write_model(dir))
		return 1;
	printf("a random 100 M Llama, F16, context %u\n", CONTEXT);
	bench_threads(dir, 1);
	bench_threads(dir, 2);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	unlink(path);
	rmdir(dir);
	return 0;
}
