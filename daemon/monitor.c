/* SPDX-License-Identifier: MIT */
#include "daemon/monitor.h"
#include "base/err.h"
#include "daemon/ledger.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 250000000ull

int monitor_init(struct monitor *m, struct ledger *ledger)
{
	uint32_t i;

	memset(m, 0, sizeof(*m));
	m->ledger = ledger;
	m->look_ns = UINT64_MAX;
	for (i = 0; i < MONITOR_MAX; i++)
		m->at[i].fd = -1;
	m->seen = calloc(LEDGER_ROWS, sizeof(*m->seen));
	return m->seen ? 0 : -ENOMEM;
}

void monitor_deinit(struct monitor *m)
{
	monitor_close_fds(m);
	free(m->seen);
}

void monitor_close_fds(struct monitor *m)
{
	uint32_t i;

	for (i = 0; i < MONITOR_MAX; i++)
		if (m->at[i].fd >= 0)
			close(m->at[i].fd);
}

/* Limits met by @row's tenant since the row was made. */
static uint32_t row_hits(const struct ledger_row *row)
{
	const struct ledger_use *u = &row->use;

	if (row->state != ROW_USED)
		return 0;
	return row->door.hits +
	       (shm_load(&u->key) == row->key ? shm_load(&u->hits) : 0);
}

/* What was met before anybody followed is no news. */
static void begin(struct monitor *m)
{
	uint32_t i;

	m->hits = shm_load(&m->ledger->hits) + m->ledger->door_hits;
	for (i = 0; i < LEDGER_ROWS; i++)
		m->seen[i] = row_hits(&m->ledger->row[i]);
	m->look_ns = 0;
}

int monitor_add(struct monitor *m, int fd, uint32_t uid, bool all,
		uint32_t *ret_index, struct err *err)
{
	uint32_t i, mine = 0, slot = MONITOR_MAX;

	for (i = 0; i < MONITOR_MAX; i++) {
		if (m->at[i].fd >= 0)
			mine += m->at[i].uid == uid;
		else if (slot == MONITOR_MAX)
			slot = i;
	}
	if (slot == MONITOR_MAX)
		return err_set(err, -EUSERS, "%u follow already", m->nr);
	if (mine >= MONITOR_MAX_UID)
		return err_set(err, -EDQUOT,
			       "uid %u follows with %u connections already",
			       uid, mine);
	m->at[slot] = (struct watcher){
		.fd = fd, .uid = uid, .all = all, .serial = m->next_serial++
	};
	if (!m->nr++)
		begin(m);
	*ret_index = slot;
	return 0;
}

void monitor_remove(struct monitor *m, uint32_t index)
{
	close(m->at[index].fd);
	m->at[index].fd = -1;
	if (!--m->nr)
		m->look_ns = UINT64_MAX;
}

static void tell(struct monitor *m, struct llm_event_info *ev)
{
	struct timespec now;
	uint32_t i;

	if (!m->nr)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	ev->size = sizeof(*ev);
	ev->time_ns =
		(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	for (i = 0; i < MONITOR_MAX; i++) {
		struct watcher *w = &m->at[i];

		if (w->fd < 0 || (!w->all && ev->kind != LLM_EV_DAEMON &&
				  ev->tenant != w->uid))
			continue;
		ev->lost = w->lost;
		/* so small a send is whole or none; who is gone hangs up */
		if (send(w->fd, ev, sizeof(*ev), MSG_DONTWAIT | MSG_NOSIGNAL) ==
		    (ssize_t)sizeof(*ev))
			w->lost = 0;
		else
			w->lost++;
	}
}

void monitor_tell(struct monitor *m, uint32_t kind, uint64_t tenant,
		  uint64_t session)
{
	struct llm_event_info ev = { .kind = kind,
				     .tenant = tenant,
				     .session = session };

	tell(m, &ev);
}

void monitor_daemon(struct monitor *m, uint32_t state, uint32_t epoch)
{
	struct llm_event_info ev = { .kind = LLM_EV_DAEMON,
				     .daemon = state,
				     .epoch = epoch };

	if (m->state == state && m->epoch == epoch)
		return;
	m->state = state;
	m->epoch = epoch;
	tell(m, &ev);
}

static void look_at(struct monitor *m, uint32_t i)
{
	const struct ledger_row *row = &m->ledger->row[i];
	struct llm_event_info ev = { .kind = LLM_EV_QUOTA };
	uint32_t hits = row_hits(row);

	ev.count = hits - m->seen[i];
	m->seen[i] = hits;
	if ((int32_t)ev.count <= 0) /* the row is another's now */
		return;
	ev.tenant = row->key;
	ev.limit = row->door.hits == hits ? row->door.limit
					  : shm_load(&row->use.limit);
	tell(m, &ev);
}

void monitor_clock(struct monitor *m, uint64_t now_ns)
{
	uint32_t i, hits;

	if (now_ns < m->look_ns)
		return;
	m->look_ns = now_ns + LOOK_NS;
	hits = shm_load(&m->ledger->hits) + m->ledger->door_hits;
	if (hits == m->hits)
		return;
	m->hits = hits;
	for (i = 0; i < LEDGER_ROWS; i++)
		look_at(m, i);
}
