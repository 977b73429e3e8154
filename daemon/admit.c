/* SPDX-License-Identifier: MIT */
#include "daemon/admit.h"
#include "base/err.h"
#include "daemon/account.h"
#include "daemon/carrier.h"
#include "daemon/extent.h"
#include "daemon/mark.h"
#include "daemon/model/backend.h"
#include "include/llm_shm.h"
#include "text/decode.h"

#include <errno.h>
#include <string.h>

/* Text room a token on average; more ends the stream with LENGTH. */
#define TEXT_PER_TOKEN 16u
/* Ids that a chat template and BOS may put around a user's words, at most. */
#define TEMPLATE_IDS 256u

/* ---- judgement: pure -------------------------------------------------- */

int admit_ids(const struct admit_limits *lim, const uint32_t *ids, uint32_t nr,
	      struct err *why)
{
	uint32_t i, vocab = lim->model->vocab;

	for (i = 0; i < nr; i++)
		if (ids[i] >= vocab)
			return err_set(why, -EINVAL,
				       "prompt id %u is %d, allowed 0 to %u", i,
				       (int32_t)ids[i], vocab - 1);
	return 0;
}

int admit_lengths(const struct admit_limits *lim, uint32_t op,
		  uint64_t prompt_len, uint32_t max_tokens, uint32_t min_tokens,
		  uint32_t *ret_max, struct err *why)
{
	uint64_t context = lim->model->context, pool = lim->pool_tokens;
	uint64_t room, fits;

	if (!prompt_len)
		return err_set(why, -EINVAL, "the prompt is empty");
	if (op == LLM_OP_SCORE) {
		fits = context < pool ? context : pool;
		if (prompt_len > fits)
			return err_set(why, -E2BIG,
				       "prompt of %llu tokens, allowed 1 to "
				       "%llu",
				       (unsigned long long)prompt_len,
				       (unsigned long long)fits);
		*ret_max = 0;
		return 0;
	}
	if (prompt_len >= context)
		return err_set(why, -E2BIG,
			       "prompt of %llu tokens fills the context of "
			       "%llu",
			       (unsigned long long)prompt_len,
			       (unsigned long long)context);
	if (prompt_len >= pool)
		return err_set(why, -E2BIG,
			       "prompt of %llu tokens, the KV pool holds %llu",
			       (unsigned long long)prompt_len,
			       (unsigned long long)pool);
	room = context - prompt_len;
	if (max_tokens > room)
		return err_set(why, -E2BIG,
			       "prompt of %llu and max_tokens %u are %llu "
			       "tokens, the context holds %llu",
			       (unsigned long long)prompt_len, max_tokens,
			       (unsigned long long)(prompt_len + max_tokens),
			       (unsigned long long)context);
	fits = pool - prompt_len;
	if (max_tokens > fits)
		return err_set(why, -E2BIG,
			       "prompt of %llu and max_tokens %u are %llu "
			       "tokens, the KV pool holds %llu",
			       (unsigned long long)prompt_len, max_tokens,
			       (unsigned long long)(prompt_len + max_tokens),
			       (unsigned long long)pool);
	if (!max_tokens) {
		max_tokens = lim->default_max_tokens;
		if (max_tokens > room)
			max_tokens = (uint32_t)room;
		if (max_tokens > fits)
			max_tokens = (uint32_t)fits;
	}
	if (max_tokens > LLM_MAX_LOG_TOKENS)
		return err_set(why, -EINVAL, "max_tokens %u, allowed 1 to %u",
			       max_tokens, LLM_MAX_LOG_TOKENS);
	if (min_tokens > max_tokens)
		return err_set(why, -EINVAL, "min_tokens %u, allowed 0 to %u",
			       min_tokens, max_tokens);
	*ret_max = max_tokens;
	return 0;
}

