/* SPDX-License-Identifier: MIT */
/* client.c - sessions: open, close, what is served. */
#include "libclient/internal.h"
#include "include/llm_shm.h"
#include "libclient/carrier_dev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef LLM_VERSION
#define LLM_VERSION "0"
#endif

const char *llmc_version(void)
{
	return LLM_VERSION;
}

int llmc_take_struct(void *dst, uint32_t size, const void *src,
		     const char *what)
{
	uint32_t theirs, i;

	memcpy(&theirs, src, sizeof(theirs));
	if (theirs < 2 * sizeof(theirs) || theirs > 65536)
		return llmc_fail(-EINVAL, "%s.size is %u, this library's is %u",
				 what, theirs, size);
	for (i = size; i < theirs; i++)
		if (((const uint8_t *)src)[i])
			return llmc_fail(-E2BIG,
					 "%s.size is %u, with fields that this "
					 "library does not know (its size is "
					 "%u)",
					 what, theirs, size);
	memset(dst, 0, size);
	memcpy(dst, src, theirs < size ? theirs : size);
	return 0;
}

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static int check_options(const struct llmc_options *o)
{
	if (o->resv)
		return llmc_fail(-EINVAL, "resv is %u, must be 0", o->resv);
	if (o->nr_streams > LLM_MAX_STREAMS)
		return llmc_fail(-EINVAL, "nr_streams is %u, allowed 1 to %u",
				 o->nr_streams, LLM_MAX_STREAMS);
	if (o->sq_entries && (!power_of_two(o->sq_entries) ||
			      o->sq_entries > LLM_MAX_SQ_ENTRIES))
		return llmc_fail(
			-EINVAL,
			"sq_entries is %u, allowed powers of two to %u",
			o->sq_entries, LLM_MAX_SQ_ENTRIES);
	return 0;
}

/*
 * To where @path says.  NULL is where the service is looked for: a device
 * that nobody serves stands back behind a socket.
 */
static int open_at(struct llmc *s, const char *path,
		   const struct llm_setup *want)
{
	const char *at = path ? path : llmc_default_socket();
	int ret;

	if (!llmc_is_device(at))
		return llmc_sock_open(s, at, want);
	ret = llmc_dev_open(s, at, want);
	if (path || ret != -ECONNREFUSED || access(llmc_where_socket(), F_OK))
		return ret;
	*s = (struct llmc){ .fd = -1 };
	return llmc_sock_open(s, llmc_where_socket(), want);
}

int llmc_open(struct llmc **ret_session, const struct llmc_options *opt)
{
	struct llmc_options o = { .size = LLMC_OPTIONS_SIZE };
	struct llm_setup want = { .size = sizeof(want),
				  .abi = LLM_ABI_VERSION };
	struct llmc *s;
	uint32_t i;
	int ret = 0;

	if (opt)
		ret = llmc_take_struct(&o, sizeof(o), opt, "llmc_options");
	if (!ret)
		ret = check_options(&o);
	if (ret)
		return ret;
	s = calloc(1, sizeof(*s));
	if (!s)
		return llmc_fail(-ENOMEM, "out of memory");
	s->fd = -1;
	want.sq_entries = o.sq_entries;
	want.nr_streams = o.nr_streams;
	want.arena_size = o.arena_size;
	want.log_size = o.log_size;
	ret = open_at(s, o.socket, &want);
	if (ret)
		goto out_free;
	s->streams = calloc(s->su.nr_streams, sizeof(*s->streams));
	s->entry = calloc(s->su.sq_entries, sizeof(*s->entry));
	if (!s->streams || !s->entry) {
		ret = llmc_fail(-ENOMEM, "out of memory");
		goto out_close;
	}
	for (i = 0; i < s->su.nr_streams; i++) {
		s->streams[i].s = s;
		s->streams[i].slot = i;
		/* opening may have armed one */
		s->streams[i].arm =
			(uint32_t)(shm_load(&s->wish[i].arm_want) >> 32);
	}
	*ret_session = s;
	return 0;

out_close:
	s->carrier->close(s);
out_free:
	free(s->streams);
	free(s->entry);
	free(s);
	return ret;
}

void llmc_close(struct llmc *s)
{
	if (!s)
		return;
	s->carrier->close(s);
	free(s->entry);
	free(s->streams);
	free(s);
}

const struct llm_model *llmc_model(const struct llmc *s)
{
	return (const struct llm_model *)(s->base + s->su.off_info);
}

uint32_t llmc_epoch(const struct llmc *s)
{
	return shm_load(&s->host->epoch);
}

int llmc_fd(const struct llmc *s)
{
	return s->fd;
}

int llmc_ack(struct llmc *s)
{
	return s->carrier->drain(s);
}
