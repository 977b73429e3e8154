/* SPDX-License-Identifier: MIT */
/* seam test: matrices are repacked by several threads */
/*
 * Checkpoints in FP8, INT8 and 4 bits, in the forms that people publish: the
 * numbers of their matrices bit for bit, and logits, against a program of
 * another language (tests/data/quantized); plain ones rounded to INT8 when they
 * are opened; and what is wrong with one is one line.
 */
#include "tests/model/drive.h"
#include "tests/model/quantized.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/figures.h"
#include "daemon/model/layers.h"
#include "daemon/model/weights.h"
#include "kernels/host.h"

#include <errno.h>
#include <math.h>
#include <sodium.h>

static struct qz_file file;
static struct err err;

static size_t form_called(const char *name)
{
	for (size_t i = 0; i < NR_QZ; i++)
		if (!strcmp(qz_forms[i].name, name))
			return i;
	abort();
}

static void add_matrix(crypto_generichash_state *h, const struct weight *w)
{
	static float row[QZ_FFN];

	for (uint32_t r = 0; r < w->rows; r++) {
		weight_row(w, r, row);
		crypto_generichash_update(h, (const uint8_t *)row,
					  w->cols * sizeof(*row));
	}
}

/* As golden.json has it. */
static void hash_of(const struct layers *p, char hex[33])
{
	crypto_generichash_state h;
	uint8_t sum[16];

	crypto_generichash_init(&h, NULL, 0, sizeof(sum));
	for (uint32_t l = 0; l < QZ_LAYERS; l++) {
		const struct ops_layer *w = &p->layer[l];

		add_matrix(&h, &w->q);
		add_matrix(&h, &w->k);
		add_matrix(&h, &w->v);
		add_matrix(&h, &w->o);
		add_matrix(&h, &w->gate);
		add_matrix(&h, &w->up);
		add_matrix(&h, &w->down);
	}
	crypto_generichash_final(&h, sum, sizeof(sum));
	sodium_bin2hex(hex, 33, sum, sizeof(sum));
}

static uint64_t bytes_of(const struct weight *w)
{
	return (uint64_t)w->rows * w->row_stride;
}

/* What llm plan counts: rows, and norms in F32. */
static uint64_t served(const struct layers *p)
{
	uint64_t sum = bytes_of(&p->ends.embed) + bytes_of(&p->ends.head) +
		       (2 * QZ_LAYERS + 1) * QZ_DIM * 4;

	for (uint32_t l = 0; l < QZ_LAYERS; l++) {
		const struct ops_layer *w = &p->layer[l];

		sum += bytes_of(&w->q) + bytes_of(&w->k) + bytes_of(&w->v) +
		       bytes_of(&w->o) + bytes_of(&w->gate) + bytes_of(&w->up) +
		       bytes_of(&w->down);
	}
	return sum;
}

TEST(the_numbers_are_those_of_the_programs_that_made_them)
{
	json_t *golden = qz_read();

	for (size_t i = 0; i < NR_QZ; i++) {
		const char *dir = qz_write(i, &file);
		char kind = file.form[0];
		struct checkpoint c;
		struct weights w;
		struct layers p;
		const char *first;
		char hex[33];
		uint32_t n;

		CHECK_EQ(checkpoint_open(&c, dir, &err), 0);
		CHECK_EQ(weights_init(&w, &c.tensors, &c.arch.quant, &err), 0);
		CHECK_EQ(layers_bind(&p, &c.arch, &w, &err), 0);
		hash_of(&p, hex);
		CHECK_STR(hex, json_string_value(json_object_get(
				       qz_golden(golden, i), "hash")));
		CHECK_EQ(p.layer[1].up.type, kind == 'f'   ? WEIGHT_FP8
					     : kind == 'i' ? WEIGHT_INT8
							   : WEIGHT_INT4);
		CHECK_EQ(p.layer[1].up.simple,
			 kind == 'f' ? strcmp(file.form, "fp8-block") != 0
				     : !strcmp(file.form, "packed"));
		CHECK_EQ(p.ends.head.type, WEIGHT_BF16);
		CHECK_EQ(figures_served(&c.arch, &c.tensors), served(&p));
		first = weights_unused(&w, &n);
		CHECK_STR(first ? first : "none", "none");
		layers_deinit(&p);
		weights_deinit(&w);
		checkpoint_close(&c);
	}
	json_decref(golden);
}

