/* SPDX-License-Identifier: MIT */
/*
 * encode.h - text to ids.
 *
 * The same ids as Hugging Face tokenizers gives, by the same steps: added
 * tokens are cut out, what is between them is normalized, split by the
 * model's patterns, and each piece is merged by BPE.  Text that is not UTF-8
 * is read with U+FFFD for every maximal broken part (utf8.h).
 *
 * Time is n log n at most in the text's length for the patterns of all known
 * models, whatever the text (bpe.h, added.h, normal.h each say why); a
 * pattern that would run away meets the limit of pattern.h.
 */
#ifndef TEXT_ENCODE_H
#define TEXT_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "text/vec.h" /* struct ids: where the result goes */

struct err;
struct vocab;

/* Longest text in bytes: offsets, of cleaned text too, stay in 31 bits. */
#define ENCODE_TEXT_MAX (UINT32_C(1) << 28)

enum {
	/* special tokens written in the text count; else they are plain text
	 * (added tokens that are not special count always, as in HF) */
	ENCODE_SPECIAL = 1 << 0,
	/* put before the text what the tokenizer says: BOS, or nothing.  Where
	 * the text itself already begins with it (ENCODE_SPECIAL), not twice */
	ENCODE_BOS = 1 << 1,
	/* put after the text what the tokenizer says: seldom what one wants
	 * for generation */
	ENCODE_EOS = 1 << 2,
};

/* A workspace: buffers kept between texts.  One thread at a time. */
struct encode;

/* @v is borrowed and outlives the workspace.  0 or -ENOMEM. */
int encode_open(struct encode **ret, const struct vocab *v);
void encode_close(struct encode *e);

/*
 * Append the ids of @text (@size bytes, any bytes) to @out, with ENCODE_*
 * @flags.  0; -E2BIG: text too long, or a pattern of the model ran into its
 * limit on this text; -ENOMEM.  On error @out holds what it held before.
 */
int encode(struct encode *e, const void *text, size_t size, unsigned flags,
	   struct ids *out, struct err *err);

/*
 * The same for a text of which a part, bytes [plain, plain_end), is not
 * trusted to hold special tokens: there they are plain text whatever @flags,
 * and so is one that begins in the part or reaches into it.  What surrounds
 * the part is encoded together with it, as one text, so the ids are those of
 * HF for the rendered template.  @text must be valid UTF-8.
 */
int encode_around(struct encode *e, const void *text, size_t size, size_t plain,
		  size_t plain_end, unsigned flags, struct ids *out,
		  struct err *err);

/* Work units so far (bytes looked at, heap moves): tests of linearity. */
uint64_t encode_work(const struct encode *e);
/* The vocabulary it was opened with. */
const struct vocab *encode_vocab(const struct encode *e);

#endif
