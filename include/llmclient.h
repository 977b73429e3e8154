/* SPDX-License-Identifier: MIT */
/*
 * llmclient.h - the client library's whole face.
 *
 *	struct llmc *s;
 *	struct llmc_stream *st;
 *	char buf[256];
 *	ssize_t n;
 *
 *	if (llmc_open(&s, NULL))
 *		errx(1, "%s", llmc_error());
 *	llmc_submit(s, &(struct llmc_request){ .size = LLMC_REQUEST_SIZE,
 *			.text = "man ls", .flags = LLM_SQE_F_CHAT }, &st);
 *	while ((n = llmc_read_text(st, buf, sizeof(buf), -1)) > 0)
 *		fwrite(buf, 1, n, stdout);
 *	llmc_close(s);
 *
 * A session is this process's memory shared with the service; a stream is one
 * generation in it.  Tokens appear in that memory by themselves: reading them
 * is no system call, only sleeping for more of them is.
 *
 * Errors: 0 (or a count) or a negative errno; llmc_error() has the words.
 * -EAGAIN always means "not now", -EPIPE "the service is gone; what was
 * delivered can still be read", -EPROTO "what answers makes no sense", -E2BIG
 * "a struct with fields this library does not know".  An engine that dies and
 * is restarted is not an error: streams pause and go on with the same tokens
 * (llmc_epoch()).  On the device that holds for llmd as a whole: sessions wait
 * for the next one.  A signal ends no call; its handler may llmc_cancel().
 *
 * Threads: a session belongs to one thread at a time; as many threads as you
 * like, each with a session of its own.
 *
 * Structs that go in begin with their size, so that a program built against an
 * older header keeps working; those that come out are written whole, and do
 * not grow within a major version of the library.
 */
#ifndef LLMCLIENT_H
#define LLMCLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/llm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct llmc;	    /* a session; opaque */
struct llmc_stream; /* a stream of it; opaque, owned by the session */

/* ---- sessions -------------------------------------------------------- */

/* All may be 0 or NULL: a default that fits. */
struct llmc_options {
	uint32_t size;	     /* LLMC_OPTIONS_SIZE */
	uint32_t nr_streams; /* at a time; default 64, most LLM_MAX_STREAMS */
	uint32_t sq_entries; /* submissions not yet taken; a power of two */
	uint32_t resv;	     /* 0 */
	const char *socket;  /* or device; NULL: llmc_default_socket() */
	uint64_t arena_size; /* bytes for prompts not yet taken */
	uint64_t log_size;   /* bytes for prompts, tokens and texts kept */
};
#define LLMC_OPTIONS_SIZE ((uint32_t)sizeof(struct llmc_options))

/*
 * Open a session with the service at @opt->socket (@opt may be NULL): a Unix
 * socket of llmd's, or the device of the kernel module, which it is where the
 * path names a character device.  0 and *ret_session, which llmc_close() ends;
 * -ENOENT or -ECONNREFUSED: no daemon there (a device is given 2 s: one may be
 * about to start again); -EACCES: not for you; -EDQUOT: too many sessions, or
 * too much memory; -EPROTO: not an llmd, not our device; -ETIMEDOUT: no answer
 * in 30 s; -ENAMETOOLONG, -EINVAL, -ENOMEM, and what else the keeper or the
 * kernel refuses with.  Usually it takes under a millisecond.
 */
int llmc_open(struct llmc **ret_session, const struct llmc_options *opt);
/* End it: its streams are cancelled, its memory goes.  NULL is fine. */
void llmc_close(struct llmc *s);

/* One line about the last call of this thread that failed; never NULL. */
const char *llmc_error(void);
/*
 * Where the service is looked for: $LLM_SOCKET; else $LLM_DEVICE; else /dev/llm
 * where it may be opened (not so where LLM_DEVICE is set and empty); else the
 * first that exists of $XDG_RUNTIME_DIR/llmd.sock and /run/llmd/llmd.sock; else
 * the latter.  llmc_open() without a path also goes on to those sockets where
 * nobody serves the device.  Valid until the thread's next call.
 */
const char *llmc_default_socket(void);
/* "0.1.0" */
const char *llmc_version(void);

/* What is served: name, vocabulary, context.  Valid until llmc_close(). */
const struct llm_model *llmc_model(const struct llmc *s);
/* Lives of the engine so far: a change means a pause, no loss. */
uint32_t llmc_epoch(const struct llmc *s);

