/* SPDX-License-Identifier: MIT */
/*
 * split.h - the "pre_tokenizer" of tokenizer.json: cuts a normalized text
 * into the pieces that BPE merges on their own.
 *
 * Supported: Split (a pattern or a string, every behavior, invert), Digits,
 * Punctuation, ByteLevel, Sequence.  Each is made into one or two simple
 * stages; a stage cuts every piece that the stage before it left, looking at
 * that piece alone, as Hugging Face tokenizers does.
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
#include <stddef.h>
#include <stdint.h>

struct err;
struct split;
struct split_work;

/*
 * From the JSON value of "pre_tokenizer".  0, or -EINVAL, -ENOTSUP (not
 * byte-level, or a kind not known here), -ENOMEM with @err naming @where.
 */
int split_open(struct split **ret, const char *where, const json_t *j,
	       struct err *err);
void split_close(struct split *s);

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
 * Cut @s, valid UTF-8 under 2^30 bytes.  The result is good until the next
 * call.  0, -ENOMEM, or -E2BIG: a pattern ran into its limit.
 */
int split_run(const struct split *sp, struct split_work *w, const uint8_t *s,
	      size_t size, struct split_result *ret);

/*
 * GPT-2's byte alphabet: the character that stands for byte @b, and back
 * (-1: @cp stands for none).
 */
uint32_t split_byte_char(uint8_t b);
int split_char_byte(uint32_t cp);

#endif
