/* SPDX-License-Identifier: MIT */
#include "base/gguf.h"
#include "base/err.h"
#include "base/little.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define DEFAULT_ALIGNMENT 32u

/* clang-format off */
static const struct gguf_type types[] = {
	{ "F32", 0, 1, 4 },	  { "F16", 1, 1, 2 },
	{ "Q4_0", 2, 32, 18 },	  { "Q4_1", 3, 32, 20 },
	{ "Q5_0", 6, 32, 22 },	  { "Q5_1", 7, 32, 24 },
	{ "Q8_0", 8, 32, 34 },	  { "Q8_1", 9, 32, 40 },
	{ "Q2_K", 10, 256, 84 },  { "Q3_K", 11, 256, 110 },
	{ "Q4_K", 12, 256, 144 }, { "Q5_K", 13, 256, 176 },
	{ "Q6_K", 14, 256, 210 }, { "Q8_K", 15, 256, 292 },
	{ "IQ2_XXS", 16, 256, 66 }, { "IQ2_XS", 17, 256, 74 },
	{ "IQ3_XXS", 18, 256, 98 }, { "IQ1_S", 19, 256, 50 },
	{ "IQ4_NL", 20, 32, 18 }, { "IQ3_S", 21, 256, 110 },
	{ "IQ2_S", 22, 256, 82 }, { "IQ4_XS", 23, 256, 136 },
	{ "I8", 24, 1, 1 },	  { "I16", 25, 1, 2 },
	{ "I32", 26, 1, 4 },	  { "I64", 27, 1, 8 },
	{ "F64", 28, 1, 8 },	  { "IQ1_M", 29, 256, 56 },
	{ "BF16", 30, 1, 2 },	  { "TQ1_0", 34, 256, 54 },
	{ "TQ2_0", 35, 256, 66 }, { "MXFP4", 39, 32, 17 },
	{ "NVFP4", 40, 64, 36 },  { "Q1_0", 41, 128, 18 },
};
/* clang-format on */

#define NR_TYPES (sizeof(types) / sizeof(*types))

const uint8_t gguf_kind_bytes[NR_GGUF_KINDS] = { 1, 1, 2, 2, 4, 4, 4,
						 1, 0, 0, 8, 8, 8 };

const struct gguf_type *gguf_type(uint32_t id)
{
	for (size_t i = 0; i < NR_TYPES; i++)
		if (types[i].id == id)
			return &types[i];
	return NULL;
}

const struct gguf_type *gguf_type_named(const char *name)
{
	for (size_t i = 0; i < NR_TYPES; i++)
		if (!strcasecmp(types[i].name, name))
			return &types[i];
	return NULL;
}

/* ---- reading: everything that is taken passes take() or take_count() */

struct in {
	const char *where;
	const uint8_t *data;
	uint64_t size, at;
	struct err *err;
};

/* The next @n bytes, or NULL and the error: @what needed them. */
static const uint8_t *take(struct in *in, uint64_t n, const char *what)
{
	const uint8_t *p = in->data + in->at;

	if (n > in->size - in->at) {
		err_set(in->err, -EINVAL,
			"%s: %s at byte %" PRIu64 " takes %" PRIu64
			" bytes, %" PRIu64 " are left: the file is cut or lies",
			in->where, what, in->at, n, in->size - in->at);
		return NULL;
	}
	in->at += n;
	return p;
}

static int take_u32(struct in *in, const char *what, uint32_t *ret)
{
	const uint8_t *p = take(in, 4, what);

	if (!p)
		return -EINVAL;
	*ret = (uint32_t)little_get(p, 4);
	return 0;
}

static int take_u64(struct in *in, const char *what, uint64_t *ret)
{
	const uint8_t *p = take(in, 8, what);

	if (!p)
		return -EINVAL;
	*ret = little_get(p, 8);
	return 0;
}

/*
 * A count of things that take @each bytes or more (1 or more), at most @max:
 * refused where the rest of the file cannot hold them, so nothing that is
 * allocated for them is larger than a few times the file.
 */
static int take_count(struct in *in, const char *what, uint64_t each,
		      uint64_t max, uint64_t *ret)
{
	uint64_t n, left;

	if (take_u64(in, what, &n))
		return -EINVAL;
	left = (in->size - in->at) / each;
	if (n > max || n > left)
		return err_set(in->err, -EINVAL,
			       "%s: %s is %" PRIu64 ", allowed 0 to %" PRIu64
			       " (%" PRIu64 " bytes are left)",
			       in->where, what, n, max < left ? max : left,
			       in->size - in->at);
	*ret = n;
	return 0;
}

