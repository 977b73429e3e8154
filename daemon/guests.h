/* SPDX-License-Identifier: MIT */
/*
 * guests.h - connections that are no session: a hello is still to come, or an
 * answer still to go.  Each has a few seconds and its uid a bounded number of
 * them, so whoever connects and says nothing costs little and not for long.
 */
#ifndef DAEMON_GUESTS_H
#define DAEMON_GUESTS_H

#include <stddef.h>
#include <stdint.h>
#include "daemon/hello.h"

#define GUESTS_MAX     2048u
#define GUESTS_MAX_UID 1024u

struct err;

struct guest {
	int fd; /* owned */
	uint32_t index, uid, pid;
	uint64_t serial; /* never reused */
	uint64_t deadline_ns;
	struct hello_in in;
	uint8_t *out; /* owned; what is left of an answer, NULL: none */
	size_t out_at, out_size;
};

struct guests {
	struct guest *at[GUESTS_MAX]; /* owned; NULL: free */
	uint32_t nr, top;
	uint64_t next_serial;
};

/*
 * Take over @fd, whose peer the kernel names.  0 and *ret; on error (-EUSERS:
 * too many of all, -EDQUOT: of this uid; with a line) @fd is still the
 * caller's.
 */
int guests_add(struct guests *g, int fd, uint64_t deadline_ns,
	       struct guest **ret, struct err *err);
/* The guest is gone; its connection is closed unless guest->fd is -1. */
void guests_remove(struct guests *g, struct guest *guest);
void guests_remove_all(struct guests *g);

/* Read on.  1: the hello is complete; 0: not yet; -errno: drop the guest. */
int guest_read(struct guest *guest);
/* Say no; the caller removes the guest. */
void guest_refuse(struct guest *guest, const struct err *err);
/*
 * Say yes with @nr structs of @elem_size bytes (copied).  1: all is sent,
 * remove the guest; 0: wait for room, then guest_write(); -errno: hopeless.
 */
int guest_grant(struct guest *guest, const void *elem, uint32_t elem_size,
		uint32_t nr);
int guest_write(struct guest *guest);

/* The nearest deadline; UINT64_MAX where there is no guest. */
uint64_t guests_deadline(const struct guests *g);
/* One whose deadline is over, or NULL. */
struct guest *guests_late(const struct guests *g, uint64_t now_ns);

#endif
