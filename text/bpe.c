/* SPDX-License-Identifier: MIT */
#include "text/bpe.h"
#include "text/split.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MERGES_MAX  (1u << 22)
#define PIECE_SHORT 512 /* bytes: such a name fits on the stack */

struct pair {
	uint32_t a, b; /* ids; a = BPE_NONE: an empty place */
	uint32_t rank;
};

struct bpe {
	uint32_t byte_id[256]; /* BPE_NONE: no token for this byte */
	uint32_t unk;
	bool fuse_unk, ignore_merges;
	uint64_t seed; /* of the hashes: a file cannot choose collisions */

	struct pair *pair; /* owned: open addressing, [pair_mask + 1] */
	uint32_t *made;	   /* owned: [rank] the id that the pair becomes */
	size_t pair_mask;

	/* ignore_merges: pieces that are tokens, by their bytes */
	uint32_t *whole; /* owned: ids, BPE_NONE empty, [whole_mask + 1] */
	size_t whole_mask, whole_max; /* places - 1; longest, bytes */
	uint32_t *end;		      /* owned copy of the tokens' places ... */
	uint8_t *bytes;		      /* ... and bytes */
};

/* ---- tables */

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t hash_bytes(const struct bpe *b, const uint8_t *s, size_t size)
{
	uint64_t h = b->seed ^ size, w;

	for (; size >= 8; s += 8, size -= 8) {
		memcpy(&w, s, 8);
		h = mix(h ^ w);
	}
	w = 0;
	memcpy(&w, s, size);
	return mix(h ^ w);
}

/* The place of (a, b): its entry, or an empty one. */
static struct pair *pair_place(const struct bpe *b, uint32_t left,
			       uint32_t right)
{
	size_t i = mix(b->seed ^ ((uint64_t)left << 32 | right));
	struct pair *p;

	for (;; i++) {
		p = &b->pair[i & b->pair_mask];
		if (p->a == BPE_NONE || (p->a == left && p->b == right))
			return p;
	}
}

static uint32_t pair_rank(const struct bpe *b, uint32_t left, uint32_t right)
{
	const struct pair *p = pair_place(b, left, right);

	return p->a == BPE_NONE ? BPE_NONE : p->rank;
}

static const uint8_t *token(const struct bpe *b, uint32_t id, size_t *size)
{
	uint32_t from = id ? b->end[id - 1] : 0;

	*size = b->end[id] - from;
	return b->bytes + from;
}

static uint32_t *whole_place(const struct bpe *b, const uint8_t *s, size_t size)
{
	size_t i = hash_bytes(b, s, size), n;
	const uint8_t *t;
	uint32_t *p;

	for (;; i++) {
		p = &b->whole[i & b->whole_mask];
		if (*p == BPE_NONE)
			return p;
		t = token(b, *p, &n);
		if (n == size && !memcmp(t, s, n))
			return p;
	}
}

/* ---- loading */

static size_t table_size(size_t nr)
{
	size_t n = 16;

	while (n < 2 * nr)
		n *= 2;
	return n;
}

/* Look up names of model.vocab; a name is @n bytes, not ended by a NUL. */
static uint32_t id_of(const json_t *vocab, const char *name, size_t n)
{
	char buf[PIECE_SHORT], *s = buf;
	const json_t *v;

	if (n >= sizeof(buf) && !(s = malloc(n + 1)))
		return BPE_NONE;
	memcpy(s, name, n);
	s[n] = '\0';
	v = json_object_get(vocab, s);
	if (s != buf)
		free(s);
	return v ? (uint32_t)json_integer_value(v) : BPE_NONE;
}

/* A merge is "a b" or ["a", "b"]: where a and b stand, in *@ab. */
static bool read_merge(const json_t *m, const char *ab[2], size_t size[2])
{
	const json_t *x = json_array_get(m, 0), *y = json_array_get(m, 1);
	const char *space;

	if (json_is_array(m)) {
		if (json_array_size(m) != 2 || !json_is_string(x) ||
		    !json_is_string(y))
			return false;
		ab[0] = json_string_value(x);
		ab[1] = json_string_value(y);
		size[0] = json_string_length(x);
		size[1] = json_string_length(y);
		return true;
	}
	if (!json_is_string(m))
		return false;
	ab[0] = json_string_value(m);
	space = strchr(ab[0], ' ');
	if (!space || strchr(space + 1, ' '))
		return false;
	ab[1] = space + 1;
	size[0] = (size_t)(space - ab[0]);
	size[1] = strlen(ab[1]);
	return true;
}

