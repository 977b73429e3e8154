/* SPDX-License-Identifier: MIT */
/*
 * recover.h - what an engine that died left, found in record and log.
 *
 * A SIGKILL leaves a prefix of the dead engine's stores (doc/PROTOCOL.md), so
 * a session is in one of few states, and each has one answer:
 *
 *   record.gen            word              answer
 *   0, or not the word's  any               an admission was cut: the slot has
 *                                           no extent; the entry comes again
 *   the word's            QUEUED, RUNNING   the stream goes on behind its tail
 *   the word's            QUEUED, TEXT,     its text is tokenized again
 *                         prompt_len 0
 *   the word's            END               nothing but its extent, which the
 *                                           client may still read
 *
 * What lies in a log above the tail is garbage of a cut step; it is written
 * again, with the same values.  Every move is idempotent: a kill in the
 * middle of recovery leaves one of the same states.
 */
#ifndef DAEMON_RECOVER_H
#define DAEMON_RECOVER_H

#include <stdint.h>

struct admit_limits;
struct board;
struct desk;
struct session;
struct stream;
struct stream_text;

#define RECOVER_DEATHS 3u /* engines that one request may kill */

/* The extents that the records of @s name, into its desk's map. */
void recover_extents(struct desk *d);

/*
 * The rows of the step in which the last engine died of itself (board.blamed)
 * are counted in their records.  Once a session, before its streams.
 */
void recover_blame(struct session *s, const struct board *board);

enum recovered {
	RECOVER_NOTHING, /* no living stream in this slot */
	RECOVER_GO,	 /* @st is bound and goes on */
	RECOVER_TEXT,	 /* @st is bound; its text is to be tokenized */
	RECOVER_ENDED,	 /* it cannot go on: END/ERROR is stored */
};
enum recovered recover_stream(struct stream *st, const struct admit_limits *lim,
			      const struct stream_text *tx, struct desk *d,
			      uint32_t slot);

#endif
