/* SPDX-License-Identifier: MIT */
#include "daemon/guests.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int guests_add(struct guests *g, int fd, uint64_t deadline_ns,
	       struct guest **ret, struct err *err)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	struct guest *guest;
	uint32_t i, mine = 0, slot = GUESTS_MAX;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return err_set(err, -errno, "who connects: %s",
			       strerror(errno));
	for (i = 0; i < g->top; i++) {
		if (g->at[i])
			mine += g->at[i]->uid == who.uid;
		else if (slot == GUESTS_MAX)
			slot = i;
	}
	if (mine >= GUESTS_MAX_UID)
		return err_set(err, -EDQUOT,
			       "uid %u has %u connections without a hello",
			       who.uid, mine);
	if (slot == GUESTS_MAX)
		slot = g->top;
	if (slot == GUESTS_MAX)
		return err_set(err, -EUSERS, "%u connections without a hello",
			       g->nr);
	guest = malloc(sizeof(*guest));
	if (!guest)
		return err_set(err, -ENOMEM, "out of memory");
	guest->fd = fd;
	guest->index = slot;
	guest->uid = who.uid;
	guest->pid = (uint32_t)who.pid;
	guest->serial = g->next_serial++;
	guest->deadline_ns = deadline_ns;
	guest->in.have = 0;
	guest->out = NULL;
	guest->out_at = guest->out_size = 0;
	g->at[slot] = guest;
	if (slot == g->top)
		g->top++;
	g->nr++;
	*ret = guest;
	return 0;
}

void guests_remove(struct guests *g, struct guest *guest)
{
	g->at[guest->index] = NULL;
	g->nr--;
	while (g->top && !g->at[g->top - 1])
		g->top--;
	if (guest->fd >= 0)
		close(guest->fd);
	free(guest->out);
	free(guest);
}

void guests_remove_all(struct guests *g)
{
	uint32_t i;

	for (i = GUESTS_MAX; i--;)
		if (g->at[i])
			guests_remove(g, g->at[i]);
}

int guest_read(struct guest *guest)
{
	struct hello_in *in = &guest->in;
	uint32_t need;
	ssize_t n;

	while ((need = hello_need(in))) {
		/* no control buffer: descriptors vanish in the kernel */
		n = recv(guest->fd, in->buf + in->have, need, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		in->have += (uint32_t)n;
	}
	return 1;
}

int guest_write(struct guest *guest)
{
	ssize_t n;

	while (guest->out_at < guest->out_size) {
		n = send(guest->fd, guest->out + guest->out_at,
			 guest->out_size - guest->out_at,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		guest->out_at += (size_t)n;
	}
	return 1;
}

void guest_refuse(struct guest *guest, const struct err *err)
{
	struct llm_hello_reply reply;

	hello_refuse(&reply, err);
	hello_send(guest->fd, &reply, NULL, 0);
}

int guest_grant(struct guest *guest, const void *elem, uint32_t elem_size,
		uint32_t nr)
{
	size_t size = (size_t)nr * elem_size;
	struct llm_hello_reply reply;

	hello_grant(&reply);
	reply.nr = nr;
	reply.elem_size = elem_size;
	guest->out_size = sizeof(reply) + size;
	guest->out = malloc(guest->out_size);
	if (!guest->out)
		return -ENOMEM;
	memcpy(guest->out, &reply, sizeof(reply));
	memcpy(guest->out + sizeof(reply), elem, size);
	return guest_write(guest);
}

uint64_t guests_deadline(const struct guests *g)
{
	uint64_t nearest = UINT64_MAX;
	uint32_t i;

	for (i = 0; i < g->top; i++)
		if (g->at[i] && g->at[i]->deadline_ns < nearest)
			nearest = g->at[i]->deadline_ns;
	return nearest;
}

struct guest *guests_late(const struct guests *g, uint64_t now_ns)
{
	uint32_t i;

	for (i = 0; i < g->top; i++)
		if (g->at[i] && g->at[i]->deadline_ns <= now_ns)
			return g->at[i];
	return NULL;
}