/* The last logits of the golden ids with @ops, in steps of @chunk. */
static void last_logits(const char *dir, const char *ops, uint32_t chunk,
			enum backend_weights weights, const json_t *golden,
			float logits[QZ_VOCAB])
{
	const struct backend_options opt = {
		.model = dir,
		.ops = ops,
		.threads = 2,
		.kv = BACKEND_KV_F32,
		.weights = weights,
	};
	const json_t *list = json_object_get(golden, "ids");
	uint32_t ids[64], n = (uint32_t)json_array_size(list);
	struct drive d;
	struct seq s;

	for (uint32_t i = 0; i < n; i++)
		ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	seq_init(&s, ids, n);
	drive_open_with(&d, &opt);
	while (s.computed < n) {
		drive_begin(&d);
		drive_span(&d, &s,
			   n - s.computed < chunk ? n - s.computed : chunk,
			   OUT_LAST, NULL, true);
		drive_run(&d);
	}
	drive_logits(&d, d.batch.out, logits);
	drive_close(&d);
}

/* The root mean square of the error, in units of the logits' own. */
static double rms_error(const float *got, const json_t *want)
{
	double error = 0, all = 0;

	for (size_t i = 0; i < QZ_VOCAB; i++) {
		double w = json_number_value(json_array_get(want, i));

		error += (got[i] - w) * (got[i] - w);
		all += w * w;
	}
	return sqrt(error / all);
}

/* ref's, which those of all op sets are, however a text is cut. */
static void same_logits(const char *dir, enum backend_weights weights,
			const json_t *golden, float first[QZ_VOCAB])
{
	static const char *const sets[] = { "ref", "avx2", "avx512" };
	float got[QZ_VOCAB];

	last_logits(dir, "ref", 64, weights, golden, first);
	for (size_t s = 0; s < 3; s++) {
		if (!ops_find(sets[s]))
			continue;
		last_logits(dir, sets[s], 7, weights, golden, got);
		CHECK(!memcmp(first, got, sizeof(got)));
	}
}

/* FP8 is multiplied with F32; before 4 bits and INT8 inputs have 8 (P1, P3). */
TEST(logits_are_those_of_float64)
{
	json_t *golden = qz_read();

	for (size_t i = 0; i < NR_QZ; i++) {
		const char *dir = qz_write(i, &file);
		const json_t *want =
			json_object_get(qz_golden(golden, i), "logits");
		float got[QZ_VOCAB];
		double e;

		same_logits(dir, BACKEND_WEIGHTS_AS_IS, golden, got);
		e = rms_error(got, want);
		printf("# %s: off by %.2g of the logits\n", file.form, e);
		CHECK(e < (file.form[0] == 'f' ? 1e-5 : 0.03));
	}
	json_decref(golden);
}

/* What is lost is the rounding of weights and inputs: 127 codes of each. */
TEST(a_plain_checkpoint_is_rounded_to_INT8_when_it_is_asked_for)
{
	const char *dir = qz_write(QZ_PLAIN, &file);
	json_t *golden = qz_read();
	const json_t *want =
		json_object_get(qz_golden(golden, QZ_PLAIN), "logits");
	float plain[QZ_VOCAB], got[QZ_VOCAB];
	const struct ops_ctx *ctx;
	struct drive d;
	double e;

	same_logits(dir, BACKEND_WEIGHTS_AS_IS, golden, plain);
	CHECK(rms_error(plain, want) < 1e-5);
	same_logits(dir, BACKEND_WEIGHTS_INT8, golden, got);
	e = rms_error(got, want);
	printf("# plain as int8: off by %.2g of the logits\n", e);
	CHECK(e > 1e-4 && e < 0.03);
	json_decref(golden);
	/* matrices of layers, and no others */
	drive_open_with(&d, &(struct backend_options){
				    .model = dir,
				    .threads = 1,
				    .weights = BACKEND_WEIGHTS_INT8,
			    });
	ctx = model_forward(d.be)->ctx;
	CHECK_EQ(ctx->layer[0].q.type, WEIGHT_INT8);
	CHECK_EQ(ctx->layer[1].down.type, WEIGHT_INT8);
	CHECK_EQ(ctx->ends.embed.type, WEIGHT_BF16);
	CHECK_EQ(ctx->ends.head.type, WEIGHT_BF16);
	drive_close(&d);
}

