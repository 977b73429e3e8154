/* SPDX-License-Identifier: MIT */
#include "daemon/serve.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/desk.h"
#include "daemon/engine_state.h"
#include "daemon/mark.h"
#include "daemon/recover.h"
#include "daemon/worker.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

/* ---- the life of a living stream -------------------------------------- */

/* Out of everything that knows it by number; the desk's slot is free. */
static void forget(struct engine *e, uint32_t i)
{
	struct live *l = &e->pool.all[i];

	if (l->text) {
		worker_drop(e->worker, i);
		e->nr_text--;
	}
	if (l->seq != POOL_NONE)
		sched_finish(&e->sched, l->seq);
	account_end(l->desk->account);
	l->desk->stream[l->st.slot] = DESK_NONE;
	pool_put(&e->pool, i);
}

void serve_end(struct engine *e, uint32_t i)
{
	struct live *l = &e->pool.all[i];

	stream_commit(&l->st);
	engine_touch(e, l->desk, l->st.slot);
	forget(e, i);
}

static void end_with(struct engine *e, uint32_t i, enum llm_end end, int error,
		     const char *why)
{
	stream_stop(&e->pool.all[i].st, end, (uint32_t)error, why);
	serve_end(e, i);
}

/* Its prompt is known: to the scheduler, or ended where that cannot be. */
static void queue(struct engine *e, uint32_t i, bool recovered)
{
	struct live *l = &e->pool.all[i];
	struct stream *st = &l->st;
	const struct llm_record *r = st->record;
	struct sched_request req = {
		.tag = i,
		.tenant = r->tenant,
		.cls = (enum sched_class)r->class_,
		.score = st->score,
		/* bounds of queues were kept at admission */
		.recovered = recovered,
		.deadline_ns = r->deadline_ns,
		.ids = st->ids,
		.out = &st->log->token,
		.out_stride = sizeof(*st->log) / sizeof(st->log->token),
		.prompt_len = st->prompt_len,
		.known = st->prompt_len + (st->score ? 0 : st->nr),
		.max_len = st->prompt_len + st->max_tokens,
		.sampling = st->score ? NULL : &st->sampling,
		.nr_alt = r->alt_k,
	};
	int ret;

	if (st->score && st->prompt_len < 2) { /* nothing to judge */
		end_with(e, i, LLM_END_LENGTH, 0, NULL);
		return;
	}
	account_tell(l->desk->account, &e->sched);
	ret = sched_add(&e->sched, &req, &l->seq);
	if (ret) {
		l->seq = POOL_NONE;
		end_with(e, i, LLM_END_ERROR, -ret,
			 "the scheduler has no room for it");
	}
}

/* A stream that was judged and stored: alive from here on. */
static void adopt(struct engine *e, struct desk *d, uint32_t slot, bool text,
		  uint32_t i, bool recovered)
{
	struct live *l = &e->pool.all[i];
	const struct llm_record *r = l->st.record;

	l->desk = d;
	l->slot = slot;
	account_begin(d->account);
	d->stream[slot] = i;
	e->pool.glance[i] = (struct glance){
		.cancel_gen = &d->session->wish[slot].cancel_gen,
		.session = d->session->id,
		.slot = slot,
		.gen = l->st.gen,
	};
	if (!text) {
		queue(e, i, recovered);
		return;
	}
	l->text = true;
	e->nr_text++;
	worker_give(e->worker, i, d->session->base + r->text_in_off,
		    r->text_in_size, r->flags);
}

/* ---- entries ---------------------------------------------------------- */

/*
 * Streams of @tenant that wait: in its queue, and with the text worker.
 * -EAGAIN where there is no room for one more tenant now.
 */
static int tenant_waiting(struct engine *e, uint64_t tenant, uint32_t *ret)
{
	uint32_t t, nr, k, left = e->nr_text;

	if (tenant_get(&e->sched.run.tenants, tenant, &t))
		return -EAGAIN;
	nr = e->sched.run.tenants.all[t].nr_queued;
	for (k = 0; left && k < e->pool.nr; k++) {
		const struct live *l = &e->pool.all[e->pool.order[k]];

		if (!l->text)
			continue;
		left--;
		nr += l->desk->session->tenant == tenant;
	}
	*ret = nr;
	return 0;
}

/* A seed for who named none; one call in 32 goes to the kernel. */
static uint64_t take_random(struct engine *e)
{
	if (!e->nr_random) {
		/* up to 256 bytes come whole once the kernel has entropy */
		if (getrandom(e->random, sizeof(e->random), 0) < 0)
			return e->now_ns;
		e->nr_random = sizeof(e->random) / sizeof(*e->random);
	}
	return e->random[--e->nr_random];
}

static struct admit_now admit_now(struct engine *e, const struct desk *d)
{
	const struct session *s = d->session;
	struct sched_stats st;
	struct admit_now now = {
		.now_ns = e->now_ns,
		.epoch = e->epoch,
		.max_waiting = e->max_waiting,
		.max_tenant_waiting = e->max_waiting_tenant,
		.draining = e->draining,
		.account = d->account,
	};

