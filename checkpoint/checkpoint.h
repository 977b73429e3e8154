/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.h - a model as people keep it: a Hugging Face directory
 * (config.json, *.safetensors) or a GGUF file, opened whole: what it is, how
 * it likes to be sampled, and its tensors.
 */
#ifndef CHECKPOINT_CHECKPOINT_H
#define CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>

#include "checkpoint/arch.h"
#include "checkpoint/tensors.h"

struct err;

struct checkpoint {
	struct arch arch;
	struct arch_generation generation;
	struct tensors tensors; /* nr_files 0: configuration alone */
};

/*
 * Open the model at @path.  0, or a negative errno, @err, and an empty @c;
 * -ENOTDIR for a file that is no GGUF.  Whether the tensors fit the
 * configuration is for who binds them.
 */
int checkpoint_open(struct checkpoint *c, const char *path, struct err *err);
/*
 * The same for those who only want figures: a config.json, or a directory
 * with nothing else, will do; @c->tensors is empty then.
 */
int checkpoint_open_config(struct checkpoint *c, const char *path,
			   struct err *err);
/* Undo either; harmless on an empty one. */
void checkpoint_close(struct checkpoint *c);

#endif
