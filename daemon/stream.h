/* SPDX-License-Identifier: MIT */
/*
 * stream.h - a stream's log: where computed tokens become delivered ones.
 *
 * Layout.  A stream has a commit word (8 bytes, packed with its neighbours),
 * a record (512 bytes) and an extent in ENGINE memory that holds, as the
 * record says: parameters, ids, log, alternatives, text.
 *
 *   ids   __u32[prompt_cap + log_len]  prompt, then output; behind
 *                                      prompt_len core/ writes, for itself
 *   log   llm_tok[log_len]             entry t: token, logprob, text_end, flags
 *   text  bytes; token t's piece is [text_end(t - 1), text_end(t))
 *   alt   llm_alt[log_len][alt_k]
 *
 *        log:  | 0 | 1 | 2 | 3 | 4 | 5 |   .   .   .
 *                          ^ tail      ^ nr
 *              committed   | held back |  free
 *
 * The writer (the engine thread, nobody else; an engine is dead for certain
 * before the next one lives):
 *   1. text bytes behind those there, alternatives, log entry [nr]: plain
 *      stores behind what the tail covers.  stream_token() does this; any
 *      number of tokens may follow each other.
 *   2. where the stream ends: record.detail, stop_index, error, why.
 *   3. ONE store-release of the word (gen, state, end, tail): all of it is
 *      delivered in that instant, the end together with the last tokens.
 *      stream_commit() does this.
 *
 * The reader (any client thread): load-acquires the word; then record, log
 * entries below tail, and text below text_end(tail - 1) are plain loads.
 *
 * Why a reader never sees half a token: every byte it may look at was stored
 * before a word it has acquired, and nothing below a tail is stored again
 * under the same gen.  A kill between two stores leaves bytes above the tail
 * that the next engine overwrites, with the same values at that.
 *
 * Held back.  A token whose text may still become a stop string is stored in
 * the log but not covered by the tail.  If the stop comes, the text of what
 * is held is cut before it and all is committed with the end; if it does not,
 * the tail moves over it.  So no byte of a stop string is ever readable as
 * text.  What is held back when an engine dies is computed again, the same.
 *
 * Nothing here allocates, locks, or reads what a client can write.
 */
#ifndef DAEMON_STREAM_H
#define DAEMON_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

#include "daemon/core/batch.h"
#include "daemon/mark.h"
#include "include/llm_shm.h"
#include "text/decode.h"
#include "text/stop.h"

struct backend;
struct session;
struct vocab;

/* What turns ids into text; constant while a model is served. */
struct stream_text {
	const struct backend *be;  /* borrowed: ids that end, and pieces */
	const struct vocab *vocab; /* borrowed; NULL: pieces, or no text */
};

/*
 * The usual token is one that only has to be stored and published: its stream
 * has begun, asks for nothing besides text, and does not end with it.  What it
 * touches stands first, in 48 bytes: a step walks a thousand of these.
 */
struct stream {
	struct llm_tok *log; /* [log_len]; these three borrow ENGINE memory */
	uint8_t *text;	     /* [text_size] */
	uint64_t *word;
	uint32_t nr;	    /* in the log, held back ones included */
	uint32_t tail;	    /* committed */
	uint32_t text_len;  /* bytes of text of the nr */
	uint32_t text_size; /* the record's */
	uint32_t usual_to;  /* below it a token is usual; 0: none is */
	uint32_t gen;
	/* what a token of the usual stream does not touch */
	uint32_t log_len; /* the record's */
	uint32_t max_tokens;
	uint32_t slot;
	uint32_t end;	     /* enum llm_end to be committed, or LLM_END_NONE */
	uint32_t min_tokens; /* stops count from here on */
	uint32_t alt_k;	     /* the record's */
	uint32_t nr_stop_ids; /* the last of sampling.end_ids */
	struct decode decode; /* state after the nr */
	bool score, logprobs, ignore_eos;
	bool suspect;		 /* record.deaths is not 0 */
	bool stops;		 /* it has stop strings */
	bool told;		 /* its prompt is in the statistics */
	uint32_t prompt_len;	 /* 0: not tokenized yet */
	struct session *session; /* borrowed */
	uint32_t *ids; /* [prompt_cap + log_len]; in ENGINE, as are record, alt */
	struct sampling sampling;
	uint32_t stop_base; /* bytes of text before stops began to count */
	struct llm_record *record;
	struct llm_alt *alt; /* [log_len][alt_k], or NULL */
	struct stop stop;
	struct stop_set stop_set; /* its nodes lie in the extent */
};

/*
 * Take over the stream in @slot of @s, whose record is complete and whose word
 * says QUEUED or RUNNING, and bring it to where its log ends: the same for a
 * new one (an empty log) and for one of an earlier life.  0, or -EINVAL where
 * the record's parameters do not hold for this model.
 */
int stream_bind(struct stream *st, const struct stream_text *tx,
		struct session *s, uint32_t slot);
/*
 * The prompt of a TEXT stream is known: @nr <= prompt_cap ids, @max_tokens.
 * Stores them where a new engine finds them, their number last.
 */
void stream_set_prompt(struct stream *st, const struct stream_text *tx,
		       const uint32_t *ids, uint32_t nr, uint32_t max_tokens);

/*
 * The next token, as the backend computed it (order of @out's position); of a
 * score the prompt token judged.  Stores its text and log entry; true where the
 * stream ends with it (st->end) or ended before it.  Not visible until
 * stream_commit().
 */
bool stream_token(struct stream *st, const struct stream_text *tx,
		  const struct batch_out *out);
/*
 * End it where it stands (cancel, deadline, error): what is held back is
 * delivered.  @why: one line or NULL; @error: positive errno or 0.
 */
void stream_stop(struct stream *st, enum llm_end end, uint32_t error,
		 const char *why);
/*
 * Publish what may be published; false where there is nothing new.  The
 * caller wish_touch()es where true.
 */
bool stream_commit(struct stream *st);
/* Was the last token a usual one? */
static inline bool stream_usual(const struct stream *st)
{
	return st->nr <= st->usual_to;
}
/* stream_commit() where it was. */
static inline void stream_commit_usual(struct stream *st)
{
	/* the delivery; pairs with the client's acquire of the word */
	shm_publish(st->word,
		    LLM_COMMIT(st->gen, LLM_ST_RUNNING, LLM_END_NONE, st->nr));
	st->tail = st->nr;
	mark(MARK_COMMIT);
}

#endif
