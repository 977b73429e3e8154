/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - what differs between kernels 6.1 and 7.3, in one place.  Wherever possible the test
 * is for the feature (a macro, a type), not for a version number, because
 * distributions backport.
 */
#ifndef LLM_COMPAT_H
#define LLM_COMPAT_H

#include <linux/version.h>
#include <linux/mm.h>
#include <linux/sched.h>

#ifdef LLM_HAVE_CMD_H		/* Kbuild looked */
#include <linux/io_uring/cmd.h>
#define LLM_HAVE_CMD_SQE 1		/* cmd->sqe; 6.1 has cmd->cmd */
#else
#include <linux/io_uring.h>
#endif

/* ---- io_uring: where the inline bytes are.  They may be user-mapped: copy once. */
static inline const void *llm_cmd_payload(struct io_uring_cmd *cmd)
{
#ifdef LLM_HAVE_CMD_SQE
	return cmd->sqe->cmd;
#else
	return cmd->cmd;
#endif
}

/* ---- io_uring: cancellation came in 6.7. */
#ifdef IORING_URING_CMD_CANCELABLE
#define LLM_HAVE_URING_CANCEL 1
#define llm_cmd_mark_cancelable(cmd, fl)	io_uring_cmd_mark_cancelable(cmd, fl)
#define LLM_URING_F_CANCEL			IO_URING_F_CANCEL
#else
#define LLM_HAVE_URING_CANCEL 0
static inline void llm_cmd_mark_cancelable(struct io_uring_cmd *cmd, unsigned int fl) { }
#define LLM_URING_F_CANCEL			0
#endif

/*
 * ---- io_uring: io_uring_cmd_done() lost its res2.  Told apart by type; only
 * the branch that matches is compiled into a call.
 */
typedef void (*llm_cmd_done3_t)(struct io_uring_cmd *, s32, unsigned int);
typedef void (*llm_cmd_done4_t)(struct io_uring_cmd *, ssize_t, u64, unsigned int);
typedef void (*llm_cmd_done4s_t)(struct io_uring_cmd *, ssize_t, ssize_t, unsigned int);
#define llm_cmd_done_is(t) \
	__builtin_types_compatible_p(typeof(&io_uring_cmd_done), t)
#define llm_cmd_done_as(t) \
	__builtin_choose_expr(llm_cmd_done_is(t), &io_uring_cmd_done, (t)NULL)

static inline void llm_cmd_done(struct io_uring_cmd *cmd, int ret, unsigned int fl)
{
	if (llm_cmd_done_is(llm_cmd_done3_t))
		llm_cmd_done_as(llm_cmd_done3_t)(cmd, ret, fl);
	else if (llm_cmd_done_is(llm_cmd_done4_t))
		llm_cmd_done_as(llm_cmd_done4_t)(cmd, ret, 0, fl);
	else if (llm_cmd_done_is(llm_cmd_done4s_t))
		llm_cmd_done_as(llm_cmd_done4s_t)(cmd, ret, 0, fl);
	else
		BUILD_BUG();
}

/*
 * ---- io_uring: a positive result.  6.1 takes a positive return of ->uring_cmd()
 * for a failure when it is issued inline, and forgets the request for ever when
 * it is issued by an io-wq worker.  There a result goes through the completion.
 */
static inline int llm_cmd_ret(struct io_uring_cmd *cmd, int ret, unsigned int fl)
{
#ifndef LLM_HAVE_CMD_SQE
	if (ret > 0) {
		llm_cmd_done(cmd, ret, fl);
		return -EIOCBQUEUED;
	}
#endif
	return ret;
}

/*
 * ---- io_uring: the task-work callback.  Newest kernels hand over
 * (struct io_tw_req, io_tw_token_t); before, (cmd, issue_flags).
 *
 * LLM_CMD_TW(name) { body sees cmd and issue_flags }
 */
#ifdef IO_URING_CMD_TASK_WORK_ISSUE_FLAGS
#define LLM_CMD_TW(name)							\
	static void name##_body(struct io_uring_cmd *cmd, unsigned int issue_flags); \
	static void name(struct io_tw_req tw_req, io_tw_token_t tw)		\
	{									\
		name##_body(io_uring_cmd_from_tw(tw_req),			\
			    IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);		\
	}									\
	static void name##_body(struct io_uring_cmd *cmd, unsigned int issue_flags)
#else
#define LLM_CMD_TW(name) \
	static void name(struct io_uring_cmd *cmd, unsigned int issue_flags)
#endif

/* ---- mm: vma flags became write-protected in 6.3. */
static inline void llm_vma_flags(struct vm_area_struct *vma, unsigned long set,
				 unsigned long clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

#endif /* LLM_COMPAT_H */