/* ---- submitting ------------------------------------------------------ */

struct llmc_request {
	uint32_t size;	 /* LLMC_REQUEST_SIZE */
	uint32_t op;	 /* 0 = LLM_OP_GENERATE; LLM_OP_SCORE, LLM_OP_PING */
	uint32_t flags;	 /* LLM_SQE_F_CHAT, _SPECIAL, _NO_BOS, _LOGPROBS */
	uint32_t class_; /* LLM_CLASS_* */
	/* the prompt: text, or ids where text is NULL; borrowed for the call */
	const char *text;
	size_t text_len; /* bytes; 0 = strlen(text) */
	const uint32_t *ids;
	size_t nr_ids;
	uint32_t max_tokens;  /* 0 = the model's default */
	uint32_t deadline_ms; /* from now; 0 = none */
	uint64_t user_data;   /* llmc_user_data() gives it back */
	/* sampling; a value counts where its LLM_SET_* bit stands in `set` */
	uint32_t set;
	uint32_t params_flags; /* LLM_PARAMS_F_IGNORE_EOS */
	uint64_t seed;
	float temperature, top_p, min_p;
	float repetition_penalty;		   /* LLM_SET_REPETITION */
	float frequency_penalty, presence_penalty; /* 0 = off; no bit */
	uint32_t top_k;
	uint32_t min_tokens;
	uint32_t nr_alt; /* alternatives a token, most LLM_MAX_ALT */
	uint32_t nr_stop, nr_stop_ids, nr_bias;
	const char *const *stop;     /* [nr_stop] strings, not empty */
	const uint32_t *stop_ids;    /* [nr_stop_ids] */
	const struct llm_bias *bias; /* [nr_bias] */
};
#define LLMC_REQUEST_SIZE ((uint32_t)sizeof(struct llmc_request))

/*
 * Submit; *ret_stream is a stream that llmc_release() gives back.  0; -EINVAL
 * for what this library can see is wrong (the rest comes as the stream's end:
 * LLM_END_REFUSED); -EAGAIN: all streams, the ring or the arena are in use, or
 * (on the device) too many submissions this second; -EDQUOT: (on the device)
 * your quota of requests in flight is used up; -EMSGSIZE: the prompt is larger
 * than the arena; -EPIPE.  A call that fails leaves nothing behind: read on,
 * and submit again.  What @req points to is copied.  One system call.
 */
int llmc_submit(struct llmc *s, const struct llmc_request *req,
		struct llmc_stream **ret_stream);
/* End it early; what was delivered stays.  The end comes as any other. */
void llmc_cancel(struct llmc_stream *st);
/* Give the stream back (cancelled first if it still runs).  NULL is fine. */
void llmc_release(struct llmc_stream *st);
uint64_t llmc_user_data(const struct llmc_stream *st);

/* ---- reading --------------------------------------------------------- */

struct llmc_token {
	uint32_t token;
	uint32_t flags; /* LLM_TOK_F_* */
	float logprob;	/* nats; NaN where not asked for */
	uint32_t text_len;
	const char *text; /* in the session's memory; until llmc_release() */
	const struct llm_alt *alt; /* [nr_alt], likeliest first */
	uint32_t nr_alt;
	uint32_t resv;
};

/*
 * Up to @nr tokens not read yet.  Their count; 0: the stream has ended and
 * all are read; -EAGAIN: none now; -EPIPE; -EINVAL: the submission was
 * dropped.  Never a system call.
 */
ssize_t llmc_read(struct llmc_stream *st, struct llmc_token *tok, size_t nr);
/*
 * Up to @size bytes of text not read yet, whole characters where they fit;
 * waits up to @timeout_ms (-1: for ever, 0: not at all) for the first.  Their
 * count; 0 at the end; -EAGAIN: time is over; -EPIPE; -EINVAL: dropped, or
 * @size is 0.  Tokens and text have one reading position each: use one of
 * them on a stream.
 */
ssize_t llmc_read_text(struct llmc_stream *st, char *buf, size_t size,
		       int timeout_ms);
/*
 * Sleep until @more unread tokens are there, or the end; @timeout_ms as above.
 * 1; 0: time is over; -EPIPE; -EINVAL: dropped.  A large @more means few
 * wake-ups.
 */
int llmc_wait(struct llmc_stream *st, uint32_t more, int timeout_ms);

/*
 * The prompt as the engine reads it: *ret_ids in the session's memory, until
 * llmc_release().  Their count; -EAGAIN: a text is not turned into ids yet;
 * -EPIPE; -EINVAL: dropped.  None where it was refused before.
 */
