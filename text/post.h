/* SPDX-License-Identifier: MIT */
/*
 * post.h - the "post_processor" of tokenizer.json, which puts ids around a
 * text.
 */
#ifndef TEXT_POST_H
#define TEXT_POST_H

#include <jansson.h>
#include <stdint.h>

struct err;

#define POST_AROUND_MAX 8 /* ids on one side */

struct post {
	uint32_t before[POST_AROUND_MAX], after[POST_AROUND_MAX];
	uint32_t nr_before, nr_after;
};

/*
 * Read the JSON value of "post_processor" (null: nothing is put anywhere)
 * into @ret, zeroed by the caller; ids are less than @nr_ids.  Supported:
 * TemplateProcessing, ByteLevel, Sequence of these.  0, or -EINVAL or
 * -ENOTSUP with @err naming the file @where; then @ret may be half filled.
 */
int post_read(struct post *ret, const char *where, const json_t *j,
	      uint32_t nr_ids, struct err *err);

#endif
