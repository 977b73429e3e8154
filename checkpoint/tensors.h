/* SPDX-License-Identifier: MIT */
/*
 * tensors.h - a model's tensors by name, whatever file they lie in.
 *
 * A directory holds model.safetensors, or model.safetensors.index.json whose
 * weight_map says which of its files (beside it: no path is followed) holds
 * which tensor.  A GGUF file is a model by itself, or one part of a split one
 * ("NAME-00001-of-00003.gguf": any part names the set).  Files are mapped and
 * never copied; WILLNEED asks the kernel to read ahead.
 *
 * All tensors bear Hugging Face's names (names.h).  Read-only once open.
 */
#ifndef CHECKPOINT_TENSORS_H
#define CHECKPOINT_TENSORS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct gguf;
struct safetensors;

#define TENSORS_MAX_FILES 1024u
#define TENSORS_MAX_DIMS  8u

struct tensor {
	const char *name; /* Hugging Face's; owned by struct tensors */
	const char *type; /* static: "F32", "Q4_K", "I64" */
	uint32_t nr_dims; /* 0: one number */
	uint64_t shape[TENSORS_MAX_DIMS]; /* slowest first: [rows, cols] */
	const uint8_t *data;		  /* in the map; any alignment */
	uint64_t size;			  /* bytes */
};

struct tensors {
	char *path; /* owned: the directory or the (first) file, for messages */
	uint32_t nr_files;
	/* one of the two is there, owned: [nr_files], as they were opened */
	struct safetensors *safetensors;
	struct gguf *gguf;
	uint32_t nr;
	struct tensor *v; /* owned: [nr], by name */
	char *names;	  /* owned: where names were translated */
	uint64_t size;	  /* bytes of data in all files */
};

/* Open the tensors at @path.  0, or a negative errno and @err. */
int tensors_open(struct tensors *t, const char *path, struct err *err);
/*
 * The same of a GGUF file in memory (tests, fuzzing): @data must outlive @t.
 * @where names it in messages.
 */
int tensors_parse_gguf(struct tensors *t, const char *where, const void *data,
		       uint64_t size, struct err *err);
/* Undo either; harmless on an empty one.  Nothing handed out outlives it. */
void tensors_close(struct tensors *t);

/* The tensor @name, or NULL. */
const struct tensor *tensors_find(const struct tensors *t, const char *name);

/* "[464, 64]" for messages: the shape of @x, as much as fits. */
const char *tensors_shape(const struct tensor *x, char buf[64]);

/*
 * The pages of @x are not needed soon (advice): so that one pass over a model
 * larger than memory holds little of it.
 */
void tensors_done(const struct tensor *x);

/* Bytes and time of last change (ns; 0: not known) of file @i < nr_files. */
void tensors_file(const struct tensors *t, uint32_t i, uint64_t *ret_size,
		  uint64_t *ret_mtime_ns);

#endif
