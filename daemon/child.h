/* SPDX-License-Identifier: MIT */
/*
 * child.h - from the keeper's fork to the engine's first line.
 *
 * What the child inherits it drops: first the writable mappings of HOST, then
 * every descriptor that is not a session's.  What it keeps, the writable
 * mappings of ENGINE, is why it is forked and not executed (areas.h).
 */
#ifndef DAEMON_CHILD_H
#define DAEMON_CHILD_H

#include <signal.h>
#include <sys/types.h>

struct board;
struct guests;
struct handover;
struct roster;

struct child {
	pid_t keeper;	  /* the child dies with it */
	int ctl;	  /* the engine's end */
	int device;	  /* the module's node; -1: sessions are ours */
	const int *close; /* [nr_close] descriptors of the keeper alone */
	unsigned nr_close;
	const struct guests *guests; /* their connections are closed too */
	struct roster *roster;
	struct board *board;
	sigset_t mask; /* signals blocked before the keeper began */
	int (*engine)(void *arg, const struct handover *in);
	void *engine_arg;
};

/* In the child: to the engine's end. */
void child_main(const struct child *c) __attribute__((noreturn));

#endif
