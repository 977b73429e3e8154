/* SPDX-License-Identifier: MIT */
/*
 * Tenants over the socket: what an administrator sets holds from the next
 * submission on, through the death of an engine; who meets a limit is told
 * which, others are not touched; who may not change anything is refused.
 */
#include "tests/test.h"
#include "tests/system/raw.h"
#include "tests/system/serve.h"
#include "include/llmclient.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#define OTHER 54321u /* a uid that nobody has */

static struct serve D;
static uint32_t me;

static void begin(void)
{
	static const char *const args[] = { "--backend", "null",
					    "--socket-mode", "0666", NULL };

	me = geteuid();
	CHECK_EQ(serve_start(&D, "llmd", args), 0);
	CHECK_EQ(chmod(D.dir, 0711), 0);
}

static struct llm_tenant_info tenant(uint32_t set)
{
	return (struct llm_tenant_info){ .size = sizeof(struct llm_tenant_info),
					 .set = set,
					 .tenant = me };
}

static void apply(const struct llm_tenant_info *t)
{
	CHECK_EQ(llmc_tenant_set(D.sock, t, NULL), 0);
}

/* A request of @n tokens into @slot; wait until it was looked at. */
static int submit(struct raw *r, uint32_t slot, uint32_t n)
{
	struct raw_ask a = { .prompt_len = 1,
			     .max_tokens = n,
			     .params_flags = LLM_PARAMS_F_IGNORE_EOS };
	uint64_t end = raw_now() + 20000000000ull;
	int ret;

	if (!raw_submit(r, slot, &a))
		return -ENOSPC;
	raw_bell(r);
	while ((ret = raw_result(r, slot)) == -EAGAIN && raw_now() < end)
		serve_msleep(1);
	return ret;
}

static bool ends(struct raw *r, uint32_t slot)
{
	uint64_t end = raw_now() + 20000000000ull;

	while (!raw_arm(r, slot, ~0u))
		if (raw_now() > end || raw_sleep(r, 1000) < 0)
			return false;
	return true;
}

static struct llm_tenant_info look(uint32_t uid)
{
	struct llm_tenant_info *list, found = { 0 };
	uint32_t nr, i;

	CHECK_EQ(llmc_tenants(D.sock, &list, &nr), 0);
	for (i = 0; i < nr; i++)
		if (list[i].tenant == uid)
			found = list[i];
	free(list);
	return found;
}

