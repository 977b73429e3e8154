/* SPDX-License-Identifier: MIT */
/* notify.h - tell systemd how the service is (sd_notify, by hand). */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/*
 * Send @state ("READY=1\nSTATUS=...") to the socket that $NOTIFY_SOCKET
 * names; does nothing where there is none.  Never blocks, never fails: nobody
 * could act upon it.  Protocol: sd_notify(3).
 */
void notify_send(const char *state);

#endif
