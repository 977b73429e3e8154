/* SPDX-License-Identifier: MIT */
/*
 * model.h - the backend that computes: a Hugging Face directory or a GGUF
 * file over an op set.  model_open() itself is declared in backend.h, where
 * its caller looks; here is what tests and benchmarks want besides.
 *
 * Options used: model, kv_bytes, kv, max_context, max_tokens_per_step (0 =
 * 512), max_seqs (0 = 64), threads, ops, weights_file, progress; with a library
 * also device, gpu_memory, gpu_share, weights.  kvsize.h says how the pool
 * is sized, gpusize.h what a GPU has for it.  At most MODEL_MAX_LOGITS rows of
 * logits are in memory at once, of a device MODEL_DEVICE_LOGITS.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

struct backend;
struct forward;

#define MODEL_MAX_LOGITS 64u
/*
 * A device reads the head's weights anew for each portion: Llama 3 8B's are a
 * gigabyte, and a step of 256 rows would read it four times.
 */
#define MODEL_DEVICE_LOGITS 256u

/*
 * The forward pass under @be, which model_open() made; borrowed.  After run()
 * its ctx holds the logits of the last portion of outputs: output i is row
 * i % max_logits of OPS_LOGITS (ops->peek).
 */
const struct forward *model_forward(const struct backend *be);

#endif
