/* SPDX-License-Identifier: MIT */
/*
 * view.h - what the two demos share: a client's view of its stream, in memory
 * that the parent looks at, and who llmd's engine is.
 */
#ifndef DEMO_VIEW_H
#define DEMO_VIEW_H

#include "include/llmclient.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#define VIEW_TOKENS 256u

#define LOAD(p)	    __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* One client, in memory shared with the parent.  Written by: the client. */
struct view {
	uint32_t tokens, text_len, done, failed;
	uint64_t begin_ns, first_ns, end_ns;
	uint64_t gap_ns; /* longest time between two looks with news */
	uint32_t wakes;
	uint32_t ids[VIEW_TOKENS];
	char text[8192], why[200];
};

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* The engine is @llmd's child of that name; 0: none now. */
static inline pid_t engine_pid(pid_t llmd)
{
	char path[64], comm[32] = "";
	int kid, found = 0;
	FILE *f, *c;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", llmd, llmd);
	f = fopen(path, "re");
	while (f && !found && fscanf(f, "%d", &kid) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/comm", kid);
		c = fopen(path, "re");
		if (c && fscanf(c, "%31s", comm) == 1 &&
		    !strcmp(comm, "llmd-engine"))
			found = kid;
		if (c)
			fclose(c);
	}
	if (f)
		fclose(f);
	return found;
}

static inline int client_failed(struct view *v)
{
	snprintf(v->why, sizeof(v->why), "%s", llmc_error());
	STORE(&v->failed, 1u);
	return 1;
}

/* Read what is there; 0 at the end, < 0 when there is nothing now. */
static inline ssize_t take_tokens(struct llmc_stream *st, struct view *v)
{
	struct llmc_token tok[32];
	ssize_t n = llmc_read(st, tok, 32), i;

	for (i = 0; i < n; i++) {
		if (v->tokens < VIEW_TOKENS)
			v->ids[v->tokens] = tok[i].token;
		if (v->text_len + tok[i].text_len < sizeof(v->text)) {
			memcpy(v->text + v->text_len, tok[i].text,
			       tok[i].text_len);
			STORE(&v->text_len, v->text_len + tok[i].text_len);
		}
		STORE(&v->tokens, v->tokens + 1);
	}
	return n;
}

#endif
