/* SPDX-License-Identifier: MIT */
#include "text/bpe.h"
#include "text/hash.h"
#include "text/recipe.h"
#include "text/utf8.h"
#include "text/vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ASCII	    128
#define JOINTS_BITS 19 /* log2 of the places in the table of joints */

struct char_id {
	uint32_t cp, id; /* id BPE_NONE: an empty place */
};

struct whole {
	uint32_t id, from, size; /* bytes in text; id BPE_NONE: empty */
};

struct bpe {
	struct merges merges;
	struct bpe_options opt;
	uint32_t unk;
	/* the tokens of single bytes, BPE_NONE where there is none: of bytes
	 * of text, or of those that a character falls back to */
	uint32_t byte_id[256];
	bool complete; /* every byte has one: nothing is ever unknown */

	/* opt.chars: the tokens of single characters */
	uint32_t ascii[ASCII];
	struct char_id *chr; /* owned: open addressing */
	size_t chr_mask;
	/* owned: a bit for every (last, first) characters of some merge, by
	 * hash; NULL: pieces are not cut */
	uint64_t *joint;

	/* opt.ignore_merges: pieces that are tokens */
	struct whole *whole;	      /* owned: open addressing */
	size_t whole_mask, whole_max; /* whole_max: the longest, bytes */
	uint8_t *text;		      /* owned: their bytes */
	uint64_t seed;
};

/* ---- tokens of single characters */

static struct char_id *char_place(const struct bpe *b, uint32_t cp)
{
	size_t i = hash_mix(b->seed ^ cp);
	struct char_id *p;

	for (;; i++) {
		p = &b->chr[i & b->chr_mask];
		if (p->id == BPE_NONE || p->cp == cp)
			return p;
	}
}

static uint32_t char_id(const struct bpe *b, uint32_t cp)
{
	return cp < ASCII ? b->ascii[cp] : char_place(b, cp)->id;
}

static bool is_char(const struct recipe_token *t, uint32_t *ret_cp)
{
	size_t at = 0;

	if (!t->size || !(t->flags & RECIPE_MODEL) || t->flags & RECIPE_MUTE)
		return false;
	*ret_cp = utf8_next(t->name, &at);
	return at == t->size;
}

static int open_chars(struct bpe *b, const struct recipe *r)
{
	size_t nr = 0, n;
	uint32_t i, cp;

	for (i = 0; i < r->nr; i++)
		nr += is_char(&r->token[i], &cp);
	n = hash_places(nr);
	b->chr = malloc(n * sizeof(*b->chr));
	if (!b->chr)
		return -ENOMEM;
	memset(b->chr, 0xff, n * sizeof(*b->chr));
	b->chr_mask = n - 1;
	memset(b->ascii, 0xff, sizeof(b->ascii));
	for (i = 0; i < r->nr; i++) {
		if (!is_char(&r->token[i], &cp))
			continue;
		if (cp < ASCII)
			b->ascii[cp] = i;
		else
			*char_place(b, cp) = (struct char_id){ cp, i };
	}
	return 0;
}

/* The tokens that a character without token becomes, "<0x0A>". */
static void open_fallback(struct bpe *b, const struct recipe *r)
{
	const struct recipe_token *t;
	uint32_t i;
	int byte;

	for (i = 0; i < r->nr; i++) {
		t = &r->token[i];
		if (!t->name || !(t->flags & RECIPE_MODEL))
			continue;
		byte = spell_fallback(t->name, t->size);
		if (byte >= 0)
			b->byte_id[byte] = i;
	}
	b->complete = true;
	for (i = 0; i < 256; i++)
		b->complete = b->complete && b->byte_id[i] != BPE_NONE;
}

/* ---- where a long piece may be cut */

static size_t joint_bit(uint32_t last, uint32_t first)
{
	/* the file may choose collisions: they cost a cut, no more */
	return ((uint64_t)last << 21 | first) * 0x9e3779b97f4a7c15u >>
	       (64 - JOINTS_BITS);
}

static bool joined(const struct bpe *b, uint32_t last, uint32_t first)
{
	size_t bit = joint_bit(last, first);

	return b->joint[bit / 64] >> bit % 64 & 1;
}

/*
 * A merge joins the last character of its left token with the first of its
 * right one.  Where a token of a byte merges, a name is not the text it came
 * from; then pieces stay whole.
 */
