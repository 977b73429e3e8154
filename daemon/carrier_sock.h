/* SPDX-License-Identifier: MIT */
/*
 * carrier_sock.h - the carrier for sessions on a Unix socket, engine's side.
 *
 * A bell is a byte on the session's connection, a wake is one back; neither
 * call can block (I8).  Sessions of earlier lives come as mappings inherited
 * by the fork; new ones by message from the keeper, over `ctl`.
 *
 * Threads: the engine's; kick() any.
 */
#ifndef DAEMON_CARRIER_SOCK_H
#define DAEMON_CARRIER_SOCK_H

struct carrier;
struct err;
struct handover;

/*
 * Take over what @in brings: its sessions, connections and ctl.
 *
 * take() names all busy old sessions first, then new ones, then idle old ones
 * a few between two waits, so that streams which run do not wait for sessions
 * that do not.  After OPEN the session's sq_tail is looked at once without a
 * bell.  Bells are counted in the board; wakes by whoever calls flush().
 *
 * 0, or a negative errno with its line; carrier->close() undoes.
 */
int carrier_sock_start(const struct handover *in, struct carrier **ret,
		       struct err *err);

#endif
