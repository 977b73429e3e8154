/* SPDX-License-Identifier: MIT */
/*
 * quantized.h - small checkpoints in every quantized form, written into the
 * scratch directory.  Codes, zero points and scales are a stream of bytes that
 * the tensor's name seeds; tests/data/quantized has another program that makes
 * the same bytes and says what they mean.
 */
#ifndef TESTS_QUANTIZED_H
#define TESTS_QUANTIZED_H

#include "base/err.h"
#include "base/json.h"
#include "kernels/half.h"
#include "tests/model/scratch.h"
#include "tests/test.h"

#include <math.h>

#define QZ_DIM	  256u
#define QZ_FFN	  384u
#define QZ_HEADS  4u
#define QZ_KV	  1u
#define QZ_HEAD	  64u
#define QZ_LAYERS 2u
#define QZ_VOCAB  96u

static const struct qz_form {
	const char *name;
	const char *config; /* of quantization_config */
} qz_forms[] = {
	{ "fp8-tensor",
	  "\"quant_method\":\"fp8\",\"activation_scheme\":\"static\"" },
	{ "fp8-block", "\"quant_method\":\"fp8\",\"fmt\":\"e4m3\","
		       "\"activation_scheme\":\"dynamic\","
		       "\"weight_block_size\":[128,128]" },
	{ "fp8-channel",
	  "\"quant_method\":\"compressed-tensors\","
	  "\"format\":\"float-quantized\",\"ignore\":[\"lm_head\"],"
	  "\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],"
	  "\"input_activations\":{\"num_bits\":8,\"type\":\"float\"},"
	  "\"weights\":{\"num_bits\":8,\"type\":\"float\",\"symmetric\":true,"
	  "\"strategy\":\"channel\",\"group_size\":null}}}" },
	{ "fbgemm",
	  "\"quant_method\":\"fbgemm_fp8\",\"activation_scale_ub\":1200.0,"
	  "\"modules_to_not_convert\":[\"lm_head\"]" },
	{ "gptq", "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128,"
		  "\"desc_act\":false,\"sym\":false" },
	{ "gptq-v2-row",
	  "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":-1,"
	  "\"checkpoint_format\":\"gptq_v2\"" },
	{ "awq", "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,"
		 "\"version\":\"GEMM\",\"zero_point\":true" },
	{ "packed",
	  "\"quant_method\":\"compressed-tensors\","
	  "\"format\":\"pack-quantized\",\"config_groups\":{\"group_0\":{"
	  "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,"
	  "\"strategy\":\"group\",\"group_size\":128}}}" },
	{ "packed-zeros",
	  "\"quant_method\":\"compressed-tensors\","
	  "\"format\":\"pack-quantized\",\"config_groups\":{\"group_0\":{"
	  "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"symmetric\":false,"
	  "\"strategy\":\"group\",\"group_size\":128}}}" },
	{ "int8",
	  "\"quant_method\":\"compressed-tensors\","
	  "\"format\":\"int-quantized\",\"config_groups\":{\"group_0\":{"
	  "\"input_activations\":{\"num_bits\":8,\"type\":\"int\","
	  "\"dynamic\":true,\"symmetric\":true,\"strategy\":\"token\"},"
	  "\"weights\":{\"num_bits\":8,\"type\":\"int\",\"symmetric\":true,"
	  "\"strategy\":\"channel\",\"group_size\":null}}}" },
	{ "int8-tensor",
	  "\"quant_method\":\"compressed-tensors\","
	  "\"format\":\"int-quantized\",\"config_groups\":{\"group_0\":{"
	  "\"weights\":{\"num_bits\":8,\"type\":\"int\",\"strategy\":"
	  "\"tensor\"}}}" },
	{ "plain", NULL }, /* BF16 */
};
#define NR_QZ	 (sizeof(qz_forms) / sizeof(qz_forms[0]) - 1)
#define QZ_PLAIN NR_QZ /* the last one */

/* A file in the making: its header, and its data. */
struct qz_file {
	const char *form;
	char json[1 << 16];
	uint8_t data[2 << 20];
	size_t json_size, size;
};

/* @n bytes of the stream of @form/@name. */
static inline void qz_stream(const char *form, const char *name, uint8_t *to,
			     size_t n)
{
	uint64_t state = 0xcbf29ce484222325ull, z = 0;
	char full[160];

	snprintf(full, sizeof(full), "%s/%s", form, name);
	for (const char *c = full; *c; c++)
		state = (state ^ (uint8_t)*c) * 0x100000001b3ull;
	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0) {
			z = state += 0x9e3779b97f4a7c15ull;
			z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
			z = (z ^ z >> 27) * 0x94d049bb133111ebull;
			z ^= z >> 31;
		}
		to[i] = (uint8_t)(z >> i % 8 * 8);
	}
}

/* Tensor @name of @type, @size bytes of [a, b] (b 0: [a]; a 0: one number);
 * where its data goes. */
