/* SPDX-License-Identifier: MIT */
#include "daemon/child.h"
#include "base/log.h"
#include "daemon/handover.h"
#include "daemon/guests.h"
#include "daemon/roster.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void close_keepers(const struct child *c)
{
	unsigned i;

	for (i = 0; i < c->nr_close; i++)
		close(c->close[i]);
	for (i = 0; i < c->guests->top; i++)
		if (c->guests->at[i])
			close(c->guests->at[i]->fd);
}

/* The sessions that came along with the fork. */
static uint32_t inherit(const struct roster *r, struct handover_old *old)
{
	uint32_t i, nr = 0;

	for (i = 0; i < r->top; i++) {
		const struct seat *s = &r->seat[i];

		if (s->state != SEAT_OPEN)
			continue;
		old[nr++] = (struct handover_old){
			.id = s->id,
			.tenant = s->uid,
			.uid = s->uid,
			.index = s->index,
			.conn = s->conn,
			.busy = s->busy,
			.areas = &s->areas,
		};
	}
	return nr;
}

static int run(const struct child *c)
{
	struct handover in = { .ctl = c->ctl,
			       .device = c->device,
			       .board = c->board };
	struct handover_old *old;

	in.max_sessions = c->roster->limits.max_sessions;
	old = calloc(c->roster->nr + 1, sizeof(*old));
	if (!old)
		return 1;
	in.nr_old = inherit(c->roster, old);
	in.old = old;
	return c->engine(c->engine_arg, &in) ? 1 : 0;
}

void child_main(const struct child *c)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	roster_drop_host(c->roster);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != c->keeper) /* it died before we asked */
		_exit(1);
	prctl(PR_SET_NAME, "llmd-engine");
	log_init("llmd-engine", LOG_LEVEL_INFO);
	/*
	 * A terminal and systemd signal the whole group; when to end is the
	 * keeper's business.
	 */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigprocmask(SIG_SETMASK, &c->mask, NULL);
	close_keepers(c);
	_exit(run(c));
}
