/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ring.h - the work ring: how entries come to the daemon.
 *
 * One ring exists while /dev/llmd is open.  The kernel writes entries and tail,
 * the daemon maps them read-only; the daemon's head stands in a page that only
 * it writes, and is the acknowledgement: what head has not passed when the
 * daemon is lost goes back to the front of its session's queue.
 */
#ifndef LLM_RING_H
#define LLM_RING_H

#include <linux/types.h>

struct llm_area;
struct llm_ring;
struct llm_session;
struct llmd_attach;

#define LLM_RING_ENTRIES	256u	/* most; short, so that order is decided late */

/* ---- for the daemon's file; these may sleep */

/* The ring of the one daemon, opened by the calling task: -EBUSY, -ENOMEM. */
int llm_ring_open(struct llm_ring **ret_ring);

/* The daemon's file is closed: lost, where it was attached.  Frees @r. */
void llm_ring_close(struct llm_ring *r);

/* LLMD_AREA_RING or LLMD_AREA_CTL. */
struct llm_area *llm_ring_area(struct llm_ring *r, u32 index);

/*
 * A life of the daemon begins: the ring is emptied at the daemon's head (what
 * stood in it goes back), the epoch moves, OPEN is queued for every session.
 * Where one was attached, that one is lost first.  -EINVAL.
 */
int llm_ring_attach(struct llm_ring *r, struct llmd_attach *attach);

/* The daemon leaves.  Nothing where none is attached. */
void llm_ring_detach(struct llm_ring *r);

/* ---- for take.c */

/*
 * Move what fits into the ring.  Entries ready, or -EPROTO: head is not in the
 * ring.  *@ret_tail: the ring's tail as it was then.
 */
int llm_ring_ready(struct llm_ring *r, u32 *ret_tail);

/* The tail as it is now; moves before sleepers are woken. */
u32 llm_ring_tail(const struct llm_ring *r);

/* ---- for sessions; these do not sleep, but in llm_ring_kill() */

/* @s was set up, and can be found. */
void llm_ring_opened(struct llm_session *s);

/* Entries were added to @s's queue. */
void llm_ring_submitted(struct llm_session *s);

/* @s is over for its client: what it queued is dropped, the daemon gets CLOSE. */
void llm_ring_closed(struct llm_session *s);

/* End the session @id from outside, for good.  -ENOENT, -EALREADY. */
int llm_ring_kill(u64 id);

/* ---- for who asks */

struct llm_daemon_info {
	u32 state;		/* LLM_DAEMON_* */
	u32 epoch;
	u32 pid;		/* of who opened /dev/llmd; 0 = nobody */
	u32 ring_entries;
	u32 ring_used;		/* entries not acknowledged */
	u32 nr_sessions;
	u64 pushed;		/* items put into rings since the module was loaded */
	u64 redelivered;	/* entries that went back to their queues */
};

void llm_ring_describe(struct llm_daemon_info *info);

#endif
