/* SPDX-License-Identifier: MIT */
/*
 * Text to ids, ours and the Python package `tokenizers` in one run: this
 * tree's sources and documents as one long text, and all scripts mixed.  One
 * thread, CPU seconds, the least of three, with loading left out; the ids must
 * be equal.  LLM_PYTHON names a python3 that has the package.
 */
#include "text/encode.h"
#include "text/vocab.h"
#include "base/err.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 3

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A file's bytes, owned; NULL: not there. */
static char *slurp(const char *path, size_t *size)
{
	FILE *f = fopen(path, "r");
	char *s = NULL;

	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	*size = (size_t)ftell(f);
	rewind(f);
	s = malloc(*size + 1);
	if (!s || fread(s, 1, *size, f) != *size)
		exit(1);
	fclose(f);
	return s;
}

static void write_tree(const char *path)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd),
		 "cat README.md doc/*.md $(find base text daemon kernels tools "
		 "libclient tests -name '*.[ch]' | sort) >%s",
		 path);
	if (system(cmd))
		exit(1);
}

/* The strings of tests/data, again and again in another order. */
static void write_mixed(const char *path)
{
	json_t *j = json_load_file("tests/data/tokenizers/strings.json",
				   JSON_ALLOW_NUL, NULL);
	FILE *f = fopen(path, "w");
	unsigned n = 1;
	size_t i;

	if (!j || !f)
		exit(1);
	for (i = 0; i < 40000; i++) {
		const json_t *s;

		n = n * 1664525 + 1013904223;
		s = json_array_get(
			json_array_get(j, (n >> 8) % json_array_size(j)), 1);
		if (json_is_string(s))
			fprintf(f, "%s ", json_string_value(s));
	}
	fclose(f);
	json_decref(j);
}

static double ours(const struct vocab *v, const char *s, size_t size,
		   struct ids *ids)
{
	double best = 1e9, start;
	struct encode *e;
	int i;

	for (i = 0; i < TRIES; i++) {
		ids->nr = 0;
		start = now();
		if (encode_open(&e, v) ||
		    encode(e, s, size, ENCODE_SPECIAL, ids, NULL))
			exit(1);
		encode_close(e);
		if (now() - start < best)
			best = now() - start;
	}
	return best;
}

static unsigned long long checksum(const struct ids *ids)
{
	unsigned long long h = 0xcbf29ce484222325;
	size_t i;

	for (i = 0; i < ids->nr; i++)
		h = (h ^ ids->v[i]) * 0x100000001b3;
	return h;
}

/* @file is what we open, @dir what the peer does. */
static void row(const char *name, const char *file, const char *dir,
		const char *what, const char *path)
{
	const char *python = getenv("LLM_PYTHON");
	struct ids ids = { 0 };
	struct vocab *v = NULL;
	struct err err;
	unsigned long long sum = 0;
	double a, b = 0;
	size_t size = 0, nr = 0;
	char *s = slurp(path, &size), cmd[1200];
	FILE *p;

	if (vocab_open(&v, file, &err)) {
		printf("%-16s %s\n", name, err.text);
		free(s);
		return;
	}
	a = ours(v, s, size, &ids);
	snprintf(cmd, sizeof(cmd), "%s tests/bench/tokenizers_peer.py '%s' %s",
		 python ? python : "python3", dir, path);
	fflush(stdout);
	p = popen(cmd, "r");
	if (!p || fscanf(p, "%lf %zu %llu", &b, &nr, &sum) != 3)
		b = 0;
	if (p)
		pclose(p);
	printf("%-16s %-6s %5.1f MB %8zu ids: %6.1f MB/s", name, what,
	       (double)size / 1e6, ids.nr, (double)size / 1e6 / a);
	if (b)
		printf(", tokenizers %5.2f: ratio %5.1f%s",
		       (double)size / 1e6 / b, b / a,
		       nr == ids.nr && sum == checksum(&ids)
			       ? ""
			       : "  THE IDS DIFFER");
	printf("\n");
	ids_free(&ids);
	vocab_close(v);
	free(s);
}

int main(void)
{
	static const char *const own[] = { "bpe-gpt2",	"bpe-llama3",
					   "bpe-qwen2", "bpe-flags",
					   "bpe-o200k", "spm-bpe",
					   "unigram",	"unigram-map" };
	static const char *const real[] = { "gpt-2", "qwen2", "falcon",
					    "deepseek-coder", "phi-3" };
	const char *golden = getenv("LLM_GOLDEN");
	char tree[] = "/tmp/bench_text.XXXXXX",
	     mixed[] = "/tmp/bench_mix.XXXXXX";
	char gguf[] = "/tmp/bench_gguf.XXXXXX", dir[512], cmd[1100];
	size_t i;

	close(mkstemp(tree));
	close(mkstemp(mixed));
	close(mkstemp(gguf));
	write_tree(tree);
	write_mixed(mixed);
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		snprintf(dir, sizeof(dir), "tests/data/tokenizers/%s", own[i]);
		row(own[i], dir, dir, "tree", tree);
		row(own[i], dir, dir, "mixed", mixed);
	}
	for (i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		snprintf(dir, sizeof(dir), "%s/tokenizers/%s",
			 golden ? golden : "../shared/data", real[i]);
		snprintf(cmd, sizeof(cmd), "xz -dkc %s/vocab.gguf.xz >%s", dir,
			 gguf);
		if (access(dir, R_OK) || system(cmd))
			continue;
		row(real[i], gguf, dir, "tree", tree);
		row(real[i], gguf, dir, "mixed", mixed);
	}
	unlink(tree);
	unlink(mixed);
	unlink(gguf);
	return 0;
}
