/* SPDX-License-Identifier: MIT */
/*
 * quantize.h - a model's tensors into a GGUF file of another type, tensor by
 * tensor and some rows at a time, so that a model larger than memory goes
 * through: what is read is mapped, what is written is written, a few MiB are
 * held.
 *
 * Matrices get the wanted type, vectors stay F32.  Two exceptions, which
 * llama.cpp makes too: the head (or the embedding that is the head) keeps six
 * bits or more, unless `pure`; and where rows are no multiple of a type's
 * block, the type next to it with a smaller block stands in.
 */
#ifndef TOOLS_QUANTIZE_H
#define TOOLS_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/names.h"
#include "kernels/formats.h"

struct checkpoint;
struct err;

struct quantize_options {
	enum weight_type type;
	bool pure;
	uint32_t threads; /* 0 = as many CPUs as we may use */
	/* optional: bytes read so far, of so many, and the tensor at work */
	void (*progress)(void *arg, uint64_t done, uint64_t total,
			 const char *name);
	void *progress_arg;
};

/* What became of a tensor. */
struct quantize_line {
	char name[NAMES_MAX];	 /* as in the file that was written */
	const char *from, *to;	 /* types; static */
	uint64_t rows, cols;	 /* rows 0: a vector, or taken over as it is */
	uint64_t numbers, bytes; /* bytes: as written */
	/*
	 * Root of the mean squared error, as a part of the root of the mean
	 * square of the numbers; and the largest error.  0: the same numbers.
	 */
	double rms, worst;
};

struct quantize_report {
	struct quantize_line *line; /* owned: [nr], in the order of the file */
	uint32_t nr;
	uint64_t file_bytes;
	char no_text[240]; /* why the file has no tokenizer; "" = it has */
};

/*
 * Write model @c, which was opened at @in, to @out.  The file appears whole or
 * not at all: it is written beside and renamed.  0 and *ret, which the caller
 * quantize_free()s; or a negative errno and @err.  Starts and ends threads.
 */
int quantize(const struct quantize_options *opt, const struct checkpoint *c,
	     const char *in, const char *out, struct quantize_report *ret,
	     struct err *err);
void quantize_free(struct quantize_report *r);

#endif
