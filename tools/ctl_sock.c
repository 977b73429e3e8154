/* SPDX-License-Identifier: MIT */
/* ctl_sock.c - administration through the keeper's socket. */
#include "tools/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *path_of(const struct ctl *c)
{
	return c->socket ? c->socket : llmc_default_socket();
}

/* The library's words; "no daemon" told apart from "no such session". */
static int said(struct ctl *c, int error)
{
	if (!error)
		return 0;
	if (error == -ENOENT && access(path_of(c), F_OK))
		error = -ECONNREFUSED;
	return ctl_say(c, error, "%s", llmc_error());
}

static int sock_open(struct ctl *c)
{
	(void)c; /* a connection a question */
	return 0;
}

static void sock_close(struct ctl *c)
{
	(void)c;
}

static int sock_tenants(struct ctl *c, struct llm_tenant_info **ret,
			uint32_t *ret_nr)
{
	return said(c, llmc_tenants(path_of(c), ret, ret_nr));
}

static int sock_tenant(struct ctl *c, uint64_t key, struct llm_tenant_info *ret)
{
	struct llm_tenant_info *list;
	uint32_t nr, i;
	int r = sock_tenants(c, &list, &nr);

	if (r)
		return r;
	r = ctl_say(c, -ENOENT,
		    "tenant %llu has neither sessions nor settings, or you "
		    "may not see it",
		    (unsigned long long)key);
	for (i = 0; i < nr; i++) {
		if (list[i].tenant != key)
			continue;
		*ret = list[i];
		r = 0;
	}
	free(list);
	return r;
}

static int sock_set(struct ctl *c, const struct llm_tenant_info *what)
{
	return said(c, llmc_tenant_set(path_of(c), what, NULL));
}

static int sock_reset(struct ctl *c, uint64_t key)
{
	return said(c, llmc_tenant_reset(path_of(c), key, NULL));
}

static int sock_sessions(struct ctl *c, struct llm_session_info **ret,
			 uint32_t *ret_nr)
{
	return said(c, llmc_list(path_of(c), ret, ret_nr));
}

static int sock_kill(struct ctl *c, uint64_t session)
{
	return said(c, llmc_kill(path_of(c), session, NULL));
}

static int sock_service(struct ctl *c, struct ctl_service *ret)
{
	struct llm_tenant_info *list;
	uint32_t i;
	int r;

	*ret = (struct ctl_service){ .carrier = "socket", .has_engine = true };
	r = said(c, llmc_info(path_of(c), &ret->info));
	if (!r)
		r = sock_tenants(c, &list, &ret->nr_tenants);
	if (r)
		return r;
	ret->info.model.name[sizeof(ret->info.model.name) - 1] = 0;
	for (i = 0; i < ret->nr_tenants; i++) {
		ret->submitted += list[i].submitted;
		ret->refused += list[i].refused;
	}
	free(list);
	return 0;
}

static int sock_monitor(struct ctl *c,
			bool (*event)(void *arg, const struct llm_event_info *),
			void *arg)
{
	struct llm_event_info ev;
	int fd = llmc_monitor(path_of(c)), r;

	if (fd < 0)
		return said(c, fd);
	do {
		r = llmc_event(fd, &ev);
	} while (!r && event(arg, &ev));
	close(fd);
	return said(c, r);
}

const struct ctl_carrier ctl_sock = {
	.name = "socket",
	.open = sock_open,
	.close = sock_close,
	.tenants = sock_tenants,
	.tenant = sock_tenant,
	.set = sock_set,
	.reset = sock_reset,
	.sessions = sock_sessions,
	.kill = sock_kill,
	.service = sock_service,
	.monitor = sock_monitor,
};
