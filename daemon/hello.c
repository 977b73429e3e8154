/* SPDX-License-Identifier: MIT */
#include "daemon/hello.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

static_assert(HELLO_MAX >= sizeof(struct llm_hello), "room for a hello");
static_assert(HELLO_MIN == offsetof(struct llm_hello, setup), "the head");
static_assert(HELLO_MIN == offsetof(struct llm_hello_admin, session) &&
		      sizeof(struct llm_hello_admin) <=
			      sizeof(struct llm_hello),
	      "stands where a hello does");

static uint32_t hello_size(const struct hello_in *in)
{
	uint32_t size;

	memcpy(&size, in->buf, sizeof(size));
	return size;
}

uint32_t hello_need(const struct hello_in *in)
{
	uint32_t size;

	if (in->have < sizeof(size))
		return (uint32_t)sizeof(size) - in->have;
	size = hello_size(in);
	if (size < HELLO_MIN || size > HELLO_MAX)
		return 0; /* refused as it is */
	return size - in->have;
}

/*
 * The set-up inside: its size counts what it brought, from where it stands
 * to, at most, the hello's end.
 */
static int setup_trim(struct llm_hello *h, uint32_t hello_len, struct err *err)
{
	uint32_t room = hello_len > HELLO_MIN ? hello_len - HELLO_MIN : 0;
	uint32_t size = h->setup.size;

	if (size < 2 * sizeof(uint32_t) || size > room)
		return err_set(err, -EINVAL,
			       "setup.size is %u, not 8 to %u (what the hello "
			       "holds)",
			       size, room);
	if (size < sizeof(h->setup))
		memset((uint8_t *)&h->setup + size, 0, sizeof(h->setup) - size);
	return 0;
}

int hello_parse(const struct hello_in *in, struct llm_hello *ret,
		struct err *err)
{
	struct llm_hello h;
	uint32_t size = hello_size(in), known, i;
	int bad;

	assert(hello_need(in) == 0);
	memset(&h, 0, sizeof(h));
	if (size < HELLO_MIN)
		return err_set(err, -EBADMSG,
			       "hello.size is %u, at least %u: not an llm "
			       "client?",
			       size, HELLO_MIN);
	if (size > HELLO_MAX)
		return err_set(err, -EBADMSG,
			       "hello.size is %u, at most %u: not an llm "
			       "client?",
			       size, HELLO_MAX);
	memcpy(&h, in->buf, size < sizeof(h) ? size : sizeof(h));
	if (h.magic != LLM_HELLO_MAGIC)
		return err_set(
			err, -EBADMSG,
			"hello.magic is %#x, not %#x: not an llm client?",
			h.magic, LLM_HELLO_MAGIC);
	known = hello_is_admin(h.op) ? sizeof(struct llm_hello_admin)
				     : sizeof(h);
	for (i = known; i < size; i++)
		if (in->buf[i])
			return err_set(err, -E2BIG,
				       "hello has %u bytes with something "
				       "behind the %u known here",
				       size, known);
	if (h.resv)
		return err_set(err, -EINVAL, "hello.resv is %#x, must be 0",
			       h.resv);
	switch (h.op) {
	case LLM_HELLO_SESSION:
		bad = setup_trim(&h, size, err);
		if (bad)
			return bad;
		break;
	case LLM_HELLO_INFO:
	case LLM_HELLO_LIST:
	case LLM_HELLO_TENANTS:
	case LLM_HELLO_SET:
	case LLM_HELLO_RESET:
	case LLM_HELLO_KILL:
	case LLM_HELLO_MONITOR:
		break;
	default:
		return err_set(err, -EOPNOTSUPP,
			       "hello.op is %u, known are %u to %u", h.op,
			       LLM_HELLO_SESSION, LLM_HELLO_NR - 1);
	}
	*ret = h;
	return 0;
}

