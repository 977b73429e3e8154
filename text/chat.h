/* SPDX-License-Identifier: MIT */
/*
 * chat.h - one user turn, wrapped as the model's chat template says.
 *
 * Templates are programs (Jinja).  Until that language is spoken here, a few
 * fixed forms are recognised by the template's text and written by hand; any
 * other is refused.  The ids are those of the rendered text encoded as one,
 * so what stands around the user's words is as the model was trained.
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include <stddef.h>

struct encode;
struct err;
struct ids;
struct vocab;

enum chat_kind {
	CHAT_NONE,   /* no template, or none of these */
	CHAT_CHATML, /* <|im_start|>user\n...<|im_end|>\n (Qwen2, Qwen3) */
	CHAT_LLAMA3, /* <|start_header_id|>user<|end_header_id|>\n\n... */
	CHAT_GEMMA,  /* <start_of_turn>user\n...<end_of_turn>\n (Gemma 1, 2) */
	CHAT_PHI3,   /* <|user|>\n...<|end|>\n<|assistant|>\n */
	CHAT_TURNS,  /* our own models: <|begin|><|user|>...<|assistant|> */
};

/* Which form the model's template has. */
enum chat_kind chat_kind(const struct vocab *v);

/*
 * Append the ids of a conversation of one user turn, @text (@size bytes, any
 * bytes), up to where the model is to answer: with the default system prompt
 * where the template has one, and BOS exactly once where template or
 * tokenizer put one.  The template's own special tokens count always; what
 * the user wrote is plain text unless @flags has ENCODE_SPECIAL (encode.h).
 * 0; -ENOTSUP: no template, or an unknown one; or as encode().
 */
int chat_encode(struct encode *e, const void *text, size_t size, unsigned flags,
		struct ids *out, struct err *err);

#endif
