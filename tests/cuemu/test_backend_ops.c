/* SPDX-License-Identifier: MIT */
/*
 * Each op of the CUDA set against the plain C of kernels/ref, on the golden
 * models: both begin an op with the same numbers (those of ref, rounded to BF16
 * where CUDA keeps BF16), so what differs is one op's roundings and order of
 * sums, and not what three layers made of earlier ones.  An error is measured
 * against the largest number of its row.
 *
 * BF16 has 8 bits: half a unit in the last place is up to 2^-8 of a number; F16
 * has 11.  Before packed weights and INT8 F32 is kept, and products with them
 * are the CPU's bits: no error at all in X and LOGITS.
 */
#include "tests/cuemu/gpu.h"
#include "tests/model/golden.h"
#include "kernels/half.h"

#include <math.h>

#define NR_ROWS 40u
#define MAX_ROW 512u

enum kind {
	BF16,
	F16,
	PACKED,
	W8A8, /* both rounded to INT8, but for the ends */
	MIXED,
	INT8, /* only the device's */
};

static const struct model {
	const char *path;
	/*
	 * of weights; MIXED: packed, but in places BF16: Q2_K, or gate and up
	 * where their types differ
	 */
	enum kind kind;
	uint32_t layers, dim, wide, ffn;
	float scale; /* of attention: head_dim^-1/2 */
} models[] = {
	{ "models/llama3-gqa-bf16", BF16, 3, 64, 64, 128, 0.25f },
	{ "models/llama-yarn-bf16", BF16, 3, 64, 64, 128, 0.25f },
	{ "models/qwen2-sharded-bf16", BF16, 3, 64, 64, 128, 0.25f },
	{ "models/llama-mha-f16", F16, 2, 64, 64, 96, 0.25f },
	{ "models/mistral-swa-f16", F16, 3, 64, 64, 128, 0.25f },
	{ "models/llama-bias-odd-f16", F16, 2, 80, 80, 112, 0.25f },
	{ "gguf/llama-mha-f16.q8_0.gguf", PACKED, 2, 64, 64, 96, 0.25f },
	{ "gguf/llama-yarn-bf16.q5_0.gguf", MIXED, 3, 64, 64, 128, 0.25f },
	{ "gguf/llama3-gqa-bf16.q4_0.gguf", PACKED, 3, 64, 64, 128, 0.25f },
	{ "gguf/qwen2-bf16.mixed.gguf", MIXED, 3, 64, 64, 128, 0.25f },
	{ "gguf/llama-kmix.gguf", MIXED, 2, 256, 256, 256, 0.125f },
};

/* A step that both compute. */
static uint32_t token[NR_ROWS], position[NR_ROWS], slot[NR_ROWS];
static uint32_t query_start[3], context_len[2], out_row[NR_ROWS];
static uint32_t table[2][3];

/* Two sequences of 23 and 17 tokens; every row is asked for. */
static struct step make_step(uint32_t vocab)
{
	query_start[1] = context_len[0] = 23;
	query_start[2] = NR_ROWS;
	context_len[1] = NR_ROWS - 23;
	for (uint32_t b = 0; b < 6; b++)
		table[b / 3][b % 3] = 9 - b;
	for (uint32_t r = 0; r < NR_ROWS; r++) {
		uint32_t seq = r >= 23, at = r - query_start[seq];

		token[r] = (r * 37 + 11) % vocab;
		position[r] = at;
		slot[r] = table[seq][at / KV_BLOCK] * KV_BLOCK + at % KV_BLOCK;
		out_row[r] = NR_ROWS - 1 - r;
	}
	return (struct step){
		.nr_rows = NR_ROWS,
		.nr_seqs = 2,
		.nr_outs = NR_ROWS,
		.table_stride = 3,
		.token = token,
		.position = position,
		.slot = slot,
		.query_start = query_start,
		.context_len = context_len,
		.block_table = table[0],
		.out_row = out_row,
	};
}

static float round_bf16(float f)
{
	return bf16_to_f32(f32_to_bf16(f));
}

