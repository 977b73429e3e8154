/* SPDX-License-Identifier: MIT */
/*
 * listen.h - the socket file: one living daemon at a path, and who may
 * connect.
 */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

struct err;

struct listen {
	int fd; /* owned; not blocking, close-on-exec */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	/* the file we made, so that we remove no other's */
	dev_t dev;
	ino_t ino;
};

/*
 * Listen at @path.  The file gets @mode whatever the umask: who may write it
 * may connect, and says by SO_PEERCRED who he is.  A socket file whose daemon
 * is dead is replaced; where one lives, -EADDRINUSE and its pid.  @make_dir:
 * the last directory of @path is made (0755 for root, else 0700) where it is
 * missing.  0 or a negative errno with its line.
 */
int listen_open(struct listen *l, const char *path, mode_t mode, bool make_dir,
		struct err *err);

/* Remove the file where it is still ours; close. */
void listen_close(struct listen *l);

#endif
