/* SPDX-License-Identifier: MIT */
/*
 * stop.h - stop strings, matched on the bytes of a stream's text.
 *
 * One automaton for all stops of a request (set up once, allocates nothing),
 * one small state a stream.  Feed it the text as decode.h hands it out, cut
 * anywhere: the answer depends on the bytes alone.
 *
 * The match is the stop that is complete first; of several that are complete
 * at the same byte the one that begins first, the longest.  (So of two stops
 * with the same beginning the shorter wins.  A stop that is complete inside
 * another ends the stream at once: waiting for the longer would mean to
 * compute tokens in order to throw them away, and to say what happens when a
 * limit or a kill falls between.)
 *
 * Use, a token at a time: the token's text is fed; if that matches, all
 * tokens up to this one are committed, their text cut at stop->begin; else
 * tokens whose text reaches into the last stop_hold() bytes are held back
 * uncommitted, for those bytes may still become a stop.
 *
 * After a restart stop_resume() with the log's text gives the state back; the
 * tokens that were held back are generated again.  struct stop is a value:
 * copy it to look ahead or to go back.
 */
#ifndef TEXT_STOP_H
#define TEXT_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/ac.h" /* the automaton is a member */

struct err;

#define STOP_NR_MAX   16  /* stops of one request */
#define STOP_SIZE_MAX 256 /* bytes of one stop */
#define STOP_NONE     UINT32_MAX

struct stop_string {
	const void *s; /* borrowed; valid UTF-8 */
	size_t size;   /* bytes, 1 to STOP_SIZE_MAX */
};

/* Read-only once set up; may be shared by streams. */
struct stop_set {
	struct ac ac;
	uint16_t size[STOP_NR_MAX];
	uint32_t nr;
};

struct stop {
	const struct stop_set *set; /* borrowed */
	uint64_t fed;		    /* bytes of text so far */
	uint32_t state;
	uint32_t index; /* which stop matched, or STOP_NONE */
	uint64_t begin; /* once matched: bytes of text before the stop */
	uint64_t end;	/* once matched: bytes of text up to its end */
};

/* Bytes of memory that stop_set_init() needs for stops of @total bytes. */
static inline size_t stop_set_size(size_t total)
{
	return (total + 1) * sizeof(struct ac_node);
}

/*
 * Set up for @nr stops (0 is good: nothing ever matches).  @mem, aligned for
 * struct ac_node, stays in use as long as the set; @str need not.  0, or
 * -EINVAL with @err: too many, empty, too long, or not UTF-8 (text handed out
 * is whole characters: such a stop could only match half of one), or
 * -ENOSPC: @mem_size is less than stop_set_size(sum of sizes).
 */
int stop_set_init(struct stop_set *set, const struct stop_string *str,
		  uint32_t nr, void *mem, size_t mem_size, struct err *err);

void stop_init(struct stop *s, const struct stop_set *set);

/*
 * Feed text.  True once a stop is complete: index, begin and end tell which
 * and where; what was fed after its end has not been looked at, and further
 * feeding changes nothing.
 */
bool stop_feed(struct stop *s, const void *text, size_t size);

/* How many of the last bytes fed may still become a stop (0 once matched). */
static inline uint32_t stop_hold(const struct stop *s)
{
	return s->index == STOP_NONE ? s->set->ac.node[s->state].depth : 0;
}

/* The state after @size bytes of text in which nothing matched. */
void stop_resume(struct stop *s, const void *text, size_t size);

#endif
