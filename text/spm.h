/* SPDX-License-Identifier: MIT */
/*
 * spm.h - a SentencePiece model file (tokenizer.model), read: a protobuf
 * message ModelProto of which we need
 *
 *	1 pieces (many): 1 piece, string  2 score, float  3 type, enum
 *	2 trainer_spec:  3 model_type, enum  24 treat_whitespace_as_suffix
 *	                 35 byte_fallback  40 unk_id  41 bos_id  42 eos_id
 *	3 normalizer_spec: 2 precompiled_charsmap, bytes  3 add_dummy_prefix
 *	                 4 remove_extra_whitespaces  5 escape_whitespaces
 *
 * Fields that are not needed are stepped over; of a field given twice the
 * last counts, as protobuf has it.  (google/sentencepiece,
 * sentencepiece_model.proto; protobuf's encoding guide.)
 */
#ifndef TEXT_SPM_H
#define TEXT_SPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define SPM_PIECES_MAX (1u << 22)

/* Numbered as in the file. */
enum spm_type {
	SPM_NORMAL = 1,
	SPM_UNKNOWN,
	SPM_CONTROL,
	SPM_USER,
	SPM_UNUSED,
	SPM_BYTE
};
enum spm_model { SPM_UNIGRAM = 1, SPM_BPE, SPM_WORD, SPM_CHAR };

struct spm_piece {
	const uint8_t *s; /* borrowed from the file; valid UTF-8, not empty */
	uint32_t size;
	enum spm_type type;
	float score; /* finite */
};

struct spm {
	struct spm_piece *piece; /* owned: [nr] by id */
	uint32_t nr;
	enum spm_model model;
	bool suffix, byte_fallback;
	int64_t unk, bos, eos; /* ids; negative: none */
	bool prefix, squeeze, escape;
	const uint8_t *charsmap; /* borrowed */
	size_t charsmap_size;
};

/*
 * Read @data, which must outlive @m; @where names it in messages.  0, or
 * -EINVAL or -ENOMEM with @err and nothing in @m.
 */
int spm_read(struct spm *m, const char *where, const void *data, size_t size,
	     struct err *err);
void spm_deinit(struct spm *m);

#endif
