/* SPDX-License-Identifier: MIT */
/*
 * gguf_build.h - GGUF bytes that a test writes, field by field and as wrong as
 * it likes.  Fields in the order of the file; every put_ appends.
 */
#ifndef TESTS_GGUF_BUILD_H
#define TESTS_GGUF_BUILD_H

#include "base/gguf.h"
#include "base/little.h"

#include <stdlib.h>
#include <string.h>

struct build {
	uint8_t data[1 << 16];
	size_t size;
};

__attribute__((unused)) static void put(struct build *b, uint32_t bytes,
					uint64_t v)
{
	if (b->size + bytes > sizeof(b->data))
		abort();
	little_put(b->data + b->size, bytes, v);
	b->size += bytes;
}

__attribute__((unused)) static void put_str(struct build *b, const char *s)
{
	size_t n = strlen(s);

	put(b, 8, n);
	if (b->size + n > sizeof(b->data))
		abort();
	memcpy(b->data + b->size, s, n);
	b->size += n;
}

__attribute__((unused)) static void put_head(struct build *b, uint32_t version,
					     uint64_t nr_tensors, uint64_t nr)
{
	b->size = 0;
	put(b, 4, 0x46554747); /* "GGUF" */
	put(b, 4, version);
	put(b, 8, nr_tensors);
	put(b, 8, nr);
}

/* A key and the type of its value; the value is for the caller. */
__attribute__((unused)) static void put_key(struct build *b, const char *key,
					    uint32_t kind)
{
	put_str(b, key);
	put(b, 4, kind);
}

__attribute__((unused)) static void put_u32(struct build *b, const char *key,
					    uint32_t v)
{
	put_key(b, key, GGUF_U32);
	put(b, 4, v);
}

__attribute__((unused)) static void put_f32(struct build *b, const char *key,
					    float v)
{
	uint32_t word;

	memcpy(&word, &v, 4);
	put_key(b, key, GGUF_F32);
	put(b, 4, word);
}

__attribute__((unused)) static void put_text(struct build *b, const char *key,
					     const char *v)
{
	put_key(b, key, GGUF_STRING);
	put_str(b, v);
}

/* A tensor of one or (rows not 0) two dimensions. */
__attribute__((unused)) static void put_tensor(struct build *b,
					       const char *name, uint64_t cols,
					       uint64_t rows, uint32_t type,
					       uint64_t offset)
{
	put_str(b, name);
	put(b, 4, rows ? 2 : 1);
	put(b, 8, cols);
	if (rows)
		put(b, 8, rows);
	put(b, 4, type);
	put(b, 8, offset);
}

/* Padding to @to, then @size zeros of data. */
__attribute__((unused)) static void put_data(struct build *b, uint32_t to,
					     uint64_t size)
{
	while (b->size % to)
		put(b, 1, 0);
	while (size--)
		put(b, 1, 0);
}

#endif
