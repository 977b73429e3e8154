/* SPDX-License-Identifier: MIT */
/*
 * library.h - an op set in a library of its own, loaded while the process runs
 * (libllm-cuda.so), so that a machine without a GPU needs nothing of it.  Only
 * the engine loads one, after the fork: what a GPU's library leaves behind in
 * a process does not survive a fork.
 */
#ifndef KERNELS_LIBRARY_H
#define KERNELS_LIBRARY_H

#include "kernels/ops.h"

struct err;

#define OPS_LIBRARY_SYMBOL "llm_ops_library"

/* What both sides must mean alike. */
#define OPS_LIBRARY_SIZES                                                      \
	{                                                                      \
		sizeof(struct ops), sizeof(struct ops_shape),                  \
			sizeof(struct ops_limits), sizeof(struct ops_layer),   \
			sizeof(struct ops_ends), sizeof(struct step),          \
			sizeof(struct step_out), sizeof(struct sampler),       \
	}
#define OPS_LIBRARY_NR_SIZES 8u

/* What the library has under that name. */
struct ops_library {
	uint32_t size; /* of this struct */
	uint32_t sizes[OPS_LIBRARY_NR_SIZES];
	char version[32]; /* of the tree that it was built from */
	const struct ops *ops;
};

/*
 * The op set in the library @path; a bare name is looked for beside this
 * program first, then where the loader looks.  It stays loaded.  0, or and
 * @err: -ENOENT (not there, or not a library), -EINVAL (of another version).
 */
int ops_load(const char *path, const struct ops **ret_ops, struct err *err);

#endif
