/* SPDX-License-Identifier: MIT */
/*
 * nl.h - generic netlink by hand, so that a test can say what no library would.
 * A message is built in a struct nl, sent, and answered by struct llm_nl_reply
 * or walked over.
 */
#ifndef NL_H
#define NL_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/netlink.h>
#include <linux/genetlink.h>

#define NL_BUF 8192

struct nl {
	int fd;
	uint16_t family;
	uint32_t group; /* "events" */
	uint32_t seq;
	char why[128]; /* the last extended ack */
	_Alignas(8) char out[1024];
	_Alignas(8) char in[NL_BUF];
};

/* A socket, the family's number.  0 or -1 with errno. */
int nl_open(struct nl *n);
void nl_close(struct nl *n);

/* Begin a message; add attributes to it. */
void nl_begin(struct nl *n, int cmd, int flags);
void nl_put(struct nl *n, int attr, const void *data, uint16_t size);
void nl_put32(struct nl *n, int attr, uint32_t value);
void nl_put64(struct nl *n, int attr, uint64_t value);

/*
 * Send it, and take what comes: each message of the family is handed to @each
 * (may be NULL) until the end.  0 or -1 with errno; why is the kernel's line.
 * *ret_intr (may be NULL): a dump was interrupted by a change.
 */
int nl_talk(struct nl *n, void (*each)(void *arg, const struct nlmsghdr *h),
	    void *arg, bool *ret_intr);

/* The attribute of a message of the family, or NULL; its value, or 0. */
const struct nlattr *nl_attr(const struct nlmsghdr *h, int attr);
uint32_t nl_u32(const struct nlmsghdr *h, int attr);
uint64_t nl_u64(const struct nlmsghdr *h, int attr);

/* ---- tenants: as nl_talk() */

struct nl_tenant {
	uint64_t key, max_memory, memory;
	uint32_t set, weight, class_ceiling, max_sessions, max_inflight;
	uint32_t sessions, streams, inflight;
	uint64_t submitted, refused;
};

int nl_set32(struct nl *n, uint64_t tenant, int attr, uint32_t value);
int nl_on_tenant(struct nl *n, int cmd, uint64_t tenant,
		 void (*each)(void *arg, const struct nlmsghdr *h), void *arg);
int nl_reset(struct nl *n, uint64_t tenant);

/* An @each: into the struct nl_tenant that @arg is. */
void nl_take_tenant(void *arg, const struct nlmsghdr *h);

/* One that is there and may be seen; else the test ends. */
struct nl_tenant nl_look(struct nl *n, uint64_t tenant);

/* ---- events */

/* Join the group.  0 or -1 with errno. */
int nl_join(struct nl *n);
/* The next event within @ms, or NULL. */
const struct nlmsghdr *nl_event(struct nl *n, int ms);

#endif
