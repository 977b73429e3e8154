/* SPDX-License-Identifier: MIT */
#include "text/decoder.h"
#include "text/spell.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct reader {
	struct spelling *how;
	const char *where;
	struct err *err;
	bool fused;
};

static int refuse(struct reader *r, const char *what)
{
	return err_set(r->err, -ENOTSUP, "%s: decoder %.60s is not supported",
		       r->where, what);
}

static int set_replace(struct reader *r, const char *s)
{
	size_t n = strlen(s);

	if (!n || n > SPELL_REPLACE_MAX || r->how->replace_size)
		return refuse(r, "replaces too much");
	memcpy(r->how->replace, s, n);
	r->how->replace_size = (uint8_t)n;
	return 0;
}

static int read_level(struct reader *r, const json_t *j)
{
	r->how->level = true;
	return 0;
}

static int read_replace(struct reader *r, const json_t *j)
{
	const char *from = NULL, *to = NULL;
	int ret;

	ret = json_get_str(r->where, json_object_get(j, "pattern"), "String",
			   &from, r->err);
	if (!ret)
		ret = json_get_str(r->where, j, "content", &to, r->err);
	if (ret)
		return ret;
	if (!from || !to || strcmp(to, " "))
		return refuse(r, "Replace other than of a string by a space");
	return set_replace(r, from);
}

static int read_fallback(struct reader *r, const json_t *j)
{
	r->how->fallback = true;
	return 0;
}

static int read_fuse(struct reader *r, const json_t *j)
{
	r->fused = true;
	return 0;
}

static int read_strip(struct reader *r, const json_t *j)
{
	uint32_t start = 0, stop = 0;
	const char *content = " ";
	int ret;

	ret = json_get_u32(r->where, j, "start", 0, UINT8_MAX - 1, &start,
			   r->err);
	if (!ret)
		ret = json_get_u32(r->where, j, "stop", 0, UINT32_MAX, &stop,
				   r->err);
	if (!ret)
		ret = json_get_str(r->where, j, "content", &content, r->err);
	if (ret)
		return ret;
	if (stop || strcmp(content, " ") || (start && !r->fused))
		return refuse(r, "Strip other than of leading spaces");
	r->how->lead = (uint8_t)start;
	return 0;
}

static int read_metaspace(struct reader *r, const json_t *j)
{
	const char *space = SPELL_SPACE, *scheme = NULL;
	bool prefix = true;
	int ret;

	ret = json_get_str(r->where, j, "replacement", &space, r->err);
	if (!ret)
		ret = json_get_str(r->where, j, "prepend_scheme", &scheme,
				   r->err);
	if (!ret)
		ret = json_get_bool(r->where, j, "add_prefix_space", &prefix,
				    r->err);
	if (ret)
		return ret;
	if (r->fused)
		return refuse(r, "Metaspace after Fuse");
	r->how->lead_all = scheme ? strcmp(scheme, "never") != 0 : prefix;
	return set_replace(r, space);
}

static int read_one(struct reader *r, const json_t *j, bool inside)
{
	static const struct {
		const char *name;
		int (*read)(struct reader *r, const json_t *j);
	} kinds[] = {
		{ "ByteLevel", read_level },
		{ "Replace", read_replace },
		{ "ByteFallback", read_fallback },
		{ "Fuse", read_fuse },
		{ "Strip", read_strip },
		{ "Metaspace", read_metaspace },
	};
	const json_t *d, *list = json_object_get(j, "decoders");
	const char *type = NULL;
	size_t i;
	int ret;

	ret = json_get_str(r->where, j, "type", &type, r->err);
	if (ret)
		return ret;
	for (i = 0; type && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(type, kinds[i].name))
			return kinds[i].read(r, j);
	if (!type || strcmp(type, "Sequence") || inside)
		return refuse(r, type ? type : "without a type");
	json_array_foreach(list, i, d)
	{
		ret = read_one(r, d, true);
		if (ret)
			return ret;
	}
	return 0;
}

int decoder_read(struct spelling *ret, const char *where, const json_t *j,
		 struct err *err)
{
	struct reader r = { ret, where, err, false };
	int e;

	if (!j || json_is_null(j))
		return 0;
	e = read_one(&r, j, false);
	if (!e && ret->level &&
	    (ret->fallback || ret->replace_size || ret->lead || ret->lead_all))
		return refuse(&r, "ByteLevel among others");
	return e;
}
