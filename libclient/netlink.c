/* SPDX-License-Identifier: MIT */
/*
 * netlink.c - the module's sessions: a dump of its netlink family, by hand,
 * for this library needs no other.  What llmctl(8) does with the family is its
 * own; here nothing is changed, so nobody needs a privilege.
 */
#include "libclient/internal.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/llm_netlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DUMP_TRIES 10

/* What we ask: at most the name of a family. */
struct question {
	struct nlmsghdr h;
	struct genlmsghdr g;
	char attr[32];
};

/* Answers, an array of sessions among them; -errno where one was bad. */
struct answer {
	uint16_t family;
	bool torn; /* something changed meanwhile */
	int error;
	struct llm_session_info *list; /* owned */
	uint32_t nr, cap;
};

static struct question question(uint16_t family, uint8_t cmd, uint16_t flags)
{
	return (struct question){
		.h = { .nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN,
		       .nlmsg_type = family,
		       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
		.g = { .cmd = cmd, .version = LLM_FAMILY_VERSION },
	};
}

/* The bytes of attribute @type, at least @size; else zeroes. */
static void attr(const struct nlmsghdr *h, int type, void *ret, size_t size)
{
	const char *at = (const char *)h + NLMSG_HDRLEN + GENL_HDRLEN;
	const char *end = (const char *)h + h->nlmsg_len;
	struct nlattr a;

	memset(ret, 0, size);
	while (end - at >= NLA_HDRLEN) {
		memcpy(&a, at, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > end - at)
			return;
		if ((a.nla_type & NLA_TYPE_MASK) == type &&
		    a.nla_len >= NLA_HDRLEN + size) {
			memcpy(ret, at + NLA_HDRLEN, size);
			return;
		}
		if (NLA_ALIGN(a.nla_len) > end - at)
			return;
		at += NLA_ALIGN(a.nla_len);
	}
}

static uint32_t u32(const struct nlmsghdr *h, int type)
{
	uint32_t v;

	attr(h, type, &v, sizeof(v));
	return v;
}

static uint64_t u64(const struct nlmsghdr *h, int type)
{
	uint64_t v;

	attr(h, type, &v, sizeof(v));
	return v;
}

static void take_session(struct answer *a, const struct nlmsghdr *h)
{
	if (a->nr == a->cap) {
		uint32_t cap = a->cap ? 2 * a->cap : 64;
		void *more = realloc(a->list, cap * sizeof(*a->list));

		if (!more) {
			a->error = -ENOMEM;
			return;
		}
		a->list = more;
		a->cap = cap;
	}
	a->list[a->nr++] = (struct llm_session_info){
		.session = u64(h, LLM_A_SESSION_ID),
		.tenant = u64(h, LLM_A_SESSION_TENANT),
		.age_ns = u64(h, LLM_A_SESSION_AGE_NS),
		.tokens = u64(h, LLM_A_SESSION_TOKENS),
		.uid = u32(h, LLM_A_SESSION_UID),
		.pid = u32(h, LLM_A_SESSION_PID),
		.streams = u32(h, LLM_A_SESSION_STREAMS),
		.queued = u32(h, LLM_A_SESSION_QUEUED),
		.running = u32(h, LLM_A_SESSION_RUNNING),
		.ended = u32(h, LLM_A_SESSION_ENDED),
	};
}

/* One message of an answer.  True: it was the last. */
static bool take(struct answer *a, const struct nlmsghdr *h)
{
	int32_t error = 0;

	if (h->nlmsg_flags & NLM_F_DUMP_INTR)
		a->torn = true;
	if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
		if (h->nlmsg_len >= NLMSG_HDRLEN + sizeof(error))
			memcpy(&error, (const char *)h + NLMSG_HDRLEN,
			       sizeof(error));
		a->error = error < 0 ? error : a->error;
		return true;
	}
	if (h->nlmsg_len < NLMSG_HDRLEN + GENL_HDRLEN)
		return false;
	if (h->nlmsg_type == GENL_ID_CTRL)
		attr(h, CTRL_ATTR_FAMILY_ID, &a->family, sizeof(a->family));
	else if (h->nlmsg_type == a->family)
		take_session(a, h);
	return false;
}

/* Ask, and take all that comes.  0 or -errno. */
static int talk(int fd, const struct question *q, struct answer *a)
{
	_Alignas(8) char buf[16384];
	struct sockaddr_nl from;
	socklen_t len;
	ssize_t n;

	a->error = 0;
	if (send(fd, q, q->h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)buf;

		len = sizeof(from);
		n = recvfrom(fd, buf, sizeof(buf), MSG_TRUNC,
			     (struct sockaddr *)&from, &len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n > (ssize_t)sizeof(buf))
			return -EPROTO;
		if (from.nl_pid) /* not the kernel's */
			continue;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			if (take(a, h))
				return a->error;
	}
}

static int find_family(int fd, struct answer *a)
{
	static const char name[] = LLM_FAMILY_NAME;
	struct question q =
		question(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	const struct nlattr at = { .nla_type = CTRL_ATTR_FAMILY_NAME,
				   .nla_len = NLA_HDRLEN + sizeof(name) };

	q.g.version = 1;
	memcpy(q.attr, &at, sizeof(at));
	memcpy(q.attr + NLA_HDRLEN, name, sizeof(name));
	q.h.nlmsg_len += NLA_ALIGN(at.nla_len);
	return talk(fd, &q, a);
}

static int dump(int fd, struct answer *a)
{
	struct question q =
		question(a->family, LLM_CMD_SESSION_GET, NLM_F_DUMP);
	int i, ret;

	for (i = 0; i < DUMP_TRIES; i++) {
		a->nr = 0;
		a->torn = false;
		ret = talk(fd, &q, a);
		if (ret || !a->torn)
			return ret;
	}
	return 0; /* it changes faster than it can be listed: as it was seen */
}

int llmc_dev_list(struct llm_session_info **ret_list, uint32_t *ret_nr)
{
	const struct timeval patience = { .tv_sec = 30 };
	struct answer a = { 0 };
	int fd, ret;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		return llmc_fail(-errno, "netlink: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ret = find_family(fd, &a);
	if (ret == -ENOENT || (!ret && !a.family))
		ret = llmc_fail(-EOPNOTSUPP,
				"no netlink family " LLM_FAMILY_NAME
				" here: no kernel module, or another network "
				"namespace than the host's");
	else if (ret || (ret = dump(fd, &a)))
		llmc_fail(ret, "netlink: %s", strerror(-ret));
	close(fd);
	if (ret) {
		free(a.list);
		return ret;
	}
	*ret_list = a.list; /* NULL where there is none */
	*ret_nr = a.nr;
	return 0;
}