/* Whether the pages in the middle of @w's memory are zeros. */
static bool given_back(const struct weight *w)
{
	const uint8_t *p = w->data;

	p += 4096 - (uintptr_t)p % 4096;
	for (uint32_t i = 0; i < 4096; i++)
		if (p[i])
			return false;
	return true;
}

/* One token after @s, whose logits are those of the last step. */
static void step_again(struct drive *d, struct seq *s, float logits[QZ_VOCAB])
{
	s->computed = s->known - 1;
	drive_begin(d);
	drive_span(d, s, 1, OUT_LAST, NULL, true);
	drive_run(d);
	drive_logits(d, d->batch.out, logits);
}

TEST(rows_given_back_for_a_faster_form_are_missed_by_no_step)
{
	float want[QZ_VOCAB], got[QZ_VOCAB];
	const struct forward *f;
	uint32_t ids[9] = { 1, 5, 9, 2, 7, 44, 3, 8, 6 };
	struct drive d;
	struct seq s;
	int n = 0;

	if (!ops_find("avx2"))
		SKIP("no op set with a faster form");
	drive_open(&d, qz_write(form_called("awq"), &file), NULL, 2);
	f = model_forward(d.be);
	seq_init(&s, ids, 9);
	drive_begin(&d);
	drive_span(&d, &s, 9, OUT_LAST, NULL, true);
	drive_run(&d);
	drive_logits(&d, d.batch.out, want);
	/* steps go on while rows are copied, and after */
	for (; n < 100000 && !given_back(&f->ctx->layer[1].gate); n++) {
		step_again(&d, &s, got);
		CHECK(!memcmp(want, got, sizeof(want)));
	}
	printf("# given back after %d steps\n", n);
	CHECK(given_back(&f->ctx->layer[1].gate));
	step_again(&d, &s, got);
	CHECK(!memcmp(want, got, sizeof(want)));
	drive_close(&d);
}

/* ---- what is refused */

static int open_as(enum backend_weights weights)
{
	struct backend_options opt = { .model = scratch_dir(),
				       .weights = weights };
	struct backend *be = NULL;
	int ret;

	memset(&err, 0, sizeof(err));
	ret = model_open(&opt, &be, &err);
	if (!ret)
		be->close(be);
	return ret;
}

static int open_it(void)
{
	return open_as(BACKEND_WEIGHTS_AS_IS);
}

TEST(a_quantization_that_is_not_supported_is_one_line)
{
	static const struct {
		const char *config, *part;
	} rows[] = {
		{ "\"bits\":4", "quant_method is absent" },
		{ "\"quant_method\":\"bitsandbytes\"",
		  "quant_method is bitsandbytes, supported are fp8" },
		{ "\"quant_method\":7", "quant_method is" },
		{ "\"quant_method\":\"fp8\",\"weight_block_size\":[64,128]",
		  "weight_block_size is not [128, 128]" },
		{ "\"quant_method\":\"fp8\",\"weight_block_size\":128",
		  "weight_block_size is not [128, 128]" },
		{ "\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"",
		  "fmt is e5m2, supported is e4m3" },
		{ "\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":128",
		  "bits is 8, supported are 4" },
		{ "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32",
		  "group_size is 32, supported are multiples of 128" },
		{ "\"quant_method\":\"gptq\",\"bits\":4", "group_size is 0" },
		{ "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":"
		  "1099511627776",
		  "group_size is 1099511627776" },
		{ "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128,"
		  "\"checkpoint_format\":\"marlin\"",
		  "checkpoint_format is marlin, supported are gptq, gptq_v2" },
		{ "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,"
		  "\"version\":\"gemv\"",
		  "version is gemv, supported is gemm" },
		{ "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,"
		  "\"zero_point\":false",
		  "zero_point is false" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"marlin-24\"",
		  "format is marlin-24, supported are float-quantized" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"int-quantized\",\"config_groups\":{\"g\":{\"weights\":{"
		  "\"type\":\"int\",\"num_bits\":8,\"strategy\":\"channel\","
		  "\"symmetric\":false}}}",
		  "symmetric is false, with int-quantized supported is true" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"int-quantized\",\"config_groups\":{\"g\":{\"weights\":{"
		  "\"type\":\"int\",\"num_bits\":8,\"strategy\":\"group\"}}}",
		  "strategy is group, supported are tensor, channel" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"int-quantized\",\"config_groups\":{\"g\":{\"weights\":{"
		  "\"type\":\"int\",\"num_bits\":4,\"strategy\":\"channel\"}}}",
		  "weights are int of 4 bits, with int-quantized supported are "
		  "int of 8" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"pack-quantized\"",
		  "config_groups is absent" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"pack-quantized\",\"config_groups\":{\"g\":{}}",
		  "g has no weights" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"pack-quantized\",\"config_groups\":{\"g\":{\"weights\":{"
		  "\"type\":\"int\",\"num_bits\":8,\"strategy\":\"channel\"}}}",
		  "weights are int of 8 bits" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"float-quantized\",\"config_groups\":{\"g\":{\"weights\":{"
		  "\"type\":\"float\",\"num_bits\":8,\"strategy\":\"group\"}}}",
		  "strategy is group, supported are tensor, channel, block" },
		{ "\"quant_method\":\"compressed-tensors\",\"format\":"
		  "\"pack-quantized\",\"config_groups\":{\"a\":{\"weights\":{"
		  "\"type\":\"int\",\"num_bits\":4,\"strategy\":\"channel\"}},"
		  "\"b\":{\"weights\":{\"type\":\"int\",\"num_bits\":4,"
		  "\"strategy\":\"group\",\"group_size\":128}}}",
		  "b is not as the groups before it" },
	};

	qz_write(form_called("gptq"), &file);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].config);
		qz_config(rows[i].config);
		CHECK_EQ(open_it(), -EINVAL);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!strchr(err.text, '\n'));
	}
}

