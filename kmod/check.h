/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * check.h - from a client's wishes to a layout, and whether an entry can be.
 *
 * Pure: looks at copies only, never at shared memory, so KUnit reaches it.  The
 * layout is the one that the keeper gives over a socket for the same wishes
 * (daemon/layout.c): programs see no difference, and a test compares both.
 */
#ifndef LLM_CHECK_H
#define LLM_CHECK_H

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/string.h>
#include <uapi/linux/llm.h>

#define LLM_LAYOUT_PAGE		4096u

/* What a client gets where it asks for 0. */
#define LLM_DEFAULT_SQ_ENTRIES	64u
#define LLM_DEFAULT_NR_STREAMS	64u
#define LLM_DEFAULT_ARENA_SIZE	(4ull << 20)
#define LLM_DEFAULT_LOG_SIZE	(64ull << 20)

static inline int llm_wishes_check(const struct llm_setup *w)
{
	if (w->abi != LLM_ABI_VERSION)
		return -EPROTO;
	if (w->flags || memchr_inv(w->resv, 0, sizeof(w->resv)))
		return -EINVAL;
	if (w->sq_entries > LLM_MAX_SQ_ENTRIES ||
	    (w->sq_entries && !is_power_of_2(w->sq_entries)))
		return -EINVAL;
	if (w->nr_streams > LLM_MAX_STREAMS || w->arena_size > LLM_MAX_ARENA_BYTES ||
	    w->log_size > LLM_MAX_LOG_BYTES)
		return -EINVAL;
	return 0;
}

/*
 * Check the wishes in @setup, then fill it: what is granted (of @offered), sizes,
 * offsets; setup->session is left 0.  0, -EINVAL (a wish that cannot be), -EPROTO
 * (another ABI); on failure @setup is as it was.
 */
static inline int llm_layout_fill(struct llm_setup *setup, u32 offered)
{
	struct llm_setup s = {
		.size = sizeof(s),
		.abi = LLM_ABI_VERSION,
		.features = setup->features & offered,
		.sq_entries = setup->sq_entries ?: LLM_DEFAULT_SQ_ENTRIES,
		.nr_streams = setup->nr_streams ?: LLM_DEFAULT_NR_STREAMS,
		.arena_size = ALIGN(setup->arena_size ?: LLM_DEFAULT_ARENA_SIZE, LLM_LAYOUT_PAGE),
		.log_size = ALIGN(setup->log_size ?: LLM_DEFAULT_LOG_SIZE, LLM_LAYOUT_PAGE),
		.record_stride = sizeof(struct llm_record),
	};
	int err = llm_wishes_check(setup);

	if (err)
		return err;
	/* the largest session is far below 2^63: no sum wraps */
	s.off_wish = sizeof(struct llm_client_ctl);
	s.off_sq = s.off_wish + s.nr_streams * sizeof(struct llm_wish);
	s.area_size[LLM_AREA_CLIENT] =
		ALIGN(s.off_sq + s.sq_entries * sizeof(struct llm_sqe), LLM_LAYOUT_PAGE);
	s.area_size[LLM_AREA_ARENA] = s.arena_size;
	s.area_size[LLM_AREA_HOST] = LLM_LAYOUT_PAGE;
	s.off_info = sizeof(struct llm_engine_ctl);
	s.off_commit = ALIGN(s.off_info + sizeof(struct llm_model), 64);
	s.off_record = ALIGN(s.off_commit + s.nr_streams * sizeof(u64), LLM_LAYOUT_PAGE);
	s.off_extent = ALIGN(s.off_record + (u64)s.nr_streams * s.record_stride, LLM_LAYOUT_PAGE);
	s.area_size[LLM_AREA_ENGINE] = s.off_extent + s.log_size;
	*setup = s;
	return 0;
}

/* A span of ARENA: aligned, inside, without overflow. */
static inline bool llm_span_ok(u32 off, u32 len, u32 align, u64 arena_size)
{
	return !(off % align) && (u64)off + len <= arena_size;
}

/*
 * Could the daemon make sense of @e?  What a word means in the model (lengths,
 * parameters) is its business: it refuses in the stream's record, with a reason.
 */
static inline int llm_entry_check(const struct llm_sqe *e, u32 nr_streams, u64 arena_size)
{
	if (e->op >= LLM_OP_NR || e->flags & ~LLM_SQE_F_ALL || e->class_ >= LLM_CLASS_NR ||
	    e->resv)
		return -EINVAL;
	if (e->op == LLM_OP_NOP)
		return 0;
	if (e->stream >= nr_streams || !e->gen)
		return -EINVAL;
	if (!llm_span_ok(e->off, e->len, 4, arena_size) ||
	    !llm_span_ok(e->params_off, e->params_len, 8, arena_size))
		return -EINVAL;
	return 0;
}

/* Is @e a request that runs until its stream ends? */
static inline bool llm_entry_flies(const struct llm_sqe *e)
{
	return e->op != LLM_OP_NOP && e->op != LLM_OP_CANCEL;
}

#endif
