/* SPDX-License-Identifier: MIT */
/* The book of tenants: rows, terms while they change, who pays at the door. */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/account.h"
#include "daemon/core/sched.h"
#include "daemon/ledger.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

static const struct terms defaults = {
	.max_memory = 1000,
	.weight = 100,
	.max_sessions = 3,
	.max_streams = 100,
	.max_inflight = LLM_NO_LIMIT,
};
static struct ledger *l;
static struct err err;

static void begin(void)
{
	CHECK_EQ(ledger_create(&l, &defaults, &err), 0);
}

static int set_weight(uint64_t key, uint32_t weight)
{
	struct terms t = { .weight = weight };

	return ledger_set(l, key, LLM_TENANT_WEIGHT, &t, &err);
}

TEST(settings_move_what_they_name_and_a_reset_takes_all_back)
{
	struct terms t = { .max_sessions = 7, .max_streams = 8 }, got;

	begin();
	CHECK(!ledger_find(l, 5));
	CHECK_EQ(ledger_set(l, 5, LLM_TENANT_SESSIONS, &t, &err), 0);
	CHECK(ledger_terms(ledger_find(l, 5), &got));
	CHECK_EQ(got.max_sessions, 7);
	CHECK_EQ(got.max_streams, 100);
	CHECK_EQ(got.set, LLM_TENANT_SESSIONS);
	CHECK_EQ(set_weight(5, 10000), 0);
	CHECK(ledger_terms(ledger_find(l, 5), &got));
	CHECK_EQ(got.set, LLM_TENANT_SESSIONS | LLM_TENANT_WEIGHT);
	CHECK_EQ(got.max_sessions, 7);
	CHECK_EQ(set_weight(5, 0), -EINVAL);
	CHECK_EQ(set_weight(6, 10001), -EINVAL);
	CHECK(strstr(err.text, "10001"));
	CHECK(!ledger_find(l, 6));
	CHECK_EQ(ledger_reset(l, 5, &err), 0);
	CHECK(ledger_terms(ledger_find(l, 5), &got));
	CHECK(!memcmp(&got, &defaults, sizeof(got)));
	CHECK_EQ(ledger_reset(l, 5, &err), -ENOENT);
	CHECK_EQ(ledger_reset(l, 77, &err), -ENOENT);
	ledger_destroy(l);
}

TEST(a_session_is_charged_whole_or_refused_with_both_numbers)
{
	struct llm_tenant_info ti;

	begin();
	CHECK_EQ(ledger_enter(l, 5, 40, 400, &err), 0);
	CHECK_EQ(ledger_enter(l, 5, 61, 1, &err), -EDQUOT);
	CHECK(strstr(err.text, "40 streams") && strstr(err.text, "most 100"));
	CHECK_EQ(ledger_enter(l, 5, 1, 601, &err), -EDQUOT);
	CHECK(strstr(err.text, "400 bytes"));
	CHECK_EQ(ledger_enter(l, 5, LLM_NO_LIMIT, UINT64_MAX, &err), -EDQUOT);
	CHECK_EQ(ledger_enter(l, 5, 60, 600, &err), 0);
	CHECK_EQ(ledger_enter(l, 5, 0, 0, &err), 0);
	CHECK_EQ(ledger_enter(l, 5, 0, 0, &err), -EDQUOT);
	CHECK(strstr(err.text, "3 sessions"));
	CHECK_EQ(ledger_enter(l, 6, 100, 1000, &err), 0); /* another's is his */
	ledger_describe(ledger_find(l, 5), &ti);
	CHECK_EQ(ti.sessions, 3);
	CHECK_EQ(ti.streams, 100);
	CHECK_EQ(ti.memory, 1000);
	CHECK_EQ(ti.refused, 4);
	ledger_leave(l, 5, 60, 600);
	ledger_leave(l, 5, 40, 400);
	ledger_leave(l, 5, 0, 0);
	ledger_describe(ledger_find(l, 5), &ti);
	CHECK_EQ(ti.sessions + ti.streams + ti.memory, 0);
	ledger_destroy(l);
}

