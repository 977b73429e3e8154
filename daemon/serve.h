/* SPDX-License-Identifier: MIT */
/*
 * serve.h - what comes from clients: sessions, entries, cancels, deadlines,
 * and the prompts that the text worker has finished.
 *
 * Takes work from the carrier and makes living streams of it; all that a
 * round does before it schedules.  The engine's thread only.
 */
#ifndef DAEMON_SERVE_H
#define DAEMON_SERVE_H

#include <stdint.h>

struct engine;

/*
 * Everything that waits now, bounded by the carrier (a ring a session): open
 * and recover sessions, admit entries, then move the heads; end what is
 * cancelled or too late; queue what has been tokenized.
 */
void serve_take(struct engine *e);

/*
 * Living stream @i has its END set (st.end) or is to have none any more: store
 * it, and take the stream out of scheduler, worker, desk and pool.
 */
void serve_end(struct engine *e, uint32_t i);

/* Close every desk (the engine ends). */
void serve_close_all(struct engine *e);

#endif
