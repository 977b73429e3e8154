/* SPDX-License-Identifier: MIT */
/*
 * life.h - what the death of an engine means: who is to blame, and whether,
 * when or if ever another is started.  Pure: the keeper tells it the time and
 * what waitpid() said.
 */
#ifndef DAEMON_LIFE_H
#define DAEMON_LIFE_H

#include <stdbool.h>
#include <stdint.h>

struct board;
struct err;

struct life {
	/* of the life that runs now */
	bool hung;  /* the watchdog killed it */
	bool ready; /* it served */
	/* of all */
	uint32_t lives;	      /* begun */
	uint32_t served;      /* lives that were ever ready */
	uint32_t fruitless;   /* in a row, without any commit: the back-off */
	uint32_t crashes;     /* of these, by their own doing */
	uint32_t max_crashes; /* 0: no limit */
};

enum life_verdict {
	LIFE_ENDED, /* it had been told to end */
	LIFE_AGAIN, /* start another at *restart_ns */
	LIFE_OVER,  /* give up; the line says why */
};

/* A life begins: its part of @board is emptied. */
void life_begin(struct life *l, struct board *board);

/*
 * The engine is reaped, with @status.  Blame: rows of the step in flight go
 * to board->blamed where it died of SIGSEGV, SIGBUS, SIGABRT, SIGFPE or the
 * watchdog; a SIGKILL from outside, or an exit, blames nobody.
 *
 * Crash loop: the first restart is immediate; each further life without a
 * commit doubles the pause, and the max_crashes-th crash is the last.  A
 * SIGKILL from outside is no crash (it tells of the killer: an operator, the
 * kernel short of memory) and adds to the pause only before it served.
 * A first life that fails before it serves, by itself, is never repeated:
 * the next would find the same model.
 *
 * @err gets one line about this death in every case but LIFE_ENDED.
 */
enum life_verdict life_end(struct life *l, struct board *board, int status,
			   bool told_to_end, uint64_t now_ns,
			   uint64_t *restart_ns, struct err *err);

/*
 * The watchdog: has the step in flight outlived its patience?  *look_ns: how
 * long until it is worth looking again.
 */
bool life_hangs(const struct board *board, uint64_t now_ns, uint64_t *look_ns);

#endif
