/* SPDX-License-Identifier: MIT */
#include "daemon/view.h"
#include "base/err.h"
#include "daemon/carrier.h"
#include "daemon/layout.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_ioctl(int fd, unsigned long op, void *arg)
{
	int ret = ioctl(fd, op, arg);

	return ret < 0 ? -errno : ret;
}

static void *kernel_mmap(int fd, uint64_t off, uint64_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)off);

	return p == MAP_FAILED ? NULL : p;
}

static void kernel_munmap(void *p, uint64_t size)
{
	munmap(p, size);
}

const struct dev_calls dev_calls_kernel = { .ioctl = kernel_ioctl,
					    .mmap = kernel_mmap,
					    .munmap = kernel_munmap };

int view_open(struct view *v, const struct dev_calls *calls, int fd,
	      uint64_t id, struct err *err)
{
	struct llmd_getfd g = { .size = sizeof(g), .session = id };
	int view = calls->ioctl(fd, LLMD_IOC_GETFD, &g), i, ret = 0;

	if (view < 0)
		return err_set(err, view, "its descriptor: %s",
			       strerror(-view));
	memset(v, 0, sizeof(*v));
	v->setup = g.info;
	/* the kernel's word is believed; that we read it alike is not */
	if (!layout_holds(&g.info))
		ret = err_set(err, -EPROTO,
			      "the module lays sessions out as this llmd does "
			      "not know");
	for (i = 0; !ret && i < LLM_AREA_NR; i++) {
		v->area[i] = calls->mmap(view, LLM_MMAP_OFF(i),
					 g.info.area_size[i],
					 i == LLM_AREA_ENGINE
						 ? PROT_READ | PROT_WRITE
						 : PROT_READ);
		if (!v->area[i])
			ret = err_set(err, -errno, "mapping area %d: %s", i,
				      strerror(errno));
	}
	close(view);
	if (ret)
		view_close(v, calls);
	return ret;
}

void view_close(struct view *v, const struct dev_calls *calls)
{
	int i;

	for (i = 0; i < LLM_AREA_NR; i++)
		if (v->area[i])
			calls->munmap(v->area[i], v->setup.area_size[i]);
	memset(v->area, 0, sizeof(v->area));
}

void view_session(const struct view *v, struct session *s)
{
	const struct llm_setup *w = &v->setup;
	const uint8_t *client = v->area[LLM_AREA_CLIENT];
	uint8_t *engine = v->area[LLM_AREA_ENGINE];

	s->nr_streams = w->nr_streams;
	s->sq_entries = w->sq_entries;
	s->record_stride = w->record_stride;
	s->arena_size = w->arena_size;
	s->log_size = w->log_size;
	s->off_extent = w->off_extent;
	s->client = (const struct llm_client_ctl *)client;
	s->sqe = (const struct llm_sqe *)(client + w->off_sq);
	s->wish = (const struct llm_wish *)(client + w->off_wish);
	s->arena = v->area[LLM_AREA_ARENA];
	s->host = v->area[LLM_AREA_HOST];
	s->base = engine;
	s->engine = (struct llm_engine_ctl *)engine;
	s->model = (struct llm_model *)(engine + w->off_info);
	s->commit = (uint64_t *)(engine + w->off_commit);
	s->record = engine + w->off_record;
}
