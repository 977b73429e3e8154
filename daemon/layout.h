/* SPDX-License-Identifier: MIT */
/*
 * layout.h - from a client's wishes to where everything of a session stands.
 *
 * Pure.  The keeper fills a layout once, from a hostile llm_setup; the engine
 * holds the same struct and asserts it again before it maps a byte: two
 * asserts where two sides meet.
 *
 *   CLIENT  llm_client_ctl | wishes | entries
 *   ARENA   behind CLIENT in the same file
 *   HOST    llm_host_ctl, one page
 *   ENGINE  llm_engine_ctl | llm_model | commit words || records || extents
 *           (| a cache line, || a page: an idle session touches one)
 */
#ifndef DAEMON_LAYOUT_H
#define DAEMON_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct llm_setup;

#define LAYOUT_PAGE 4096u

/* What a client gets where it asks for 0.  Untouched memory costs nothing. */
#define LAYOUT_SQ_ENTRIES 64u
#define LAYOUT_NR_STREAMS 64u
#define LAYOUT_ARENA_SIZE (4ull << 20)
#define LAYOUT_LOG_SIZE	  (64ull << 20)

/*
 * Check the wishes in @setup (a copy the client cannot reach) against the
 * contract's limits, then fill the out-fields: what is granted, areas and
 * offsets.  Sizes are rounded up to pages; setup->session is left 0.
 * 0, or with one line in @err -EINVAL (a wish that cannot be), -EPROTO
 * (another ABI); @setup is then as it was.
 */
int layout_fill(struct llm_setup *setup, struct err *err);

/* Does every part lie in its area, aligned, in order, without overlap? */
bool layout_holds(const struct llm_setup *setup);

/* Bytes that all areas of a session may grow to: what a quota counts. */
uint64_t layout_bytes(const struct llm_setup *setup);

#endif