/* A string that is a name: copied, with an end, no NUL inside, not empty. */
static int take_name(struct in *in, const char *what, uint64_t max,
		     const char **ret)
{
	const uint8_t *p;
	uint64_t n;
	char *s;

	if (take_count(in, what, 1, max, &n))
		return -EINVAL;
	p = take(in, n, what);
	if (!p)
		return -EINVAL;
	if (!n || memchr(p, 0, n))
		return err_set(in->err, -EINVAL,
			       "%s: %s at byte %" PRIu64 " %s", in->where, what,
			       in->at - n, n ? "holds a NUL" : "is empty");
	s = malloc(n + 1);
	if (!s)
		return err_set(in->err, -ENOMEM, "%s: no memory", in->where);
	memcpy(s, p, n);
	s[n] = 0;
	*ret = s;
	return 0;
}

/* ---- values */

/* Pass over @v->count items of @v->kind. */
static int take_items(struct in *in, struct gguf_value *v)
{
	uint32_t bytes = gguf_kind_bytes[v->kind];
	uint64_t begin = in->at, n;

	/* the count was checked against what is left: no overflow */
	if (bytes && !take(in, v->count * bytes, v->key))
		return -EINVAL;
	for (uint64_t i = 0; !bytes && i < v->count; i++)
		if (take_count(in, v->key, 1, UINT64_MAX, &n) ||
		    !take(in, n, v->key))
			return -EINVAL;
	v->data = in->data + begin;
	v->size = in->at - begin;
	return 0;
}

static int take_kind(struct in *in, struct gguf_value *v, bool array_too)
{
	uint32_t kind;

	if (take_u32(in, v->key, &kind))
		return -EINVAL;
	if (kind >= NR_GGUF_KINDS || (kind == GGUF_ARRAY && !array_too))
		return err_set(in->err, -EINVAL,
			       "%s: %s: %s type is %u, allowed 0 to 12%s",
			       in->where, v->key, array_too ? "value" : "item",
			       kind, array_too ? "" : " but 9, an array");
	v->kind = (enum gguf_kind)kind;
	return 0;
}

static int take_value(struct in *in, struct gguf_value *v)
{
	int ret = take_kind(in, v, true);

	if (ret)
		return ret;
	v->count = 1;
	if (v->kind == GGUF_ARRAY) {
		v->is_array = true;
		ret = take_kind(in, v, false);
		if (!ret)
			ret = take_count(in, v->key,
					 gguf_kind_bytes[v->kind]
						 ? gguf_kind_bytes[v->kind]
						 : 8,
					 UINT64_MAX, &v->count);
		if (ret)
			return ret;
	}
	return take_items(in, v);
}

/* glibc's qsort_r: the context last */
static int by_key(const void *a, const void *b, void *values)
{
	const struct gguf_value *v = values;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

	return strcmp(v[i].key, v[j].key);
}

static int take_values(struct gguf *g, struct in *in, uint64_t count)
{
	uint32_t *order;
	int ret;

	g->values = calloc(count + 1, sizeof(*g->values));
	order = calloc(count + 1, sizeof(*order));
	g->by_key = order;
	if (!g->values || !order)
		return err_set(in->err, -ENOMEM, "%s: no memory", in->where);
	for (uint32_t i = 0; i < count; i++) {
		struct gguf_value *v = &g->values[i];

		ret = take_name(in, "a key", GGUF_MAX_KEY, &v->key);
		if (ret)
			return ret;
		order[i] = g->nr_values++;
		ret = take_value(in, v);
		if (ret)
			return ret;
	}
	qsort_r(order, count, sizeof(*order), by_key, g->values);
	for (uint32_t i = 1; i < count; i++)
		if (!by_key(&order[i - 1], &order[i], g->values))
			return err_set(in->err, -EINVAL,
				       "%s: key %s is there twice", in->where,
				       g->values[order[i]].key);
	return 0;
}

/* ---- tensors */

