/* SPDX-License-Identifier: MIT */
/*
 * vocab_out.h - a directory's tokenizer in the words of a GGUF file, as
 * llama.cpp's converter writes them (tokenizer.ggml.*): so the one file is
 * enough, here and there.
 *
 * Byte-level BPE is "gpt2" with its merges and the name of its way to split
 * text; BPE over characters with byte fallback is "llama", SentencePiece's,
 * whose scores say the order of merges.  A way to split that has no name we
 * know, or another kind of tokenizer, is not guessed at: the file serves ids.
 */
#ifndef TOOLS_VOCAB_OUT_H
#define TOOLS_VOCAB_OUT_H

#include <stdint.h>

struct err;
struct gguf_out;

/*
 * Put the tokenizer of folder @dir into @out, for a model of @rows ids.  0; or
 * -ENOTSUP and @err with the reason why the file has no text, and @out says
 * so ("none"); or another negative errno and @err.
 */
int vocab_out(struct gguf_out *out, const char *dir, uint32_t rows,
	      struct err *err);

#endif
