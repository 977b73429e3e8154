/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - the regular expressions of tokenizer.json, by PCRE2.
 *
 * They are written for Oniguruma, which Hugging Face tokenizers uses, so a
 * pattern is first translated: \s, \w, \h, \b and \v mean other characters
 * there, (?m) is what PCRE2 calls (?s), ^ and $ match at every line, {n,m}+
 * repeats instead of being possessive, \p{Han} is the script alone.  What
 * cannot be translated (a class inside a class, &&) is refused, never
 * guessed.
 *
 * Patterns are interpreted, not compiled to machine code: a privileged process
 * that reads hostile text keeps no pages both writable and executable, and the
 * limits count the same everywhere.  Measured: a megabyte of English becomes
 * ids in 30 ms, with machine code in 17 (2 GHz AMD, one core).
 *
 * A pattern is read-only once open and may be shared by threads; each thread
 * has a workspace.
 */
#ifndef TEXT_PATTERN_H
#define TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct pattern;
struct pattern_work;

#define PATTERN_SOURCE_MAX 65536 /* bytes of a pattern as written */

/*
 * Compile @src; as it stands, without meaning, if @literal.  @where names
 * file and field in @err.  0, or -EINVAL, -ENOTSUP (good in Oniguruma, not
 * translated), -ENOMEM.
 */
int pattern_open(struct pattern **ret, const char *where, const char *src,
		 size_t size, bool literal, struct err *err);
void pattern_close(struct pattern *p);

/* 0 or -ENOMEM. */
int pattern_work_open(struct pattern_work **ret);
void pattern_work_close(struct pattern_work *w);

/* Where a search stands; all zero before the first. */
struct pattern_at {
	size_t pos;    /* search from here */
	size_t last;   /* end of the last match ... */
	bool has_last; /* ... if there was one */
};

/*
 * The next match in @s, valid UTF-8, no overlap with the one before; an empty
 * one at the end of the last is passed over (so does Rust's onig).  1 and
 * [*start, *end); 0: no more; -E2BIG: @s made the pattern run into its limit
 * of steps, a million and 64 a byte, or of memory; -EINVAL: a match that
 * makes no sense (\K).
 */
int pattern_next(const struct pattern *p, struct pattern_work *w,
		 const uint8_t *s, size_t size, struct pattern_at *at,
		 size_t *start, size_t *end);

#endif