/* dims and type into t->size, without overflow. */
static int take_shape(struct in *in, struct gguf_tensor *t)
{
	uint64_t n = 1;
	uint32_t id;

	if (take_u32(in, t->name, &t->nr_dims))
		return -EINVAL;
	if (t->nr_dims < 1 || t->nr_dims > GGUF_MAX_DIMS)
		return err_set(in->err, -EINVAL,
			       "%s: %s: %u dimensions, allowed 1 to %u",
			       in->where, t->name, t->nr_dims, GGUF_MAX_DIMS);
	for (uint32_t i = 0; i < t->nr_dims; i++) {
		if (take_u64(in, t->name, &t->dims[i]))
			return -EINVAL;
		if (!t->dims[i] || __builtin_mul_overflow(n, t->dims[i], &n) ||
		    n > INT64_MAX / 8)
			return err_set(in->err, -EINVAL,
				       "%s: %s: dimension %u is %" PRIu64
				       ", allowed from 1, all together 2^60",
				       in->where, t->name, i, t->dims[i]);
	}
	if (take_u32(in, t->name, &id))
		return -EINVAL;
	t->type = gguf_type(id);
	if (!t->type)
		return err_set(in->err, -EINVAL,
			       "%s: %s: tensor type is %u, not one we know",
			       in->where, t->name, id);
	if (t->dims[0] % t->type->block)
		return err_set(in->err, -EINVAL,
			       "%s: %s: rows of %" PRIu64
			       " numbers, %s packs multiples of %u",
			       in->where, t->name, t->dims[0], t->type->name,
			       t->type->block);
	t->size = n / t->type->block * t->type->block_bytes;
	return 0;
}

