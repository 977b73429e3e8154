/* SPDX-License-Identifier: MIT */
/*
 * read_json.h - tokenizer.json of Hugging Face tokenizers, read into a recipe:
 * models BPE and Unigram.
 */
#ifndef TEXT_READ_JSON_H
#define TEXT_READ_JSON_H

struct recipe;

/*
 * Read r->path.  0, -ENOENT, -EINVAL (not right), -ENOTSUP (good, of a kind
 * not supported), -ENOMEM with the recipe's err; the caller deinits @r.
 */
int read_json(struct recipe *r);

#endif
