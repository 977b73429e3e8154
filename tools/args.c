/* SPDX-License-Identifier: MIT */
#include "tools/args.h"
#include "tools/cmd.h"
#include "include/llmclient.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int args_fail(int code, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	char *c;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* what is quoted may hold anything: one line stays one line */
	for (c = line; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	fprintf(stderr, "llm: %s\n", line);
	return code;
}

int args_llmc(int error)
{
	int code = EXIT_FAILED;

	if (error == -ENOENT || error == -ECONNREFUSED || error == -EPIPE ||
	    error == -ETIMEDOUT)
		code = EXIT_NO_DAEMON;
	else if (error == -EACCES || error == -EPERM)
		code = EXIT_DENIED;
	return args_fail(code, "%s", llmc_error());
}

static void help(const struct args *a)
{
	const struct arg *o;
	const char *const *c;

	printf("usage: %s\n\n%s\n\n", a->usage, a->about);
	for (o = a->arg; o->name; o++) {
		char left[40];

		snprintf(left, sizeof(left), "%s %s", o->name,
			 o->meta ? o->meta : "");
		printf("  %-26s %s", left, o->help);
		for (c = o->choices; c && *c; c++)
			printf("%s%s", c == o->choices ? ": " : ", ", *c);
		putchar('\n');
	}
}

/* ---- values ----------------------------------------------------------- */

static int bad(const char *name, const char *v, const char *allowed)
{
	return args_fail(EXIT_USAGE, "%s: found \"%.60s\", allowed %s", name, v,
			 allowed);
}

static int read_u64(const char *name, const char *v, uint64_t max, uint64_t min,
		    uint64_t *ret)
{
	char allowed[64], *end;
	unsigned long long n;

	snprintf(allowed, sizeof(allowed), "%llu to %llu",
		 (unsigned long long)min, (unsigned long long)max);
	errno = 0;
	n = strtoull(v, &end, 10);
	if (!isdigit((unsigned char)*v) || *end || errno || n < min || n > max)
		return bad(name, v, allowed);
	*ret = n;
	return 0;
}

/* "512M": as llmd reads its sizes; a "iB" behind the letter may stand. */
static int read_size(const char *name, const char *v, uint64_t *ret)
{
	static const char unit[] = "kKmMgGtT";
	static const char allowed[] = "a size from 1, as 512M or 16G";
	unsigned long long n;
	unsigned shift = 0;
	const char *u;
	char *end;

	errno = 0;
	n = strtoull(v, &end, 10);
	u = *end ? strchr(unit, *end) : NULL;
	if (u) {
		shift = 10 * (unsigned)((u - unit) / 2 + 1);
		end += strcmp(end + 1, "iB") ? 1 : 3;
	}
	if (!isdigit((unsigned char)*v) || *end || errno || !n ||
	    n > UINT64_MAX >> shift)
		return bad(name, v, allowed);
	*ret = (uint64_t)n << shift;
	return 0;
}

static int read_float(const struct arg *o, const char *v)
{
	char allowed[64], *end;
	float f;

	snprintf(allowed, sizeof(allowed), "a number from %g to %g", o->min,
		 o->max);
	f = strtof(v, &end);
	if (!*v || *end || isspace((unsigned char)*v) || !isfinite(f) ||
	    (double)f < o->min || (double)f > o->max)
		return bad(o->name, v, allowed);
	*(float *)o->to = f;
	return 0;
}

static int read_choice(const struct arg *o, const char *v)
{
	char allowed[128] = "";
	uint32_t i;

	for (i = 0; o->choices[i]; i++) {
		if (!strcmp(o->choices[i], v)) {
			*(uint32_t *)o->to = i;
			return 0;
		}
		snprintf(allowed + strlen(allowed),
			 sizeof(allowed) - strlen(allowed), "%s%s",
			 i ? ", " : "", o->choices[i]);
	}
	return bad(o->name, v, allowed);
}

int args_ids(const char *what, const char *text, struct arg_ids *ids)
{
	const char *c = text;

	for (;;) {
		unsigned long long n;
		uint32_t *p;
		char *end;

		c += strspn(c, " \t\r\n,");
		if (!*c)
			return 0;
		errno = 0;
		n = strtoull(c, &end, 10);
		if (!isdigit((unsigned char)*c) || errno || n > UINT32_MAX ||
		    (*end && !strchr(" \t\r\n,", *end)))
			return args_fail(
				EXIT_USAGE,
				"%s: found \"%.20s\", allowed ids from 0", what,
				c);
		p = realloc(ids->id, (ids->nr + 1) * sizeof(*p));
		if (!p)
			return args_fail(EXIT_FAILED, "out of memory");
		ids->id = p;
		ids->id[ids->nr++] = (uint32_t)n;
		c = end;
	}
}