struct pair {
	const struct forward *ref, *gpu;
	const struct model *model;
	enum kind kind;
	uint32_t vocab;
};

static uint32_t width(const struct pair *p, enum ops_buffer b)
{
	const struct model *m = p->model;
	const uint32_t widths[NR_OPS_BUFFERS] = { m->dim,  m->dim, m->wide,
						  m->wide, m->ffn, p->vocab };

	return widths[b];
}

static void peek(const struct forward *f, enum ops_buffer b, uint32_t row,
		 float *to)
{
	CHECK_EQ(f->ops->peek(f->ctx, b, row, 1, to), 0);
}

/*
 * The worst error of @b's rows, against the largest number of each; then both
 * have ref's, rounded where @b is BF16 on the device.
 */
static double meet(const struct pair *p, enum ops_buffer b)
{
	uint32_t n = width(p, b);
	float scale = b == OPS_Q ? p->model->scale : 1;
	float ref[MAX_ROW], gpu[MAX_ROW];
	double most = 0;

	for (uint32_t r = 0; r < NR_ROWS; r++) {
		double error = 0, largest = 0;

		peek(p->ref, b, r, ref);
		peek(p->gpu, b, r, gpu);
		for (uint32_t i = 0; i < n; i++) {
			double e = fabs((double)gpu[i] * scale - ref[i]);

			/* a NaN stays */
			error = e <= error ? error : e;
			largest = fmax(largest, fabs((double)ref[i]));
			gpu[i] = ref[i] / scale;
			if (b != OPS_X && b != OPS_LOGITS)
				gpu[i] = round_bf16(gpu[i]);
			ref[i] = gpu[i] * scale;
		}
		error /= largest;
		most = error <= most ? most : error;
		CHECK_EQ(p->ref->ops->poke(p->ref->ctx, b, r, 1, ref), 0);
		CHECK_EQ(p->gpu->ops->poke(p->gpu->ctx, b, r, 1, gpu), 0);
	}
	return most;
}

static double worst[NR_OPS_BUFFERS];

/* One op on both, then what it has made of two buffers (or one, twice). */
#define BOTH(call, b1, most1, b2, most2)                                       \
	do {                                                                   \
		const struct forward *f = p->ref;                              \
		double e1, e2;                                                 \
		CHECK_EQ(call, 0);                                             \
		f = p->gpu;                                                    \
		CHECK_EQ(call, 0);                                             \
		e1 = meet(p, b1);                                              \
		e2 = b2 == b1 ? 0 : meet(p, b2);                               \
		worst[b1] = fmax(worst[b1], e1);                               \
		worst[b2] = fmax(worst[b2], e2);                               \
		CHECK(e1 < (most1));                                           \
		CHECK(e2 < (most2));                                           \
	} while (0)

#define F32_NEAR  1e-6
#define BF16_NEAR 0x1.01p-8
#define F16_NEAR  0x1.01p-11
#define SAME	  1e-30 /* bits */
/* where ref takes 8 bits of the input, and the device 16 */
#define CODES_NEAR 0x1p-5
#define INT8_NEAR  0x1p-4 /* 8 bits of both, against F32 of both */

