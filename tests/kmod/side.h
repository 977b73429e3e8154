/* SPDX-License-Identifier: MIT */
/*
 * side.h - both ends of the device, by hand: a client and a daemon as small as
 * they can be, so that a test says itself in which order things happen.
 */
#ifndef SIDE_H
#define SIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/llm.h>

struct client {
	int fd;
	struct llm_setup lay;
	struct llm_client_ctl *ctl;
	struct llm_sqe *sq;
	struct llm_wish *wish;
	uint8_t *arena;
	const struct llm_host_ctl *host;
	const struct llm_engine_ctl *engine;
};

struct daemon {
	int fd;
	const struct llmd_ring_hdr *hdr;
	const struct llmd_work *work;
	struct llmd_ctl *ctl;
};

/* The daemon's view of a session. */
struct view {
	int fd;
	uint64_t id;
	struct llm_setup lay;
	struct llm_engine_ctl *engine;
	const struct llm_client_ctl *client;
	const uint8_t *arena;
};

#define SIDE_STREAMS 8u
#define SIDE_ENTRIES 64u
#define SIDE_ARENA   65536u
#define SIDE_LOG     65536u

void *side_map(int fd, unsigned area, size_t len, int prot);

/* -1 with errno, nothing left open.  client_open() asks for the sizes above. */
int client_open(struct client *c);
int client_setup(struct client *c, const struct llm_setup *wishes);
void client_close(struct client *c);

/* Into the ring, tail moved. */
void client_put(struct client *c, const struct llm_sqe *e);
int client_enter(struct client *c, uint32_t n, uint32_t flags, uint64_t ns);
uint64_t client_word(const struct client *c, unsigned stream);

/* An entry of the given op for (stream, gen). */
struct llm_sqe side_entry(unsigned op, unsigned stream, uint32_t gen);

/* One PING, asleep in ENTER until its END; false: @ns passed (0: for ever). */
bool client_ping_ns(struct client *c, unsigned stream, uint32_t gen,
		    uint64_t ns);
/* The same, in 5 s. */
bool client_ping(struct client *c, unsigned stream, uint32_t gen);

int daemon_open(struct daemon *d);
void daemon_close(struct daemon *d);
int daemon_attach(struct daemon *d);
const struct llmd_work *daemon_peek(struct daemon *d);
void daemon_ack(struct daemon *d);
int daemon_take(struct daemon *d, uint64_t ns);
int daemon_wake(struct daemon *d, uint64_t id);

/* Acknowledge all there is; how many. */
unsigned daemon_drain(struct daemon *d);

int view_open(struct daemon *d, uint64_t id, struct view *v);
void view_close(struct view *v);
void view_commit(struct view *v, unsigned stream, uint64_t word);
struct llm_record *view_record(struct view *v, unsigned stream);

/* A daemon in a thread that answers every request with END at once. */
enum how { BY_IOCTL, BY_URING, BY_SPIN };
struct echo {
	struct daemon d;
	enum how how;
	atomic_bool stop;
	atomic_long served;
	struct view v[64];
	int nr;
	pthread_t thread;
};
void echo_start(struct echo *e, enum how how);
void echo_stop(struct echo *e);
void *echo_main(void *arg);

/* This process is that user's from here on. */
void side_as_uid(unsigned uid);

/* The same, and root of a user namespace of its own, where it is user 0. */
void side_as_root_of_a_namespace(unsigned uid);

/* Wait for a child; its exit status, or 256 + signal. */
int side_wait(pid_t pid);

#endif
