/* SPDX-License-Identifier: MIT */
#include "text/stages.h"
#include "text/pattern.h"
#include "text/utf8.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX 8 /* sequences in sequences */

/* GPT-2's own pattern, which ByteLevel applies with use_regex. */
#define GPT2_PATTERN                                                           \
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"    \
	"|\\s+(?!\\S)|\\s+"

static int add_stage(struct stages *s, const char *where, struct stage st,
		     struct err *err)
{
	if (s->nr == STAGES_MAX) {
		pattern_close(st.pattern);
		return err_set(err, -EINVAL, "%s: more than %d stages", where,
			       STAGES_MAX);
	}
	s->stage[s->nr++] = st;
	return 0;
}

static int get_behavior(const char *where, const json_t *j, enum behavior *ret,
			struct err *err)
{
	static const char *const behaviors[] = {
		[ISOLATED] = "Isolated",
		[REMOVED] = "Removed",
		[CONTIGUOUS] = "Contiguous",
		[WITH_PREVIOUS] = "MergedWithPrevious",
		[WITH_NEXT] = "MergedWithNext",
	};
	const char *name = NULL;
	int i, r;

	r = json_get_str(where, j, "behavior", &name, err);
	if (r || !name)
		return r;
	for (i = 0; i <= WITH_NEXT; i++) {
		if (strcmp(name, behaviors[i]))
			continue;
		*ret = (enum behavior)i;
		return 0;
	}
	return err_set(err, -EINVAL, "%s: behavior is \"%s\", not known", where,
		       name);
}

static int open_pattern(struct stages *s, const char *where, const json_t *j,
			struct err *err)
{
	const json_t *p = json_object_get(j, "pattern");
	const json_t *str = json_object_get(p, "String");
	const json_t *src = str ? str : json_object_get(p, "Regex");
	struct stage st = { .kind = STAGE_PATTERN };
	int r;

	if (!json_is_string(src))
		return err_set(
			err, -EINVAL,
			"%s: Split needs pattern.String or pattern.Regex",
			where);
	r = get_behavior(where, j, &st.behavior, err);
	if (r)
		return r;
	r = json_get_bool(where, j, "invert", &st.invert, err);
	if (r)
		return r;
	r = pattern_open(&st.pattern, where, json_string_value(src),
			 json_string_length(src), str != NULL, err);
	return r ? r : add_stage(s, where, st, err);
}

static int open_digits(struct stages *s, const char *where, const json_t *j,
		       struct err *err)
{
	bool each = false;
	int r = json_get_bool(where, j, "individual_digits", &each, err);

	if (r)
		return r;
	return add_stage(s, where,
			 (struct stage){ .kind = STAGE_NUMBERS,
					 .behavior = each ? ISOLATED
							  : CONTIGUOUS },
			 err);
}

static int open_punctuation(struct stages *s, const char *where,
			    const json_t *j, struct err *err)
{
	struct stage st = { .kind = STAGE_PUNCT };
	int r = get_behavior(where, j, &st.behavior, err);

	return r ? r : add_stage(s, where, st, err);
}

static int open_byte_level(struct stages *s, const char *where, const json_t *j,
			   struct err *err)
{
	struct stage st = { .kind = STAGE_PATTERN };
	bool space = true, regex = true;
	int r;

	if (s->byte_level)
		return err_set(err, -ENOTSUP,
			       "%s: a second ByteLevel is not supported",
			       where);
	s->byte_level = true;
	r = json_get_bool(where, j, "add_prefix_space", &space, err);
	if (!r)
		r = json_get_bool(where, j, "use_regex", &regex, err);
	if (!r && space)
		r = add_stage(s, where,
			      (struct stage){ .kind = STAGE_SPACE_BEFORE },
			      err);
	if (!r && regex) {
		r = pattern_open(&st.pattern, where, GPT2_PATTERN,
				 strlen(GPT2_PATTERN), false, err);
		if (!r)
			r = add_stage(s, where, st, err);
	}
	if (!r)
		r = add_stage(s, where,
			      (struct stage){ .kind = STAGE_TO_CHARS }, err);
	return r;
}

/*
 * "prepend_scheme", or in older files "add_prefix_space"; the latter's false
 * wins over a scheme that is not there.
 */
static int get_prepend(const char *where, const json_t *j, enum prepend *ret,
		       struct err *err)
{
	static const char *const names[] = { [PREPEND_ALWAYS] = "always",
					     [PREPEND_FIRST] = "first",
					     [PREPEND_NEVER] = "never" };
	const char *name = NULL;
	bool space = true;
	int i, r;

