/* SPDX-License-Identifier: MIT */
/*
 * admin.h - the keeper's desk for administration: tenants and what they may
 * have, sessions that have to end.  Who may: uid 0, and who runs the keeper.
 */
#ifndef DAEMON_ADMIN_H
#define DAEMON_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct guest;
struct keeper;

/* May this user change things, and see everybody's? */
bool admin_is(const struct keeper *k, uint32_t uid);

/* An answer: @nr structs of @elem_size bytes at @list, which is malloced. */
struct admin_answer {
	void *list;
	uint32_t elem_size, nr;
};

/*
 * Do what @g asks with @op (LLM_HELLO_TENANTS, SET, RESET, KILL).  0 and *ret;
 * or with a line -EPERM, -EINVAL, -ENOENT, -ENOSPC, -ENOMEM.
 */
int admin_do(struct keeper *k, const struct guest *g, uint32_t op,
	     struct admin_answer *ret, struct err *err);

#endif
