/* SPDX-License-Identifier: MIT */
#include "text/encode.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/normal.h"
#include "text/split.h"
#include "text/unigram.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "text/vocab.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct encode {
	const struct vocab *v;	    /* borrowed */
	struct bytes clean;	    /* the text, where it was not UTF-8 */
	struct added_work added[2]; /* before and after normalizing */
	struct normal_work *normal;
	struct split_work *split;
	struct bpe_work bpe; /* of these the one that the model needs */
	struct unigram_work unigram;
	uint64_t work; /* bytes passed through the steps */
};

/* The part of the text that is not trusted, and whether specials count. */
struct trust {
	bool special;
	size_t plain, plain_end;
};

int encode_open(struct encode **ret, const struct vocab *v)
{
	struct encode *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->v = v;
	if (normal_work_open(&e->normal) || split_work_open(&e->split) ||
	    (v->unigram ? unigram_work_init(&e->unigram)
			: bpe_work_init(&e->bpe))) {
		encode_close(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

void encode_close(struct encode *e)
{
	if (!e)
		return;
	bytes_free(&e->clean);
	added_work_free(&e->added[0]);
	added_work_free(&e->added[1]);
	normal_work_close(e->normal);
	split_work_close(e->split);
	bpe_work_deinit(&e->bpe);
	unigram_work_deinit(&e->unigram);
	free(e);
}

/*
 * Words between added tokens, normalized: split, each piece by the model.
 * @first: they begin where the text begins.
 */
static int encode_words(struct encode *e, const uint8_t *s, size_t size,
			bool first, struct ids *out)
{
	const struct vocab *v = e->v;
	struct split_result r;
	const uint8_t *p;
	size_t i, n;
	int ret;

	ret = split_run(v->split, e->split, s, size, first, &r);
	for (i = 0; !ret && i < r.nr; i++) {
		p = r.s + r.span[i].start;
		n = r.span[i].end - r.span[i].start;
		ret = v->unigram ? unigram_encode(v->unigram, &e->unigram, p, n,
						  out)
				 : bpe_encode(v->bpe, &e->bpe, p, n, out);
	}
	e->work += size;
	return ret;
}

/*
 * One piece between added tokens: normalize, cut out the added tokens that
 * are looked for in normalized text, encode the rest.
 */
static int encode_piece(struct encode *e, const uint8_t *s, size_t size,
			bool first, const struct trust *trust, struct ids *out)
{
	struct trust in = *trust;
	const struct piece *p;
	const uint8_t *t;
	size_t n, i;
	int ret;

	ret = normal_apply(e->v->normal, e->normal, s, size, &t, &n);
	/* normalizing moves offsets: then all of the piece is untrusted */
	if (!ret && t != s && in.plain < in.plain_end)
		in.special = false;
	if (!ret)
		ret = added_split(e->v->added[1], &e->added[1], t, n,
				  in.special, in.plain, in.plain_end);
	for (i = 0; !ret && i < e->added[1].nr; i++) {
		p = &e->added[1].piece[i];
		if (p->id == ADDED_TEXT)
			ret = encode_words(e, t + p->start, p->end - p->start,
					   first && !p->start, out);
		else
			ret = ids_push(out, p->id);
	}
	e->work += size + n;
	return ret;
}

/* An offset in the text as one in a piece of it. */
static size_t inside(size_t at, const struct piece *p)
{
	return at < p->start ? 0
	       : at > p->end ? p->end - p->start
			     : at - p->start;
}

static int encode_text(struct encode *e, const uint8_t *s, size_t size,
		       const struct trust *t, struct ids *out)
{
	const struct piece *p;
	size_t i;
	int ret;

	ret = added_split(e->v->added[0], &e->added[0], s, size, t->special,
			  t->plain, t->plain_end);
	for (i = 0; !ret && i < e->added[0].nr; i++) {
		p = &e->added[0].piece[i];
		if (p->id != ADDED_TEXT) {
			ret = ids_push(out, p->id);
			continue;
		}
		ret = encode_piece(e, s + p->start, p->end - p->start,
				   !p->start,
				   &(struct trust){
					   t->special,
					   inside(t->plain, p),
					   inside(t->plain_end, p),
				   },
				   out);
	}
	e->work += size;
	return ret;
}

static int push_all(struct ids *out, const uint32_t *id, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		if (ids_push(out, id[i]))
			return -ENOMEM;
	return 0;
}

/* The text began with what ENCODE_BOS had put there: take one away again. */
static void drop_twice(struct ids *out, size_t from, uint32_t nr)
{
	size_t bytes = nr * sizeof(*out->v);

	if (!nr || out->nr - from < 2 * (size_t)nr ||
	    memcmp(out->v + from, out->v + from + nr, bytes))
		return;
	memmove(out->v + from, out->v + from + nr,
		(out->nr - from - nr) * sizeof(*out->v));
	out->nr -= nr;
}

static int encode_trusting(struct encode *e, const uint8_t *s, size_t size,
			   const struct trust *t, unsigned flags,
			   struct ids *out, struct err *err)
{
	const struct vocab *v = e->v;
	size_t from = out->nr;
	int ret = 0;

	if (flags & ENCODE_BOS)
		ret = push_all(out, v->before, v->nr_before);
	if (!ret)
		ret = encode_text(e, s, size, t, out);
	if (!ret && flags & ENCODE_BOS)
		drop_twice(out, from, v->nr_before);
	if (!ret && flags & ENCODE_EOS)
		ret = push_all(out, v->after, v->nr_after);
	if (!ret)
		return 0;
	out->nr = from;
	if (ret == -ENOMEM)
		return err_set(err, ret, "text: out of memory");
	return err_set(
		err, ret,
		"text: a pattern of the tokenizer gave up on this text (%zu bytes)",
		size);
}

int encode(struct encode *e, const void *text, size_t size, unsigned flags,
	   struct ids *out, struct err *err)
{
	struct trust t = { .special = flags & ENCODE_SPECIAL };
	const uint8_t *s = text ? text : "";

	if (size > ENCODE_TEXT_MAX)
		return err_set(err, -E2BIG, "text: %zu bytes, allowed %u", size,
			       ENCODE_TEXT_MAX);
	if (utf8_valid(s, size) != size) {
		e->clean.nr = 0;
		if (bytes_room(&e->clean, UTF8_BROKEN_SIZE * size))
			return err_set(err, -ENOMEM, "text: out of memory");
		size = utf8_clean(e->clean.v, s, size);
		s = e->clean.v;
	}
	return encode_trusting(e, s, size, &t, flags, out, err);
}

int encode_around(struct encode *e, const void *text, size_t size, size_t plain,
		  size_t plain_end, unsigned flags, struct ids *out,
		  struct err *err)
{
	struct trust t = { flags & ENCODE_SPECIAL, plain, plain_end };

	if (size > 4 * (size_t)ENCODE_TEXT_MAX)
		return err_set(err, -E2BIG, "text: %zu bytes, allowed %u", size,
			       ENCODE_TEXT_MAX);
	return encode_trusting(e, text, size, &t, flags, out, err);
}

uint64_t encode_work(const struct encode *e)
{
	return e->work + e->added[0].work + e->added[1].work + e->bpe.symbols +
	       e->bpe.merge.moves + e->unigram.steps;
}

const struct vocab *encode_vocab(const struct encode *e)
{
	return e->v;
}
