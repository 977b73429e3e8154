/* SPDX-License-Identifier: MIT */
#include "checkpoint/safetensors.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Types the format knows; which of them a model may use is for weights.c. */
static const struct {
	const char *name;
	uint32_t size; /* bytes */
} dtypes[] = {
	{ "F32", 4 },	  { "F16", 2 },	    { "BF16", 2 }, { "F64", 8 },
	{ "I64", 8 },	  { "I32", 4 },	    { "I16", 2 },  { "I8", 1 },
	{ "U64", 8 },	  { "U32", 4 },	    { "U16", 2 },  { "U8", 1 },
	{ "F8_E4M3", 1 }, { "F8_E5M2", 1 }, { "BOOL", 1 },
};

static int read_dtype(struct safetensor *t, const char *where, const json_t *j,
		      uint64_t *ret_size, struct err *err)
{
	const char *name = NULL;

	if (json_get_str(where, j, "dtype", &name, err))
		return -EINVAL;
	for (size_t i = 0; name && i < sizeof(dtypes) / sizeof(*dtypes); i++) {
		if (!strcmp(name, dtypes[i].name)) {
			t->dtype = dtypes[i].name;
			*ret_size = dtypes[i].size;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "%s: %s: dtype is %s, not one we know",
		       where, t->name, name ? name : "absent");
}

/* shape x @size into t->size, without overflow. */
static int read_shape(struct safetensor *t, const char *where, const json_t *j,
		      uint64_t size, struct err *err)
{
	const json_t *shape = json_object_get(j, "shape");
	size_t n = json_array_size(shape);

	if (!json_is_array(shape) || n > SAFETENSORS_MAX_DIMS)
		return err_set(err, -EINVAL,
			       "%s: %s: shape is not a list of at most %u "
			       "integers",
			       where, t->name, SAFETENSORS_MAX_DIMS);
	t->nr_dims = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		const json_t *d = json_array_get(shape, i);
		json_int_t len = json_integer_value(d);

		if (!json_is_integer(d) || len < 0 ||
		    __builtin_mul_overflow(size, (uint64_t)len, &size))
			return err_set(
				err, -EINVAL,
				"%s: %s: shape[%zu] is no length, or the "
				"product is over 2^64",
				where, t->name, i);
		t->shape[i] = (uint64_t)len;
	}
	t->size = size;
	return 0;
}

/* data_offsets into t->data, inside @data[@size]. */
static int read_offsets(struct safetensor *t, const char *where,
			const json_t *j, const uint8_t *data, uint64_t size,
			struct err *err)
{
	const json_t *offsets = json_object_get(j, "data_offsets");
	const json_t *b = json_array_get(offsets, 0);
	const json_t *e = json_array_get(offsets, 1);
	json_int_t begin = json_integer_value(b), end = json_integer_value(e);

	if (json_array_size(offsets) != 2 || !json_is_integer(b) ||
	    !json_is_integer(e) || begin < 0 || end < begin)
		return err_set(err, -EINVAL,
			       "%s: %s: data_offsets is not [begin, end]",
			       where, t->name);
	if ((uint64_t)end > size)
		return err_set(err, -EINVAL,
			       "%s: %s: data ends at byte %" JSON_INTEGER_FORMAT
			       " of %" PRIu64 ": the file is cut or lies",
			       where, t->name, end, size);
	if ((uint64_t)(end - begin) != t->size)
		return err_set(err, -EINVAL,
			       "%s: %s: data_offsets span %" JSON_INTEGER_FORMAT
			       " bytes, dtype and shape need %" PRIu64,
			       where, t->name, end - begin, t->size);
	t->data = data + begin;
	return 0;
}

static int by_data(const void *a, const void *b)
{
	const struct safetensor *s = a, *t = b;

	if (s->data != t->data)
		return s->data < t->data ? -1 : 1;
	/* an empty tensor lies before the one that begins where it does */
	if (s->size != t->size)
		return s->size < t->size ? -1 : 1;
	return strcmp(s->name, t->name);
}

