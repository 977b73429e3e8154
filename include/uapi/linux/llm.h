/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * llm.h - the contract between a client, the kernel module (or the keeper
 * process that stands in for it on a socket) and the daemon.
 *
 * A session is memory in four areas, each with ONE writer:
 *
 *   area    written by              read by  holds
 *   CLIENT  the client              engine*  submission tail, entries, wishes
 *   ARENA   the client              engine*  prompts and parameters
 *   HOST    the kernel, or keeper   all      session, epoch, daemon state
 *   ENGINE  the daemon's engine     client   commit words, records, logs, text
 *                                            * on the device: the kernel too
 *
 * The client cannot write HOST or ENGINE; what it writes is copied before it
 * is believed.
 *
 * The life of a token, with the order of stores (rel: store-release, acq:
 * load-acquire, F: sequentially consistent fence).  Keep the order exactly.
 *
 *   client submits  prompt and params into ARENA, llm_sqe into the ring
 *                   -> sq_tail rel -> F -> bell
 *   engine takes    bell -> F -> sq_tail acq -> copy the entry once
 *                   -> admit (below) -> sq_head rel, once a batch
 *   engine admits   prompt, params, record: copied, checked IN THE COPY
 *                   -> commit = (gen, QUEUED, 0) rel      <- the admission
 *   engine commits  log entries, text -> commit = (gen, state, tail) rel
 *                                                         <- the delivery
 *                   all of a step, then F, then wishes are read, then at most
 *                   one wake a session
 *   client reads    commit acq -> record, log and text up to tail, plainly
 *   client sleeps   wish rel -> F -> commit acq; enough? do not sleep.
 *                   else poll -> drain -> F -> commit acq
 *
 * A reader never sees half a token: what stands before the commit word's tail
 * was stored before the word, and is not written again under the same gen.
 * A wake is a hint, the word is the truth.
 *
 * Admission is exactly once: an entry (stream, gen) is admitted iff gen is
 * newer than the slot's ((__s32)(sqe.gen - LLM_COMMIT_GEN(word)) > 0); the
 * admission store itself moves the slot's gen; heads move after.  So an entry
 * may be seen any number of times, in any life of the engine.  A refusal
 * consumes the gen as well.  Submitting to a slot gives up what it held; an
 * entry for a slot whose stream still runs is dropped (sq_dropped).
 *
 * Rules of this header: fixed-size fields at pinned offsets; no pointers,
 * longs, bools, enums or bit-fields inside structs; native endianness.  Every
 * struct that crosses a call starts with its size: a longer one is accepted
 * if its unknown tail is zero (else E2BIG), a shorter one is zero-filled.
 * Reserved fields are zero or refused (EINVAL); unknown flags and ops are
 * refused.  Offsets of everything come from set-up, so areas can grow.
 * Features: granted = offered and wanted.
 *
 * Changes: ABI 0 (not frozen yet).
 */
#ifndef _UAPI_LINUX_LLM_H
#define _UAPI_LINUX_LLM_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define LLM_ABI_VERSION 0

/* ---- limits ---------------------------------------------------------- */

#define LLM_MAX_SQ_ENTRIES  4096u	     /* a session; a power of two */
#define LLM_MAX_STREAMS	    1024u	     /* a session */
#define LLM_MAX_LOG_TOKENS  ((1u << 24) - 1) /* a stream: 24 bits of tail */
#define LLM_MAX_ARENA_BYTES (1u << 30)
#define LLM_MAX_LOG_BYTES   (1ull << 34) /* extents of a session, in ENGINE */
#define LLM_MAX_ALT	    20u		 /* alternatives a token */
#define LLM_MAX_STOP	    16u		 /* stop strings a request */
#define LLM_MAX_STOP_BYTES  256u	 /* a stop string */
#define LLM_MAX_STOP_IDS    64u
#define LLM_MAX_BIAS	    1024u
#define LLM_MAX_WAKE	    256u /* sessions in one WAKE */

/* ---- features, wanted and granted at set-up -------------------------- */

