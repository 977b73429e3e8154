/* SPDX-License-Identifier: MIT */
#include "daemon/layout.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <linux/llm.h>

#define LINE 64u

static_assert(sizeof(struct llm_client_ctl) % LINE == 0, "wishes are aligned");
static_assert(sizeof(struct llm_wish) == LINE, "a wish has its own line");
static_assert(sizeof(struct llm_sqe) == LINE, "entries are aligned");
static_assert(sizeof(struct llm_engine_ctl) % LINE == 0, "info is aligned");
/* no sum below can wrap: the largest session is far under 2^63 */
static_assert(LLM_MAX_LOG_BYTES < 1ull << 40, "64-bit sums hold");

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static int wish_check(const struct llm_setup *w, struct err *err)
{
	uint32_t i, resv = 0;

	if (w->abi != LLM_ABI_VERSION)
		return err_set(err, -EPROTO,
			       "setup.abi is %u, this daemon serves %u", w->abi,
			       LLM_ABI_VERSION);
	if (w->flags)
		return err_set(err, -EINVAL, "setup.flags is %#x, must be 0",
			       w->flags);
	for (i = 0; i < sizeof(w->resv) / sizeof(w->resv[0]); i++)
		resv |= w->resv[i];
	if (resv)
		return err_set(err, -EINVAL, "setup.resv must be 0");
	if (w->sq_entries > LLM_MAX_SQ_ENTRIES ||
	    (w->sq_entries & (w->sq_entries - 1)))
		return err_set(err, -EINVAL,
			       "setup.sq_entries is %u, not a power of two up "
			       "to %u",
			       w->sq_entries, LLM_MAX_SQ_ENTRIES);
	if (w->nr_streams > LLM_MAX_STREAMS)
		return err_set(err, -EINVAL,
			       "setup.nr_streams is %u, at most %u",
			       w->nr_streams, LLM_MAX_STREAMS);
	if (w->arena_size > LLM_MAX_ARENA_BYTES)
		return err_set(err, -EINVAL,
			       "setup.arena_size is %llu, at most %u",
			       (unsigned long long)w->arena_size,
			       LLM_MAX_ARENA_BYTES);
	if (w->log_size > LLM_MAX_LOG_BYTES)
		return err_set(err, -EINVAL,
			       "setup.log_size is %llu, at most %llu",
			       (unsigned long long)w->log_size,
			       LLM_MAX_LOG_BYTES);
	return 0;
}

int layout_fill(struct llm_setup *setup, struct err *err)
{
	struct llm_setup s;
	uint64_t off;
	int ret = wish_check(setup, err);

	if (ret)
		return ret;
	memset(&s, 0, sizeof(s));
	s.size = sizeof(s);
	s.abi = LLM_ABI_VERSION;
	s.features = 0; /* the socket offers none: granted = offered & wanted */
	s.sq_entries = setup->sq_entries ? setup->sq_entries
					 : LAYOUT_SQ_ENTRIES;
	s.nr_streams = setup->nr_streams ? setup->nr_streams
					 : LAYOUT_NR_STREAMS;
	s.arena_size = round_up(setup->arena_size ? setup->arena_size
						  : LAYOUT_ARENA_SIZE,
				LAYOUT_PAGE);
	s.log_size =
		round_up(setup->log_size ? setup->log_size : LAYOUT_LOG_SIZE,
			 LAYOUT_PAGE);

	s.off_wish = sizeof(struct llm_client_ctl);
	s.off_sq = s.off_wish + s.nr_streams * sizeof(struct llm_wish);
	off = s.off_sq + s.sq_entries * sizeof(struct llm_sqe);
	s.area_size[LLM_AREA_CLIENT] = round_up(off, LAYOUT_PAGE);
	s.area_size[LLM_AREA_ARENA] = s.arena_size;
	s.area_size[LLM_AREA_HOST] = LAYOUT_PAGE;

	s.off_info = sizeof(struct llm_engine_ctl);
	s.off_commit = round_up(s.off_info + sizeof(struct llm_model), LINE);
	s.off_record =
		round_up(s.off_commit + s.nr_streams * 8ull, LAYOUT_PAGE);
	s.record_stride = sizeof(struct llm_record);
	s.off_extent = round_up(s.off_record + (uint64_t)s.nr_streams *
						       s.record_stride,
				LAYOUT_PAGE);
	s.area_size[LLM_AREA_ENGINE] = s.off_extent + s.log_size;
	assert(layout_holds(&s));
	*setup = s;
	return 0;
}

bool layout_holds(const struct llm_setup *s)
{
	const __u64 *area = s->area_size;
	int i;

	for (i = 0; i < LLM_AREA_NR; i++)
		if (!area[i] || area[i] % LAYOUT_PAGE)
			return false;
	if (!s->sq_entries || s->sq_entries > LLM_MAX_SQ_ENTRIES ||
	    (s->sq_entries & (s->sq_entries - 1)) || !s->nr_streams ||
	    s->nr_streams > LLM_MAX_STREAMS)
		return false;
	if (s->off_wish < sizeof(struct llm_client_ctl) || s->off_wish % LINE ||
	    s->off_sq % LINE ||
	    s->off_sq < s->off_wish + s->nr_streams * sizeof(struct llm_wish) ||
	    area[LLM_AREA_CLIENT] <
		    s->off_sq + s->sq_entries * sizeof(struct llm_sqe))
		return false;
	if (area[LLM_AREA_ARENA] != s->arena_size ||
	    s->arena_size > LLM_MAX_ARENA_BYTES ||
	    area[LLM_AREA_HOST] < sizeof(struct llm_host_ctl))
		return false;
	return s->off_info >= sizeof(struct llm_engine_ctl) &&
	       s->off_info % LINE == 0 && s->off_commit % LINE == 0 &&
	       s->off_commit >= s->off_info + sizeof(struct llm_model) &&
	       s->off_record % LINE == 0 &&
	       s->off_record >= s->off_commit + s->nr_streams * 8ull &&
	       s->record_stride >= sizeof(struct llm_record) &&
	       s->record_stride % LINE == 0 &&
	       s->off_extent % LAYOUT_PAGE == 0 &&
	       s->off_extent >= s->off_record + (uint64_t)s->nr_streams *
							s->record_stride &&
	       s->log_size && s->log_size <= LLM_MAX_LOG_BYTES &&
	       area[LLM_AREA_ENGINE] == s->off_extent + s->log_size;
}

uint64_t layout_bytes(const struct llm_setup *s)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < LLM_AREA_NR; i++)
		sum += s->area_size[i];
	return sum;
}
