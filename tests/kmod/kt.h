/* SPDX-License-Identifier: MIT */
/*
 * kt.h - the test library of the virtual machine: tests/test.h for a program of
 * several files that is init.  Each test runs in a process of its own, with a
 * time limit; what it leaves open goes with it.
 *
 * KTEST(K14_07, "a sentence") - the sentence 14.7 of the module's list of faults.
 */
#ifndef KT_H
#define KT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct kt {
	const char *id, *what;
	void (*body)(void);
	struct kt *next;
};
void kt_add(struct kt *t);

#define KTEST(id_, what_)                                                      \
	static void kt_##id_(void);                                            \
	__attribute__((constructor)) static void kt_add_##id_(void)            \
	{                                                                      \
		static struct kt t = { #id_, what_, kt_##id_, NULL };          \
		kt_add(&t);                                                    \
	}                                                                      \
	static void kt_##id_(void)

/* The test ends here, in whatever process or thread of it this is. */
__attribute__((noreturn, format(printf, 3, 4))) void kt_fail(const char *file,
							     int line,
							     const char *fmt,
							     ...);

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond))                                                   \
			kt_fail(__FILE__, __LINE__, "not so: %s (%s)", #cond,  \
				strerror(errno));                              \
	} while (0)

#define CHECK_EQ(got, want)                                                    \
	do {                                                                   \
		long long g_ = (long long)(got), w_ = (long long)(want);       \
		if (g_ != w_)                                                  \
			kt_fail(__FILE__, __LINE__, "%s is %lld, not %lld",    \
				#got, g_, w_);                                 \
	} while (0)

/* @call says -1 with errno @want. */
#define CHECK_ERR(call, want)                                                  \
	do {                                                                   \
		long long r_;                                                  \
		errno = 0;                                                     \
		r_ = (long long)(call);                                        \
		if (r_ != -1 || errno != (want))                               \
			kt_fail(__FILE__, __LINE__, "%s: %lld, %s; not %s",    \
				#call, r_, strerror(errno), strerror(want));   \
	} while (0)

/* From the kernel's command line: kt.NAME=N, else @otherwise. */
long kt_arg(const char *name, long otherwise);

/* Repetitions: @n on a quick boot, kt.scale times as many on a longer one. */
long kt_rounds(long n);

/* 6.12 is 612; what the kernel under test says. */
int kt_kernel(void);

/* A kernel of ours with checks (KASAN, lockdep, fault injection). */
bool kt_debug(void);

#endif
