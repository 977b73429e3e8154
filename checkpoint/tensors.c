/* SPDX-License-Identifier: MIT */
#include "checkpoint/tensors.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/gguf_get.h"
#include "base/json.h"
#include "checkpoint/names.h"
#include "checkpoint/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(TENSORS_MAX_DIMS >= SAFETENSORS_MAX_DIMS &&
		       TENSORS_MAX_DIMS >= GGUF_MAX_DIMS,
	       "room for either form's dimensions");

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* Only advice: a kernel that cannot still reads page by page. */
static void read_ahead(const struct map *map)
{
	if (map->data)
		madvise((void *)map->data, map->size, MADV_WILLNEED);
}

static int by_name(const void *a, const void *b)
{
	const struct tensor *s = a, *t = b;

	return strcmp(s->name, t->name);
}

const struct tensor *tensors_find(const struct tensors *t, const char *name)
{
	struct tensor key = { .name = name };

	if (!t->nr)
		return NULL;
	return bsearch(&key, t->v, t->nr, sizeof(*t->v), by_name);
}

const char *tensors_shape(const struct tensor *x, char buf[64])
{
	size_t n = (size_t)snprintf(buf, 64, "[");

	for (uint32_t i = 0; i < x->nr_dims && n < 64; i++)
		n += (size_t)snprintf(buf + n, 64 - n, "%s%" PRIu64,
				      i ? ", " : "", x->shape[i]);
	if (n < 64)
		snprintf(buf + n, 64 - n, "]");
	return buf;
}

/* ---- safetensors: one file, or an index of many */

static int open_file(struct tensors *t, const char *name, struct err *err)
{
	struct safetensors *st = &t->safetensors[t->nr_files];
	char *path = join(t->path, name);
	int ret;

	if (!path)
		return err_set(err, -ENOMEM, "%s: no memory", t->path);
	ret = safetensors_open(st, path, err);
	free(path);
	if (ret)
		return ret;
	t->nr_files++;
	t->nr += st->nr_tensors;
	t->size += st->map.size - st->header_size;
	read_ahead(&st->map);
	return 0;
}

static int by_string(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The names of the files that weight_map speaks of, each once, ascending, at
 * most TENSORS_MAX_FILES; borrowed from @map.  Their count, or -errno.
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
		if (ret == (int)TENSORS_MAX_FILES) {
			ret = err_set(err, -EINVAL,
				      "%s: weight_map names more than %u files",
				      path, TENSORS_MAX_FILES);
			goto out;
		}
		files[ret++] = all[i];
	}
out:
	free(all);
	return ret;
}

/* Every tensor of weight_map must be in the file named for it. */
static int check_index(const struct tensors *t, const char *path,
		       const json_t *map, const char *const *files,
		       struct err *err)
{
	const char *name;
	json_t *v;

	for (uint32_t i = 1; i < t->nr; i++)
		if (!strcmp(t->v[i].name, t->v[i - 1].name))
			return err_set(err, -EINVAL,
				       "%s: %s is in more than one file", path,
				       t->v[i].name);
	json_object_foreach((json_t *)map, name, v)
	{
		const char *file = json_string_value(v);
		const char *const *f = bsearch(&file, files, t->nr_files,
					       sizeof(*files), by_string);
		const struct map *m = &t->safetensors[f - files].map;
		const struct tensor *x = tensors_find(t, name);

		if (!x || x->data < (const uint8_t *)m->data ||
		    x->data > (const uint8_t *)m->data + m->size)
			return err_set(err, -ENOENT, "%s: %s is not in %s",
				       path, name, file);
	}
	return 0;
}

/* One table of all tensors, sorted by name. */
static int build_table(struct tensors *t, struct err *err)
{
	uint32_t n = 0;

	t->v = calloc(t->nr + 1, sizeof(*t->v));
	if (!t->v)
		return err_set(err, -ENOMEM, "%s: no memory", t->path);
	for (uint32_t f = 0; f < t->nr_files; f++) {
		for (uint32_t i = 0; i < t->safetensors[f].nr_tensors; i++) {
			const struct safetensor *s =
				&t->safetensors[f].tensors[i];
			struct tensor *x = &t->v[n++];

			x->name = s->name;
			x->type = s->dtype;
			x->nr_dims = s->nr_dims;
			memcpy(x->shape, s->shape, sizeof(s->shape));
			x->data = s->data;
			x->size = s->size;
		}
	}
	qsort(t->v, n, sizeof(*t->v), by_name);
	return 0;
}

