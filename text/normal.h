/* SPDX-License-Identifier: MIT */
/*
 * normal.h - the "normalizer" of tokenizer.json: NFC, NFD, NFKC, NFKD,
 * Lowercase, Prepend, Replace, and Sequence of these.
 *
 * Unicode forms by utf8proc's tables, with an own canonical ordering: the
 * library's is an insertion sort, quadratic on a long run of combining marks.
 * A struct normal is read-only once open and may be shared by threads.
 */
#ifndef TEXT_NORMAL_H
#define TEXT_NORMAL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct normal;
struct normal_work;

/*
 * From the JSON value of "normalizer"; null or one without effect gives
 * *ret = NULL.  0, or -EINVAL, -ENOTSUP, -ENOMEM with @err, which names
 * @where.
 */
int normal_open(struct normal **ret, const char *where, const json_t *j,
		struct err *err);
void normal_close(struct normal *n);

/* A thread's buffers.  0 or -ENOMEM. */
int normal_work_open(struct normal_work **ret);
void normal_work_close(struct normal_work *w);

/*
 * Normalize @s, valid UTF-8.  *ret is @s itself where nothing changes, else
 * valid UTF-8 in @w, good until the next call.  @n may be NULL.  0, -ENOMEM,
 * or -E2BIG: a pattern ran into its limit, or the text would grow past 2 GiB.
 * n log n in the size.
 */
int normal_apply(const struct normal *n, struct normal_work *w,
		 const uint8_t *s, size_t size, const uint8_t **ret,
		 size_t *ret_size);

#endif
