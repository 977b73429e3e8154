/* SPDX-License-Identifier: MIT */
/*
 * field NAME...: of the JSON on standard input, the value of each name
 * ("usage.prompt_tokens", "0.pid"), separated by spaces: strings as they are
 * meant, all else as it stands, with a space behind each comma and colon.
 * Exit status 1: one is not there.  Numbers are text to it, so none is too
 * large; and it runs where no interpreter does.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *space(const char *p)
{
	while (isspace((unsigned char)*p))
		p++;
	return p;
}

/* Behind the string that begins at @p. */
static const char *string_end(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

/* Behind the value that begins at @p. */
static const char *value_end(const char *p)
{
	int depth = 0;

	do {
		if (*p == '"') {
			p = string_end(p);
			continue;
		}
		depth += *p == '[' || *p == '{';
		depth -= *p == ']' || *p == '}';
		if (depth < 0)
			break;
		p++;
	} while (*p && (depth || !strchr(",]}", *p)));
	return p;
}

/* The value of @key (@len bytes) in the object or array at @p, or NULL. */
static const char *member(const char *p, const char *key, size_t len)
{
	bool object = *p == '{';
	size_t i = 0, want = strtoul(key, NULL, 10);

	if (*p != '{' && *p != '[')
		return NULL;
	for (p = space(p + 1); *p && *p != ']' && *p != '}'; i++) {
		bool here = i == want;

		if (object) {
			const char *end = string_end(p);

			here = (size_t)(end - p) == len + 2 &&
			       !strncmp(p + 1, key, len);
			p = space(space(end) + 1);
		}
		if (here)
			return p;
		p = space(value_end(p));
		if (*p == ',')
			p = space(p + 1);
	}
	return NULL;
}

static void put_utf8(uint32_t c)
{
	if (c < 0x80) {
		putchar((int)c);
	} else if (c < 0x800) {
		putchar((int)(0xc0 | c >> 6));
		putchar((int)(0x80 | (c & 0x3f)));
	} else {
		if (c < 0x10000) {
			putchar((int)(0xe0 | c >> 12));
		} else {
			putchar((int)(0xf0 | c >> 18));
			putchar((int)(0x80 | (c >> 12 & 0x3f)));
		}
		putchar((int)(0x80 | (c >> 6 & 0x3f)));
		putchar((int)(0x80 | (c & 0x3f)));
	}
}

static uint32_t hex4(const char *p)
{
	char digits[5] = { 0 };

	memcpy(digits, p, strnlen(p, 4));
	return (uint32_t)strtoul(digits, NULL, 16);
}

static void put_string(const char *p)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *end = string_end(p) - 1, *at;
	uint32_t c;

	for (p++; p < end; p++) {
		if (*p != '\\') {
			putchar(*p);
			continue;
		}
		at = strchr(from, *++p);
		if (*p != 'u') {
			putchar(at ? to[at - from] : *p);
			continue;
		}
		c = hex4(p + 1);
		p += 4;
		if (c >> 10 == 0xd800 >> 10 && p[1] == '\\') {
			c = 0x10000 + ((c & 0x3ff) << 10) +
			    (hex4(p + 3) & 0x3ff);
			p += 6;
		}
		put_utf8(c);
	}
}

static void put(const char *p)
{
	const char *end = value_end(p), *in = p;

	if (*p == '"') {
		put_string(p);
		return;
	}
	while (end > p && isspace((unsigned char)end[-1]))
		end--;
	for (; p < end; p++) {
		if (*p == '"' && p >= in)
			in = string_end(p);
		putchar(*p);
		if (p >= in && (*p == ',' || *p == ':') && p[1] != ' ')
			putchar(' ');
	}
}

int main(int argc, char **argv)
{
	static char json[1 << 22];
	size_t len = fread(json, 1, sizeof(json) - 1, stdin);
	int i;

	json[len] = 0;
	for (i = 1; i < argc; i++) {
		const char *p = space(json), *name = argv[i];

		for (; p && *name; name += *name == '.') {
			len = strcspn(name, ".");
			p = member(p, name, len);
			name += len;
		}
		if (!p) {
			fprintf(stderr, "field: no %s\n", argv[i]);
			return 1;
		}
		if (i > 1)
			putchar(' ');
		put(p);
	}
	putchar('\n');
	return 0;
}
