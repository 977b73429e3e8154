// SPDX-License-Identifier: GPL-2.0-only
/*
 * netlink.c - generic netlink family "llm"; include/uapi/linux/llm_netlink.h says
 * what for, doc/netlink/llm.yaml the same in YNL.
 *
 * Never on the way of a token.  Owns no object: everything is asked of quota.c,
 * session.c and ring.c, one at a time, with a reference held while it is written
 * down.  So a dump of thousands holds no lock over its pauses; it resumes behind the
 * last key (or table index) that fitted, and says NLM_F_DUMP_INTR where something
 * was set, opened or closed meanwhile.
 *
 * Who may: netlink_capable() asks the opener of the socket and the sender, both
 * against the initial user namespace: root of a container may not, and a setuid
 * program that is handed somebody's socket to write to may not either.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/user_namespace.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include <uapi/linux/llm.h>
#include <uapi/linux/llm_netlink.h>

#include "netlink.h"
#include "news.h"
#include "quota.h"
#include "ring.h"
#include "session.h"

static struct genl_family llm_family;

static const struct nla_policy llm_key_policy[LLM_A_TENANT_KEY + 1] = {
	[LLM_A_TENANT_KEY]	= { .type = NLA_U64 },
};

static const struct nla_policy llm_set_policy[LLM_A_TENANT_MAX_MEMORY + 1] = {
	[LLM_A_TENANT_KEY]		= { .type = NLA_U64 },
	[LLM_A_TENANT_SET]		= { .type = NLA_REJECT },
	[LLM_A_TENANT_WEIGHT]		= NLA_POLICY_RANGE(NLA_U32, LLM_WEIGHT_MIN, LLM_WEIGHT_MAX),
	[LLM_A_TENANT_CLASS_CEILING]	= NLA_POLICY_MAX(NLA_U32, LLM_CLASS_NR - 1),
	[LLM_A_TENANT_MAX_SESSIONS]	= { .type = NLA_U32 },
	[LLM_A_TENANT_MAX_STREAMS]	= { .type = NLA_U32 },
	[LLM_A_TENANT_MAX_INFLIGHT]	= { .type = NLA_U32 },
	[LLM_A_TENANT_MAX_SUBMIT_RATE]	= { .type = NLA_U32 },
	[LLM_A_TENANT_MAX_TOKEN_RATE]	= { .type = NLA_U32 },
	[LLM_A_TENANT_MAX_MEMORY]	= { .type = NLA_U64 },
};

static const struct nla_policy llm_kill_policy[LLM_A_SESSION_ID + 1] = {
	[LLM_A_SESSION_ID]	= { .type = NLA_U64 },
};

/* ---- who asks, and what he may */

static bool llm_nl_admin(const struct sk_buff *skb)
{
	return netlink_capable(skb, CAP_SYS_ADMIN);
}

/* May the caller see the tenant @key?  It is his, or he sees all. */
static bool llm_nl_may_see(const struct sk_buff *skb, u64 key)
{
	return llm_nl_admin(skb) || key == llm_tenant_key(current_cred());
}

static int llm_nl_may_change(const struct sk_buff *skb, struct netlink_ext_ack *extack)
{
	if (llm_nl_admin(skb))
		return 0;
	NL_SET_ERR_MSG(extack,
		       "needs CAP_SYS_ADMIN in the initial user namespace, of socket and sender");
	return -EPERM;
}

static struct user_namespace *llm_nl_ns(const struct sk_buff *skb)
{
	return sk_user_ns(NETLINK_CB(skb).sk);
}

static bool llm_nl_by_uid(void)
{
	return !strcmp(llm_tenant_policy(), "uid");
}

/* A tenant's key as the reader's user namespace knows it, and back. */
static u64 llm_nl_key_out(struct user_namespace *ns, u64 key)
{
	if (!llm_nl_by_uid())
		return key;
	return from_kuid_munged(ns, make_kuid(&init_user_ns, key));
}

