/* SPDX-License-Identifier: MIT */
/*
 * hello.h - the first bytes of a connection: hostile, and read piece by piece.
 *
 * Pure but for hello_send().  A hello is a size-prefixed struct inside which
 * a second one stands (the set-up), each by the rules of llm.h: longer is
 * accepted where its unknown tail is zero, shorter is filled with zeroes.
 */
#ifndef DAEMON_HELLO_H
#define DAEMON_HELLO_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/llm.h>

struct err;

#define HELLO_MIN 16u	/* size, magic, op, resv */
#define HELLO_MAX 1024u /* no future one is longer */

/* What has come so far. */
struct hello_in {
	uint32_t have; /* bytes in buf */
	uint8_t buf[HELLO_MAX];
};

/*
 * How many bytes to read next into buf + have; 0: judge what is there.  Never
 * asks for a byte past the hello, so what a client sent behind it (a bell)
 * stays in the socket.
 */
uint32_t hello_need(const struct hello_in *in);

/*
 * Judge a hello for which hello_need() is 0.  *ret is complete and its
 * reserved fields zero; ret->setup is still full of wishes.  0, or with a
 * line -EBADMSG (not a hello), -E2BIG, -EINVAL (reserved), -EOPNOTSUPP (op).
 */
int hello_parse(const struct hello_in *in, struct llm_hello *ret,
		struct err *err);

/* Is @op one whose hello is an llm_hello_admin with something in it? */
static inline bool hello_is_admin(uint32_t op)
{
	return op == LLM_HELLO_SET || op == LLM_HELLO_RESET ||
	       op == LLM_HELLO_KILL;
}
/*
 * The administrator's part of a hello that hello_parse() took and
 * hello_is_admin() is true of: complete, all that its op does not use zero.
 * What the settings mean is judged elsewhere (ledger.h).  0, or with a line
 * -EINVAL.
 */
int hello_admin(const struct hello_in *in, struct llm_hello_admin *ret,
		struct err *err);

/* A reply that refuses: code and line of @err. */
void hello_refuse(struct llm_hello_reply *ret, const struct err *err);
/* A reply that grants; counts and set-up are the caller's to fill. */
void hello_grant(struct llm_hello_reply *ret);

/*
 * Send @reply with @nr descriptors in one go, never blocking.  0, or a
 * negative errno: the peer is gone, or its buffer is too full for a reply.
 */
int hello_send(int conn, const struct llm_hello_reply *reply, const int *fd,
	       uint32_t nr);

#endif
