/* SPDX-License-Identifier: MIT */
/*
 * oniguruma.h - a regular expression written for Oniguruma (its default
 * syntax, UTF-8), rewritten for PCRE2 with UTF, UCP and MULTILINE.
 * See doc/RE of Oniguruma and pcre2pattern(3).
 */
#ifndef TEXT_ONIGURUMA_H
#define TEXT_ONIGURUMA_H

#include <stddef.h>

struct bytes;
struct err;

/*
 * Append the translation of @src to @out.  0, -ENOMEM, -EINVAL (not a
 * pattern) or -ENOTSUP (not translated) with @err, where @where is named.
 */
int oniguruma_translate(struct bytes *out, const char *where, const char *src,
			size_t size, struct err *err);

#endif