ssize_t llmc_prompt(struct llmc_stream *st, const uint32_t **ret_ids);

struct llmc_result {
	uint32_t size;	     /* LLMC_RESULT_SIZE */
	uint32_t end;	     /* enum llm_end */
	uint32_t detail;     /* LLM_DETAIL_* */
	uint32_t stop_index; /* LLM_DETAIL_STOP_STRING: which */
	uint32_t error; /* positive errno where refused or failed, else 0 */
	uint32_t prompt_tokens, cached_tokens, completion_tokens;
	uint64_t seed; /* the one in use, also where none was given */
	char why[160]; /* one line where refused or failed, else "" */
};
#define LLMC_RESULT_SIZE ((uint32_t)sizeof(struct llmc_result))

/* 0 and *ret once it has ended; -EAGAIN before; -EPIPE; -EINVAL: dropped. */
int llmc_result(struct llmc_stream *st, struct llmc_result *ret);
/* "stop", "length", "cancelled", "refused", "error", "deadline" */
const char *llmc_end_name(uint32_t end);

/* ---- one's own event loop -------------------------------------------- */

/*
 * Readable when an armed stream has what it was armed for, or the service is
 * gone.  For poll, epoll, io_uring (POLL_ADD); not to be read or closed.
 */
int llmc_fd(const struct llmc *s);
/*
 * Ask to be woken once, when @more unread tokens are there, or @delay_us after
 * the first of them (0 = no delay), or at the end.  1: that is so already, no
 * wake will come; 0: armed.  After each wake: llmc_ack(), read, arm again.
 */
int llmc_arm(struct llmc_stream *st, uint32_t more, uint32_t delay_us);
/*
 * The same for all of the session's streams whose end llmc_result() has not
 * given, at the price of one fence.  1 where one of them has it already.
 */
int llmc_arm_all(struct llmc *s, uint32_t more, uint32_t delay_us);
/* Take the wake-ups off the descriptor; call it before looking.  0, -EPIPE. */
int llmc_ack(struct llmc *s);
/*
 * Streams with something new to read, or an end not yet seen by
 * llmc_result(): the first after @prev (NULL: from the beginning), or NULL.
 */
struct llmc_stream *llmc_next(struct llmc *s, struct llmc_stream *prev);

/* ---- the service ----------------------------------------------------- */

/*
 * Counters of the service at @socket (NULL: the default one).  At a device
 * only model, daemon and epoch are known here, and uptime_ns is 0: the module
 * counts, and llmctl(8) shows it.
 */
int llmc_info(const char *socket, struct llm_info *ret);
/*
 * Sessions there, one's own user's or (root) all; *ret_list is the caller's
 * to free().  At a device the kernel module is asked, -EOPNOTSUPP where it
 * tells nothing: in another network namespace than the host's.
 */
int llmc_list(const char *socket, struct llm_session_info **ret_list,
	      uint32_t *ret_nr);
/*
 * Tenants there, as llmc_list(): what each may have and has (linux/llm.h has
 * the struct and its rules).  This and what follows: -EOPNOTSUPP at a device,
 * which llmctl(8) administers.
 */
int llmc_tenants(const char *socket, struct llm_tenant_info **ret_list,
		 uint32_t *ret_nr);
/*
 * Change what @what->set names of @what->tenant; back to the defaults; end a
 * session.  How it stands then in *ret, where that is not NULL.  For root and
 * who runs the service, else -EPERM; -EINVAL, -ENOENT as the words say.
 */
int llmc_tenant_set(const char *socket, const struct llm_tenant_info *what,
		    struct llm_tenant_info *ret);
int llmc_tenant_reset(const char *socket, uint64_t tenant,
		      struct llm_tenant_info *ret);
int llmc_kill(const char *socket, uint64_t session,
	      struct llm_session_info *ret);
/*
 * Follow what happens: a descriptor, readable when there is something, the
 * caller's to close.  llmc_event() takes the next, and sleeps for it: 0, or
 * -EPIPE: the service is gone.
 */
int llmc_monitor(const char *socket);
int llmc_event(int fd, struct llm_event_info *ret);
/* The way to the engine and back; round trip in ns.  -ETIMEDOUT, -EPIPE. */
int llmc_ping(struct llmc *s, int timeout_ms, uint64_t *ret_ns);

#ifdef __cplusplus
}
#endif

#endif