static int by_data(const void *a, const void *b)
{
	const struct gguf_tensor *s = a, *t = b;

	return s->data < t->data ? -1 : s->data > t->data;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No two tensors may share a name or a byte. */
static int check_tensors(struct gguf *g, struct in *in)
{
	uint32_t n = g->nr_tensors;
	const char **names = calloc(n + 1, sizeof(*names));
	int ret = 0;

	if (!names)
		return err_set(in->err, -ENOMEM, "%s: no memory", in->where);
	for (uint32_t i = 0; i < n; i++)
		names[i] = g->tensors[i].name;
	qsort(names, n, sizeof(*names), by_name);
	qsort(g->tensors, n, sizeof(*g->tensors), by_data);
	for (uint32_t i = 1; i < n && !ret; i++) {
		const struct gguf_tensor *t = &g->tensors[i];

		if (!strcmp(names[i], names[i - 1]))
			ret = err_set(in->err, -EINVAL,
				      "%s: tensor %s is there twice", in->where,
				      names[i]);
		else if (t->data < t[-1].data + t[-1].size)
			ret = err_set(in->err, -EINVAL,
				      "%s: %s begins inside %s", in->where,
				      t->name, t[-1].name);
	}
	free(names);
	return ret;
}

/* Offsets, kept as pointers to the file's begin, to where the data begins. */
static int place_tensors(struct gguf *g, struct in *in, const uint64_t *offsets)
{
	uint64_t pad = -in->at & (g->alignment - 1), room;

	/* a file without tensors may end before the padding */
	if (!g->nr_tensors && pad > in->size - in->at)
		pad = in->size - in->at;
	if (!take(in, pad, "padding"))
		return -EINVAL;
	g->meta_size = in->at;
	room = in->size - in->at;
	for (uint32_t i = 0; i < g->nr_tensors; i++) {
		struct gguf_tensor *t = &g->tensors[i];
		uint64_t offset = offsets[i];

		if (offset & (g->alignment - 1))
			return err_set(in->err, -EINVAL,
				       "%s: %s: offset is %" PRIu64
				       ", allowed are multiples of %u",
				       in->where, t->name, offset,
				       g->alignment);
		if (offset > room || t->size > room - offset)
			return err_set(in->err, -EINVAL,
				       "%s: %s: %" PRIu64 " bytes at %" PRIu64
				       " of %" PRIu64
				       ": the file is cut or lies",
				       in->where, t->name, t->size, offset,
				       room);
		t->data = in->data + in->at + offset;
	}
	return check_tensors(g, in);
}

static int take_tensors(struct gguf *g, struct in *in, uint64_t count)
{
	uint64_t *offsets = calloc(count + 1, sizeof(*offsets));
	int ret = 0;

	g->tensors = calloc(count + 1, sizeof(*g->tensors));
	if (!g->tensors || !offsets)
		ret = err_set(in->err, -ENOMEM, "%s: no memory", in->where);
	for (uint32_t i = 0; i < count && !ret; i++) {
		struct gguf_tensor *t = &g->tensors[i];

		ret = take_name(in, "the name of a tensor", GGUF_MAX_NAME,
				&t->name);
		if (ret)
			break;
		g->nr_tensors++;
		ret = take_shape(in, t);
		if (!ret)
			ret = take_u64(in, t->name, &offsets[i]);
	}
	if (!ret)
		ret = place_tensors(g, in, offsets);
	free(offsets);
	return ret;
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
	uint32_t lo = 0, hi = g->nr_values;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct gguf_value *v = &g->values[g->by_key[mid]];
		int c = strcmp(key, v->key);

		if (!c)
			return v;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static int read_alignment(struct gguf *g, struct err *err)
{
	const struct gguf_value *v = gguf_find(g, "general.alignment");
	uint32_t n = DEFAULT_ALIGNMENT;

	if (v && !v->is_array && v->kind == GGUF_U32)
		n = (uint32_t)little_get(v->data, 4);
	else if (v)
		n = 0;
	if (!n || n > GGUF_MAX_ALIGN || (n & (n - 1)))
		return err_set(
			err, -EINVAL,
			"%s: general.alignment is %u, allowed are powers "
			"of two to %u, a u32",
			g->where, n, GGUF_MAX_ALIGN);
	g->alignment = n;
	return 0;
}

static int read_all(struct gguf *g, struct in *in)
{
	const uint8_t *magic = take(in, 4, "\"GGUF\"");
	uint64_t nr_tensors, nr_values;
	int ret;

	if (!magic)
		return -EINVAL;
	if (memcmp(magic, "GGUF", 4))
		return err_set(in->err, -EINVAL, "%s: not a GGUF file",
			       in->where);
	if (take_u32(in, "the version", &g->version))
		return -EINVAL;
	if (g->version != 2 && g->version != 3)
		return err_set(in->err, -EINVAL,
			       "%s: GGUF version is %u%s, supported are 2 and "
			       "3",
			       in->where, g->version,
			       g->version & 0xffff ? "" : " (big-endian?)");
	/* the least a tensor takes: a name of 1 byte, one dimension */
	if ((ret = take_count(in, "the number of tensors", 33, GGUF_MAX_TENSORS,
			      &nr_tensors)) ||
	    (ret = take_count(in, "the number of keys", 14, GGUF_MAX_VALUES,
			      &nr_values)) ||
	    (ret = take_values(g, in, nr_values)) ||
	    (ret = read_alignment(g, in->err)))
		return ret;
	return take_tensors(g, in, nr_tensors);
}

int gguf_parse(struct gguf *g, const char *where, const void *data,
	       uint64_t size, struct err *err)
{
	struct in in = { where, data, size, 0, err };
	int ret;

	memset(g, 0, sizeof(*g));
	g->where = strdup(where);
	ret = g->where ? read_all(g, &in)
		       : err_set(err, -ENOMEM, "%s: no memory", where);
	if (ret)
		gguf_close(g);
	return ret;
}

int gguf_open(struct gguf *g, const char *path, struct err *err)
{
	struct stat st;
	struct map map;
	int ret;

	memset(g, 0, sizeof(*g));
	ret = map_open(&map, path, err);
	if (ret)
		return ret;
	ret = gguf_parse(g, path, map.data ? map.data : "", map.size, err);
	if (ret) {
		map_close(&map);
		return ret;
	}
	g->map = map;
	if (!stat(path, &st))
		g->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
			      (uint64_t)st.st_mtim.tv_nsec;
	return 0;
}

void gguf_close(struct gguf *g)
{
	for (uint32_t i = 0; i < g->nr_values; i++)
		free((char *)g->values[i].key);
	for (uint32_t i = 0; i < g->nr_tensors; i++)
		free((char *)g->tensors[i].name);
	free(g->values);
	free((uint32_t *)g->by_key);
	free(g->tensors);
	free(g->where);
	map_close(&g->map);
	memset(g, 0, sizeof(*g));
}

bool gguf_is(const char *path)
{
	struct map map;
	bool is;

	if (map_open(&map, path, NULL))
		return false;
	is = map.size >= 4 && !memcmp(map.data, "GGUF", 4);
	map_close(&map);
	return is;
}

struct gguf_str gguf_next_str(const struct gguf_value *v, const uint8_t **at)
{
	const uint8_t *p = *at ? *at : v->data;
	struct gguf_str s = { (const char *)p + 8, little_get(p, 8) };

	*at = p + 8 + s.size;
	return s;
}

char *gguf_split_path(const char *path, uint32_t no, uint32_t count)
{
	static const char form[] = "-00000-of-00000.gguf";
	size_t len = strlen(path), tail = sizeof(form) - 1;
	const char *end = path + len - tail;
	char *ret;

	if (len <= tail || no >= count || count > GGUF_MAX_SPLITS)
		return NULL;
	for (size_t i = 0; i < tail; i++)
		if (form[i] == '0' ? end[i] < '0' || end[i] > '9'
				   : end[i] != form[i])
			return NULL;
	if (asprintf(&ret, "%.*s-%05u-of-%05u.gguf", (int)(len - tail), path,
		     no + 1, count) < 0)
		return NULL;
	return ret;
}
