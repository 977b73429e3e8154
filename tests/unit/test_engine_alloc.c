/* SPDX-License-Identifier: MIT */
/* The step path calls no allocator: counted, admission and all. */
#include "tests/unit/rig.h"

static uint64_t nr_calls;

#if !SANITIZED
/* glibc's own, under the names they have for this purpose. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

void *malloc(size_t n)
{
	nr_calls++;
	return __libc_malloc(n);
}
void *calloc(size_t n, size_t m)
{
	nr_calls++;
	return __libc_calloc(n, m);
}
void *realloc(void *p, size_t n)
{
	nr_calls++;
	return __libc_realloc(p, n);
}
void free(void *p)
{
	nr_calls += p != NULL;
	__libc_free(p);
}
#endif

static struct rig R;
static uint64_t first, last;
static uint32_t rng = 5;

static uint32_t rnd(uint32_t n)
{
	rng = rng * 1664525u + 1013904223u;
	return (rng >> 8) % n;
}

/* New requests into every slot that has ended; some bad, some cancelled. */
static int script(struct rig *r, uint64_t deadline_ns)
{
	static uint32_t ids[200];
	uint32_t k, i, n;

	if (r->turn == 5)
		first = nr_calls;
	if (r->turn == 1500) {
		last = nr_calls;
		return 1;
	}
	for (k = 0; k < 2; k++)
		for (i = 0; i < RIG_STREAMS; i++) {
			struct rig_session *x = &r->ses[k];

			if (x->gen[i] &&
			    (LLM_COMMIT_GEN(rig_word(x, i)) != x->gen[i] ||
			     !rig_ended(x, i))) {
				if (!rnd(200))
					shm_store(&x->wish[i].cancel_gen,
						  (__u64)x->gen[i]);
				continue;
			}
			if (x->tail - shm_load(&x->s.engine->sq_head) == RIG_SQ)
				continue;
			n = 1 + rnd(100);
			ids[0] = rnd(50) ? rnd(TOY_VOCAB) : TOY_VOCAB;
			ids[n - 1] = rnd(TOY_VOCAB);
			rig_ids(x, (uint16_t)i, ids, n, 1 + rnd(60), rnd(99));
			shm_store(&x->wish[i].arm_want,
				  (__u64)++x->arm[i] << 32 | 4);
		}
	return 0;
}

TEST(no_step_and_no_admission_calls_an_allocator)
{
	if (SANITIZED)
		SKIP("the sanitizer has its own allocator");
	toy_blocks = 100; /* so that there is eviction and preemption too */
	rig_init(&R);
	R.script = script;
	rig_session(&R, 0, 1);
	rig_session(&R, 1, 2);
	CHECK_EQ(rig_run(&R), 0);
	toy_blocks = 256;
	CHECK(nr_calls > 20); /* it counts */
	CHECK(first > 0 && last > 0);
	CHECK_EQ(last - first, 0);
	CHECK(R.board.info.requests > 500);
	CHECK(R.board.info.refused > 5);
	CHECK(R.board.info.preemptions > 0);
	rig_deinit(&R);
}