static inline uint8_t *qz_tensor(struct qz_file *f, const char *name,
				 const char *type, uint32_t a, uint32_t b,
				 size_t size)
{
	char shape[32] = "";
	uint8_t *at = f->data + f->size;

	if (b)
		snprintf(shape, sizeof(shape), "%u,%u", a, b);
	else if (a)
		snprintf(shape, sizeof(shape), "%u", a);
	f->json_size += (size_t)snprintf(
		f->json + f->json_size, sizeof(f->json) - f->json_size,
		"%c\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":"
		"[%zu,%zu]}",
		f->json_size ? ',' : '{', name, type, shape, f->size,
		f->size + size);
	f->size += size;
	CHECK(f->json_size < sizeof(f->json) && f->size < sizeof(f->data));
	return at;
}

static inline void qz_put(uint8_t *to, const char *type, size_t i, float v)
{
	uint16_t h = !strcmp(type, "F16") ? f32_to_f16(v) : f32_to_bf16(v);

	if (!strcmp(type, "F32"))
		memcpy(to + 4 * i, &v, 4);
	else
		memcpy(to + 2 * i, &h, 2);
}

/* Numbers base + byte / divisor, the byte with a sign. */
static inline void qz_plain(struct qz_file *f, const char *name,
			    const char *type, uint32_t a, uint32_t b,
			    float base, float divisor)
{
	size_t n = (size_t)a * (b ? b : 1);
	static uint8_t bytes[QZ_FFN * QZ_DIM];
	uint8_t *to = qz_tensor(f, name, type, a, b,
				n * (strcmp(type, "F32") ? 2 : 4));

	qz_stream(f->form, name, bytes, n);
	for (size_t i = 0; i < n; i++)
		qz_put(to, type, i, base + (float)(int8_t)bytes[i] / divisor);
}

/* Scales 64..127 * 2^-places. */
static inline void qz_scales(struct qz_file *f, const char *name,
			     const char *type, uint32_t a, uint32_t b,
			     int places)
{
	size_t n = (size_t)(a ? a : 1) * (b ? b : 1);
	uint8_t bytes[2048], *to = qz_tensor(f, name, type, a, b,
					     n * (strcmp(type, "F32") ? 2 : 4));

	CHECK(n <= sizeof(bytes));
	qz_stream(f->form, name, bytes, n);
	for (size_t i = 0; i < n; i++)
		qz_put(to, type, i,
		       ldexpf((float)(64 + bytes[i] % 64), -places));
}

static inline void qz_words(struct qz_file *f, const char *name, uint32_t a,
			    uint32_t b)
{
	size_t size = (size_t)a * b * 4;

	qz_stream(f->form, name, qz_tensor(f, name, "I32", a, b, size), size);
}

static inline void qz_i8(struct qz_file *f, const char *name, uint32_t a,
			 uint32_t b)
{
	size_t n = (size_t)a * b;

	qz_stream(f->form, name, qz_tensor(f, name, "I8", a, b, n), n);
}

static inline void qz_e4m3(struct qz_file *f, const char *name, uint32_t a,
			   uint32_t b)
{
	size_t n = (size_t)a * b;
	uint8_t *to = qz_tensor(f, name, "F8_E4M3", a, b, n);

	qz_stream(f->form, name, to, n);
	for (size_t i = 0; i < n; i++)
		if ((to[i] & 0x7f) == 0x7f)
			to[i] &= 0x80;
}

/* Matrix @base, [rows, cols]. */
static inline void qz_matrix(struct qz_file *f, const char *base, uint32_t rows,
			     uint32_t cols)
{
	bool v2 = !strcmp(f->form, "gptq-v2-row");
	uint32_t group = v2 ? cols : 128, groups = cols / group;
	char name[8][128];
	static const char *const end[] = {
		"weight",	    "weight_scale",
		"weight_scale_inv", "qweight",
		"qzeros",	    "scales",
		"weight_packed",    "weight_zero_point",
	};

	for (int i = 0; i < 8; i++)
		snprintf(name[i], sizeof(name[i]), "%s.%s", base, end[i]);
	if (!strcmp(f->form, "plain")) {
		qz_plain(f, name[0], "BF16", rows, cols, 0, 1024);
	} else if (!strcmp(f->form, "fp8-tensor")) {
		char input[128];

		snprintf(input, sizeof(input), "%s.input_scale", base);
		qz_e4m3(f, name[0], rows, cols);
		qz_scales(f, name[1], "F32", 0, 0, 17);
		qz_scales(f, input, "F32", 0, 0, 7);
	} else if (!strcmp(f->form, "fp8-block")) {
		qz_e4m3(f, name[0], rows, cols);
		qz_scales(f, name[2], "F32", (rows + 127) / 128, cols / 128,
			  17);
	} else if (f->form[0] == 'f') {
		qz_e4m3(f, name[0], rows, cols);
		qz_scales(f, name[1], f->form[1] == 'b' ? "F32" : "BF16", rows,
			  1, 17);
	} else if (f->form[0] == 'g') {
		qz_words(f, name[3], cols / 8, rows);
		qz_words(f, name[4], groups, rows / 8);
		qz_scales(f, name[5], "F16", groups, rows, 13);
		if (!v2) {
			char order[128];
			uint8_t *to;

			snprintf(order, sizeof(order), "%s.g_idx", base);
			to = qz_tensor(f, order, "I32", cols, 0, 4 * cols);
			for (uint32_t k = 0; k < cols; k++)
				memcpy(to + 4 * k, &(uint32_t){ k / group }, 4);
		}
	} else if (f->form[0] == 'i') {
		qz_i8(f, name[0], rows, cols);
		if (f->form[4]) /* int8-tensor */
			qz_scales(f, name[1], "F32", 1, 0, 17);
		else
			qz_scales(f, name[1], "BF16", rows, 1, 17);
	} else if (f->form[0] == 'a') {
		qz_words(f, name[3], cols, rows / 8);
		qz_words(f, name[4], groups, rows / 8);
		qz_scales(f, name[5], "F16", groups, rows, 13);
	} else {
		qz_words(f, name[6], rows, cols / 8);
		qz_scales(f, name[1], "BF16", rows, groups, 13);
		if (f->form[6])
			qz_words(f, name[7], rows / 8, groups);
	}
}