#define LLM_FEAT_URING	   (1u << 0) /* uring_cmd ops work (device) */
#define LLM_FEAT_SQE128	   (1u << 1) /* LLM_URING_SUBMIT works (device) */
#define LLM_FEAT_READWRITE (1u << 2) /* write(2), read(2) work (device) */

/* ---- areas ----------------------------------------------------------- */

#define LLM_AREA_CLIENT 0
#define LLM_AREA_ARENA	1
#define LLM_AREA_HOST	2
#define LLM_AREA_ENGINE 3
#define LLM_AREA_NR	4
/* device: the mmap offset of an area.  MAP_SHARED, never PROT_EXEC. */
#define LLM_MMAP_OFF(area) ((__u64)(area) << 32)

/* CLIENT, offset 0 */
struct llm_client_ctl {
	__u32 sq_tail; /* free-running; rel by the client */
	__u32 resv0[15];
	__u32 bell_seen;  /* device: the client sleeps while bell == this */
	__u32 epoch_seen; /* HOST epoch the client has acted upon */
	__u32 resv1[14];
};

/*
 * CLIENT, off_wish: one a stream, each in a cache line of its own (threads of
 * one client write different ones).  The engine reads it after each commit of
 * the stream.  A wish is met when its arm differs from the last one answered
 * and (tail >= want, or the stream ended, or delay_us has passed since the
 * first token after arming): the session's descriptor becomes readable.  A
 * wish is not tied to a gen: an old END may answer it, so the reader checks
 * gen and arms again; and it stands again once a new gen is admitted.
 */
struct llm_wish {
	__u64 arm_want; /* arm counter (never 0) << 32 | tail wished for */
	__u32 delay_us; /* 0 = none */
	__u32 resv0;
	__u64 cancel_gen; /* == gen of the stream: cancel it; idempotent */
	__u64 resv[5];
};

/* HOST, offset 0: written by the kernel or the keeper, never by the engine */
struct llm_host_ctl {
	__u64 session; /* id, never reused while the service lives */
	__u32 epoch;  /* lives of the engine so far; +1 at each start or loss */
	__u32 daemon; /* LLM_DAEMON_* */
	__u32 sq_head;	  /* device: entries consumed by ENTER; else 0 */
	__u32 sq_dropped; /* device: entries with no stream to answer in */
	__u32 resv[10];
};
#define LLM_DAEMON_NONE	    0 /* no engine now */
#define LLM_DAEMON_READY    1
#define LLM_DAEMON_DRAINING 2 /* admits nothing new */
#define LLM_DAEMON_FAILED   3 /* gave up restarting; sessions are over */

/* ENGINE, offset 0 */
struct llm_engine_ctl {
	__u32 bell;	  /* +1 when a wish is met; rel */
	__u32 sq_head;	  /* socket: entries taken, rel; device: 0 */
	__u32 sq_dropped; /* entries with no stream to answer in */
	__u32 broken;	  /* 1: the client lied about sq_tail; session over */
	__u32 resv[12];
};

/*
 * ENGINE, off_info: what is served.  Stored before LLM_DAEMON_READY and when
 * another model is loaded (never while streams of this session run).
 */
struct llm_model {
	__u8 name[64]; /* UTF-8, zero-terminated */
	__u8 digest[32];
	__u64 arith; /* same digest and arith: same tokens */
	__u64 parameters;
	__u32 vocab;   /* ids are below this */
	__u32 context; /* prompt + output, at most */
	__u32 flags;   /* LLM_MODEL_F_* */
	__u32 kv_token_bytes;
	__u32 default_max_tokens; /* where a request names none */
	__u32 resv[7];
};
#define LLM_MODEL_F_TEXT (1u << 0) /* has a tokenizer: TEXT prompts, text out */
#define LLM_MODEL_F_CHAT (1u << 1) /* has a chat form we know */

/*
 * ENGINE, off_commit: __u64[nr_streams], packed.  One store publishes all.
 *   bits  0..23 tail   tokens committed; only grows within a gen
 *   bits 24..27 state  LLM_ST_*; never goes back within a gen
 *   bits 28..31 end    enum llm_end; stored with LLM_ST_END
 *   bits 32..63 gen    chosen by the client, counts up a slot, never 0
 * The engine's epoch is not in it: tokens are the same in every life.
 */
