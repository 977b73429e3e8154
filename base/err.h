/* SPDX-License-Identifier: MIT */
/*
 * err.h - what went wrong, once, in words a human can act upon.
 *
 * Calls answer with 0 or a negative errno.  Where a human must read the
 * reason, the last parameter is a struct err, filled once, by whoever first
 * knows: what, where, found, allowed.  Callers above pass it on unchanged.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

struct err {
	int code;	/* 0, or the negative errno the call returned */
	char text[240]; /* one line, no newline; "" while code is 0 */
};

/*
 * Fill @err (may be NULL) and return @code, so that a failing call is one
 * line.  A text that does not fit is cut; control bytes that came from
 * outside (file names, JSON) are shown as '?', so a message stays one line.
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
