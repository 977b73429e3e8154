/* SPDX-License-Identifier: MIT */
/*
 * keeper.h - the process that stands in for a kernel module: it owns the
 * listening socket, every connection and the memory of every session; it
 * starts the engine, watches it and starts the next one when it dies.
 *
 * It parses nothing that comes from a model or a prompt, never blocks on a
 * client or on the engine, never executes another program, and has one
 * thread.  Asleep it uses no CPU but for a look at the clock of a step, every
 * other second, while sessions exist.
 */
#ifndef DAEMON_KEEPER_H
#define DAEMON_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "daemon/roster.h"

struct err;
struct handover;

/* Constant and borrowed for the whole call. */
struct keeper_options {
	/*
	 * One of the two: where to listen, or the module's node (/dev/llmd).
	 * With the device the module has the sessions; what is left to do here
	 * is the engine's life, its blame and its clock.  The node is opened
	 * for each engine anew and never kept, so the engine's death is what
	 * closes it, and the engine itself needs no right to it.
	 */
	const char *socket_path;
	const char *device_path;
	mode_t socket_mode; /* who may connect: 0666 is everyone */
	bool make_dir; /* make the socket's directory where it is missing */
	/*
	 * The engine: called in the forked child, to its end; its 0 is
	 * "ended as asked", all else a death.  After a failure at start its
	 * line stands in board->failed.
	 */
	int (*engine)(void *arg, const struct handover *in);
	void *engine_arg;
	struct roster_limits limits;
	uint64_t hello_timeout_ns; /* 0 = 5 s */
	uint64_t drain_timeout_ns; /* 0 = 10 s */
	uint32_t max_crashes; /* engines in a row without a token; 0 = any */
};

/*
 * Serve until SIGTERM or SIGINT and drained (a second one ends at once): 0.
 * A negative errno and one line where it cannot start, the engine fails at
 * its first start, or dies too often.  Blocks SIGTERM, SIGINT and SIGCHLD
 * while it runs; has no children but the engine.  @err is not NULL.
 */
int keeper_run(const struct keeper_options *opt, struct err *err);

#endif
