/* SPDX-License-Identifier: MIT */
#include "checkpoint/quant.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Field @key is text, and one of @a and @b, in any case; absent: @a. */
static int one_of(const char *where, const json_t *o, const char *key,
		  const char *a, const char *b, bool *ret_b, struct err *err)
{
	const char *s = a;
	int ret = json_get_str(where, o, key, &s, err);

	if (ret)
		return ret;
	*ret_b = !strcasecmp(s, b);
	if (*ret_b || !strcasecmp(s, a))
		return 0;
	return err_set(err, -EINVAL,
		       "%s: quantization_config: %s is %s, supported %s %s%s%s",
		       where, key, s, strcmp(a, b) ? "are" : "is", a,
		       strcmp(a, b) ? ", " : "", strcmp(a, b) ? b : "");
}

/* Field @key is a list of two 128, or null; *ret: it is there. */
static int read_blocks(const char *where, const json_t *o, const char *key,
		       bool *ret, struct err *err)
{
	const json_t *list = json_object_get(o, key);

	*ret = json_has(o, key);
	if (!*ret)
		return 0;
	for (size_t i = 0; i < 2; i++)
		if (json_array_size(list) != 2 ||
		    json_integer_value(json_array_get(list, i)) != QUANT_BLOCK)
			return err_set(err, -EINVAL,
				       "%s: quantization_config: %s is not "
				       "[128, 128], which is what is supported",
				       where, key);
	return 0;
}

/* Field @key: columns of a group, -1: all. */
static int read_group(struct quant *q, const char *where, const json_t *o,
		      const char *key, struct err *err)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) ||
	    (n != -1 && (n < 1 || n > 1 << 24 || n % QUANT_BLOCK)))
		return err_set(err, -EINVAL,
			       "%s: quantization_config: %s is %lld, supported "
			       "are multiples of 128, and -1 for a row",
			       where, key, (long long)n);
	q->group = n < 0 ? 0 : (uint32_t)n;
	return 0;
}

/* Field @key is 4. */
static int read_bits(const char *where, const json_t *o, const char *key,
		     struct err *err)
{
	uint32_t bits = 0;
	int ret = json_get_u32(where, o, key, 1, 64, &bits, err);

	if (!ret && bits != 4)
		ret = err_set(err, -EINVAL,
			      "%s: quantization_config: %s is %u, supported "
			      "are 4",
			      where, key, bits);
	return ret;
}

/* ---- methods */

static int read_fp8(struct quant *q, const char *where, const json_t *o,
		    struct err *err)
{
	bool same;
	int ret = one_of(where, o, "fmt", "e4m3", "e4m3", &same, err);

	q->form = QUANT_FP8;
	return ret ? ret
		   : read_blocks(where, o, "weight_block_size", &q->blocks,
				 err);
}

static int read_gptq(struct quant *q, const char *where, const json_t *o,
		     struct err *err)
{
	bool second = false;
	int ret;

	q->form = QUANT_GPTQ;
	q->zeros = true;
	if ((ret = read_bits(where, o, "bits", err)) ||
	    (ret = one_of(where, o, "checkpoint_format", "gptq", "gptq_v2",
			  &second, err)))
		return ret;
	q->less_one = !second;
	return read_group(q, where, o, "group_size", err);
}

/* Newer files say w_bit and q_group_size. */
static int read_awq(struct quant *q, const char *where, const json_t *o,
		    struct err *err)
{
	bool same, has_zeros = true;
	int ret;

	q->form = QUANT_AWQ;
	q->zeros = true;
	if ((ret = read_bits(where, o, json_has(o, "bits") ? "bits" : "w_bit",
			     err)) ||
	    (ret = one_of(where, o, "version", "gemm", "gemm", &same, err)) ||
	    (ret = json_get_bool(where, o, "zero_point", &has_zeros, err)))
		return ret;
	if (!has_zeros)
		return err_set(err, -EINVAL,
			       "%s: quantization_config: zero_point is false, "
			       "supported is true",
			       where);
	return read_group(
		q, where, o,
		json_has(o, "group_size") ? "group_size" : "q_group_size", err);
}

/* The formats of compressed-tensors, and the numbers that each is for. */
static const struct compressed {
	const char *name;
	enum quant_form form;
	bool is_int;
	uint32_t bits;
} compressed[] = {
	{ "float-quantized", QUANT_FP8, false, 8 },
	{ "int-quantized", QUANT_INT8, true, 8 },
	{ "pack-quantized", QUANT_ROWS, true, 4 },
};

static int read_strategy(struct quant *q, const char *where, const json_t *w,
			 struct err *err)
{
	static const char *const supported[] = {
		[QUANT_FP8] = "tensor, channel, block",
		[QUANT_INT8] = "tensor, channel",
		[QUANT_ROWS] = "group, channel",
	};
	const char *strategy = "tensor";
	int ret = json_get_str(where, w, "strategy", &strategy, err);

	if (ret)
		return ret;
	if (q->form == QUANT_ROWS && !strcmp(strategy, "group"))
		return read_group(q, where, w, "group_size", err);
	if (q->form == QUANT_FP8 && !strcmp(strategy, "block"))
		return read_blocks(where, w, "block_structure", &q->blocks,
				   err);
	if (!strcmp(strategy, "channel") ||
	    (q->form != QUANT_ROWS && !strcmp(strategy, "tensor")))
		return 0;
	return err_set(err, -EINVAL,
		       "%s: quantization_config: strategy is %s, supported are "
		       "%s",
		       where, strategy, supported[q->form]);
}

