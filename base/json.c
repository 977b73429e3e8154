/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "base/err.h"
#include "base/map.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

json_t *json_parse(const char *where, const void *text, size_t size,
		   struct err *err)
{
	json_error_t je;
	json_t *j = json_loadb(text ? text : "", size,
			       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je);

	if (!j)
		err_set(err, -EINVAL, "%s: not JSON at line %d column %d: %s",
			where, je.line, je.column, je.text);
	return j;
}

json_t *json_read_file(const char *path, struct err *err)
{
	struct map map;
	json_t *j;

	if (map_open(&map, path, err))
		return NULL;
	j = json_parse(path, map.data, map.size, err);
	map_close(&map);
	return j;
}

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a real";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	default:
		return "null";
	}
}

bool json_has(const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);

	return v && !json_is_null(v);
}

int json_get_u64(const char *where, const json_t *obj, const char *key,
		 uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
	const json_t *v = json_object_get(obj, key);
	json_int_t n;

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v))
		return err_set(err, -EINVAL, "%s: %s is %s, not an integer",
			       where, key, type_name(v));
	n = json_integer_value(v);
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return err_set(err, -EINVAL,
			       "%s: %s is %" JSON_INTEGER_FORMAT
			       ", allowed %" PRIu64 " to %" PRIu64,
			       where, key, n, min, max);
	*ret = (uint64_t)n;
	return 0;
}

int json_get_u32(const char *where, const json_t *obj, const char *key,
		 uint32_t min, uint32_t max, uint32_t *ret, struct err *err)
{
	uint64_t n = *ret;
	int r = json_get_u64(where, obj, key, min, max, &n, err);

	if (!r)
		*ret = (uint32_t)n;
	return r;
}

int json_get_f64(const char *where, const json_t *obj, const char *key,
		 double min, double max, double *ret, struct err *err)
{
	const json_t *v = json_object_get(obj, key);
	double d;

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_number(v))
		return err_set(err, -EINVAL, "%s: %s is %s, not a number",
			       where, key, type_name(v));
	d = json_number_value(v);
	if (!isfinite(d) || d < min || d > max)
		return err_set(err, -EINVAL, "%s: %s is %g, allowed %g to %g",
			       where, key, d, min, max);
	*ret = d;
	return 0;
}

int json_get_bool(const char *where, const json_t *obj, const char *key,
		  bool *ret, struct err *err)
{
	const json_t *v = json_object_get(obj, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return err_set(err, -EINVAL, "%s: %s is %s, not true or false",
			       where, key, type_name(v));
	*ret = json_is_true(v);
	return 0;
}

int json_get_str(const char *where, const json_t *obj, const char *key,
		 const char **ret, struct err *err)
{
	const json_t *v = json_object_get(obj, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return err_set(err, -EINVAL, "%s: %s is %s, not a string",
			       where, key, type_name(v));
	if (strlen(json_string_value(v)) != json_string_length(v))
		return err_set(err, -EINVAL, "%s: %s holds a NUL byte", where,
			       key);
	*ret = json_string_value(v);
	return 0;
}
