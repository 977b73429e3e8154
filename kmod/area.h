/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * area.h - pages that the kernel holds and processes map.
 *
 * An area is an array of order-0 pages.  Those a kernel path reads or writes
 * are there from the start; the others come with the first touch, so that a
 * session may ask for much and pay for what it uses.  Who may write an area is
 * decided by the mapping: a read-only one never gets VM_MAYWRITE, so there is
 * no way round it through mprotect(), ptrace() or /proc/PID/mem.
 */
#ifndef LLM_AREA_H
#define LLM_AREA_H

#include <linux/types.h>

struct mem_cgroup;
struct page;
struct vm_area_struct;

/*
 * mmap offsets: an area each 4 GiB (LLM_MMAP_OFF).  The last of a file may be
 * larger than that, so all offsets behind its start are its.
 */
#define LLM_AREA_PGSHIFT	(32 - PAGE_SHIFT)

struct llm_area {
	struct page **pages;	/* owned; NULL where nothing was touched yet */
	u32 nr;			/* of pages */
	unsigned long base;	/* its first page in the file's mmap offsets */
	struct mem_cgroup *memcg; /* borrowed; charged for late pages; NULL: nobody */
};

/*
 * Make @area, the @index-th of its file, of @size bytes (a multiple of the page size) with the pages below
 * @there in place, zeroed and charged to the caller's memory cgroup.  May
 * sleep for long; a fatal signal ends it.  0, -ENOMEM, -EINTR; on failure
 * nothing is left.
 */
int llm_area_init(struct llm_area *area, u32 index, u64 size, u64 there,
		  struct mem_cgroup *memcg);

/* Give the pages back; mappings and pins may hold some of them longer. */
void llm_area_deinit(struct llm_area *area);

enum llm_area_right {
	LLM_AREA_READ,
	LLM_AREA_WRITE,		/* by the client: late pages are charged or fail */
	LLM_AREA_SERVE,		/* by the daemon: late pages come in any case */
	LLM_AREA_LOOK,		/* by the daemon, read-only; the same */
};

/* Which of a file's @nr areas @vma means; llm_area_mmap() checks the rest. */
u32 llm_area_of(const struct vm_area_struct *vma, u32 nr);

/*
 * ->mmap() of @area.  @area must live as long as the file that @vma pins.
 * -EINVAL: private, or outside; -EACCES: a right that is not given.
 */
int llm_area_mmap(struct llm_area *area, struct vm_area_struct *vma, enum llm_area_right right);

/*
 * Where byte @off stands in the kernel's mapping, up to the end of its page;
 * NULL where the page was not touched yet (it reads as zeroes).  @off is
 * inside the area.  What stands there may change at any time.
 */
void *llm_area_at(const struct llm_area *area, u64 off);

/* The same, with the page made where there is none.  Sleeps.  NULL: no memory. */
void *llm_area_make(struct llm_area *area, u64 off);

#endif
