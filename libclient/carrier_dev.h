/* SPDX-License-Identifier: MIT */
/*
 * carrier_dev.h - a session at the kernel module's device.
 */
#ifndef LIBCLIENT_CARRIER_DEV_H
#define LIBCLIENT_CARRIER_DEV_H

#include <stdint.h>

struct llm_setup;
struct llmc;

/*
 * Open the device at @path, set a session up, map it, wait until a daemon has
 * told what it serves.  Fills s but for what is private.  0; -ECONNREFUSED:
 * no daemon serves it; -ETIMEDOUT: one does not answer; -EPROTO: no device of
 * llm.ko; what open(2) and set-up say.
 */
int llmc_dev_open(struct llmc *s, const char *path,
		  const struct llm_setup *want);

/*
 * The system calls on the device; a test puts a device of its own behind
 * them.  As open(2), ioctl(2), mmap(2) (MAP_SHARED) and munmap(2), but that
 * errors come back as negative errnos, and as NULL with errno.
 */
struct llmc_dev_calls {
	int (*open)(const char *path);
	int (*ioctl)(int fd, unsigned long op, void *arg);
	void *(*mmap)(int fd, uint64_t off, uint64_t size, int prot);
	void (*munmap)(void *p, uint64_t size);
};
extern struct llmc_dev_calls llmc_dev_calls;

#endif
