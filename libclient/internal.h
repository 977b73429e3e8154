/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the library's files share: the session, its streams.
 *
 * A session is one thread's at a time, so nothing here is locked; memory
 * shared with the service is ordered through llm_shm.h only.
 */
#ifndef LIBCLIENT_INTERNAL_H
#define LIBCLIENT_INTERNAL_H

#include "include/llmclient.h"

#include <stdbool.h>

/* How a session reaches the service: what socket and device differ in. */
struct carrier {
	/*
	 * One entry more is in the ring, sq_tail is stored: tell of it.  0, or
	 * a negative errno where it was refused and is still in the ring: the
	 * caller takes it back.  Never blocks.
	 */
	int (*submit)(struct llmc *s);
	/* a cancel_gen was stored: tell of it.  Never blocks. */
	void (*cancel)(struct llmc *s);
	/*
	 * Entries, counted from the first, that the engine has admitted,
	 * refused or dropped: what they named in ARENA is ours again.
	 */
	uint32_t (*head)(struct llmc *s);
	/* sleep until woken: 1, 0 time is over, -EPIPE */
	int (*sleep)(struct llmc *s, int timeout_ms);
	/* take pending wakes off the descriptor: 0 or -EPIPE */
	int (*drain)(struct llmc *s);
	void (*close)(struct llmc *s);
};

struct llmc_stream {
	struct llmc *s;
	uint32_t slot;
	uint32_t gen;	    /* of the last submission; 0 = never used */
	uint32_t arm;	    /* counts armings, never 0 once armed */
	uint32_t ring_pos;  /* of the last submission, + 1 */
	uint32_t read;	    /* tokens read */
	uint32_t text_read; /* bytes read */
	uint64_t user_data;
	bool held; /* by the program, until llmc_release() */
	bool seen; /* its end was given by llmc_result() */
	/* of this gen, once the record is there and was found sane */
	bool bound;
	const struct llm_record *rec;
	const struct llm_tok *log;
	const char *text;
	const struct llm_alt *alt;
};

/* One place of the ring, as we remember it. */
struct llmc_entry {
	uint64_t arena_end; /* arena_head after it */
	uint32_t slot, gen;
};

struct llmc {
	const struct carrier *carrier;
	int fd;	   /* connection or device; owned */
	bool gone; /* the service hung up */
	struct llm_setup su;
	/* bytes mapped; where ARENA is a mapping of its own, arena_size */
	size_t client_size, arena_size, engine_size, host_size;
	/* written by: us; read by: the engine */
	struct llm_client_ctl *ctl;
	struct llm_sqe *sqe;   /* [sq_entries] */
	struct llm_wish *wish; /* [nr_streams] */
	uint8_t *arena;
	/* written by: keeper or kernel; engine.  Mapped read-only. */
	const struct llm_host_ctl *host;
	const struct llm_engine_ctl *engine;
	const uint64_t *commit; /* [nr_streams] */
	const uint8_t *base;	/* start of ENGINE */
	/* private */
	uint32_t tail;	/* of the ring: entries submitted */
	uint32_t head;	/* device: entries that carrier->head() found passed */
	uint32_t freed; /* entries whose arena room is taken back */
	/* room in use: [tail, head) modulo arena_size; both only count up */
	uint64_t arena_head, arena_tail;
	struct llmc_entry *entry; /* owned: [sq_entries] */
	uint32_t next_slot;
	struct llmc_stream *streams; /* owned: [nr_streams] */
};

/* error.c: keep the words for llmc_error(); returns @code. */
int llmc_fail(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * client.c: @src, a struct that begins with its size, into ours of @size
 * bytes.  A shorter one is filled up with zeroes; a longer one is taken where
 * its unknown tail is zero.  0, -EINVAL, -E2BIG; @what for the words.
 */
int llmc_take_struct(void *dst, uint32_t size, const void *src,
		     const char *what);

/* carrier_sock.c: connect, say hello, map.  Fills s but for what is private. */
int llmc_sock_open(struct llmc *s, const char *path,
		   const struct llm_setup *want);

/*
 * carrier_sock.c: say the hello of @size bytes at @path (NULL: the default
 * socket) and hear the reply.  The connection, the caller's to close; or a
 * negative errno, the keeper's refusal among them.
 */
int llmc_sock_hello(const char *path, const void *hello, size_t size,
		    struct llm_hello_reply *ret);
/* carrier_sock.c: exactly @size bytes; -EPROTO at the end, -EAGAIN late. */
int llmc_sock_recv(int fd, void *buf, size_t size);
/*
 * carrier_sock.c: as llmc_sock_hello(), with the structs that follow, each cut
 * or filled up to @elem_size bytes, in *ret_list (malloced).  0 or -errno.
 */
int llmc_sock_ask(const char *path, const void *hello, size_t size,
		  size_t elem_size, void **ret_list, uint32_t *ret_nr);
/* carrier_sock.c: is the layout that the service told of one at all? */
bool llmc_layout_sane(const struct llm_setup *u);

/* netlink.c: as llmc_list(), of the module. */
int llmc_dev_list(struct llm_session_info **ret_list, uint32_t *ret_nr);

/* where.c: does @path name a character device? */
bool llmc_is_device(const char *path);
/* where.c: the first socket that exists, else the system's. */
const char *llmc_where_socket(void);

/* stream.c: the commit word, if it is of this gen; 0 where not admitted yet. */
uint64_t llmc_stream_word(const struct llmc_stream *st);
/* stream.c: true once the slot may be submitted to again. */
bool llmc_stream_idle(const struct llmc_stream *st);

/* params.c: bytes that the request's llm_params take, tail included. */
size_t llmc_params_size(const struct llmc_request *req);
/*
 * params.c: can it be packed: counts, pointers, the strings' lengths.  First;
 * the numbers are judged by the engine, which says why it refuses.
 */
int llmc_params_check(const struct llmc_request *req);
/* params.c: write them; @buf has llmc_params_size() bytes. */
void llmc_params_write(const struct llmc_request *req, uint8_t *buf,
		       size_t size);

#endif