#define LLM_COMMIT(gen, state, end, tail)                                      \
	((__u64)(gen) << 32 | (__u64)((end)&15u) << 28 |                       \
	 (__u64)((state)&15u) << 24 | (__u64)((tail)&0xffffffu))
#define LLM_COMMIT_TAIL(w)  ((__u32)(w)&0xffffffu)
#define LLM_COMMIT_STATE(w) (((__u32)(w) >> 24) & 15u)
#define LLM_COMMIT_END(w)   (((__u32)(w) >> 28) & 15u)
#define LLM_COMMIT_GEN(w)   ((__u32)((w) >> 32))

#define LLM_ST_FREE	    0
#define LLM_ST_QUEUED	    1 /* admitted; nothing delivered */
#define LLM_ST_RUNNING	    2
#define LLM_ST_END	    3

enum llm_end {
	LLM_END_NONE,
	LLM_END_STOP,	/* end token, stop id or stop string: record.detail */
	LLM_END_LENGTH, /* max_tokens, context or text area full */
	LLM_END_CANCELLED,
	LLM_END_REFUSED,  /* record.error and record.why; tail is 0 */
	LLM_END_ERROR,	  /* record.error and record.why */
	LLM_END_DEADLINE, /* tokens so far are kept */
};

/* One committed token; never changes while gen stays. */
struct llm_tok {
	__u32 token;
	__u32 logprob_bits; /* IEEE 754 single, nats; NaN = not asked for */
	__u32 text_end;	    /* bytes of text once this token is in */
	__u32 flags;	    /* LLM_TOK_F_*, alternatives in bits 8..15 */
};
#define LLM_TOK_F_UTF8	  (1u << 0) /* text ends on a code point boundary */
#define LLM_TOK_F_SPECIAL (1u << 1) /* no text of its own */
#define LLM_TOK_NR_ALT(f) (((f) >> 8) & 255u)

/* An alternative: the alt_k likeliest at each position, likeliest first. */
struct llm_alt {
	__u32 token;
	__u32 logprob_bits;
};

/*
 * ENGINE, off_record + stream * record_stride: the admission record.  It and
 * the log are all that a new engine needs to go on with the stream.  Complete
 * before the store that admits (or refuses); fields marked * are written
 * before the store named, and never after it.  Offsets count from the start
 * of ENGINE; _len are elements, _size bytes.
 */
struct llm_record {
	__u32 gen;   /* 0 while being rewritten */
	__u32 op;    /* LLM_OP_* */
	__u32 flags; /* LLM_SQE_F_* as submitted */
	__u32 error; /* * before END: positive errno when REFUSED or ERROR */
	__u64 user_data;
	__u64 seed;	   /* resolved: never "random" */
	__u64 admitted_ns; /* CLOCK_MONOTONIC */
	__u64 deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	__u64 tenant;	   /* who is charged */
	__u32 uid;	   /* who asked */
	__u32 class_;	   /* LLM_CLASS_* */
	__u32 model, adapter;
	__u32 adm_epoch;  /* life of the engine that admitted it */
	__u32 max_tokens; /* resolved; * before RUNNING where TEXT */
	__u8 digest[32];  /* of the model it began with */
	__u64 arith;
	__u64 extent_off, extent_size; /* what follows lies in it; 0 = none */
	__u64 text_in_off;	       /* TEXT: the prompt's bytes */
	__u64 prompt_off;	       /* __u32[prompt_len] */
	__u64 params_off;	       /* struct llm_params as checked */
	__u64 log_off;		       /* struct llm_tok[log_len] */
	__u64 text_off; /* bytes; piece t = [text_end(t-1), text_end(t)) */
	__u64 alt_off;	/* struct llm_alt[log_len][alt_k]; 0 = none */
	__u32 text_in_size, params_size;
	__u32 prompt_len; /* * before RUNNING where TEXT */
	__u32 prompt_cap;
	__u32 log_len, text_size; /* room; a full text area ends with LENGTH */
	__u32 alt_k;
	__u32 cached_tokens; /* * before RUNNING: prompt tokens found cached */
	__u32 detail;	     /* * before END: LLM_DETAIL_* */
	__u32 stop_index;    /* * before END: which stop string */
	__u32 deaths;	     /* engines that died of it; three are too many */
	__u32 resv0;
	__u8 why[160]; /* * before END: one line, UTF-8, zero-terminated */
	__u64 resv1[15];
};
#define LLM_DETAIL_NONE	       0
#define LLM_DETAIL_EOS	       1 /* the model's own end; committed without text */
#define LLM_DETAIL_STOP_ID     2
#define LLM_DETAIL_STOP_STRING 3 /* its bytes are not in the text */
#define LLM_DETAIL_MAX_TOKENS  4
#define LLM_DETAIL_CONTEXT     5
#define LLM_DETAIL_TEXT_FULL   6

