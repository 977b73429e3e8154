/* SPDX-License-Identifier: MIT */
/*
 * count.c - preloaded by test_counts: malloc and its kin count into a page of a
 * file, the one LLM_COUNT names, which the engine inherits.  glibc's own names
 * do the work.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t a, size_t n);

static unsigned long *page;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("LLM_COUNT");
	int fd = path ? open(path, O_RDWR) : -1;

	if (fd < 0)
		return;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
}

static void one(void)
{
	if (page)
		__atomic_fetch_add(page, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t n)
{
	one();
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
	one();
	return __libc_calloc(n, m);
}

void *realloc(void *p, size_t n)
{
	one();
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t a, size_t n)
{
	one();
	return __libc_memalign(a, n);
}

int posix_memalign(void **ret, size_t a, size_t n)
{
	one();
	*ret = __libc_memalign(a, n);
	return *ret ? 0 : 12;
}