/* The settings of an llm_tenant_info, by the bit that names each. */
static const struct {
	uint32_t bit;
	uint16_t off, size;
	const char *name;
} settings[] = {
#define SETTING(b, f)                                                          \
	{                                                                      \
		LLM_TENANT_##b, offsetof(struct llm_tenant_info, f),           \
			sizeof(((struct llm_tenant_info *)0)->f), #f           \
	}
	SETTING(WEIGHT, weight),
	SETTING(CLASS, class_ceiling),
	SETTING(SESSIONS, max_sessions),
	SETTING(STREAMS, max_streams),
	SETTING(INFLIGHT, max_inflight),
	SETTING(SUBMIT_RATE, max_submit_rate),
	SETTING(TOKEN_RATE, max_token_rate),
	SETTING(MEMORY, max_memory),
#undef SETTING
};

static bool is_zero(const void *at, size_t size)
{
	const uint8_t *b = at;
	size_t i;

	for (i = 0; i < size; i++)
		if (b[i])
			return false;
	return true;
}

static int tenant_check(const struct llm_tenant_info *t, struct err *err)
{
	unsigned i;

	if (t->set & ~LLM_TENANT_ALL)
		return err_set(err, -EINVAL,
			       "tenant.set 0x%x has unknown bits, known 0x%x",
			       t->set, LLM_TENANT_ALL);
	for (i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		if (!(t->set & settings[i].bit) &&
		    !is_zero((const uint8_t *)t + settings[i].off,
			     settings[i].size))
			return err_set(err, -EINVAL,
				       "tenant.%s has a value, and no bit in "
				       "tenant.set",
				       settings[i].name);
	if (t->resv0 ||
	    !is_zero(&t->sessions,
		     sizeof(*t) - offsetof(struct llm_tenant_info, sessions)))
		return err_set(err, -EINVAL,
			       "tenant has something in fields that must be 0");
	return 0;
}

int hello_admin(const struct hello_in *in, struct llm_hello_admin *ret,
		struct err *err)
{
	const uint32_t at = offsetof(struct llm_hello_admin, tenant);
	uint32_t size = hello_size(in), room;
	struct llm_hello_admin a = { 0 };
	struct llm_tenant_info *t = &a.tenant;
	int bad;

	memcpy(&a, in->buf, size < sizeof(a) ? size : sizeof(a));
	assert(hello_is_admin(a.op));
	if (a.op == LLM_HELLO_KILL) {
		if (!is_zero(t, sizeof(*t)))
			return err_set(err, -EINVAL,
				       "tenant has something in it, to kill a "
				       "session takes none");
		*ret = a;
		return 0;
	}
	room = size > at ? size - at : 0;
	if (t->size < offsetof(struct llm_tenant_info, weight) ||
	    t->size > room)
		return err_set(err, -EINVAL,
			       "tenant.size is %u, not %zu to %u (what the "
			       "hello holds)",
			       t->size,
			       offsetof(struct llm_tenant_info, weight), room);
	if (t->size < sizeof(*t))
		memset((uint8_t *)t + t->size, 0, sizeof(*t) - t->size);
	if (a.session)
		return err_set(err, -EINVAL, "session is %llu, must be 0",
			       (unsigned long long)a.session);
	if (a.op == LLM_HELLO_SET ? !t->set : t->set)
		return err_set(err, -EINVAL, "tenant.set is 0x%x, %s", t->set,
			       t->set ? "must be 0 to reset"
				      : "there is nothing to change");
	bad = tenant_check(t, err);
	if (bad)
		return bad;
	*ret = a;
	return 0;
}

void hello_grant(struct llm_hello_reply *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->size = sizeof(*ret);
	ret->magic = LLM_HELLO_MAGIC;
}

void hello_refuse(struct llm_hello_reply *ret, const struct err *err)
{
	hello_grant(ret);
	ret->error = err->code;
	/* the last byte stays 0 */
	memcpy(ret->why, err->text, strnlen(err->text, sizeof(ret->why) - 1));
}

int hello_send(int conn, const struct llm_hello_reply *reply, const int *fd,
	       uint32_t nr)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * LLM_HELLO_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec io = { (void *)reply, sizeof(*reply) };
	struct msghdr msg = { .msg_iov = &io, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	assert(nr <= LLM_HELLO_FDS);
	if (nr) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nr);
		memcpy(CMSG_DATA(c), fd, sizeof(int) * nr);
	}
	n = sendmsg(conn, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(*reply) ? 0 : -EAGAIN;
}