static int add_merge(struct bpe *b, const char *where, const json_t *vocab,
		     const json_t *m, size_t rank, struct err *err)
{
	char buf[2 * PIECE_SHORT], *both = buf;
	const char *ab[2];
	size_t size[2];
	uint32_t id[3];
	struct pair *p;

	if (!read_merge(m, ab, size))
		return err_set(
			err, -EINVAL,
			"%s.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]",
			where, rank);
	if (size[0] + size[1] > sizeof(buf) &&
	    !(both = malloc(size[0] + size[1])))
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	memcpy(both, ab[0], size[0]);
	memcpy(both + size[0], ab[1], size[1]);
	id[0] = id_of(vocab, ab[0], size[0]);
	id[1] = id_of(vocab, ab[1], size[1]);
	id[2] = id_of(vocab, both, size[0] + size[1]);
	if (both != buf)
		free(both);
	if (id[0] == BPE_NONE || id[1] == BPE_NONE || id[2] == BPE_NONE)
		return err_set(
			err, -EINVAL,
			"%s.merges[%zu]: \"%.*s\" and \"%.*s\": %s is not in model.vocab",
			where, rank, (int)(size[0] < 40 ? size[0] : 40), ab[0],
			(int)(size[1] < 40 ? size[1] : 40), ab[1],
			id[0] == BPE_NONE   ? "the left"
			: id[1] == BPE_NONE ? "the right"
					    : "what they make");
	p = pair_place(b, id[0], id[1]);
	*p = (struct pair){ id[0], id[1], (uint32_t)rank };
	b->made[rank] = id[2];
	return 0;
}

static int open_merges(struct bpe *b, const char *where, const json_t *model,
		       struct err *err)
{
	const json_t *merges = json_object_get(model, "merges");
	const json_t *vocab = json_object_get(model, "vocab");
	size_t nr = json_array_size(merges), n, i;
	int r = 0;

	if (!json_is_array(merges) || nr > MERGES_MAX)
		return err_set(err, -EINVAL,
			       "%s.merges is not an array of at most %u", where,
			       MERGES_MAX);
	n = table_size(nr);
	b->pair = malloc(n * sizeof(*b->pair));
	b->made = malloc((nr + 1) * sizeof(*b->made));
	if (!b->pair || !b->made)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	b->pair_mask = n - 1;
	for (i = 0; i < n; i++)
		b->pair[i].a = BPE_NONE;
	for (i = 0; !r && i < nr; i++)
		r = add_merge(b, where, vocab, json_array_get(merges, i), i,
			      err);
	return r;
}

/* Tokens that a whole piece may be, and the tokens of single bytes. */
static int open_tokens(struct bpe *b, const char *where,
		       const struct bpe_tokens *t, struct err *err)
{
	size_t n = table_size(t->nr), total, size;
	const uint8_t *s;
	uint32_t i;

	total = t->nr ? t->end[t->nr - 1] : 0;
	b->whole = malloc(n * sizeof(*b->whole));
	b->end = malloc((t->nr + 1) * sizeof(*b->end));
	b->bytes = malloc(total + 1);
	if (!b->whole || !b->end || !b->bytes)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	b->whole_mask = n - 1;
	memset(b->whole, 0xff, n * sizeof(*b->whole));
	memcpy(b->end, t->end, t->nr * sizeof(*b->end));
	if (total)
		memcpy(b->bytes, t->bytes, total);
	for (i = 0; i < t->nr; i++) {
		if (!t->mergeable[i])
			continue;
		s = token(b, i, &size);
		*whole_place(b, s, size) = i;
		if (size > b->whole_max)
			b->whole_max = size;
		if (size == 1)
			b->byte_id[s[0]] = i;
	}
	return 0;
}

static int open_options(struct bpe *b, const char *where, const json_t *model,
			struct err *err)
{
	static const char *const unsupported[] = { "continuing_subword_prefix",
						   "end_of_word_suffix" };
	const json_t *vocab = json_object_get(model, "vocab");
	const char *s;
	bool fallback = false;
	double dropout = 0;
	size_t i;
	int r;

	for (i = 0; i < 2; i++) {
		s = "";
		r = json_get_str(where, model, unsupported[i], &s, err);
		if (r)
			return r;
		if (*s)
			return err_set(err, -ENOTSUP,
				       "%s.%s is \"%s\": not supported yet",
				       where, unsupported[i], s);
	}
	r = json_get_bool(where, model, "byte_fallback", &fallback, err);
	if (!r)
		r = json_get_bool(where, model, "fuse_unk", &b->fuse_unk, err);
	if (!r)
		r = json_get_bool(where, model, "ignore_merges",
				  &b->ignore_merges, err);
	if (!r)
		r = json_get_f64(where, model, "dropout", 0, 1, &dropout, err);
	if (r)
		return r;
	if (fallback || dropout > 0)
		return err_set(
			err, -ENOTSUP,
			"%s.%s: not supported yet (only byte-level BPE is)",
			where, fallback ? "byte_fallback" : "dropout");
	s = NULL;
	r = json_get_str(where, model, "unk_token", &s, err);
	if (r)
		return r;
	b->unk = s ? id_of(vocab, s, strlen(s)) : BPE_NONE;
	return 0;
}

