/* SPDX-License-Identifier: MIT */
/*
 * entry.h - may a sequence that waits come in: what of its prompt the index
 * holds, whether a twin computes that anyway, a slot among the running, blocks
 * for the rest.  A higher class may displace lower ones for it.
 *
 * It decides; the move itself is runset_start()'s.  Who is asked, and in which
 * order, is decided above (sched.c).
 */
#ifndef CORE_ENTRY_H
#define CORE_ENTRY_H

#include <stdint.h>

struct runset;

enum entry_answer {
	ENTRY_ADMITTED,
	ENTRY_NO_SLOT,
	ENTRY_NO_BLOCKS,
	ENTRY_TWIN, /* another one is computing its next block right now */
};

/* Try to move @id from WAIT to FILL; may preempt sequences of lower classes. */
enum entry_answer entry_admit(struct runset *r, uint32_t id);

#endif
