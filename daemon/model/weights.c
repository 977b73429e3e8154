/* SPDX-License-Identifier: MIT */
#include "daemon/model/weights.h"
#include "base/err.h"
#include "base/json.h"
#include "kernels/formats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int open_file(struct weights *w, const char *name, struct err *err)
{
	struct safetensors *st = &w->files[w->nr_files];
	char *path = join(w->dir, name);
	int ret;

	if (!path)
		return err_set(err, -ENOMEM, "%s: no memory", w->dir);
	ret = safetensors_open(st, path, err);
	free(path);
	if (ret)
		return ret;
	w->nr_files++;
	w->nr_tensors += st->nr_tensors;
	w->size += st->map.size - st->header_size;
	/* only advice: a kernel that cannot still reads page by page */
	if (st->map.data)
		madvise((void *)st->map.data, st->map.size, MADV_WILLNEED);
	return 0;
}

static int by_string(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The names of the files that weight_map speaks of, each once, ascending, at
 * most WEIGHTS_MAX_FILES; borrowed from @map.  Their count, or -errno.
 */
static int list_files(const char *path, const json_t *map, const char **files,
		      struct err *err)
{
	size_t n = json_object_size(map), count = 0;
	const char **all = calloc(n ? n : 1, sizeof(*all));
	const char *name;
	json_t *v;
	int ret = 0;

	if (!all)
		return err_set(err, -ENOMEM, "%s: no memory", path);
	json_object_foreach((json_t *)map, name, v)
	{
		const char *f = json_string_value(v);

		/* a name beside the index, never a way out of the directory */
		if (!f || !*f || strchr(f, '/') || *f == '.' ||
		    strlen(f) != json_string_length(v)) {
			ret = err_set(err, -EINVAL,
				      "%s: weight_map: %s is in %s, allowed is "
				      "the name of a file beside the index",
				      path, name, f ? f : "no string");
			goto out;
		}
		all[count++] = f;
	}
	qsort(all, count, sizeof(*all), by_string);
	for (size_t i = 0; i < count; i++) {
		if (i && !strcmp(all[i], all[i - 1]))
			continue;
		if (ret == (int)WEIGHTS_MAX_FILES) {
			ret = err_set(err, -EINVAL,
				      "%s: weight_map names more than %u files",
				      path, WEIGHTS_MAX_FILES);
			goto out;
		}
		files[ret++] = all[i];
	}
out:
	free(all);
	return ret;
}

/* Every tensor of weight_map must be in the file named for it. */
static int check_index(const struct weights *w, const char *path,
		       const json_t *map, const char *const *files,
		       struct err *err)
{
	const char *name;
	json_t *v;

	for (uint32_t i = 1; i < w->nr_tensors; i++)
		if (!strcmp(w->tensors[i].name, w->tensors[i - 1].name))
			return err_set(err, -EINVAL,
				       "%s: %s is in more than one file", path,
				       w->tensors[i].name);
	json_object_foreach((json_t *)map, name, v)
	{
		const char *file = json_string_value(v);
		const char *const *f = bsearch(&file, files, w->nr_files,
					       sizeof(*files), by_string);
		const struct map *m = &w->files[f - files].map;
		const struct safetensor *t = weights_find(w, name);

		if (!t || t->data < (const uint8_t *)m->data ||
		    t->data > (const uint8_t *)m->data + m->size)
			return err_set(err, -ENOENT, "%s: %s is not in %s",
				       path, name, file);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct safetensor *s = a, *t = b;

	return strcmp(s->name, t->name);
}

/* One table of all tensors, sorted by name. */
static int build_table(struct weights *w, struct err *err)
{
	uint32_t n = 0;

	w->tensors = calloc(w->nr_tensors + 1, sizeof(*w->tensors));
	w->used = calloc(w->nr_tensors + 1, 1);
	if (!w->tensors || !w->used)
		return err_set(err, -ENOMEM, "%s: no memory", w->dir);
	for (uint32_t f = 0; f < w->nr_files; f++) {
		const struct safetensors *st = &w->files[f];

		memcpy(w->tensors + n, st->tensors,
		       st->nr_tensors * sizeof(*st->tensors));
		n += st->nr_tensors;
	}
	qsort(w->tensors, n, sizeof(*w->tensors), by_name);
	return 0;
}

static int open_index(struct weights *w, const char *path, struct err *err)
{
	const char *files[WEIGHTS_MAX_FILES];
	struct err local = { 0 };
	const json_t *map;
	json_t *index;
	int ret, count;

	if (!err)
		err = &local;
	index = json_read_file(path, err);
	if (!index)
		return err->code;
	map = json_object_get(index, "weight_map");
	if (!json_is_object(map)) {
		ret = err_set(err, -EINVAL,
			      "%s: weight_map is absent or not an object",
			      path);
		goto out;
	}
	ret = count = list_files(path, map, files, err);
	for (int i = 0; i < count; i++) {
		ret = open_file(w, files[i], err);
		if (ret)
			goto out;
	}
	if (ret >= 0)
		ret = build_table(w, err);
	if (!ret)
		ret = check_index(w, path, map, files, err);
out:
	json_decref(index);
	return ret;
}

int weights_open(struct weights *w, const char *dir, struct err *err)
{
	char *single = join(dir, "model.safetensors");
	char *index = join(dir, "model.safetensors.index.json");
	int ret;

	memset(w, 0, sizeof(*w));
	w->dir = strdup(dir);
	w->files = calloc(WEIGHTS_MAX_FILES, sizeof(*w->files));
	if (!single || !index || !w->dir || !w->files) {
		ret = err_set(err, -ENOMEM, "%s: no memory", dir);
	} else if (!access(single, F_OK)) {
		ret = open_file(w, "model.safetensors", err);
		if (!ret)
			ret = build_table(w, err);
	} else if (!access(index, F_OK)) {
		ret = open_index(w, index, err);
	} else {
		ret = err_set(err, -ENOENT,
			      "%s: neither model.safetensors nor "
			      "model.safetensors.index.json is there",
			      dir);
	}
	free(single);
	free(index);
	if (ret)
		weights_close(w);
	return ret;
}

void weights_close(struct weights *w)
{
	for (uint32_t i = 0; i < w->nr_files; i++)
		safetensors_close(&w->files[i]);
	free(w->files);
	free(w->tensors);
	free(w->used);
	free(w->dir);
	memset(w, 0, sizeof(*w));
}

const struct safetensor *weights_find(const struct weights *w, const char *name)
{
	struct safetensor key = { .name = name };

	if (!w->nr_tensors)
		return NULL;
	return bsearch(&key, w->tensors, w->nr_tensors, sizeof(*w->tensors),
		       by_name);
}

/* "[464, 64]" for messages; 64 bytes are enough for what fits a line. */
static const char *shape_text(const struct safetensor *t, char *buf,
			      size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "[");

	for (uint32_t i = 0; i < t->nr_dims && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s%" PRIu64,
				      i ? ", " : "", t->shape[i]);
	if (n < size)
		snprintf(buf + n, size - n, "]");
	return buf;
}

/*
 * The tensor @name, of one of the types kernels know, with @nr_dims lengths
 * as in @shape.
 */
static int take(struct weights *w, const char *name, uint32_t nr_dims,
		const uint64_t *shape, enum weight_type *ret_type,
		const struct safetensor **ret, struct err *err)
{
	const struct safetensor *t = weights_find(w, name);
	struct safetensor want = { .nr_dims = nr_dims };
	char found[64], needed[64];
	int type;

	if (!t)
		return err_set(err, -ENOENT,
			       "%s: tensor %s is missing from the weights",
			       w->dir, name);
	for (type = 0; type < NR_WEIGHT_TYPES; type++)
		if (!strcmp(t->dtype, weight_formats[type].name))
			break;
	if (type == NR_WEIGHT_TYPES)
		return err_set(err, -EINVAL,
			       "%s: tensor %s is %s, allowed F32, F16, BF16",
			       w->dir, name, t->dtype);
	memcpy(want.shape, shape, nr_dims * sizeof(*shape));
	if (t->nr_dims != nr_dims ||
	    memcmp(t->shape, shape, nr_dims * sizeof(*shape)))
		return err_set(err, -EINVAL,
			       "%s: tensor %s is %s, config.json needs %s",
			       w->dir, name,
			       shape_text(t, found, sizeof(found)),
			       shape_text(&want, needed, sizeof(needed)));
	w->used[t - w->tensors] = 1;
	*ret_type = (enum weight_type)type;
	*ret = t;
	return 0;
}

int weights_matrix(struct weights *w, const char *name, uint32_t rows,
		   uint32_t cols, struct weight *ret, struct err *err)
{
	const struct safetensor *t;
	enum weight_type type;
	int r = take(w, name, 2, (uint64_t[]){ rows, cols }, &type, &t, err);

	if (r)
		return r;
	*ret = (struct weight){
		.type = type,
		.rows = rows,
		.cols = cols,
		.row_stride = weight_row_bytes(type, cols),
		.data = t->data,
	};
	return 0;
}

int weights_vector(struct weights *w, const char *name, uint32_t len,
		   float *ret, struct err *err)
{
	const struct safetensor *t;
	enum weight_type type;
	int r = take(w, name, 1, (uint64_t[]){ len }, &type, &t, err);

	if (!r)
		weight_formats[type].unpack(t->data, ret, len);
	return r;
}

const char *weights_unused(const struct weights *w, uint32_t *ret_count)
{
	const char *first = NULL;

	*ret_count = 0;
	for (uint32_t i = 0; i < w->nr_tensors; i++) {
		const char *name = w->tensors[i].name;

		if (w->used[i] || strstr(name, "rotary_emb.inv_freq"))
			continue;
		if (!first)
			first = name;
		++*ret_count;
	}
	return first;
}
