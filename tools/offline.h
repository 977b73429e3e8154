/* SPDX-License-Identifier: MIT */
/* offline.h - text to ids by a model's own files, without the service. */
#ifndef TOOLS_OFFLINE_H
#define TOOLS_OFFLINE_H

#include <stddef.h>

struct arg_ids;
struct vocab;

/*
 * The vocabulary at @model (what vocab_open() takes; NULL: LLM_MODEL).
 * 0 and *ret, which the caller vocab_close()s; or an exit code, after a line.
 */
int offline_open(const char *model, struct vocab **ret);
/* Append the ids of @text to @ids; @flags are ENCODE_*.  0, or as above. */
int offline_encode(const struct vocab *v, const char *text, size_t size,
		   unsigned flags, struct arg_ids *ids);

#endif
