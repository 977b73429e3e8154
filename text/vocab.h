/* SPDX-License-Identifier: MIT */
/*
 * vocab.h - a model's vocabulary: which bytes an id stands for, which ids are
 * special, and the compiled rules by which text becomes ids.
 *
 * Read from a Hugging Face tokenizer.json, a SentencePiece tokenizer.model or
 * a GGUF file; with the first two tokenizer_config.json and
 * chat_template.jinja from the same folder where they are there.  The files
 * are hostile: whatever they hold, the answer is a vocabulary that can be used
 * or one clear line.  Each has a reader that fills a recipe (recipe.h); here
 * the recipe is made into what encode.h and decode.h work with.
 *
 * A struct vocab is read-only once opened: any number of threads may use it.
 */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added;
struct bpe;
struct err;
struct normal;
struct split;
struct unigram;

#define VOCAB_NONE	 UINT32_MAX /* no such id */
#define VOCAB_IDS_MAX	 (1u << 22) /* ids a file may name; largest known: 2^18 */
#define VOCAB_AROUND_MAX 8 /* ids that a post-processor puts on one side */

enum {
	VOCAB_SPECIAL = 1 << 0, /* shows no text: control, not words */
	VOCAB_ADDED = 1 << 1,	/* found in the text before all other rules */
	VOCAB_HOLE = 1 << 2,	/* no token bears this id */
};

struct vocab {
	uint32_t nr; /* ids are 0 .. nr - 1 (a model may have more rows) */
	uint32_t bos, eos; /* VOCAB_NONE where none is named */
	size_t token_max;  /* bytes of the longest token */

	/* what the tokenizer puts around a text: bos, or nothing, and so on */
	uint32_t before[VOCAB_AROUND_MAX], after[VOCAB_AROUND_MAX];
	uint32_t nr_before, nr_after;
	char *chat_template; /* owned; NULL where the model has none */

	/* below: for text/ itself; all owned */
	uint32_t *token_end; /* [nr]: token i is bytes [end(i-1), end(i)) */
	uint8_t *token_bytes;
	uint8_t *token_flags;  /* [nr]: VOCAB_* */
	struct normal *normal; /* NULL: text is taken as it is */
	struct split *split;
	struct bpe *bpe;	 /* the model: this ... */
	struct unigram *unigram; /* ... or this, the other is NULL */
	/* spaces that a text loses at its very beginning: so many, or all that
	 * are in its first token (decode.h) */
	uint8_t lead;
	bool lead_all;
	/* added tokens looked for before [0] and after [1] normalizing; or NULL
	 */
	struct added *added[2];
};

/*
 * Open @path: one of those files, or a folder of tokenizer.json or else of
 * tokenizer.model.  0 and *ret, which the
 * caller vocab_close()s; else *ret is untouched and @err (may be NULL) says
 * what, where, found, allowed: -ENOENT no such file; -ENOTSUP a good file of
 * a kind not supported yet (the model can still serve ids); -EINVAL a file
 * that is not right; -ENOMEM.  Allocates, takes up to a second for 256k ids.
 */
int vocab_open(struct vocab **ret, const char *path, struct err *err);
/* Undo vocab_open(); harmless on NULL. */
void vocab_close(struct vocab *v);

/*
 * The bytes of @id, borrowed from @v; may be half a character.  An id past nr
 * or a hole has none.  A special token's are its name, "<|end|>": whether to
 * show them is the caller's choice, decode.h hides them.
 */
static inline const uint8_t *vocab_bytes(const struct vocab *v, uint32_t id,
					 size_t *ret_size)
{
	uint32_t from;

	if (id >= v->nr) {
		*ret_size = 0;
		return v->token_bytes;
	}
	from = id ? v->token_end[id - 1] : 0;
	*ret_size = v->token_end[id] - from;
	return v->token_bytes + from;
}

static inline bool vocab_special(const struct vocab *v, uint32_t id)
{
	return id < v->nr && v->token_flags[id] & VOCAB_SPECIAL;
}

/*
 * The id of the added token whose text is @name ("<|im_start|>"), or
 * VOCAB_NONE.  Looks at each added token: for set-up, not for text.
 */
uint32_t vocab_find_added(const struct vocab *v, const char *name);

#endif
