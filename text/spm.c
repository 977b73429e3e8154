/* SPDX-License-Identifier: MIT */
#include "text/spm.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "base/err.h"
#include "base/little.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How a field lies in the file (protobuf's wire types). */
enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct field {
	uint32_t number;
	enum wire wire;
	uint64_t value;	     /* VARINT, FIXED32, FIXED64 */
	const uint8_t *data; /* BYTES: value bytes */
};

struct reader {
	const uint8_t *p, *end; /* of the message that is read */
	const uint8_t *start;	/* of the file */
	const char *where;
	struct err *err;
};

static int broken(const struct reader *r, const char *what)
{
	return err_set(r->err, -EINVAL, "%s: %s at byte %zu", r->where, what,
		       (size_t)(r->p - r->start));
}

static int read_varint(struct reader *r, uint64_t *ret)
{
	uint64_t v = 0;
	uint32_t shift;

	for (shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		v |= (uint64_t)(*r->p & 0x7f) << shift;
		if (!(*r->p++ & 0x80)) {
			*ret = v;
			return 0;
		}
	}
	return broken(r, "a number that does not end");
}

static int read_fixed(struct reader *r, uint32_t bytes, uint64_t *ret)
{
	if ((size_t)(r->end - r->p) < bytes)
		return broken(r, "a number cut short");
	*ret = little_get(r->p, bytes);
	r->p += bytes;
	return 0;
}

/* The next field: 1; the end: 0; or -EINVAL. */
static int next(struct reader *r, struct field *f)
{
	uint64_t key;
	int ret;

	if (r->p == r->end)
		return 0;
	if (read_varint(r, &key))
		return -EINVAL;
	if (key >> 3 == 0 || key >> 3 > (1u << 29) - 1)
		return broken(r, "a field without a number");
	*f = (struct field){ .number = (uint32_t)(key >> 3),
			     .wire = (enum wire)(key & 7) };
	switch (f->wire) {
	case VARINT:
		ret = read_varint(r, &f->value);
		break;
	case FIXED32:
		ret = read_fixed(r, 4, &f->value);
		break;
	case FIXED64:
		ret = read_fixed(r, 8, &f->value);
		break;
	case BYTES:
		ret = read_varint(r, &f->value);
		if (!ret && f->value > (uint64_t)(r->end - r->p))
			ret = broken(r, "bytes past the end of the message");
		if (!ret) {
			f->data = r->p;
			r->p += f->value;
		}
		break;
	default:
		ret = broken(r, "a field of unknown kind");
	}
	return ret ? ret : 1;
}

static bool is(const struct field *f, uint32_t number, enum wire wire)
{
	return f->number == number && f->wire == wire;
}

/* A reader of the message inside field @f. */
static struct reader inside(const struct reader *r, const struct field *f)
{
	struct reader in = *r;

	in.p = f->data;
	in.end = f->data + f->value;
	return in;
}

/* int32: negative numbers come as ten bytes. */
static int64_t as_int(uint64_t v)
{
	return (int32_t)(uint32_t)v;
}

static int read_piece(struct reader r, uint32_t id, struct spm_piece *ret)
{
	struct spm_piece p = { .type = SPM_NORMAL };
	uint32_t word;
	struct field f;
	int got;

	while ((got = next(&r, &f)) > 0) {
		if (is(&f, 1, BYTES)) {
			p.s = f.data;
			p.size = (uint32_t)f.value;
		} else if (is(&f, 2, FIXED32)) {
			word = (uint32_t)f.value;
			memcpy(&p.score, &word, sizeof(p.score));
		} else if (is(&f, 3, VARINT)) {
			if (f.value < SPM_NORMAL || f.value > SPM_BYTE)
				return broken(&r, "a piece of unknown type");
			p.type = (enum spm_type)f.value;
		}
	}
	if (got)
		return got;
	if (!p.size || p.size > UINT32_MAX / 2 ||
	    utf8_valid(p.s, p.size) != p.size)
		return err_set(r.err, -EINVAL,
			       "%s: piece %u is empty or not UTF-8", r.where,
			       id);
	if (!isfinite(p.score))
		return err_set(r.err, -EINVAL,
			       "%s: the score of piece %u is no number",
			       r.where, id);
	*ret = p;
	return 0;
}

static int read_trainer(struct reader r, struct spm *m)
{
	struct field f;
	int got;

	while ((got = next(&r, &f)) > 0) {
		if (f.wire != VARINT)
			continue;
		switch (f.number) {
		case 3:
			if (f.value < SPM_UNIGRAM || f.value > SPM_CHAR)
				return broken(&r, "a model of unknown type");
			m->model = (enum spm_model)f.value;
			break;
		case 24:
			m->suffix = f.value;
			break;
		case 35:
			m->byte_fallback = f.value;
			break;
		case 40:
			m->unk = as_int(f.value);
			break;
		case 41:
			m->bos = as_int(f.value);
			break;
		case 42:
			m->eos = as_int(f.value);
			break;
		}
	}
	return got;
}

static int read_normalizer(struct reader r, struct spm *m)
{
	struct field f;
	int got;

	while ((got = next(&r, &f)) > 0) {
		if (is(&f, 2, BYTES)) {
			m->charsmap = f.data;
			m->charsmap_size = f.value;
		} else if (is(&f, 3, VARINT)) {
			m->prefix = f.value;
		} else if (is(&f, 4, VARINT)) {
			m->squeeze = f.value;
		} else if (is(&f, 5, VARINT)) {
			m->escape = f.value;
		}
	}
	return got;
}

static int read_all(struct reader *r, struct spm *m)
{
	struct field f;
	size_t cap = 0;
	int got, ret = 0;

	while (!ret && (got = next(r, &f))) {
		if (got < 0)
			return got;
		if (is(&f, 1, BYTES)) {
			if (m->nr == SPM_PIECES_MAX)
				return broken(r, "too many pieces");
			if (vec_grow((void **)&m->piece, &cap, m->nr + 1,
				     sizeof(*m->piece)))
				return err_set(r->err, -ENOMEM,
					       "%s: out of memory", r->where);
			ret = read_piece(inside(r, &f), m->nr,
					 &m->piece[m->nr]);
			m->nr++;
		} else if (is(&f, 2, BYTES)) {
			ret = read_trainer(inside(r, &f), m);
		} else if (is(&f, 3, BYTES)) {
			ret = read_normalizer(inside(r, &f), m);
		}
	}
	if (!ret && !m->nr)
		ret = err_set(r->err, -EINVAL,
			      "%s: no pieces: not a SentencePiece model",
			      r->where);
	return ret;
}

int spm_read(struct spm *m, const char *where, const void *data, size_t size,
	     struct err *err)
{
	struct reader r = {
		.p = data, .start = data, .where = where, .err = err
	};
	int ret;

	/* what the format says where a field is left out */
	*m = (struct spm){ .model = SPM_UNIGRAM,
			   .unk = 0,
			   .bos = 1,
			   .eos = 2,
			   .prefix = true,
			   .squeeze = true,
			   .escape = true };
	if (!size)
		return err_set(err, -EINVAL, "%s: an empty file", where);
	r.end = r.p + size;
	ret = read_all(&r, m);
	if (ret)
		spm_deinit(m);
	return ret;
}

void spm_deinit(struct spm *m)
{
	free(m->piece);
	*m = (struct spm){ 0 };
}
