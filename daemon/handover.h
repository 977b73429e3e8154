/* SPDX-License-Identifier: MIT */
/*
 * handover.h - how sessions get from the keeper to an engine: with the fork,
 * as mappings it inherits, or later, by message.
 *
 * Messages are datagrams on a SOCK_SEQPACKET pair.  The keeper never blocks
 * on it; the engine may, as the keeper always reads.
 */
#ifndef DAEMON_HANDOVER_H
#define DAEMON_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

struct areas;
struct board;

enum handover_kind {
	/* to the engine */
	HANDOVER_ADD = 1, /* a new session; 4 descriptors: areas, conn */
	HANDOVER_DRAIN,	  /* board->draining was set: look at it */
	HANDOVER_TENANTS, /* board->ledger has changed: look at it */
	/* to the keeper */
	HANDOVER_ADDED,	 /* mapped (error 0), or not (negative errno) */
	HANDOVER_CLOSED, /* nothing of it is left here */
	HANDOVER_READY,	 /* board->ready was set */
};
#define HANDOVER_FDS 4

struct handover_msg {
	uint32_t kind; /* enum handover_kind */
	uint32_t index;
	uint64_t session;	/* ADD, ADDED, CLOSED */
	uint64_t tenant;	/* ADD */
	uint32_t uid;		/* ADD */
	int32_t error;		/* ADDED */
	struct llm_setup setup; /* ADD */
};

/* A session that the fork brought along. */
struct handover_old {
	uint64_t id, tenant;
	uint32_t uid, index;
	int conn;  /* the engine's to close */
	bool busy; /* holds streams that run: to be opened first */
	const struct areas *areas; /* borrowed, to be copied */
};

/* All that an engine finds when its process begins. */
struct handover {
	int ctl;    /* its end of the pair; the keeper's hanging up ends it */
	int device; /* the module's node, open: its to close; -1: the socket */
	struct board *board;
	uint32_t max_sessions;		/* every index is below */
	const struct handover_old *old; /* borrowed: [nr_old] */
	uint32_t nr_old;
};

#endif
