/* SPDX-License-Identifier: MIT */
/*
 * arch_out.h - a directory's configuration in the words of a GGUF file: the
 * way back of arch_gguf.h, so that what is written reads back the same.
 */
#ifndef CHECKPOINT_ARCH_OUT_H
#define CHECKPOINT_ARCH_OUT_H

struct arch;
struct arch_generation;
struct err;
struct gguf_out;

/*
 * Put general.architecture and all that belongs to it, general.sampling and
 * the end ids of @arch into @out.  0, or -ENOTSUP and @err for what the form
 * cannot say: windows that differ between layers, a yarn without truncation.
 * Llama 3's scaling is a tensor: arch_out_divisors().
 */
int arch_out(struct gguf_out *out, const struct arch *arch,
	     const struct arch_generation *gen, struct err *err);

/*
 * What frequency of pair i < head_dim / 2 is divided by, into @ret: the
 * tensor rope_freqs.weight.  How many; 0 where there is no such tensor.
 */
unsigned arch_out_divisors(const struct arch *arch, float *ret);

#endif
