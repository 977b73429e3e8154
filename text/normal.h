/* SPDX-License-Identifier: MIT */
/*
 * normal.h - the "normalizer" of tokenizer.json: NFC, NFD, NFKC, NFKD,
 * Lowercase, Prepend, Replace, Strip, Precompiled, and Sequence of these; and
 * the one that SentencePiece models describe in their own words.
 *
 * A struct normal is read-only once open and may be shared by threads.
 */
#ifndef TEXT_NORMAL_H
#define TEXT_NORMAL_H

#include <jansson.h>
#include <stdbool.h>
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
/* The normalizer_spec of a SentencePiece model. */
struct normal_sentence {
	bool prefix;  /* add_dummy_prefix: a space before all text */
	bool squeeze; /* remove_extra_whitespaces */
	bool escape;  /* escape_whitespaces: a space is written U+2581 */
};

/*
 * The same from a SentencePiece model; @map is its precompiled_charsmap,
 * @map_size 0 where it has none.  As above.
 */
int normal_open_sentence(struct normal **ret, const char *where,
			 const struct normal_sentence *how, const void *map,
			 size_t map_size, struct err *err);
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