TEST(a_limit_holds_from_the_next_submission_on_and_through_an_engines_death)
{
	struct llm_tenant_info t =
		tenant(LLM_TENANT_INFLIGHT | LLM_TENANT_TOKEN_RATE);
	pid_t engine;
	struct raw r;
	int i;

	begin();
	CHECK_EQ(raw_open(&r, D.sock), 0);
	CHECK_EQ(submit(&r, 0, 10), 0);
	CHECK(ends(&r, 0));
	/* a rate keeps them in flight for as long as we like */
	t.max_inflight = 2;
	t.max_token_rate = 3;
	apply(&t);
	CHECK_EQ(submit(&r, 0, 1000), 0);
	CHECK_EQ(submit(&r, 1, 1000), 0);
	CHECK_EQ(submit(&r, 2, 1000), EDQUOT);
	CHECK(strstr((const char *)raw_record(&r, 2)->why, "2 requests"));
	CHECK_EQ(look(me).inflight, 2);

	engine = serve_engine(D.pid);
	kill(engine, SIGKILL);
	while (serve_engine(D.pid) == engine || !serve_engine(D.pid))
		serve_msleep(5);
	CHECK_EQ(submit(&r, 2, 1000), EDQUOT);
	CHECK_EQ(look(me).inflight, 2);
	CHECK_EQ(look(me).refused, 2);

	raw_cancel(&r, 1);
	CHECK(ends(&r, 1));
	CHECK_EQ(submit(&r, 2, 10), 0);
	t.set = LLM_TENANT_INFLIGHT;
	t.max_inflight = 40;
	t.max_token_rate = 0;
	apply(&t);
	for (i = 3; i < 20; i++)
		CHECK_EQ(submit(&r, (uint32_t)i, 1000), 0);
	/* back to what everybody has: they run to their ends at once */
	CHECK_EQ(llmc_tenant_reset(D.sock, me, NULL), 0);
	for (i = 3; i < 20; i++)
		CHECK(ends(&r, (uint32_t)i));
	CHECK_EQ(look(me).inflight,
		 1 - (raw_done(&r, 0, raw_peek(&r, 0), 1000) ? 1 : 0));
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(a_rate_of_tokens_delays_and_refuses_nothing)
{
	struct llm_tenant_info t = tenant(LLM_TENANT_TOKEN_RATE), now;
	uint64_t t0;
	struct raw r;

	begin();
	CHECK_EQ(raw_open(&r, D.sock), 0);
	t.max_token_rate = 100;
	apply(&t);
	t0 = raw_now();
	CHECK_EQ(submit(&r, 0, 160), 0);
	CHECK(ends(&r, 0));
	/* 100 at once, 60 more; the last row of a step may go over */
	CHECK(raw_now() - t0 > 500000000ull);
	CHECK_EQ(LLM_COMMIT_TAIL(raw_peek(&r, 0)), 160);
	now = look(me);
	CHECK_EQ(now.tokens, 161);
	CHECK_EQ(now.submitted, 1);
	CHECK_EQ(now.refused, 0);
	/* a higher rate wakes who waits for the lower one */
	t.max_token_rate = 1;
	apply(&t);
	CHECK_EQ(submit(&r, 0, 5000), 0);
	serve_msleep(100);
	CHECK_EQ(look(me).throttled, 1);
	CHECK_EQ(llmc_tenant_reset(D.sock, me, NULL), 0);
	CHECK(ends(&r, 0));
	CHECK_EQ(look(me).throttled, 0);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(requests_over_their_rate_are_told_so_and_a_class_is_lowered)
{
	struct llm_tenant_info t =
		tenant(LLM_TENANT_SUBMIT_RATE | LLM_TENANT_CLASS);
	uint32_t i, nr = 0;
	struct raw r;

	begin();
	CHECK_EQ(raw_open(&r, D.sock), 0);
	t.max_submit_rate = 2;
	t.class_ceiling = LLM_CLASS_BATCH;
	apply(&t);
	for (i = 0; i < 6; i++) {
		int ret = submit(&r, i, 2);

		CHECK(ret == 0 || ret == EAGAIN);
		nr += ret == 0;
		if (ret)
			CHECK(strstr((const char *)raw_record(&r, i)->why,
				     "2 requests a second"));
		else
			CHECK_EQ(raw_record(&r, i)->class_, LLM_CLASS_BATCH);
	}
	CHECK(nr >= 2 && nr < 6);
	CHECK_EQ(look(me).submitted, nr);
	CHECK_EQ(look(me).refused, 6 - nr);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(sessions_streams_and_memory_are_refused_at_the_door)
{
	static const struct {
		const char *name;
		uint32_t set;
		uint32_t sessions, streams;
		uint64_t memory;
	} row[] = {
		{ "sessions", LLM_TENANT_SESSIONS, 1, 0, 0 },
		{ "none at all", LLM_TENANT_SESSIONS, 0, 0, 0 },
		{ "streams", LLM_TENANT_STREAMS, 0, 2 * RAW_STREAMS - 1, 0 },
		{ "memory", LLM_TENANT_MEMORY, 0, 0, 12u << 20 },
	};
	struct raw r, more;
	unsigned i;

	begin();
	CHECK_EQ(raw_open(&r, D.sock), 0);
	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct llm_tenant_info t = tenant(row[i].set);

		ROW(row[i].name);
		t.max_sessions = row[i].sessions;
		t.max_streams = row[i].streams;
		t.max_memory = row[i].memory;
		apply(&t);
		CHECK_EQ(raw_open(&more, D.sock), -EDQUOT);
		close(more.conn);
		/* who has one keeps it */
		CHECK_EQ(submit(&r, i, 3), 0);
		CHECK_EQ(llmc_tenant_reset(D.sock, me, NULL), 0);
	}
	CHECK_EQ(raw_open(&more, D.sock), 0);
	CHECK_EQ(look(me).sessions, 2);
	CHECK_EQ(look(me).streams, 2 * RAW_STREAMS);
	raw_close(&more);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

/* As OTHER: 0, or the line of what was not so. */
static int as_other(void)
{
	struct llm_tenant_info t = { .size = sizeof(t),
				     .set = LLM_TENANT_WEIGHT,
				     .tenant = OTHER,
				     .weight = 10000 },
			       *list;
	struct llm_session_info *ps;
	struct raw r;
	uint32_t nr;

	if (setgid(OTHER) || setuid(OTHER))
		return __LINE__;
	if (llmc_tenant_set(D.sock, &t, NULL) != -EPERM ||
	    !strstr(llmc_error(), "may look, not change"))
		return __LINE__;
	if (llmc_tenant_reset(D.sock, OTHER, NULL) != -EPERM ||
	    llmc_kill(D.sock, 1, NULL) != -EPERM)
		return __LINE__;
	/* it is limited (to one in flight), root is not */
	if (raw_open(&r, D.sock))
		return __LINE__;
	if (submit(&r, 0, 1000) || submit(&r, 1, 10) != EDQUOT)
		return __LINE__;
	if (llmc_tenants(D.sock, &list, &nr) || nr != 1 ||
	    list->tenant != OTHER || list->max_inflight != 1 ||
	    list->refused != 1)
		return __LINE__;
	if (llmc_list(D.sock, &ps, &nr) || nr != 1 || ps->uid != OTHER)
		return __LINE__;
	return 0;
}

TEST(who_is_no_administrator_sees_his_own_and_changes_nothing)
{
	struct llm_tenant_info t =
		tenant(LLM_TENANT_INFLIGHT | LLM_TENANT_TOKEN_RATE);
	struct raw r;
	pid_t pid;
	int st;

	if (geteuid())
		SKIP("needs root, to become somebody else");
	begin();
	CHECK_EQ(raw_open(&r, D.sock), 0);
	t.tenant = OTHER;
	t.max_inflight = 1;
	t.max_token_rate = 2;
	apply(&t);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(as_other() & 255);
	CHECK_EQ(submit(&r, 0, 5), 0);
	CHECK_EQ(submit(&r, 1, 5), 0);
	CHECK_EQ(waitpid(pid, &st, 0), pid);
	if (st)
		printf("# the other one: line %d (modulo 256)\n",
		       WEXITSTATUS(st));
	CHECK_EQ(st, 0);
	CHECK_EQ(look(me).refused, 0);
	CHECK_EQ(look(OTHER).weight, 100);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}

TEST(a_session_is_ended_by_its_id_and_no_other)
{
	struct llm_session_info gone;
	struct raw a, b;

	begin();
	CHECK_EQ(raw_open(&a, D.sock), 0);
	CHECK_EQ(raw_open(&b, D.sock), 0);
	CHECK_EQ(llmc_kill(D.sock, 999, NULL), -ENOENT);
	CHECK_EQ(llmc_kill(D.sock, a.su.session, &gone), 0);
	CHECK_EQ(gone.session, a.su.session);
	CHECK_EQ(gone.pid, (uint32_t)getpid());
	CHECK_EQ(raw_sleep(&a, 10000), -1);
	CHECK_EQ(shm_load(&((const struct llm_host_ctl *)a.host)->daemon),
		 LLM_DAEMON_FAILED);
	while (look(me).sessions != 1)
		serve_msleep(5);
	CHECK_EQ(llmc_kill(D.sock, a.su.session, NULL), -ENOENT);
	CHECK_EQ(submit(&b, 0, 5), 0);
	CHECK(ends(&b, 0));
	raw_close(&a);
	raw_close(&b);
	CHECK_EQ(serve_stop(&D), 0);
}

/* The next event is of this kind; it is returned. */
static struct llm_event_info next(int fd, uint32_t kind)
{
	struct pollfd p = { fd, POLLIN, 0 };
	struct llm_event_info ev = { 0 };

	CHECK_EQ(poll(&p, 1, 10000), 1);
	CHECK_EQ(llmc_event(fd, &ev), 0);
	CHECK_EQ(ev.size, sizeof(ev));
	CHECK_EQ(ev.kind, kind);
	CHECK_EQ(ev.lost, 0);
	return ev;
}

TEST(who_follows_is_told_what_happens_in_its_order)
{
	struct llm_tenant_info t = tenant(LLM_TENANT_INFLIGHT);
	struct llm_event_info ev;
	struct raw r;
	pid_t engine;
	struct pollfd p = { .events = POLLIN };
	uint32_t epoch;
	int fd, i;

	begin();
	p.fd = fd = llmc_monitor(D.sock);
	CHECK(fd >= 0);
	apply(&t); /* none in flight: all are refused */
	CHECK_EQ(next(fd, LLM_EV_TENANT).tenant, me);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	ev = next(fd, LLM_EV_OPEN);
	CHECK_EQ(ev.session, r.su.session);
	CHECK_EQ(ev.tenant, me);
	for (i = 0; i < 5; i++)
		CHECK_EQ(submit(&r, (uint32_t)i, 5), EDQUOT);
	for (i = 0; i < 5; i += (int)ev.count) {
		ev = next(fd, LLM_EV_QUOTA);
		CHECK_EQ(ev.limit, LLM_TENANT_INFLIGHT);
		CHECK_EQ(ev.tenant, me);
		CHECK(ev.count > 0);
	}
	CHECK_EQ(i, 5);
	engine = serve_engine(D.pid);
	kill(engine, SIGKILL);
	ev = next(fd, LLM_EV_DAEMON);
	CHECK_EQ(ev.daemon, LLM_DAEMON_NONE);
	epoch = ev.epoch;
	do {
		ev = next(fd, LLM_EV_DAEMON);
	} while (ev.daemon == LLM_DAEMON_NONE);
	CHECK_EQ(ev.daemon, LLM_DAEMON_READY);
	CHECK(ev.epoch > epoch);
	CHECK_EQ(llmc_kill(D.sock, r.su.session, NULL), 0);
	CHECK_EQ(next(fd, LLM_EV_KILL).session, r.su.session);
	CHECK_EQ(next(fd, LLM_EV_CLOSE).session, r.su.session);
	raw_close(&r);
	/* who does not read loses events, and hears how many */
	t.set = LLM_TENANT_WEIGHT;
	for (i = 0; i < 3000; i++) {
		t.weight = 1 + (uint32_t)i;
		t.max_inflight = 0;
		apply(&t);
	}
	for (i = 0; poll(&p, 1, 200) == 1; i++) {
		CHECK_EQ(llmc_event(fd, &ev), 0);
		CHECK_EQ(ev.lost, 0);
	}
	printf("# %d events kept for one that does not read\n", i);
	CHECK(i > 50 && i < 3000);
	apply(&t);
	CHECK_EQ(llmc_event(fd, &ev), 0);
	CHECK_EQ(ev.lost, 3000 - i);
	close(fd);
	CHECK_EQ(serve_stop(&D), 0);
}
