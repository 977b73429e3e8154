/* SPDX-License-Identifier: MIT */
/*
 * view.h - one session of the device, mapped: CLIENT, ARENA and HOST to read,
 * ENGINE to write.  The memory is the module's; what areas.h is on the socket.
 */
#ifndef DAEMON_VIEW_H
#define DAEMON_VIEW_H

#include <stdint.h>
#include <linux/llm.h>

struct err;
struct session;

/*
 * The system calls on /dev/llmd and on a session's descriptor: a test puts a
 * device of its own behind them.  As ioctl(2), mmap(2) (MAP_SHARED) and
 * munmap(2), but that errors come back as negative errnos and NULL with errno.
 */
struct dev_calls {
	int (*ioctl)(int fd, unsigned long op, void *arg);
	void *(*mmap)(int fd, uint64_t off, uint64_t size, int prot);
	void (*munmap)(void *p, uint64_t size);
};
extern const struct dev_calls dev_calls_kernel;

struct view {
	struct llm_setup setup;	 /* as the kernel told it */
	void *area[LLM_AREA_NR]; /* owned mappings; NULL: none */
};

/*
 * Map session @id of the device @fd.  0; -ENOENT: its client has closed it
 * already; another negative errno, with a line.  No descriptor stays: the
 * mappings hold the session.
 */
int view_open(struct view *v, const struct dev_calls *calls, int fd,
	      uint64_t id, struct err *err);
void view_close(struct view *v, const struct dev_calls *calls);

/* Point @s into @v: areas, sizes, counts; who and index are the caller's. */
void view_session(const struct view *v, struct session *s);

#endif