	r = json_get_str(where, j, "prepend_scheme", &name, err);
	if (!r)
		r = json_get_bool(where, j, "add_prefix_space", &space, err);
	if (r)
		return r;
	if (!name)
		name = names[space ? PREPEND_ALWAYS : PREPEND_NEVER];
	for (i = 0; i <= PREPEND_NEVER; i++) {
		if (strcmp(name, names[i]))
			continue;
		*ret = (enum prepend)i;
		return 0;
	}
	return err_set(
		err, -EINVAL,
		"%s: prepend_scheme is \"%s\", allowed always, first, never",
		where, name);
}

static int open_metaspace(struct stages *s, const char *where, const json_t *j,
			  struct err *err)
{
	struct stage st = { .kind = STAGE_METASPACE };
	struct stage cut = { .kind = STAGE_PATTERN, .behavior = WITH_NEXT };
	const char *space = SPELL_SPACE;
	bool split = true;
	size_t n;
	int r;

	if (s->byte_level)
		return err_set(err, -ENOTSUP,
			       "%s: Metaspace after ByteLevel is not supported",
			       where);
	r = json_get_str(where, j, "replacement", &space, err);
	if (!r)
		r = get_prepend(where, j, &st.prepend, err);
	if (!r)
		r = json_get_bool(where, j, "split", &split, err);
	if (r)
		return r;
	n = strlen(space);
	if (!n || n > SPELL_REPLACE_MAX)
		return err_set(err, -EINVAL,
			       "%s: replacement of %zu bytes, allowed 1 to %d",
			       where, n, SPELL_REPLACE_MAX);
	memcpy(st.space, space, n);
	st.space_size = (uint8_t)n;
	r = add_stage(s, where, st, err);
	if (!r && split)
		r = pattern_open(&cut.pattern, where, space, n, true, err);
	if (!r && split)
		r = add_stage(s, where, cut, err);
	return r;
}

static int open_one(struct stages *s, const char *where, const json_t *j,
		    int depth, struct err *err)
{
	static const struct {
		const char *name;
		int (*open)(struct stages *s, const char *where,
			    const json_t *j, struct err *err);
	} kinds[] = {
		{ "Split", open_pattern },
		{ "Digits", open_digits },
		{ "Punctuation", open_punctuation },
		{ "ByteLevel", open_byte_level },
		{ "Metaspace", open_metaspace },
	};
	const json_t *list = json_object_get(j, "pretokenizers");
	const char *type = NULL;
	char at[160];
	size_t i;
	int r;

	r = json_get_str(where, j, "type", &type, err);
	if (r)
		return r;
	if (!type)
		return err_set(err, -EINVAL, "%s: no \"type\"", where);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(type, kinds[i].name))
			return kinds[i].open(s, where, j, err);
	if (strcmp(type, "Sequence"))
		return err_set(err, -ENOTSUP,
			       "%s: pre-tokenizer %s is not supported yet",
			       where, type);
	if (!json_is_array(list) || depth == DEPTH_MAX)
		return err_set(
			err, -EINVAL,
			"%s: Sequence needs an array \"pretokenizers\", at most %d deep",
			where, DEPTH_MAX);
	for (i = 0; !r && i < json_array_size(list); i++) {
		snprintf(at, sizeof(at), "%s.pretokenizers[%zu]", where, i);
		r = open_one(s, at, json_array_get(list, i), depth + 1, err);
	}
	return r;
}

int stages_init(struct stages *s, const char *where, const json_t *j,
		struct err *err)
{
	int r = 0;

	*s = (struct stages){ 0 };
	if (j && !json_is_null(j))
		r = open_one(s, where, j, 0, err);
	/* nothing looks at the byte alphabet any more, or somebody did */
	if (!r && s->byte_level && s->stage[s->nr - 1].kind == STAGE_TO_CHARS)
		s->nr--;
	else if (!r && s->byte_level)
		r = add_stage(s, where,
			      (struct stage){ .kind = STAGE_TO_BYTES }, err);
	if (r)
		stages_deinit(s);
	return r;
}

void stages_deinit(struct stages *s)
{
	uint32_t i;

	for (i = 0; i < s->nr; i++)
		pattern_close(s->stage[i].pattern);
	s->nr = 0;
}
