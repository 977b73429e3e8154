/* SPDX-License-Identifier: MIT */
/*
 * recipe.h - what a tokenizer file says, in one form whatever the file is:
 * tokens by id, what the model may merge, what stands around.
 *
 * A reader (read_json.h, read_spm.h, read_gguf.h) fills it; vocab.c makes a
 * vocabulary of it and throws the rest away.  Files are hostile: a reader has
 * checked types and ranges of what it puts here; what only shows when all is
 * there (an id named twice) is checked here.
 */
#ifndef TEXT_RECIPE_H
#define TEXT_RECIPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "text/merge.h" /* struct bpe_merge */
#include "text/post.h"	/* struct post is a member */
#include "text/spell.h" /* struct spelling is a member */

struct added_token;
struct err;
struct normal;
struct split;

#define RECIPE_NONE    UINT32_MAX /* no id */
#define RECIPE_IDS_MAX (1u << 22) /* ids a file may name; known: 2^18 */

enum {
	RECIPE_MODEL = 1 << 0,	 /* in the model's own vocabulary */
	RECIPE_ADDED = 1 << 1,	 /* found in the text before all other rules */
	RECIPE_SPECIAL = 1 << 2, /* shows no text */
	RECIPE_MUTE = 1 << 3,	 /* no text becomes it: control, byte, unused */
};

struct recipe_token {
	const uint8_t *name; /* borrowed; valid UTF-8; NULL: a hole */
	uint32_t size;
	uint32_t flags; /* RECIPE_* */
	double score;	/* of SentencePiece models */
};

enum recipe_kind { RECIPE_BPE, RECIPE_UNIGRAM };

struct bpe_options {
	bool chars;    /* spelled in characters, not in bytes */
	bool fuse_unk; /* several unknown in a row are one */
	/* a piece that is a token is that token, however it merges */
	bool ignore_merges;
};

/* Half of a name's hash beside its id: most lookups touch one name only. */
struct recipe_place {
	uint32_t id; /* RECIPE_NONE: empty */
	uint32_t tag;
};

struct recipe {
	const char *path; /* names the file in messages; borrowed */
	struct err *err;  /* borrowed */

	enum recipe_kind kind;
	struct recipe_token *token; /* owned: [nr] by id */
	uint32_t nr, cap;
	/* owned: ids of RECIPE_MODEL tokens by name, open addressing */
	struct recipe_place *place;
	size_t place_mask;
	bool unique; /* no two of them have the same name */
	uint64_t seed;

	struct bpe_merge *merge; /* owned: [nr_merges] */
	size_t nr_merges, merge_cap;
	struct bpe_options bpe;
	uint32_t unk;	     /* RECIPE_NONE where there is none */
	bool byte_fallback;  /* a character without token becomes its bytes */
	bool narrow;	     /* sums of scores are kept in float */
	struct spelling how; /* names to bytes */

	struct added_token *added; /* owned: [nr_added] */
	size_t nr_added, added_cap;
	struct normal *normal; /* owned, or NULL; so the next */
	struct split *split;
	struct post post; /* ids put around a text */
	uint32_t bos, eos;
	char *chat_template; /* owned, or NULL */

	/* what names are borrowed from; owned */
	json_t *root;
	struct map map;
	struct gguf *gguf;
};

void recipe_init(struct recipe *r, const char *path, struct err *err);
void recipe_deinit(struct recipe *r);
/* Fill the recipe's err and return -ENOMEM. */
int recipe_no_memory(struct recipe *r);

/*
 * Let there be token @id with this name; flags add up where it is there
 * already under the same name.  @what names the place in messages.  0, or
 * -EINVAL (id too large, or it bears another name), -ENOMEM.
 */
int recipe_name(struct recipe *r, const char *what, uint64_t id,
		const void *name, size_t size, uint32_t flags);
/* Add to the list of added tokens, whose token is named: 0 or -ENOMEM. */
int recipe_add(struct recipe *r, uint32_t id, uint32_t flags);

/* Once all tokens are named: 0 or -ENOMEM.  Of equal names the last counts. */
int recipe_index(struct recipe *r);
/* The id of the model's token of this name, or RECIPE_NONE. */
uint32_t recipe_find(const struct recipe *r, const void *name, size_t size);

/* Append a merge of the names @a and @b: 0, -EINVAL (one, or what they make,
 * is no token), -ENOMEM.  The rank is the number of merges before it. */
int recipe_merge(struct recipe *r, const uint8_t *a, size_t a_size,
		 const uint8_t *b, size_t b_size);
/*
 * SentencePiece BPE has no list of merges: any two neighbours that make a
 * token may merge, the token with the best score first.  Makes that list out
 * of all ways to cut a token in two tokens.  0 or -ENOMEM.
 */
int recipe_merges_of_scores(struct recipe *r);

#endif
