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
	uint32_t size = hello_size(in), i;
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
	for (i = sizeof(h); i < size; i++)
		if (in->buf[i])
			return err_set(err, -E2BIG,
				       "hello has %u bytes with something "
				       "behind the %zu known here",
				       size, sizeof(h));
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
		break;
	default:
		return err_set(err, -EOPNOTSUPP,
			       "hello.op is %u, known are %u to %u", h.op,
			       LLM_HELLO_SESSION, LLM_HELLO_LIST);
	}
	*ret = h;
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
