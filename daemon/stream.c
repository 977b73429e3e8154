/* SPDX-License-Identifier: MIT */
#include "daemon/stream.h"
#include "daemon/carrier.h"
#include "daemon/mark.h"
#include "daemon/model/backend.h"
#include "daemon/params.h"
#include "include/llm_shm.h"
#include "text/utf8.h"
#include "text/vocab.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define PIECE_MAX   16u		/* bytes that backend.piece() writes at most */
#define NOT_ASKED   0x7fc00000u /* a quiet NaN */

#define LINE	    64u /* of the cache */
#define USUAL_PIECE 8u	/* bytes: most tokens have less text */

static_assert(UTF8_BROKEN_SIZE == 3, "room kept for the end");

/* ---- taking over ------------------------------------------------------ */

/* The text state after the log: what stream_token() would have left. */
static void resume_text(struct stream *st, const struct stream_text *tx)
{
	uint32_t from = st->min_tokens < st->nr ? st->min_tokens : st->nr;

	st->text_len = st->nr ? st->log[st->nr - 1].text_end : 0;
	st->stop_base = from ? st->log[from - 1].text_end : 0;
	stop_init(&st->stop, &st->stop_set);
	stop_resume(&st->stop, st->text + st->stop_base,
		    st->text_len - st->stop_base);
	decode_init(&st->decode, 0);
	if (tx->vocab)
		decode_skip(&st->decode, tx->vocab, st->ids,
			    st->prompt_len + st->nr);
}

/* Pieces have no decode_skip(): three bytes of context are enough. */
static void resume_pieces(struct stream *st, const struct stream_text *tx)
{
	uint32_t n = st->prompt_len + st->nr, i = n > 4 ? n - 4 : 0;
	uint8_t piece[PIECE_MAX], waste[DECODE_CAP(PIECE_MAX)];

	for (; i < n; i++)
		decode_bytes(&st->decode, piece,
			     tx->be->piece(tx->be, st->ids[i], piece), waste,
			     sizeof(waste));
}

static void resume(struct stream *st, const struct stream_text *tx)
{
	uint32_t i;

	for (i = 0; i < st->nr; i++)
		st->ids[st->prompt_len + i] = st->log[i].token;
	if (st->score)
		return;
	resume_text(st, tx);
	if (!tx->vocab && tx->be->piece)
		resume_pieces(st, tx);
}

int stream_bind(struct stream *st, const struct stream_text *tx,
		struct session *s, uint32_t slot)
{
	struct llm_record *r = session_record(s, slot);
	uint64_t word = shm_load(&s->commit[slot]);
	bool text = tx->vocab || tx->be->piece;
	struct params p;
	uint8_t *params = s->base + r->params_off;
	uint64_t seed = r->seed;
	int ret;

	ret = params_read(&p, params, r->params_size, &tx->be->info, text,
			  NULL);
	if (ret)
		return -EINVAL;
	*st = (struct stream){
		.session = s,
		.slot = slot,
		.gen = r->gen,
		.record = r,
		.word = &s->commit[slot],
		.ids = (uint32_t *)(s->base + r->prompt_off),
		.log = (struct llm_tok *)(s->base + r->log_off),
		.text = s->base + r->text_off,
		.log_len = r->log_len,
		.text_size = r->text_size,
		.alt_k = r->alt_k,
		.nr_stop_ids = p.head.nr_stop_ids,
		.suspect = r->deaths,
		.stops = p.head.nr_stop,
		.prompt_len = r->prompt_len,
		.tail = LLM_COMMIT_TAIL(word),
		.nr = LLM_COMMIT_TAIL(word),
		.max_tokens = r->max_tokens,
		.min_tokens = p.head.min_tokens,
		.score = r->op == LLM_OP_SCORE,
		.ignore_eos = p.head.flags & LLM_PARAMS_F_IGNORE_EOS,
	};
	if (r->alt_off)
		st->alt = (struct llm_alt *)(s->base + r->alt_off);
	st->logprobs = st->score || r->alt_k || r->flags & LLM_SQE_F_LOGPROBS;
	if (bug(BUG_NOISE_BY_STATE))
		seed ^= shm_load(&s->host->epoch) > r->adm_epoch;
	params_resolve(&p, &tx->be->info, seed,
		       params_work(params, r->params_size), &st->sampling,
		       &st->stop_set);
	resume(st, tx);
	return 0;
}

