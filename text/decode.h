/* SPDX-License-Identifier: MIT */
/*
 * decode.h - ids to text, one at a time, never half a character.
 *
 * A token's bytes may end inside a UTF-8 character.  Such bytes (at most 3)
 * stay pending and are handed out by the token that completes the character:
 * what has been handed out is always whole characters, and all of it joined
 * is the decoding of the whole stream, wherever it was cut.  Bytes that can
 * no longer become a character are handed out as one U+FFFD for every maximal
 * broken part, at the token that shows it, or at the end.
 *
 * In a stream's log: text_end after a token = bytes handed out so far; text
 * ends on a code point boundary with nothing owed (LLM_TOK_F_UTF8) when
 * nothing is pending.  The state is a function of the ids alone, so a new
 * engine finds it again by decode_skip() over prompt and log.
 *
 * A SentencePiece text loses the space that was put before it: the first
 * token that shows anything gives it up (vocab.h, lead).
 *
 * struct decode is a value: copy it to look ahead.  Nothing here allocates.
 */
#ifndef TEXT_DECODE_H
#define TEXT_DECODE_H

#include <stddef.h>
#include <stdint.h>

struct vocab;

enum {
	DECODE_SPECIAL = 1 << 0, /* special tokens show their name */
};

struct decode {
	uint8_t pending[3]; /* a beginning of one character */
	uint8_t nr_pending;
	uint8_t flags; /* DECODE_* */
	uint8_t begun; /* spaces given up so far; DECODE_BEGUN: text came */
};

#define DECODE_BEGUN UINT8_MAX

/* Bytes that one decode_feed() may hand out for a token of @size bytes. */
#define DECODE_CAP(size) (3 * ((size_t)(size) + 1))

static inline void decode_init(struct decode *d, unsigned flags)
{
	*d = (struct decode){ .flags = (uint8_t)flags };
}

/*
 * Take token @id, write the text it sets free to @out.  Special tokens set
 * none free and complete nothing; nor does an id without a token.  Returns
 * the bytes written, or -ENOSPC with @d and @out as they were where @cap is
 * too small; DECODE_CAP(v->token_max) always suffices.
 */
long decode_feed(struct decode *d, const struct vocab *v, uint32_t id,
		 uint8_t *out, size_t cap);

/* The end: U+FFFD where bytes are pending.  Returns 0 or 3; nothing pends. */
size_t decode_end(struct decode *d, uint8_t out[3]);

/*
 * Move over @nr ids whose text nobody wants again: a prompt before its first
 * generated token, or prompt and then log after a restart.  A prompt that
 * ends inside a character is not shown again; the character appears whole
 * with the token that completes it.  Costs O(1) for usual ids (it looks at
 * the last three bytes only).
 */
void decode_skip(struct decode *d, const struct vocab *v, const uint32_t *ids,
		 size_t nr);

/* The same for bytes that are no token of this vocabulary. */
long decode_bytes(struct decode *d, const uint8_t *s, size_t size, uint8_t *out,
		  size_t cap);

#endif