static int llm_nl_key_in(struct sk_buff *skb, struct genl_info *info, u64 *ret_key)
{
	struct nlattr *attr = info->attrs[LLM_A_TENANT_KEY];
	kuid_t uid;

	if (!attr) {
		NL_SET_ERR_MSG(info->extack, "which tenant? its key is missing");
		return -EINVAL;
	}
	*ret_key = nla_get_u64(attr);
	if (!llm_nl_by_uid())
		return 0;
	uid = *ret_key < U32_MAX ? make_kuid(llm_nl_ns(skb), *ret_key) : INVALID_UID;
	if (!uid_valid(uid)) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr,
				    "tenants are users, and this is none of your user namespace");
		return -EINVAL;
	}
	*ret_key = from_kuid(&init_user_ns, uid);
	return 0;
}

/* ---- answers */

/* An answer that is being written: @err sticks. */
struct llm_nl_msg {
	struct sk_buff *skb;
	void *hdr;
	int pad;
	int err;
};

static void llm_put32(struct llm_nl_msg *m, int attr, u32 value)
{
	m->err = m->err ?: nla_put_u32(m->skb, attr, value);
}

static void llm_put64(struct llm_nl_msg *m, int attr, u64 value)
{
	m->err = m->err ?: nla_put_u64_64bit(m->skb, attr, value, m->pad);
}

static int llm_nl_begin(struct llm_nl_msg *m, struct genl_info *info, u8 cmd, int pad)
{
	*m = (struct llm_nl_msg){ .pad = pad };
	m->skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!m->skb)
		return -ENOMEM;
	m->hdr = genlmsg_put_reply(m->skb, info, &llm_family, 0, cmd);
	if (!m->hdr)
		m->err = -EMSGSIZE;
	return 0;
}

static int llm_nl_send(struct llm_nl_msg *m, struct genl_info *info)
{
	if (m->err) {
		nlmsg_free(m->skb);
		return m->err;
	}
	genlmsg_end(m->skb, m->hdr);
	return genlmsg_reply(m->skb, info);
}

/* One struct of a dump: 0, or -EMSGSIZE with nothing of it left in the message. */
static int llm_nl_part(struct llm_nl_msg *m, struct sk_buff *skb, struct netlink_callback *cb,
		       u8 cmd, int pad)
{
	*m = (struct llm_nl_msg){ .skb = skb, .pad = pad };
	m->hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &llm_family,
			     NLM_F_MULTI, cmd);
	if (!m->hdr)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, m->hdr);
	return 0;
}

static int llm_nl_part_end(struct llm_nl_msg *m)
{
	if (m->err)
		genlmsg_cancel(m->skb, m->hdr);
	else
		genlmsg_end(m->skb, m->hdr);
	return m->err;
}

/* ---- the daemon, statistics */

static int llm_nl_daemon_get(struct sk_buff *skb, struct genl_info *info)
{
	struct llm_daemon_info d;
	struct llm_nl_msg m;
	int err = llm_nl_begin(&m, info, LLM_CMD_DAEMON_GET, 0);

	if (err)
		return err;
	llm_ring_describe(&d);
	llm_put32(&m, LLM_A_DAEMON_STATE, d.state);
	llm_put32(&m, LLM_A_DAEMON_EPOCH, d.epoch);
	/* numbers of processes are the initial namespace's: not for everybody */
	if (llm_nl_admin(skb))
		llm_put32(&m, LLM_A_DAEMON_PID, d.pid);
	llm_put32(&m, LLM_A_DAEMON_ABI, LLM_ABI_VERSION);
	llm_put32(&m, LLM_A_DAEMON_FEATURES, llm_session_features());
	llm_put32(&m, LLM_A_DAEMON_RING_ENTRIES, d.ring_entries);
	m.err = m.err ?: nla_put_string(m.skb, LLM_A_DAEMON_TENANTS_BY, llm_tenant_policy());
	return llm_nl_send(&m, info);
}

static int llm_nl_stat_get(struct sk_buff *skb, struct genl_info *info)
{
	struct llm_daemon_info d;
	struct llm_nl_msg m;
	int err = llm_nl_begin(&m, info, LLM_CMD_STAT_GET, LLM_A_STAT_PAD);

	if (err)
		return err;
	llm_ring_describe(&d);
	llm_put32(&m, LLM_A_STAT_SESSIONS, llm_session_count());
	llm_put32(&m, LLM_A_STAT_RING_USED, d.ring_used);
	llm_put64(&m, LLM_A_STAT_PUSHED, d.pushed);
	llm_put64(&m, LLM_A_STAT_REDELIVERED, d.redelivered);
	return llm_nl_send(&m, info);
}

/* ---- tenants */

