/* SPDX-License-Identifier: MIT */
/*
 * scratch.h - a directory of made-up model files that a test writes, and what
 * goes into them.  One a program; every failure is fatal.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_buf[64];

static void scratch_must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

__attribute__((unused)) static void scratch_end(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", scratch_buf);
	if (scratch_buf[0] && system(cmd))
		perror(cmd);
}

/* Who writes a small file a round defines it before, as a place in memory. */
#ifndef SCRATCH_ROOT
#define SCRATCH_ROOT "/tmp"
#endif

/* The directory; made at the first call, removed at exit. */
static const char *scratch_dir(void)
{
	if (!scratch_buf[0]) {
		snprintf(scratch_buf, sizeof(scratch_buf), "%s/llm-test-XXXXXX",
			 SCRATCH_ROOT);
		scratch_must(mkdtemp(scratch_buf) != NULL, "mkdtemp");
		atexit(scratch_end);
	}
	return scratch_buf;
}

/* Path of @name in it; good until the fourth next call. */
__attribute__((unused)) static const char *scratch_path(const char *name)
{
	static char paths[4][256];
	static int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", scratch_dir(), name);
	return p;
}

__attribute__((unused)) static const char *scratch_write(const char *name,
							 const void *data,
							 size_t size)
{
	const char *path = scratch_path(name);
	FILE *f = fopen(path, "we");

	scratch_must(f != NULL, path);
	scratch_must(fwrite(data, 1, size, f) == size, path);
	scratch_must(fclose(f) == 0, path);
	return path;
}

/* A safetensors file: @json, then @data, into @buf; returns its size. */
__attribute__((unused)) static size_t scratch_tensors(uint8_t *buf,
						      const char *json,
						      const void *data,
						      size_t size)
{
	size_t n = strlen(json);

	for (int i = 0; i < 8; i++)
		buf[i] = (uint8_t)((uint64_t)n >> 8 * i);
	memcpy(buf + 8, json, n);
	if (size)
		memcpy(buf + 8 + n, data, size);
	return 8 + n + size;
}

#endif
