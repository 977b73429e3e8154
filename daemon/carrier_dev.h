/* SPDX-License-Identifier: MIT */
/*
 * carrier_dev.h - the carrier for sessions of the kernel module, engine's
 * side.
 *
 * Work comes through the module's work ring, mapped read-only: an engine that
 * runs looks at one word a step and makes no system call.  Asleep it polls
 * the device.  Wakes are one call a step for up to LLM_MAX_WAKE sessions.
 *
 * Threads: the engine's; kick() any.
 */
#ifndef DAEMON_CARRIER_DEV_H
#define DAEMON_CARRIER_DEV_H

struct carrier;
struct dev_calls;
struct err;
struct handover;

/*
 * Attach to @in->device and take over @in->ctl; both are closed with the
 * carrier.  The module's epoch goes to board->epoch.  @calls: how the device
 * is spoken to; NULL: as system calls.
 *
 * take() names the sessions of earlier lives as the module tells of them, a
 * bounded number between two waits, each before its entries.  Once the board
 * says that the daemon is draining nothing more is taken: what waits belongs
 * to the next daemon, and its clients see a pause instead of a refusal.
 *
 * 0, or a negative errno with its line; carrier->close() undoes.
 */
int carrier_dev_start(const struct handover *in, const struct dev_calls *calls,
		      struct carrier **ret, struct err *err);

#endif