static int open_index(struct tensors *t, const char *path, struct err *err)
{
	const char *files[TENSORS_MAX_FILES];
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
		ret = open_file(t, files[i], err);
		if (ret)
			goto out;
	}
	if (ret >= 0)
		ret = build_table(t, err);
	if (!ret)
		ret = check_index(t, path, map, files, err);
out:
	json_decref(index);
	return ret;
}

static int open_dir(struct tensors *t, struct err *err)
{
	char *single = join(t->path, "model.safetensors");
	char *index = join(t->path, "model.safetensors.index.json");
	int ret;

	t->safetensors = calloc(TENSORS_MAX_FILES, sizeof(*t->safetensors));
	if (!single || !index || !t->safetensors) {
		ret = err_set(err, -ENOMEM, "%s: no memory", t->path);
	} else if (!access(single, F_OK)) {
		ret = open_file(t, "model.safetensors", err);
		if (!ret)
			ret = build_table(t, err);
	} else if (!access(index, F_OK)) {
		ret = open_index(t, index, err);
	} else {
		ret = err_set(err, -ENOENT,
			      "%s: neither model.safetensors nor "
			      "model.safetensors.index.json is there",
			      t->path);
	}
	free(single);
	free(index);
	return ret;
}

/* ---- GGUF: one file, or a set that is cut by number */

/* The table, with the names of the house. */
static int build_gguf_table(struct tensors *t, struct err *err)
{
	uint32_t n = 0;

	t->v = calloc(t->nr + 1, sizeof(*t->v));
	t->names = malloc((size_t)t->nr * NAMES_MAX + 1);
	if (!t->v || !t->names)
		return err_set(err, -ENOMEM, "%s: no memory", t->path);
	for (uint32_t f = 0; f < t->nr_files; f++) {
		for (uint32_t i = 0; i < t->gguf[f].nr_tensors; i++) {
			const struct gguf_tensor *g = &t->gguf[f].tensors[i];
			char *name = t->names + (size_t)n * NAMES_MAX;
			struct tensor *x = &t->v[n++];

			names_from_gguf(g->name, name);
			x->name = name;
			x->type = g->type->name;
			x->nr_dims = g->nr_dims;
			for (uint32_t d = 0; d < g->nr_dims; d++)
				x->shape[d] = g->dims[g->nr_dims - 1 - d];
			x->data = g->data;
			x->size = g->size;
			t->size += g->size;
		}
	}
	qsort(t->v, n, sizeof(*t->v), by_name);
	/* two files of a set, or one file that uses both kinds of names */
	for (uint32_t i = 1; i < n; i++)
		if (!strcmp(t->v[i].name, t->v[i - 1].name))
			return err_set(err, -EINVAL,
				       "%s: tensor %s is there twice", t->path,
				       t->v[i].name);
	return 0;
}

static int open_part(struct tensors *t, const char *path, struct err *err)
{
	struct gguf *g = &t->gguf[t->nr_files];
	int ret = gguf_open(g, path, err);

	if (ret)
		return ret;
	t->nr_files++;
	t->nr += g->nr_tensors;
	read_ahead(&g->map);
	return 0;
}

/* Part @no of @count must say so of itself. */
static int check_part(const struct gguf *g, uint32_t no, uint32_t count,
		      struct err *err)
{
	uint32_t n = 0, of = 0;
	int ret = gguf_get_u32(g, "split.no", 0, GGUF_MAX_SPLITS, &n, err);

	if (!ret)
		ret = gguf_get_u32(g, "split.count", 0, GGUF_MAX_SPLITS, &of,
				   err);
	if (!ret && (n != no || of != count))
		ret = err_set(err, -EINVAL,
			      "%s: says it is part %u of %u, its name part %u "
			      "of %u",
			      g->where, n + 1, of, no + 1, count);
	return ret;
}