/* ---- submission ------------------------------------------------------ */

#define LLM_OP_NOP	      0 /* consumed; nothing happens */
#define LLM_OP_PING	      1 /* END/STOP at once, no tokens */
#define LLM_OP_GENERATE	      2
#define LLM_OP_CANCEL	      3 /* ends (stream, gen); consumes no gen */
#define LLM_OP_SCORE	      4 /* log: prompt[1..), each with its logprob; LENGTH */
#define LLM_OP_EMBED	      5 /* reserved: refused with EOPNOTSUPP */
#define LLM_OP_CONTINUE	      6 /* reserved: refused with EOPNOTSUPP */
#define LLM_OP_NR	      7

#define LLM_SQE_F_TEXT	      (1u << 0) /* prompt is bytes, else __u32 ids */
#define LLM_SQE_F_CHAT	      (1u << 1) /* TEXT is one user turn: use the template */
#define LLM_SQE_F_SPECIAL     (1u << 2) /* parse special tokens in TEXT */
#define LLM_SQE_F_LOGPROBS    (1u << 3) /* fill logprob_bits */
#define LLM_SQE_F_DEFAULT_MAX (1u << 4) /* max_tokens: the model's default */
#define LLM_SQE_F_NO_BOS      (1u << 5) /* TEXT: do not add the BOS token */
#define LLM_SQE_F_ALL	      0x3fu

#define LLM_CLASS_INTERACTIVE 0
#define LLM_CLASS_BATCH	      1
#define LLM_CLASS_IDLE	      2
#define LLM_CLASS_NR	      3

struct llm_sqe {	   /* 64 bytes: fits inside an SQE128 */
	__u8 op;	   /* LLM_OP_* */
	__u8 class_;	   /* LLM_CLASS_* */
	__u16 stream;	   /* the slot, the client's choice */
	__u32 gen;	   /* newer than the slot's, or void */
	__u64 user_data;   /* comes back in the record */
	__u32 flags;	   /* LLM_SQE_F_* */
	__u32 max_tokens;  /* 1.. ; 0 only with F_DEFAULT_MAX */
	__u32 off;	   /* the prompt in ARENA, a multiple of 4 */
	__u32 len;	   /* bytes */
	__u32 params_off;  /* struct llm_params in ARENA, a multiple of 8 */
	__u32 params_len;  /* bytes, tail included; 0 = all defaults */
	__u32 model;	   /* 0 = the default */
	__u32 adapter;	   /* 0 = none */
	__u64 deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	__u64 resv;
};

/*
 * How tokens are chosen.  A value counts where its bit stands in `set`; else
 * the model's generation_config decides, else the neutral value.  Behind the
 * struct, in this order and without gaps:
 *   __u32 stop_ids[nr_stop_ids]
 *   struct llm_bias bias[nr_bias]
 *   __u32 stop_len[nr_stop], then the stop strings' bytes, joined
 * and zeroes up to a multiple of 4.
 */
