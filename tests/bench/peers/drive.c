/* SPDX-License-Identifier: MIT */
/*
 * drive.c MODEL THREADS: an engine on a leash.  Lines come, each is answered
 * with one: the CPU seconds of the process, seconds of the wall, and a token.
 *
 *	prefill N		a prompt of N tokens in one step
 *	fill BATCH CONTEXT	(what decode starts from)
 *	decode			PEER_STEPS steps of it
 */
#include "tests/bench/peers/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NR_IDS	(PEER_CONTEXT + PEER_STEPS)
#define LOW_IDS 30000u /* below any model's vocabulary here */

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Until what was begun behind the opening is over: the process is idle. */
static void settle(void)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };
	double before, after = now(CLOCK_PROCESS_CPUTIME_ID);
	int idle = 0;

	while (idle < 5) {
		before = after;
		nanosleep(&tenth, NULL);
		after = now(CLOCK_PROCESS_CPUTIME_ID);
		idle = after - before < 0.001 ? idle + 1 : 0;
	}
}

static uint32_t decode(uint32_t context)
{
	uint32_t token = 1;

	for (uint32_t i = 0; i < PEER_STEPS; i++)
		token = peer_decode(token, context + i);
	peer_rewind();
	return token;
}

int main(int argc, char **argv)
{
	static uint32_t ids[NR_IDS];
	uint32_t n = 0, batch, context = 0, token = 0;
	char line[128];

	if (argc != 3)
		return fprintf(stderr, "usage: %s MODEL THREADS\n", argv[0]), 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (uint32_t i = 0; i < NR_IDS; i++)
		ids[i] = i * 7919 % LOW_IDS + 1;
	peer_open(argv[1], (uint32_t)atoi(argv[2]));
	settle();
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		double wall = now(CLOCK_MONOTONIC);

		if (sscanf(line, "prefill %u", &n) == 1 && n <= PEER_PROMPT) {
			token = peer_prefill(ids, n);
		} else if (sscanf(line, "fill %u %u", &batch, &context) == 2 &&
			   batch <= PEER_BATCH && context <= PEER_CONTEXT) {
			peer_fill(ids, batch, context);
			decode(context); /* once unmeasured */
		} else {
			token = decode(context);
		}
		printf("%.6f %.6f %u\n", now(CLOCK_PROCESS_CPUTIME_ID) - cpu,
		       now(CLOCK_MONOTONIC) - wall, token);
	}
	return 0;
}
