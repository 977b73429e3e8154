/* SPDX-License-Identifier: MIT */
/*
 * ctl_nl.c - administration of the module: generic netlink family "llm".
 *
 * One socket; who follows events asks nothing more with it.  A dump that was
 * interrupted by a change begins again.  What the kernel does not know (tokens
 * computed) is UINT64_MAX.
 */
#include "tools/ctl.h"

#include <errno.h>
#include <linux/llm_netlink.h>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DUMP_TRIES 10

struct nl {
	struct nl_sock *sock; /* owned */
	int family;
	struct ctl *c; /* borrowed: takes the words of a failure */
	int error;     /* of the last answer, -errno */
};

/* ---- a question and its answers --------------------------------------- */

/* What the kernel says beside the errno, or NULL. */
static const char *extack(const struct nlmsgerr *e)
{
	const struct nlmsghdr *h =
		(const struct nlmsghdr *)((const char *)e - NLMSG_HDRLEN);
	size_t at = sizeof(*e);
	const struct nlattr *a;

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		at += e->msg.nlmsg_len - NLMSG_HDRLEN;
	if (NLMSG_HDRLEN + at >= h->nlmsg_len)
		return NULL;
	a = nla_find((const struct nlattr *)((const char *)e + at),
		     (int)(h->nlmsg_len - NLMSG_HDRLEN - at),
		     NLMSGERR_ATTR_MSG);
	return a ? nla_get_string(a) : NULL;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct nl *n = arg;
	const char *why = extack(e);

	(void)from;
	n->error = e->error;
	ctl_say(n->c, e->error, "%s", why ? why : strerror(-e->error));
	return NL_STOP;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	(void)msg;
	*(bool *)arg = true;
	return NL_STOP;
}

/* A message of @cmd; @key names a u64 attribute to begin with, 0: none. */
static struct nl_msg *ask(struct nl *n, int cmd, int flags, int key,
			  uint64_t value)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg &&
	    genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, n->family, 0, flags,
			(uint8_t)cmd, LLM_FAMILY_VERSION) &&
	    (!key || !nla_put_u64(msg, key, value)))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

/* Send @msg (consumed), hand each answer to @answer; 0 or -errno. */
static int talk(struct nl *n, struct nl_msg *msg, nl_recvmsg_msg_cb_t answer,
		void *arg)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	bool end = false;
	int ret;

	if (!cb || !msg) {
		nlmsg_free(msg);
		nl_cb_put(cb);
		return ctl_say(n->c, -ENOMEM, "out of memory");
	}
	n->error = 0;
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, n);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, &end);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &end);
	if (answer)
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, answer, arg);
	ret = nl_send_auto(n->sock, msg);
	nlmsg_free(msg);
	while (ret >= 0 && !end && !n->error)
		ret = nl_recvmsgs(n->sock, cb);
	nl_cb_put(cb);
	if (n->error)
		return n->error;
	if (ret == -NLE_DUMP_INTR)
		return -EINTR;
	return ret < 0 ? ctl_say(n->c, -EIO, "netlink: %s", nl_geterror(ret))
		       : 0;
}

static uint32_t u32(struct nlattr *a)
{
	return a ? nla_get_u32(a) : 0;
}

static uint64_t u64(struct nlattr *a)
{
	return a ? nla_get_u64(a) : 0;
}

/* ---- lists ------------------------------------------------------------- */

struct list {
	void *at; /* owned */
	uint32_t nr, cap;
	size_t size; /* of an element */
	bool failed;
};

static void *list_add(struct list *l)
{
	void *more;

	if (l->nr == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		more = realloc(l->at, l->cap * l->size);
		if (!more) {
			l->failed = true;
			return NULL;
		}
		l->at = more;
	}
	return (char *)l->at + l->nr++ * l->size;
}

