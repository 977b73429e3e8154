/* SPDX-License-Identifier: MIT */
#include "text/post.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>

struct reader {
	struct post *post;
	const char *where;
	uint32_t nr_ids;
	struct err *err;
};

static int add_ids(struct reader *r, uint32_t *list, uint32_t *nr,
		   const json_t *ids)
{
	const json_t *id;
	size_t i;

	if (!json_is_array(ids))
		return err_set(
			r->err, -EINVAL,
			"%s: post_processor.single names a token that is not in special_tokens",
			r->where);
	json_array_foreach(ids, i, id)
	{
		json_int_t n = json_integer_value(id);

		if (!json_is_integer(id) || n < 0 || n >= r->nr_ids ||
		    *nr == POST_AROUND_MAX)
			return err_set(
				r->err, -EINVAL,
				"%s: post_processor.special_tokens: an id not in 0 to %u, or more than %d of them",
				r->where, r->nr_ids - 1, POST_AROUND_MAX);
		list[(*nr)++] = (uint32_t)n;
	}
	return 0;
}

/* "single": special tokens, the text (a Sequence), special tokens. */
static int read_template(struct reader *r, const json_t *j)
{
	const json_t *single = json_object_get(j, "single"), *p, *s;
	const json_t *special = json_object_get(j, "special_tokens");
	struct post *o = r->post;
	bool after = false;
	const char *name;
	size_t i;
	int ret;

	if (!json_is_array(single))
		return err_set(r->err, -EINVAL,
			       "%s: post_processor.single is not an array",
			       r->where);
	json_array_foreach(single, i, p)
	{
		s = json_object_get(p, "SpecialToken");
		name = json_string_value(json_object_get(s, "id"));
		if (!s && json_is_object(json_object_get(p, "Sequence"))) {
			after = true;
			continue;
		}
		if (!name)
			return err_set(
				r->err, -EINVAL,
				"%s: post_processor.single[%zu] is neither SpecialToken nor Sequence",
				r->where, i);
		s = json_object_get(json_object_get(special, name), "ids");
		ret = add_ids(r, after ? o->after : o->before,
			      after ? &o->nr_after : &o->nr_before, s);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_one(struct reader *r, const json_t *j, bool inside)
{
	const json_t *list = json_object_get(j, "processors"), *p;
	const char *type = NULL;
	size_t i;
	int ret;

	ret = json_get_str(r->where, j, "type", &type, r->err);
	if (ret)
		return ret;
	if (!type)
		return err_set(r->err, -EINVAL,
			       "%s: post_processor has no \"type\"", r->where);
	if (!strcmp(type, "ByteLevel"))
		return 0; /* trims offsets, of which we have none */
	if (!strcmp(type, "TemplateProcessing"))
		return read_template(r, j);
	if (strcmp(type, "Sequence") || inside)
		return err_set(r->err, -ENOTSUP,
			       "%s: post_processor %.40s is not supported yet",
			       r->where, type);
	json_array_foreach(list, i, p)
	{
		ret = read_one(r, p, true);
		if (ret)
			return ret;
	}
	return 0;
}

int post_read(struct post *ret, const char *where, const json_t *j,
	      uint32_t nr_ids, struct err *err)
{
	struct reader r = { ret, where, nr_ids, err };

	if (!j || json_is_null(j))
		return 0;
	return read_one(&r, j, false);
}
