/* SPDX-License-Identifier: MIT */
/*
 * account.h - the engine's side of the ledger: one account a tenant that has
 * sessions here, with the terms as last read and what it has in flight.
 *
 * Judged here, at admission: requests in flight, their rate, the class.  The
 * weight and the rate of tokens go on to the scheduler, which keeps them.
 * Where the carrier stamps weight and rate on each entry (the device) they come
 * from there, and the module judges the rest.
 * Counters go straight into the tenant's row, where the keeper reads them.
 * Without a ledger (or a row in it) a tenant has the default terms, and what
 * is counted is counted for nobody.
 *
 * The engine's thread only.  Allocates when a session opens, never in a step.
 */
#ifndef DAEMON_ACCOUNT_H
#define DAEMON_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/bucket.h"
#include "daemon/ledger.h"

struct err;
struct sched;

#define ACCOUNT_HEADS 256u

struct account {
	uint64_t key;
	uint32_t nr_sessions;
	uint32_t inflight; /* streams that have not ended */
	struct terms terms;
	struct bucket submits;
	struct ledger_row *row; /* borrowed; NULL: none (yet) */
	struct account *next;	/* in its chain */
};

struct accounts {
	struct ledger *ledger; /* borrowed; NULL: nobody limits */
	uint32_t version;      /* of the terms as read */
	uint32_t nr_rated;     /* that have a rate of tokens */
	struct account *heads[ACCOUNT_HEADS]; /* owned */
};

/* A life begins: what the last one had in flight is void. */
void accounts_init(struct accounts *a, struct ledger *ledger);
void accounts_deinit(struct accounts *a);

/* A session more of @key.  NULL: no memory. */
struct account *account_open(struct accounts *a, uint64_t key);
void account_close(struct accounts *a, struct account *ac);

/*
 * Read terms that have changed, if any have; hand weights and rates on to @s.
 * Once a round, and once an entry is in sight: one load where nothing has.
 */
void accounts_look(struct accounts *a, struct sched *s);
/* Terms that came with an entry (carrier.h): to @s, where they are new. */
void account_stamp(struct accounts *a, struct account *ac, struct sched *s,
		   uint32_t weight, uint32_t token_rate);
/* Before a sequence of it is added to @s: its weight and its rate. */
void account_tell(const struct account *ac, struct sched *s);
/* Who is over his rate of tokens now; for those who look.  Once a round. */
void accounts_gauges(struct accounts *a, const struct sched *s);

/*
 * Judge one request more: 0, or with a line -EAGAIN (over its rate) or -EDQUOT
 * (too many in flight; only where @flies).  Nothing is counted.
 */
int account_judge(struct account *ac, bool flies, uint64_t now_ns,
		  struct err *why);
/* It was taken. */
void account_took(struct account *ac, uint64_t now_ns);
/* It was refused for one of these two reasons. */
void account_refused(struct accounts *a, struct account *ac, int error);
/* A stream of it lives; has ended. */
void account_begin(struct account *ac);
void account_end(struct account *ac);
/* Tokens computed of a prompt, or committed. */
void account_tokens(struct account *ac, uint64_t nr);

#endif