/* What a group of layers says of its weights. */
static int read_weights(struct quant *q, const struct compressed *c,
			const char *where, const json_t *w, struct err *err)
{
	bool symmetric = true, is_int = false;
	uint32_t bits = 0;
	int ret;

	if ((ret = one_of(where, w, "type", "float", "int", &is_int, err)) ||
	    (ret = json_get_bool(where, w, "symmetric", &symmetric, err)) ||
	    (ret = json_get_u32(where, w, "num_bits", 1, 64, &bits, err)))
		return ret;
	if (is_int != c->is_int || bits != c->bits)
		return err_set(err, -EINVAL,
			       "%s: quantization_config: weights are %s of %u "
			       "bits, with %s supported are %s of %u",
			       where, is_int ? "int" : "float", bits, c->name,
			       c->is_int ? "int" : "float", c->bits);
	q->zeros = is_int && !symmetric;
	if (q->zeros && q->form == QUANT_INT8)
		return err_set(err, -EINVAL,
			       "%s: quantization_config: symmetric is false, "
			       "with %s supported is true",
			       where, c->name);
	return read_strategy(q, where, w, err);
}

/* Field format: one of the table. */
static int read_format(const char *where, const json_t *o,
		       const struct compressed **ret, struct err *err)
{
	const char *name = compressed[0].name;
	int e = json_get_str(where, o, "format", &name, err);

	for (size_t i = 0; i < sizeof(compressed) / sizeof(*compressed) && !e;
	     i++)
		if (!strcasecmp(name, compressed[i].name)) {
			*ret = &compressed[i];
			return 0;
		}
	return e ? e
		 : err_set(err, -EINVAL,
			   "%s: quantization_config: format is %s, supported "
			   "are float-quantized, int-quantized, "
			   "pack-quantized",
			   where, name);
}

static int read_compressed(struct quant *q, const char *where, const json_t *o,
			   struct err *err)
{
	json_t *groups = json_object_get(o, "config_groups"), *v;
	const struct compressed *format = NULL;
	struct quant first = { 0 };
	const char *key;
	int ret = read_format(where, o, &format, err), n = 0;

	if (ret)
		return ret;
	q->form = format->form;
	json_object_foreach(groups, key, v)
	{
		const json_t *w = json_object_get(v, "weights");
		struct quant one = *q;

		ret = json_is_object(w)
			      ? read_weights(&one, format, where, w, err)
			      : err_set(err, -EINVAL,
					"%s: quantization_config: %s has no "
					"weights",
					where, key);
		if (ret)
			return ret;
		if (n && (one.blocks != first.blocks ||
			  one.group != first.group || one.zeros != first.zeros))
			return err_set(err, -EINVAL,
				       "%s: quantization_config: %s is not as "
				       "the groups before it, supported is one "
				       "kind",
				       where, key);
		first = one;
		n++;
	}
	if (!n)
		return err_set(err, -EINVAL,
			       "%s: quantization_config: config_groups is "
			       "absent or empty",
			       where);
	*q = first;
	return 0;
}

static const struct {
	const char *method;
	int (*read)(struct quant *q, const char *where, const json_t *o,
		    struct err *err);
} methods[] = {
	{ "fp8", read_fp8 },
	{ "fbgemm_fp8", read_fp8 },
	{ "compressed-tensors", read_compressed },
	{ "gptq", read_gptq },
	{ "awq", read_awq },
};

int quant_read(struct quant *q, const char *where, const json_t *cfg,
	       struct err *err)
{
	const json_t *o = json_object_get(cfg, "quantization_config");
	const char *method = NULL;
	struct quant one = { 0 };
	int ret;

	memset(q, 0, sizeof(*q));
	if (!json_has(cfg, "quantization_config"))
		return 0;
	if (!json_is_object(o))
		return err_set(err, -EINVAL,
			       "%s: quantization_config is not an object",
			       where);
	ret = json_get_str(where, o, "quant_method", &method, err);
	if (ret)
		return ret;
	for (size_t i = 0; method && i < sizeof(methods) / sizeof(*methods);
	     i++) {
		if (strcmp(method, methods[i].method))
			continue;
		one.method = methods[i].method;
		ret = methods[i].read(&one, where, o, err);
		if (!ret)
			*q = one;
		return ret;
	}
	return err_set(err, -EINVAL,
		       "%s: quantization_config: quant_method is %s, supported "
		       "are fp8, fbgemm_fp8, compressed-tensors, gptq, awq",
		       where, method ? method : "absent");
}

const char *quant_text(const struct quant *q, char buf[64])
{
	if (q->form == QUANT_NONE)
		snprintf(buf, 64, "no");
	else if (q->form == QUANT_FP8)
		snprintf(buf, 64, "%s, e4m3%s", q->method,
			 q->blocks ? " in blocks of 128 x 128" : "");
	else if (q->form == QUANT_INT8)
		snprintf(buf, 64, "%s, 8 bits, as their input", q->method);
	else if (q->group)
		snprintf(buf, 64, "%s, 4 bits in groups of %u", q->method,
			 q->group);
	else
		snprintf(buf, 64, "%s, 4 bits in groups of a row", q->method);
	return buf;
}