/* Ids on the command line, or, for more than it holds, on standard input. */
static int read_ids(const char *name, const char *v, struct arg_ids *ids)
{
	char *in;
	size_t size;
	int ret;

	if (strcmp(v, "-"))
		return args_ids(name, v, ids);
	in = args_stdin(&size);
	if (!in)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = args_ids(name, in, ids);
	free(in);
	return ret;
}

static int read_value(const struct arg *o, const char *v)
{
	struct arg_list *l = o->to;
	const char **items;
	uint64_t n = 0;
	int ret = 0;

	switch (o->kind) {
	case ARG_FLAG:
		*(bool *)o->to = true;
		break;
	case ARG_STR:
		*(const char **)o->to = v;
		break;
	case ARG_U32:
		ret = read_u64(o->name, v, (uint64_t)o->max, (uint64_t)o->min,
			       &n);
		if (!ret)
			*(uint32_t *)o->to = (uint32_t)n;
		break;
	case ARG_U64:
		ret = read_u64(o->name, v, UINT64_MAX, 0, o->to);
		break;
	case ARG_SIZE:
		ret = read_size(o->name, v, o->to);
		break;
	case ARG_FLOAT:
		ret = read_float(o, v);
		break;
	case ARG_CHOICE:
		ret = read_choice(o, v);
		break;
	case ARG_IDS:
		ret = read_ids(o->name, v, o->to);
		break;
	case ARG_LIST:
		items = realloc(l->item, (l->nr + 1) * sizeof(*items));
		if (!items)
			return args_fail(EXIT_FAILED, "out of memory");
		l->item = items;
		l->item[l->nr++] = v;
		break;
	}
	return ret;
}

int args_read(const struct args *a, int argc, char **argv, const char **operand,
	      int *ret_nr)
{
	bool only_operands = false;
	int i, ret;

	*ret_nr = 0;
	for (i = 1; i < argc; i++) {
		const char *w = argv[i], *value = NULL;
		const struct arg *o;
		size_t len = strcspn(w, "=");

		if (only_operands || w[0] != '-' || !w[1]) {
			operand[(*ret_nr)++] = w;
			continue;
		}
		if (!strcmp(w, "--")) {
			only_operands = true;
			continue;
		}
		if (!strcmp(w, "-h") || !strcmp(w, "--help")) {
			help(a);
			return -1;
		}
		for (o = a->arg; o->name; o++)
			if (strlen(o->name) == len && !strncmp(o->name, w, len))
				break;
		if (!o->name)
			return args_fail(EXIT_USAGE,
					 "unknown option %.60s; usage: %s", w,
					 a->usage);
		if (w[len] == '=')
			value = w + len + 1;
		if (o->kind == ARG_FLAG && value)
			return bad(o->name, value, "no value");
		if (o->kind != ARG_FLAG && !value) {
			if (++i == argc)
				return args_fail(EXIT_USAGE, "%s wants a value",
						 o->name);
			value = argv[i];
		}
		ret = read_value(o, value);
		if (ret)
			return ret;
		if (o->given)
			*o->given = true;
	}
	return 0;
}

/* ---- input ------------------------------------------------------------ */

static char *read_all(FILE *f, size_t *ret_size)
{
	size_t size = 0, cap = 65536, n;
	char *buf = malloc(cap), *p;

	while (buf && (n = fread(buf + size, 1, cap - size - 1, f)) > 0) {
		size += n;
		if (cap - size > 1)
			continue;
		cap *= 2;
		p = realloc(buf, cap);
		if (!p)
			free(buf);
		buf = p;
	}
	if (buf) {
		buf[size] = 0;
		*ret_size = size;
	}
	return buf;
}

char *args_stdin(size_t *ret_size)
{
	return read_all(stdin, ret_size);
}

char *args_file(const char *path, size_t *ret_size)
{
	bool is_stdin = !strcmp(path, "-");
	FILE *f = is_stdin ? stdin : fopen(path, "re");
	char *buf;

	if (!f) {
		args_fail(EXIT_FAILED, "%s: %s", path, strerror(errno));
		return NULL;
	}
	buf = read_all(f, ret_size);
	if (!buf || ferror(f)) {
		args_fail(EXIT_FAILED, "%s: cannot be read", path);
		free(buf);
		buf = NULL;
	}
	if (!is_stdin)
		fclose(f);
	return buf;
}
