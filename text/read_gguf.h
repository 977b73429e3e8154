/* SPDX-License-Identifier: MIT */
/*
 * read_gguf.h - the vocabulary inside a GGUF file (tokenizer.ggml.*), read
 * into a recipe: models "gpt2" (byte-level BPE), "llama" (SentencePiece BPE)
 * and "t5" (SentencePiece unigram).
 */
#ifndef TEXT_READ_GGUF_H
#define TEXT_READ_GGUF_H

struct recipe;

/* Read r->path.  As read_json(); "none" and other models are -ENOTSUP. */
int read_gguf(struct recipe *r);

#endif