static int open_joints(struct bpe *b, const struct recipe *r)
{
	size_t i, at, bit;
	uint32_t last, first;

	b->joint = calloc((1u << JOINTS_BITS) / 64, sizeof(*b->joint));
	if (!b->joint)
		return -ENOMEM;
	for (i = 0; i < r->nr_merges; i++) {
		const struct recipe_token *x = &r->token[r->merge[i].left];
		const struct recipe_token *y = &r->token[r->merge[i].right];

		if (!x->size || !y->size ||
		    spell_fallback(x->name, x->size) >= 0 ||
		    spell_fallback(y->name, y->size) >= 0) {
			free(b->joint);
			b->joint = NULL;
			return 0;
		}
		last = utf8_prev(x->name, x->size, &at);
		at = 0;
		first = utf8_next(y->name, &at);
		bit = joint_bit(last, first);
		b->joint[bit / 64] |= UINT64_C(1) << bit % 64;
	}
	return 0;
}

/* ---- pieces that are tokens */

static struct whole *whole_place(const struct bpe *b, const uint8_t *s,
				 size_t size)
{
	size_t i = hash_bytes(b->seed, s, size);
	struct whole *p;

	for (;; i++) {
		p = &b->whole[i & b->whole_mask];
		if (p->id == BPE_NONE ||
		    (p->size == size && !memcmp(b->text + p->from, s, size)))
			return p;
	}
}

static const uint8_t *text_of(const struct bpe *b, const struct recipe *r,
			      const uint8_t *bytes, const uint32_t *end,
			      uint32_t i, uint32_t *size)
{
	const struct recipe_token *t = &r->token[i];

	*size = 0;
	if (!t->name || !(t->flags & RECIPE_MODEL) || t->flags & RECIPE_MUTE)
		return NULL;
	if (b->opt.chars) {
		*size = t->size;
		return t->name;
	}
	*size = end[i] - (i ? end[i - 1] : 0);
	return bytes + end[i] - *size;
}

static int open_whole(struct bpe *b, const struct recipe *r,
		      const uint8_t *bytes, const uint32_t *end)
{
	size_t n = hash_places(r->nr), total = 0;
	const uint8_t *s;
	uint32_t i, size;

	for (i = 0; i < r->nr; i++) {
		text_of(b, r, bytes, end, i, &size);
		total += size;
	}
	b->whole = malloc(n * sizeof(*b->whole));
	b->text = malloc(total + 1);
	if (!b->whole || !b->text || total > UINT32_MAX)
		return -ENOMEM;
	memset(b->whole, 0xff, n * sizeof(*b->whole));
	b->whole_mask = n - 1;
	for (i = 0, total = 0; i < r->nr; i++) {
		s = text_of(b, r, bytes, end, i, &size);
		if (!size)
			continue;
		memcpy(b->text + total, s, size);
		*whole_place(b, s, size) =
			(struct whole){ i, (uint32_t)total, size };
		total += size;
		if (size > b->whole_max)
			b->whole_max = size;
	}
	return 0;
}

/* ---- opening */

static int open_tables(struct bpe *b, const struct recipe *r,
		       const uint8_t *bytes, const uint32_t *end)
{
	uint32_t i, size;
	const uint8_t *s;
	int ret = 0;

	if (merges_init(&b->merges, r->merge, r->nr_merges))
		return -ENOMEM;
	for (i = 0; !b->opt.chars && i < r->nr; i++) {
		s = text_of(b, r, bytes, end, i, &size);
		if (size == 1)
			b->byte_id[s[0]] = i;
	}
	if (b->opt.chars && r->byte_fallback)
		open_fallback(b, r);
	if (b->opt.chars)
		ret = open_chars(b, r);
	if (!ret && b->opt.chars)
		ret = open_joints(b, r);
	if (!ret && b->opt.ignore_merges)
		ret = open_whole(b, r, bytes, end);
	return ret;
}

int bpe_open(struct bpe **ret, const struct recipe *r, const uint8_t *bytes,
	     const uint32_t *end)
{
	struct bpe *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->opt = r->bpe;
	b->unk = r->unk;
	b->seed = hash_seed();
	memset(b->byte_id, 0xff, sizeof(b->byte_id));
	if (open_tables(b, r, bytes, end)) {
		bpe_close(b);
		return -ENOMEM;
	}
	*ret = b;
	return 0;
}

void bpe_close(struct bpe *b)
{
	if (!b)
		return;
	merges_deinit(&b->merges);
	free(b->chr);
	free(b->joint);
	free(b->whole);
	free(b->text);
	free(b);
}

