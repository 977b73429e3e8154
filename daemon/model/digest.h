/* SPDX-License-Identifier: MIT */
/*
 * digest.h - 32 bytes that name a model: the same digest, the same function.
 *
 * BLAKE2b-256 (libsodium) over typed, length-framed fields: config.json's
 * bytes (of a GGUF file its metadata), then of every tensor, by name: name,
 * type, shape and content.  The names of files and directories do not enter,
 * so a copy has the same digest, and so has a directory cut into other shards.
 *
 * Content: up to DIGEST_WHOLE bytes of weights, all of it.  Hashing runs at
 * about 0.7 GB/s and a larger model must open in a fraction of a second, so
 * beyond that it is a sample: of each tensor its first and last page, and a
 * page in every DIGEST_STRIDE between; and, because a sample can miss a
 * change, size and time of last change (to the nanosecond) of each file.
 * Training moves all weights, so a sample tells apart what people make; the
 * time catches edits in place.  What passes is somebody who edits a large
 * file between the pages and sets its time back: he owns the model anyway.
 * The price: a copy of a large model that does not keep times is another
 * model, whose streams continue validly after a restart, and say so.
 */
#ifndef MODEL_DIGEST_H
#define MODEL_DIGEST_H

#include <stdint.h>

#define DIGEST_BYTES  32u
#define DIGEST_WHOLE  (64ull << 20) /* bytes of weights hashed whole */
#define DIGEST_STRIDE (1u << 20) /* bytes from one sampled page to the next */

struct err;
struct tensors;

/* Digest of @t and its configuration.  0, or -errno and @err. */
int digest_model(const struct tensors *t, uint8_t digest[DIGEST_BYTES],
		 struct err *err);

#endif
