/* SPDX-License-Identifier: MIT */
/*
 * bench_step - the scheduler's own cost: nanoseconds a row for steps in which
 * @n sequences decode, step, commit and append together.  No backend runs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/core/sched.h"

#define CONTEXT 4096u

static struct sched s;
static struct batch b;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void step(void)
{
	uint32_t i;

	sched_step(&s, &b);
	sched_commit(&s, &b, 1000);
	for (i = 0; i < b.nr_outs; i++)
		sched_append(&s, sched_seq(&s, b.out[i].seq), i);
}

static int measure(uint32_t n, uint32_t *ids)
{
	struct sched_options opt = {
		.nr_blocks = n * CONTEXT / KV_BLOCK + 100,
		.context = CONTEXT,
		.max_tokens_per_step = 8192,
		.max_running = n,
		.max_seqs = n,
		.max_tenants = 16,
		.queue_entries = n,
		.queue_tokens = UINT64_MAX / 2,
	};
	uint64_t t, rows = 0;
	uint32_t i, id;

	if (sched_init(&s, &opt) || batch_init(&b, 8192, n, CONTEXT / KV_BLOCK))
		return 1;
	for (i = 0; i < n; i++) {
		struct sched_request req = {
			.tenant = i % 8,
			.ids = ids + (size_t)i * CONTEXT,
			.prompt_len = 1000,
			.known = 1000,
			.max_len = CONTEXT,
		};

		ids[(size_t)i * CONTEXT] = i;
		if (sched_add(&s, &req, &id))
			return 1;
	}
	t = now();
	while (s.run.tenants.nr_wanting[0])
		step();
	printf("step %4u streams: prefill %5.1f ns a token, ", n,
	       (double)(now() - t) / (1000.0 * n));
	t = now();
	for (i = 0; i < 1000; i++) {
		step();
		rows += b.nr_tokens;
	}
	printf("decode %5.1f ns a row, %6.1f us a step\n",
	       (double)(now() - t) / (double)rows, (double)(now() - t) / 1e6);
	sched_deinit(&s);
	batch_deinit(&b);
	return 0;
}

int main(void)
{
	static const uint32_t sizes[] = { 1, 64, 256, 1024 };
	uint32_t *ids = calloc((size_t)1024 * CONTEXT, sizeof(*ids)), i;
	int ret = !ids;

	for (i = 0; i < 4 && !ret; i++)
		ret = measure(sizes[i], ids);
	free(ids);
	return ret;
}