int bpe_work_init(struct bpe_work *w)
{
	*w = (struct bpe_work){ 0 };
	return cache_init(&w->cache);
}

void bpe_work_deinit(struct bpe_work *w)
{
	free(w->id);
	merge_work_free(&w->merge);
	cache_deinit(&w->cache);
}

/* ---- one piece */

static size_t spell_bytes(const struct bpe *b, uint32_t *id, const uint8_t *s,
			  size_t size)
{
	size_t nr = 0, i;
	bool unk = false;

	for (i = 0; i < size; i++) {
		id[nr] = b->byte_id[s[i]];
		if (id[nr] != BPE_NONE) {
			unk = false;
			nr++;
		} else if (b->unk != BPE_NONE && !(unk && b->opt.fuse_unk)) {
			unk = true;
			id[nr++] = b->unk;
		}
	}
	return nr;
}

/* Write the tokens of all bytes of one character; false: some has none. */
static bool fall_back(const struct bpe *b, uint32_t *id, const uint8_t *s,
		      size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		id[i] = b->byte_id[s[i]];
		if (id[i] == BPE_NONE)
			return false;
	}
	return true;
}

/*
 * As HF's BPE::merge_word, down to the unknown token that waits while
 * characters fall back to bytes.
 */
static size_t spell_chars(const struct bpe *b, uint32_t *id, const uint8_t *s,
			  size_t size)
{
	size_t nr = 0, i = 0, from;
	bool unk = false;
	uint32_t one;

	while (i < size) {
		from = i;
		one = char_id(b, utf8_next(s, &i));
		if (one != BPE_NONE) {
			if (unk)
				id[nr++] = b->unk;
			unk = false;
			id[nr++] = one;
		} else if (fall_back(b, id + nr, s + from, i - from)) {
			nr += i - from;
		} else if (b->unk != BPE_NONE) {
			if (unk && !b->opt.fuse_unk)
				id[nr++] = b->unk;
			unk = true;
		}
	}
	if (unk)
		id[nr++] = b->unk;
	return nr;
}

static int merge_piece(const struct bpe *b, struct bpe_work *w,
		       const uint8_t *s, size_t size, struct ids *out)
{
	struct cache_entry *e = NULL;
	long nr;

	if (size <= CACHE_PIECE_MAX) {
		e = cache_at(&w->cache, s, size);
		if (cache_holds(e, s, size))
			return ids_add(out, e->id, e->nr);
	}
	if (vec_grow((void **)&w->id, &w->cap, size + 4, sizeof(*w->id)))
		return -ENOMEM;
	nr = (long)(b->opt.chars ? spell_chars(b, w->id, s, size)
				 : spell_bytes(b, w->id, s, size));
	w->symbols += (uint64_t)nr;
	nr = merge_run(&b->merges, &w->merge, w->id, (size_t)nr);
	if (nr < 0)
		return (int)nr;
	if (e)
		cache_put(e, s, size, w->id, (size_t)nr);
	return ids_add(out, w->id, (size_t)nr);
}

/*
 * Where the piece that begins at @from may be cut.  A character that may be
 * unknown stays with its neighbours: unknown ones in a row can be one token.
 */
static size_t next_cut(const struct bpe *b, const uint8_t *s, size_t size,
		       size_t from)
{
	size_t i = from, at;
	uint32_t last = utf8_next(s, &i), cp;

	while (i < size) {
		at = i;
		cp = utf8_next(s, &i);
		if (!joined(b, last, cp) &&
		    (b->complete || (char_id(b, last) != BPE_NONE &&
				     char_id(b, cp) != BPE_NONE)))
			return at;
		last = cp;
	}
	return size;
}

int bpe_encode(const struct bpe *b, struct bpe_work *w, const uint8_t *s,
	       size_t size, struct ids *out)
{
	const struct whole *p;
	size_t from = 0, to;
	int ret = 0;

	if (b->opt.ignore_merges && size <= b->whole_max) {
		p = whole_place(b, s, size);
		if (p->id != BPE_NONE)
			return ids_push(out, p->id);
	}
	if (!b->joint)
		return merge_piece(b, w, s, size, out);
	for (; !ret && from < size; from = to) {
		to = next_cut(b, s, size, from);
		ret = merge_piece(b, w, s + from, to - from, out);
	}
	return ret;
}
