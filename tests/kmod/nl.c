// SPDX-License-Identifier: MIT
/* nl.c - see nl.h. */
#include "nl.h"
#include "kt.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <linux/llm_netlink.h>

#define AFTER(p, n) ((void *)((char *)(p) + (n)))

static struct nlmsghdr *head(struct nl *n)
{
	return (struct nlmsghdr *)n->out;
}

static void begin(struct nl *n, uint16_t type, int cmd, int flags)
{
	struct genlmsghdr *g = AFTER(n->out, NLMSG_HDRLEN);

	memset(n->out, 0, sizeof(n->out));
	*head(n) = (struct nlmsghdr){
		.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN,
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
		.nlmsg_seq = ++n->seq,
	};
	*g = (struct genlmsghdr){ .cmd = (uint8_t)cmd,
				  .version = LLM_FAMILY_VERSION };
}

void nl_begin(struct nl *n, int cmd, int flags)
{
	begin(n, n->family, cmd, flags);
}

void nl_put(struct nl *n, int attr, const void *data, uint16_t size)
{
	struct nlmsghdr *h = head(n);
	struct nlattr *a = AFTER(h, NLMSG_ALIGN(h->nlmsg_len));

	a->nla_type = (uint16_t)attr;
	a->nla_len = (uint16_t)(NLA_HDRLEN + size);
	memcpy(AFTER(a, NLA_HDRLEN), data, size);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + NLA_ALIGN(a->nla_len);
}

void nl_put32(struct nl *n, int attr, uint32_t value)
{
	nl_put(n, attr, &value, sizeof(value));
}

void nl_put64(struct nl *n, int attr, uint64_t value)
{
	nl_put(n, attr, &value, sizeof(value));
}

static const struct nlattr *find(const struct nlattr *a, int left, int attr)
{
	while (left >= (int)NLA_HDRLEN && a->nla_len >= NLA_HDRLEN &&
	       a->nla_len <= left) {
		if ((a->nla_type & NLA_TYPE_MASK) == attr)
			return a;
		left -= (int)NLA_ALIGN(a->nla_len);
		a = AFTER(a, NLA_ALIGN(a->nla_len));
	}
	return NULL;
}

const struct nlattr *nl_attr(const struct nlmsghdr *h, int attr)
{
	return find(AFTER(h, NLMSG_HDRLEN + GENL_HDRLEN),
		    (int)(h->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN), attr);
}

uint32_t nl_u32(const struct nlmsghdr *h, int attr)
{
	const struct nlattr *a = nl_attr(h, attr);
	uint32_t v = 0;

	if (a)
		memcpy(&v, AFTER(a, NLA_HDRLEN), sizeof(v));
	return v;
}

uint64_t nl_u64(const struct nlmsghdr *h, int attr)
{
	const struct nlattr *a = nl_attr(h, attr);
	uint64_t v = 0;

	if (a)
		memcpy(&v, AFTER(a, NLA_HDRLEN), sizeof(v));
	return v;
}

/* An error or an end: 0, or the errno. */
static int verdict(struct nl *n, const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = AFTER(h, NLMSG_HDRLEN);
	size_t at = NLMSG_HDRLEN + sizeof(*e);
	const struct nlattr *a;

	if (h->nlmsg_type == NLMSG_DONE)
		return h->nlmsg_len >= NLMSG_HDRLEN + 4 ? -*(int *)e : 0;
	n->why[0] = 0;
	if (h->nlmsg_flags & NLM_F_ACK_TLVS) {
		if (!(h->nlmsg_flags & NLM_F_CAPPED))
			at += e->msg.nlmsg_len - NLMSG_HDRLEN;
		a = find(AFTER(h, at), (int)(h->nlmsg_len - at),
			 NLMSGERR_ATTR_MSG);
		if (a)
			snprintf(n->why, sizeof(n->why), "%s",
				 (char *)AFTER(a, NLA_HDRLEN));
	}
	return -e->error;
}

int nl_talk(struct nl *n, void (*each)(void *arg, const struct nlmsghdr *h),
	    void *arg, bool *ret_intr)
{
	struct nlmsghdr *h = head(n);
	ssize_t left;

	n->why[0] = 0;
	if (send(n->fd, n->out, h->nlmsg_len, 0) < 0)
		return -1;
	for (;;) {
		left = recv(n->fd, n->in, sizeof(n->in), 0);
		if (left < 0)
			return -1;
		for (h = (struct nlmsghdr *)n->in; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != n->seq) /* an event between */
				continue;
			if (ret_intr && h->nlmsg_flags & NLM_F_DUMP_INTR)
				*ret_intr = true;
			if (h->nlmsg_type == NLMSG_DONE ||
			    h->nlmsg_type == NLMSG_ERROR) {
				errno = verdict(n, h);
				return errno ? -1 : 0;
			}
			if (each)
				each(arg, h);
		}
	}
}

