/* SPDX-License-Identifier: MIT */
/*
 * load.c SOCKET CLIENTS PROMPT TOKENS SEED: that many sessions, each with one
 * prompt of random ids at the same moment, until all have ended.  One line: the
 * seconds it took, tokens that came, seconds to the first token of each,
 * ascending.
 */
#include "include/llmclient.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_CLIENTS 64
#define MAX_PROMPT  1024
#define FEW	    16 /* tokens a wake-up, after the first */

struct client {
	struct llmc *session;
	struct llmc_stream *stream;
	double first;
	unsigned int nr;
	int over;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(void)
{
	fprintf(stderr, "load: %s\n", llmc_error());
	exit(1);
}

static void ask(struct client *c, const char *socket, uint32_t len, uint32_t n,
		uint32_t *seed)
{
	struct llmc_options o = { .size = LLMC_OPTIONS_SIZE, .socket = socket };
	static uint32_t ids[MAX_PROMPT];
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .ids = ids,
				    .nr_ids = len,
				    .max_tokens = n,
				    .set = LLM_SET_TEMPERATURE,
				    .params_flags = LLM_PARAMS_F_IGNORE_EOS };

	for (uint32_t i = 0; i < len; i++) {
		*seed = *seed * 1664525 + 1013904223;
		ids[i] = (*seed >> 8) % 30000 + 1;
	}
	if (llmc_open(&c->session, &o) ||
	    llmc_submit(c->session, &req, &c->stream))
		fail();
}

/* What came, and the next wake-up; true: that is there already. */
static int look(struct client *c, double start)
{
	struct llmc_token tok[64];
	ssize_t n;

	if (llmc_ack(c->session))
		fail();
	while ((n = llmc_read(c->stream, tok, 64)) > 0) {
		c->nr += (unsigned int)n;
		if (c->first == 0)
			c->first = now() - start;
	}
	if (n == 0)
		c->over = 1;
	else if (n != -EAGAIN)
		fail();
	return !c->over && llmc_arm(c->stream, c->nr ? FEW : 1, 50000) == 1;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static struct client client[MAX_CLIENTS];
	struct pollfd p[MAX_CLIENTS];
	double first[MAX_CLIENTS], start;
	unsigned int nr, left, tokens = 0;
	uint32_t seed;

	if (argc != 6 || atoi(argv[2]) > MAX_CLIENTS ||
	    atoi(argv[3]) > MAX_PROMPT)
		return 2;
	nr = (unsigned int)atoi(argv[2]);
	seed = (uint32_t)atoi(argv[5]);
	start = now();
	for (unsigned int i = 0; i < nr; i++)
		ask(&client[i], argv[1], (uint32_t)atoi(argv[3]),
		    (uint32_t)atoi(argv[4]), &seed);
	for (left = nr; left;) {
		int ready = 0;

		left = 0;
		for (unsigned int i = 0; i < nr; i++) {
			struct client *c = &client[i];

			p[i].fd = -1;
			if (c->over)
				continue;
			ready |= look(c, start);
			if (c->over)
				continue;
			p[i] = (struct pollfd){ .fd = llmc_fd(c->session),
						.events = POLLIN };
			left++;
		}
		if (left)
			poll(p, nr, ready ? 0 : -1);
	}
	for (unsigned int i = 0; i < nr; i++) {
		first[i] = client[i].first;
		tokens += client[i].nr;
	}
	printf("%.6f %u", now() - start, tokens);
	qsort(first, nr, sizeof(*first), by_value);
	for (unsigned int i = 0; i < nr; i++) {
		printf(" %.6f", first[i]);
		llmc_close(client[i].session);
	}
	printf("\n");
	return 0;
}
