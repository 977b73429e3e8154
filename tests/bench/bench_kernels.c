/* SPDX-License-Identifier: MIT */
/*
 * bench_kernels: what the CPU kernels reach of this machine, measured in the
 * same run: read bandwidth and F32 FMA rate of one core, then matrix products,
 * attention and sampling as a part of them.  One thread, in thread CPU time,
 * best of several: a busy machine disturbs that least.
 *
 * The roof is the later of reading (weights or KV once) and multiplying.
 * Weights come from memory each time, in 4 KiB pages as from a file: copies
 * rotate past the caches; KV lies in our own 2 MiB pages and, below 4096 keys,
 * in a cache: then more than 100 % is no wonder.
 *
 *	bench_kernels [packed|gemm|attention|sample]
 */
#include "kernels/cpu/cpu.h"
#include "kernels/half.h"
#include "kernels/ops.h"

#include <immintrin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define TARGET(isa) __attribute__((noinline, target(isa)))

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t state = 1;

static float noise(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (float)(state >> 40) / 16777216.0f - 0.5f;
}

/* Memory as weights have it (4 KiB pages) or as our own (2 MiB). */
static void *take(size_t n, int huge)
{
	void *p = mmap(NULL, n + (2 << 20), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	madvise(p, n + (2 << 20), huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(p, 0, n + (2 << 20));
	return p;
}

/* ---- the roof ---- */

static volatile float sink;

TARGET("avx2") static double read_rate(const char *p, size_t n)
{
	double best = 1e9;

	for (int round = 0; round < 5; round++) {
		__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
		double t = now();

		for (size_t i = 0; i + 128 <= n; i += 128) {
			const __m256i *q = (const void *)(p + i);

			_mm_prefetch(p + i + 4096, _MM_HINT_T1);
			_mm_prefetch(p + i + 4096 + 64, _MM_HINT_T1);
			a = _mm256_xor_si256(a, _mm256_loadu_si256(q));
			b = _mm256_xor_si256(b, _mm256_loadu_si256(q + 1));
			c = _mm256_xor_si256(c, _mm256_loadu_si256(q + 2));
			d = _mm256_xor_si256(d, _mm256_loadu_si256(q + 3));
		}
		t = now() - t;
		best = t < best ? t : best;
		a = _mm256_xor_si256(_mm256_xor_si256(a, b),
				     _mm256_xor_si256(c, d));
		sink = (float)_mm256_extract_epi32(a, 0);
	}
	return (double)n / best;
}

#define FMA_RATE(name, isa, vec, set1, fma, lanes, first)                      \
	TARGET(isa) static double name(void)                                   \
	{                                                                      \
		const long n = 2000000;                                        \
		double best = 1e9;                                             \
		for (int round = 0; round < 5; round++) {                      \
			vec a[12], x = set1(0.999f), y = set1(1e-3f);          \
			double t = now();                                      \
			for (int i = 0; i < 12; i++)                           \
				a[i] = set1((float)i);                         \
			for (long k = 0; k < n; k++) {                         \
				_Pragma("GCC unroll 12") for (int i = 0;       \
							      i < 12; i++)     \
					a[i] = fma(a[i], x, y);                \
			}                                                      \
			t = now() - t;                                         \
			best = t < best ? t : best;                            \
			for (int i = 0; i < 12; i++)                           \
				sink = first(a[i]);                            \
		}                                                              \
		return (double)n * 12 * lanes * 2 / best;                      \
	}
FMA_RATE(fma_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, 8,
	 _mm256_cvtss_f32)
FMA_RATE(fma_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, 16,
	 _mm512_cvtss_f32)

/*
 * Products of small integers: a multiply-add instruction and, where that does
 * not add up by itself, an addition; twelve sums in flight.
 */
#define MAC_RATE(name, isa, vec, set1, step, macs, first)                      \
	TARGET(isa) static double name(void)                                   \
	{                                                                      \
		const long n = 2000000;                                        \
		double best = 1e9;                                             \
		for (int round = 0; round < 5; round++) {                      \
			vec a[12], x = set1(3), y = set1(5);                   \
			double t = now();                                      \
			for (int i = 0; i < 12; i++)                           \
				a[i] = set1((char)i);                          \
			for (long k = 0; k < n; k++) {                         \
				_Pragma("GCC unroll 12") for (int i = 0;       \
							      i < 12; i++)     \
				{                                              \
					__asm__ volatile("" : "+x"(x));        \
					a[i] = step;                           \
				}                                              \
			}                                                      \
			t = now() - t;                                         \
			best = t < best ? t : best;                            \
			for (int i = 0; i < 12; i++)                           \
				sink = (float)first(a[i]);                     \
		}                                                              \
		return (double)n * 12 * macs / best;                           \
	}
MAC_RATE(mac8_avx2, "avx2", __m256i, _mm256_set1_epi8,
	 _mm256_add_epi16(a[i], _mm256_maddubs_epi16(x, y)), 32,
	 _mm256_cvtsi256_si32)
MAC_RATE(mac16_avx2, "avx2", __m256i, _mm256_set1_epi8,
	 _mm256_add_epi32(a[i], _mm256_madd_epi16(x, y)), 16,
	 _mm256_cvtsi256_si32)
MAC_RATE(mac8_avx512, "avx512bw", __m512i, _mm512_set1_epi8,
	 _mm512_add_epi16(a[i], _mm512_maddubs_epi16(x, y)), 64,
	 _mm512_cvtsi512_si32)
MAC_RATE(mac16_avx512, "avx512bw", __m512i, _mm512_set1_epi8,
	 _mm512_add_epi32(a[i], _mm512_madd_epi16(x, y)), 32,
	 _mm512_cvtsi512_si32)
MAC_RATE(mac8_vnni, "avx512vnni", __m512i, _mm512_set1_epi8,
	 _mm512_dpbusd_epi32(a[i], x, y), 64, _mm512_cvtsi512_si32)
MAC_RATE(mac16_vnni, "avx512vnni", __m512i, _mm512_set1_epi8,
	 _mm512_dpwssd_epi32(a[i], x, y), 32, _mm512_cvtsi512_si32)

struct roof {
	const char *name;
	double flops, bytes, huge; /* a second, one core; huge: 2 MiB pages */
	const struct gemm_tiles *tiles;
	const struct packed_set *packed;
	double macs[2]; /* integer products a second: narrow, wide codes */
	const struct ops *ops;
};

/* ---- matrix products ---- */

static void fill(struct weight *w, char *p, size_t copies)
{
	w->row_stride = weight_row_bytes(w->type, w->cols);
	w->data = p;
	for (size_t i = 0; i < (size_t)w->rows * w->cols; i++) {
		float f = noise();
		uint16_t h = w->type == WEIGHT_F16 ? f32_to_f16(f)
						   : f32_to_bf16(f);

		if (w->type == WEIGHT_F32)
			memcpy(p + 4 * i, &f, 4);
		else
			memcpy(p + 2 * i, &h, 2);
	}
	for (size_t c = 1; c < copies; c++)
		memcpy(p + c * w->rows * w->row_stride, p,
		       w->rows * w->row_stride);
}

static void bench_gemm(const struct roof *roof)
{
	static const uint32_t shape[][2] = { { 2048, 2048 }, { 2048, 8192 } };
	static const uint32_t tokens[] = { 1, 4, 8, 32, 128 };

	for (int i = 0; i < 2 * NR_GEMM_TYPES; i++) {
		struct weight w = { .type = (enum weight_type)(i / 2),
				    .rows = shape[i % 2][0],
				    .cols = shape[i % 2][1] };
		size_t bytes = weight_row_bytes(w.type, w.cols) * w.rows;
		size_t copies = (96u << 20) / bytes + 1, ld = w.cols + 16;
		char *p = take(bytes * copies, 0);
		float *x = take(128 * ld * 4, 1),
		      *y = take(128 * 4 * w.rows, 1);

		fill(&w, p, copies);
		for (size_t j = 0; j < 128 * ld; j++)
			x[j] = noise();
		for (size_t t = 0; t < 5; t++) {
			double macs = (double)w.rows * w.cols * tokens[t];
			double best = 1e9, spent = 0, limit;
			size_t c = 0;

			while (spent < 0.15) {
				double s = now();

				w.data = p + c * bytes;
				gemm_rows(&roof->tiles[w.type], &w, 0, w.rows,
					  x, ld, tokens[t], y, w.rows);
				s = now() - s;
				best = s < best ? s : best;
				spent += s;
				c = (c + 1) % copies;
			}
			limit = fmax((double)bytes / roof->bytes,
				     2 * macs / roof->flops);
			printf("%-6s %-4s %ux%u, %3u rows: %6.1f GMAC/s, %5.1f "
			       "GB/s, %3.0f %% of the roof\n",
			       roof->name, weight_formats[w.type].name, w.rows,
			       w.cols, tokens[t], macs / best * 1e-9,
			       (double)bytes / best * 1e-9, 100 * limit / best);
			fflush(stdout);
		}
		munmap(p, bytes * copies + (2 << 20));
		munmap(x, 128 * ld * 4 + (2 << 20));
		munmap(y, 128 * 4 * w.rows + (2 << 20));
	}
}

/* ---- packed matrix products ---- */

/* One thread's best of a product of @tokens rows; copies rotate. */
static double packed_best(const struct packed_set *set, struct weight *w,
			  const char *file, const uint8_t *fast, size_t copies,
			  const float *x, size_t ld, uint32_t tokens, float *y)
{
	enum packed_form form = packed_form(set, w->type);
	size_t bytes = w->row_stride * w->rows;
	size_t fast_bytes = packed_group_bytes(w->type, w->cols, w->rows);
	uint8_t *input = take(packed_input_bytes(form, w->cols, tokens), 1);
	size_t panel = packed_group_bytes(w->type, w->cols, PACKED_UNIT);
	uint8_t *scratch = take(panel, 1);
	double best = 1e9, spent = 0;

	for (size_t c = 0; spent < 0.1; c = (c + 1) % copies) {
		double s = now();

		w->data = file + c * bytes;
		for (uint32_t t = 0; t < tokens; t++)
			packed_quantize_avx2(x + t * ld, w->cols, form, t,
					     tokens, set->max_tokens, input);
		packed_rows(set, w, fast ? fast + c * fast_bytes : NULL, 0,
			    w->rows, input, tokens, y, w->rows, scratch);
		s = now() - s;
		best = s < best ? s : best;
		spent += s;
	}
	munmap(input, packed_input_bytes(form, w->cols, tokens) + (2 << 20));
	munmap(scratch, panel + (2 << 20));
	return best;
}

/* Interleaved weights in 2 MiB pages, and the file's layout in 4 KiB ones. */
static void bench_packed(const struct roof *roof)
{
	static const uint32_t tokens[] = { 1, 4, 8, 32, 128, 512 };

	for (int i = NR_PLAIN_TYPES; i < NR_WEIGHT_TYPES; i++) {
		struct weight w = { .type = (enum weight_type)i,
				    .rows = 2048,
				    .cols = 2048 };
		const struct weight_format *f = &weight_formats[i];
		int wide = packed_is_wide(packed_form(roof->packed, w.type));
		size_t bytes = weight_row_bytes(w.type, w.cols) * w.rows;
		size_t copies = (96u << 20) / bytes + 1, ld = w.cols + 16;
		size_t fast_bytes = packed_group_bytes(w.type, w.cols, w.rows);
		char *p = take(bytes * copies, 0);
		uint8_t *fast = take(fast_bytes * copies, 1);
		float *x = take(512 * ld * 4, 1), *y = take(512 * 8192, 1);

		w.row_stride = weight_row_bytes(w.type, w.cols);
		for (size_t j = 0; j < 512 * ld; j++)
			x[j] = noise();
		for (uint32_t r = 0; r < w.rows; r++)
			f->pack(x + r % 512 * ld, p + r * w.row_stride, w.cols);
		w.data = p;
		for (uint32_t r = 0; r < w.rows; r += roof->packed->rows)
			packed_interleave_avx2(
				&w, r, roof->packed->rows,
				fast + packed_group_bytes(w.type, w.cols, r));
		for (size_t c = 1; c < copies; c++) {
			memcpy(p + c * bytes, p, bytes);
			memcpy(fast + c * fast_bytes, fast, fast_bytes);
		}
		for (size_t t = 0; t < 6; t++) {
			double macs = (double)w.rows * w.cols * tokens[t];
			double a = packed_best(roof->packed, &w, p, fast,
					       copies, x, ld, tokens[t], y);
			double b = packed_best(roof->packed, &w, p, NULL,
					       copies, x, ld, tokens[t], y);
			double limit = fmax((double)fast_bytes / roof->huge,
					    macs / roof->macs[wide]);

			printf("%-6s %-6s %ux%u, %3u rows: %6.1f GMAC/s, %5.1f "
			       "GB/s, %3.0f %% of the roof; from the file's "
			       "layout %6.1f\n",
			       roof->name, f->name, w.rows, w.cols, tokens[t],
			       macs / a * 1e-9, (double)fast_bytes / a * 1e-9,
			       100 * limit / a, macs / b * 1e-9);
			fflush(stdout);
		}
		munmap(p, bytes * copies + (2 << 20));
		munmap(fast, fast_bytes * copies + (2 << 20));
		munmap(x, 512 * ld * 4 + (2 << 20));
		munmap(y, 512 * 8192 + (2 << 20));
	}
}

/* ---- attention and sampling, through the table ---- */

#define CONTEXT 4096u
#define CHUNK	512u

static struct ops_ctx *open_one(const struct ops *ops, uint32_t heads,
				uint32_t kv_heads, uint32_t head_dim,
				enum kv_type kv, uint32_t vocab,
				uint32_t logits)
{
	static float one[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct ops_shape shape = { 8,	  heads, kv_heads, head_dim, 0, 8,
				   vocab, 1,	 1e-5f,	   1,	     kv };
	struct ops_limits limits = { CHUNK, logits, CONTEXT,
				     CONTEXT / OPS_BLOCK + 1, 1 };
	size_t rows = heads * head_dim > vocab ? heads * head_dim : vocab;
	float *data = take(rows * 8 * 4, 1);
	struct weight in = { WEIGHT_F32, heads * head_dim, 8, 32, data };
	struct ops_layer l = { .attn_norm = one, .mlp_norm = one };
	struct ops_ends e = { .norm = one };
	struct ops_ctx *ctx;

	for (size_t i = 0; i < rows * 8; i++)
		data[i] = noise();
	l.q = l.k = l.v = l.gate = l.up = in;
	l.k.rows = l.v.rows = kv_heads * head_dim;
	l.o = (struct weight){ WEIGHT_F32, 8, heads * head_dim,
			       (size_t)heads * head_dim * 4, data };
	l.gate.rows = l.up.rows = 8;
	l.down = l.gate;
	e.embed = in;
	e.embed.rows = vocab;
	e.head = e.embed;
	if (ops->open(&shape, &limits, &ctx, NULL) ||
	    ops->load_ends(ctx, &e, NULL) || ops->load_layer(ctx, 0, &l, NULL))
		exit(1);
	return ctx;
}

static void bench_attention(const struct roof *roof)
{
	static const uint32_t heads[][3] = {
		{ 8, 8, 64 }, { 32, 8, 64 }, { 32, 8, 128 }, { 8, 8, 128 }
	};
	static const uint32_t contexts[] = { 128, 512, 1024, 4096 };
	static uint32_t token[CHUNK], position[CHUNK], slot[CHUNK];
	static uint32_t table[CONTEXT / OPS_BLOCK];

	for (uint32_t b = 0; b < CONTEXT / OPS_BLOCK; b++) /* scattered */
		table[b] = 1 + b * 97 % (CONTEXT / OPS_BLOCK);
	for (int i = 0; i < 4 * 4 * 2 * 2; i++) {
		const uint32_t *h = heads[i / 8 % 4];
		enum kv_type kv = i < 4 * 4 * 2 ? KV_F32 : KV_Q8;
		uint32_t context = contexts[i / 2 % 4];
		uint32_t rows = i % 2 && context >= CHUNK ? CHUNK : 1;
		struct ops_ctx *ctx =
			open_one(roof->ops, h[0], h[1], h[2], kv, 16, 1);
		uint32_t start[2] = { 0, rows };
		struct step step = { .nr_seqs = 1,
				     .table_stride = CONTEXT / OPS_BLOCK,
				     .token = token,
				     .position = position,
				     .slot = slot,
				     .query_start = start,
				     .context_len = &context,
				     .block_table = table };
		double best = 1e9, spent = 0, keys = 0, flops, bytes;

		if (i % 2 && rows == 1) {
			roof->ops->close(ctx);
			continue;
		}
		for (uint32_t at = 0; at < context; at += step.nr_rows) {
			step.nr_rows = start[1] =
				context - at < CHUNK ? context - at : CHUNK;
			for (uint32_t r = 0; r < step.nr_rows; r++) {
				position[r] = at + r;
				token[r] = r % 16;
				slot[r] = table[(at + r) / OPS_BLOCK] *
						  OPS_BLOCK +
					  (at + r) % OPS_BLOCK;
			}
			roof->ops->embed_norm(ctx, &step);
			roof->ops->qkv_rope_kv(ctx, &step, 0);
		}
		step.nr_rows = start[1] = rows;
		for (uint32_t r = 0; r < rows; r++) {
			position[r] = context - rows + r;
			keys += position[r] + 1;
		}
		roof->ops->embed_norm(ctx, &step);
		while (spent < 0.1) {
			double s = now();

			roof->ops->attention(ctx, &step, 0);
			s = now() - s;
			best = s < best ? s : best;
			spent += s;
		}
		flops = 4 * keys * h[0] * h[2];
		bytes = (kv == KV_Q8 ? 2.0 * (h[2] + 4) : 8.0 * h[2]) *
			context * h[1];
		printf("%-6s attention %u/%u heads of %u%s, %u rows at %u keys: "
		       "%8.1f us, %5.1f GFLOP/s, %3.0f %% of the roof\n",
		       roof->name, h[0], h[1], h[2],
		       kv == KV_Q8 ? ", 8-bit" : "", rows, context, best * 1e6,
		       flops / best * 1e-9,
		       100 * fmax(flops / roof->flops, bytes / roof->huge) /
			       best);
		fflush(stdout);
		roof->ops->close(ctx);
	}
}

static void bench_sample(const struct roof *roof)
{
	static const struct {
		const char *name;
		float temperature, min_p, top_p;
		uint32_t top_k;
	} how[] = {
		{ "greedy", 0, 0, 1, 0 },
		{ "temperature 1", 1, 0, 1, 0 },
		{ "min_p 0.05", 1, 0.05f, 1, 0 },
		{ "top_k 40", 1, 0, 1, 40 },
		{ "top_p 0.95", 1, 0, 0.95f, 0 },
		{ "all of them", 1, 0.05f, 0.95f, 40 },
		{ "score, 20 alternatives", 1, 0, 1, 0 },
	};
	const uint32_t vocab = 128256;
	struct ops_ctx *ctx = open_one(roof->ops, 1, 1, 8, KV_F32, vocab, 1);
	float *l = take(vocab * 4, 1);

	for (uint32_t i = 0; i < vocab; i++) /* as a model's: 20 wide */
		l[i] = 10 * (noise() + noise() + noise() + noise());
	roof->ops->poke(ctx, OPS_LOGITS, 0, 1, l);
	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		struct sampler s = { .temperature = how[i].temperature,
				     .min_p = how[i].min_p,
				     .top_p = how[i].top_p,
				     .top_k = how[i].top_k,
				     .repetition = 1 };
		struct step_out out = { .sampler = &s, .nr_alt = 20 };
		double best = 1e9;

		for (uint32_t n = 0; n < 60; n++) {
			double t = now();

			out.position = n;
			if (i == 6)
				roof->ops->score(ctx, &out, 1);
			else
				roof->ops->sample(ctx, &out, 1);
			t = now() - t;
			best = t < best ? t : best;
		}
		printf("%-6s vocabulary %u, %s: %.0f us\n", roof->name, vocab,
		       how[i].name, best * 1e6);
	}
	roof->ops->close(ctx);
}

int main(int argc, char **argv)
{
	const size_t n = (size_t)256 << 20;
	const char *only = argc > 1 ? argv[1] : "";
	struct roof roofs[] = {
		{ "avx2", .tiles = gemm_tiles_avx2, .packed = &packed_avx2,
		  .ops = &ops_avx2 },
		{ "avx512", .tiles = gemm_tiles_avx512,
		  .packed = &packed_avx512, .ops = &ops_avx512 },
	};
	char *p;

	if (!ops_find("avx2")) {
		printf("no AVX2 here: nothing to measure\n");
		return 0;
	}
	p = take(n, 0);
	roofs[0].bytes = roofs[1].bytes = read_rate(p, n);
	munmap(p, n);
	p = take(n, 1);
	roofs[0].huge = roofs[1].huge = read_rate(p, n);
	munmap(p, n);
	roofs[0].flops = fma_avx2();
	roofs[0].macs[0] = mac8_avx2();
	roofs[0].macs[1] = mac16_avx2();
	if (ops_find("avx512")) {
		int vnni = __builtin_cpu_supports("avx512vnni");

		roofs[1].flops = fma_avx512();
		roofs[1].macs[0] = vnni ? mac8_vnni() : mac8_avx512();
		roofs[1].macs[1] = vnni ? mac16_vnni() : mac16_avx512();
		if (vnni)
			roofs[1].packed = &packed_vnni;
	}
	printf("one core: reads %.1f GB/s (2 MiB pages: %.1f), F32 FMA %.0f "
	       "GFLOP/s with AVX2, %.0f with AVX-512\n",
	       roofs[0].bytes * 1e-9, roofs[0].huge * 1e-9,
	       roofs[0].flops * 1e-9, roofs[1].flops * 1e-9);
	printf("8-bit products %.0f GMAC/s with AVX2, %.0f with AVX-512; "
	       "16-bit %.0f and %.0f\n",
	       roofs[0].macs[0] * 1e-9, roofs[1].macs[0] * 1e-9,
	       roofs[0].macs[1] * 1e-9, roofs[1].macs[1] * 1e-9);
	for (size_t i = 0; i < 2 && roofs[i].flops > 0; i++) {
		if (!*only || !strcmp(only, "packed"))
			bench_packed(&roofs[i]);
		if (!*only || !strcmp(only, "gemm"))
			bench_gemm(&roofs[i]);
		if (!*only || !strcmp(only, "attention"))
			bench_attention(&roofs[i]);
		if (!*only || !strcmp(only, "sample"))
			bench_sample(&roofs[i]);
	}
	return 0;
}