/* Fields that mean the same for every op that has a prompt. */
static int judge_fields(const struct admit_limits *lim, const struct llm_sqe *q,
			struct err *why)
{
	if (q->op == LLM_OP_EMBED || q->op == LLM_OP_CONTINUE)
		return err_set(why, -EOPNOTSUPP, "op %u is reserved", q->op);
	if (q->op >= LLM_OP_NR)
		return err_set(why, -EINVAL, "op %u, known 0 to %u", q->op,
			       LLM_OP_NR - 1);
	if (q->flags & ~LLM_SQE_F_ALL)
		return err_set(why, -EINVAL,
			       "flags 0x%x have unknown bits, known 0x%x",
			       q->flags, LLM_SQE_F_ALL);
	if (q->resv)
		return err_set(why, -EINVAL, "resv is 0x%llx, allowed 0",
			       (unsigned long long)q->resv);
	if (q->class_ >= LLM_CLASS_NR)
		return err_set(why, -EINVAL, "class %u, allowed 0 to %u",
			       q->class_, LLM_CLASS_NR - 1);
	if (q->op == LLM_OP_PING)
		return 0;
	if (q->model)
		return err_set(why, -ENOENT, "model %u, served: 0", q->model);
	if (q->adapter)
		return err_set(why, -ENOENT, "adapter %u, served: none",
			       q->adapter);
	if (q->flags & LLM_SQE_F_TEXT && !lim->text)
		return err_set(why, -EOPNOTSUPP,
			       "the model has no tokenizer: send ids");
	if (q->flags & LLM_SQE_F_CHAT && !(q->flags & LLM_SQE_F_TEXT))
		return err_set(why, -EINVAL, "CHAT is for TEXT prompts");
	if (q->flags & LLM_SQE_F_CHAT && !lim->chat)
		return err_set(why, -EOPNOTSUPP,
			       "the model has no chat template that is known "
			       "here");
	if (q->op != LLM_OP_GENERATE)
		return 0;
	if (!q->max_tokens && !(q->flags & LLM_SQE_F_DEFAULT_MAX))
		return err_set(why, -EINVAL, "max_tokens 0, allowed 1 to %u",
			       lim->model->context);
	if (q->max_tokens && q->flags & LLM_SQE_F_DEFAULT_MAX)
		return err_set(why, -EINVAL,
			       "max_tokens %u beside F_DEFAULT_MAX",
			       q->max_tokens);
	return 0;
}

/* A span of ARENA: inside it, aligned, counted without overflow. */
static int judge_span(const char *what, uint32_t off, uint32_t len,
		      uint32_t align, uint64_t arena_size, struct err *why)
{
	if (off % align)
		return err_set(why, -EINVAL,
			       "%s at %u in the arena, allowed multiples of %u",
			       what, off, align);
	if ((uint64_t)off + len > arena_size)
		return err_set(why, -EFAULT,
			       "%s at %u, %u bytes, is outside the arena of "
			       "%llu",
			       what, off, len, (unsigned long long)arena_size);
	return 0;
}

static int judge_prompt(const struct admit_limits *lim, const struct llm_sqe *q,
			const struct params *params, struct admit_plan *plan,
			struct err *why)
{
	uint64_t context = lim->model->context, most;
	uint32_t unused;
	int ret;

	if (!q->len)
		return err_set(why, -EINVAL, "the prompt is empty");
	if (!(q->flags & LLM_SQE_F_TEXT) || lim->bytes) {
		if (!(q->flags & LLM_SQE_F_TEXT) && q->len % 4)
			return err_set(why, -EINVAL,
				       "prompt of %u bytes, ids are 4 each",
				       q->len);
		plan->prompt_len = q->flags & LLM_SQE_F_TEXT ? q->len
							     : q->len / 4;
		plan->layout.prompt_cap = plan->prompt_len;
		return admit_lengths(lim, q->op, plan->prompt_len,
				     q->max_tokens, params->head.min_tokens,
				     &plan->max_tokens, why);
	}
	/*
	 * Of a text only the size is known.  A token is at most token_max
	 * bytes; normalizing makes at most three bytes out of one (U+FFFD),
	 * and of three at least one.
	 */
	most = context * lim->token_max * 4;
	if (q->len > most)
		return err_set(why, -E2BIG,
			       "prompt of %u bytes is more than the context of "
			       "%llu tokens, whatever it says",
			       q->len, (unsigned long long)context);
	most = 3ull * q->len + TEMPLATE_IDS;
	if (most > context)
		most = context;
	plan->prompt_len = 0;
	plan->layout.prompt_cap = (uint32_t)most;
	plan->max_tokens = 0;
	/* what holds for every length is refused now, the rest with the ids */
	ret = admit_lengths(lim, q->op, 1, q->max_tokens,
			    q->max_tokens ? params->head.min_tokens : 0,
			    q->op == LLM_OP_SCORE ? &unused : &plan->max_tokens,
			    why);
	return ret;
}