TEST(a_full_book_forgets_who_has_neither_session_nor_settings)
{
	uint64_t i;

	begin();
	for (i = 0; i < 5000; i++)
		CHECK_EQ(set_weight(i * 7, 1 + (uint32_t)i), 0);
	CHECK_EQ(ledger_enter(l, 1, 1, 1, &err), 0);
	/* passers-by, more than there is room for, twice over */
	for (i = 0; i < 3 * LEDGER_MAX; i++) {
		CHECK_EQ(ledger_enter(l, 1000000 + i, 1, 1, &err), 0);
		ledger_leave(l, 1000000 + i, 1, 1);
		CHECK(l->nr <= LEDGER_MAX);
	}
	for (i = 0; i < 5000; i++) {
		struct ledger_row *row = ledger_find(l, i * 7);

		CHECK(row && row->terms.weight == 1 + i);
	}
	CHECK_EQ(ledger_find(l, 1)->door.sessions, 1);
	/* and says so when all have something */
	for (i = 0; !set_weight(5000000 + i, 9); i++)
		CHECK(i < LEDGER_MAX);
	CHECK_EQ(err.code, -ENOSPC);
	CHECK_EQ(ledger_enter(l, 2, 1, 1, &err), -EUSERS);
	CHECK_EQ(l->nr, LEDGER_MAX);
	CHECK_EQ(ledger_reset(l, 0, &err), 0);
	CHECK_EQ(ledger_enter(l, 2, 1, 1, &err), 0);
	ledger_destroy(l);
}

/* All the counts of a copy are the same number, or it is torn. */
static uint32_t stop_writing;

static void *write_on(void *arg)
{
	uint32_t n = 0;

	(void)arg;
	while (!shm_load(&stop_writing)) {
		struct terms t = { .max_memory = n,
				   .max_sessions = n,
				   .max_streams = n,
				   .max_submit_rate = n,
				   .max_token_rate = n };

		n++;
		ledger_set(l, 5, LLM_TENANT_ALL & ~LLM_TENANT_WEIGHT, &t, NULL);
	}
	return NULL;
}

TEST(terms_that_change_are_read_whole_or_not_at_all)
{
	struct ledger_row *row;
	uint32_t i, torn = 0;
	struct terms t;
	pthread_t p;

	begin();
	row = ledger_get(l, 5);
	shm_store(&stop_writing, 0u);
	CHECK_EQ(set_weight(5, 3), 0);
	CHECK_EQ(ledger_set(l, 5, LLM_TENANT_ALL & ~LLM_TENANT_WEIGHT,
			    &(struct terms){ 0 }, &err),
		 0);
	CHECK_EQ(pthread_create(&p, NULL, write_on, NULL), 0);
	for (i = 0; i < 200000; i++) {
		if (!ledger_terms(row, &t)) {
			torn++;
			sched_yield(); /* the writer may be off its core */
			continue;
		}
		CHECK(t.weight == 3 && t.max_memory == t.max_token_rate &&
		      t.max_sessions == t.max_token_rate &&
		      t.max_streams == t.max_token_rate &&
		      t.max_submit_rate == t.max_token_rate);
	}
	shm_store(&stop_writing, 1u);
	pthread_join(p, NULL);
	CHECK(torn < i);
	CHECK(ledger_terms(row, &t));
	ledger_destroy(l);
}

/* ---- the engine's side ------------------------------------------------ */

