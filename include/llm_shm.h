/* SPDX-License-Identifier: MIT */
/*
 * llm_shm.h - ordered loads and stores on shared pages: the one place.
 *
 * User code orders shared memory only through these.  Where one is used, a
 * comment says which store pairs with which load.  Not installed.
 */
#ifndef LLM_SHM_H
#define LLM_SHM_H

#include <stddef.h>
#include <stdint.h>

/* A word that the other side may be writing: one access, no order. */
#define shm_load(p)	__atomic_load_n((p), __ATOMIC_RELAXED)
#define shm_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

/* What stands before shm_publish() is seen by who shm_acquire()s its value. */
#define shm_acquire(p)	  __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define shm_publish(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/*
 * A counter with one writer, read by others.  Not an atomic addition: the
 * writer owns it.
 */
#define shm_add(p, n) shm_store((p), shm_load(p) + (n))

/*
 * The fence F of the contract: my store is out before my next load.  A pair
 * of sides that both store, fence, load cannot both miss the other's store
 * (Dekker).  gcc's TSan knows no fences, so an RMW on one word stands in.
 */
#ifdef __SANITIZE_THREAD__
__attribute__((weak)) uint32_t shm_fence_word;
#define shm_fence()                                                            \
	((void)__atomic_fetch_add(&shm_fence_word, 1, __ATOMIC_SEQ_CST))
#else
#define shm_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

/*
 * Ask the cache for a line that will be written and that the other side has
 * read: to be its owner takes longer than to have it.  gcc's own prefetch for
 * a write is one for a read unless it is told that the CPU knows better; every
 * CPU that is x86-64 takes this instruction (those that do not know it do
 * nothing).
 */
static inline void shm_prefetch_write(const void *p)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/*
 * Copy @size bytes (a multiple of 4, both sides 4-aligned) out of pages that
 * the other side may be writing: each word is fetched exactly once, so what
 * is checked in the copy is what is used.
 */
static inline void shm_copy_in(void *dst, const void *src, size_t size)
{
	uint32_t *d = (uint32_t *)dst;
	const uint32_t *s = (const uint32_t *)src;
	size_t i;

	for (i = 0; i < size / 4; i++)
		d[i] = shm_load(s + i);
}

#endif
