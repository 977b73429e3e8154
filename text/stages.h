/* SPDX-License-Identifier: MIT */
/*
 * stages.h - the "pre_tokenizer" of tokenizer.json, read: a list of simple
 * stages, each of which cuts every piece that the stage before it left, or
 * rewrites it.  split.h runs them.
 *
 * Supported: Split (a pattern or a string, every behavior, invert), Digits,
 * Punctuation, ByteLevel, Metaspace, Sequence.
 */
#ifndef TEXT_STAGES_H
#define TEXT_STAGES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "text/spell.h" /* SPELL_REPLACE_MAX */

struct err;
struct pattern;

#define STAGES_MAX 48

enum stage_kind {
	STAGE_PATTERN, /* pieces between matches, and matches */
	STAGE_NUMBERS, /* the same, a match is one character */
	STAGE_PUNCT,
	STAGE_SPACE_BEFORE, /* a piece that has none gets one */
	STAGE_TO_CHARS,	    /* bytes -> byte alphabet */
	STAGE_TO_BYTES,	    /* and back */
	STAGE_METASPACE,    /* " " -> U+2581, and one before the piece */
};

/* Which side a match joins; as tokenizer.json names them. */
enum behavior { ISOLATED, REMOVED, CONTIGUOUS, WITH_PREVIOUS, WITH_NEXT };

enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct stage {
	enum stage_kind kind;
	enum behavior behavior;
	bool invert;		 /* what does not match is the match */
	struct pattern *pattern; /* owned */
	/* STAGE_METASPACE */
	enum prepend prepend;
	uint8_t space[SPELL_REPLACE_MAX];
	uint8_t space_size;
};

struct stages {
	struct stage stage[STAGES_MAX];
	uint32_t nr;
	bool byte_level; /* pieces are spelled in bytes */
};

/*
 * From the JSON value of "pre_tokenizer"; null is no stage.  0, or -EINVAL,
 * -ENOTSUP (a kind not known here), -ENOMEM with @err naming @where; then @s
 * holds nothing.
 */
int stages_init(struct stages *s, const char *where, const json_t *j,
		struct err *err);
void stages_deinit(struct stages *s);

#endif