/* In the order of their data, each must begin where the last one ended. */
static int check_cover(struct safetensors *st, const char *where,
		       const uint8_t *data, uint64_t size, struct err *err)
{
	const uint8_t *at = data;

	qsort(st->tensors, st->nr_tensors, sizeof(*st->tensors), by_data);
	for (uint32_t i = 0; i < st->nr_tensors; i++) {
		const struct safetensor *t = &st->tensors[i];

		if (t->data != at)
			return err_set(err, -EINVAL,
				       "%s: %s: data begins at byte %td, the "
				       "tensor before it ends at %td",
				       where, t->name, t->data - data,
				       at - data);
		at += t->size;
	}
	if ((uint64_t)(at - data) != size)
		return err_set(err, -EINVAL,
			       "%s: %" PRIu64 " bytes of data, the tensors "
			       "take %td",
			       where, size, at - data);
	return 0;
}

static int read_tensors(struct safetensors *st, const char *where,
			json_t *header, const uint8_t *data, uint64_t size,
			struct err *err)
{
	size_t n = json_object_size(header);
	const char *name;
	json_t *j;
	int ret;

	st->tensors = calloc(n ? n : 1, sizeof(*st->tensors));
	if (!st->tensors)
		return err_set(err, -ENOMEM, "%s: no memory for %zu tensors",
			       where, n);
	json_object_foreach(header, name, j)
	{
		struct safetensor *t = &st->tensors[st->nr_tensors];
		uint64_t unit = 0;

		if (!strcmp(name, "__metadata__"))
			continue;
		t->name = strdup(name);
		if (!t->name)
			return err_set(err, -ENOMEM, "%s: no memory", where);
		st->nr_tensors++;
		if (!json_is_object(j))
			return err_set(err, -EINVAL, "%s: %s is not an object",
				       where, name);
		if ((ret = read_dtype(t, where, j, &unit, err)) ||
		    (ret = read_shape(t, where, j, unit, err)) ||
		    (ret = read_offsets(t, where, j, data, size, err)))
			return ret;
	}
	return check_cover(st, where, data, size, err);
}

int safetensors_parse(struct safetensors *st, const char *where,
		      const void *data, uint64_t size, struct err *err)
{
	const uint8_t *p = data;
	uint64_t header = 0;
	json_t *j;
	int ret;

	memset(st, 0, sizeof(*st));
	if (size < 8)
		return err_set(err, -EINVAL,
			       "%s: %" PRIu64 " bytes, not a safetensors file",
			       where, size);
	for (int i = 7; i >= 0; i--)
		header = header << 8 | p[i];
	if (header > size - 8 || header > SAFETENSORS_MAX_HEADER)
		return err_set(err, -EINVAL,
			       "%s: header length is %" PRIu64
			       ", allowed to %" PRIu64,
			       where, header,
			       size - 8 < SAFETENSORS_MAX_HEADER
				       ? size - 8
				       : SAFETENSORS_MAX_HEADER);
	j = json_parse(where, p + 8, header, err);
	if (!j)
		return -EINVAL;
	st->header_size = 8 + header;
	if (json_is_object(j))
		ret = read_tensors(st, where, j, p + 8 + header,
				   size - 8 - header, err);
	else
		ret = err_set(err, -EINVAL, "%s: header is not a JSON object",
			      where);
	json_decref(j);
	if (ret)
		safetensors_close(st);
	return ret;
}

int safetensors_open(struct safetensors *st, const char *path, struct err *err)
{
	struct stat stat_buf;
	struct map map;
	int ret;

	memset(st, 0, sizeof(*st));
	ret = map_open(&map, path, err);
	if (ret)
		return ret;
	ret = safetensors_parse(st, path, map.data, map.size, err);
	if (ret) {
		map_close(&map);
		return ret;
	}
	st->map = map;
	if (!stat(path, &stat_buf))
		st->mtime_ns = (uint64_t)stat_buf.st_mtim.tv_sec * 1000000000u +
			       (uint64_t)stat_buf.st_mtim.tv_nsec;
	return 0;
}

void safetensors_close(struct safetensors *st)
{
	for (uint32_t i = 0; i < st->nr_tensors; i++)
		free((char *)st->tensors[i].name);
	free(st->tensors);
	map_close(&st->map);
	memset(st, 0, sizeof(*st));
}