struct llm_params {
	__u32 size;  /* of this struct; the tail follows */
	__u32 set;   /* LLM_SET_* */
	__u32 flags; /* LLM_PARAMS_F_* */
	__u32 top_k; /* 0 = off */
	__u64 seed;
	__u32 temperature_bits; /* single, [0, 100]; 0 = greedy */
	__u32 top_p_bits;	/* (0, 1] */
	__u32 min_p_bits;	/* [0, 1] */
	__u32 repetition_bits;	/* (0, 10]; 1 = off */
	__u32 frequency_bits;	/* [-2, 2]; no bit: 0 is off */
	__u32 presence_bits;	/* [-2, 2]; no bit: 0 is off */
	__u32 min_tokens;
	__u32 nr_alt; /* 0..LLM_MAX_ALT; > 0 implies logprobs */
	__u32 nr_stop_ids, nr_bias, nr_stop;
	__u32 resv[5];
};
#define LLM_SET_SEED		(1u << 0) /* absent: random, then recorded */
#define LLM_SET_TEMPERATURE	(1u << 1)
#define LLM_SET_TOP_K		(1u << 2)
#define LLM_SET_TOP_P		(1u << 3)
#define LLM_SET_MIN_P		(1u << 4)
#define LLM_SET_REPETITION	(1u << 5)
#define LLM_SET_ALL		0x3fu
#define LLM_PARAMS_F_IGNORE_EOS (1u << 0)
#define LLM_PARAMS_F_ALL	0x1u

struct llm_bias {
	__u32 token;
	__u32 bias_bits; /* single, [-100, 100]; -100 forbids */
};

/* ---- set-up ---------------------------------------------------------- */

/* in: 0 = the default, for every size */
struct llm_setup {
	__u32 size;
	__u32 abi;	  /* in: built for; out: served */
	__u32 flags;	  /* 0 */
	__u32 features;	  /* in: wanted; out: granted */
	__u32 sq_entries; /* in, out: power of two */
	__u32 nr_streams; /* in, out */
	__u64 arena_size; /* in, out: bytes of ARENA */
	__u64 log_size; /* in, out: bytes for prompts, logs, texts in ENGINE */
	/* out */
	__u64 session;
	__u64 area_size[LLM_AREA_NR];
	__u64 off_sq;	  /* CLIENT: struct llm_sqe[sq_entries] */
	__u64 off_wish;	  /* CLIENT: struct llm_wish[nr_streams] */
	__u64 off_info;	  /* ENGINE: struct llm_model */
	__u64 off_commit; /* ENGINE: __u64[nr_streams] */
	__u64 off_record; /* ENGINE: struct llm_record, record_stride apart */
	__u64 off_extent; /* ENGINE: log_size bytes */
	__u32 record_stride;
	__u32 resv[7];
};

/* ---- the socket carrier ---------------------------------------------- */

/*
 * A client connects (SOCK_STREAM) and sends one llm_hello; the keeper answers
 * with one llm_hello_reply and, where it says so, descriptors (SCM_RIGHTS) or
 * a payload.  Identity is SO_PEERCRED.  After a session is open, the same
 * connection carries wakes (to the client) and bells (to the engine), one
 * byte each, sent with MSG_DONTWAIT; its end is the end of the session.  A
 * client sends no descriptors; they would not be received.  No wake comes
 * before the reply.
 */
#define LLM_HELLO_MAGIC	  0x306d6c6cu /* "llm0" */
#define LLM_HELLO_SESSION 1 /* reply: setup, LLM_HELLO_FDS descriptors */
#define LLM_HELLO_INFO	  2 /* reply: one struct llm_info follows; then closed */
#define LLM_HELLO_LIST	  3 /* reply: nr llm_session_info follow; then closed */
/* administration: llm_hello_admin; SET, RESET, KILL: uid 0 or the daemon's */
#define LLM_HELLO_TENANTS 4 /* reply: nr llm_tenant_info follow; then closed */
#define LLM_HELLO_SET	  5 /* reply: one llm_tenant_info; then closed */
#define LLM_HELLO_RESET	  6 /* the same */
#define LLM_HELLO_KILL	  7 /* reply: that session's llm_session_info */
#define LLM_HELLO_MONITOR 8 /* reply: llm_event_info, until one hangs up */
#define LLM_HELLO_NR	  9
#define LLM_HELLO_FDS	  3
struct llm_hello {
	__u32 size; /* of this struct */
	__u32 magic;
	__u32 op; /* LLM_HELLO_* */
	__u32 resv;
	struct llm_setup setup; /* SESSION: what is wanted */
};
/*
 * SESSION: descriptors 0 = CLIENT then ARENA (writable; ARENA begins at
 * area_size[CLIENT]), 1 = HOST (read-only), 2 = ENGINE (read-only).
 */
