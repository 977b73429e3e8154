/* SPDX-License-Identifier: MIT */
/*
 * Whole steps, as the daemon runs them (forward.h over the op set of the
 * library): sequences that decode at a context, prompts from nothing to the
 * first token, with weights of each kind.  The weights are noise; all layers
 * have the same numbers, each a place of its own on the device.
 *
 * What must hold on any machine: all sequences that were told the same say the
 * same, whoever shares their step, and a prompt ends with the same token and
 * the same bits of its log probability however it was cut.
 *
 * On the emulator the model is tiny.  With LLM_CUDA_LIBRARY, which names the
 * library of a real GPU, it has the shape of Llama 3 8B, and there is a line of
 * JSON for each measurement, beside the floor that LLM_READ_TBS (of memory, in
 * TB/s) and LLM_BF16_TFLOPS (of products) set: the ceilings that speed.cu found.
 * LLM_BUDGET seconds.
 */
#include "daemon/model/forward.h"
#include "kernels/library.h"
#include "kernels/ops.h"
#include "base/err.h"
#include "tests/test.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define WARM	3
#define RUNS	9
#define BATCHES 5
#define PROMPTS 2

struct size {
	uint32_t layers, dim, heads, kv_heads, head_dim, ffn, vocab;
	uint32_t context;	   /* where decoding is measured */
	uint32_t batch[BATCHES];   /* ascending; 0: no more */
	uint32_t prompt[PROMPTS];  /* ascending */
	uint32_t rows, max_logits; /* of a step; of a head() call */
	uint32_t runs;
};

static const struct size llama = {
	.layers = 32,
	.dim = 4096,
	.heads = 32,
	.kv_heads = 8,
	.head_dim = 128,
	.ffn = 14336,
	.vocab = 128256,
	.context = 1024,
	.batch = { 1, 8, 32, 128, 256 },
	.prompt = { 2048, 8192 },
	.rows = 2048,
	.max_logits = 256,
	.runs = RUNS,
};

static const struct size tiny = {
	.layers = 2,
	.dim = 128,
	.heads = 4,
	.kv_heads = 2,
	.head_dim = 32,
	.ffn = 256,
	.vocab = 300,
	.context = 24,
	.batch = { 1, 3 },
	.prompt = { 20, 33 },
	.rows = 20,
	.max_logits = 4,
	.runs = 3,
};

/* The model on the host, and the arrays of a step. */
static struct {
	const struct size *size;
	const char *library;
	bool gpu;	/* a real one */
	double bytes_s; /* the ceilings; 0: not known */
	double flop_s;
	time_t end;
	struct ops_ends ends;
	struct ops_layer layer;
	float *rope, *ones;
	uint32_t stride, nr_blocks; /* blocks of a sequence; of all */
	uint32_t max_seqs;
	uint32_t *table;      /* [max_seqs][stride] */
	uint32_t *long_table; /* of a prompt */
	uint32_t *token, *position, *slot, *query_start, *context_len;
	uint32_t *out_row;
	struct step_out *outs, *more_outs; /* of two steps under way */
} H;

static void *take(size_t n, size_t size)
{
	void *p = calloc(n, size);

	CHECK(p);
	return p;
}

/* ---- weights ---------------------------------------------------------- */

/* +-0.008 to 0.031, as BF16. */
static struct weight noise(uint32_t rows, uint32_t cols, uint32_t seed)
{
	size_t n = (size_t)rows * cols, i;
	uint16_t *w = take(n, sizeof(*w));
	uint32_t x = seed * 2654435761u | 1;

	for (i = 0; i < n; i++) {
		x ^= x << 13; /* Marsaglia's xorshift32 */
		x ^= x >> 17;
		x ^= x << 5;
		w[i] = (uint16_t)((x & 0x80ff) + 0x3c00);
	}
	return (struct weight){
		.type = WEIGHT_BF16,
		.rows = rows,
		.cols = cols,
		.row_stride = (size_t)cols * sizeof(*w),
		.data = w,
	};
}

