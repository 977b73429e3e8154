/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdint.h>

#include "daemon/core/heap.h"

#define NR 200

static uint32_t key[NR];

static bool before(const void *arg, uint32_t a, uint32_t b)
{
	const uint32_t *k = arg;

	return k[a] != k[b] ? k[a] < k[b] : a < b;
}

/* Beside a plain array: the same least member after any push or removal. */
TEST(the_least_member_is_the_root_after_any_push_and_removal)
{
	uint32_t root = HEAP_EMPTY, i, step;
	uint64_t x = 12345;
	bool in[NR] = { false };
	struct heap h;

	CHECK_EQ(heap_init(&h, NR, before, key), 0);
	for (step = 0; step < 50000; step++) {
		uint32_t least = HEAP_EMPTY;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		i = (uint32_t)(x >> 33) % NR;
		if (step % 3 == 0 && root != HEAP_EMPTY)
			i = root;
		if (in[i]) {
			heap_remove(&h, &root, i);
		} else {
			key[i] = (uint32_t)(x >> 20) % 50;
			heap_push(&h, &root, i);
		}
		in[i] = !in[i];
		for (i = 0; i < NR; i++)
			if (in[i] &&
			    (least == HEAP_EMPTY || before(key, i, least)))
				least = i;
		CHECK_EQ(root, least);
	}
	heap_deinit(&h);
}
