// SPDX-License-Identifier: MIT
/* The tracepoints: each tells what happened, with the numbers of it. */
#include "host.h"
#include "kt.h"
#include "nl.h"
#include "side.h"

#include <fcntl.h>
#include <stdlib.h>
#include <linux/llm_netlink.h>

#define TRACING "/sys/kernel/tracing/"
#define TENANT	1000u /* the client's user */

static char text[65536];

/* What was traced since the last look. */
static const char *traced(void)
{
	int fd;

	CHECK(host_slurp(TRACING "trace", text, sizeof(text)));
	fd = open(TRACING "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);
	CHECK(fd >= 0);
	close(fd);
	return text;
}

/*
 * Exactly @nr lines in @log are of @event and have @fields, which begin behind
 * the event's name.
 */
static void has(const char *log, int nr, const char *event, const char *fields)
{
	char want[256];
	const char *at;
	int found = 0;

	snprintf(want, sizeof(want), " llm_%s: %s\n", event, fields);
	for (at = log; (at = strstr(at, want)); at++)
		found++;
	if (found != nr)
		kt_fail(__FILE__, __LINE__,
			"%d times, not %d: \"%s\" in\n# %.2000s", found, nr,
			want, log);
}

#define HAS(log, nr, event, ...)                                               \
	do {                                                                   \
		char fields_[200];                                             \
		snprintf(fields_, sizeof(fields_), __VA_ARGS__);               \
		has(log, nr, event, fields_);                                  \
	} while (0)

KTEST(tracepoints, "each tracepoint tells what happened, with its numbers")
{
	struct llm_sqe e = side_entry(LLM_OP_PING, 3, 7), bad;
	unsigned long long id;
	struct client c, more;
	const char *log;
	struct daemon d;
	struct view v;
	uint32_t epoch;
	struct nl n;

	CHECK(host_put(TRACING "events/llm/enable", "1"));
	traced();
	CHECK(nl_open(&n) == 0);
	CHECK(seteuid(TENANT) == 0);
	CHECK(client_open(&c) == 0);
	CHECK(seteuid(0) == 0);
	id = c.lay.session;

	/* a daemon comes: one session that it will hear of */
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	epoch = d.hdr->epoch;
	CHECK_EQ(daemon_drain(&d), 1);
	log = traced();
	HAS(log, 1, "attach", "epoch=%u nr=1", epoch);
	CHECK(!strstr(log, " llm_take: ")); /* an OPEN is no request */

	/* a request: taken from the client, put into the ring, passed */
	client_put(&c, &e);
	CHECK_EQ(client_enter(&c, 1, 0, 0), 1);
	CHECK_EQ(daemon_drain(&d), 1);
	log = traced();
#define ENTRY "tenant=%u session=%llx op=%u stream=3 gen=7"
	HAS(log, 1, "submit", ENTRY, TENANT, id, LLM_OP_PING);
	HAS(log, 1, "queue", ENTRY, TENANT, id, LLM_OP_PING);
	HAS(log, 1, "take", ENTRY, TENANT, id, LLM_OP_PING);
	CHECK(strstr(log, " llm_submit: ") < strstr(log, " llm_queue: "));
	CHECK(strstr(log, " llm_queue: ") < strstr(log, " llm_take: "));

	/* an answer */
	CHECK(view_open(&d, id, &v) == 0);
	view_commit(&v, 3, LLM_COMMIT(7, LLM_ST_END, LLM_END_STOP, 0));
	__atomic_fetch_add(&v.engine->bell, 1, __ATOMIC_SEQ_CST);
	CHECK(daemon_wake(&d, id) >= 0);
	HAS(traced(), 1, "wake", "session=%llx bell=1", id);

	/* what makes no sense, and what meets a limit */
	bad = e;
	bad.op = 99;
	client_put(&c, &bad);
	CHECK_ERR(client_enter(&c, 1, 0, 0), EINVAL);
	CHECK(nl_set32(&n, TENANT, LLM_A_TENANT_MAX_SESSIONS, 1) == 0);
	CHECK(seteuid(TENANT) == 0);
	CHECK_ERR(client_open(&more), EDQUOT);
	CHECK(seteuid(0) == 0);
	log = traced();
	HAS(log, 1, "refuse", "tenant=%u session=%llx error=%d", TENANT, id,
	    -EINVAL);
	HAS(log, 1, "refuse", "tenant=%u session=0 error=%d", TENANT, -EDQUOT);
	CHECK(!strstr(log, " llm_submit: "));

	/* a daemon goes: what it did not pass goes back */
	CHECK(nl_reset(&n, TENANT) == 0);
	CHECK(client_setup(&more, &(struct llm_setup){ .sq_entries = 8,
						       .nr_streams = 4,
						       .arena_size = 4096,
						       .log_size = 4096 }) ==
	      0);
	CHECK_EQ(daemon_drain(&d), 1);
	client_put(&more, &e);
	CHECK_EQ(client_enter(&more, 1, 0, 0), 1);
	CHECK_EQ(daemon_take(&d, ~0ull), 1);
	view_close(&v);
	daemon_close(&d);
	log = traced();
	HAS(log, 1, "detach", "epoch=%u nr=1", epoch + 1);
	CHECK(!strstr(log, " llm_take: "));

	nl_begin(&n, LLM_CMD_SESSION_KILL, NLM_F_ACK);
	nl_put64(&n, LLM_A_SESSION_ID, id);
	CHECK(nl_talk(&n, NULL, NULL, NULL) == 0);
	HAS(traced(), 1, "kill", "tenant=%u session=%llx", TENANT, id);

	CHECK(host_put(TRACING "events/llm/enable", "0"));
	client_close(&more);
	client_close(&c);
	nl_close(&n);
}
