/* SPDX-License-Identifier: MIT */
#include "daemon/admin.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/handover.h"
#include "daemon/keeper_state.h"
#include "daemon/ledger.h"
#include "daemon/monitor.h"
#include "llm_shm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool admin_is(const struct keeper *k, uint32_t uid)
{
	return uid == 0 || uid == k->owner;
}

static int answer_alloc(struct admin_answer *ret, uint32_t max,
			uint32_t elem_size, struct err *err)
{
	*ret = (struct admin_answer){ .elem_size = elem_size };
	ret->list = calloc((size_t)max + 1, elem_size);
	return ret->list ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int by_key(const void *a, const void *b)
{
	const struct llm_tenant_info *x = a, *y = b;

	return x->tenant < y->tenant ? -1 : x->tenant > y->tenant;
}

static int list_tenants(struct keeper *k, uint32_t uid,
			struct admin_answer *ret, struct err *err)
{
	struct llm_tenant_info *list;
	const struct ledger_row *row = k->ledger->row;
	bool all = admin_is(k, uid);
	uint32_t i;
	int rc;

	rc = answer_alloc(ret, k->ledger->nr, sizeof(*list), err);
	if (rc)
		return rc;
	list = ret->list;
	for (i = 0; i < LEDGER_ROWS; i++)
		if (row[i].state == ROW_USED && (all || row[i].key == uid))
			ledger_describe(&row[i], &list[ret->nr++]);
	qsort(list, ret->nr, sizeof(*list), by_key);
	return 0;
}

static struct terms terms_of(const struct llm_tenant_info *t)
{
	return (struct terms){
		.max_memory = t->max_memory,
		.weight = t->weight,
		.class_ceiling = t->class_ceiling,
		.max_sessions = t->max_sessions,
		.max_streams = t->max_streams,
		.max_inflight = t->max_inflight,
		.max_submit_rate = t->max_submit_rate,
		.max_token_rate = t->max_token_rate,
	};
}

/* Settings have changed: the engine, those who follow, the log. */
static void tell(struct keeper *k, uint64_t tenant, uint32_t by)
{
	struct handover_msg m = { .kind = HANDOVER_TENANTS };

	if (k->engine) /* a full pipe wakes it too */
		(void)!send(k->ctl, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	monitor_tell(&k->monitor, LLM_EV_TENANT, tenant, 0);
	log_info("settings of tenant %llu changed by uid %u",
		 (unsigned long long)tenant, by);
}

static int change(struct keeper *k, const struct llm_hello_admin *a,
		  uint32_t uid, struct admin_answer *ret, struct err *err)
{
	const struct llm_tenant_info *t = &a->tenant;
	struct terms terms = terms_of(t);
	int rc;

	rc = answer_alloc(ret, 1, sizeof(*t), err);
	if (rc)
		return rc;
	rc = a->op == LLM_HELLO_SET
		     ? ledger_set(k->ledger, t->tenant, t->set, &terms, err)
		     : ledger_reset(k->ledger, t->tenant, err);
	if (rc) {
		free(ret->list);
		return rc;
	}
	ledger_describe(ledger_find(k->ledger, t->tenant), ret->list);
	ret->nr = 1;
	tell(k, t->tenant, uid);
	return 0;
}

/* It comes back as a hang-up, and goes the way of all of them. */
static int end_session(struct keeper *k, uint64_t id, uint32_t uid,
		       struct admin_answer *ret, struct err *err)
{
	struct seat *s = roster_find(&k->seating.roster, id);
	int rc;

	if (!s)
		return err_set(err, -ENOENT, "there is no session %llu",
			       (unsigned long long)id);
	rc = answer_alloc(ret, 1, sizeof(struct llm_session_info), err);
	if (rc)
		return rc;
	roster_describe(s, keeper_now(), ret->list);
	ret->nr = 1;
	/* a client that sees the hang-up finds why */
	shm_publish(&s->areas.host_rw->daemon, (uint32_t)LLM_DAEMON_FAILED);
	shutdown(s->conn, SHUT_RDWR);
	monitor_tell(&k->monitor, LLM_EV_KILL, s->uid, s->id);
	log_info("session %llu of uid %u ended by uid %u",
		 (unsigned long long)id, s->uid, uid);
	return 0;
}

int admin_do(struct keeper *k, const struct guest *g, uint32_t op,
	     struct admin_answer *ret, struct err *err)
{
	struct llm_hello_admin a;
	int rc;

	if (op == LLM_HELLO_TENANTS)
		return list_tenants(k, g->uid, ret, err);
	if (!admin_is(k, g->uid))
		return err_set(err, -EPERM,
			       "uid %u may look, not change: that is for root "
			       "and for uid %u, which runs llmd",
			       g->uid, k->owner);
	rc = hello_admin(&g->in, &a, err);
	if (rc)
		return rc;
	return op == LLM_HELLO_KILL
		       ? end_session(k, a.session, g->uid, ret, err)
		       : change(k, &a, g->uid, ret, err);
}