/* @t->gguf[0] is some part of @count: start again with the first. */
static int open_set(struct tensors *t, uint32_t count, struct err *err)
{
	uint64_t total = 0;
	int ret = 0;

	gguf_close(&t->gguf[0]);
	t->nr_files = t->nr = 0;
	for (uint32_t i = 0; i < count && !ret; i++) {
		char *part = gguf_split_path(t->path, i, count);

		if (!part)
			return err_set(err, -EINVAL,
				       "%s: split.count is %u; the name of a "
				       "part must end with -00001-of-%05u.gguf",
				       t->path, count, count);
		ret = open_part(t, part, err);
		if (!ret)
			ret = check_part(&t->gguf[i], i, count, err);
		free(part);
	}
	if (!ret)
		ret = gguf_get_u64(&t->gguf[0], "split.tensors.count", 0,
				   UINT64_MAX, &total, err);
	if (!ret && total && total != t->nr)
		ret = err_set(err, -EINVAL,
			      "%s: split.tensors.count is %llu, the %u parts "
			      "have %u",
			      t->path, (unsigned long long)total, count, t->nr);
	return ret;
}

static int open_gguf(struct tensors *t, struct err *err)
{
	uint32_t count = 0;
	int ret;

	t->gguf = calloc(GGUF_MAX_SPLITS, sizeof(*t->gguf));
	if (!t->gguf)
		return err_set(err, -ENOMEM, "%s: no memory", t->path);
	ret = open_part(t, t->path, err);
	if (!ret)
		ret = gguf_get_u32(&t->gguf[0], "split.count", 0,
				   GGUF_MAX_SPLITS, &count, err);
	if (!ret && count > 1)
		ret = open_set(t, count, err);
	if (!ret)
		ret = build_gguf_table(t, err);
	return ret;
}

/* ---- both */

int tensors_open(struct tensors *t, const char *path, struct err *err)
{
	struct stat st;
	int ret;

	memset(t, 0, sizeof(*t));
	if (stat(path, &st)) {
		ret = -errno;
		return err_set(err, ret, "%s: %s", path, strerror(-ret));
	}
	t->path = strdup(path);
	if (!t->path)
		ret = err_set(err, -ENOMEM, "%s: no memory", path);
	else if (S_ISDIR(st.st_mode))
		ret = open_dir(t, err);
	else
		ret = open_gguf(t, err);
	if (ret)
		tensors_close(t);
	return ret;
}

int tensors_parse_gguf(struct tensors *t, const char *where, const void *data,
		       uint64_t size, struct err *err)
{
	int ret;

	memset(t, 0, sizeof(*t));
	t->path = strdup(where);
	t->gguf = calloc(1, sizeof(*t->gguf));
	if (t->path && t->gguf)
		ret = gguf_parse(&t->gguf[0], where, data, size, err);
	else
		ret = err_set(err, -ENOMEM, "%s: no memory", where);
	if (!ret) {
		t->nr_files = 1;
		t->nr = t->gguf[0].nr_tensors;
		ret = build_gguf_table(t, err);
	}
	if (ret)
		tensors_close(t);
	return ret;
}

void tensors_close(struct tensors *t)
{
	for (uint32_t i = 0; i < t->nr_files; i++) {
		if (t->safetensors)
			safetensors_close(&t->safetensors[i]);
		if (t->gguf)
			gguf_close(&t->gguf[i]);
	}
	free(t->safetensors);
	free(t->gguf);
	free(t->v);
	free(t->names);
	free(t->path);
	memset(t, 0, sizeof(*t));
}

void tensors_done(const struct tensor *x)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)x->data / page * page;

	madvise((void *)from, (uintptr_t)x->data + x->size - from,
		MADV_DONTNEED);
}

void tensors_file(const struct tensors *t, uint32_t i, uint64_t *ret_size,
		  uint64_t *ret_mtime_ns)
{
	*ret_size = t->gguf ? t->gguf[i].map.size : t->safetensors[i].map.size;
	*ret_mtime_ns = t->gguf ? t->gguf[i].mtime_ns
				: t->safetensors[i].mtime_ns;
}
