/* SPDX-License-Identifier: MIT */
/*
 * greet.h - the keeper's door: connections come, say hello, are answered.
 * What may block is a state (guests.h); what a client said is judged in
 * hello.h and roster.h.
 */
#ifndef DAEMON_GREET_H
#define DAEMON_GREET_H

#include <stdint.h>

struct err;
struct guest;
struct keeper;

/* Connections wait to be accepted. */
void greet_listen(struct keeper *k);
/* @g can be read, or (where an answer is on its way) written. */
void greet_guest(struct keeper *k, struct guest *g);
/* The clock: guests whose time is over, a door that was closed for a while. */
void greet_clock(struct keeper *k, uint64_t now_ns);
/* The end: whoever still waits for an answer is told @why. */
void greet_farewell(struct keeper *k, const struct err *why);

#endif