	sched_get_stats(&e->sched, &st);
	now.waiting = st.waiting + e->nr_text;
	if (tenant_waiting(e, s->tenant, &now.tenant_waiting) ||
	    e->pool.nr == e->pool.max)
		now.waiting = now.max_waiting; /* full, whatever the number */
	now.random = take_random(e);
	return now;
}

static void take_entry(struct engine *e, struct desk *d,
		       const struct llm_sqe *entry)
{
	struct session *s = d->session;
	struct admit_now now = admit_now(e, d);
	struct llm_sqe q = *entry;
	bool used = q.stream < s->nr_streams &&
		    d->stream[q.stream] != DESK_NONE;
	enum admitted how;
	uint32_t i;

	/* a better class than its tenant may have becomes the best it may */
	if (q.class_ < d->account->terms.class_ceiling)
		q.class_ = (uint8_t)d->account->terms.class_ceiling;
	how = admit_entry(&e->limits, &now, s, &d->extents, &q, used,
			  e->scratch);
	if (how != ADMIT_NOTHING && how != ADMIT_CANCEL)
		wish_anew(&d->wishes, q.stream);
	switch (how) {
	case ADMIT_NOTHING:
		return;
	case ADMIT_CANCEL:
		end_with(e, d->stream[q.stream], LLM_END_CANCELLED, 0, NULL);
		return;
	case ADMIT_LIMITED:
		account_refused(&e->accounts, d->account,
				-(int)session_record(s, q.stream)->error);
		shm_add(&e->board->info.refused, 1);
		engine_touch(e, d, q.stream);
		return;
	case ADMIT_REFUSED:
		shm_add(&e->board->info.refused, 1);
		engine_touch(e, d, q.stream);
		return;
	case ADMIT_ENDED:
		account_took(d->account, e->now_ns);
		engine_touch(e, d, q.stream);
		return;
	case ADMIT_QUEUED:
	case ADMIT_TEXT:
		break;
	}
	account_took(d->account, e->now_ns);
	shm_add(&e->board->info.requests, 1);
	if (used) /* a planted bug admits into a slot in use */
		forget(e, d->stream[q.stream]);
	i = pool_get(&e->pool); /* admit_now() saw to it that there is one */
	stream_bind(&e->pool.all[i].st, &e->text, s, q.stream);
	adopt(e, d, q.stream, how == ADMIT_TEXT, i, false);
	mark(MARK_ADMIT_DONE);
}

/* ---- sessions --------------------------------------------------------- */

static void recover(struct engine *e, struct desk *d)
{
	struct session *s = d->session;
	enum recovered how;
	uint32_t slot, i;

	recover_blame(s, e->board);
	recover_extents(d);
	for (slot = 0; slot < s->nr_streams; slot++) {
		i = pool_get(&e->pool);
		if (i == POOL_NONE) /* as many as lived before, so never */
			break;
		how = recover_stream(&e->pool.all[i].st, &e->limits, &e->text,
				     d, slot);
		if (how == RECOVER_GO || how == RECOVER_TEXT)
			adopt(e, d, slot, how == RECOVER_TEXT, i, true);
		else
			pool_put(&e->pool, i);
	}
}

/*
 * What is served.  vocab is the last store, and never 0: who finds it has all
 * (on the device a client looks before any wake; pairs with its acquire).
 */
static void tell_model(struct session *s, const struct llm_model *m)
{
	const size_t at = offsetof(struct llm_model, vocab);

	memcpy(s->model, m, at);
	memcpy(&s->model->context, &m->context,
	       sizeof(*m) - offsetof(struct llm_model, context));
	shm_publish(&s->model->vocab, m->vocab);
}

static void open_session(struct engine *e, struct session *s)
{
	struct account *ac = account_open(&e->accounts, s->tenant);
	struct desk *d;

	mark(MARK_OPEN);
	s->priv = NULL;
	if (!ac || desk_open(&d, s)) {
		if (ac)
			account_close(&e->accounts, ac);
		/* it is served as one that broke: it hears of it at once */
		shm_publish(&s->engine->broken, 1u);
		log_error("session %llu: no memory", (unsigned long long)s->id);
		return;
	}
	d->account = ac;
	tell_model(s, &e->model);
	mark(MARK_OPEN_MODEL);
	s->priv = d;
	d->next = e->desks;
	if (d->next)
		d->next->prev = d;
	e->desks = d;
	d->broken = shm_load(&s->engine->broken);
	recover(e, d);
	mark(MARK_OPEN_BUILT);
	/* the dead engine may have committed and not woken: look at all */
	if (bug(BUG_NO_WAKE)) {
		for (uint32_t i = 0; i < s->nr_streams; i++)
			d->wishes.state[i].woken =
				(uint32_t)(shm_load(&s->wish[i].arm_want) >>
					   32);
		return;
	}
	wish_touch_all(&d->wishes);
	engine_look(e, d);
}

static void unlook(struct engine *e, struct desk *d)
{
	struct desk **at = &e->look;

	while (*at && *at != d)
		at = &(*at)->look_next;
	if (*at)
		*at = d->look_next;
}

