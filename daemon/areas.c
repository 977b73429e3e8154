/* SPDX-License-Identifier: MIT */
#include "daemon/areas.h"
#include "base/err.h"
#include "daemon/carrier.h"
#include "daemon/layout.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

static_assert(AREAS_NR == LLM_HELLO_FDS, "a descriptor for each file");

static uint64_t file_size(const struct llm_setup *s, int which)
{
	switch (which) {
	case AREAS_CLIENT:
		return s->area_size[LLM_AREA_CLIENT] +
		       s->area_size[LLM_AREA_ARENA];
	case AREAS_HOST:
		return s->area_size[LLM_AREA_HOST];
	default:
		return s->area_size[LLM_AREA_ENGINE];
	}
}

static void areas_empty(struct areas *a, const struct llm_setup *setup)
{
	int i;

	memset(a, 0, sizeof(*a));
	a->setup = *setup;
	for (i = 0; i < AREAS_NR; i++)
		a->fd[i] = -1;
}

/*
 * Mode 0600: a memfd is born 0777, and /proc/self/fd opens it again for
 * whoever the mode lets.
 */
static int file_create(uint64_t size, struct err *err)
{
	static const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, ret;

	fd = memfd_create("llm-session", flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before 6.3 */
		fd = memfd_create("llm-session", flags);
	if (fd < 0) {
		ret = -errno;
		return err_set(err, ret, "memfd_create: %s", strerror(-ret));
	}
	if (ftruncate(fd, (off_t)size) < 0 || fchmod(fd, 0600) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		ret = -errno;
		close(fd);
		return err_set(err, ret, "memory of %llu bytes: %s",
			       (unsigned long long)size, strerror(-ret));
	}
	return fd;
}

/* Map a whole file; NULL on error.  @at: there (MAP_FIXED), or NULL. */
static void *file_map(const struct areas *a, int which, int prot, void *at)
{
	void *p = mmap(at, file_size(&a->setup, which), prot,
		       MAP_SHARED | (at ? MAP_FIXED : 0), a->fd[which], 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The three mappings that keeper and engine both have. */
static int map_common(struct areas *a, struct err *err)
{
	int ret;

	a->client = file_map(a, AREAS_CLIENT, PROT_READ, NULL);
	if (a->client)
		a->host = file_map(a, AREAS_HOST, PROT_READ, NULL);
	if (a->host)
		a->engine =
			file_map(a, AREAS_ENGINE, PROT_READ | PROT_WRITE, NULL);
	if (a->engine)
		return 0;
	ret = -errno;
	return err_set(err, ret, "mapping a session: %s", strerror(-ret));
}

/* Put an anonymous page back, so that the address stays taken. */
static void host_forget(void *host_page)
{
	void *p = mmap(host_page, LAYOUT_PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	assert(p == host_page);
	(void)p;
}

int areas_create(struct areas *a, const struct llm_setup *setup,
		 void *host_page, struct err *err)
{
	int i, ret;

	assert(layout_holds(setup));
	areas_empty(a, setup);
	for (i = 0; i < AREAS_NR; i++) {
		ret = file_create(file_size(setup, i), err);
		if (ret < 0)
			goto out_unmap;
		a->fd[i] = ret;
	}
	ret = map_common(a, err);
	if (ret)
		goto out_unmap;
	a->host_rw = file_map(a, AREAS_HOST, PROT_READ | PROT_WRITE, host_page);
	if (!a->host_rw) {
		ret = err_set(err, -errno, "mapping a session: %s",
			      strerror(errno));
		host_forget(host_page);
		goto out_unmap;
	}
	if (fcntl(a->fd[AREAS_CLIENT], F_ADD_SEALS, F_SEAL_SEAL) < 0 ||
	    fcntl(a->fd[AREAS_HOST], F_ADD_SEALS,
		  F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
		ret = err_set(err, -errno, "sealing a session: %s",
			      strerror(errno));
		goto out_unmap;
	}
	return 0;
out_unmap:
	areas_unmap(a);
	return ret;
}

int areas_seal(struct areas *a, struct err *err)
{
	if (fcntl(a->fd[AREAS_ENGINE], F_ADD_SEALS,
		  F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
		return err_set(err, -errno, "sealing a session: %s",
			       strerror(errno));
	return 0;
}

int areas_share(const struct areas *a, int ret_fd[AREAS_NR], struct err *err)
{
	char path[32];
	int i, ret;

	ret_fd[AREAS_CLIENT] = a->fd[AREAS_CLIENT];
	for (i = AREAS_HOST; i < AREAS_NR; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", a->fd[i]);
		ret_fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (ret_fd[i] >= 0)
			continue;
		ret = err_set(err, -errno, "%s: %s", path, strerror(errno));
		if (i == AREAS_ENGINE)
			close(ret_fd[AREAS_HOST]);
		return ret;
	}
	return 0;
}

void areas_close_shared(int fd[AREAS_NR])
{
	close(fd[AREAS_HOST]);
	close(fd[AREAS_ENGINE]);
}

void areas_close_fds(struct areas *a)
{
	int i;

	for (i = 0; i < AREAS_NR; i++) {
		if (a->fd[i] >= 0)
			close(a->fd[i]);
		a->fd[i] = -1;
	}
}

int areas_map(struct areas *a, const struct llm_setup *setup,
	      const int fd[AREAS_NR], struct err *err)
{
	int ret;

	assert(layout_holds(setup));
	areas_empty(a, setup);
	memcpy(a->fd, fd, sizeof(a->fd));
	ret = map_common(a, err);
	if (ret)
		areas_unmap(a);
	else
		areas_close_fds(a);
	return ret;
}

void areas_unmap(struct areas *a)
{
	const struct llm_setup *s = &a->setup;

	if (a->client)
		munmap((void *)a->client, file_size(s, AREAS_CLIENT));
	if (a->host)
		munmap((void *)a->host, file_size(s, AREAS_HOST));
	if (a->engine)
		munmap(a->engine, file_size(s, AREAS_ENGINE));
	if (a->host_rw)
		host_forget(a->host_rw);
	a->client = NULL;
	a->host = NULL;
	a->host_rw = NULL;
	a->engine = NULL;
	areas_close_fds(a);
}

void areas_tell_model(struct areas *a, const struct llm_model *model)
{
	if (model->vocab)
		memcpy(a->engine + a->setup.off_info, model, sizeof(*model));
}

void areas_view(const struct areas *a, struct session *s)
{
	const struct llm_setup *w = &a->setup;

	s->nr_streams = w->nr_streams;
	s->sq_entries = w->sq_entries;
	s->record_stride = w->record_stride;
	s->arena_size = w->arena_size;
	s->log_size = w->log_size;
	s->off_extent = w->off_extent;
	s->client = (const struct llm_client_ctl *)a->client;
	s->sqe = (const struct llm_sqe *)(a->client + w->off_sq);
	s->wish = (const struct llm_wish *)(a->client + w->off_wish);
	s->arena = a->client + w->area_size[LLM_AREA_CLIENT];
	s->host = a->host;
	s->base = a->engine;
	s->engine = (struct llm_engine_ctl *)a->engine;
	s->model = (struct llm_model *)(a->engine + w->off_info);
	s->commit = (uint64_t *)(a->engine + w->off_commit);
	s->record = a->engine + w->off_record;
}
