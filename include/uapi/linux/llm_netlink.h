/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * llm_netlink.h - generic netlink family "llm": administration of the module.
 * doc/netlink/llm.yaml describes it in the kernel's own format; a test holds
 * the two together.
 *
 *   command        do  dump  who                         answers or takes
 *   DAEMON_GET     x         everybody                   LLM_A_DAEMON_*
 *   STAT_GET       x         everybody                   LLM_A_STAT_*
 *   TENANT_GET     x   x     all, or one's own           LLM_A_TENANT_*
 *   TENANT_SET     x         CAP_SYS_ADMIN               LLM_A_TENANT_*
 *   TENANT_RESET   x         CAP_SYS_ADMIN               LLM_A_TENANT_KEY
 *   SESSION_GET        x     all, or one's own           LLM_A_SESSION_*
 *   SESSION_KILL   x         CAP_SYS_ADMIN               LLM_A_SESSION_ID
 *   EVENT          multicast group "events"              LLM_A_EVENT_*
 *
 * CAP_SYS_ADMIN: of the initial user namespace, of who opened the socket and
 * of who sends; such an administrator sees all tenants and sessions.  User ids
 * (LLM_A_TENANT_KEY where tenants are users, LLM_A_SESSION_UID) are those of
 * the socket's user namespace; events have the initial one's.  The family is
 * in the initial network namespace only.
 *
 * Meanings of the fields: struct llm_tenant_info, llm_session_info and
 * llm_event_info in linux/llm.h.  Unknown attributes are refused; a refusal has
 * an extended ack that says what is wrong and where.
 */
#ifndef _UAPI_LINUX_LLM_NETLINK_H
#define _UAPI_LINUX_LLM_NETLINK_H

#define LLM_FAMILY_NAME	   "llm"
#define LLM_FAMILY_VERSION 1
#define LLM_MCGRP_EVENTS   "events"

enum {
	LLM_CMD_DAEMON_GET = 1,
	LLM_CMD_STAT_GET,
	LLM_CMD_TENANT_GET,
	LLM_CMD_TENANT_SET,
	LLM_CMD_TENANT_RESET,
	LLM_CMD_SESSION_GET,
	LLM_CMD_SESSION_KILL,
	LLM_CMD_EVENT,

	__LLM_CMD_MAX,
	LLM_CMD_MAX = (__LLM_CMD_MAX - 1)
};

enum {
	LLM_A_DAEMON_STATE = 1,	   /* u32: LLM_DAEMON_* */
	LLM_A_DAEMON_EPOCH,	   /* u32 */
	LLM_A_DAEMON_PID,	   /* u32: who opened /dev/llmd; 0: nobody */
	LLM_A_DAEMON_ABI,	   /* u32: LLM_ABI_VERSION */
	LLM_A_DAEMON_FEATURES,	   /* u32: LLM_FEAT_* */
	LLM_A_DAEMON_RING_ENTRIES, /* u32: of the work ring */
	LLM_A_DAEMON_TENANTS_BY,   /* string: "uid", "cgroup", "userns" */

	__LLM_A_DAEMON_MAX,
	LLM_A_DAEMON_MAX = (__LLM_A_DAEMON_MAX - 1)
};

enum {
	LLM_A_STAT_SESSIONS = 1, /* u32: that are there */
	LLM_A_STAT_RING_USED,	 /* u32: entries not acknowledged */
	LLM_A_STAT_PUSHED,	 /* u64: items that went into rings */
	LLM_A_STAT_REDELIVERED,	 /* u64: entries that went back */
	LLM_A_STAT_PAD,

	__LLM_A_STAT_MAX,
	LLM_A_STAT_MAX = (__LLM_A_STAT_MAX - 1)
};

enum {
	LLM_A_TENANT_KEY = 1, /* u64: a user id, or what the module counts by */
	LLM_A_TENANT_SET,     /* u32: out: LLM_TENANT_*, not the defaults */
	LLM_A_TENANT_WEIGHT,  /* u32: 1..10000 */
	LLM_A_TENANT_CLASS_CEILING,   /* u32: LLM_CLASS_* */
	LLM_A_TENANT_MAX_SESSIONS,    /* u32 */
	LLM_A_TENANT_MAX_STREAMS,     /* u32 */
	LLM_A_TENANT_MAX_INFLIGHT,    /* u32 */
	LLM_A_TENANT_MAX_SUBMIT_RATE, /* u32: a second; 0: any */
	LLM_A_TENANT_MAX_TOKEN_RATE,  /* u32: a second; 0: any */
	LLM_A_TENANT_MAX_MEMORY,      /* u64: bytes */
	LLM_A_TENANT_SESSIONS,	      /* u32, and on: out: what it has */
	LLM_A_TENANT_STREAMS,	      /* u32 */
	LLM_A_TENANT_INFLIGHT,	      /* u32 */
	LLM_A_TENANT_MEMORY,	      /* u64: bytes */
	LLM_A_TENANT_SUBMITTED,	      /* u64: requests taken */
	LLM_A_TENANT_REFUSED,	      /* u64: that met a limit */
	LLM_A_TENANT_PAD,

	__LLM_A_TENANT_MAX,
	LLM_A_TENANT_MAX = (__LLM_A_TENANT_MAX - 1)
};

enum {
	LLM_A_SESSION_ID = 1, /* u64 */
	LLM_A_SESSION_TENANT, /* u64: as LLM_A_TENANT_KEY */
	LLM_A_SESSION_UID,    /* u32 */
	LLM_A_SESSION_PID,    /* u32: of the opener; 0: not in your namespace */
	LLM_A_SESSION_STREAMS,
	LLM_A_SESSION_QUEUED,
	LLM_A_SESSION_RUNNING,
	LLM_A_SESSION_ENDED,
	LLM_A_SESSION_TOKENS, /* u64 */
	LLM_A_SESSION_AGE_NS, /* u64 */
	LLM_A_SESSION_PAD,

	__LLM_A_SESSION_MAX,
	LLM_A_SESSION_MAX = (__LLM_A_SESSION_MAX - 1)
};

enum {
	LLM_A_EVENT_KIND = 1, /* u32: LLM_EV_* */
	LLM_A_EVENT_TIME_NS,  /* u64: CLOCK_REALTIME */
	LLM_A_EVENT_TENANT,   /* u64 */
	LLM_A_EVENT_SESSION,  /* u64 */
	LLM_A_EVENT_STATE,    /* u32: LLM_DAEMON_* */
	LLM_A_EVENT_EPOCH,    /* u32 */
	LLM_A_EVENT_LIMIT,    /* u32: LLM_TENANT_*, where it is known */
	LLM_A_EVENT_COUNT,    /* u32: times since the last such; from 6.7 on */
	LLM_A_EVENT_PAD,

	__LLM_A_EVENT_MAX,
	LLM_A_EVENT_MAX = (__LLM_A_EVENT_MAX - 1)
};

#endif /* _UAPI_LINUX_LLM_NETLINK_H */
