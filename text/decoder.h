/* SPDX-License-Identifier: MIT */
/*
 * decoder.h - the "decoder" of tokenizer.json, which turns names into text:
 * read once, into how names are spelled.
 *
 * Supported are decoders that do to each token by itself what they do to all
 * of them joined, but for spaces at the very beginning: ByteLevel, Metaspace,
 * Replace (something by a space), ByteFallback, Fuse, Strip (leading spaces,
 * after Fuse), Sequence.  So a stream can be decoded a token at a time.
 */
#ifndef TEXT_DECODER_H
#define TEXT_DECODER_H

#include <jansson.h>

struct err;
struct spelling;

/*
 * From the JSON value of "decoder" into @ret, zeroed by the caller; null
 * leaves it so.  0, -EINVAL, or -ENOTSUP with @err naming @where.
 */
int decoder_read(struct spelling *ret, const char *where, const json_t *j,
		 struct err *err);

#endif
