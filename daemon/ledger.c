/* SPDX-License-Identifier: MIT */
#include "daemon/ledger.h"
#include "base/err.h"
#include "include/llm_shm.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define WEIGHT_MAX 10000u

static_assert(sizeof(struct terms) % 4 == 0, "copied by words");

int ledger_create(struct ledger **ret, const struct terms *defaults,
		  struct err *err)
{
	struct ledger *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (l == MAP_FAILED)
		return err_set(err, -ENOMEM, "the ledger: %s", strerror(errno));
	l->defaults = *defaults;
	*ret = l;
	return 0;
}

void ledger_destroy(struct ledger *l)
{
	munmap(l, sizeof(*l));
}

/* ---- rows ---- */

static uint32_t place(uint64_t key)
{
	return (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & (LEDGER_ROWS - 1);
}

struct ledger_row *ledger_find(struct ledger *l, uint64_t key)
{
	uint32_t i = place(key), n;

	for (n = 0; n < LEDGER_ROWS; n++, i = (i + 1) & (LEDGER_ROWS - 1)) {
		struct ledger_row *row = &l->row[i];
		/* pairs with the publication of a row: its key is there */
		uint32_t state = shm_acquire(&row->state);

		if (state == ROW_FREE)
			break;
		if (state == ROW_USED && shm_load(&row->key) == key)
			return row;
	}
	return NULL;
}

static bool row_idle(const struct ledger_row *row)
{
	return row->state == ROW_USED && !row->terms.set && !row->door.sessions;
}

/* Rows that nobody would miss; all at once, for it is a long walk. */
static void forget_idle(struct ledger *l)
{
	uint32_t i;

	for (i = 0; i < LEDGER_ROWS; i++) {
		if (!row_idle(&l->row[i]))
			continue;
		shm_store(&l->row[i].state, (uint32_t)ROW_GONE);
		l->nr--;
	}
	/* what is followed by nothing need not be searched past */
	for (i = LEDGER_ROWS; i-- > 0;)
		if (l->row[i].state == ROW_GONE &&
		    l->row[(i + 1) & (LEDGER_ROWS - 1)].state == ROW_FREE)
			shm_store(&l->row[i].state, (uint32_t)ROW_FREE);
}

static void write_terms(struct ledger *l, struct ledger_row *row,
			const struct terms *terms)
{
	const uint32_t *from = (const uint32_t *)terms;
	uint32_t *to = (uint32_t *)&row->terms, i;

	shm_store(&row->seq, row->seq + 1);
	shm_fence(); /* odd is out before any word of it */
	for (i = 0; i < sizeof(*terms) / 4; i++)
		shm_store(&to[i], from[i]);
	/* pairs with ledger_terms() */
	shm_publish(&row->seq, row->seq + 1);
	/* pairs with the engine's acquire: it finds the new terms */
	shm_publish(&l->version, l->version + 1);
}

struct ledger_row *ledger_get(struct ledger *l, uint64_t key)
{
	struct ledger_row *row = ledger_find(l, key);
	uint32_t i;

	if (row)
		return row;
	if (l->nr == LEDGER_MAX)
		forget_idle(l);
	if (l->nr == LEDGER_MAX)
		return NULL;
	for (i = place(key); l->row[i].state == ROW_USED;)
		i = (i + 1) & (LEDGER_ROWS - 1);
	row = &l->row[i];
	shm_store(&row->key, key);
	memset(&row->door, 0, sizeof(row->door));
	write_terms(l, row, &l->defaults);
	shm_publish(&row->state, (uint32_t)ROW_USED);
	l->nr++;
	shm_publish(&l->version, l->version + 1);
	return row;
}

/* ---- terms ---- */

static int terms_check(uint32_t set, const struct terms *t, struct err *err)
{
	if (set & LLM_TENANT_WEIGHT && (!t->weight || t->weight > WEIGHT_MAX))
		return err_set(err, -EINVAL, "weight is %u, allowed 1 to %u",
			       t->weight, WEIGHT_MAX);
	if (set & LLM_TENANT_CLASS && t->class_ceiling >= LLM_CLASS_NR)
		return err_set(err, -EINVAL, "class is %u, allowed 0 to %u",
			       t->class_ceiling, LLM_CLASS_NR - 1);
	return 0;
}

/* What @set names of @from, into @to. */
static void terms_move(struct terms *to, uint32_t set, const struct terms *from)
{
	to->set |= set;
	if (set & LLM_TENANT_WEIGHT)
		to->weight = from->weight;
	if (set & LLM_TENANT_SESSIONS)
		to->max_sessions = from->max_sessions;
	if (set & LLM_TENANT_STREAMS)
		to->max_streams = from->max_streams;
	if (set & LLM_TENANT_INFLIGHT)
		to->max_inflight = from->max_inflight;
	if (set & LLM_TENANT_MEMORY)
		to->max_memory = from->max_memory;
	if (set & LLM_TENANT_SUBMIT_RATE)
		to->max_submit_rate = from->max_submit_rate;
	if (set & LLM_TENANT_TOKEN_RATE)
		to->max_token_rate = from->max_token_rate;
	if (set & LLM_TENANT_CLASS)
		to->class_ceiling = from->class_ceiling;
}

int ledger_set(struct ledger *l, uint64_t key, uint32_t set,
	       const struct terms *terms, struct err *err)
{
	struct ledger_row *row;
	struct terms t;
	int ret = terms_check(set, terms, err);

	if (ret)
		return ret;
	row = ledger_get(l, key);
	if (!row)
		return err_set(err, -ENOSPC,
			       "%u tenants have limits or sessions, no room "
			       "for another",
			       l->nr);
	t = row->terms;
	terms_move(&t, set, terms);
	write_terms(l, row, &t);
	return 0;
}

int ledger_reset(struct ledger *l, uint64_t key, struct err *err)
{
	struct ledger_row *row = ledger_find(l, key);

	if (!row || !row->terms.set)
		return err_set(err, -ENOENT,
			       "tenant %llu has no settings of its own",
			       (unsigned long long)key);
	write_terms(l, row, &l->defaults);
	return 0;
}

bool ledger_terms(const struct ledger_row *row, struct terms *ret)
{
	uint32_t seq = shm_acquire(&row->seq); /* pairs with write_terms() */

	if (seq & 1)
		return false;
	shm_copy_in(ret, &row->terms, sizeof(*ret));
	shm_fence(); /* the words are read before seq is again */
	return shm_load(&row->seq) == seq;
}

/* ---- use ---- */

/* Which limit the session would pass: LLM_TENANT_*, with a line; 0: none. */
static uint32_t enter_check(const struct ledger_row *row, uint32_t nr_streams,
			    uint64_t bytes, struct err *err)
{
	const struct terms *t = &row->terms;
	const struct ledger_door *d = &row->door;
	unsigned long long who = row->key;

	if (d->sessions >= t->max_sessions) {
		err_set(err, -EDQUOT, "uid %llu has %u sessions, at most %u",
			who, d->sessions, t->max_sessions);
		return LLM_TENANT_SESSIONS;
	}
	if (nr_streams > t->max_streams ||
	    d->streams > t->max_streams - nr_streams) {
		err_set(err, -EDQUOT,
			"uid %llu has %u streams in %u sessions, this one "
			"asks for %u more, at most %u",
			who, d->streams, d->sessions, nr_streams,
			t->max_streams);
		return LLM_TENANT_STREAMS;
	}
	if (bytes > t->max_memory || d->memory > t->max_memory - bytes) {
		err_set(err, -EDQUOT,
			"uid %llu holds %llu bytes in %u sessions, this one "
			"asks for %llu more, at most %llu",
			who, (unsigned long long)d->memory, d->sessions,
			(unsigned long long)bytes,
			(unsigned long long)t->max_memory);
		return LLM_TENANT_MEMORY;
	}
	return 0;
}

int ledger_enter(struct ledger *l, uint64_t key, uint32_t nr_streams,
		 uint64_t bytes, struct err *err)
{
	struct ledger_row *row = ledger_get(l, key);
	uint32_t limit;

	if (!row)
		return err_set(err, -EUSERS,
			       "%u tenants have sessions or limits, no room "
			       "for another",
			       l->nr);
	limit = enter_check(row, nr_streams, bytes, err);
	if (limit) {
		row->door.refused++;
		row->door.hits++;
		row->door.limit = limit;
		l->door_hits++;
		return -EDQUOT;
	}
	row->door.sessions++;
	row->door.streams += nr_streams;
	row->door.memory += bytes;
	return 0;
}

void ledger_leave(struct ledger *l, uint64_t key, uint32_t nr_streams,
		  uint64_t bytes)
{
	struct ledger_row *row = ledger_find(l, key);

	/* a row with sessions is not forgotten */
	assert(row && row->door.sessions && row->door.streams >= nr_streams &&
	       row->door.memory >= bytes);
	row->door.sessions--;
	row->door.streams -= nr_streams;
	row->door.memory -= bytes;
}

void ledger_own(struct ledger_row *row)
{
	struct ledger_use *u = &row->use;

	if (shm_load(&u->key) != row->key) {
		shm_store(&u->submitted, 0ull);
		shm_store(&u->refused, 0ull);
		shm_store(&u->tokens, 0ull);
		shm_store(&u->hits, 0u);
		shm_store(&u->key, row->key);
	}
	shm_store(&u->inflight, 0u);
	shm_store(&u->throttled, 0u);
}

void ledger_describe(const struct ledger_row *row, struct llm_tenant_info *ret)
{
	const struct terms *t = &row->terms;
	const struct ledger_use *u = &row->use;

	*ret = (struct llm_tenant_info){
		.size = sizeof(*ret),
		.set = t->set,
		.tenant = row->key,
		.weight = t->weight,
		.class_ceiling = t->class_ceiling,
		.max_sessions = t->max_sessions,
		.max_streams = t->max_streams,
		.max_inflight = t->max_inflight,
		.max_submit_rate = t->max_submit_rate,
		.max_token_rate = t->max_token_rate,
		.max_memory = t->max_memory,
		.sessions = row->door.sessions,
		.streams = row->door.streams,
		.memory = row->door.memory,
		.refused = row->door.refused,
	};
	if (shm_load(&u->key) != row->key)
		return;
	ret->inflight = shm_load(&u->inflight);
	ret->throttled = shm_load(&u->throttled);
	ret->submitted = shm_load(&u->submitted);
	ret->refused += shm_load(&u->refused);
	ret->tokens = shm_load(&u->tokens);
}
