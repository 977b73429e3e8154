/* SPDX-License-Identifier: MIT */
/*
 * arch_gguf.h - what a GGUF file's metadata says a model is, in the words of
 * arch.h.
 *
 * Keys are those of docs/gguf.md and of llama.cpp's loader, "llama.block_count"
 * and so on; where they are silent, llama.cpp's defaults count.  Some things
 * no key says: biases and a head of its own are there if their tensors are,
 * and the vocabulary has as many ids as the embedding has rows.
 *
 * Two things differ from a directory.  Files of architecture "llama" (Llama,
 * Mistral) keep the rows of q and k of each head in the order of rotary pairs
 * (0, D/2, 1, D/2 + 1, ...): arch->qk_pairs says so.  And Llama 3's scaling
 * comes as a tensor of divisors, rope_freqs.weight.
 *
 * Same rules as arch.h: bounded, whole or not at all, and what would change
 * the function and is not understood is refused.
 */
#ifndef CHECKPOINT_ARCH_GGUF_H
#define CHECKPOINT_ARCH_GGUF_H

struct arch;
struct arch_generation;
struct err;
struct tensors;

/*
 * @tensors is of a GGUF file (or set).  0, or -EINVAL and @err.
 * Generation: general.sampling.*, greedy where they are not there.
 */
int arch_read_gguf(struct arch *arch, struct arch_generation *gen,
		   const struct tensors *tensors, struct err *err);

#endif
