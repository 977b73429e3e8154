/* SPDX-License-Identifier: MIT */
#include "daemon/mark.h"

#ifdef LLM_MARKS
#include "include/llm_shm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Opened at the first mark of each process: the keeper never passes one. */
static struct mark_page *page(void)
{
	static struct mark_page none;
	static struct mark_page *p;
	const char *path;
	void *m;
	int fd;

	if (p)
		return p;
	p = &none;
	path = getenv("LLM_MARKS");
	fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return p;
	m = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (m != MAP_FAILED)
		p = m;
	return p;
}

void mark(unsigned n)
{
	struct mark_page *p = page();

	shm_add(&p->passed[n], 1);
	if (shm_load(&p->mark) != n)
		return;
	shm_store(&p->count, shm_load(&p->count) - 1);
	if (shm_load(&p->count) != 0)
		return;
	shm_store(&p->mark, 0u);
	shm_add(&p->kills[n], 1);
	shm_publish(&p->fired, 1u);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

int bug(unsigned n)
{
	return shm_load(&page()->bug) == n;
}
#endif