/* The limits that are a u32; max_memory is the one that is not. */
static const struct llm_nl_limit {
	int attr;
	size_t off;		/* in struct llm_limits */
	u32 bit;		/* LLM_LIMIT_*; the contract's LLM_TENANT_* are the same */
} llm_nl_limits[] = {
#define LLM_AT(f) offsetof(struct llm_limits, f)
	{ LLM_A_TENANT_WEIGHT, LLM_AT(weight), LLM_LIMIT_WEIGHT },
	{ LLM_A_TENANT_CLASS_CEILING, LLM_AT(class_ceiling), LLM_LIMIT_CLASS },
	{ LLM_A_TENANT_MAX_SESSIONS, LLM_AT(max_sessions), LLM_LIMIT_SESSIONS },
	{ LLM_A_TENANT_MAX_STREAMS, LLM_AT(max_streams), LLM_LIMIT_STREAMS },
	{ LLM_A_TENANT_MAX_INFLIGHT, LLM_AT(max_inflight), LLM_LIMIT_INFLIGHT },
	{ LLM_A_TENANT_MAX_SUBMIT_RATE, LLM_AT(max_submit_rate), LLM_LIMIT_SUBMIT_RATE },
	{ LLM_A_TENANT_MAX_TOKEN_RATE, LLM_AT(max_token_rate), LLM_LIMIT_TOKEN_RATE },
#undef LLM_AT
};

static_assert(LLM_LIMIT_WEIGHT == LLM_TENANT_WEIGHT && LLM_LIMIT_SESSIONS == LLM_TENANT_SESSIONS &&
	      LLM_LIMIT_STREAMS == LLM_TENANT_STREAMS &&
	      LLM_LIMIT_INFLIGHT == LLM_TENANT_INFLIGHT && LLM_LIMIT_MEMORY == LLM_TENANT_MEMORY &&
	      LLM_LIMIT_SUBMIT_RATE == LLM_TENANT_SUBMIT_RATE &&
	      LLM_LIMIT_TOKEN_RATE == LLM_TENANT_TOKEN_RATE && LLM_LIMIT_CLASS == LLM_TENANT_CLASS);

static u32 *llm_nl_at(struct llm_limits *l, const struct llm_nl_limit *limit)
{
	return (void *)l + limit->off;
}

static void llm_nl_put_limits(struct llm_nl_msg *m, struct llm_limits *l)
{
	struct llm_limits d = llm_limits_default;
	u32 i, set = l->max_memory != d.max_memory ? LLM_LIMIT_MEMORY : 0;

	for (i = 0; i < ARRAY_SIZE(llm_nl_limits); i++) {
		u32 value = *llm_nl_at(l, &llm_nl_limits[i]);

		if (value != *llm_nl_at(&d, &llm_nl_limits[i]))
			set |= llm_nl_limits[i].bit;
		llm_put32(m, llm_nl_limits[i].attr, value);
	}
	llm_put64(m, LLM_A_TENANT_MAX_MEMORY, l->max_memory);
	llm_put32(m, LLM_A_TENANT_SET, set);
}

/* What is asked to be changed, into @l; values were checked by the policy. */
static u32 llm_nl_take_limits(struct genl_info *info, struct llm_limits *l)
{
	struct nlattr *attr = info->attrs[LLM_A_TENANT_MAX_MEMORY];
	u32 i, which = 0;

	if (attr) {
		l->max_memory = nla_get_u64(attr);
		which |= LLM_LIMIT_MEMORY;
	}
	for (i = 0; i < ARRAY_SIZE(llm_nl_limits); i++) {
		attr = info->attrs[llm_nl_limits[i].attr];
		if (!attr)
			continue;
		*llm_nl_at(l, &llm_nl_limits[i]) = nla_get_u32(attr);
		which |= llm_nl_limits[i].bit;
	}
	return which;
}

static void llm_nl_put_tenant(struct llm_nl_msg *m, struct user_namespace *ns,
			      struct llm_tenant *t)
{
	struct llm_limits l;
	struct llm_usage u;