/* Dump @cmd into a list of @size bytes each. */
static int dump(struct nl *n, int cmd, nl_recvmsg_msg_cb_t answer, size_t size,
		void *ret_list, uint32_t *ret_nr)
{
	struct list l;
	int i, ret = -EINTR;

	for (i = 0; i < DUMP_TRIES && ret == -EINTR; i++) {
		l = (struct list){ .size = size };
		ret = talk(n, ask(n, cmd, NLM_F_DUMP, 0, 0), answer, &l);
		if (!ret && l.failed)
			ret = ctl_say(n->c, -ENOMEM, "out of memory");
		if (ret)
			free(l.at);
	}
	if (ret == -EINTR)
		return ctl_say(n->c, -EAGAIN,
			       "it changes faster than it can be listed");
	if (ret)
		return ret;
	*ret_nr = l.nr;
	*(void **)ret_list = l.at; /* NULL where there is none */
	return 0;
}

/* ---- tenants ----------------------------------------------------------- */

static int tenant_parse(struct nl_msg *msg, struct llm_tenant_info *t)
{
	struct nlattr *a[LLM_A_TENANT_MAX + 1];

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, LLM_A_TENANT_MAX, NULL))
		return -EPROTO;
	*t = (struct llm_tenant_info){
		.size = sizeof(*t),
		.set = u32(a[LLM_A_TENANT_SET]),
		.tenant = u64(a[LLM_A_TENANT_KEY]),
		.weight = u32(a[LLM_A_TENANT_WEIGHT]),
		.class_ceiling = u32(a[LLM_A_TENANT_CLASS_CEILING]),
		.max_sessions = u32(a[LLM_A_TENANT_MAX_SESSIONS]),
		.max_streams = u32(a[LLM_A_TENANT_MAX_STREAMS]),
		.max_inflight = u32(a[LLM_A_TENANT_MAX_INFLIGHT]),
		.max_submit_rate = u32(a[LLM_A_TENANT_MAX_SUBMIT_RATE]),
		.max_token_rate = u32(a[LLM_A_TENANT_MAX_TOKEN_RATE]),
		.max_memory = u64(a[LLM_A_TENANT_MAX_MEMORY]),
		.sessions = u32(a[LLM_A_TENANT_SESSIONS]),
		.streams = u32(a[LLM_A_TENANT_STREAMS]),
		.inflight = u32(a[LLM_A_TENANT_INFLIGHT]),
		.memory = u64(a[LLM_A_TENANT_MEMORY]),
		.submitted = u64(a[LLM_A_TENANT_SUBMITTED]),
		.refused = u64(a[LLM_A_TENANT_REFUSED]),
		.tokens = UINT64_MAX,
	};
	return 0;
}

static int on_tenant(struct nl_msg *msg, void *arg)
{
	struct llm_tenant_info *t = list_add(arg);

	if (t && tenant_parse(msg, t))
		((struct list *)arg)->nr--;
	return NL_OK;
}

static int on_one_tenant(struct nl_msg *msg, void *arg)
{
	tenant_parse(msg, arg);
	return NL_OK;
}

static int dev_tenants(struct ctl *c, struct llm_tenant_info **ret,
		       uint32_t *ret_nr)
{
	return dump(c->priv, LLM_CMD_TENANT_GET, on_tenant, sizeof(**ret), ret,
		    ret_nr);
}

static int dev_tenant(struct ctl *c, uint64_t key, struct llm_tenant_info *ret)
{
	struct nl *n = c->priv;

	return talk(
		n, ask(n, LLM_CMD_TENANT_GET, NLM_F_ACK, LLM_A_TENANT_KEY, key),
		on_one_tenant, ret);
}

static int dev_set(struct ctl *c, const struct llm_tenant_info *t)
{
	struct nl *n = c->priv;
	const struct {
		uint32_t bit, value;
		int attr;
	} row[] = {
		{ LLM_TENANT_WEIGHT, t->weight, LLM_A_TENANT_WEIGHT },
		{ LLM_TENANT_CLASS, t->class_ceiling,
		  LLM_A_TENANT_CLASS_CEILING },
		{ LLM_TENANT_SESSIONS, t->max_sessions,
		  LLM_A_TENANT_MAX_SESSIONS },
		{ LLM_TENANT_STREAMS, t->max_streams,
		  LLM_A_TENANT_MAX_STREAMS },
		{ LLM_TENANT_INFLIGHT, t->max_inflight,
		  LLM_A_TENANT_MAX_INFLIGHT },
		{ LLM_TENANT_SUBMIT_RATE, t->max_submit_rate,
		  LLM_A_TENANT_MAX_SUBMIT_RATE },
		{ LLM_TENANT_TOKEN_RATE, t->max_token_rate,
		  LLM_A_TENANT_MAX_TOKEN_RATE },
	};
	struct nl_msg *msg = ask(n, LLM_CMD_TENANT_SET, NLM_F_ACK,
				 LLM_A_TENANT_KEY, t->tenant);
	size_t i;

	/* a fresh message has room for these few */
	for (i = 0; msg && i < sizeof(row) / sizeof(*row); i++)
		if (t->set & row[i].bit)
			nla_put_u32(msg, row[i].attr, row[i].value);
	if (msg && t->set & LLM_TENANT_MEMORY)
		nla_put_u64(msg, LLM_A_TENANT_MAX_MEMORY, t->max_memory);
	return talk(n, msg, NULL, NULL);
}