static uint64_t place(uint64_t *at, uint64_t size)
{
	uint64_t off = *at;

	*at = (off + size + 15) & ~15ull;
	return off;
}

static void lay_out(const struct admit_limits *lim, const struct llm_sqe *q,
		    const struct params *params, struct admit_plan *plan)
{
	struct admit_layout *l = &plan->layout;
	uint64_t at = 0, params_size = q->params_len;
	bool text = lim->text && q->op == LLM_OP_GENERATE;

	if (params_size < sizeof(struct llm_params))
		params_size = sizeof(struct llm_params);
	l->log_len = q->op == LLM_OP_SCORE ? l->prompt_cap - 1
					   : plan->max_tokens;
	l->text_size = text ? TEXT_PER_TOKEN * l->log_len +
				       (uint32_t)DECODE_CAP(lim->token_max) + 3
			    : 0;
	l->params_off = place(&at, params_size);
	place(&at, params_work_size(params)); /* params_work() finds it */
	l->prompt_off = place(&at, 4 * ((uint64_t)l->prompt_cap + l->log_len));
	l->log_off = place(&at, sizeof(struct llm_tok) * (uint64_t)l->log_len);
	l->alt_off = place(&at, sizeof(struct llm_alt) * (uint64_t)l->log_len *
					params->head.nr_alt);
	l->text_off = place(&at, l->text_size);
	l->text_in_off =
		place(&at, q->flags & LLM_SQE_F_TEXT ? q->len + 3ull : 0);
	l->size = at;
}

int admit_judge(const struct admit_limits *lim, const struct admit_now *now,
		const struct llm_sqe *q, const struct params *params,
		uint64_t arena_size, struct admit_plan *ret, struct err *why)
{
	struct admit_plan plan = { .prompt_len = 0 };
	int r;

	r = judge_fields(lim, q, why);
	if (!r && now->draining)
		r = err_set(why, -ESHUTDOWN, "the service is ending");
	if (!r && now->account)
		r = account_judge(now->account, q->op != LLM_OP_PING,
				  now->now_ns, why);
	if (r || q->op == LLM_OP_PING)
		return r;
	r = judge_span("prompt", q->off, q->len, 4, arena_size, why);
	if (!r)
		r = judge_prompt(lim, q, params, &plan, why);
	if (r)
		return r;
	if (q->deadline_ns && q->deadline_ns <= now->now_ns)
		return err_set(
			why, -ETIME,
			"the deadline passed %llu us before admission",
			(unsigned long long)(now->now_ns - q->deadline_ns) /
				1000);
	if (now->waiting >= now->max_waiting)
		return err_set(why, -EBUSY,
			       "%u requests wait, allowed %u: try again later",
			       now->waiting, now->max_waiting);
	if (now->tenant_waiting >= now->max_tenant_waiting)
		return err_set(why, -EBUSY,
			       "%u requests of yours wait, allowed %u: try "
			       "again later",
			       now->tenant_waiting, now->max_tenant_waiting);
	lay_out(lim, q, params, &plan);
	*ret = plan;
	return 0;
}

/* ---- the stores ------------------------------------------------------- */

/* Copy @size bytes of ARENA; a last odd word is fetched whole, then cut. */
static void copy_bytes(uint8_t *dst, const uint8_t *src, uint32_t size)
{
	uint32_t whole = (size + 3) & ~3u;

	shm_copy_in(dst, src, whole);
	memset(dst + size, 0, whole - size);
}

/*
 * Parameters into private memory, checked there.  Their size and place are
 * judged first, for nothing else may be read of the arena.
 */
static int read_params(const struct admit_limits *lim, const struct session *s,
		       const struct llm_sqe *q, void *scratch,
		       struct params *ret, struct err *why)
{
	int r;