struct llm_hello_reply {
	__u32 size;
	__u32 magic;
	__s32 error;	 /* 0 or a negative errno: then only `why` counts */
	__u32 nr;	 /* INFO, LIST: structs that follow */
	__u32 elem_size; /* INFO, LIST: bytes of each */
	__u32 resv;
	__u8 why[160]; /* one line for people; zero-terminated */
	struct llm_setup setup;
};

/* The service as a whole; counters since the keeper began. */
struct llm_info {
	__u32 size;
	__u32 daemon; /* LLM_DAEMON_* */
	__u32 epoch;
	__u32 nr_sessions;
	struct llm_model model;
	__u64 uptime_ns;
	__u64 steps, tokens_in, tokens_out, tokens_cached;
	__u64 requests, refused, preemptions;
	__u64 wakes;	/* wake-ups sent, of either kind */
	__u64 bells;	/* bells taken */
	__u64 pause_ns; /* last engine's death to the next one's first commit */
	__u32 running, waiting;		     /* streams */
	__u32 kv_blocks, kv_used, kv_cached; /* in all; held; kept for reuse */
	__u32 kv_shared; /* held by more than one stream now */
	__u32 kv_saved;	 /* most blocks that sharing saved at any one time */
	__u32 restarts;	 /* engines after the first */
	__u64 resv[11];
};

/* One session, for `llm ps`: one's own uid's, or all for uid 0. */
struct llm_session_info {
	__u64 session;
	__u64 tenant;
	__u64 age_ns;
	__u64 tokens; /* committed by the streams it holds now */
	__u32 uid;
	__u32 pid;     /* of the opener, in the keeper's namespace */
	__u32 streams; /* nr_streams */
	__u32 queued, running, ended;
	__u64 resv[4];
};

/*
 * A tenant: who is charged, what he may have, what he has.  One's own, or all
 * for an administrator.  The same over netlink (llm_netlink.h).  Limits hold
 * from the next set-up or submission on; what is held is not taken back.
 * Whoever meets one is told at once and in words: sessions, streams and memory
 * where a session is opened (EDQUOT), requests in flight (EDQUOT) and their
 * rate (EAGAIN) as the end of that request, LLM_END_REFUSED.  Over its rate of
 * tokens a tenant is served later, and refused nothing.
 */
struct llm_tenant_info {
	__u32 size;
	__u32 set;    /* LLM_TENANT_*: in: to change; out: not the defaults */
	__u64 tenant; /* key: a user id, where not told otherwise */
	__u32 weight; /* of its share, 1..10000; 100 where none is set */
	__u32 class_ceiling;   /* LLM_CLASS_*: a better one asked for is this */
	__u32 max_sessions;    /* LLM_NO_LIMIT: any number, as the next two */
	__u32 max_streams;     /* nr_streams, over all sessions */
	__u32 max_inflight;    /* requests submitted and not ended */
	__u32 max_submit_rate; /* requests a second, as many at once; 0: any */
	__u32 max_token_rate;  /* tokens a second; 0: any */
	__u32 resv0;
	__u64 max_memory; /* bytes its sessions may grow to; ~0: any number */
	/* out: what it has now */
	__u32 sessions, streams, inflight;
	__u32 throttled; /* 1: over its rate of tokens */
	__u64 memory;
	/* out: counters since it was first seen */
	__u64 submitted; /* requests taken */
	__u64 refused;	 /* sessions and requests that met a limit */
	__u64 tokens;	 /* of prompts, without cached ones, and output */
	__u64 resv[4];
};
#define LLM_TENANT_WEIGHT      (1u << 0)
#define LLM_TENANT_SESSIONS    (1u << 1)
#define LLM_TENANT_STREAMS     (1u << 2)
#define LLM_TENANT_INFLIGHT    (1u << 3)
#define LLM_TENANT_MEMORY      (1u << 4)
#define LLM_TENANT_SUBMIT_RATE (1u << 5)
#define LLM_TENANT_TOKEN_RATE  (1u << 6)
#define LLM_TENANT_CLASS       (1u << 7)
#define LLM_TENANT_ALL	       0xffu
#define LLM_NO_LIMIT	       0xffffffffu

