/* SPDX-License-Identifier: MIT */
/* error.c - the words for a call that failed, kept a thread. */
#include "libclient/internal.h"

#include <stdarg.h>
#include <stdio.h>

static __thread char error_text[256];

int llmc_fail(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, ap);
	va_end(ap);
	return code;
}

const char *llmc_error(void)
{
	return error_text;
}
