/* SPDX-License-Identifier: MIT */
/*
 * carrier_sock.h - the carrier for sessions on a Unix socket, engine's side.
 *
 * A bell is a byte on the session's connection, a wake is one back; neither
 * call can block (I8).  Sessions of earlier lives come as mappings inherited
 * by the fork; new ones by message from the keeper, over `ctl`.
 *
 * Threads: the engine's; kick() any.
 */
#ifndef DAEMON_CARRIER_SOCK_H
#define DAEMON_CARRIER_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

struct areas;
struct board;
struct carrier;
struct err;

/*
 * What keeper and engine say to each other: one datagram each on a
 * SOCK_SEQPACKET pair.  The keeper never blocks on it; the engine may, as the
 * keeper always reads.
 */
enum carrier_msg_kind {
	/* to the engine */
	CARRIER_MSG_ADD = 1, /* a new session; 4 descriptors: areas, conn */
	CARRIER_MSG_DRAIN,   /* board->draining was set: look at it */
	/* to the keeper */
	CARRIER_MSG_ADDED,  /* mapped (error 0), or not (negative errno) */
	CARRIER_MSG_CLOSED, /* nothing of it is left here */
	CARRIER_MSG_READY,  /* board->ready was set */
};
#define CARRIER_MSG_FDS 4

struct carrier_msg {
	uint32_t kind; /* enum carrier_msg_kind */
	uint32_t index;
	uint64_t session;	/* ADD, ADDED, CLOSED */
	uint64_t tenant;	/* ADD */
	uint32_t uid;		/* ADD */
	int32_t error;		/* ADDED */
	struct llm_setup setup; /* ADD */
};

/* A session that the fork brought along; areas are borrowed, and copied. */
struct carrier_sock_old {
	uint64_t id, tenant;
	uint32_t uid, index;
	int conn;  /* taken over */
	bool busy; /* holds streams that run: it is opened first */
	const struct areas *areas;
};

struct carrier_sock_options {
	int ctl; /* taken over: our end of the pair; its end ends the engine */
	struct board *board; /* counters of bells and wakes; `ready` is told */
	uint32_t max_sessions;		    /* every index is below */
	const struct carrier_sock_old *old; /* [nr_old] */
	uint32_t nr_old;
};

/*
 * take() names all busy old sessions first, then new ones, then idle old ones
 * a few between two waits, so that streams which run do not wait for sessions
 * that do not.  After OPEN the session's sq_tail is looked at once without a
 * bell.  0, or a negative errno with its line; carrier->close() undoes.
 * (libclient has a carrier_sock_open(); tests link both.)
 */
int carrier_sock_start(const struct carrier_sock_options *opt,
		       struct carrier **ret, struct err *err);

#endif