struct llm_hello_admin { /* stands where an llm_hello does */
	__u32 size, magic, op, resv;
	__u64 session; /* KILL */
	/* SET: tenant, and what `set` names; RESET: tenant; the rest is 0 */
	struct llm_tenant_info tenant;
};

/* What has happened: a user's own, or all for an administrator. */
struct llm_event_info {
	__u32 size;
	__u32 kind;    /* LLM_EV_* */
	__u64 time_ns; /* CLOCK_REALTIME */
	__u64 tenant;  /* of all but DAEMON */
	__u64 session; /* OPEN, CLOSE, KILL */
	__u32 daemon;  /* DAEMON: LLM_DAEMON_* */
	__u32 epoch;   /* DAEMON */
	__u32 limit;   /* QUOTA: LLM_TENANT_* of the last; 0: not known */
	__u32 count;   /* QUOTA: times since the last such event */
	__u32 lost;    /* events before this one that found no room */
	__u32 resv[3];
};
#define LLM_EV_DAEMON 1 /* an engine came or went; state and epoch */
#define LLM_EV_TENANT 2 /* settings changed */
#define LLM_EV_QUOTA  3 /* a limit was met; at most some a second a tenant */
#define LLM_EV_OPEN   4 /* a session was set up */
#define LLM_EV_CLOSE  5 /* its client left */
#define LLM_EV_KILL   6 /* an administrator ended it */

/* ---- /dev/llm: clients ----------------------------------------------- */

#define LLM_ENTER_WAIT (1u << 0) /* sleep until bell != bell_seen */
struct llm_enter {		 /* returns entries consumed */
	__u32 size;
	__u32 flags; /* LLM_ENTER_* */
	__u32 to_submit;
	__u32 resv;
	__u64 timeout_ns; /* relative; 0 = for ever */
};

#define LLM_IOC_MAGIC 0xB7
#define LLM_IOC_SETUP _IOWR(LLM_IOC_MAGIC, 0x00, struct llm_setup)
#define LLM_IOC_ENTER _IOW(LLM_IOC_MAGIC, 0x01, struct llm_enter)

/* uring_cmd; the payload lies in sqe->cmd */
struct llm_uring_enter {
	__u32 to_submit;
	__u32 flags;
	__u64 resv;
};
#define LLM_URING_ENTER	 _IOW(LLM_IOC_MAGIC, 0x20, struct llm_uring_enter)
#define LLM_URING_SUBMIT _IOW(LLM_IOC_MAGIC, 0x21, struct llm_sqe) /* SQE128 */

/* ---- /dev/llmd: the daemon ------------------------------------------- */

/*
 * The work ring: the kernel writes entries and tail (the daemon maps it
 * read-only); the daemon writes head, in its own page, once the entry is
 * admitted or refused.  An entry stays the kernel's until head has passed it:
 * if the daemon is lost, entries in [head, tail) go back to the front of
 * their sessions' queues, in order.  gen sorts out what is seen twice.
 */
#define LLMD_AREA_RING	0 /* the kernel writes */
#define LLMD_AREA_CTL	1 /* the daemon writes */
#define LLMD_RING_HDR	4096u

#define LLMD_WORK_OPEN	1 /* a session is there: GETFD and map it */
#define LLMD_WORK_CLOSE 2 /* its client is gone: drop everything of it */
#define LLMD_WORK_SQE	3
struct llmd_work {
	__u64 session;
	__u32 kind; /* LLMD_WORK_* */
	__u32 uid;  /* of the opener, initial user namespace */
	__u64 tenant;
	__u64 queued_ns; /* CLOCK_MONOTONIC */
	__u32 epoch;	 /* the daemon's, when pushed */
	__u32 resv0;
	struct llm_sqe sqe; /* the kernel's copy; the client cannot reach it */
	__u32 weight;	    /* the tenant's, when pushed: its share, */
	__u32 token_rate;   /* and its tokens a second; 0: any */
	__u64 resv1[2];
};