TEST(an_account_judges_by_the_terms_of_now)
{
	const uint64_t second = 1000000000ull;
	struct terms t = { .max_inflight = 2, .max_submit_rate = 3 };
	struct accounts a;
	struct account *ac;
	uint32_t i;

	begin();
	CHECK_EQ(ledger_set(l, 9, LLM_TENANT_INFLIGHT | LLM_TENANT_SUBMIT_RATE,
			    &t, &err),
		 0);
	accounts_init(&a, l);
	ac = account_open(&a, 9);
	CHECK(ac && account_open(&a, 9) == ac);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(account_judge(ac, true, second, &err), 0);
		account_took(ac, second);
		account_begin(ac);
	}
	CHECK_EQ(account_judge(ac, true, second, &err), -EDQUOT);
	CHECK(strstr(err.text, "2 requests") && strstr(err.text, "allowed 2"));
	CHECK_EQ(account_judge(ac, false, second, &err), 0); /* a ping */
	account_took(ac, second);
	CHECK_EQ(account_judge(ac, false, second, &err), -EAGAIN);
	CHECK(strstr(err.text, "3 requests a second"));
	CHECK_EQ(account_judge(ac, false, second + second / 3 + 1, &err), 0);
	account_end(ac);
	CHECK_EQ(account_judge(ac, true, 3 * second, &err), 0);
	account_refused(&a, ac, -EAGAIN);
	CHECK_EQ(ledger_find(l, 9)->use.submitted, 3);
	CHECK_EQ(ledger_find(l, 9)->use.refused, 1);
	CHECK_EQ(ledger_find(l, 9)->use.limit, LLM_TENANT_SUBMIT_RATE);
	CHECK_EQ(ledger_find(l, 9)->use.inflight, 1);
	/* changed: from the next look on */
	t.max_inflight = 1;
	CHECK_EQ(ledger_set(l, 9, LLM_TENANT_INFLIGHT, &t, &err), 0);
	accounts_look(&a, NULL);
	CHECK_EQ(account_judge(ac, true, 3 * second, &err), -EDQUOT);
	account_end(ac);
	account_close(&a, ac);
	account_close(&a, ac);
	accounts_deinit(&a);
	/* another engine: what flew in the dead one does not fly in it */
	ledger_find(l, 9)->use.inflight = 77;
	accounts_init(&a, l);
	CHECK_EQ(ledger_find(l, 9)->use.inflight, 0);
	CHECK_EQ(ledger_find(l, 9)->use.submitted, 3);
	accounts_deinit(&a);
	ledger_destroy(l);
}

TEST(an_account_without_a_ledger_or_a_row_allows_all_until_there_is_one)
{
	struct terms t = { .max_inflight = 0 };
	struct accounts a;
	struct account *ac;

	accounts_init(&a, NULL);
	ac = account_open(&a, 9);
	CHECK_EQ(account_judge(ac, true, 5, &err), 0);
	account_took(ac, 5);
	account_tokens(ac, 5);
	accounts_look(&a, NULL);
	account_close(&a, ac);
	accounts_deinit(&a);

	begin();
	accounts_init(&a, l);
	ac = account_open(&a, 9);
	CHECK_EQ(account_judge(ac, true, 5, &err), 0);
	account_begin(ac);
	CHECK_EQ(ledger_set(l, 9, LLM_TENANT_INFLIGHT, &t, &err), 0);
	accounts_look(&a, NULL);
	CHECK_EQ(account_judge(ac, true, 5, &err), -EDQUOT);
	CHECK_EQ(ledger_find(l, 9)->use.inflight, 1);
	account_end(ac);
	account_close(&a, ac);
	accounts_deinit(&a);
	ledger_destroy(l);
}

TEST(terms_that_come_with_an_entry_reach_the_scheduler)
{
	const struct sched_options so = { .nr_blocks = 16,
					  .context = 64,
					  .max_tokens_per_step = 16,
					  .max_running = 4,
					  .max_seqs = 4,
					  .max_tenants = 4,
					  .queue_entries = 4 };
	struct accounts a;
	struct account *ac;
	struct sched s;
	uint32_t i;

	CHECK_EQ(sched_init(&s, &so), 0);
	begin();
	accounts_init(&a, l);
	ac = account_open(&a, 9);
	account_stamp(&a, ac, &s, 300, 0); /* told with its first sequence */
	CHECK_EQ(tenant_find(&s.run.tenants, 9, &i), -ENOENT);
	account_tell(ac, &s);
	CHECK_EQ(tenant_find(&s.run.tenants, 9, &i), 0);
	CHECK_EQ(s.run.tenants.all[i].weight, 300);
	account_begin(ac);
	account_stamp(&a, ac, &s, 7, 50); /* it runs: at once */
	CHECK_EQ(s.run.tenants.all[i].weight, 7);
	CHECK_EQ(s.run.tenants.all[i].rate, 50);
	CHECK_EQ(a.nr_rated, 1);
	/* another tenant's row in the ledger changes nothing of it */
	CHECK_EQ(set_weight(8, 5), 0);
	accounts_look(&a, &s);
	CHECK_EQ(s.run.tenants.all[i].weight, 7);
	account_stamp(&a, ac, &s, 100, 0);
	CHECK_EQ(s.run.tenants.all[i].weight, 100);
	CHECK_EQ(a.nr_rated, 0);
	account_end(ac);
	account_close(&a, ac);
	accounts_deinit(&a);
	ledger_destroy(l);
	sched_deinit(&s);
}