/* Its client is gone: nothing is committed any more, all is given back. */
static void close_session(struct engine *e, struct session *s)
{
	struct desk *d = s->priv;
	uint32_t slot;

	if (!d)
		return;
	for (slot = 0; slot < s->nr_streams; slot++)
		if (d->stream[slot] != DESK_NONE)
			forget(e, d->stream[slot]);
	unlook(e, d);
	if (d->prev)
		d->prev->next = d->next;
	else
		e->desks = d->next;
	if (d->next)
		d->next->prev = d->prev;
	account_close(&e->accounts, d->account);
	desk_close(d);
	s->priv = NULL;
}

/* It lied about its tail: its streams end, it is heard no more. */
static void break_session(struct engine *e, struct session *s)
{
	struct desk *d = s->priv;
	uint32_t slot;

	shm_publish(&s->engine->broken, 1u);
	if (!d)
		return;
	d->broken = true;
	for (slot = 0; slot < s->nr_streams; slot++)
		if (d->stream[slot] != DESK_NONE)
			end_with(e, d->stream[slot], LLM_END_ERROR, EPROTO,
				 "the session lied about its submissions");
}

static void take_stamp(struct engine *e, struct desk *d,
		       const struct carrier_work *w)
{
	if (w->weight)
		account_stamp(&e->accounts, d->account, &e->sched, w->weight,
			      w->token_rate);
}

static void take_work(struct engine *e)
{
	struct carrier *c = e->carrier;
	struct carrier_work w = { 0 };
	struct desk *d;
	bool any = false;

	while (c->take(c, &w) > 0) {
		switch (w.kind) {
		case CARRIER_OPEN:
			open_session(e, w.session);
			/* what it had running goes on under the same terms */
			if (w.session->priv)
				take_stamp(e, w.session->priv, &w);
			break;
		case CARRIER_CLOSE:
			close_session(e, w.session);
			break;
		case CARRIER_BROKEN:
			break_session(e, w.session);
			break;
		case CARRIER_SQE:
			mark(MARK_TAKE);
			any = true;
			if (bug(BUG_HEAD_FIRST)) {
				c->ack(c);
				mark(MARK_ACK);
			}
			d = w.session->priv;
			if (!d || d->broken)
				break;
			/* what was told before it was submitted holds for it */
			accounts_look(&e->accounts, &e->sched);
			take_stamp(e, d, &w);
			take_entry(e, d, &w.sqe);
			break;
		}
	}
	if (!any)
		return;
	mark(MARK_ACK);
	c->ack(c);
	mark(MARK_ACKED);
}

/* ---- the rest of a round's news --------------------------------------- */

/* A wish may cancel; read in every round, for a bell tells not of which. */
static void take_cancels(struct engine *e)
{
	uint32_t k, i;

	for (k = e->pool.nr; k-- > 0;) {
		const struct glance *g;

		i = e->pool.order[k];
		g = &e->pool.glance[i];
		if (shm_load(g->cancel_gen) == g->gen)
			end_with(e, i, LLM_END_CANCELLED, 0, NULL);
	}
}

static void take_deadlines(struct engine *e)
{
	uint32_t id;

	while (sched_expired(&e->sched, e->now_ns, &id))
		end_with(e, (uint32_t)sched_get(&e->sched, id)->tag,
			 LLM_END_DEADLINE, 0, NULL);
}

/* The ids of a text have come: judged as ids that a client sent. */
static void take_text(struct engine *e, const struct worker_result *w)
{
	struct stream *st = &e->pool.all[w->job].st;
	const struct llm_record *r = st->record;
	struct err why = w->why;
	uint32_t asked = r->flags & LLM_SQE_F_DEFAULT_MAX ? 0 : r->max_tokens;
	uint32_t max_tokens;
	int ret = w->error;

	e->pool.all[w->job].text = false;
	e->nr_text--;
	if (!ret)
		ret = admit_lengths(&e->limits, r->op, w->nr, asked,
				    st->min_tokens, &max_tokens, &why);
	if (!ret && w->nr > r->prompt_cap)
		ret = err_set(&why, -E2BIG,
			      "prompt of %u tokens, room for %u was taken",
			      w->nr, r->prompt_cap);
	if (!ret)
		ret = admit_ids(&e->limits, w->ids, w->nr, &why);
	if (ret) {
		shm_add(&e->board->info.refused, 1);
		end_with(e, w->job, LLM_END_REFUSED, -ret, why.text);
		return;
	}
	stream_set_prompt(st, &e->text, w->ids, w->nr, max_tokens);
	queue(e, w->job, true);
}

static void take_texts(struct engine *e)
{
	struct worker_result w;

	while (e->nr_text && worker_take(e->worker, &w)) {
		take_text(e, &w);
		worker_thank(e->worker, w.job);
	}
}

void serve_take(struct engine *e)
{
	accounts_look(&e->accounts, &e->sched);
	take_work(e);
	take_texts(e);
	take_cancels(e);
	take_deadlines(e);
}

void serve_close_all(struct engine *e)
{
	while (e->desks)
		close_session(e, e->desks->session);
}
