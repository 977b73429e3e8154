/* SPDX-License-Identifier: MIT */
/*
 * split.h - the "pre_tokenizer" of tokenizer.json at work: cuts a normalized
 * text into the pieces that the model sees on their own.
 *
 * What it does is read into stages (stages.h); a stage cuts every piece that
 * the stage before it left, looking at that piece alone, as Hugging Face
 * tokenizers does.
 *
 * After ByteLevel the text is seen in GPT-2's byte alphabet (a character for
 * every byte).  Where stages follow it they are given that text; the answer
 * is always bytes again.
 *
 * A struct split is read-only once open and may be shared by threads.
 */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct split;
struct split_work;

/*
 * From the JSON value of "pre_tokenizer"; null leaves a text whole.  0, or
 * -EINVAL, -ENOTSUP (a kind not known here), -ENOMEM with @err naming @where.
 */
int split_open(struct split **ret, const char *where, const json_t *j,
	       struct err *err);
void split_close(struct split *s);
/* Are pieces spelled in bytes (ByteLevel), or in characters? */
bool split_is_byte_level(const struct split *s);

/* A thread's buffers and result. */
int split_work_open(struct split_work **ret);
void split_work_close(struct split_work *w);

struct span {
	uint32_t start, end; /* bytes */
};

struct split_result {
	const uint8_t *s; /* the input, or in the workspace where it grew */
	const struct span *span; /* [nr], none empty, in order */
	size_t nr;
};

/*
 * Cut @s, valid UTF-8 under 2^30 bytes.  @first: it begins where the whole
 * text began (Metaspace asks).  The result is good until the next call.  0,
 * -ENOMEM, or -E2BIG: a pattern ran into its limit.
 */
int split_run(const struct split *sp, struct split_work *w, const uint8_t *s,
	      size_t size, bool first, struct split_result *ret);

#endif
