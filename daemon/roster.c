/* SPDX-License-Identifier: MIT */
#include "daemon/roster.h"
#include "base/err.h"
#include "daemon/layout.h"
#include "daemon/ledger.h"
#include "llm_shm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static_assert(sizeof(struct llm_host_ctl) <= LAYOUT_PAGE, "HOST is a page");

int roster_init(struct roster *r, const struct roster_limits *limits,
		struct err *err)
{
	memset(r, 0, sizeof(*r));
	r->limits = *limits;
	r->next_id = 1;
	r->seat = calloc(limits->max_sessions, sizeof(*r->seat));
	if (!r->seat)
		return err_set(err, -ENOMEM, "room for %u sessions: %s",
			       limits->max_sessions, strerror(ENOMEM));
	r->host = mmap(NULL, (size_t)limits->max_sessions * LAYOUT_PAGE,
		       PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->host == MAP_FAILED) {
		free(r->seat);
		return err_set(err, -errno, "room for %u sessions: %s",
			       limits->max_sessions, strerror(errno));
	}
	return 0;
}

void roster_deinit(struct roster *r)
{
	uint32_t i;

	for (i = 0; i < r->top; i++)
		if (r->seat[i].state != SEAT_FREE)
			roster_close(r, &r->seat[i]);
	munmap(r->host, (size_t)r->limits.max_sessions * LAYOUT_PAGE);
	free(r->seat);
}

void roster_drop_host(struct roster *r)
{
	munmap(r->host, (size_t)r->limits.max_sessions * LAYOUT_PAGE);
	r->host = NULL;
}

int roster_open(struct roster *r, const struct llm_setup *wishes, uint32_t uid,
		uint32_t pid, int conn, uint64_t now_ns, struct seat **ret,
		struct err *err)
{
	struct llm_setup setup = *wishes;
	struct seat *s = r->seat;
	uint64_t bytes;
	uint32_t i;
	int rc;

	rc = layout_fill(&setup, err);
	if (rc)
		return rc;
	bytes = layout_bytes(&setup);
	rc = ledger_enter(r->ledger, uid, setup.nr_streams, bytes, err);
	if (rc)
		return rc;
	if (r->nr >= r->limits.max_sessions) {
		rc = err_set(err, -EUSERS,
			     "the daemon has %u sessions, at most %u", r->nr,
			     r->limits.max_sessions);
		goto out_leave;
	}
	for (i = 0; r->seat[i].state != SEAT_FREE; i++)
		;
	assert(i < r->limits.max_sessions);
	s = &r->seat[i];
	setup.session = r->next_id;
	rc = areas_create(&s->areas, &setup, r->host + (size_t)i * LAYOUT_PAGE,
			  err);
	if (rc)
		goto out_leave;
	s->areas.host_rw->session = setup.session;
	s->state = SEAT_NEW;
	s->index = i;
	s->uid = uid;
	s->pid = pid;
	s->conn = conn;
	s->busy = false;
	s->id = r->next_id++;
	s->opened_ns = now_ns;
	s->bytes = bytes;
	r->nr++;
	if (i >= r->top)
		r->top = i + 1;
	*ret = s;
	return 0;
out_leave:
	ledger_leave(r->ledger, uid, setup.nr_streams, bytes);
	return rc;
}

void roster_close(struct roster *r, struct seat *s)
{
	assert(s->state != SEAT_FREE);
	ledger_leave(r->ledger, s->uid, s->areas.setup.nr_streams, s->bytes);
	areas_unmap(&s->areas);
	if (s->conn >= 0)
		close(s->conn);
	s->conn = -1;
	s->state = SEAT_FREE;
	r->nr--;
	while (r->top && r->seat[r->top - 1].state == SEAT_FREE)
		r->top--;
}

void roster_tell(struct roster *r, uint32_t epoch, uint32_t daemon)
{
	uint32_t i;

	for (i = 0; i < r->top; i++) {
		struct llm_host_ctl *h = r->seat[i].areas.host_rw;

		if (r->seat[i].state == SEAT_FREE)
			continue;
		/* a client that sees the new state sees the new epoch */
		shm_store(&h->epoch, epoch);
		shm_publish(&h->daemon, daemon);
	}
}

/* How many streams are in which state; words are the engine's own. */
static void count(const struct seat *s, uint32_t nr[4], uint64_t *tokens)
{
	const struct llm_setup *w = &s->areas.setup;
	const uint64_t *commit =
		(const uint64_t *)(s->areas.engine + w->off_commit);
	uint32_t i;

	nr[0] = nr[1] = nr[2] = nr[3] = 0;
	*tokens = 0;
	for (i = 0; i < w->nr_streams; i++) {
		uint64_t word = shm_acquire(&commit[i]);

		nr[LLM_COMMIT_STATE(word) & 3]++;
		*tokens += LLM_COMMIT_TAIL(word);
	}
}

uint32_t roster_scan(struct roster *r)
{
	uint32_t i, nr[4], busy = 0;
	uint64_t tokens;

	for (i = 0; i < r->top; i++) {
		struct seat *s = &r->seat[i];

		if (s->state == SEAT_FREE)
			continue;
		count(s, nr, &tokens);
		s->busy = nr[LLM_ST_QUEUED] || nr[LLM_ST_RUNNING];
		busy += s->busy;
	}
	return busy;
}

struct seat *roster_find(struct roster *r, uint64_t id)
{
	uint32_t i;

	for (i = 0; i < r->top; i++)
		if (r->seat[i].state == SEAT_OPEN && r->seat[i].id == id)
			return &r->seat[i];
	return NULL;
}

void roster_describe(const struct seat *s, uint64_t now_ns,
		     struct llm_session_info *ret)
{
	uint64_t tokens;
	uint32_t nr[4];

	count(s, nr, &tokens);
	*ret = (struct llm_session_info){
		.session = s->id,
		.tenant = s->uid,
		.age_ns = now_ns - s->opened_ns,
		.tokens = tokens,
		.uid = s->uid,
		.pid = s->pid,
		.streams = s->areas.setup.nr_streams,
		.queued = nr[LLM_ST_QUEUED],
		.running = nr[LLM_ST_RUNNING],
		.ended = nr[LLM_ST_END],
	};
}

uint32_t roster_list(const struct roster *r, uint32_t uid, uint64_t now_ns,
		     struct llm_session_info *ret, uint32_t max)
{
	uint32_t i, n = 0;

	for (i = 0; i < r->top; i++) {
		const struct seat *s = &r->seat[i];

		if (s->state != SEAT_OPEN || (uid && s->uid != uid))
			continue;
		if (n < max)
			roster_describe(s, now_ns, &ret[n]);
		n++;
	}
	return n;
}
