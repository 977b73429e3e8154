/* SPDX-License-Identifier: MIT */
/*
 * gguf.h - the container that llama.cpp's world keeps models in: key/value
 * metadata, then tensors, one file, mapped.  What the keys mean is for those
 * who ask (checkpoint/, text/); here are only types, bounds and bytes.
 *
 *	u32 "GGUF", u32 version, u64 nr_tensors, u64 nr_values,
 *	nr_values x  { string key, u32 type, value }
 *	nr_tensors x { string name, u32 nr_dims, u64 dims[nr_dims], u32 type,
 *	               u64 offset }
 *	padding to a multiple of general.alignment (32 if it is not there)
 *	data: each tensor at its offset from here, a multiple of alignment
 *
 * A string is a u64 length and bytes without an end; an array is a u32 item
 * type, a u64 count, and the items.  All little-endian, nothing aligned before
 * the data.  dims[0] is the fastest: a matrix of `rows` outputs and `cols`
 * inputs has dims {cols, rows}.  Versions 2 and 3 differ in nothing else than
 * the number.  (ggml-org/ggml, docs/gguf.md.)
 *
 * Nothing is believed: each length passes one function that knows what is left
 * of the file, before anything is read or allocated for it.  What is handed
 * out lies inside the file; a file cut after that is SIGBUS (base/map.h).
 * Read-only once open: any number of threads may ask.
 */
#ifndef BASE_GGUF_H
#define BASE_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"

struct err;

#define GGUF_MAX_VALUES	 65536u
#define GGUF_MAX_TENSORS (1u << 20)
#define GGUF_MAX_KEY	 65535u /* bytes of a key; the format's own limit */
#define GGUF_MAX_NAME	 255u	/* bytes of a tensor's name (theirs: 64) */
#define GGUF_MAX_DIMS	 4u
#define GGUF_MAX_ALIGN	 65536u
#define GGUF_MAX_SPLITS	 1024u

/* Types of values, numbered as in the file. */
enum gguf_kind {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	NR_GGUF_KINDS
};

/* Bytes of a value of each kind; 0 where they vary: string, array. */
extern const uint8_t gguf_kind_bytes[NR_GGUF_KINDS];

struct gguf_value {
	const char *key;     /* owned by the file; ends with NUL, none inside */
	enum gguf_kind kind; /* of an array: of its items, never GGUF_ARRAY */
	bool is_array;
	uint64_t count;	     /* items; 1 where it is no array */
	const uint8_t *data; /* first item, in the file, any alignment */
	uint64_t size;	     /* bytes of all items, string lengths included */
};

/* How numbers of a tensor lie in memory: what the container must know. */
struct gguf_type {
	const char *name; /* "F16", "Q4_K"; as llama.cpp writes it */
	uint32_t id;	  /* as in the file */
	uint32_t block;	  /* numbers packed together; 1 = none */
	uint32_t block_bytes;
};

struct gguf_tensor {
	const char *name; /* owned by the file; NUL-terminated */
	const struct gguf_type *type;
	uint32_t nr_dims;	      /* 1..GGUF_MAX_DIMS */
	uint64_t dims[GGUF_MAX_DIMS]; /* fastest first; dims[0] % block == 0 */
	const uint8_t *data;	      /* in the file, of any alignment */
	uint64_t size;		      /* bytes */
};

struct gguf {
	struct map map;
	char *where; /* owned: the path, for messages */
	uint32_t version;
	uint32_t alignment; /* bytes; a power of two */
	uint64_t meta_size; /* bytes up to the data, padding included */
	uint64_t mtime_ns;  /* when the file was last changed; 0 in memory */
	uint32_t nr_values, nr_tensors;
	struct gguf_value *values;   /* owned, in the order of the file */
	const uint32_t *by_key;	     /* owned: [nr_values] indices, by key */
	struct gguf_tensor *tensors; /* owned, in the order of their data */
};

/* Open @path.  0, or a negative errno, @err, and an empty @g. */
int gguf_open(struct gguf *g, const char *path, struct err *err);
/* Undo it; harmless on an empty one. */
void gguf_close(struct gguf *g);
/*
 * The same on bytes in memory (tests, fuzzing): @data must outlive @g, whose
 * map stays empty.  @where names them in messages.
 */
int gguf_parse(struct gguf *g, const char *where, const void *data,
	       uint64_t size, struct err *err);
/* Whether @path is a file that begins with "GGUF"; never an error. */
bool gguf_is(const char *path);

/* The value of @key, or NULL. */
const struct gguf_value *gguf_find(const struct gguf *g, const char *key);

/* A string of the file: bytes, not ended, any bytes inside. */
struct gguf_str {
	const char *data; /* borrowed from the file */
	uint64_t size;
};

/*
 * The next string of @v, an array of GGUF_STRINGS or a string.  *at is NULL
 * before the first; at most v->count calls.
 *
 *	const uint8_t *at = NULL;
 *	for (uint64_t i = 0; i < v->count; i++) {
 *		struct gguf_str s = gguf_next_str(v, &at);
 */
struct gguf_str gguf_next_str(const struct gguf_value *v, const uint8_t **at);

/* The type @id of the file, or called @name (any case); NULL: not known. */
const struct gguf_type *gguf_type(uint32_t id);
const struct gguf_type *gguf_type_named(const char *name);

/*
 * A model may be cut into files "NAME-00001-of-00003.gguf"; each says which
 * it is (split.no, from 0) and of how many (split.count); the first has the
 * metadata.  The path of part @no (from 0) of the set that @path belongs to,
 * which the caller free()s; NULL where @path has no such name, or no memory.
 */
char *gguf_split_path(const char *path, uint32_t no, uint32_t count);

#endif
