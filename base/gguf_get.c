/* SPDX-License-Identifier: MIT */
#include "base/gguf_get.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/little.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const kind_names[NR_GGUF_KINDS] = {
	"u8",	"i8",	  "u16",   "i16", "u32", "i32", "f32",
	"bool", "string", "array", "u64", "i64", "f64",
};

static int wrong_kind(const struct gguf *g, const struct gguf_value *v,
		      const char *allowed, struct err *err)
{
	return err_set(err, -EINVAL, "%s: %s is %s%s, not %s", g->where, v->key,
		       v->is_array ? "an array of " : "", kind_names[v->kind],
		       allowed);
}

static bool is_integer(enum gguf_kind k)
{
	return k <= GGUF_I32 || k == GGUF_U64 || k == GGUF_I64;
}

static bool is_number(enum gguf_kind k)
{
	return is_integer(k) || k == GGUF_F32 || k == GGUF_F64;
}

int64_t gguf_int(const struct gguf_value *v, uint64_t i)
{
	uint32_t bytes = gguf_kind_bytes[v->kind];
	uint64_t n = little_get(v->data + i * bytes, bytes);

	switch (v->kind) {
	case GGUF_I8:
		return (int8_t)n;
	case GGUF_I16:
		return (int16_t)n;
	case GGUF_I32:
		return (int32_t)n;
	case GGUF_I64:
		return (int64_t)n;
	default:
		return n > INT64_MAX ? INT64_MAX : (int64_t)n;
	}
}

double gguf_number(const struct gguf_value *v, uint64_t i)
{
	uint64_t n;
	uint32_t word;
	double d;
	float f;

	if (v->kind == GGUF_F32) {
		word = (uint32_t)little_get(v->data + 4 * i, 4);
		memcpy(&f, &word, 4);
		return (double)f;
	}
	if (v->kind == GGUF_F64) {
		n = little_get(v->data + 8 * i, 8);
		memcpy(&d, &n, 8);
		return d;
	}
	return (double)gguf_int(v, i);
}

int gguf_get_u64(const struct gguf *g, const char *key, uint64_t min,
		 uint64_t max, uint64_t *ret, struct err *err)
{
	const struct gguf_value *v = gguf_find(g, key);
	int64_t n;
	bool big;

	if (!v)
		return 0;
	if (v->is_array || !is_integer(v->kind))
		return wrong_kind(g, v, "an integer", err);
	n = gguf_int(v, 0);
	big = v->kind == GGUF_U64 && little_get(v->data, 8) > INT64_MAX;
	if (big || n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return err_set(err, -EINVAL,
			       "%s: %s is %s%" PRId64 ", allowed %" PRIu64
			       " to %" PRIu64,
			       g->where, key, big ? "over " : "", n, min, max);
	*ret = (uint64_t)n;
	return 0;
}

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t min,
		 uint32_t max, uint32_t *ret, struct err *err)
{
	uint64_t n = *ret;
	int r = gguf_get_u64(g, key, min, max, &n, err);

	if (!r)
		*ret = (uint32_t)n;
	return r;
}

int gguf_get_f64(const struct gguf *g, const char *key, double min, double max,
		 double *ret, struct err *err)
{
	const struct gguf_value *v = gguf_find(g, key);
	double d;

	if (!v)
		return 0;
	if (v->is_array || !is_number(v->kind))
		return wrong_kind(g, v, "a number", err);
	d = gguf_number(v, 0);
	if (!isfinite(d) || d < min || d > max)
		return err_set(err, -EINVAL, "%s: %s is %g, allowed %g to %g",
			       g->where, key, d, min, max);
	*ret = d;
	return 0;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *ret,
		  struct err *err)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v)
		return 0;
	if (v->is_array || v->kind != GGUF_BOOL)
		return wrong_kind(g, v, "a bool", err);
	if (v->data[0] > 1)
		return err_set(err, -EINVAL, "%s: %s is %u, allowed 0 and 1",
			       g->where, key, v->data[0]);
	*ret = v->data[0];
	return 0;
}

int gguf_get_str(const struct gguf *g, const char *key, char **ret,
		 struct err *err)
{
	const struct gguf_value *v = gguf_find(g, key);
	const uint8_t *at = NULL;
	struct gguf_str s;
	char *copy;

	if (!v)
		return 0;
	if (v->is_array || v->kind != GGUF_STRING)
		return wrong_kind(g, v, "a string", err);
	s = gguf_next_str(v, &at);
	if (memchr(s.data, 0, s.size))
		return err_set(err, -EINVAL, "%s: %s holds a NUL byte",
			       g->where, key);
	copy = strndup(s.data, s.size);
	if (!copy)
		return err_set(err, -ENOMEM, "%s: no memory", g->where);
	*ret = copy;
	return 0;
}

int gguf_get_array(const struct gguf *g, const char *key, enum gguf_items sort,
		   const struct gguf_value **ret, struct err *err)
{
	static const char *const names[] = { "an array of strings",
					     "an array of integers",
					     "an array of numbers" };
	const struct gguf_value *v = gguf_find(g, key);

	if (!v)
		return 0;
	if (!v->is_array || (sort == GGUF_STRINGS    ? v->kind != GGUF_STRING
			     : sort == GGUF_INTEGERS ? !is_integer(v->kind)
						     : !is_number(v->kind)))
		return wrong_kind(g, v, names[sort], err);
	*ret = v;
	return 0;
}