static void on_family(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *groups = nl_attr(h, CTRL_ATTR_MCAST_GROUPS), *id;
	struct nl *n = arg;
	uint32_t v;

	memcpy(&n->family, AFTER(nl_attr(h, CTRL_ATTR_FAMILY_ID), NLA_HDRLEN),
	       sizeof(n->family));
	if (!groups) /* the first of them is the only one */
		return;
	groups = AFTER(groups, NLA_HDRLEN);
	id = find(AFTER(groups, NLA_HDRLEN), groups->nla_len - NLA_HDRLEN,
		  CTRL_ATTR_MCAST_GRP_ID);
	memcpy(&v, AFTER(id, NLA_HDRLEN), sizeof(v));
	n->group = v;
}

int nl_open(struct nl *n)
{
	const struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	const int on = 1;

	memset(n, 0, sizeof(*n));
	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (n->fd < 0)
		return -1;
	if (bind(n->fd, (const struct sockaddr *)&a, sizeof(a)) ||
	    setsockopt(n->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)))
		goto fail;
	begin(n, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	nl_put(n, CTRL_ATTR_FAMILY_NAME, LLM_FAMILY_NAME,
	       sizeof(LLM_FAMILY_NAME));
	if (nl_talk(n, on_family, n, NULL))
		goto fail;
	return 0;
fail:
	close(n->fd);
	n->fd = -1;
	return -1;
}

void nl_close(struct nl *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

int nl_set32(struct nl *n, uint64_t tenant, int attr, uint32_t value)
{
	nl_begin(n, LLM_CMD_TENANT_SET, NLM_F_ACK);
	nl_put64(n, LLM_A_TENANT_KEY, tenant);
	nl_put32(n, attr, value);
	return nl_talk(n, NULL, NULL, NULL);
}

int nl_on_tenant(struct nl *n, int cmd, uint64_t tenant,
		 void (*each)(void *arg, const struct nlmsghdr *h), void *arg)
{
	nl_begin(n, cmd, NLM_F_ACK);
	nl_put64(n, LLM_A_TENANT_KEY, tenant);
	return nl_talk(n, each, arg, NULL);
}

int nl_reset(struct nl *n, uint64_t tenant)
{
	return nl_on_tenant(n, LLM_CMD_TENANT_RESET, tenant, NULL, NULL);
}

void nl_take_tenant(void *arg, const struct nlmsghdr *h)
{
	*(struct nl_tenant *)arg = (struct nl_tenant){
		.key = nl_u64(h, LLM_A_TENANT_KEY),
		.max_memory = nl_u64(h, LLM_A_TENANT_MAX_MEMORY),
		.memory = nl_u64(h, LLM_A_TENANT_MEMORY),
		.set = nl_u32(h, LLM_A_TENANT_SET),
		.weight = nl_u32(h, LLM_A_TENANT_WEIGHT),
		.class_ceiling = nl_u32(h, LLM_A_TENANT_CLASS_CEILING),
		.max_sessions = nl_u32(h, LLM_A_TENANT_MAX_SESSIONS),
		.max_inflight = nl_u32(h, LLM_A_TENANT_MAX_INFLIGHT),
		.sessions = nl_u32(h, LLM_A_TENANT_SESSIONS),
		.streams = nl_u32(h, LLM_A_TENANT_STREAMS),
		.inflight = nl_u32(h, LLM_A_TENANT_INFLIGHT),
		.submitted = nl_u64(h, LLM_A_TENANT_SUBMITTED),
		.refused = nl_u64(h, LLM_A_TENANT_REFUSED),
	};
}

struct nl_tenant nl_look(struct nl *n, uint64_t tenant)
{
	struct nl_tenant t = { 0 };

	CHECK(nl_on_tenant(n, LLM_CMD_TENANT_GET, tenant, nl_take_tenant, &t) ==
	      0);
	return t;
}

int nl_join(struct nl *n)
{
	return setsockopt(n->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &n->group,
			  sizeof(n->group));
}

const struct nlmsghdr *nl_event(struct nl *n, int ms)
{
	struct pollfd p = { n->fd, POLLIN, 0 };
	const struct nlmsghdr *h = (const struct nlmsghdr *)n->in;

	if (poll(&p, 1, ms) != 1 || recv(n->fd, n->in, sizeof(n->in), 0) <= 0)
		return NULL;
	return h;
}