void stream_set_prompt(struct stream *st, const struct stream_text *tx,
		       const uint32_t *ids, uint32_t nr, uint32_t max_tokens)
{
	assert(nr && nr <= st->record->prompt_cap);
	memcpy(st->ids, ids, nr * sizeof(*ids));
	st->record->max_tokens = max_tokens;
	mark(MARK_TEXT_IDS);
	/* a new engine that sees the number sees the ids */
	shm_publish(&st->record->prompt_len, nr);
	mark(MARK_TEXT_READY);
	st->prompt_len = nr;
	st->max_tokens = max_tokens;
	resume(st, tx);
}

/* ---- tokens ----------------------------------------------------------- */

static bool is_ascii(const uint8_t *s, uint32_t n)
{
	uint8_t all = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		all |= s[i];
	return all < 0x80;
}

/* The token's text by way of the decoder, at most @room bytes. */
static __attribute__((noinline)) long put_decoded(struct stream *st,
						  const struct stream_text *tx,
						  uint32_t token, uint32_t room)
{
	uint8_t *out = st->text + st->text_len, piece[PIECE_MAX];
	uint32_t n;

	if (tx->vocab)
		return decode_feed(&st->decode, tx->vocab, token, out, room);
	n = tx->be->piece(tx->be, token, piece);
	if (room < DECODE_CAP(PIECE_MAX))
		return -ENOSPC;
	if (st->decode.nr_pending || !is_ascii(piece, n))
		return decode_bytes(&st->decode, piece, n, out, room);
	memcpy(out, piece, n);
	return n;
}

/*
 * The token's text behind what is there.  Three bytes are kept for the end
 * (a character cut short).  Returns its size, or -ENOSPC.
 */
static inline long put_text(struct stream *st, const struct stream_text *tx,
			    uint32_t token)
{
	uint32_t room = st->text_size - st->text_len;

	if (!st->text_size)
		return 0;
	if (room < UTF8_BROKEN_SIZE + DECODE_CAP(PIECE_MAX) || !tx->be->ascii)
		return room < UTF8_BROKEN_SIZE
			       ? -ENOSPC
			       : put_decoded(st, tx, token,
					     room - UTF8_BROKEN_SIZE);
	/* nothing of it can be half a character */
	return tx->be->piece(tx->be, token, st->text + st->text_len);
}

/* The alternatives of the token that comes next; how many. */
static uint32_t put_alt(struct stream *st, const struct batch_out *out)
{
	uint32_t k = st->alt_k < out->nr_alt ? st->alt_k : out->nr_alt, i;
	struct llm_alt *alt = st->alt + (size_t)st->nr * st->alt_k;

	for (i = 0; i < k; i++) {
		alt[i].token = out->alt->token[i];
		memcpy(&alt[i].logprob_bits, &out->alt->logprob[i], 4);
	}
	return k;
}

static inline void put_log(struct stream *st, const struct batch_out *out,
			   uint32_t token, uint32_t flags)
{
	struct llm_tok *t = &st->log[st->nr];

	if (st->alt_k)
		flags |= put_alt(st, out) << 8;
	t->token = token;
	if (st->logprobs)
		memcpy(&t->logprob_bits, &out->logprob, 4);
	else
		t->logprob_bits = NOT_ASKED;
	t->text_end = st->text_len;
	t->flags = flags;
	st->nr++;
}

static void set_end(struct stream *st, enum llm_end end, uint32_t detail)
{
	st->record->detail = detail;
	st->end = end;
	st->usual_to = 0;
}

static inline bool is_eos(const struct model_info *m, uint32_t token)
{
	uint32_t i;

	for (i = 0; i < m->nr_eos; i++)
		if (m->eos[i] == token)
			return true;
	return false;
}