static const struct {
	const char *name;
	uint32_t rows, cols;
} qz_matrices[] = {
	{ "self_attn.q_proj", QZ_HEADS *QZ_HEAD, QZ_DIM },
	{ "self_attn.k_proj", QZ_KV *QZ_HEAD, QZ_DIM },
	{ "self_attn.v_proj", QZ_KV *QZ_HEAD, QZ_DIM },
	{ "self_attn.o_proj", QZ_DIM, QZ_HEADS *QZ_HEAD },
	{ "mlp.gate_proj", QZ_FFN, QZ_DIM },
	{ "mlp.up_proj", QZ_FFN, QZ_DIM },
	{ "mlp.down_proj", QZ_DIM, QZ_FFN },
};

static inline void qz_config(const char *quantization)
{
	char json[2048];

	snprintf(json, sizeof(json),
		 "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":%u,"
		 "\"hidden_size\":%u,\"intermediate_size\":%u,"
		 "\"num_hidden_layers\":%u,\"num_attention_heads\":%u,"
		 "\"num_key_value_heads\":%u,\"max_position_embeddings\":512,"
		 "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0%s%s%s}",
		 QZ_VOCAB, QZ_DIM, QZ_FFN, QZ_LAYERS, QZ_HEADS, QZ_KV,
		 quantization ? ",\"quantization_config\":{" : "",
		 quantization ? quantization : "", quantization ? "}" : "");
	scratch_write("config.json", json, strlen(json));
}

/* The checkpoint of form @i; its directory.  The file also stays in *f. */
static inline const char *qz_write(size_t i, struct qz_file *f)
{
	static uint8_t whole[sizeof(f->data) + sizeof(f->json) + 8];
	char base[96];

	*f = (struct qz_file){ .form = qz_forms[i].name };
	ROW(f->form);
	qz_config(qz_forms[i].config);
	qz_plain(f, "model.embed_tokens.weight", "BF16", QZ_VOCAB, QZ_DIM, 0,
		 64);
	qz_plain(f, "model.norm.weight", "F32", QZ_DIM, 0, 1, 512);
	qz_plain(f, "lm_head.weight", "BF16", QZ_VOCAB, QZ_DIM, 0, 256);
	for (uint32_t l = 0; l < QZ_LAYERS; l++) {
		snprintf(base, sizeof(base),
			 "model.layers.%u.input_layernorm.weight", l);
		qz_plain(f, base, "F32", QZ_DIM, 0, 1, 512);
		snprintf(base, sizeof(base),
			 "model.layers.%u.post_attention_layernorm.weight", l);
		qz_plain(f, base, "F32", QZ_DIM, 0, 1, 512);
		for (size_t m = 0; m < 7; m++) {
			snprintf(base, sizeof(base), "model.layers.%u.%s", l,
				 qz_matrices[m].name);
			qz_matrix(f, base, qz_matrices[m].rows,
				  qz_matrices[m].cols);
		}
	}
	strcpy(f->json + f->json_size, "}");
	scratch_write("model.safetensors", whole,
		      scratch_tensors(whole, f->json, f->data, f->size));
	return scratch_dir();
}

/* golden.json's part of form @i; borrowed from @golden. */
static inline const json_t *qz_golden(const json_t *golden, size_t i)
{
	return json_object_get(json_object_get(golden, "models"),
			       qz_forms[i].name);
}

static inline json_t *qz_read(void)
{
	json_t *j = json_read_file("tests/data/quantized/golden.json", NULL);

	CHECK(j);
	return j;
}

#endif
