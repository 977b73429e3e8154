/* SPDX-License-Identifier: MIT */
/*
 * ledger.h - the book of tenants: what each may have (terms), what it has
 * (use).  Shared memory made before the first fork, so it outlives engines.
 *
 * A row has three parts, each with one writer:
 *   terms  the keeper (who is told by an administrator, or by the module)
 *   door   the keeper: what is charged when a session opens
 *   use    the engine: streams, counters
 * Terms change at any time while the engine reads them, under a sequence
 * number: odd while they are being written.  The reader never waits: a torn
 * copy is thrown away, and `version`, which moves after each change, brings it
 * back.
 *
 *   keeper  seq odd -> F -> terms -> seq even (rel) -> version + 1 (rel)
 *   engine  version acq -> seq acq -> terms -> F -> seq: the same and even?
 *
 * A row is made when its tenant opens a session or is given terms.  It is
 * forgotten when the table is full and it has neither: then no engine writes
 * to it either.
 */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

struct err;

#define LEDGER_ROWS 16384u /* a power of two */
#define LEDGER_MAX  12288u /* in use: the rest keeps searches short */

/* What a tenant may have; fields and values of struct llm_tenant_info. */
struct terms {
	uint64_t max_memory;
	uint32_t set; /* LLM_TENANT_*: told; the rest are the defaults */
	uint32_t weight, class_ceiling;
	uint32_t max_sessions, max_streams, max_inflight;
	uint32_t max_submit_rate, max_token_rate; /* 0: any */
};

/* Written by: the keeper. */
struct ledger_door {
	uint64_t memory; /* bytes that its sessions may grow to */
	uint32_t sessions, streams;
	uint64_t refused;     /* sessions */
	uint32_t hits, limit; /* as in ledger_use */
};

/* Written by: the engine.  Read with shm_load(). */
struct ledger_use {
	uint64_t key; /* whose: what another key left is not this one's */
	uint32_t inflight, throttled;
	uint64_t submitted, refused, tokens;
	uint32_t hits;	/* limits met since the row was made */
	uint32_t limit; /* LLM_TENANT_* of the last */
};

enum row_state { ROW_FREE, ROW_USED, ROW_GONE /* searches go on past it */ };

struct ledger_row {
	uint32_t seq;
	uint32_t state; /* enum row_state; the keeper's */
	uint64_t key;
	struct terms terms;
	struct ledger_door door;
	struct ledger_use use __attribute__((aligned(64)));
};

struct ledger {
	/* written by: the keeper */
	uint32_t version, nr;  /* rows in use */
	uint32_t door_hits;    /* of all rows */
	struct terms defaults; /* constant */
	/* written by: the engine */
	uint32_t hits __attribute__((aligned(64))); /* of all rows */
	struct ledger_row row[LEDGER_ROWS];
};

/* ---- the keeper ---- */

/* A ledger in shared memory.  0 and *ret, or with a line -ENOMEM. */
int ledger_create(struct ledger **ret, const struct terms *defaults,
		  struct err *err);
void ledger_destroy(struct ledger *l);
/* The row of @key, made where there is none; NULL: all are in use. */
struct ledger_row *ledger_get(struct ledger *l, uint64_t key);
/*
 * Move what @set names (LLM_TENANT_*) to @terms.  0; with a line -EINVAL (a
 * value that makes no sense) or -ENOSPC.
 */
int ledger_set(struct ledger *l, uint64_t key, uint32_t set,
	       const struct terms *terms, struct err *err);
/* Back to the defaults.  0, or -ENOENT with a line: it has none of its own. */
int ledger_reset(struct ledger *l, uint64_t key, struct err *err);
/*
 * A session of @nr_streams and @bytes: charged whole, or refused with -EDQUOT
 * and a line.  @what: "uid 5".
 */
int ledger_enter(struct ledger *l, uint64_t key, uint32_t nr_streams,
		 uint64_t bytes, struct err *err);
void ledger_leave(struct ledger *l, uint64_t key, uint32_t nr_streams,
		  uint64_t bytes);
/* Describe @row, a used one. */
void ledger_describe(const struct ledger_row *row, struct llm_tenant_info *ret);

/* ---- the engine, and tests ---- */

/* The row of @key, or NULL. */
struct ledger_row *ledger_find(struct ledger *l, uint64_t key);
/* Its terms; false: they are being written, look again at the next version. */
bool ledger_terms(const struct ledger_row *row, struct terms *ret);
/* The engine's part is its own: another key's, or another life's, is void. */
void ledger_own(struct ledger_row *row);

#endif