/* Is @token one that ends the stream?  DETAIL_NONE: no. */
static uint32_t end_token(const struct stream *st, const struct model_info *m,
			  uint32_t token)
{
	const struct sampling *sp = &st->sampling;
	uint32_t i;

	if (!st->ignore_eos && is_eos(m, token))
		return LLM_DETAIL_EOS;
	if (!st->nr_stop_ids)
		return LLM_DETAIL_NONE;
	for (i = sp->nr_end_ids - st->nr_stop_ids; i < sp->nr_end_ids; i++)
		if (sp->end_ids[i] == token)
			return LLM_DETAIL_STOP_ID;
	return LLM_DETAIL_NONE;
}

/* The stop string begins at @begin: no text from there on. */
static void cut_text(struct stream *st, uint32_t begin)
{
	uint32_t i;

	for (i = st->nr; i-- > st->tail && st->log[i].text_end > begin;) {
		st->log[i].text_end = begin;
		/* a stop string is whole characters: so is what is before */
		st->log[i].flags |= LLM_TOK_F_UTF8;
	}
	st->text_len = begin;
	st->record->stop_index = st->stop.index;
	set_end(st, LLM_END_STOP, LLM_DETAIL_STOP_STRING);
}

/* The last token is in: what pends of a character shows as broken. */
static void finish_text(struct stream *st)
{
	struct llm_tok *t = &st->log[st->nr - 1];

	st->text_len +=
		(uint32_t)decode_end(&st->decode, st->text + st->text_len);
	t->text_end = st->text_len;
	t->flags |= LLM_TOK_F_UTF8;
}

/* Of a score: the log entry of the prompt token judged. */
static bool score_token(struct stream *st, const struct batch_out *out)
{
	if (st->end)
		return true;
	if (out->position < st->nr) /* computed again: an earlier life's */
		return false;
	assert(out->position == st->nr && st->nr < st->log_len);
	put_log(st, out, out->target, LLM_TOK_F_UTF8);
	mark(MARK_LOG);
	if (st->nr + 1 == st->prompt_len)
		set_end(st, LLM_END_LENGTH, LLM_DETAIL_NONE);
	return st->end;
}

/* A token of which anything may be true. */
static __attribute__((noinline)) bool token_at_length(
	struct stream *st, const struct stream_text *tx,
	const struct batch_out *out)
{
	const struct model_info *m = &tx->be->info;
	uint32_t how, token = out->token, flags = 0, len = st->text_len;
	bool matched = false;
	long size = 0;

	if (st->score)
		return score_token(st, out);
	if (st->end || st->nr >= st->log_len)
		return true;
	if (bug(BUG_PUBLISH_FIRST)) {
		shm_publish(st->word,
			    LLM_COMMIT(st->gen, LLM_ST_RUNNING, 0, st->nr + 1));
		mark(MARK_PIECE);
	}
	how = end_token(st, m, token);
	if (how != LLM_DETAIL_EOS)
		size = put_text(st, tx, token);
	if (size < 0) {
		set_end(st, LLM_END_LENGTH, LLM_DETAIL_TEXT_FULL);
		return true;
	}
	mark(MARK_PIECE);
	if (st->nr < st->min_tokens)
		st->stop_base += (uint32_t)size;
	else if (st->stops)
		matched = stop_feed(&st->stop, st->text + len, (size_t)size);
	st->text_len = len + (uint32_t)size;
	if (how == LLM_DETAIL_EOS ||
	    (tx->vocab && vocab_special(tx->vocab, token)))
		flags |= LLM_TOK_F_SPECIAL;
	if (!st->decode.nr_pending)
		flags |= LLM_TOK_F_UTF8;
	put_log(st, out, token, flags);
	mark(MARK_LOG);

	if (how == LLM_DETAIL_NONE && !matched && st->nr != st->max_tokens)
		return false;
	if (matched) {
		cut_text(st, st->stop_base + (uint32_t)st->stop.begin);
		return true;
	}
	if (how != LLM_DETAIL_NONE)
		set_end(st, LLM_END_STOP, how);
	else
		set_end(st, LLM_END_LENGTH,
			st->prompt_len + st->nr == m->context
				? LLM_DETAIL_CONTEXT
				: LLM_DETAIL_MAX_TOKENS);
	if (st->text_size)
		finish_text(st);
	return true;
}

