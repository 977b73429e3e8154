/* SPDX-License-Identifier: MIT */
/*
 * gguf_get.h - the one checked way to read numbers, names and flags out of a
 * GGUF file's metadata; what json.h is for JSON.
 *
 * Each message names file and key, says what was found and what is allowed.
 */
#ifndef BASE_GGUF_GET_H
#define BASE_GGUF_GET_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct gguf;
struct gguf_value;

/*
 * Read the value of @key into *ret.  A key that is absent leaves *ret as it
 * is: set the default before.  0, or -EINVAL and @err where the type or the
 * range is not as stated.  Integers of any width and sign serve, and as
 * numbers reals too; what is read must be in [min, max], and finite.
 */
int gguf_get_u64(const struct gguf *g, const char *key, uint64_t min,
		 uint64_t max, uint64_t *ret, struct err *err);
int gguf_get_u32(const struct gguf *g, const char *key, uint32_t min,
		 uint32_t max, uint32_t *ret, struct err *err);
int gguf_get_f64(const struct gguf *g, const char *key, double min, double max,
		 double *ret, struct err *err);
int gguf_get_bool(const struct gguf *g, const char *key, bool *ret,
		  struct err *err);
/* A copy the caller free()s (any old *ret is not freed); no NUL inside. */
int gguf_get_str(const struct gguf *g, const char *key, char **ret,
		 struct err *err);

enum gguf_items { GGUF_STRINGS, GGUF_INTEGERS, GGUF_NUMBERS };

/*
 * The array @key of items of that sort; *ret is borrowed from @g, untouched
 * where the key is absent.  0, or -EINVAL and @err.
 */
int gguf_get_array(const struct gguf *g, const char *key, enum gguf_items sort,
		   const struct gguf_value **ret, struct err *err);

/* Item @i < count of GGUF_INTEGERS; a U64 above INT64_MAX reads as that. */
int64_t gguf_int(const struct gguf_value *v, uint64_t i);
/* Item @i < count of GGUF_NUMBERS; may be infinite or NaN. */
double gguf_number(const struct gguf_value *v, uint64_t i);

#endif
