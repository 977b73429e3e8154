/* SPDX-License-Identifier: MIT */
/*
 * pre.h - pre-tokenizers by the names that GGUF files give them
 * (tokenizer.ggml.pre): the rules that stood in the model's tokenizer.json.
 */
#ifndef TEXT_PRE_H
#define TEXT_PRE_H

#include <jansson.h>
#include <stdbool.h>

struct pre; /* one row of the table */

/* NULL: not known. */
const struct pre *pre_find(const char *name);

/*
 * The way back: the name of the rules that a tokenizer.json's "pre_tokenizer",
 * "normalizer" and the model's "ignore_merges" state, or NULL where no row of
 * the table has just these.
 */
const char *pre_name(const json_t *pre_tokenizer, const json_t *normalizer,
		     bool ignore_merges);

/* The values of "pre_tokenizer" and "normalizer" of such a tokenizer.json,
 * new references that the caller json_decref()s; NULL: no memory. */
json_t *pre_tokenizer(const struct pre *p);
json_t *pre_normalizer(const struct pre *p);

/* A piece that is a token is that token; BOS comes first unless said. */
bool pre_ignore_merges(const struct pre *p);
bool pre_adds_bos(const struct pre *p);

#endif
