/* SPDX-License-Identifier: MIT */
/*
 * gguf_out.h - a GGUF file's head, made in memory: metadata and what tensors
 * there are and where.  The tensors' bytes are the caller's to write behind
 * it, each at head size + its offset; so a model may be larger than memory.
 *
 * Memory that runs out is remembered and reported by gguf_out_head(): what
 * stands before needs no check.  What is put is the caller's word: keys once
 * each, no tensor twice.
 */
#ifndef BASE_GGUF_OUT_H
#define BASE_GGUF_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gguf.h"

struct err;

#define GGUF_OUT_ALIGN 32u

struct gguf_bytes {
	uint8_t *data; /* owned */
	size_t size, cap;
};

struct gguf_out {
	struct gguf_bytes values, tensors; /* as they stand in the file */
	uint32_t nr_values, nr_tensors;
	uint64_t data_size; /* bytes of tensors so far, padding included */
	bool no_memory;
};

/* All zero is an empty one. */
void gguf_out_deinit(struct gguf_out *o);

void gguf_out_u32(struct gguf_out *o, const char *key, uint32_t v);
void gguf_out_f32(struct gguf_out *o, const char *key, float v);
void gguf_out_bool(struct gguf_out *o, const char *key, bool v);
void gguf_out_str(struct gguf_out *o, const char *key, const char *v);
/* A value of another file as it is. */
void gguf_out_copy(struct gguf_out *o, const struct gguf_value *v);
/* An array's head; @count calls of _item_ for that kind must follow. */
void gguf_out_array(struct gguf_out *o, const char *key, enum gguf_kind kind,
		    uint64_t count);
void gguf_out_item_str(struct gguf_out *o, const char *s, size_t size);
void gguf_out_item_i32(struct gguf_out *o, int32_t v);
void gguf_out_item_f32(struct gguf_out *o, float v);

/* A tensor behind the last one: its offset in the data. */
uint64_t gguf_out_tensor(struct gguf_out *o, const char *name, uint32_t nr_dims,
			 const uint64_t *dims, const struct gguf_type *type);

/*
 * The whole head, padded to GGUF_OUT_ALIGN, into *ret, which the caller
 * free()s.  0, or -ENOMEM and @err.
 */
int gguf_out_head(const struct gguf_out *o, uint8_t **ret, size_t *ret_size,
		  struct err *err);

#endif