static int dev_reset(struct ctl *c, uint64_t key)
{
	struct nl *n = c->priv;

	return talk(n,
		    ask(n, LLM_CMD_TENANT_RESET, NLM_F_ACK, LLM_A_TENANT_KEY,
			key),
		    NULL, NULL);
}

/* ---- sessions ---------------------------------------------------------- */

static int on_session(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[LLM_A_SESSION_MAX + 1];
	struct llm_session_info *s;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, LLM_A_SESSION_MAX, NULL))
		return NL_OK;
	s = list_add(arg);
	if (!s)
		return NL_STOP;
	*s = (struct llm_session_info){
		.session = u64(a[LLM_A_SESSION_ID]),
		.tenant = u64(a[LLM_A_SESSION_TENANT]),
		.age_ns = u64(a[LLM_A_SESSION_AGE_NS]),
		.tokens = u64(a[LLM_A_SESSION_TOKENS]),
		.uid = u32(a[LLM_A_SESSION_UID]),
		.pid = u32(a[LLM_A_SESSION_PID]),
		.streams = u32(a[LLM_A_SESSION_STREAMS]),
		.queued = u32(a[LLM_A_SESSION_QUEUED]),
		.running = u32(a[LLM_A_SESSION_RUNNING]),
		.ended = u32(a[LLM_A_SESSION_ENDED]),
	};
	return NL_OK;
}

static int dev_sessions(struct ctl *c, struct llm_session_info **ret,
			uint32_t *ret_nr)
{
	return dump(c->priv, LLM_CMD_SESSION_GET, on_session, sizeof(**ret),
		    ret, ret_nr);
}

static int dev_kill(struct ctl *c, uint64_t session)
{
	struct nl *n = c->priv;

	return talk(n,
		    ask(n, LLM_CMD_SESSION_KILL, NLM_F_ACK, LLM_A_SESSION_ID,
			session),
		    NULL, NULL);
}

/* ---- the service as a whole -------------------------------------------- */

static int on_daemon(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[LLM_A_DAEMON_MAX + 1];
	struct ctl_service *s = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, LLM_A_DAEMON_MAX, NULL))
		return NL_OK;
	s->info.daemon = u32(a[LLM_A_DAEMON_STATE]);
	s->info.epoch = u32(a[LLM_A_DAEMON_EPOCH]);
	s->daemon_pid = u32(a[LLM_A_DAEMON_PID]);
	return NL_OK;
}

static int on_stat(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[LLM_A_STAT_MAX + 1];
	struct ctl_service *s = arg;

	if (!genlmsg_parse(nlmsg_hdr(msg), 0, a, LLM_A_STAT_MAX, NULL))
		s->info.nr_sessions = u32(a[LLM_A_STAT_SESSIONS]);
	return NL_OK;
}

static int dev_service(struct ctl *c, struct ctl_service *ret)
{
	struct llm_tenant_info *list;
	struct nl *n = c->priv;
	uint32_t i;
	int r;

	*ret = (struct ctl_service){ .carrier = "device" };
	r = talk(n, ask(n, LLM_CMD_DAEMON_GET, NLM_F_ACK, 0, 0), on_daemon,
		 ret);
	if (!r)
		r = talk(n, ask(n, LLM_CMD_STAT_GET, NLM_F_ACK, 0, 0), on_stat,
			 ret);
	if (!r)
		r = dev_tenants(c, &list, &ret->nr_tenants);
	if (r)
		return r;
	for (i = 0; i < ret->nr_tenants; i++) {
		ret->submitted += list[i].submitted;
		ret->refused += list[i].refused;
	}
	free(list);
	return 0;
}