	llm_tenant_look(t, &l, &u);
	llm_put64(m, LLM_A_TENANT_KEY, llm_nl_key_out(ns, t->key));
	llm_nl_put_limits(m, &l);
	llm_put32(m, LLM_A_TENANT_SESSIONS, u.sessions);
	llm_put32(m, LLM_A_TENANT_STREAMS, u.streams);
	llm_put32(m, LLM_A_TENANT_INFLIGHT, u.inflight);
	llm_put64(m, LLM_A_TENANT_MEMORY, u.memory);
	llm_put64(m, LLM_A_TENANT_SUBMITTED, u.submitted);
	llm_put64(m, LLM_A_TENANT_REFUSED, u.refused);
}

static int llm_nl_tenant_get(struct sk_buff *skb, struct genl_info *info)
{
	struct llm_tenant *t;
	struct llm_nl_msg m;
	u64 key;
	int err = llm_nl_key_in(skb, info, &key);

	if (err)
		return err;
	if (!llm_nl_may_see(skb, key)) {
		NL_SET_ERR_MSG(info->extack, "this tenant is not yours");
		return -EPERM;
	}
	t = llm_tenant_find(key);
	if (!t) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[LLM_A_TENANT_KEY],
				    "this tenant has neither sessions nor limits of its own");
		return -ENOENT;
	}
	err = llm_nl_begin(&m, info, LLM_CMD_TENANT_GET, LLM_A_TENANT_PAD);
	if (!err)
		llm_nl_put_tenant(&m, llm_nl_ns(skb), t);
	llm_tenant_put(t);
	return err ?: llm_nl_send(&m, info);
}

/* Where a dump goes on, in netlink_callback.ctx. */
struct llm_nl_walk {
	u64 next;		/* tenants: the smallest key not yet looked at */
	u32 index;		/* sessions: the same of their table */
	bool done;
};

static struct llm_nl_walk *llm_nl_walk(struct netlink_callback *cb)
{
	BUILD_BUG_ON(sizeof(struct llm_nl_walk) > sizeof(cb->ctx));
	return (struct llm_nl_walk *)cb->ctx;
}

static int llm_nl_tenant_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct llm_nl_walk *w = llm_nl_walk(cb);
	struct llm_nl_msg m;
	struct llm_tenant *t;
	int err = 0;

	cb->seq = llm_news_tenants();
	while (!w->done && (t = llm_tenant_next(w->next))) {
		u64 key = t->key;

		if (llm_nl_may_see(cb->skb, key)) {
			err = llm_nl_part(&m, skb, cb, LLM_CMD_TENANT_GET, LLM_A_TENANT_PAD);
			if (!err) {
				llm_nl_put_tenant(&m, llm_nl_ns(cb->skb), t);
				err = llm_nl_part_end(&m);
			}
		}
		llm_tenant_put(t);
		if (err)
			break;		/* the same one again in the next message */
		w->next = key + 1;
		w->done = key == U64_MAX;
	}
	return skb->len ?: err;
}

static int llm_nl_tenant_set(struct sk_buff *skb, struct genl_info *info)
{
	struct llm_limits l = llm_limits_default;
	u32 which;
	u64 key;
	int err;

	err = llm_nl_may_change(skb, info->extack) ?: llm_nl_key_in(skb, info, &key);
	if (err)
		return err;
	which = llm_nl_take_limits(info, &l);
	if (!which) {
		NL_SET_ERR_MSG(info->extack, "there is nothing to change");
		return -EINVAL;
	}
	return llm_tenant_set(key, which, &l);
}

static int llm_nl_tenant_reset(struct sk_buff *skb, struct genl_info *info)
{
	u64 key;
	int err;

	err = llm_nl_may_change(skb, info->extack) ?: llm_nl_key_in(skb, info, &key);
	if (err)
		return err;
	err = llm_tenant_reset(key);
	if (err == -ENOENT)
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[LLM_A_TENANT_KEY],
				    "this tenant has no limits of its own");
	return err;
}

/* ---- sessions */

static void llm_nl_put_session(struct llm_nl_msg *m, struct user_namespace *ns,
			       struct llm_session *s)
{
	struct llm_session_info i;

	llm_session_describe(s, &i);
	llm_put64(m, LLM_A_SESSION_ID, i.session);
	llm_put64(m, LLM_A_SESSION_TENANT, llm_nl_key_out(ns, i.tenant));
	llm_put32(m, LLM_A_SESSION_UID, from_kuid_munged(ns, s->uid));
	llm_put32(m, LLM_A_SESSION_PID, pid_nr_ns(s->pid, task_active_pid_ns(current)));
	llm_put32(m, LLM_A_SESSION_STREAMS, i.streams);
	llm_put32(m, LLM_A_SESSION_QUEUED, i.queued);
	llm_put32(m, LLM_A_SESSION_RUNNING, i.running);
	llm_put32(m, LLM_A_SESSION_ENDED, i.ended);
	llm_put64(m, LLM_A_SESSION_TOKENS, i.tokens);
	llm_put64(m, LLM_A_SESSION_AGE_NS, i.age_ns);
}

