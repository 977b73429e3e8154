/* SPDX-License-Identifier: MIT */
/*
 * wish.h - who is to be woken: the event index of one session.
 *
 * A client that wants to sleep stores a wish (arm, want, delay), fences, and
 * looks at the commit word once more.  The engine stores commit words, fences
 * ONCE a step, then reads the wishes of the streams it touched.  Of the two
 * fences one is first, so either the client sees the word or the engine sees
 * the wish: no wake is lost (doc/PROTOCOL.md).  Hence the order here:
 * wish_touch() as the words are stored, then shm_fence(), then
 * wish_settle().  Every END goes this way, refusals too.
 *
 * A wish is answered once an arming, and once more where the slot gets a new
 * gen (wish_anew()): `woken` remembers the arm answered last.  It is private; a
 * new engine begins with none and looks at every wish once, which wakes
 * somebody needlessly at worst.
 *
 * A wish may also ask for a wake once a token has waited delay_us.  Where no
 * more tokens come meanwhile a timer is needed: wish_next_ns() says when.
 * All of it is a client's word: it is read once, and can only wake its own
 * client too often or too late.  No allocation after wish_init().
 */
#ifndef DAEMON_WISH_H
#define DAEMON_WISH_H

#include <stdbool.h>
#include <stdint.h>

struct session;

#define WISH_NEVER UINT64_MAX

/* One a stream. */
struct wish_state {
	uint32_t woken;	  /* the arm answered last */
	uint32_t due_arm; /* whose delay runs */
	uint64_t due_ns; /* CLOCK_MONOTONIC; valid while its `late` bit is set */
};

struct wishes {
	uint32_t nr_streams;
	struct wish_state *state; /* owned: [nr_streams] */
	/* bit a stream, owned: [(nr_streams + 63) / 64] each */
	uint64_t *touched; /* its word moved since the last settling */
	uint64_t *late;	   /* a delay runs */
	bool any_late;	   /* since the last settling */
};

/* 0 or -ENOMEM. */
int wish_init(struct wishes *w, uint32_t nr_streams);
void wish_deinit(struct wishes *w);

/* The commit word of @stream has been stored. */
static inline void wish_touch(struct wishes *w, uint32_t stream)
{
	w->touched[stream / 64] |= 1ull << stream % 64;
}
/* Recovery: every word may have moved. */
void wish_touch_all(struct wishes *w);

/*
 * @stream has a new gen, its word is stored: what was answered of its wish may
 * have been answered by the old one's END, so the wish stands again.
 */
static inline void wish_anew(struct wishes *w, uint32_t stream)
{
	w->state[stream].woken = 0;
}

/*
 * After shm_fence(): read the wishes of the streams touched and of those
 * whose delay is over at @now_ns.  True where one is met: the caller wakes
 * the session, once for all of them, by carrier->wake().
 */
bool wish_settle(struct wishes *w, struct session *s, uint64_t now_ns);

/* The nearest end of a delay, or WISH_NEVER. */
uint64_t wish_next_ns(const struct wishes *w);

#endif