static void make_rope(uint32_t context)
{
	uint32_t pairs = H.size->head_dim / 2, p, i;

	H.rope = take((size_t)context * pairs * 2, sizeof(*H.rope));
	for (p = 0; p < context; p++)
		for (i = 0; i < pairs; i++) {
			double a = p * pow(500000, -(double)i / pairs);

			H.rope[2 * ((size_t)p * pairs + i)] = (float)cos(a);
			H.rope[2 * ((size_t)p * pairs + i) + 1] = (float)sin(a);
		}
}

static void make_model(void)
{
	const struct size *z = H.size;
	uint32_t wide = z->heads * z->head_dim, kv = z->kv_heads * z->head_dim;
	uint32_t i;

	H.ones = take(z->dim, sizeof(*H.ones));
	for (i = 0; i < z->dim; i++)
		H.ones[i] = 1;
	make_rope(z->prompt[PROMPTS - 1] + 1);
	H.ends = (struct ops_ends){
		.embed = noise(z->vocab, z->dim, 1),
		.norm = H.ones,
		.head = noise(z->vocab, z->dim, 2),
	};
	H.layer = (struct ops_layer){
		.attn_norm = H.ones,
		.q = noise(wide, z->dim, 3),
		.k = noise(kv, z->dim, 4),
		.v = noise(kv, z->dim, 5),
		.o = noise(z->dim, wide, 6),
		.mlp_norm = H.ones,
		.gate = noise(z->ffn, z->dim, 7),
		.up = noise(z->ffn, z->dim, 8),
		.down = noise(z->dim, z->ffn, 9),
		.rope = H.rope,
	};
}

/* Blocks 1.., scattered: neighbours of a table are none in memory. */
static void make_tables(void)
{
	const struct size *z = H.size;
	uint32_t prompt = z->prompt[PROMPTS - 1] / OPS_BLOCK + 1, n, i;

	for (i = 0; i < BATCHES; i++)
		if (z->batch[i])
			H.max_seqs = z->batch[i];
	H.stride = (z->context + WARM + z->runs) / OPS_BLOCK + 1;
	n = H.max_seqs * H.stride;
	H.table = take(n, sizeof(*H.table));
	H.long_table = take(prompt, sizeof(*H.long_table));
	for (i = 0; i < n; i++) /* 7,919 is prime to n: no block twice */
		H.table[i] = 1 + (uint32_t)((uint64_t)i * 7919 % n);
	for (i = 0; i < prompt; i++)
		H.long_table[i] = 1 + n + i;
	H.nr_blocks = 1 + n + prompt;
}

static void make_arrays(void)
{
	uint32_t rows = H.size->rows;

	rows = rows > H.max_seqs ? rows : H.max_seqs;
	H.token = take(rows, 4);
	H.position = take(rows, 4);
	H.slot = take(rows, 4);
	H.query_start = take(rows + 1, 4);
	H.context_len = take(rows, 4);
	H.out_row = take(rows, 4);
	H.outs = take(rows, sizeof(*H.outs));
	H.more_outs = take(rows, sizeof(*H.outs));
}

static double number_of(const char *name)
{
	const char *s = getenv(name);

	return s ? strtod(s, NULL) : 0;
}

static void setup(void)
{
	static char path[256];
	const char *build = getenv("LLM_BUILD"), *s = getenv("LLM_BUDGET");

	if (H.size) {
		if (H.end && time(NULL) >= H.end)
			SKIP("the time is over");
		return;
	}
	snprintf(path, sizeof(path), "%s/cuemu/libllm-cuda.so",
		 build ? build : "build");
	H.library = getenv("LLM_CUDA_LIBRARY");
	H.gpu = H.library;
	H.library = H.gpu ? H.library : path;
	H.bytes_s = number_of("LLM_READ_TBS") * 1e12;
	H.flop_s = number_of("LLM_BF16_TFLOPS") * 1e12;
	H.end = s ? time(NULL) + atoi(s) : 0;
	H.size = H.gpu ? &llama : &tiny;
	make_model();
	make_tables();
	make_arrays();
}

/* ---- steps ------------------------------------------------------------ */