static int llm_nl_session_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct llm_nl_walk *w = llm_nl_walk(cb);
	struct llm_session *s;
	struct llm_nl_msg m;
	u32 index = w->index;
	int err = 0;

	cb->seq = llm_news_sessions();
	while ((s = llm_session_next(&index))) {
		if (llm_nl_may_see(cb->skb, s->tenant->key)) {
			err = llm_nl_part(&m, skb, cb, LLM_CMD_SESSION_GET, LLM_A_SESSION_PAD);
			if (!err) {
				llm_nl_put_session(&m, llm_nl_ns(cb->skb), s);
				err = llm_nl_part_end(&m);
			}
		}
		llm_session_put(s);
		if (err)
			break;
		w->index = index;
	}
	return skb->len ?: err;
}

static int llm_nl_session_kill(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[LLM_A_SESSION_ID];
	int err = llm_nl_may_change(skb, info->extack);

	if (err)
		return err;
	if (!attr) {
		NL_SET_ERR_MSG(info->extack, "which session? its id is missing");
		return -EINVAL;
	}
	err = llm_ring_kill(nla_get_u64(attr));
	if (err == -ENOENT)
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "there is no such session");
	else if (err == -EALREADY)
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "this session was ended before");
	return err;
}

/* ---- the family */

static const struct genl_ops llm_ops[] = {
	{ .cmd = LLM_CMD_DAEMON_GET, .doit = llm_nl_daemon_get },
	{ .cmd = LLM_CMD_STAT_GET, .doit = llm_nl_stat_get },
	{
		.cmd = LLM_CMD_TENANT_GET,
		.policy = llm_key_policy,
		.maxattr = ARRAY_SIZE(llm_key_policy) - 1,
		.doit = llm_nl_tenant_get,
		.dumpit = llm_nl_tenant_dump,
	},
	{
		.cmd = LLM_CMD_TENANT_SET,
		.policy = llm_set_policy,
		.maxattr = ARRAY_SIZE(llm_set_policy) - 1,
		.doit = llm_nl_tenant_set,
	},
	{
		.cmd = LLM_CMD_TENANT_RESET,
		.policy = llm_key_policy,
		.maxattr = ARRAY_SIZE(llm_key_policy) - 1,
		.doit = llm_nl_tenant_reset,
	},
	{ .cmd = LLM_CMD_SESSION_GET, .dumpit = llm_nl_session_dump },
	{
		.cmd = LLM_CMD_SESSION_KILL,
		.policy = llm_kill_policy,
		.maxattr = ARRAY_SIZE(llm_kill_policy) - 1,
		.doit = llm_nl_session_kill,
	},
};

static const struct genl_multicast_group llm_groups[] = {
	{
		.name = LLM_MCGRP_EVENTS,
#ifdef GENL_MCAST_CAP_SYS_ADMIN		/* 6.7; before, events are everybody's to hear */
		.flags = GENL_MCAST_CAP_SYS_ADMIN,
#endif
	},
};

static struct genl_family llm_family __ro_after_init = {
	.name		= LLM_FAMILY_NAME,
	.version	= LLM_FAMILY_VERSION,
	.module		= THIS_MODULE,
	.ops		= llm_ops,
	.n_ops		= ARRAY_SIZE(llm_ops),
	.mcgrps		= llm_groups,
	.n_mcgrps	= ARRAY_SIZE(llm_groups),
	.resv_start_op	= LLM_CMD_DAEMON_GET,	/* strict from the first command on */
	.netnsok	= false,		/* the machine has one such service */
};

int llm_netlink_init(void)
{
	int err = genl_register_family(&llm_family);

	if (err)
		return err;
	err = llm_news_begin(&llm_family);
	if (err)
		genl_unregister_family(&llm_family);
	return err;
}

void llm_netlink_exit(void)
{
	llm_news_end();
	genl_unregister_family(&llm_family);
}
