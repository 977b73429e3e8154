/* SPDX-License-Identifier: MIT */
#include "daemon/model/digest.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/map.h"
#include "checkpoint/tensors.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u

typedef crypto_generichash_state hash;

static void add_u64(hash *h, uint64_t v)
{
	uint8_t b[8];

	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(v >> 8 * i);
	crypto_generichash_update(h, b, sizeof(b));
}

/* Length first: "ab", "c" must differ from "a", "bc". */
static void add_bytes(hash *h, const void *data, uint64_t size)
{
	add_u64(h, size);
	crypto_generichash_update(h, data, size);
}

static void add_sample(hash *h, const uint8_t *data, uint64_t size)
{
	uint64_t at;

	add_u64(h, size);
	for (at = 0; at + PAGE < size; at += DIGEST_STRIDE)
		crypto_generichash_update(h, data + at, PAGE);
	at = size < PAGE ? 0 : size - PAGE;
	crypto_generichash_update(h, data + at, size - at);
}

static void add_tensor(hash *h, const struct tensor *t, int whole)
{
	add_bytes(h, t->name, strlen(t->name));
	add_bytes(h, t->type, strlen(t->type));
	add_u64(h, t->nr_dims);
	for (uint32_t i = 0; i < t->nr_dims; i++)
		add_u64(h, t->shape[i]);
	if (whole)
		add_bytes(h, t->data, t->size);
	else
		add_sample(h, t->data, t->size);
}

/* What says how to compute: config.json, or a GGUF file up to its data. */
static int add_config(hash *h, const struct tensors *t, struct err *err)
{
	struct map config;
	char *path;
	int ret;

	if (t->gguf) {
		add_bytes(h, t->gguf[0].map.data, t->gguf[0].meta_size);
		return 0;
	}
	if (asprintf(&path, "%s/config.json", t->path) < 0)
		return err_set(err, -ENOMEM, "%s: no memory", t->path);
	ret = map_open(&config, path, err);
	free(path);
	if (ret)
		return ret;
	add_bytes(h, config.data, config.size);
	map_close(&config);
	return 0;
}

int digest_model(const struct tensors *t, uint8_t digest[DIGEST_BYTES],
		 struct err *err)
{
	int whole = t->size <= DIGEST_WHOLE, ret;
	hash h;

	if (sodium_init() < 0)
		return err_set(err, -EIO, "libsodium does not start");
	crypto_generichash_init(&h, NULL, 0, DIGEST_BYTES);
	add_bytes(&h, "llm model 1", 11);
	ret = add_config(&h, t, err);
	if (ret)
		return ret;
	add_u64(&h, t->nr);
	for (uint32_t i = 0; i < t->nr; i++)
		add_tensor(&h, &t->v[i], whole);
	for (uint32_t i = 0; i < t->nr_files && !whole; i++) {
		uint64_t size, mtime_ns;

		tensors_file(t, i, &size, &mtime_ns);
		add_u64(&h, size);
		add_u64(&h, mtime_ns);
	}
	crypto_generichash_final(&h, digest, DIGEST_BYTES);
	return 0;
}
