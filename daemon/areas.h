/* SPDX-License-Identifier: MIT */
/*
 * areas.h - the memory of one session on the socket: three sealed memfds.
 *
 *   file    keeper maps      engine maps   the client gets
 *   CLIENT  read             read          the descriptor itself (writable)
 *   HOST    write + read     read          a read-only reopening
 *   ENGINE  write            write         a read-only reopening
 *
 * CLIENT holds ARENA behind it.  Nobody can change a size (a shrunk file is a
 * SIGBUS in whoever reads it).  HOST and ENGINE end with
 * F_SEAL_FUTURE_WRITE: what is mapped writable stays so, and is inherited by
 * fork; nobody, whatever his uid, maps or opens them for writing again.  That
 * is why the keeper maps ENGINE although it writes none of it, why it forks
 * the engine and never executes it.  doc/PROTOCOL.md lists
 * the attacks.
 */
#ifndef DAEMON_AREAS_H
#define DAEMON_AREAS_H

#include <stdint.h>
#include <linux/llm.h>

struct err;
struct session;

/* the order of descriptors in a hello reply */
enum { AREAS_CLIENT, AREAS_HOST, AREAS_ENGINE, AREAS_NR };

struct areas {
	struct llm_setup setup; /* as layout_fill() left it */
	int fd[AREAS_NR];	/* owned; -1 once closed */
	/* owned mappings */
	const uint8_t *client; /* [CLIENT + ARENA], read-only; hostile */
	const struct llm_host_ctl *host; /* read-only */
	struct llm_host_ctl *host_rw;	 /* keeper only: NULL in the engine */
	uint8_t *engine;
};

/*
 * Keeper: make the files of @setup (complete but for session), map them, seal
 * what can be sealed now.  @host_page, one page of address space, becomes the
 * one writable mapping of HOST that there will ever be.  0 or a negative
 * errno; on error, and after areas_unmap(), an anonymous page without rights
 * stands at @host_page.
 */
int areas_create(struct areas *a, const struct llm_setup *setup,
		 void *host_page, struct err *err);

/* Keeper: the engine has ENGINE mapped, or none lives: nobody will again. */
int areas_seal(struct areas *a, struct err *err);

/*
 * Keeper: the client's descriptors, in the reply's order.  [AREAS_CLIENT] is
 * borrowed from @a, the others are new: areas_close_shared() them.
 */
int areas_share(const struct areas *a, int ret_fd[AREAS_NR], struct err *err);
void areas_close_shared(int fd[AREAS_NR]);

/* The mappings stay; nobody needs the files any more. */
void areas_close_fds(struct areas *a);

/* Engine: map a session that came by message; takes @fd over, error or not. */
int areas_map(struct areas *a, const struct llm_setup *setup,
	      const int fd[AREAS_NR], struct err *err);

/* Undo areas_create() or areas_map(). */
void areas_unmap(struct areas *a);

/*
 * Whoever owns ENGINE now (the engine; before one has it, the keeper): store
 * what is served, where that is known (vocab is not 0).
 */
void areas_tell_model(struct areas *a, const struct llm_model *model);

/* Point @s into @a: areas, sizes, counts; who and index are the caller's. */
void areas_view(const struct areas *a, struct session *s);

#endif
