/* SPDX-License-Identifier: MIT */
/*
 * safetensors.h - one .safetensors file, mapped: names, types, shapes, bytes.
 *
 * The file: an unsigned 64-bit little-endian length N, N bytes of JSON, then
 * the data.  The JSON maps a name to {dtype, shape, data_offsets: [begin,
 * end)} with offsets from the start of the data; "__metadata__" is free text.
 * As the format's own reader does, we demand that the tensors cover the data
 * exactly, without hole or overlap (huggingface/safetensors, README, Format).
 *
 * Nothing is believed: length, nesting, counts, products and offsets are
 * checked before any tensor is handed out, so a tensor's bytes always lie
 * inside the map.  A file cut after that is SIGBUS (base/map.h).
 */
#ifndef CHECKPOINT_SAFETENSORS_H
#define CHECKPOINT_SAFETENSORS_H

#include <stdint.h>

#include "base/map.h"

struct err;

#define SAFETENSORS_MAX_HEADER 100000000u /* bytes; the format's own limit */
#define SAFETENSORS_MAX_DIMS   8u

struct safetensor {
	const char *name;  /* owned by the file */
	const char *dtype; /* static: "F32", "BF16", "I64", ... */
	uint32_t nr_dims;  /* 0: one number */
	uint64_t shape[SAFETENSORS_MAX_DIMS];
	const uint8_t *data; /* in the map; any alignment */
	uint64_t size;	     /* bytes: product of shape x size of dtype */
};

struct safetensors {
	struct map map;
	uint64_t header_size; /* 8 + N: where the data begins */
	uint64_t mtime_ns;    /* when the file was last changed; 0 in memory */
	uint32_t nr_tensors;
	struct safetensor *tensors; /* owned, in the order of their data */
};

/* Open @path.  0, or a negative errno, @err, and an empty @st. */
int safetensors_open(struct safetensors *st, const char *path, struct err *err);
/* Undo safetensors_open(); harmless on an empty one. */
void safetensors_close(struct safetensors *st);

/*
 * The same on bytes in memory (tests, fuzzing): @st->map stays empty, @data
 * must outlive @st.  @where names them in messages.
 */
int safetensors_parse(struct safetensors *st, const char *where,
		      const void *data, uint64_t size, struct err *err);

#endif