	if (q->op == LLM_OP_PING)
		return params_read(ret, NULL, 0, lim->model, lim->text, why);
	if (q->params_len > PARAMS_MAX || q->params_len % 4)
		return err_set(why, -EINVAL,
			       "parameters of %u bytes, allowed multiples of 4 "
			       "up to %u",
			       q->params_len, PARAMS_MAX);
	if (q->params_len) {
		r = judge_span("params", q->params_off, q->params_len, 8,
			       s->arena_size, why);
		if (r)
			return r;
		shm_copy_in(scratch, s->arena + q->params_off, q->params_len);
	}
	return params_read(ret, scratch, q->params_len, lim->model, lim->text,
			   why);
}

/* Prompt and parameters into the extent at @base; the ids checked there. */
static int copy_prompt(const struct admit_limits *lim, const struct session *s,
		       const struct llm_sqe *q, const struct admit_plan *plan,
		       const void *scratch, uint8_t *base, struct err *why)
{
	const struct admit_layout *l = &plan->layout;
	static const struct llm_params none = { .size = sizeof(none) };
	uint32_t *ids = (uint32_t *)(base + l->prompt_off), i;
	uint8_t *text = base + l->text_in_off;
	const uint32_t *src = (const uint32_t *)(s->arena + q->off);

	if (q->params_len)
		memcpy(base + l->params_off, scratch, q->params_len);
	else
		memcpy(base + l->params_off, &none, sizeof(none));
	if (q->flags & LLM_SQE_F_TEXT) {
		copy_bytes(text, s->arena + q->off, q->len);
		for (i = 0; lim->bytes && i < q->len; i++)
			ids[i] = text[i];
		return lim->bytes ? admit_ids(lim, ids, q->len, why) : 0;
	}
	if (bug(BUG_FETCH_TWICE)) { /* believes the page, then reads it again */
		int r = admit_ids(lim, src, plan->prompt_len, why);

		for (i = 0; i < 4000; i++) /* a wide window */
			shm_fence();
		mark(MARK_ADMIT_VOID);
		shm_copy_in(ids, src, q->len);
		return r;
	}
	shm_copy_in(ids, src, q->len);
	return admit_ids(lim, ids, plan->prompt_len, why);
}

static void fill_places(struct llm_record *r, const struct llm_sqe *q,
			const struct params *params,
			const struct admit_plan *plan, uint64_t off)
{
	const struct admit_layout *l = &plan->layout;

	r->max_tokens = plan->max_tokens;
	r->extent_off = off;
	r->extent_size = l->size;
	r->params_off = off + l->params_off;
	r->params_size = q->params_len ? q->params_len
				       : (uint32_t)sizeof(struct llm_params);
	r->prompt_off = off + l->prompt_off;
	r->prompt_len = plan->prompt_len;
	r->prompt_cap = l->prompt_cap;
	r->log_off = off + l->log_off;
	r->log_len = l->log_len;
	if (l->text_size)
		r->text_off = off + l->text_off;
	r->text_size = l->text_size;
	r->alt_k = params->head.nr_alt;
	if (r->alt_k)
		r->alt_off = off + l->alt_off;
	if (q->flags & LLM_SQE_F_TEXT) {
		r->text_in_off = off + l->text_in_off;
		r->text_in_size = q->len;
	}
}

static int take_extent(struct extents *x, uint32_t slot, uint64_t size,
		       uint64_t *ret_off, struct err *why)
{
	if (!extent_take(x, slot, size, ret_off))
		return 0;
	return err_set(why, -ENOBUFS,
		       "log arena: %llu bytes wanted, longest gap %llu of %llu",
		       (unsigned long long)size,
		       (unsigned long long)extent_longest(x),
		       (unsigned long long)x->size);
}

/* What a record says of its request whatever becomes of it. */
static struct llm_record record_of(const struct admit_limits *lim,
				   const struct admit_now *now,
				   const struct session *s,
				   const struct llm_sqe *q)
{
	struct llm_record r = {
		.op = q->op,
		.flags = q->flags,
		.user_data = q->user_data,
		.admitted_ns = now->now_ns,
		.deadline_ns = q->deadline_ns,
		.tenant = s->tenant,
		.uid = s->uid,
		.class_ = q->class_,
		.model = q->model,
		.adapter = q->adapter,
		.adm_epoch = now->epoch,
		.arith = lim->model->arith,
	};

	memcpy(r.digest, lim->model->digest, sizeof(r.digest));
	return r;
}

