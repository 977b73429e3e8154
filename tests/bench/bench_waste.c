/* SPDX-License-Identifier: MIT */
/*
 * bench_waste - memory of KV that holds nothing, over the request lengths of
 * real traces ($LLM_GOLDEN/traces), at each request's end.
 *
 *   blocks:     what the last block of 16 leaves unused
 *   contiguous: what reserving room in advance leaves unused: the power of
 *               two that fits the request (as if its length were foreseen),
 *               and the longest request of the trace (as one must who does
 *               not foresee)
 *
 * Prints one line a trace; exits 1 where blocks waste 4 % or more.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/core/seq.h"

struct sums {
	uint64_t requests, tokens, blocks, power, longest;
};

static uint64_t round_to_power(uint64_t n)
{
	uint64_t p = KV_BLOCK;

	while (p < n)
		p *= 2;
	return p;
}

/* The second and third columns are in_tokens and out_tokens. */
static void read_trace(FILE *f, struct sums *s)
{
	char line[8192];
	double when;
	unsigned in, out;

	while (fgets(line, sizeof(line), f)) {
		uint64_t n;

		if (sscanf(line, "%lf,%u,%u", &when, &in, &out) != 3)
			continue; /* the heading */
		n = (uint64_t)in + out;
		s->requests++;
		s->tokens += n;
		s->blocks += (uint64_t)seq_blocks((uint32_t)n) * KV_BLOCK;
		s->power += round_to_power(n);
		s->longest = n > s->longest ? n : s->longest;
	}
}

static double waste(uint64_t held, uint64_t used)
{
	return held ? 100.0 * (double)(held - used) / (double)held : 0;
}

int main(void)
{
	static const char *const names[] = { "azure2023-conv", "azure2023-code",
					     "mooncake-conversation",
					     "mooncake-synthetic" };
	const char *root = getenv("LLM_GOLDEN");
	uint32_t i;
	int over = 0;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct sums s = { 0 };
		char command[4096];
		FILE *f;

		snprintf(command, sizeof(command),
			 "zcat '%s/traces/%s.csv.gz' 2>/dev/null",
			 root ? root : "../shared/data", names[i]);
		f = popen(command, "r");
		if (f) {
			read_trace(f, &s);
			pclose(f);
		}
		if (!s.requests) {
			printf("waste %-21s no trace there: skipped\n",
			       names[i]);
			continue;
		}
		printf("waste %-21s %5llu requests of %6.0f tokens: blocks "
		       "%.2f %%; contiguous %.1f %% (power of two), %.1f %% "
		       "(longest)\n",
		       names[i], (unsigned long long)s.requests,
		       (double)s.tokens / (double)s.requests,
		       waste(s.blocks, s.tokens), waste(s.power, s.tokens),
		       waste(s.longest * s.requests, s.tokens));
		over |= waste(s.blocks, s.tokens) >= 4;
	}
	if (over)
		printf("waste: 4 %% or more in last blocks\n");
	return over;
}
