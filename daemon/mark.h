/* SPDX-License-Identifier: MIT */
/*
 * mark.h - marked points between two stores, where the torture kills.
 *
 * A SIGKILL leaves a prefix of the engine's stores (doc/PROTOCOL.md), so the
 * states a crash can leave are the cuts between two stores, and killing at
 * every mark is exhaustive for one step.  A build with -DLLM_MARKS passes
 * mark(n) there; a page shared with the test says at which mark, and the how
 * manieth passing of it, the process dies.  bug(n) asks the same page for a
 * planted bug, so that the checker is seen to catch it.  In a normal build
 * all of it is nothing.
 *
 * The page is a file that LLM_MARKS in the environment names (a memfd of the
 * test under /proc works); no name: no mark kills.
 */
#ifndef DAEMON_MARK_H
#define DAEMON_MARK_H

#include <stdint.h>

enum {
	/* admission */
	MARK_ADMIT_BEGIN = 1, /* entry judged, nothing stored */
	MARK_ADMIT_VOID,      /* record.gen = 0 */
	MARK_ADMIT_COPIED,    /* params and prompt in the extent */
	MARK_ADMIT_RECORD,    /* record complete, gen not yet */
	MARK_ADMIT_GEN,	      /* record complete: before the admission store */
	MARK_ADMITTED,	      /* after it */
	MARK_ADMIT_DONE,      /* private state follows it */
	/* the ring */
	MARK_TAKE,  /* an entry copied, not admitted */
	MARK_ACK,   /* a batch admitted, heads not moved */
	MARK_ACKED, /* heads moved, refusals' wishes not read */
	/* a step */
	MARK_TEXT_IDS,	 /* TEXT: ids stored, their number not */
	MARK_TEXT_READY, /* TEXT: number stored, still QUEUED */
	MARK_STEP,	 /* rows written to the board, nothing run */
	MARK_RAN,	 /* results there, nothing stored */
	MARK_PIECE,	 /* a token's text stored, its log entry not */
	MARK_LOG,	 /* log entry stored, commit word not */
	MARK_END,	 /* detail stored, commit word not */
	MARK_COMMIT,	 /* commit word stored, wishes not read */
	MARK_WISH,	 /* wishes read, wakes not sent */
	MARK_WOKEN,	 /* wakes sent */
	/* recovery */
	MARK_OPEN,	 /* a session named, nothing read */
	MARK_OPEN_MODEL, /* its llm_model stored */
	MARK_OPEN_BLAME, /* deaths counted, not judged */
	MARK_OPEN_BUILT, /* streams rebuilt, wishes not read */
	MARK_NR
};

enum {
	BUG_NONE,
	BUG_PUBLISH_FIRST,  /* commit word before the log */
	BUG_HEAD_FIRST,	    /* heads moved before admission */
	BUG_NO_GEN,	    /* an entry is admitted whatever its gen */
	BUG_NO_WAKE,	    /* recovery looks at no wish */
	BUG_WISH_FIRST,	    /* wish read before the commit word is stored */
	BUG_NOISE_BY_STATE, /* the seed depends on the engine's life */
	BUG_END_FIRST,	    /* END stored before the last tokens */
	BUG_FETCH_TWICE,    /* prompt checked in the client's page */
	BUG_NR
};

/* The page: written by the test, but for count, fired and kills. */
struct mark_page {
	uint32_t mark;	/* die here; 0 = nowhere */
	int32_t count;	/* ... at this passing of it, from 1 */
	uint32_t bug;	/* BUG_* */
	uint32_t fired; /* 1: the mark has killed */
	uint64_t kills[MARK_NR];
	uint64_t passed[MARK_NR];
};

#ifdef LLM_MARKS
void mark(unsigned n);
int bug(unsigned n);
#else
#define mark(n) ((void)0)
#define bug(n)	0
#endif

#endif
