/* SPDX-License-Identifier: MIT */
/*
 * beside.h - the files beside a tokenizer: tokenizer_config.json, which names
 * bos and eos and has the last word on whether they are put around a text,
 * and the chat template, there or in chat_template.jinja.
 */
#ifndef TEXT_BESIDE_H
#define TEXT_BESIDE_H

#include <stddef.h>

struct recipe;

/*
 * Read what is in folder @dir into @r, whose tokens are all there.  None of
 * the files need be.  0, -EINVAL, -ENOMEM with the recipe's err.
 */
int beside_read(struct recipe *r, const char *dir);
/* The same for a template found elsewhere (GGUF). */
int beside_template(struct recipe *r, const char *where, const void *s,
		    size_t size);

#endif
