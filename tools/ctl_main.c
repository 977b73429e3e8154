/* SPDX-License-Identifier: MIT */
/* ctl_main.c - the words of llmctl, its refusals and its exit codes. */
#include "tools/ctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int ctl_fail(int code, const char *fmt, ...)
{
	char line[512], *ch;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* what is quoted may hold anything: one line stays one line */
	for (ch = line; *ch; ch++)
		if (iscntrl((unsigned char)*ch))
			*ch = '?';
	fprintf(stderr, "llmctl: %s\n", line);
	return code;
}

int ctl_say(struct ctl *c, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	return error;
}

int ctl_error(const struct ctl *c, int error)
{
	int code = EXIT_FAILED;

	if (error == -ECONNREFUSED || error == -EPIPE || error == -ETIMEDOUT)
		code = EXIT_NO_DAEMON;
	else if (error == -EACCES || error == -EPERM)
		code = EXIT_DENIED;
	return ctl_fail(code, "%s", c->why);
}

int ctl_end_of_words(int nr, char **words)
{
	if (nr <= 0)
		return 0;
	return ctl_fail(EXIT_USAGE, "a word too many: \"%.60s\"", words[0]);
}

int ctl_choose(struct ctl *c, const char *of, const struct ctl_command *table,
	       int nr, char **words)
{
	const struct ctl_command *t;
	char left[64];

	if (nr && (!strcmp(words[0], "help") || !strcmp(words[0], "--help") ||
		   !strcmp(words[0], "-h"))) {
		printf("usage: llmctl [OPTIONS] %s COMMAND ...\n\n", of);
		for (t = table; t->name; t++) {
			snprintf(left, sizeof(left), "%s %s", t->name, t->args);
			printf("  %-32s %s\n", left, t->about);
		}
		return EXIT_OK;
	}
	for (t = table; nr && t->name; t++)
		if (!strcmp(words[0], t->name))
			return t->run(c, nr - 1, words + 1);
	if (!nr)
		return ctl_fail(EXIT_USAGE,
				"%s: what of it? llmctl %s help lists it", of,
				of);
	return ctl_fail(EXIT_USAGE,
			"%s: unknown command \"%.60s\"; llmctl %s help lists "
			"them",
			of, words[0], of);
}
