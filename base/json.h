/* SPDX-License-Identifier: MIT */
/*
 * json.h - the one checked way to read numbers, names and flags out of JSON
 * (config.json, tokenizer.json, safetensors headers), over jansson.
 *
 * Every getter names file and field in its message, says what it found and
 * what is allowed.  @where is the file's name (borrowed, for messages).
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct err;

/* Parse @size bytes; NULL and @err on error.  The caller json_decref()s. */
json_t *json_parse(const char *where, const void *text, size_t size,
		   struct err *err);
/* The same for a whole file. */
json_t *json_read_file(const char *path, struct err *err);

/*
 * Read field @key of object @obj into *ret.  A field that is absent (or null)
 * leaves *ret as it is: set the default before; json_has() tells required
 * ones.  0, or -EINVAL with @err when type or range is not as stated.
 */
bool json_has(const json_t *obj, const char *key);
int json_get_u64(const char *where, const json_t *obj, const char *key,
		 uint64_t min, uint64_t max, uint64_t *ret, struct err *err);
/* The same into 32 bits; @max must fit. */
int json_get_u32(const char *where, const json_t *obj, const char *key,
		 uint32_t min, uint32_t max, uint32_t *ret, struct err *err);
/* A finite number, integer or real, in [min, max]. */
int json_get_f64(const char *where, const json_t *obj, const char *key,
		 double min, double max, double *ret, struct err *err);
int json_get_bool(const char *where, const json_t *obj, const char *key,
		  bool *ret, struct err *err);
/* Borrowed from @obj; no NUL inside. */
int json_get_str(const char *where, const json_t *obj, const char *key,
		 const char **ret, struct err *err);

#endif
