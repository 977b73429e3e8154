/* SPDX-License-Identifier: MIT */
/*
 * carrier.h - how the engine gets work and wakes clients: one struct of
 * functions, so that the socket and the device differ in take and wake only.
 *
 * All calls are the engine thread's.  None blocks on anything a client holds
 * (invariant I8); only wait() sleeps.
 */
#ifndef DAEMON_CARRIER_H
#define DAEMON_CARRIER_H

#include <stddef.h>
#include <stdint.h>
#include <linux/llm.h>

/*
 * The engine's view of one session: pointers into its four areas, fixed from
 * OPEN to CLOSE.  Lengths are the keeper's own, never the client's.
 */
struct session {
	uint64_t id; /* never reused */
	uint64_t tenant;
	uint32_t uid;
	uint32_t index; /* small; reused after CLOSE */
	uint32_t nr_streams, sq_entries;
	uint32_t record_stride;
	uint64_t arena_size;
	uint64_t log_size, off_extent;
	/* written by the client: hostile, read each word once */
	const struct llm_client_ctl *client;
	const struct llm_sqe *sqe;   /* [sq_entries] */
	const struct llm_wish *wish; /* [nr_streams] */
	const uint8_t *arena;
	/* written by the keeper or the kernel */
	const struct llm_host_ctl *host;
	/* written by the engine */
	struct llm_engine_ctl *engine;
	struct llm_model *model;
	uint64_t *commit; /* [nr_streams] */
	uint8_t *record;  /* record_stride apart */
	uint8_t *base;	  /* start of ENGINE: record offsets count from here */
	void *priv;	  /* the engine's own state of the session */
};

static inline struct llm_record *session_record(const struct session *s,
						uint32_t stream)
{
	return (struct llm_record *)(s->record +
				     (size_t)stream * s->record_stride);
}

enum carrier_kind {
	CARRIER_OPEN, /* a new session, or one of an earlier life: recover it */
	CARRIER_CLOSE, /* its client is gone; after this call it does not exist */
	CARRIER_BROKEN, /* it lied about its tail: end its streams, take no more
			 */
	CARRIER_SQE, /* a submission; `sqe` is a copy the client cannot reach */
};

struct carrier_work {
	enum carrier_kind kind;
	struct session *session;
	struct llm_sqe sqe;
	/*
	 * OPEN, SQE, where the carrier stamps what the tenant may have (the
	 * device: llmd_work); weight 0: it does not, the ledger says (the
	 * socket).
	 */
	uint32_t weight, token_rate;
};

struct carrier {
	/*
	 * The next piece of work: 1 and *ret, 0 when there is none now. Entries
	 * of one session come in order.  Bounded: at most one ring's worth a
	 * session between two calls of wait(), sessions in turn.  The memory of
	 * a CLOSEd session is unmapped by the next take() or wait().
	 */
	int (*take)(struct carrier *c, struct carrier_work *ret);
	/*
	 * All SQEs taken so far are admitted, refused or dropped: move the
	 * heads (store-release; once a batch).  What a crash before this
	 * repeats, the gens sort out.
	 */
	void (*ack)(struct carrier *c);
	/*
	 * Mark @s to be woken; flush() moves its bell word (store-release) and
	 * sends: at most one wake a session a step.
	 */
	void (*wake)(struct carrier *c, struct session *s);
	/* Returns how many sessions were woken. */
	uint32_t (*flush)(struct carrier *c);
	/*
	 * Look for new work; sleep until there is some, or until
	 * CLOCK_MONOTONIC @deadline_ns (0: do not sleep; UINT64_MAX: for ever),
	 * or until another thread calls kick().  Returns 0, or -ESHUTDOWN once
	 * the keeper wants the engine to end (drained).
	 */
	int (*wait)(struct carrier *c, uint64_t deadline_ns);
	/* Any thread: end a sleeping wait() (the text worker is done). */
	void (*kick)(struct carrier *c);
	void (*close)(struct carrier *c);
};

#endif
