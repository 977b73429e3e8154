/* SPDX-License-Identifier: MIT */
#include "daemon/account.h"
#include "base/err.h"
#include "daemon/core/sched.h"
#include "include/llm_shm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const struct terms anything = {
	.max_memory = UINT64_MAX,
	.weight = TENANT_WEIGHT,
	.class_ceiling = LLM_CLASS_INTERACTIVE,
	.max_sessions = LLM_NO_LIMIT,
	.max_streams = LLM_NO_LIMIT,
	.max_inflight = LLM_NO_LIMIT,
};

void accounts_init(struct accounts *a, struct ledger *ledger)
{
	uint32_t i;

	*a = (struct accounts){ .ledger = ledger };
	for (i = 0; ledger && i < LEDGER_ROWS; i++)
		if (shm_acquire(&ledger->row[i].state) == ROW_USED)
			ledger_own(&ledger->row[i]);
}

void accounts_deinit(struct accounts *a)
{
	uint32_t i;

	for (i = 0; i < ACCOUNT_HEADS; i++)
		while (a->heads[i]) {
			struct account *ac = a->heads[i];

			a->heads[i] = ac->next;
			free(ac);
		}
}

static struct account **head(struct accounts *a, uint64_t key)
{
	return &a->heads[(key * 0x9e3779b97f4a7c15u >> 32) % ACCOUNT_HEADS];
}

/* The terms of @ac as they stand; true where the scheduler has to know. */
static bool read_terms(struct accounts *a, struct account *ac)
{
	struct terms t;
	bool changed;

	if (!ac->row && a->ledger) {
		ac->row = ledger_find(a->ledger, ac->key);
		if (ac->row) {
			ledger_own(ac->row);
			shm_store(&ac->row->use.inflight, ac->inflight);
		}
	}
	/* none: as they are; torn: the version moves again when it is whole */
	if (!ac->row || !ledger_terms(ac->row, &t))
		return false;
	changed = t.weight != ac->terms.weight ||
		  t.max_token_rate != ac->terms.max_token_rate;
	a->nr_rated += !!t.max_token_rate - !!ac->terms.max_token_rate;
	ac->terms = t;
	if (!t.max_token_rate)
		shm_store(&ac->row->use.throttled, 0u);
	return changed;
}

struct account *account_open(struct accounts *a, uint64_t key)
{
	struct account **at = head(a, key), *ac;

	for (ac = *at; ac; ac = ac->next) {
		if (ac->key != key)
			continue;
		ac->nr_sessions++;
		return ac;
	}
	ac = calloc(1, sizeof(*ac));
	if (!ac)
		return NULL;
	ac->key = key;
	ac->nr_sessions = 1;
	ac->terms = anything;
	ac->next = *at;
	*at = ac;
	read_terms(a, ac);
	return ac;
}

void account_close(struct accounts *a, struct account *ac)
{
	struct account **at = head(a, ac->key);

	assert(ac->nr_sessions);
	if (--ac->nr_sessions)
		return;
	assert(!ac->inflight);
	while (*at != ac)
		at = &(*at)->next;
	*at = ac->next;
	a->nr_rated -= ac->terms.max_token_rate != 0;
	free(ac);
}

void account_tell(const struct account *ac, struct sched *s)
{
	/* full: the sched_add() that follows says so */
	(void)sched_set_tenant(s, ac->key, ac->terms.weight,
			       ac->terms.max_token_rate);
}

void account_stamp(struct accounts *a, struct account *ac, struct sched *s,
		   uint32_t weight, uint32_t token_rate)
{
	struct terms *t = &ac->terms;

	if (t->weight == weight && t->max_token_rate == token_rate)
		return;
	a->nr_rated += !!token_rate - !!t->max_token_rate;
	t->weight = weight;
	t->max_token_rate = token_rate;
	if (ac->inflight)
		account_tell(ac, s);
}

void accounts_look(struct accounts *a, struct sched *s)
{
	struct account *ac;
	uint32_t i, version;

	if (!a->ledger)
		return;
	/* pairs with the keeper's publication of a change */
	version = shm_acquire(&a->ledger->version);
	if (version == a->version)
		return;
	a->version = version;
	for (i = 0; i < ACCOUNT_HEADS; i++)
		for (ac = a->heads[i]; ac; ac = ac->next)
			if (read_terms(a, ac) && ac->inflight)
				account_tell(ac, s);
}

/* It is one or is not; each time it begins is a limit met. */
static void gauge(struct accounts *a, struct account *ac, bool throttled)
{
	struct ledger_use *u = &ac->row->use;

	if (throttled == shm_load(&u->throttled))
		return;
	shm_store(&u->throttled, (uint32_t)throttled);
	if (!throttled)
		return;
	shm_store(&u->limit, LLM_TENANT_TOKEN_RATE);
	shm_add(&u->hits, 1);
	shm_add(&a->ledger->hits, 1);
}

void accounts_gauges(struct accounts *a, const struct sched *s)
{
	const struct tenants *t = &s->run.tenants;
	struct account *ac;
	uint32_t i, k;

	if (!a->nr_rated)
		return;
	for (i = 0; i < ACCOUNT_HEADS; i++)
		for (ac = a->heads[i]; ac; ac = ac->next)
			if (ac->row && ac->terms.max_token_rate)
				gauge(a, ac,
				      !tenant_find(t, ac->key, &k) &&
					      t->all[k].throttled);
}

int account_judge(struct account *ac, bool flies, uint64_t now_ns,
		  struct err *why)
{
	const struct terms *t = &ac->terms;

	if (t->max_submit_rate &&
	    !bucket_holds(&ac->submits, t->max_submit_rate, now_ns, 1))
		return err_set(why, -EAGAIN,
			       "more than %u requests a second of yours: try "
			       "again later",
			       t->max_submit_rate);
	if (flies && ac->inflight >= t->max_inflight)
		return err_set(
			why, -EDQUOT,
			"%u requests of yours have not ended, allowed %u",
			ac->inflight, t->max_inflight);
	return 0;
}

void account_took(struct account *ac, uint64_t now_ns)
{
	if (ac->terms.max_submit_rate)
		bucket_charge(&ac->submits, ac->terms.max_submit_rate, now_ns,
			      1);
	if (ac->row)
		shm_add(&ac->row->use.submitted, 1);
}

void account_refused(struct accounts *a, struct account *ac, int error)
{
	struct ledger_use *u;

	if (!ac->row)
		return;
	u = &ac->row->use;
	shm_add(&u->refused, 1);
	shm_store(&u->limit, error == -EAGAIN ? LLM_TENANT_SUBMIT_RATE
					      : LLM_TENANT_INFLIGHT);
	shm_add(&u->hits, 1);
	shm_add(&a->ledger->hits, 1);
}

void account_begin(struct account *ac)
{
	ac->inflight++;
	if (ac->row)
		shm_store(&ac->row->use.inflight, ac->inflight);
}

void account_end(struct account *ac)
{
	assert(ac->inflight);
	ac->inflight--;
	if (ac->row)
		shm_store(&ac->row->use.inflight, ac->inflight);
}

void account_tokens(struct account *ac, uint64_t nr)
{
	if (ac->row)
		shm_add(&ac->row->use.tokens, nr);
}