static struct forward open_forward(enum weight_use use)
{
	const struct size *z = H.size;
	struct ops_shape shape = {
		.dim = z->dim,
		.nr_heads = z->heads,
		.nr_kv_heads = z->kv_heads,
		.head_dim = z->head_dim,
		.rotary_dim = z->head_dim,
		.ffn = z->ffn,
		.vocab = z->vocab,
		.nr_layers = z->layers,
		.norm_eps = 1e-5f,
		.attn_scale = 1 / sqrtf((float)z->head_dim),
		.kv = KV_BF16,
		.weights = use,
	};
	struct ops_limits limits = {
		.max_rows = z->rows > H.max_seqs ? z->rows : H.max_seqs,
		.max_seqs = H.max_seqs,
		.max_logits = z->max_logits,
		.max_context = z->prompt[PROMPTS - 1] + 1,
		.nr_blocks = H.nr_blocks,
		.whole_steps = 1,
	};
	struct forward f = { .nr_layers = z->layers,
			     .max_logits = z->max_logits };
	struct err err = { 0 };
	uint32_t i;
	int ret = ops_load(H.library, &f.ops, &err);

	if (!ret)
		ret = f.ops->open(&shape, &limits, &f.ctx, &err);
	if (!ret)
		ret = f.ops->load_ends(f.ctx, &H.ends, &err);
	for (i = 0; i < z->layers && !ret; i++)
		ret = f.ops->load_layer(f.ctx, i, &H.layer, &err);
	if (ret)
		printf("# %s\n", err.text);
	CHECK(!ret);
	return f;
}

static struct step base(uint32_t rows, uint32_t seqs, uint32_t outs)
{
	static const struct sampler greedy = { .top_p = 1, .repetition = 1 };
	uint32_t i;

	for (i = 0; i < outs; i++)
		H.outs[i] = (struct step_out){ .sampler = &greedy };
	return (struct step){
		.nr_rows = rows,
		.nr_seqs = seqs,
		.nr_outs = outs,
		.token = H.token,
		.position = H.position,
		.slot = H.slot,
		.query_start = H.query_start,
		.context_len = H.context_len,
		.out_row = H.out_row,
	};
}

/* The token at @pos of every text, as far as it was not said by the model. */
static uint32_t text(uint32_t pos)
{
	return (pos * 2654435761u >> 7) % H.size->vocab;
}

/* A token of @nr sequences, all at @pos. */
static struct step decode_step(uint32_t nr, uint32_t pos)
{
	struct step s = base(nr, nr, nr);
	uint32_t i;

	s.block_table = H.table;
	s.table_stride = H.stride;
	for (i = 0; i < nr; i++) {
		const uint32_t *table = H.table + (size_t)i * H.stride;

		H.token[i] = text(pos);
		H.position[i] = pos;
		H.slot[i] =
			table[pos / OPS_BLOCK] * OPS_BLOCK + pos % OPS_BLOCK;
		H.query_start[i] = H.out_row[i] = i;
		H.context_len[i] = pos + 1;
	}
	H.query_start[nr] = nr;
	return s;
}

static void decode(const struct forward *f, uint32_t nr, uint32_t pos)
{
	struct step s = decode_step(nr, pos);

	CHECK_EQ(forward_run(f, &s, H.outs), 0);
}

/* Tokens @from to @to of one sequence in a step; the last may be asked for. */
static void span(const struct forward *f, const uint32_t *table,
		 uint32_t stride, uint32_t from, uint32_t to, bool ask)
{
	struct step s = base(to - from, 1, ask);
	uint32_t pos;

	s.block_table = table;
	s.table_stride = stride;
	for (pos = from; pos < to; pos++) {
		H.token[pos - from] = text(pos);
		H.position[pos - from] = pos;
		H.slot[pos - from] =
			table[pos / OPS_BLOCK] * OPS_BLOCK + pos % OPS_BLOCK;
	}
	H.query_start[0] = 0;
	H.query_start[1] = to - from;
	H.context_len[0] = to;
	H.out_row[0] = to - from - 1;
	CHECK_EQ(forward_run(f, &s, H.outs), 0);
}

/* A prompt of @n tokens, @chunk a step; what it ends with is outs[0]. */
static void prefill(const struct forward *f, const uint32_t *table,
		    uint32_t stride, uint32_t n, uint32_t chunk)
{
	uint32_t at, to;

	for (at = 0; at < n; at = to) {
		to = at + chunk < n ? at + chunk : n;
		span(f, table, stride, at, to, to == n);
	}
}

