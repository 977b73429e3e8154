/* SPDX-License-Identifier: MIT */
/* ctl_words.c - what people type, and how they like to read it. */
#include "tools/ctl.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ctl_number(const char *word, uint64_t max, uint64_t none, uint64_t *ret)
{
	unsigned long long n;
	char *end;

	if (none && !strcmp(word, "none")) {
		*ret = none;
		return 0;
	}
	errno = 0;
	n = strtoull(word, &end, 10);
	if (!isdigit((unsigned char)*word) || *end || errno || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

int ctl_size(const char *word, uint64_t none, uint64_t *ret)
{
	static const char units[] = "KMGTP";
	char digits[32];
	size_t len = strlen(word);
	const char *u;
	unsigned shift = 0;
	uint64_t n;

	if (none && !strcmp(word, "none")) {
		*ret = none;
		return 0;
	}
	if (!len || len >= sizeof(digits))
		return -EINVAL;
	u = strchr(units, toupper((unsigned char)word[len - 1]));
	if (u) {
		shift = 10 * (unsigned)(u - units + 1);
		len--;
	}
	memcpy(digits, word, len);
	digits[len] = 0;
	if (ctl_number(digits, UINT64_MAX >> shift, 0, &n))
		return -EINVAL;
	*ret = n << shift;
	return 0;
}

int ctl_who(const char *word, uint64_t *ret)
{
	const struct passwd *pw;

	if (!ctl_number(word, UINT64_MAX, 0, ret))
		return 0;
	pw = getpwnam(word);
	if (!pw)
		return -EINVAL;
	*ret = pw->pw_uid;
	return 0;
}

static const char *const classes[] = { "interactive", "batch", "idle" };

int ctl_class(const char *word)
{
	int i;

	for (i = 0; i < (int)(sizeof(classes) / sizeof(*classes)); i++)
		if (!strcmp(word, classes[i]))
			return i;
	return -EINVAL;
}

const char *ctl_class_name(uint32_t class_)
{
	return class_ < sizeof(classes) / sizeof(*classes) ? classes[class_]
							   : "unknown";
}

const char *ctl_daemon_name(uint32_t state)
{
	static const char *const names[] = { "none", "ready", "draining",
					     "failed" };

	return state < sizeof(names) / sizeof(*names) ? names[state]
						      : "unknown";
}

const char *ctl_limit_name(uint32_t bit)
{
	switch (bit) {
	case LLM_TENANT_WEIGHT:
		return "weight";
	case LLM_TENANT_SESSIONS:
		return "sessions";
	case LLM_TENANT_STREAMS:
		return "streams";
	case LLM_TENANT_INFLIGHT:
		return "inflight";
	case LLM_TENANT_MEMORY:
		return "memory";
	case LLM_TENANT_SUBMIT_RATE:
		return "submit-rate";
	case LLM_TENANT_TOKEN_RATE:
		return "token-rate";
	case LLM_TENANT_CLASS:
		return "class";
	default:
		return "unknown";
	}
}

const char *ctl_size_text(uint64_t bytes, char *buf)
{
	static const char units[] = "BKMGTPE";
	uint64_t tenths;
	unsigned i = 0;

	if (bytes == UINT64_MAX)
		return "none";
	while (bytes >> 10 * i >= 1024)
		i++;
	if (!i) {
		snprintf(buf, 24, "%llu", (unsigned long long)bytes);
		return buf;
	}
	/* of the unit below: 10 bits are enough for a digit */
	tenths = (bytes >> 10 * (i - 1)) * 10 / 1024;
	if (tenths % 10 && tenths < 1000)
		snprintf(buf, 24, "%llu.%llu%c",
			 (unsigned long long)tenths / 10,
			 (unsigned long long)tenths % 10, units[i]);
	else
		snprintf(buf, 24, "%llu%c", (unsigned long long)tenths / 10,
			 units[i]);
	return buf;
}

const char *ctl_who_text(const struct ctl *c, uint64_t tenant, char *buf)
{
	const struct passwd *pw = NULL;

	if (!c->numeric && tenant < UINT32_MAX)
		pw = getpwuid((uid_t)tenant);
	if (pw && strlen(pw->pw_name) < 40)
		strcpy(buf, pw->pw_name);
	else
		snprintf(buf, 40, "%llu", (unsigned long long)tenant);
	return buf;
}

const char *ctl_age_text(uint64_t ns, char *buf)
{
	unsigned long long s = ns / 1000000000;

	if (s < 60)
		snprintf(buf, 24, "%llus", s);
	else if (s < 3600)
		snprintf(buf, 24, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, 24, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(buf, 24, "%llud%02lluh", s / 86400, s / 3600 % 24);
	return buf;
}