/*
 * The copies and the record, all but gen: 0, or why the entry is refused.
 * The slot's old extent goes first: submitting gives up what it held.
 */
static int store_record(const struct admit_limits *lim,
			const struct admit_now *now, struct session *s,
			struct extents *x, const struct llm_sqe *q,
			void *scratch, struct llm_record *rec, bool *ret_text)
{
	struct llm_record r = record_of(lim, now, s, q);
	struct params params = { 0 };
	struct admit_plan plan = { 0 };
	struct err why = { 0 };
	uint64_t off = 0;
	int ret;

	ret = read_params(lim, s, q, scratch, &params, &why);
	if (!ret)
		ret = admit_judge(lim, now, q, &params, s->arena_size, &plan,
				  &why);
	mark(MARK_ADMIT_BEGIN);
	shm_store(&rec->gen, 0u);
	shm_fence(); /* void before any other field moves: recover.c reads */
	mark(MARK_ADMIT_VOID);
	extent_put(x, q->stream);
	if (!ret && q->op != LLM_OP_PING) {
		ret = take_extent(x, q->stream, plan.layout.size, &off, &why);
		if (!ret)
			ret = copy_prompt(lim, s, q, &plan, scratch,
					  s->base + off, &why);
		if (ret)
			extent_put(x, q->stream);
		else
			fill_places(&r, q, &params, &plan, off);
	}
	mark(MARK_ADMIT_COPIED);
	r.seed = params.head.set & LLM_SET_SEED ? params.head.seed
						: now->random;
	if (ret) {
		r.error = ret == -ETIME ? 0 : (uint32_t)-ret;
		memcpy(r.why, why.text, sizeof(r.why) - 1);
	}
	memcpy(rec, &r, sizeof(r));
	mark(MARK_ADMIT_RECORD);
	*ret_text = !plan.prompt_len;
	return ret;
}

enum admitted admit_entry(const struct admit_limits *lim,
			  const struct admit_now *now, struct session *s,
			  struct extents *x, const struct llm_sqe *q, bool used,
			  void *scratch)
{
	struct llm_record *rec;
	uint32_t state = LLM_ST_QUEUED, end = LLM_END_NONE, gen;
	bool text;
	int ret;

	if (q->op == LLM_OP_NOP)
		return ADMIT_NOTHING;
	if (q->stream >= s->nr_streams || !q->gen)
		goto drop;
	gen = LLM_COMMIT_GEN(shm_load(&s->commit[q->stream]));
	if (q->op == LLM_OP_CANCEL)
		return used && gen == q->gen ? ADMIT_CANCEL : ADMIT_NOTHING;
	if ((int32_t)(q->gen - gen) <= 0 && !bug(BUG_NO_GEN))
		return ADMIT_NOTHING; /* a replay, or a lie */
	if (used && !bug(BUG_NO_GEN))
		goto drop;

	rec = session_record(s, q->stream);
	ret = store_record(lim, now, s, x, q, scratch, rec, &text);
	shm_publish(&rec->gen, q->gen);
	mark(MARK_ADMIT_GEN);
	if (ret || q->op == LLM_OP_PING) {
		state = LLM_ST_END;
		end = !ret	      ? LLM_END_STOP
		      : ret == -ETIME ? LLM_END_DEADLINE
				      : LLM_END_REFUSED;
	}
	/* the admission, or the refusal: one store; the client acquires it */
	shm_publish(&s->commit[q->stream], LLM_COMMIT(q->gen, state, end, 0));
	mark(MARK_ADMITTED);
	if (now->account && (ret == -EAGAIN || ret == -EDQUOT))
		return ADMIT_LIMITED;
	if (end)
		return end == LLM_END_REFUSED ? ADMIT_REFUSED : ADMIT_ENDED;
	return text ? ADMIT_TEXT : ADMIT_QUEUED;
drop:
	shm_add(&s->engine->sq_dropped, 1);
	return ADMIT_NOTHING;
}
