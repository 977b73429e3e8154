/* SPDX-License-Identifier: MIT */
#include "daemon/listen.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* path without its last part; "." where it has but one */
static void parent_of(const char *path, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		snprintf(ret, size, ".");
	else if (slash == path)
		snprintf(ret, size, "/");
	else
		snprintf(ret, size, "%.*s", (int)(slash - path), path);
}

/* root's is for everyone, a user's own for nobody else; umask or not */
static int dir_make(const char *dir)
{
	if (mkdir(dir, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return geteuid() || chmod(dir, 0755) == 0 ? 0 : -errno;
}

/*
 * Two daemons that both find a dead socket must not remove each other's new
 * one, so looking and binding happen under a lock on the directory.  A user
 * who holds that lock for ever costs us a second, not the start.
 */
static int dir_lock(const char *dir)
{
	static const struct timespec nap = { 0, 10 * 1000 * 1000 };
	int i, fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (i = 0; fd >= 0 && i < 100; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			break;
		nanosleep(&nap, NULL);
	}
	return fd;
}

/* Something stands at the address: 0 when it was a dead socket, removed. */
static int clear_stale(const struct sockaddr_un *at, struct err *err)
{
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	struct stat st;
	int fd, ret;

	if (lstat(at->sun_path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(err, -errno, "%s: %s",
						 at->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -ENOTSOCK, "%s: exists and is not a socket",
			       at->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	ret = connect(fd, (const struct sockaddr *)at, sizeof(*at)) ? -errno
								    : 0;
	/* EAGAIN: it lives, with a full backlog */
	if (ret == 0 || ret == -EAGAIN) {
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
		ret = who.pid > 0
			      ? err_set(err, -EADDRINUSE,
					"%s: another daemon (pid %d) serves here",
					at->sun_path, (int)who.pid)
			      : err_set(err, -EADDRINUSE,
					"%s: another daemon serves here",
					at->sun_path);
	} else if (ret != -ECONNREFUSED && ret != -ENOENT) {
		err_set(err, ret, "%s: %s", at->sun_path, strerror(-ret));
	} else if (unlink(at->sun_path) < 0 && errno != ENOENT) {
		ret = err_set(err, -errno, "%s: dead, and not removed: %s",
			      at->sun_path, strerror(errno));
	} else {
		ret = 0;
	}
	close(fd);
	return ret;
}

static int bind_here(struct listen *l, const struct sockaddr_un *at,
		     mode_t mode, struct err *err)
{
	struct stat st;
	mode_t old;
	int ret;

	/* the umask is the process's: this is before any thread */
	old = umask((mode_t)(0777 & ~mode));
	ret = bind(l->fd, (const struct sockaddr *)at, sizeof(*at));
	umask(old);
	if (ret < 0)
		return err_set(err, -errno, "%s: %s", at->sun_path,
			       strerror(errno));
	if (lstat(at->sun_path, &st) < 0 || listen(l->fd, 1024) < 0) {
		ret = err_set(err, -errno, "%s: %s", at->sun_path,
			      strerror(errno));
		unlink(at->sun_path);
		return ret;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int listen_open(struct listen *l, const char *path, mode_t mode, bool make_dir,
		struct err *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char dir[sizeof(at.sun_path)];
	int lock, ret;

	memset(l, 0, sizeof(*l));
	l->fd = -1;
	if (!*path || strlen(path) >= sizeof(at.sun_path))
		return err_set(
			err, -ENAMETOOLONG,
			"socket path has %zu bytes, 1 to %zu allowed: %s",
			strlen(path), sizeof(at.sun_path) - 1, path);
	memcpy(at.sun_path, path, strlen(path) + 1);
	memcpy(l->path, at.sun_path, sizeof(l->path));
	parent_of(path, dir, sizeof(dir));
	ret = make_dir ? dir_make(dir) : 0;
	if (ret)
		return err_set(err, ret, "%s: %s", dir, strerror(-ret));
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	lock = dir_lock(dir);
	ret = clear_stale(&at, err);
	if (!ret)
		ret = bind_here(l, &at, mode, err);
	if (lock >= 0)
		close(lock);
	if (ret) {
		close(l->fd);
		l->fd = -1;
	}
	return ret;
}

void listen_close(struct listen *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (lstat(l->path, &st) == 0 && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}