/* What sequence 0 knows is what all know. */
static void spread(const struct forward *f)
{
	uint32_t blocks = H.size->context / OPS_BLOCK + 1, n = 0, s, b;
	struct block_copy *pairs =
		take((size_t)H.max_seqs * blocks, sizeof(*pairs));

	for (s = 1; s < H.max_seqs; s++)
		for (b = 0; b < blocks; b++)
			pairs[n++] = (struct block_copy){
				H.table[b], H.table[s * H.stride + b]
			};
	CHECK_EQ(f->ops->copy_blocks(f->ctx, pairs, n), 0);
	free(pairs);
}

/* ---- figures ---------------------------------------------------------- */

struct kind {
	const char *name;
	enum weight_use use;
	double bytes; /* of a weight of the layers and the head */
	double rate;  /* of its products, against those of BF16 */
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Weights that a row is multiplied with, without the head's. */
static double layer_weights(void)
{
	const struct size *z = H.size;
	double wide = z->heads * z->head_dim, kv = z->kv_heads * z->head_dim;

	return z->layers * (double)z->dim *
	       (2 * wide + 2 * kv + 3 * (double)z->ffn);
}

/*
 * @rows of @seqs sequences, that attend to @keys keys in all, @outs of them
 * with an output; @reads keys are read at least.
 */
static void tell(const struct kind *k, const char *kernel, const char *shape,
		 double us[], uint32_t n, double rows, double outs, double keys,
		 double reads, bool ok)
{
	const struct size *z = H.size;
	double head = (double)z->vocab * z->dim;
	double bytes = (layer_weights() + (outs > 0 ? head : 0)) * k->bytes +
		       reads * z->layers * 2 * z->kv_heads * z->head_dim * 2;
	double linear = 2 * (rows * layer_weights() + outs * head);
	double attention = 4.0 * z->layers * z->heads * z->head_dim * keys;
	double least = 0;
	const char *commit = getenv("LLM_COMMIT"), *gpu = getenv("LLM_GPU");
	char when[32];
	time_t t = time(NULL);

	if (!H.gpu)
		return;
	if (H.bytes_s > 0)
		least = 1e6 * bytes / H.bytes_s;
	if (H.flop_s > 0)
		least = fmax(least,
			     1e6 * (linear / k->rate + attention) / H.flop_s);
	qsort(us, n, sizeof(*us), ascending);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
	printf("{\"t\":\"%s\",\"commit\":\"%s\",\"gpu\":\"%s\","
	       "\"kernel\":\"%s\",\"fmt\":\"%s\",\"shape\":{%s},"
	       "\"us\":%.1f,\"us_min\":%.1f,\"us_max\":%.1f,\"n\":%u,"
	       "\"bytes\":%.0f,\"flop\":%.0f,\"floor_us\":%.1f,\"pct\":%.1f,"
	       "\"tokens_s\":%.1f,\"ok\":%s}\n",
	       when, commit ? commit : "", gpu ? gpu : "", kernel, k->name,
	       shape, us[n / 2], us[0], us[n - 1], n, bytes, linear + attention,
	       least, 100 * least / us[n / 2], 1e6 * rows / us[n / 2],
	       ok ? "true" : "false");
	fflush(stdout);
}

/* Sequences that decode; what the first batch said is what all say. */
static bool measure_decode(const struct kind *k, const struct forward *f,
			   uint32_t nr, uint32_t *said)
{
	const struct size *z = H.size;
	double us[RUNS], begin;
	bool ok = true;
	char shape[64];
	uint32_t run, i;

	for (run = 0; run < WARM + z->runs; run++) {
		begin = now_us();
		decode(f, nr, z->context + run);
		if (run >= WARM)
			us[run - WARM] = now_us() - begin;
		if (said[run] == UINT32_MAX)
			said[run] = H.outs[0].token;
		for (i = 0; i < nr; i++)
			ok &= H.outs[i].token == said[run];
	}
	snprintf(shape, sizeof(shape), "\"b\":%u,\"context\":%u", nr,
		 z->context);
	tell(k, "step_decode", shape, us, z->runs, nr, nr,
	     (double)nr * z->context, (double)nr * z->context, ok);
	return ok;
}

/* The same steps once more, each begun before the last one is collected. */
static bool measure_ahead(const struct kind *k, const struct forward *f,
			  uint32_t nr, const uint32_t *said)
{
	struct step_out *outs[] = { H.outs, H.more_outs };
	const struct size *z = H.size;
	double begin = now_us(), us;
	bool ok = true;
	char shape[64];
	uint32_t run, i;

	for (run = 0; run <= z->runs; run++) {
		struct step_out *before = outs[(run + 1) % 2];

		if (run < z->runs) {
			struct step s =
				decode_step(nr, z->context + WARM + run);

			if (!run) /* both ask the same */
				memcpy(H.more_outs, H.outs,
				       nr * sizeof(*H.outs));
			CHECK_EQ(forward_begin(f, &s, outs[run % 2]), 0);
		}
		if (!run)
			continue;
		CHECK_EQ(forward_collect(f, before, nr), 0);
		for (i = 0; i < nr; i++)
			ok &= before[i].token == said[WARM + run - 1];
	}
	us = (now_us() - begin) / z->runs;
	snprintf(shape, sizeof(shape), "\"b\":%u,\"context\":%u", nr,
		 z->context);
	tell(k, "step_decode_ahead", shape, &us, 1, nr, nr,
	     (double)nr * z->context, (double)nr * z->context, ok);
	return ok;
}

/* A prompt in steps of all rows; cut otherwise it says the same. */
static bool measure_prefill(const struct kind *k, const struct forward *f,
			    uint32_t n)
{
	const struct size *z = H.size;
	uint32_t stride = z->prompt[PROMPTS - 1] / OPS_BLOCK + 1, run, token;
	double us[3], begin;
	float logprob;
	char shape[64];
	bool ok;

	prefill(f, H.long_table, stride, n, z->rows - z->rows / 3);
	token = H.outs[0].token;
	logprob = H.outs[0].logprob;
	ok = isfinite(logprob);
	for (run = 0; run < 3; run++) {
		begin = now_us();
		prefill(f, H.long_table, stride, n, z->rows);
		us[run] = now_us() - begin;
		ok &= H.outs[0].token == token &&
		      !memcmp(&H.outs[0].logprob, &logprob, sizeof(logprob));
	}
	snprintf(shape, sizeof(shape), "\"t\":%u", n);
	tell(k, "step_prefill", shape, us, 3, n, 1, n / 2.0 * n, n, ok);
	return ok;
}

/* The last @n tokens of the context one by one, or with the rest. */
static bool cut_is_free(const struct forward *f, uint32_t n)
{
	uint32_t token, from = H.size->context - n, pos;
	float logprob;

	prefill(f, H.table, H.stride, H.size->context, H.size->rows);
	token = H.outs[0].token;
	logprob = H.outs[0].logprob;
	prefill(f, H.table, H.stride, from, H.size->rows);
	for (pos = from; pos < H.size->context; pos++)
		decode(f, 1, pos);
	return H.outs[0].token == token &&
	       !memcmp(&H.outs[0].logprob, &logprob, sizeof(logprob));
}

static void measure(const struct kind *k)
{
	uint32_t said[WARM + RUNS], i;
	bool ok, over = false;
	struct forward f;

	setup();
	f = open_forward(k->use);
	memset(said, 0xff, sizeof(said));
	ok = cut_is_free(&f, 5);
	spread(&f);
	for (i = 0; i < BATCHES && H.size->batch[i] && !over; i++) {
		ok &= measure_decode(k, &f, H.size->batch[i], said);
		ok &= measure_ahead(k, &f, H.size->batch[i], said);
		over = H.end && time(NULL) >= H.end;
	}
	for (i = 0; i < PROMPTS && !over; i++) {
		ok &= measure_prefill(k, &f, H.size->prompt[i]);
		over = H.end && time(NULL) >= H.end;
	}
	f.ops->close(f.ctx);
	CHECK(ok);
}

TEST(bf16)
{
	measure(&(struct kind){ "bf16", WEIGHTS_AS_IS, 2, 1 });
}

TEST(int8)
{
	measure(&(struct kind){ "int8", WEIGHTS_INT8, 1, 2 });
}

TEST(fp8)
{
	measure(&(struct kind){ "fp8", WEIGHTS_FP8, 1, 1 });
}

TEST(int4)
{
	measure(&(struct kind){ "int4", WEIGHTS_INT4, 4.25 / 8, 1 });
}
