/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - tracepoints (/sys/kernel/tracing/events/llm).  Ids and numbers only:
 * nothing that a prompt or an answer holds.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM llm

#if !defined(LLM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LLM_TRACE_H

#include <linux/tracepoint.h>

/* A request on its way: accepted from the client, put into the work ring, passed
 * by the daemon's head.
 */
DECLARE_EVENT_CLASS(llm_entry,
	TP_PROTO(u64 tenant, u64 session, u8 op, u16 stream, u32 gen),
	TP_ARGS(tenant, session, op, stream, gen),
	TP_STRUCT__entry(
		__field(u64, tenant)
		__field(u64, session)
		__field(u32, gen)
		__field(u16, stream)
		__field(u8, op)
	),
	TP_fast_assign(
		__entry->tenant = tenant;
		__entry->session = session;
		__entry->gen = gen;
		__entry->stream = stream;
		__entry->op = op;
	),
	TP_printk("tenant=%llu session=%llx op=%u stream=%u gen=%u", __entry->tenant,
		  __entry->session, __entry->op, __entry->stream, __entry->gen)
);

DEFINE_EVENT(llm_entry, llm_submit,
	TP_PROTO(u64 tenant, u64 session, u8 op, u16 stream, u32 gen),
	TP_ARGS(tenant, session, op, stream, gen));

DEFINE_EVENT(llm_entry, llm_queue,
	TP_PROTO(u64 tenant, u64 session, u8 op, u16 stream, u32 gen),
	TP_ARGS(tenant, session, op, stream, gen));

DEFINE_EVENT(llm_entry, llm_take,
	TP_PROTO(u64 tenant, u64 session, u8 op, u16 stream, u32 gen),
	TP_ARGS(tenant, session, op, stream, gen));

/* A set-up (session=0) or an entry met a limit or made no sense. */
TRACE_EVENT(llm_refuse,
	TP_PROTO(u64 tenant, u64 session, int error),
	TP_ARGS(tenant, session, error),
	TP_STRUCT__entry(
		__field(u64, tenant)
		__field(u64, session)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->tenant = tenant;
		__entry->session = session;
		__entry->error = error;
	),
	TP_printk("tenant=%llu session=%llx error=%d", __entry->tenant, __entry->session,
		  __entry->error)
);

TRACE_EVENT(llm_wake,
	TP_PROTO(u64 session, u32 bell),
	TP_ARGS(session, bell),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, bell)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->bell = bell;
	),
	TP_printk("session=%llx bell=%u", __entry->session, __entry->bell)
);

TRACE_EVENT(llm_kill,
	TP_PROTO(u64 tenant, u64 session),
	TP_ARGS(tenant, session),
	TP_STRUCT__entry(
		__field(u64, tenant)
		__field(u64, session)
	),
	TP_fast_assign(
		__entry->tenant = tenant;
		__entry->session = session;
	),
	TP_printk("tenant=%llu session=%llx", __entry->tenant, __entry->session)
);

/* @nr: sessions that the daemon will hear of; entries that went back. */
DECLARE_EVENT_CLASS(llm_daemon,
	TP_PROTO(u32 epoch, u32 nr),
	TP_ARGS(epoch, nr),
	TP_STRUCT__entry(
		__field(u32, epoch)
		__field(u32, nr)
	),
	TP_fast_assign(
		__entry->epoch = epoch;
		__entry->nr = nr;
	),
	TP_printk("epoch=%u nr=%u", __entry->epoch, __entry->nr)
);

DEFINE_EVENT(llm_daemon, llm_attach, TP_PROTO(u32 epoch, u32 nr), TP_ARGS(epoch, nr));
DEFINE_EVENT(llm_daemon, llm_detach, TP_PROTO(u32 epoch, u32 nr), TP_ARGS(epoch, nr));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