static void run(const struct pair *p, const struct step *s)
{
	enum kind kind = p->kind;
	bool whole = kind == PACKED || kind == W8A8; /* F32, then codes */
	/* what is kept for a product, and what comes of it */
	double kept = kind == F16 ? F16_NEAR : whole ? F32_NEAR : BF16_NEAR;
	double coded = kind == INT8 ? INT8_NEAR : CODES_NEAR;
	double made = whole ? SAME : kind >= MIXED ? coded : F32_NEAR;
	double wide = kind >= MIXED ? coded : 0;
	/*
	 * keys, values and p are rounded as well as the answer; of W8A8 scores
	 * are off as products are, and p is a power of that
	 */
	double attended = kind == INT8 ? 0x1p-2 : 4 * BF16_NEAR + wide;
	bool codes = kind == PACKED || kind == MIXED;

	BOTH(f->ops->embed_norm(f->ctx, s), OPS_X, codes ? BF16_NEAR : SAME,
	     OPS_XN, codes ? 2 * BF16_NEAR : kept);
	for (uint32_t l = 0; l < p->model->layers; l++) {
		BOTH(f->ops->qkv_rope_kv(f->ctx, s, l), OPS_Q, BF16_NEAR + wide,
		     OPS_Q, 1);
		BOTH(f->ops->attention(f->ctx, s, l), OPS_A, attended, OPS_A,
		     1);
		BOTH(f->ops->out_norm(f->ctx, s, l), OPS_X, made, OPS_XN,
		     kept + wide);
		BOTH(f->ops->gate_up(f->ctx, s, l), OPS_H,
		     whole ? SAME : kept + wide, OPS_H, 1);
		/* the head is not rounded: before it XN is BF16 */
		if (l + 1 == p->model->layers && kind == W8A8)
			kept = BF16_NEAR;
		BOTH(f->ops->down_norm(f->ctx, s, l), OPS_X, made, OPS_XN,
		     kept + wide);
	}
	BOTH(f->ops->head(f->ctx, s, 0, NR_ROWS), OPS_LOGITS,
	     kind == W8A8 ? F32_NEAR : made, OPS_LOGITS, 1);
}

static void print_worst(void)
{
	printf("# %s: X %.1e, XN %.1e, Q %.1e, A %.1e, H %.1e, LOGITS %.1e\n",
	       test_row, worst[OPS_X], worst[OPS_XN], worst[OPS_Q],
	       worst[OPS_A], worst[OPS_H], worst[OPS_LOGITS]);
	memset(worst, 0, sizeof(worst));
}

/* @q8: keys and values of 8 bits, on both; else as each has them. */
static void compare(const struct model *m, enum kind kind, bool q8)
{
	struct pair p = { .model = m, .kind = kind };
	struct backend_options of_ref = { .ops = "ref", .threads = 1 }, of_gpu;
	struct drive ref, gpu;
	char path[128];
	struct step s;

	snprintf(path, sizeof(path), "tests/data/%s", m->path);
	ROW(path);
	of_ref.model = path;
	of_ref.kv = q8 ? BACKEND_KV_Q8 : BACKEND_KV_F32;
	of_gpu = gpu_options(path);
	of_gpu.kv = q8 ? BACKEND_KV_Q8 : BACKEND_KV_AUTO;
	of_gpu.each_op = true;
	if (kind == W8A8)
		of_ref.weights = BACKEND_WEIGHTS_INT8;
	if (kind == W8A8 || kind == INT8)
		of_gpu.weights = BACKEND_WEIGHTS_INT8;
	drive_open_with(&ref, &of_ref);
	gpu_open_opt(&gpu, &of_gpu);
	CHECK(gpu.be->info.arith != ref.be->info.arith);
	p.ref = model_forward(ref.be);
	p.gpu = model_forward(gpu.be);
	p.vocab = ref.vocab;
	s = make_step(p.vocab);
	run(&p, &s);
	print_worst();
	drive_close(&gpu);
	drive_close(&ref);
}

#define NR_MODELS (sizeof(models) / sizeof(*models))

TEST(each_op_is_that_of_plain_c_but_for_its_roundings)
{
	for (size_t i = 0; i < 2 * NR_MODELS; i++)
		compare(&models[i / 2], models[i / 2].kind, i % 2);
}

/* Products of layers are the CPU's to the bit, residual stream included. */
TEST(w8a8_is_the_CPU_s_in_every_linear_layer)
{
	for (size_t i = 0; i < 2 * NR_MODELS; i++)
		if (models[i / 2].kind <= F16)
			compare(&models[i / 2], W8A8, i % 2);
}

/* The F32 that is rounded to 8 bits is ref's, so what is off is that. */
TEST(w8a8_is_near_the_weights_it_was_made_of)
{
	for (size_t i = 0; i < NR_MODELS; i++)
		if (models[i].kind <= F16)
			compare(&models[i], INT8, false);
}