/* ---- events ------------------------------------------------------------ */

struct follow {
	bool (*event)(void *arg, const struct llm_event_info *);
	void *arg;
	bool stop;
};

static int on_event(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[LLM_A_EVENT_MAX + 1];
	struct follow *f = arg;
	struct llm_event_info e;

	if (genlmsg_hdr(nlmsg_hdr(msg))->cmd != LLM_CMD_EVENT ||
	    genlmsg_parse(nlmsg_hdr(msg), 0, a, LLM_A_EVENT_MAX, NULL))
		return NL_OK;
	e = (struct llm_event_info){
		.size = sizeof(e),
		.kind = u32(a[LLM_A_EVENT_KIND]),
		.time_ns = u64(a[LLM_A_EVENT_TIME_NS]),
		.tenant = u64(a[LLM_A_EVENT_TENANT]),
		.session = u64(a[LLM_A_EVENT_SESSION]),
		.daemon = u32(a[LLM_A_EVENT_STATE]),
		.epoch = u32(a[LLM_A_EVENT_EPOCH]),
		.limit = u32(a[LLM_A_EVENT_LIMIT]),
		.count = u32(a[LLM_A_EVENT_COUNT]),
	};
	f->stop = !f->event(f->arg, &e);
	return f->stop ? NL_STOP : NL_OK;
}

static int dev_monitor(struct ctl *c,
		       bool (*event)(void *arg, const struct llm_event_info *),
		       void *arg)
{
	struct follow f = { event, arg, false };
	struct nl *n = c->priv;
	int group, ret;

	group = genl_ctrl_resolve_grp(n->sock, LLM_FAMILY_NAME,
				      LLM_MCGRP_EVENTS);
	if (group < 0)
		return ctl_say(c, -EIO, "netlink: %s", nl_geterror(group));
	ret = nl_socket_add_membership(n->sock, group);
	if (ret)
		return ctl_say(c, -EPERM,
			       "events are for who has CAP_SYS_ADMIN");
	nl_socket_disable_seq_check(n->sock);
	nl_socket_modify_cb(n->sock, NL_CB_VALID, NL_CB_CUSTOM, on_event, &f);
	do {
		ret = nl_recvmsgs_default(n->sock);
	} while (!f.stop && (ret >= 0 || ret == -NLE_NOMEM));
	return f.stop ? 0 : ctl_say(c, -EIO, "netlink: %s", nl_geterror(ret));
}

/* ---- open, close ------------------------------------------------------- */

static void dev_close(struct ctl *c)
{
	struct nl *n = c->priv;

	if (n)
		nl_socket_free(n->sock);
	free(n);
	c->priv = NULL;
}

static int dev_open(struct ctl *c)
{
	struct nl *n = calloc(1, sizeof(*n));
	const int on = 1;
	int ret;

	c->priv = n;
	if (!n)
		return ctl_say(c, -ENOMEM, "out of memory");
	n->c = c;
	n->sock = nl_socket_alloc();
	ret = n->sock ? genl_connect(n->sock) : -NLE_NOMEM;
	if (!ret) {
		setsockopt(nl_socket_get_fd(n->sock), SOL_NETLINK,
			   NETLINK_EXT_ACK, &on, sizeof(on));
		n->family = genl_ctrl_resolve(n->sock, LLM_FAMILY_NAME);
		ret = n->family < 0 ? n->family : 0;
	}
	if (!ret)
		return 0;
	ctl_say(c, -EOPNOTSUPP, "netlink family " LLM_FAMILY_NAME ": %s",
		nl_geterror(ret));
	dev_close(c);
	return -EOPNOTSUPP;
}

const struct ctl_carrier ctl_nl = {
	.name = "device",
	.open = dev_open,
	.close = dev_close,
	.tenants = dev_tenants,
	.tenant = dev_tenant,
	.set = dev_set,
	.reset = dev_reset,
	.sessions = dev_sessions,
	.kill = dev_kill,
	.service = dev_service,
	.monitor = dev_monitor,
};
