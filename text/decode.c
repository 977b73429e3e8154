/* SPDX-License-Identifier: MIT */
#include "text/decode.h"
#include "text/utf8.h"
#include "text/vocab.h"

#include <errno.h>
#include <string.h>

/*
 * What is pending is always a proper beginning of a character, so together
 * with the new bytes it is looked at as one string: first across the seam,
 * in a buffer of seven bytes, then in place.
 */
static size_t feed(struct decode *d, const uint8_t *s, size_t size,
		   uint8_t *out)
{
	uint8_t seam[3 + 4];
	size_t i = 0, o = 0, n, whole;
	uint32_t cp;
	int len;

	if (d->nr_pending && size) {
		n = size < 4 ? size : 4;
		memcpy(seam, d->pending, d->nr_pending);
		memcpy(seam + d->nr_pending, s, n);
		len = utf8_look(seam, d->nr_pending + n, &cp);
		if (len == 0) { /* then size < 4, and at most 3 together */
			memcpy(d->pending + d->nr_pending, s, n);
			d->nr_pending += (uint8_t)n;
			return 0;
		}
		o += utf8_put(out, cp);
		/* a broken part may end before the seam only at the seam:
		 * what pended was good up to there */
		i = (size_t)(len < 0 ? -len : len) - d->nr_pending;
		d->nr_pending = 0;
	}
	while (i < size) {
		whole = utf8_valid(s + i, size - i);
		memcpy(out + o, s + i, whole);
		o += whole;
		i += whole;
		if (i == size)
			break;
		len = utf8_look(s + i, size - i, &cp);
		if (len == 0) {
			d->nr_pending = (uint8_t)(size - i);
			memcpy(d->pending, s + i, d->nr_pending);
			break;
		}
		i += (size_t)-len;
		o += utf8_put(out + o, cp);
	}
	return o;
}

long decode_bytes(struct decode *d, const uint8_t *s, size_t size, uint8_t *out,
		  size_t cap)
{
	if (cap < DECODE_CAP(size))
		return -ENOSPC;
	return (long)feed(d, s, size, out);
}

static const uint8_t *text_of(const struct decode *d, const struct vocab *v,
			      uint32_t id, size_t *ret_size)
{
	const uint8_t *s = vocab_bytes(v, id, ret_size);

	if (vocab_special(v, id) && !(d->flags & DECODE_SPECIAL))
		*ret_size = 0;
	return s;
}

/* The first token that shows anything, where all its spaces go. */
static size_t feed_spaceless(struct decode *d, const uint8_t *s, size_t size,
			     uint8_t *out)
{
	size_t i, from = 0, o = 0;

	for (i = 0; i <= size; i++) {
		if (i < size && s[i] != ' ')
			continue;
		o += feed(d, s + from, i - from, out + o);
		from = i + 1;
	}
	return o;
}

/* Spaces that the text gives up at its beginning: how many bytes of @s. */
static size_t give_up(struct decode *d, const struct vocab *v, const uint8_t *s,
		      size_t size)
{
	size_t n = 0;

	while (n < size && d->begun < v->lead && s[n] == ' ') {
		d->begun++;
		n++;
	}
	if (n < size || d->begun >= v->lead)
		d->begun = DECODE_BEGUN;
	return n;
}

long decode_feed(struct decode *d, const struct vocab *v, uint32_t id,
		 uint8_t *out, size_t cap)
{
	size_t size, n;
	const uint8_t *s = text_of(d, v, id, &size);

	if (!size)
		return 0;
	if (cap < DECODE_CAP(size))
		return -ENOSPC;
	if (d->begun == DECODE_BEGUN)
		return (long)feed(d, s, size, out);
	if (v->lead_all) {
		d->begun = DECODE_BEGUN;
		return (long)feed_spaceless(d, s, size, out);
	}
	n = give_up(d, v, s, size);
	return (long)feed(d, s + n, size - n, out);
}

size_t decode_end(struct decode *d, uint8_t out[3])
{
	if (!d->nr_pending)
		return 0;
	d->nr_pending = 0;
	memcpy(out, "\xef\xbf\xbd", UTF8_BROKEN_SIZE);
	return UTF8_BROKEN_SIZE;
}

/*
 * UTF-8 synchronizes itself: a first byte begins a character whatever stood
 * before.  So what pends after a stream is told by its last three bytes, and
 * only where the ids have fewer does what pended before matter.
 */
void decode_skip(struct decode *d, const struct vocab *v, const uint32_t *ids,
		 size_t nr)
{
	uint8_t tail[3], scratch[DECODE_CAP(3)];
	size_t have = 0, size, n, i;
	const uint8_t *s;

	for (i = 0; i < nr && d->begun != DECODE_BEGUN; i++) {
		s = text_of(d, v, ids[i], &size);
		if (size && v->lead_all)
			d->begun = DECODE_BEGUN;
		else if (size)
			give_up(d, v, s, size);
	}
	while (nr && have < sizeof(tail)) {
		s = text_of(d, v, ids[--nr], &size);
		n = size < sizeof(tail) - have ? size : sizeof(tail) - have;
		/* filled from the back */
		memcpy(tail + sizeof(tail) - have - n, s + size - n, n);
		have += n;
	}
	if (have == sizeof(tail))
		d->nr_pending = 0;
	feed(d, tail + sizeof(tail) - have, have, scratch);
}