/* The first @from in the header becomes @to, as long, and the file is written
 * anew. */
static void edit(const char *from, const char *to)
{
	static uint8_t whole[sizeof(file.data) + sizeof(file.json) + 8];
	char *at = strstr(file.json, from);

	CHECK(at && strlen(from) == strlen(to));
	memcpy(at, to, strlen(to));
	scratch_write("model.safetensors", whole,
		      scratch_tensors(whole, file.json, file.data, file.size));
}

/* Where tensor @name's data begins. */
static uint8_t *data_of(const char *name)
{
	char key[160];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\"", name);
	at = strstr(file.json, key);
	CHECK(at);
	at = strstr(at, "offsets\":[");
	CHECK(at);
	return file.data + strtoul(at + 10, NULL, 10);
}

#define UP "model.layers.1.mlp.up_proj"

TEST(tensors_that_do_not_fit_are_one_line)
{
	static const struct {
		const char *form, *from, *to, *part;
	} rows[] = {
		{ "gptq", "0.mlp.gate_proj.qzeros", "0.mlp.gate_proj.qZeros",
		  "model.layers.0.mlp.gate_proj.qzeros is missing" },
		{ "gptq", "\"I32\",\"shape\":[32,256]",
		  "\"I32\",\"shape\":[256,32]",
		  "self_attn.q_proj.qweight is I32 [256, 32], config.json "
		  "needs I32 [32, 256]" },
		{ "gptq", "q_proj.scales\":{\"dtype\":\"F16\"",
		  "q_proj.scales\":{\"dtype\":\"I16\"",
		  "q_proj.scales is I16, allowed F32, F16, BF16" },
		{ "gptq", "\"I32\",\"shape\":[256]", "\"F32\",\"shape\":[256]",
		  "q_proj.g_idx is F32 [256], config.json needs I32 [256]" },
		{ "awq", "\"I32\",\"shape\":[256,32]",
		  "\"I32\",\"shape\":[32,256]",
		  "q_proj.qweight is I32 [32, 256], config.json needs" },
		{ "packed-zeros", "q_proj.weight_zero_point",
		  "q_proj.weight_zero_Point",
		  "q_proj.weight_zero_point is missing" },
		{ "fp8-block", "\"F32\",\"shape\":[2,2]",
		  "\"F32\",\"shape\":[4,1]",
		  "q_proj.weight_scale_inv is [4, 1], for [256, 256] allowed "
		  "are one, [256, 1] and one for 128 x 128" },
		{ "fp8-tensor", "q_proj.weight_scale", "q_proj.weight_Scale",
		  "has neither weight_scale nor weight_scale_inv" },
		{ "int8", "q_proj.weight_scale", "q_proj.weight_Scale",
		  "q_proj.weight has no weight_scale" },
		{ "int8", "\"BF16\",\"shape\":[256,1]",
		  "\"BF16\",\"shape\":[1,256]",
		  "q_proj.weight_scale is [1, 256], for [256, 256] allowed are "
		  "one, [256, 1]" },
		{ "int8", "\"I8\",\"shape\":[256,256]",
		  "\"I8\",\"shape\":[128,512]",
		  "q_proj.weight is I8 [128, 512], config.json needs I8 [256, "
		  "256]" },
		{ "int8", "\"I8\"", "\"U8\"", "is U8, allowed F32" },
		{ "fp8-tensor", "F8_E4M3", "F8_E5M2",
		  "is F8_E5M2, allowed F32" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		qz_write(form_called(rows[i].form), &file);
		ROW(rows[i].part);
		edit(rows[i].from, rows[i].to);
		CHECK(open_it() < 0);
		CHECK(strstr(err.text, rows[i].part));
		CHECK(!strchr(err.text, '\n'));
	}
}

TEST(what_the_data_may_not_say_is_one_line)
{
	static const uint32_t group_1 = 1;
	static const uint16_t infinite = 0x7c00;
	static const float huge = 1e38f;

	qz_write(form_called("fp8-block"), &file);
	data_of(UP ".weight")[77] = 0xff;
	edit("F32", "F32");
	CHECK_EQ(open_it(), -EINVAL);
	CHECK(strstr(err.text, UP ".weight has NaN"));

	qz_write(form_called("fp8-tensor"), &file);
	memcpy(data_of(UP ".weight_scale"), &huge, 4);
	edit("F32", "F32");
	CHECK_EQ(open_it(), -EINVAL);
	CHECK(strstr(err.text, UP ".weight_scale has 1e+38, allowed"));

	qz_write(form_called("gptq"), &file);
	memcpy(data_of(UP ".g_idx") + 40, &group_1, 4);
	edit("F32", "F32");
	CHECK_EQ(open_it(), -EINVAL);
	CHECK(strstr(err.text, UP ".g_idx has column 10 in group 1"));

	qz_write(form_called("gptq"), &file);
	memcpy(data_of(UP ".scales") + 6, &infinite, 2);
	edit("F32", "F32");
	CHECK_EQ(open_it(), -EINVAL);
	CHECK(strstr(err.text, UP ".scales has inf, allowed are finite"));
}

TEST(a_model_whose_columns_128_does_not_divide_is_one_line)
{
	qz_write(form_called("awq"), &file);
	qz_config("\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemm\","
		  "\"group_size\":256");
	CHECK_EQ(open_it(), -EINVAL);
	/* 384 columns in groups of 256; what comes first is its scales */
	CHECK(strstr(err.text, "q_proj.scales is F16 [2, 256], config.json "
			       "needs F16 [1, 256]"));
}

TEST(the_digest_sees_codes_and_scales)
{
	struct backend_options opt = { .model = scratch_dir() };
	uint8_t first[32], again[32];
	struct backend *be;

	qz_write(form_called("gptq"), &file);
	CHECK_EQ(model_open(&opt, &be, &err), 0);
	memcpy(first, be->info.digest, 32);
	be->close(be);
	for (int i = 0; i < 3; i++) {
		static const char *const of[] = { UP ".qweight", UP ".qzeros",
						  UP ".scales" };

		qz_write(form_called("gptq"), &file);
		data_of(of[i])[8] ^= 1;
		edit("F32", "F32");
		CHECK_EQ(model_open(&opt, &be, &err), 0);
		memcpy(again, be->info.digest, 32);
		be->close(be);
		CHECK(memcmp(first, again, 32));
	}

	qz_write(QZ_PLAIN, &file);
	memcpy(data_of(UP ".weight") + 2 * 5 * QZ_DIM, &(uint16_t){ 0x7f80 },
	       2);
	edit("F32", "F32");
	CHECK_EQ(open_it(), 0);
	CHECK_EQ(open_as(BACKEND_WEIGHTS_INT8), -EINVAL);
	CHECK(strstr(err.text, UP ".weight has a number in row 5 that is not "
				  "finite"));
	CHECK_EQ(open_as(BACKEND_WEIGHTS_FP8), -EINVAL);
	CHECK(strstr(err.text, "rounded by GPUs"));
}