#define LLMD_RING_F_OVERFLOW (1u << 0) /* more waits in queues: TAKE pumps it */
struct llmd_ring_hdr {
	__u32 tail;  /* free-running; rel by the kernel */
	__u32 flags; /* LLMD_RING_F_* */
	__u32 entries;
	__u32 epoch;
	__u32 resv[12];
};

struct llmd_ctl {
	__u32 head; /* free-running; rel by the daemon */
	__u32 resv[15];
};

struct llmd_attach {
	__u32 size;
	__u32 flags;
	__u32 abi;
	__u32 epoch;	    /* out */
	__u32 ring_entries; /* in: 0 = default; out */
	__u32 nr_sessions;  /* out: OPEN items to come */
};

struct llmd_take { /* returns entries ready, 0 on time-out */
	__u32 size;
	__u32 flags;
	__u64 timeout_ns; /* relative; 0 = for ever; ~0 = do not sleep */
};

struct llmd_wake { /* returns sessions woken */
	__u32 size;
	__u32 nr;  /* <= LLM_MAX_WAKE */
	__u64 ids; /* user address of __u64[nr] */
};

struct llmd_getfd { /* returns an O_CLOEXEC descriptor to map the session */
	__u32 size;
	__u32 flags;
	__u64 session;
	struct llm_setup info; /* out */
};

#define LLMD_IOC_ATTACH _IOWR(LLM_IOC_MAGIC, 0x40, struct llmd_attach)
#define LLMD_IOC_TAKE	_IOW(LLM_IOC_MAGIC, 0x41, struct llmd_take)
#define LLMD_IOC_WAKE	_IOW(LLM_IOC_MAGIC, 0x42, struct llmd_wake)
#define LLMD_IOC_GETFD	_IOWR(LLM_IOC_MAGIC, 0x43, struct llmd_getfd)
#define LLMD_IOC_DETACH _IO(LLM_IOC_MAGIC, 0x44)
#define LLMD_IOC_KICK	_IO(LLM_IOC_MAGIC, 0x45) /* end a sleeping TAKE */

struct llmd_uring_wake {
	__u64 ids;
	__u32 nr;
	__u32 resv;
};
#define LLMD_URING_TAKE _IO(LLM_IOC_MAGIC, 0x60) /* completes with work */
#define LLMD_URING_WAKE _IOW(LLM_IOC_MAGIC, 0x61, struct llmd_uring_wake)

/* ---- sizes are pinned; tests/unit/test_layout.c pins every offset ----- */

#if defined(__KERNEL__) ||                                                     \
	(defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L)
#define LLM_SIZE(t, n) _Static_assert(sizeof(struct t) == (n), #t)
LLM_SIZE(llm_client_ctl, 128);
LLM_SIZE(llm_wish, 64);
LLM_SIZE(llm_host_ctl, 64);
LLM_SIZE(llm_engine_ctl, 64);
LLM_SIZE(llm_model, 160);
LLM_SIZE(llm_tok, 16);
LLM_SIZE(llm_alt, 8);
LLM_SIZE(llm_record, 512);
LLM_SIZE(llm_sqe, 64);
LLM_SIZE(llm_params, 88);
LLM_SIZE(llm_bias, 8);
LLM_SIZE(llm_setup, 160);
LLM_SIZE(llm_hello, 176);
LLM_SIZE(llm_hello_reply, 344);
LLM_SIZE(llm_info, 384);
LLM_SIZE(llm_session_info, 88);
LLM_SIZE(llm_tenant_info, 136);
LLM_SIZE(llm_hello_admin, 160);
LLM_SIZE(llm_event_info, 64);
LLM_SIZE(llm_enter, 24);
LLM_SIZE(llm_uring_enter, 16);
LLM_SIZE(llmd_work, 128);
LLM_SIZE(llmd_ring_hdr, 64);
LLM_SIZE(llmd_ctl, 64);
LLM_SIZE(llmd_attach, 24);
LLM_SIZE(llmd_take, 16);
LLM_SIZE(llmd_wake, 16);
LLM_SIZE(llmd_getfd, 176);
LLM_SIZE(llmd_uring_wake, 16);
#undef LLM_SIZE
#endif

#endif /* _UAPI_LINUX_LLM_H */
