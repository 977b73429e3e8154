/* SPDX-License-Identifier: MIT */
#include "daemon/recover.h"
#include "base/err.h"
#include "daemon/admit.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/desk.h"
#include "daemon/mark.h"
#include "daemon/model/backend.h"
#include "daemon/stream.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Does the record of @slot belong to its commit word? */
static bool whole(const struct session *s, uint32_t slot, uint64_t *ret_word)
{
	*ret_word = shm_load(&s->commit[slot]);
	return LLM_COMMIT_STATE(*ret_word) != LLM_ST_FREE &&
	       session_record(s, slot)->gen == LLM_COMMIT_GEN(*ret_word);
}

static bool lives(uint64_t word)
{
	return LLM_COMMIT_STATE(word) == LLM_ST_QUEUED ||
	       LLM_COMMIT_STATE(word) == LLM_ST_RUNNING;
}

/* End a stream that could not even be bound, at the tail it has. */
static void end_error(struct session *s, uint32_t slot, uint64_t word,
		      uint32_t error, const char *why)
{
	struct llm_record *r = session_record(s, slot);

	r->error = error;
	memset(r->why, 0, sizeof(r->why));
	memcpy(r->why, why, strnlen(why, sizeof(r->why) - 1));
	shm_publish(&s->commit[slot],
		    LLM_COMMIT(LLM_COMMIT_GEN(word), LLM_ST_END, LLM_END_ERROR,
			       LLM_COMMIT_TAIL(word)));
}

void recover_extents(struct desk *d)
{
	struct session *s = d->session;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < s->nr_streams; i++) {
		const struct llm_record *r = session_record(s, i);

		if (!whole(s, i, &word) || !r->extent_size)
			continue;
		if (extent_claim(&d->extents, i, r->extent_off,
				 r->extent_size) &&
		    lives(word))
			end_error(s, i, word, EIO, "its log was lost");
	}
}

void recover_blame(struct session *s, const struct board *board)
{
	uint32_t i, nr = shm_load(&board->nr_blamed);
	uint64_t word;

	for (i = 0; i < nr && i < BOARD_MAX_ROWS; i++) {
		const struct board_row *row = &board->blamed[i];

		if (row->session != s->id || row->stream >= s->nr_streams ||
		    !whole(s, row->stream, &word) || !lives(word) ||
		    LLM_COMMIT_GEN(word) != row->gen)
			continue;
		session_record(s, row->stream)->deaths++;
	}
	mark(MARK_OPEN_BLAME);
}

/* Does what is known of the stream fit the model that is served now? */
static int still_fits(const struct stream *st, const struct admit_limits *lim,
		      struct err *err)
{
	const struct llm_record *r = st->record;
	uint32_t unused;
	int ret;

	if (!memcmp(r->digest, lim->model->digest, sizeof(r->digest)) &&
	    r->arith == lim->model->arith)
		return 0;
	ret = admit_ids(lim, st->ids, st->prompt_len + st->nr, err);
	if (!ret && st->prompt_len)
		ret = admit_lengths(lim, r->op, st->prompt_len, r->max_tokens,
				    0, &unused, err);
	if (ret)
		return ret;
	/* valid, but not the tokens that the first model would have given */
	snprintf((char *)st->record->why, sizeof(r->why),
		 "another model or arithmetic goes on from token %u", st->nr);
	return 0;
}

enum recovered recover_stream(struct stream *st, const struct admit_limits *lim,
			      const struct stream_text *tx, struct desk *d,
			      uint32_t slot)
{
	struct session *s = d->session;
	const struct llm_record *r = session_record(s, slot);
	struct err err = { 0 };
	char why[160];
	uint64_t word;

	if (!whole(s, slot, &word) || !lives(word))
		return RECOVER_NOTHING;
	if (r->deaths >= RECOVER_DEATHS) {
		snprintf(why, sizeof(why),
			 "quarantined: %u engines died while computing it",
			 r->deaths);
		end_error(s, slot, word, EIO, why);
		return RECOVER_ENDED;
	}
	if (stream_bind(st, tx, s, slot)) {
		end_error(
			s, slot, word, EIO,
			"its parameters do not hold for the model served now");
		return RECOVER_ENDED;
	}
	if (still_fits(st, lim, &err)) {
		end_error(s, slot, word, EIO, err.text);
		return RECOVER_ENDED;
	}
	return st->prompt_len ? RECOVER_GO : RECOVER_TEXT;
}
