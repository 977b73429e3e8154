/* SPDX-License-Identifier: MIT */
/* admin.c - looking at the service and administering it: a connection each. */
#include "libclient/internal.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* An op that names nothing but itself. */
static int ask(const char *socket, uint32_t op, size_t elem_size,
	       void **ret_list, uint32_t *ret_nr)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = op,
			       .setup = { .size = sizeof(h.setup) } };

	return llmc_sock_ask(socket, &h, sizeof(h), elem_size, ret_list,
			     ret_nr);
}

/* The one struct of an answer, into @ret (may be NULL). */
static int take_one(void *list, uint32_t nr, void *ret, size_t size)
{
	if (nr && ret)
		memcpy(ret, list, size);
	free(list);
	return nr ? 0 : llmc_fail(-EPROTO, "an empty answer");
}

/* A device has no keeper to ask: what a session of one's own shows. */
static int device_info(const char *path, struct llm_info *ret)
{
	struct llmc_options o = { .size = LLMC_OPTIONS_SIZE,
				  .nr_streams = 1,
				  .sq_entries = 1,
				  .arena_size = 4096,
				  .log_size = 4096,
				  .socket = path };
	struct llmc *s;
	int r = llmc_open(&s, &o);

	if (r)
		return r;
	*ret = (struct llm_info){
		.size = sizeof(*ret),
		.daemon = shm_load(&s->host->daemon),
		.epoch = llmc_epoch(s),
		.model = *llmc_model(s),
	};
	llmc_close(s);
	return 0;
}

int llmc_info(const char *socket, struct llm_info *ret)
{
	void *list;
	uint32_t nr;
	int r;

	if (llmc_is_device(socket ? socket : llmc_default_socket()))
		return device_info(socket, ret);
	r = ask(socket, LLM_HELLO_INFO, sizeof(*ret), &list, &nr);
	return r ? r : take_one(list, nr, ret, sizeof(*ret));
}

int llmc_list(const char *socket, struct llm_session_info **ret_list,
	      uint32_t *ret_nr)
{
	void *list;
	int r;

	if (llmc_is_device(socket ? socket : llmc_default_socket()))
		return llmc_dev_list(ret_list, ret_nr);
	r = ask(socket, LLM_HELLO_LIST, sizeof(**ret_list), &list, ret_nr);
	if (!r)
		*ret_list = list;
	return r;
}

int llmc_tenants(const char *socket, struct llm_tenant_info **ret_list,
		 uint32_t *ret_nr)
{
	void *list;
	int r = ask(socket, LLM_HELLO_TENANTS, sizeof(**ret_list), &list,
		    ret_nr);

	if (!r)
		*ret_list = list;
	return r;
}

static int admin(const char *socket, struct llm_hello_admin *h, void *ret,
		 size_t size)
{
	uint32_t nr;
	void *list;
	int r;

	h->size = sizeof(*h);
	h->magic = LLM_HELLO_MAGIC;
	r = llmc_sock_ask(socket, h, sizeof(*h), size, &list, &nr);
	return r ? r : take_one(list, nr, ret, size);
}

int llmc_tenant_set(const char *socket, const struct llm_tenant_info *what,
		    struct llm_tenant_info *ret)
{
	struct llm_hello_admin h = { .op = LLM_HELLO_SET };
	int r = llmc_take_struct(&h.tenant, sizeof(h.tenant), what,
				 "llm_tenant_info");

	h.tenant.size = sizeof(h.tenant);
	return r ? r : admin(socket, &h, ret, sizeof(*ret));
}

int llmc_tenant_reset(const char *socket, uint64_t tenant,
		      struct llm_tenant_info *ret)
{
	struct llm_hello_admin h = { .op = LLM_HELLO_RESET,
				     .tenant = { .size = sizeof(h.tenant),
						 .tenant = tenant } };

	return admin(socket, &h, ret, sizeof(*ret));
}

int llmc_kill(const char *socket, uint64_t session,
	      struct llm_session_info *ret)
{
	struct llm_hello_admin h = { .op = LLM_HELLO_KILL, .session = session };

	return admin(socket, &h, ret, sizeof(*ret));
}

int llmc_monitor(const char *socket)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_MONITOR,
			       .setup = { .size = sizeof(h.setup) } };
	const struct timeval ever = { 0 };
	struct llm_hello_reply rep;
	int fd = llmc_sock_hello(socket, &h, sizeof(h), &rep);

	if (fd < 0)
		return fd;
	if (rep.elem_size != sizeof(struct llm_event_info)) {
		close(fd);
		return llmc_fail(-EPROTO,
				 "events of %u bytes, this library knows %zu",
				 rep.elem_size, sizeof(struct llm_event_info));
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &ever, sizeof(ever));
	return fd;
}

int llmc_event(int fd, struct llm_event_info *ret)
{
	ssize_t n;

	/* sent whole, so received whole */
	do {
		n = recv(fd, ret, sizeof(*ret), MSG_WAITALL);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(*ret))
		return 0;
	return llmc_fail(-EPIPE, "llmd hung up");
}
