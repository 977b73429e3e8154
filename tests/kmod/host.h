/* SPDX-License-Identifier: MIT */
/* host.h - what init does with the machine: mounts, modules, the log, the end. */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t host_now_ns(void);
void host_mounts(void);

/* Read a small file whole; false where that fails. */
bool host_slurp(const char *path, char *buf, size_t size);

/* Write @text into a file of /proc or /sys. */
bool host_put(const char *path, const char *text);

/* 0, or -1 with errno. */
int host_insmod(const char *path, const char *args);
int host_rmmod(void);

/* rmmod as soon as it works: sessions are freed behind the last close. */
bool host_unload(void);

bool host_kunit_passed(void);
bool host_no_leak(void);

/* Nothing in log, taint or lockdep that no test wants to see; prints it. */
bool host_log_clean(void);

/* Tell qemu; does not return. */
void host_exit(int code) __attribute__((noreturn));

#endif