/*
 * The next token may be the first of a new line, of log or text: ask for that
 * line now, a step before it is written.
 */
static inline void look_ahead(const struct stream *st)
{
	const struct llm_tok *log = &st->log[st->nr];
	const uint8_t *text = st->text + st->text_len;

	if ((uintptr_t)log % LINE == 0)
		shm_prefetch_write(log);
	if (LINE - (uintptr_t)text % LINE <= USUAL_PIECE)
		shm_prefetch_write(text + USUAL_PIECE);
}

bool stream_token(struct stream *st, const struct stream_text *tx,
		  const struct batch_out *out)
{
	uint32_t token = out->token, flags = LLM_TOK_F_UTF8;
	struct llm_tok *t;
	long size;

	if (st->nr >= st->usual_to || is_eos(&tx->be->info, token) ||
	    bug(BUG_PUBLISH_FIRST))
		return token_at_length(st, tx, out);
	size = put_text(st, tx, token);
	if (size < 0) {
		set_end(st, LLM_END_LENGTH, LLM_DETAIL_TEXT_FULL);
		return true;
	}
	mark(MARK_PIECE);
	if (tx->vocab && vocab_special(tx->vocab, token))
		flags |= LLM_TOK_F_SPECIAL;
	if (!tx->be->ascii && st->decode.nr_pending)
		flags &= ~LLM_TOK_F_UTF8;
	st->text_len += (uint32_t)size;
	t = &st->log[st->nr++];
	t->token = token;
	t->logprob_bits = NOT_ASKED;
	t->text_end = st->text_len;
	t->flags = flags;
	look_ahead(st);
	mark(MARK_LOG);
	return false;
}

void stream_stop(struct stream *st, enum llm_end end, uint32_t error,
		 const char *why)
{
	struct llm_record *r = st->record;
	size_t n = why ? strnlen(why, sizeof(r->why) - 1) : 0;

	if (st->end)
		return;
	r->error = error;
	if (n)
		memcpy(r->why, why, n);
	set_end(st, end, LLM_DETAIL_NONE);
}

/* Tokens that may be delivered: whose text is no beginning of a stop. */
static uint32_t deliverable(const struct stream *st)
{
	uint32_t n = st->nr, hold;

	if (st->end || !st->stops)
		return n;
	hold = stop_hold(&st->stop);
	while (hold && n > st->tail &&
	       st->log[n - 1].text_end > st->text_len - hold)
		n--;
	return n;
}

/* From the next token on nothing is left to be done but store and publish. */
static uint32_t usual_to(const struct stream *st)
{
	if (st->end || st->score || st->stops || st->logprobs ||
	    st->nr_stop_ids || !st->nr || st->nr < st->min_tokens)
		return 0;
	assert(st->max_tokens <= st->log_len); /* as it was laid out */
	return st->max_tokens - 1;
}

bool stream_commit(struct stream *st)
{
	uint32_t n = deliverable(st);
	uint32_t state = st->end ? LLM_ST_END : LLM_ST_RUNNING;

	if (n == st->tail && !st->end)
		return false;
	if (st->end && bug(BUG_END_FIRST)) {
		shm_publish(st->word,
			    LLM_COMMIT(st->gen, LLM_ST_END, st->end, st->tail));
		mark(MARK_END);
	}
	if (st->end)
		mark(MARK_END);
	/* the delivery; pairs with the client's acquire of the word */
	shm_publish(st->word, LLM_COMMIT(st->gen, state, st->end, n));
	st->tail = n;
	st->usual_to = usual_to(st);
	mark(MARK_COMMIT);
	return true;
}
