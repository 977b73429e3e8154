/* SPDX-License-Identifier: MIT */
#include "base/gguf_out.h"
#include "base/err.h"
#include "base/little.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 3u

static uint64_t padded(uint64_t n)
{
	return (n + GGUF_OUT_ALIGN - 1) / GGUF_OUT_ALIGN * GGUF_OUT_ALIGN;
}

static void put(struct gguf_out *o, struct gguf_bytes *b, const void *data,
		size_t size)
{
	size_t cap = b->cap ? b->cap : 4096;
	uint8_t *p;

	while (cap - b->size < size)
		cap *= 2;
	if (cap != b->cap && !o->no_memory) {
		p = realloc(b->data, cap);
		if (p) {
			b->data = p;
			b->cap = cap;
		}
		o->no_memory = !p;
	}
	if (o->no_memory || !size)
		return;
	memcpy(b->data + b->size, data, size);
	b->size += size;
}

static void put_int(struct gguf_out *o, struct gguf_bytes *b, uint32_t bytes,
		    uint64_t v)
{
	uint8_t le[8];

	little_put(le, bytes, v);
	put(o, b, le, bytes);
}

static void put_str(struct gguf_out *o, struct gguf_bytes *b, const char *s,
		    size_t size)
{
	put_int(o, b, 8, size);
	put(o, b, s, size);
}

static void put_key(struct gguf_out *o, const char *key, enum gguf_kind kind)
{
	put_str(o, &o->values, key, strlen(key));
	put_int(o, &o->values, 4, kind);
	o->nr_values++;
}

void gguf_out_deinit(struct gguf_out *o)
{
	free(o->values.data);
	free(o->tensors.data);
	memset(o, 0, sizeof(*o));
}

void gguf_out_u32(struct gguf_out *o, const char *key, uint32_t v)
{
	put_key(o, key, GGUF_U32);
	put_int(o, &o->values, 4, v);
}

void gguf_out_f32(struct gguf_out *o, const char *key, float v)
{
	put_key(o, key, GGUF_F32);
	gguf_out_item_f32(o, v);
}

void gguf_out_bool(struct gguf_out *o, const char *key, bool v)
{
	put_key(o, key, GGUF_BOOL);
	put_int(o, &o->values, 1, v);
}

void gguf_out_str(struct gguf_out *o, const char *key, const char *v)
{
	put_key(o, key, GGUF_STRING);
	put_str(o, &o->values, v, strlen(v));
}

void gguf_out_copy(struct gguf_out *o, const struct gguf_value *v)
{
	if (v->is_array)
		gguf_out_array(o, v->key, v->kind, v->count);
	else
		put_key(o, v->key, v->kind);
	put(o, &o->values, v->data, v->size);
}

void gguf_out_array(struct gguf_out *o, const char *key, enum gguf_kind kind,
		    uint64_t count)
{
	put_key(o, key, GGUF_ARRAY);
	put_int(o, &o->values, 4, kind);
	put_int(o, &o->values, 8, count);
}

void gguf_out_item_str(struct gguf_out *o, const char *s, size_t size)
{
	put_str(o, &o->values, s, size);
}

void gguf_out_item_i32(struct gguf_out *o, int32_t v)
{
	put_int(o, &o->values, 4, (uint32_t)v);
}

void gguf_out_item_f32(struct gguf_out *o, float v)
{
	uint32_t word;

	memcpy(&word, &v, sizeof(word));
	put_int(o, &o->values, 4, word);
}

uint64_t gguf_out_tensor(struct gguf_out *o, const char *name, uint32_t nr_dims,
			 const uint64_t *dims, const struct gguf_type *type)
{
	uint64_t at = o->data_size, n = 1;

	put_str(o, &o->tensors, name, strlen(name));
	put_int(o, &o->tensors, 4, nr_dims);
	for (uint32_t i = 0; i < nr_dims; i++) {
		put_int(o, &o->tensors, 8, dims[i]);
		n *= dims[i];
	}
	put_int(o, &o->tensors, 4, type->id);
	put_int(o, &o->tensors, 8, at);
	o->nr_tensors++;
	o->data_size += padded(n / type->block * type->block_bytes);
	return at;
}

int gguf_out_head(const struct gguf_out *o, uint8_t **ret, size_t *ret_size,
		  struct err *err)
{
	uint64_t size = padded(24 + o->values.size + o->tensors.size);
	uint8_t *p = o->no_memory ? NULL : calloc(1, size);

	if (!p)
		return err_set(err, -ENOMEM, "no memory for a file's head");
	memcpy(p, "GGUF", 4);
	little_put(p + 4, 4, VERSION);
	little_put(p + 8, 8, o->nr_tensors);
	little_put(p + 16, 8, o->nr_values);
	if (o->values.size)
		memcpy(p + 24, o->values.data, o->values.size);
	if (o->tensors.size)
		memcpy(p + 24 + o->values.size, o->tensors.data,
		       o->tensors.size);
	*ret = p;
	*ret_size = size;
	return 0;
}