int bpe_open(struct bpe **ret, const char *where, const json_t *model,
	     const struct bpe_tokens *tokens, struct err *err)
{
	struct bpe *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(err, -ENOMEM, "%s: out of memory", where);
	memset(b->byte_id, 0xff, sizeof(b->byte_id));
	/* no seed is no reason to fail: it guards loading time only */
	if (getrandom(&b->seed, sizeof(b->seed), GRND_NONBLOCK) < 0)
		b->seed = 0x9e3779b97f4a7c15u;
	r = open_options(b, where, model, err);
	if (!r)
		r = open_tokens(b, where, tokens, err);
	if (!r)
		r = open_merges(b, where, model, err);
	if (r)
		bpe_close(b);
	else
		*ret = b;
	return r;
}

void bpe_close(struct bpe *b)
{
	if (!b)
		return;
	free(b->pair);
	free(b->made);
	free(b->whole);
	free(b->end);
	free(b->bytes);
	free(b);
}

void bpe_work_free(struct bpe_work *w)
{
	free(w->symbol);
	free(w->heap);
	*w = (struct bpe_work){ 0 };
}

/* ---- the heap: least key first, so lowest rank, then leftmost */

static void heap_push(struct bpe_work *w, uint64_t key)
{
	size_t i = w->nr_heap++, up;

	for (; i; i = up) {
		up = (i - 1) / 2;
		w->moves++;
		if (w->heap[up] <= key)
			break;
		w->heap[i] = w->heap[up];
	}
	w->heap[i] = key;
}

static uint64_t heap_pop(struct bpe_work *w)
{
	uint64_t top = w->heap[0], key = w->heap[--w->nr_heap];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < w->nr_heap) {
		w->moves++;
		if (down + 1 < w->nr_heap && w->heap[down + 1] < w->heap[down])
			down++;
		if (w->heap[down] >= key)
			break;
		w->heap[i] = w->heap[down];
		i = down;
	}
	w->heap[i] = key;
	return top;
}

/* ---- merging one piece */

/* One symbol a byte; the number of symbols. */
static uint32_t spell(const struct bpe *b, struct bpe_symbol *y,
		      const uint8_t *s, size_t size)
{
	uint32_t nr = 0, id;
	size_t i;
	bool unk = false;

	for (i = 0; i < size; i++) {
		id = b->byte_id[s[i]];
		if (id == BPE_NONE) {
			if (b->unk == BPE_NONE || (unk && b->fuse_unk))
				continue;
			id = b->unk;
			unk = true;
		} else {
			unk = false;
		}
		y[nr] = (struct bpe_symbol){ .id = id,
					     .prev = nr - 1,
					     .next = nr + 1 };
		nr++;
	}
	if (nr)
		y[nr - 1].next = BPE_NONE;
	return nr;
}

/* Give symbol @i the rank of its pair and put that into the heap. */
static void rank_pair(const struct bpe *b, struct bpe_work *w, uint32_t i)
{
	struct bpe_symbol *y = w->symbol;

	y[i].rank = y[i].next == BPE_NONE
			    ? BPE_NONE
			    : pair_rank(b, y[i].id, y[y[i].next].id);
	if (y[i].rank != BPE_NONE)
		heap_push(w, (uint64_t)y[i].rank << 32 | i);
}

static void merge(const struct bpe *b, struct bpe_work *w)
{
	struct bpe_symbol *y = w->symbol;
	uint32_t i, right;
	uint64_t key;

	while (w->nr_heap) {
		key = heap_pop(w);
		i = (uint32_t)key;
		/* a neighbour was merged since: that pair is no more.  A
		 * symbol that was taken in has no rank */
		if (y[i].rank != key >> 32)
			continue;
		right = y[i].next;
		y[i].id = b->made[y[i].rank];
		y[i].next = y[right].next;
		y[right].rank = BPE_NONE;
		if (y[i].next != BPE_NONE)
			y[y[i].next].prev = i;
		rank_pair(b, w, i);
		if (y[i].prev != BPE_NONE)
			rank_pair(b, w, y[i].prev);
	}
}

int bpe_encode(const struct bpe *b, struct bpe_work *w, const uint8_t *s,
	       size_t size, struct ids *out)
{
	uint32_t nr, i;

	if (b->ignore_merges && size <= b->whole_max) {
		i = *whole_place(b, s, size);
		if (i != BPE_NONE)
			return ids_push(out, i);
	}
	/* n - 1 pairs at first, and two for each of up to n - 1 merges */
	if (vec_grow((void **)&w->symbol, &w->symbol_cap, size,
		     sizeof(*w->symbol)) ||
	    vec_grow((void **)&w->heap, &w->heap_cap, 3 * size,
		     sizeof(*w->heap)))
		return -ENOMEM;
	nr = spell(b, w->symbol, s, size);
	w->nr_heap = 0;
	for (i = 0; i < nr; i++)
		rank_pair(b, w, i);
	merge(b, w);
	for (i = nr ? 0 : BPE_NONE; i != BPE_NONE; i = w->symbol[i].next)
		if (ids_push(out, w->symbol[i].id))
			return -ENOMEM;
	return 0;
}
